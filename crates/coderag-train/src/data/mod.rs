//! Examples to train on, and the batches they come in.
//!
//! [`Source`]s are read once into a [`Store`] in the run's folder, from which any row can be had at any
//! time. A [`Sampler`] decides which rows form a batch; where it stands is a few numbers
//! ([`SamplerState`]), so a resumed run draws the batches that an uninterrupted one would have drawn.

mod bad_rows;
mod columns;
mod example;
mod fingerprint;
mod json_lines;
mod parquet;
mod read;
mod row;
mod sampling;
mod source;
mod statistics;
mod store;

pub use bad_rows::{BadRow, BadRows, OnBadRow};
pub use columns::Columns;
pub use example::Example;
pub(crate) use fingerprint::fingerprint;
pub use read::for_each_example;
pub(crate) use read::read_file;
pub use sampling::{Batch, LastBatch, Order, Rows, Sampler, SamplerSettings, SamplerState};
pub use source::Source;
pub use statistics::{Lengths, Repeats};
pub use store::{InputFile, Manifest, SourceRecord, Store};
