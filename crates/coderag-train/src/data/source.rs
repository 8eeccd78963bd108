use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Columns;

/// Files of examples that belong together: one task, one collection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The name in logs and in the model card.
    pub name: String,
    /// The files: `.parquet`, `.jsonl` or `.json` (lines), the latter two also with `.gz`.
    pub files: Vec<PathBuf>,
    /// Which columns hold what.
    #[serde(default)]
    pub columns: Columns,
    /// The source's share of the rows drawn, relative to the other sources' weights. Either all sources
    /// have one or none; without weights [`SamplerSettings::temperature`] decides.
    ///
    /// [`SamplerSettings::temperature`]: super::SamplerSettings::temperature
    pub weight: Option<f64>,
}

impl Source {
    /// A source of one file, named by its path.
    pub fn of_file(path: &Path) -> Self {
        Self {
            name: path.display().to_string(),
            files: vec![path.to_owned()],
            columns: Columns::default(),
            weight: None,
        }
    }
}
