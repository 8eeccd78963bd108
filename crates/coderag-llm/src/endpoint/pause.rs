use std::time::Duration;

use coderag_core::Random;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// How long to wait before each repetition of a request: exponential backoff with "equal jitter",
/// half of the pause fixed and half random (M. Brooker, "Exponential Backoff And Jitter", 2015).
#[derive(Debug)]
pub(super) struct Pauses {
    first: Duration,
    longest: Duration,
    random: Random,
}

impl Pauses {
    pub(super) fn new(first: Duration, longest: Duration, seed: u64) -> Self {
        Self { first, longest, random: Random::new(seed) }
    }

    /// The pause before repetition number `repetition`, counted from 0. What the server asked for
    /// comes first; no pause is longer than the longest.
    pub(super) fn next(&mut self, repetition: u32, asked_for: Option<Duration>) -> Duration {
        if let Some(asked_for) = asked_for {
            return asked_for.min(self.longest);
        }
        let doubled = self.first.saturating_mul(1_u32.checked_shl(repetition).unwrap_or(u32::MAX));
        doubled.min(self.longest).mul_f64(0.5 + 0.5 * self.random.uniform())
    }
}

/// The seconds of a `Retry-After` header. The other form, a date, counts as absent: model servers
/// send seconds.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_repeat_with_the_seed() {
        let pauses = |seed| {
            let mut pauses = Pauses::new(Duration::from_secs(1), Duration::from_secs(10), seed);
            (0..40).map(|repetition| pauses.next(repetition, None)).collect::<Vec<_>>()
        };
        let drawn = pauses(7);
        for (repetition, pause) in drawn.iter().enumerate() {
            let full = 2_f64.powi(repetition as i32).min(10.0);
            assert!((full / 2.0..full).contains(&pause.as_secs_f64()), "{repetition}: {pause:?}");
        }
        assert_eq!(drawn, pauses(7));
        assert_ne!(drawn, pauses(8));
    }

    #[test]
    fn what_the_server_asks_for_is_capped() {
        let mut pauses = Pauses::new(Duration::from_secs(1), Duration::from_secs(10), 0);
        assert_eq!(pauses.next(5, Some(Duration::from_secs(3))), Duration::from_secs(3));
        assert_eq!(pauses.next(0, Some(Duration::from_secs(3600))), Duration::from_secs(10));
    }
}
