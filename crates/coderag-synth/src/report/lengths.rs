/// How long texts are, in characters, by classes whose bounds are 1, 2 and 5 times the powers of ten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lengths {
    /// By class, the shortest first.
    counts: Vec<u64>,
    count: u64,
    sum: u64,
}

impl Lengths {
    pub(super) fn add(&mut self, text: &str) {
        let length = text.chars().count() as u64;
        let class = (0..).take_while(|class| upper_bound(*class) <= length).count();
        if self.counts.len() <= class {
            self.counts.resize(class + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(class) {
            *count += 1;
        }
        self.count += 1;
        self.sum += length;
    }

    /// The mean length.
    pub(super) fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }

    /// How many texts there are of a class.
    pub(super) fn of_class(&self, class: u32) -> u64 {
        self.counts.get(class as usize).copied().unwrap_or_default()
    }

    /// The classes from the first to the last that has a text of any of both.
    pub(super) fn classes(&self, other: &Self) -> std::ops::Range<u32> {
        let is_used = |class: &u32| self.of_class(*class) + other.of_class(*class) > 0;
        let most = self.counts.len().max(other.counts.len()) as u32;
        (0..most).find(is_used).unwrap_or(most)..most
    }
}

/// The class as the shortest and the longest length in it: `(10, 19)`.
pub(super) fn bounds(class: u32) -> (u64, u64) {
    (class.checked_sub(1).map_or(0, upper_bound), upper_bound(class).saturating_sub(1))
}

/// The least length that is too long for a class: 10, 20, 50, 100 ...
fn upper_bound(class: u32) -> u64 {
    let factor = [10, 20, 50].get(class as usize % 3).copied().unwrap_or(10);
    10_u64.saturating_pow(class / 3).saturating_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_in_its_class() {
        let mut lengths = Lengths::default();
        for length in [0, 9, 10, 19, 20, 499, 500, 12_345] {
            lengths.add(&"\u{e9}".repeat(length));
        }
        let classes: Vec<_> = lengths
            .classes(&Lengths::default())
            .map(|class| (bounds(class), lengths.of_class(class)))
            .filter(|(_, count)| *count > 0)
            .collect();
        let expected = [
            ((0, 9), 2),
            ((10, 19), 2),
            ((20, 49), 1),
            ((200, 499), 1),
            ((500, 999), 1),
            ((10_000, 19_999), 1),
        ];
        assert_eq!(classes, expected);
        assert_eq!(lengths.mean(), Some(13_402.0 / 8.0));
    }
}
