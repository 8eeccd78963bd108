use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a waiting thread may overlook an interruption.
const LOOK: Duration = Duration::from_millis(50);

/// Spaces the beginnings of requests evenly.
#[derive(Debug)]
pub(super) struct Rate {
    interval: Duration,
    next: Mutex<Option<Instant>>,
}

impl Rate {
    /// At most this many in a minute; 0 for any number.
    pub(super) fn new(per_minute: f64) -> Self {
        let interval = if per_minute > 0.0 { 60.0 / per_minute } else { 0.0 };
        let interval = Duration::try_from_secs_f64(interval).unwrap_or(Duration::MAX);
        Self { interval, next: Mutex::default() }
    }

    /// Waits for the next beginning; false when interrupted.
    pub(super) fn wait(&self, interrupt: &AtomicBool) -> bool {
        if self.interval.is_zero() {
            return true;
        }
        let begin = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let begin = next.map_or_else(Instant::now, |next| next.max(Instant::now()));
            *next = begin.checked_add(self.interval);
            begin
        };
        loop {
            if interrupt.load(Ordering::Relaxed) {
                return false;
            }
            let left = begin.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            thread::sleep(left.min(LOOK));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_are_no_closer_than_the_rate_allows() {
        let rate = Rate::new(6000.0);
        let start = Instant::now();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..5).for_each(|_| assert!(rate.wait(&AtomicBool::new(false)))));
            }
        });
        // The first begins at once, the other 19 are 10 ms apart.
        assert!(start.elapsed() >= Duration::from_millis(190));
    }

    #[test]
    fn an_interruption_ends_the_wait() {
        let rate = Rate::new(1.0);
        let interrupt = AtomicBool::new(false);
        assert!(rate.wait(&interrupt));
        interrupt.store(true, Ordering::Relaxed);
        assert!(!rate.wait(&interrupt));
    }
}
