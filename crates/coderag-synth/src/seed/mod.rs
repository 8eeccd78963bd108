//! What the tasks start from.

pub(crate) mod code;
pub(crate) mod schema;
pub(crate) mod topic;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use self::code::CodeSeedConfig;
pub use self::schema::SchemaSeedConfig;
pub use self::topic::TopicSettings;

/// What the tasks start from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SeedSettings {
    /// Topics that the model names.
    pub topics: TopicSettings,
    /// Functions of local repositories.
    pub code: CodeSeedConfig,
    /// Schemas of databases.
    pub schemas: SchemaSeedConfig,
}

impl SeedSettings {
    /// Makes relative paths relative to a folder.
    pub(crate) fn relative_to(&mut self, folder: &Path) {
        for path in self.code.folders.iter_mut().chain(&mut self.schemas.files) {
            *path = folder.join(&*path);
        }
    }
}
