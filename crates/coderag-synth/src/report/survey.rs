use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::lengths::Lengths;
use super::reasons::Reasons;
use crate::output::{Draw, Manifest, Pair, read_pairs, read_rejected};
use crate::row::{Gate, RejectedRow};
use crate::{CodeLanguage, Result};

/// What the rows of a run are like, found by reading its files once; a few rows at a time are held.
#[derive(Debug)]
pub(crate) struct Survey {
    /// Pairs by the language of their code.
    pub(crate) languages: BTreeMap<CodeLanguage, u64>,
    /// Pairs by what was chosen for them, by the name of the choice.
    pub(crate) choices: BTreeMap<String, BTreeMap<String, u64>>,
    /// Pairs by the level that their SQL was found to have.
    pub(crate) measured_complexity: BTreeMap<String, u64>,
    /// Pairs by the licence of the code that they began with.
    pub(crate) licences: BTreeMap<String, u64>,
    /// Pairs by the model's judgements: `2`, `1, then 2`.
    pub(crate) labels: BTreeMap<String, u64>,
    pub(crate) anchors: Lengths,
    pub(crate) positives: Lengths,
    /// Why candidates were turned away.
    pub(crate) reasons: BTreeMap<Gate, Reasons>,
    /// Some pairs, drawn by the run's seed.
    pub(crate) accepted: Vec<Pair>,
    /// Some rejected candidates, drawn by the run's seed.
    pub(crate) rejected: Vec<RejectedRow>,
}

/// How many pairs, and how many rejected candidates, are shown.
const SAMPLES: usize = 12;

impl Survey {
    /// Reads the rows of a run.
    pub(crate) fn read(run: &Path, manifest: &Manifest) -> Result<Self> {
        let config = &manifest.run.config;
        let no_counts = |name: &String| (name.clone(), BTreeMap::new());
        let mut survey = Self {
            languages: BTreeMap::new(),
            choices: config.choices.keys().map(no_counts).collect(),
            measured_complexity: BTreeMap::new(),
            licences: BTreeMap::new(),
            labels: BTreeMap::new(),
            anchors: Lengths::default(),
            positives: Lengths::default(),
            reasons: BTreeMap::new(),
            accepted: Vec::new(),
            rejected: Vec::new(),
        };
        let mut accepted = Draw::new(config.seed, SAMPLES);
        for pair in read_pairs(run, manifest) {
            let pair = pair?;
            survey.add(&pair);
            accepted.offer(&pair.task, &pair.id, &pair);
        }
        let mut rejected = Draw::new(config.seed, SAMPLES);
        for row in read_rejected(run, manifest) {
            let row = row?;
            survey.reasons.entry(row.gate).or_default().add(&row.reason);
            rejected.offer(&row.task, &row.id, &row);
        }
        survey.accepted = accepted.finish();
        survey.rejected = rejected.finish();
        Ok(survey)
    }

    fn add(&mut self, pair: &Pair) {
        *self.languages.entry(pair.language).or_default() += 1;
        let text = |name: &str| pair.meta.get(name).and_then(Value::as_str);
        for (name, counts) in &mut self.choices {
            count(counts, text(name));
        }
        count(&mut self.measured_complexity, text("measured_complexity"));
        count(&mut self.licences, text("licence"));
        let labels = pair.meta.get("labels").and_then(Value::as_array).map(|labels| {
            labels.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", then ")
        });
        count(&mut self.labels, labels.as_deref());
        self.anchors.add(&pair.anchor);
        self.positives.add(&pair.positive);
    }
}

/// Counts a value, if there is one.
fn count(counts: &mut BTreeMap<String, u64>, value: Option<&str>) {
    let Some(value) = value else { return };
    match counts.get_mut(value) {
        Some(count) => *count += 1,
        None => {
            counts.insert(value.to_owned(), 1);
        }
    }
}
