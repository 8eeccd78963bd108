//! The files of a run that others read.

mod manifest;
mod pairs;
mod rejected;
mod shards;

pub use self::manifest::{Call, Manifest, OutputFile, TaskCounts};

pub(crate) use self::pairs::pairs;
pub(crate) use self::rejected::rejected;
pub(crate) use self::shards::Shards;
