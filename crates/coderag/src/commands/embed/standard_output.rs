use std::io::{BufWriter, stdout};

use anyhow::Result;
use coderag_core::{Progress as _, Unit};
use coderag_index::Error;
use coderag_index::vector_file::VectorWriter;

use super::Job;
use crate::progress::Shared;

/// Writes JSON lines as soon as their vectors are there.
pub(super) fn run(job: &Job) -> Result<()> {
    /// Enough for the encoder to be fast, few enough for a reader not to wait for long.
    const TEXTS_AT_ONCE: usize = 1024;
    let quantizer = job.quantizer.as_ref().ok_or(Error::NoRanges)?;
    let total = job.source.count()?;
    let mut texts = job.source.open()?;
    let mut writer = VectorWriter::json_lines(BufWriter::new(stdout()));
    let task = Shared::new(job.session.progress.task("embedding texts", total, Unit::Items));
    loop {
        let batch = texts.next_batch(TEXTS_AT_ONCE)?;
        if batch.is_empty() {
            return Ok(writer.finish()?);
        }
        let vectors = job.vectors(batch, &task)?;
        writer.write(&vectors.texts, &quantizer.quantize(&vectors.embeddings)?)?;
        writer.flush()?;
    }
}
