//! Fewer points than there are steps.

/// The most points that a line is drawn through.
pub(super) const MOST_POINTS: usize = 600;

/// The values of consecutive steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bin {
    /// The last of the steps.
    pub(super) step: u64,
    pub(super) lowest: f64,
    pub(super) mean: f64,
    pub(super) highest: f64,
}

/// Puts steps together, equally many each, so that [`MOST_POINTS`] bins suffice. Values that are not finite are
/// left out.
pub(super) fn bins(values: &[(u64, f64)]) -> Vec<Bin> {
    let finite: Vec<(u64, f64)> =
        values.iter().copied().filter(|(_, value)| value.is_finite()).collect();
    let size = finite.len().div_ceil(MOST_POINTS).max(1);
    let bin = |values: &[(u64, f64)]| {
        let value = || values.iter().map(|(_, value)| *value);
        Some(Bin {
            step: values.last()?.0,
            lowest: value().fold(f64::INFINITY, f64::min),
            mean: value().sum::<f64>() / values.len() as f64,
            highest: value().fold(f64::NEG_INFINITY, f64::max),
        })
    };
    finite.chunks(size).filter_map(bin).collect()
}

/// How many steps a smoothed value is the mean of, of so many in all: a twentieth, from 5 to 100.
pub(super) fn smoothing_window(steps: usize) -> usize {
    (steps / 20).clamp(5, 100)
}

/// The mean of each value and those before it, `window` in all where there are as many.
pub(super) fn smoothed(values: &[(u64, f64)], window: usize) -> Vec<(u64, f64)> {
    let finite: Vec<(u64, f64)> =
        values.iter().copied().filter(|(_, value)| value.is_finite()).collect();
    let mean = |end: usize| {
        let part = finite.get(end.saturating_sub(window)..end).unwrap_or_default();
        part.iter().map(|(_, value)| value).sum::<f64>() / part.len() as f64
    };
    finite.iter().zip(1..).map(|((step, _), end)| (*step, mean(end))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_values_are_kept_as_they_are_and_many_are_put_together() {
        let few: Vec<(u64, f64)> = (1..=600).map(|step| (step, step as f64)).collect();
        let bins_of_few = bins(&few);
        assert_eq!(bins_of_few.len(), 600);
        assert_eq!(bins_of_few[9], Bin { step: 10, lowest: 10.0, mean: 10.0, highest: 10.0 });
        let many: Vec<(u64, f64)> = (1..=10_001).map(|step| (step, step as f64)).collect();
        let bins_of_many = bins(&many);
        assert!(bins_of_many.len() <= MOST_POINTS);
        assert_eq!(bins_of_many[0], Bin { step: 17, lowest: 1.0, mean: 9.0, highest: 17.0 });
        assert_eq!(bins_of_many.last().unwrap().step, 10_001);
        assert_eq!(bins(&[(1, f64::NAN), (2, f64::INFINITY)]), []);
    }

    #[test]
    fn smoothing_looks_back() {
        let values = [(1, 1.0), (2, 3.0), (3, f64::NAN), (4, 5.0), (5, 10.0)];
        assert_eq!(smoothed(&values, 2), [(1, 1.0), (2, 2.0), (4, 4.0), (5, 7.5)]);
        assert_eq!([40, 1000, 9000].map(smoothing_window), [5, 50, 100]);
    }
}
