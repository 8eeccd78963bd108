use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};

/// How long to wait before each repetition of a request: exponential backoff with "equal jitter",
/// half of the pause fixed and half random (M. Brooker, "Exponential Backoff And Jitter", 2015).
#[derive(Debug)]
pub(super) struct Pauses {
    first: Duration,
    longest: Duration,
    random: u64,
}

impl Pauses {
    pub(super) fn new(first: Duration, longest: Duration, seed: u64) -> Self {
        Self { first, longest, random: seed }
    }

    /// The pause before repetition number `repetition`, counted from 0. What the server asked for
    /// comes first; no pause is longer than the longest.
    pub(super) fn next(&mut self, repetition: u32, asked_for: Option<Duration>) -> Duration {
        if let Some(asked_for) = asked_for {
            return asked_for.min(self.longest);
        }
        let doubled = self.first.saturating_mul(1_u32.checked_shl(repetition).unwrap_or(u32::MAX));
        doubled.min(self.longest).mul_f64(0.5 + 0.5 * self.uniform())
    }

    /// A number in `[0, 1)` from SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
    fn uniform(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        (bits >> 11) as f64 / (1_u64 << 53) as f64
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

    /// The first outputs of the reference implementation's `next()` for seed 1234567.
    #[test]
    fn the_random_numbers_are_splitmix64() {
        let mut pauses = Pauses::new(Duration::ZERO, Duration::ZERO, 1_234_567);
        for output in [6_457_827_717_110_365_317_u64, 3_203_168_211_198_807_973] {
            assert_eq!(pauses.uniform(), (output >> 11) as f64 / (1_u64 << 53) as f64);
        }
    }
}
