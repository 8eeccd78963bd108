/// From where to where an axis goes, and its ticks.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) ticks: Vec<f64>,
}

impl Axis {
    /// An axis that holds all values, with its ends and about `count` steps between them at round numbers (1,
    /// 2 or 5 times a power of ten).
    pub(super) fn round(low: f64, high: f64, count: f64) -> Self {
        let (low, high) = match high > low {
            true => (low, high),
            // A line of equal values runs in the middle.
            false => (low - 0.5 * low.abs().max(1e-9), high + 0.5 * high.abs().max(1e-9)),
        };
        let rough = (high - low) / count;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0].map(|factor| factor * power);
        let step = step.into_iter().find(|step| *step >= rough * 0.999).unwrap_or(10.0 * power);
        let (first, last) = ((low / step + 1e-9).floor(), (high / step - 1e-9).ceil());
        let ticks: Vec<f64> =
            (0..=(last - first) as usize).map(|tick| (first + tick as f64) * step).collect();
        Self { low: first * step, high: last * step, ticks }
    }

    /// The axis of steps, whose ends are the first and the last.
    pub(super) fn steps(first: u64, last: u64) -> Self {
        let (low, high) = (first as f64, (last.max(first + 1)) as f64);
        let mut axis = Self::round(low, high, 4.0);
        axis.ticks.retain(|tick| (low..=high).contains(tick) && tick.fract() == 0.0);
        Self { low, high, ..axis }
    }

    /// Where a value lies, from 0 at the low end to 1 at the high one.
    pub(super) fn place(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_hold_all_values() {
        for (low, high) in
            [(0.31, 0.97), (0.0, 2e-4), (-0.3, 1.7), (5.0, 5.0), (0.0, 0.0), (12.0, 9871.0)]
        {
            let axis = Axis::round(low, high, 4.0);
            assert!(axis.low <= low && high <= axis.high, "{axis:?}");
            assert!((3..=8).contains(&axis.ticks.len()), "{axis:?}");
            assert!(axis.ticks.windows(2).all(|pair| pair[0] < pair[1]));
        }
        assert_eq!(Axis::round(0.0, 10.0, 5.0).ticks, [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
    }

    #[test]
    fn steps_are_whole() {
        let axis = Axis::steps(1, 3);
        assert_eq!((axis.low, axis.high), (1.0, 3.0));
        assert!(axis.ticks.iter().all(|tick| tick.fract() == 0.0));
        assert_eq!(Axis::steps(0, 0).place(0.0), 0.0);
    }
}
