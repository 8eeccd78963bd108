/// A share of questions with its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Interval {
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Interval {
    /// The score interval of Wilson 1927 (<https://doi.org/10.1080/01621459.1927.10502953>) for `count`
    /// of `total`; none where there is nothing to count.
    #[expect(clippy::cast_precision_loss, reason = "counts of questions")]
    pub(super) fn wilson(count: usize, total: usize) -> Option<Self> {
        /// The 97.5 % quantile of the standard normal distribution.
        const Z: f64 = 1.959_963_984_540_054;
        if total == 0 {
            return None;
        }
        let (total, share) = (total as f64, count as f64 / total as f64);
        let scale = 1.0 + Z * Z / total;
        let centre = (share + Z * Z / (2.0 * total)) / scale;
        let half =
            Z / scale * (share * (1.0 - share) / total + Z * Z / (4.0 * total * total)).sqrt();
        // Rounding may leave the share by a hair at 0 and 1, where it is a bound of the interval.
        Some(Self {
            low: (centre - half).clamp(0.0, share),
            high: (centre + half).clamp(share, 1.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Interval;

    /// `statsmodels.stats.proportion.proportion_confint(count, total, method="wilson")`, version 0.15.0.
    #[test]
    fn the_interval_is_that_of_statsmodels() {
        for (count, total, low, high) in REFERENCE {
            let interval = Interval::wilson(count, total).unwrap();
            assert!((interval.low - low).abs() < 1e-9, "{count}/{total}: {interval:?}");
            assert!((interval.high - high).abs() < 1e-9, "{count}/{total}: {interval:?}");
        }
        assert_eq!(Interval::wilson(0, 0), None);
    }

    const REFERENCE: [(usize, usize, f64, f64); 6] = [
        (0, 10, 0.0, 0.277_532_799_862_889_26),
        (10, 10, 0.722_467_200_137_110_6, 1.0),
        (1, 1, 0.206_549_314_377_237_4, 1.0),
        (721, 1034, 0.668_600_987_177_527_5, 0.724_522_641_226_769_5),
        (3, 250, 0.004_089_319_880_534_297_5, 0.034_680_780_427_019_615),
        (6215, 6216, 0.999_089_233_752_839_9, 0.999_971_601_019_337_4),
    ];
}
