//! Pulls in another process, which can be killed and has an environment of its own.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use coderag_core::Silent;
use coderag_models::{Registry, Settings, Store};

const REGISTRY: &str = "CODERAG_MODELS_TEST_REGISTRY";

/// A command that pulls the first model of a registry file into `CODERAG_CACHE`.
pub(crate) fn pull_command(registry: &Path, cache: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "child::entry_point_of_the_other_process", "--nocapture"])
        .env(REGISTRY, registry)
        .env("CODERAG_CACHE", cache)
        .env("HF_HOME", cache.join("huggingface"))
        .env_remove("HF_TOKEN")
        .env_remove("HF_HUB_OFFLINE")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs the command to its end: what it printed, as `Err` if the pull failed.
pub(crate) fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    if output.status.success() { Ok(text) } else { Err(text) }
}

/// Not a test: what [`pull_command`] runs. Without its variable it does nothing.
#[test]
fn entry_point_of_the_other_process() {
    let Some(registry) = std::env::var_os(REGISTRY) else { return };
    let registry = Registry::load(Path::new::<OsStr>(&registry)).unwrap();
    let store = Store::new(Settings::from_env().unwrap());
    if let Err(error) = store.pull(&registry.models()[0], &Silent) {
        panic!("pull failed: {error}");
    }
}
