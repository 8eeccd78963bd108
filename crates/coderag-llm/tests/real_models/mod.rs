//! The models that `coderag models pull` puts into the cache.

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) const QWEN: &str = "qwen2.5-coder-0.5b-instruct";
pub(crate) const SMOLLM: &str = "smollm2-135m-instruct";

/// The one GGUF file of a model in the cache; without it the calling test is skipped.
pub(crate) fn model_file(name: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("CODERAG_CACHE").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/coderag"),
        PathBuf::from,
    );
    let folder = cache.join("models").join(name);
    let file = fs::read_dir(&folder).ok().and_then(|entries| {
        entries
            .map(|entry| entry.unwrap().path())
            .find(|path| path.extension().is_some_and(|extension| extension == "gguf"))
    });
    if file.is_none() {
        let required = std::env::var("CODERAG_REQUIRE_MODELS").is_ok_and(|value| value == "1");
        assert!(!required, "no GGUF file in {}", folder.display());
        println!("skipped: no GGUF file in {}", folder.display());
    }
    file
}

/// Lets one test compute at a time.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
