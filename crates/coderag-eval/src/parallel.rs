use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::{Error, Result};

/// Parse trees are built and dropped recursively.
const STACK_BYTES: usize = 16 << 20;

/// The results of `work` on each job, in the order of the jobs, from up to `threads` threads.
///
/// # Errors
/// [`Error::Thread`] when the operating system gives no thread.
pub(crate) fn for_each<J: Sync, R: Send>(
    jobs: &[J],
    threads: usize,
    work: impl Fn(&J) -> R + Sync,
) -> Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(jobs.len()));
    let run = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(index) else { break };
            let result = work(job);
            // A poisoned lock means a panic elsewhere, which the scope passes on.
            results.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads.clamp(1, jobs.len().max(1)) {
            thread::Builder::new()
                .name("scorer".to_owned())
                .stack_size(STACK_BYTES)
                .spawn_scoped(scope, run)
                .map_err(|source| Error::Thread { source })?;
        }
        Ok::<_, Error>(())
    })?;
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}
