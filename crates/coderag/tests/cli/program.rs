//! Runs the built program the way a shell would.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a run left behind.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl std::fmt::Display for Run {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "exit code {}", self.code)?;
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !text.is_empty() {
                write!(formatter, "\n--- {name}\n{}", text.trim_end())?;
            }
        }
        Ok(())
    }
}

/// The program with an environment that does not depend on who runs the tests.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coderag"));
    command.args(arguments).stdin(Stdio::null());
    for variable in ["RUST_LOG", "CODERAG_REGISTRY", "OPENAI_API_KEY", "RUST_BACKTRACE"] {
        command.env_remove(variable);
    }
    command
}

pub(crate) fn finish(mut command: Command) -> Run {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let run = Run { code: status.code().unwrap_or(-1), stdout: text(stdout), stderr: text(stderr) };
    assert!(!run.stderr.contains("panicked"), "{run}");
    run
}

pub(crate) fn run(arguments: &[&str]) -> Run {
    finish(command(arguments))
}

/// Runs the program and requires exit code 0.
pub(crate) fn run_well(arguments: &[&str]) -> Run {
    let run = run(arguments);
    assert_eq!(run.code, 0, "{arguments:?}\n{run}");
    run
}

/// Whether all these models are pulled. Where the environment asks for them, they must be.
pub(crate) fn have_models(names: &[&str]) -> bool {
    let missing: Vec<_> =
        names.iter().filter(|name| run(&["models", "path", name]).code != 0).collect();
    let required = std::env::var_os("CODERAG_REQUIRE_MODELS").is_some_and(|value| value == "1");
    assert!(missing.is_empty() || !required, "pull these models first: {missing:?}");
    if !missing.is_empty() {
        println!("skipped: not pulled: {missing:?}");
    }
    missing.is_empty()
}

/// The project's folder.
pub(crate) fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Makes the demo database in a folder.
pub(crate) fn demo_database(folder: &Path) -> String {
    let script = std::fs::read_to_string(project().join("eval/demo/bicycle_rental.sql")).unwrap();
    let path = folder.join("bicycle_rental.sqlite");
    rusqlite::Connection::open(&path).unwrap().execute_batch(&script).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Held while a language model runs: two at once would fight for the cores.
pub(crate) fn language_model_alone() -> MutexGuard<'static, ()> {
    static LANGUAGE_MODEL: Mutex<()> = Mutex::new(());
    LANGUAGE_MODEL.lock().unwrap_or_else(PoisonError::into_inner)
}
