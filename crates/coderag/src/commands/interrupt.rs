use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context as _, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag::{register, register_conditional_shutdown};

/// A flag that Ctrl-C or a request to end sets; a second one ends the program at once.
pub(crate) fn flag() -> Result<Arc<AtomicBool>> {
    /// What a shell reports for a program that Ctrl-C ended.
    const ENDED_BY_INTERRUPT: i32 = 130;
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the second signal finds the flag set.
        register_conditional_shutdown(signal, ENDED_BY_INTERRUPT, flag.clone())
            .and_then(|_| register(signal, flag.clone()))
            .context("cannot watch for Ctrl-C")?;
    }
    Ok(flag)
}
