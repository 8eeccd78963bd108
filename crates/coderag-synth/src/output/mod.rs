//! The files of a run that others read.

mod funnel;
mod manifest;
mod pairs;
mod read;
mod rejected;
mod sample;
mod shards;

pub use self::funnel::GateCounts;
pub use self::manifest::{Call, Manifest, OutputFile, TaskCounts};
pub use self::read::{Pair, read_pairs, read_rejected};
pub use self::sample::Sample;

pub(crate) use self::pairs::pairs;
pub(crate) use self::read::{GRETEL, PAIRS, REJECTED};
pub(crate) use self::rejected::rejected;
pub(crate) use self::sample::Draw;
pub(crate) use self::shards::Shards;
