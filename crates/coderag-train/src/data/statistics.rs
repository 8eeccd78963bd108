use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How long texts are, in characters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lengths {
    /// How many texts there are; the other values are 0 where there is none.
    pub texts: u64,
    /// The mean length.
    pub mean: f64,
    /// The shortest text's.
    pub shortest: u32,
    /// The length that half of the texts do not exceed.
    pub median: u32,
    /// The length that 90 % of the texts do not exceed.
    pub percentile_90: u32,
    /// The length that 99 % of the texts do not exceed.
    pub percentile_99: u32,
    /// The longest text's.
    pub longest: u32,
}

/// How often each length occurs: exact, and small because lengths repeat.
#[derive(Debug, Default)]
pub(super) struct LengthCounts(BTreeMap<u32, u64>);

impl LengthCounts {
    pub(super) fn add(&mut self, characters: u32) {
        *self.0.entry(characters).or_insert(0) += 1;
    }

    pub(super) fn lengths(&self) -> Lengths {
        let texts: u64 = self.0.values().sum();
        let total: u64 = self.0.iter().map(|(length, count)| u64::from(*length) * count).sum();
        let percentile = |percent: u64| {
            let rank = (texts * percent).div_ceil(100);
            let mut seen = 0;
            let mut reached = self.0.iter().skip_while(|(_, count)| {
                seen += **count;
                seen < rank
            });
            reached.next().map_or(0, |(length, _)| *length)
        };
        Lengths {
            texts,
            mean: total as f64 / texts.max(1) as f64,
            shortest: percentile(0),
            median: percentile(50),
            percentile_90: percentile(90),
            percentile_99: percentile(99),
            longest: percentile(100),
        }
    }
}

/// How many rows have a text that an earlier row has, white space aside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repeats {
    /// Rows whose anchor is an earlier row's anchor.
    pub anchors: u64,
    /// Rows whose positive is an earlier row's positive.
    pub positives: u64,
    /// Rows whose anchor and positive are both an earlier row's.
    pub pairs: u64,
    /// Rows whose positive is their own anchor.
    pub positive_is_anchor: u64,
}

impl Repeats {
    /// Counts over `(anchor, positive)` fingerprints; needs 16 bytes a row while it runs.
    pub(super) fn count(rows: impl Iterator<Item = (u64, u64)> + Clone) -> Self {
        fn repeated<T: Ord>(items: impl Iterator<Item = T>) -> u64 {
            let mut items: Vec<T> = items.collect();
            items.sort_unstable();
            items.windows(2).filter(|pair| pair[0] == pair[1]).count() as u64
        }
        Self {
            anchors: repeated(rows.clone().map(|(anchor, _)| anchor)),
            positives: repeated(rows.clone().map(|(_, positive)| positive)),
            pairs: repeated(rows.clone()),
            positive_is_anchor: rows.filter(|(anchor, positive)| anchor == positive).count() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_sorted_lengths() {
        let mut counts = LengthCounts::default();
        (1..=200).for_each(|length| counts.add(length));
        let lengths = counts.lengths();
        assert_eq!((lengths.texts, lengths.mean), (200, 100.5));
        assert_eq!((lengths.shortest, lengths.median, lengths.longest), (1, 100, 200));
        assert_eq!((lengths.percentile_90, lengths.percentile_99), (180, 198));
        assert_eq!(LengthCounts::default().lengths(), Lengths::default());
    }

    #[test]
    fn repeats_are_counted_from_the_second_on() {
        let rows = [(1, 2), (1, 2), (1, 3), (4, 4), (1, 2)];
        let expected = Repeats { anchors: 3, positives: 2, pairs: 2, positive_is_anchor: 1 };
        assert_eq!(Repeats::count(rows.into_iter()), expected);
    }
}
