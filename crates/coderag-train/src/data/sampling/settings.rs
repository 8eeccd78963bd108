use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How batches are drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SamplerSettings {
    /// The rows of a batch.
    pub batch_size: usize,
    /// The seed of every shuffle and choice: the same seed gives the same batches on every machine.
    pub seed: u64,
    /// In which order rows are drawn.
    pub order: Order,
    /// Whether all rows of a batch are of one source. A source is then chosen for each batch, in
    /// proportion to the rows that are left of each in the epoch.
    pub same_source_per_batch: bool,
    /// Whether texts in a batch must differ where one would serve as a false negative of another. No
    /// anchor or positive may be equal to another row's anchor, positive or negative, white space aside;
    /// two rows may share a negative. A row that does not fit is put off to the next batch.
    ///
    /// Towards the end of an epoch the rows that are left may all have the same few texts. They then
    /// form no full batch, and [`last_batch`](Self::last_batch) says what becomes of them.
    pub no_duplicates: bool,
    /// Puts rows of similar length together: the rows of this many batches are sorted by their longest
    /// text, and the batches made of them come in random order. 0 does not sort.
    pub length_window: usize,
    /// What becomes of the rows at the end of an epoch that do not fill a batch.
    pub last_batch: LastBatch,
    /// How much the sources' sizes count where they have no weights: a source is drawn from in
    /// proportion to `rows^(1 / temperature)`. At 1 every row comes once an epoch; a higher temperature
    /// draws more often from small sources, whose rows then come several times.
    pub temperature: f64,
}

/// In which order rows are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Each source is shuffled anew for each pass over it, and rows of all sources are mixed.
    #[default]
    Shuffled,
    /// As in the files, one source after the other.
    File,
}

/// What becomes of rows that do not fill a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LastBatch {
    /// They are left out of this epoch; a warning says so where they are many. An epoch without a full
    /// batch is an error.
    #[default]
    Drop,
    /// They form smaller batches. With [`SamplerSettings::no_duplicates`] these may be many, down to
    /// batches of a single row, which has no other row's texts as negatives.
    Keep,
}

impl Default for SamplerSettings {
    fn default() -> Self {
        Self {
            batch_size: 32,
            seed: 0,
            order: Order::default(),
            same_source_per_batch: false,
            no_duplicates: true,
            length_window: 0,
            last_batch: LastBatch::default(),
            temperature: 1.0,
        }
    }
}

impl SamplerSettings {
    /// What has changed to `other`: `batch_size was 32 and is 64`.
    pub(super) fn differences(&self, other: &Self) -> String {
        let values = |settings: &Self| match serde_json::to_value(settings) {
            Ok(serde_json::Value::Object(values)) => values,
            _ => serde_json::Map::new(),
        };
        let differences: Vec<String> = (values(self).into_iter().zip(values(other)))
            .filter(|(was, is)| was != is)
            .map(|((key, was), (_, is))| format!("`{key}` was {was} and is {is}"))
            .collect();
        differences.join(", ")
    }

    pub(super) fn check(&self, weights: &[Option<f64>]) -> Result<()> {
        let refused =
            |setting, problem: &str| Err(Error::Setting { setting, problem: problem.to_owned() });
        let weighted = weights.iter().any(Option::is_some);
        let in_file_order = self.order == Order::File;
        if self.batch_size == 0 {
            return refused("batch_size", "must be at least 1");
        }
        if !(self.temperature.is_finite() && self.temperature > 0.0) {
            return refused("temperature", "must be a number above 0");
        }
        if weighted && weights.iter().any(Option::is_none) {
            return refused(
                "weight",
                "some sources have one and some do not; give all one or none",
            );
        }
        if !weights.iter().flatten().all(|weight| weight.is_finite() && *weight > 0.0) {
            return refused("weight", "must be a number above 0");
        }
        if weighted && self.temperature != 1.0 {
            return refused("temperature", "does not go with sources that have a `weight`");
        }
        if in_file_order && (weighted || self.temperature != 1.0) {
            return refused("order", "`file` does not go with `weight` or `temperature`");
        }
        if in_file_order && self.length_window > 0 {
            return refused("order", "`file` does not go with `length_window`");
        }
        Ok(())
    }

    /// Refuses sources that would never fill a batch of their own.
    pub(super) fn check_quotas(&self, quotas: &[u64]) -> Result<()> {
        if !self.same_source_per_batch || self.last_batch == LastBatch::Keep {
            return Ok(());
        }
        match quotas.iter().position(|quota| *quota < self.batch_size as u64) {
            Some(source) => Err(Error::Setting {
                setting: "same_source_per_batch",
                problem: format!(
                    "source {} gives {} examples an epoch, too few for a batch of {}, and would \
                     never be used; lower `batch_size` or set `last_batch = \"keep\"`",
                    source + 1,
                    quotas.get(source).copied().unwrap_or_default(),
                    self.batch_size
                ),
            }),
            None => Ok(()),
        }
    }
}
