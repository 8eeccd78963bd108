use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Which of an anchor's nearest documents become its negatives.
///
/// The settings are those of `mine_hard_negatives` in sentence-transformers and mean the same. The default
/// is TopK-PercPos at 95 % (NV-Retriever: Moreira et al., 2024, arXiv:2407.15831).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MiningSettings {
    /// How many negatives an anchor gets, if there are as many.
    pub negatives: usize,
    /// How many of the nearest documents that pass the filters are passed over.
    pub range_min: usize,
    /// Up to which place among an anchor's nearest documents negatives are looked for. By default
    /// `range_min` and ten times `negatives`, or `negatives` where no filter but `min_score` removes any, and
    /// the most positives of an anchor.
    pub range_max: Option<usize>,
    /// A negative's similarity is at most that of the positive less this.
    pub absolute_margin: Option<f32>,
    /// A negative's similarity is at most that of the positive less this part of it: 0.05 for 95 %.
    pub relative_margin: Option<f32>,
    /// The most similarity of a negative.
    pub max_score: Option<f32>,
    /// The least similarity of a negative.
    pub min_score: Option<f32>,
    /// Which documents of those that remain.
    pub sampling: Sampling,
    /// What [`Sampling::Random`] draws from.
    pub seed: u64,
}

/// Which documents become negatives, of those that pass the filters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sampling {
    /// The nearest.
    #[default]
    Top,
    /// Any, each with the same probability. What an anchor draws depends on the seed and its text.
    Random,
}

impl Default for MiningSettings {
    fn default() -> Self {
        Self {
            negatives: 3,
            range_min: 0,
            range_max: None,
            absolute_margin: None,
            relative_margin: Some(0.05),
            max_score: None,
            min_score: None,
            sampling: Sampling::Top,
            seed: 42,
        }
    }
}

impl MiningSettings {
    /// The places among an anchor's nearest documents at which negatives are looked for.
    ///
    /// # Errors
    /// [`Error::Setting`] for a number out of its range, or a range with less room than `negatives`.
    pub fn range(&self, most_positives: usize) -> Result<Range<usize>> {
        let refused =
            |setting, problem: &str| Err(Error::Setting { setting, problem: problem.to_owned() });
        if self.negatives == 0 {
            return refused("negatives", "expected at least 1");
        }
        if self.relative_margin.is_some_and(|margin| !(0.0..=1.0).contains(&margin)) {
            return refused("relative_margin", "expected a part of the positive's score, 0 to 1");
        }
        for (setting, number) in [
            ("absolute_margin", self.absolute_margin),
            ("max_score", self.max_score),
            ("min_score", self.min_score),
        ] {
            if number.is_some_and(|number| !number.is_finite()) {
                return refused(setting, "expected a finite number");
            }
        }
        let filters = [self.absolute_margin, self.relative_margin, self.max_score];
        let wanted = match filters.iter().any(Option::is_some) {
            true => self.negatives.saturating_mul(10),
            false => self.negatives,
        };
        let range_max = self.range_max.unwrap_or_else(|| {
            self.range_min.saturating_add(wanted).saturating_add(most_positives)
        });
        let range = self.range_min..range_max;
        if range.len() < self.negatives {
            return Err(Error::Setting {
                setting: "range_max",
                problem: format!(
                    "the places {} to {range_max} have no room for {} negatives; raise it, or lower \
                     `range_min` or `negatives`",
                    self.range_min, self.negatives
                ),
            });
        }
        Ok(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_is_as_wide_as_the_filters_need() {
        let plain = MiningSettings { relative_margin: None, ..MiningSettings::default() };
        assert_eq!(plain.range(2).unwrap(), 0..5);
        assert_eq!(MiningSettings::default().range(2).unwrap(), 0..32);
        let least = MiningSettings { min_score: Some(0.0), range_min: 4, ..plain.clone() };
        assert_eq!(least.range(1).unwrap(), 4..8);
        let most = MiningSettings { max_score: Some(0.9), ..plain };
        assert_eq!(most.range(1).unwrap(), 0..31);
    }

    #[test]
    fn settings_out_of_range_are_refused_by_name() {
        let refusal = |settings: MiningSettings| settings.range(1).unwrap_err().to_string();
        let default = MiningSettings::default;
        let cases = [
            ("negatives", MiningSettings { negatives: 0, ..default() }),
            ("relative_margin", MiningSettings { relative_margin: Some(95.0), ..default() }),
            ("min_score", MiningSettings { min_score: Some(f32::NAN), ..default() }),
            ("range_max", MiningSettings { range_min: 8, range_max: Some(10), ..default() }),
            ("range_max", MiningSettings { range_min: 8, range_max: Some(7), ..default() }),
        ];
        for (setting, settings) in cases {
            let refusal = refusal(settings);
            assert!(refusal.starts_with(&format!("`{setting}`: ")), "{refusal}");
        }
    }
}
