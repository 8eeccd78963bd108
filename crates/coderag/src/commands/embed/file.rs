use std::num::NonZeroUsize;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use coderag_core::{Progress as _, Unit};
use coderag_index::ChunkFolder;
use coderag_index::vector_file::{self, VectorFormat};

use super::Job;
use crate::arguments::EmbedArguments;
use crate::output;
use crate::progress::Shared;

pub(super) fn run(job: &Job, format: VectorFormat, arguments: &EmbedArguments) -> Result<()> {
    let output = &arguments.output;
    let total = job.source.count()?;
    let rows = match one_batch(job, arguments, total)? {
        Some(texts) => {
            let vectors = job.vectors(texts, &job.session.progress)?;
            let rows = vectors.texts.len() as u64;
            let quantizer = job.quantizer_for(&vectors.embeddings)?;
            vector_file::write(output, format, &quantizer, rows, [Ok(vectors)])?;
            rows
        }
        None => in_chunks(job, format, arguments, total)?,
    };
    output::note(format_args!("embedded {rows} texts in {}", output.display()));
    Ok(())
}

/// All texts, if they are no more than a chunk: then there is nothing to go on with after an interruption.
fn one_batch(
    job: &Job,
    arguments: &EmbedArguments,
    total: Option<u64>,
) -> Result<Option<Vec<String>>> {
    let most = arguments.chunk_rows.get();
    if total.is_none_or(|total| total > most as u64)
        || ChunkFolder::path_for(&arguments.output).exists()
    {
        return Ok(None);
    }
    let texts = job.source.open()?.next_batch(most)?;
    Ok((Some(texts.len() as u64) == total).then_some(texts))
}

/// Keeps vectors in chunks until all are there, and then writes the file; returns how many they are.
fn in_chunks(
    job: &Job,
    format: VectorFormat,
    arguments: &EmbedArguments,
    total: Option<u64>,
) -> Result<u64> {
    let settings = job.encoding.settings();
    let begin = if arguments.restart { ChunkFolder::restart } else { ChunkFolder::open };
    let mut chunks = begin(&arguments.output, settings)?;
    let result = embed(job, &mut chunks, arguments.chunk_rows, total)
        .and_then(|()| write(job, &chunks, format, &arguments.output));
    let rows = chunks.rows();
    match result {
        Ok(()) => chunks.remove()?,
        Err(_) if rows == 0 => {
            // What went wrong first is what the user should read.
            let _ = chunks.remove();
        }
        Err(_) => output::note(format_args!(
            "the vectors of the first {rows} texts are kept in {}; the same command goes on from there",
            chunks.path().display()
        )),
    }
    result.map(|()| rows)
}

/// Writes the file from its chunks.
fn write(job: &Job, chunks: &ChunkFolder, format: VectorFormat, output: &Path) -> Result<()> {
    let quantizer = job.quantizer(chunks.embeddings())?;
    let rows = chunks.rows();
    let task = job.session.progress.task("writing vectors", Some(rows), Unit::Items);
    let batches = chunks.text_vectors().inspect(|batch| {
        task.advance(batch.as_ref().map_or(0, |batch| batch.texts.len() as u64));
    });
    Ok(vector_file::write(output, format, &quantizer, rows, batches)?)
}

/// Embeds the texts that are not in a chunk yet.
fn embed(
    job: &Job,
    chunks: &mut ChunkFolder,
    chunk_rows: NonZeroUsize,
    total: Option<u64>,
) -> Result<()> {
    let mut texts = job.source.open()?;
    let before = chunks.rows();
    if before > 0 {
        output::note(format_args!(
            "going on after the first {before} texts, whose vectors are in {}",
            chunks.path().display()
        ));
        let label = "checking the texts embedded before";
        let task = job.session.progress.task(label, Some(before), Unit::Items);
        chunks.skip_embedded(&mut texts, |rows| task.advance(rows))?;
    }
    // The rate and the time left are those of this run.
    let total = total.map(|total| total.saturating_sub(before));
    let task = Shared::new(job.session.progress.task("embedding texts", total, Unit::Items));
    let mut log = RateLog::new(total);
    loop {
        let batch = texts.next_batch(chunk_rows.get())?;
        if batch.is_empty() {
            return Ok(());
        }
        let vectors = job.vectors(batch, &task)?;
        chunks.append(&vectors.texts, &vectors.embeddings)?;
        log.advance(vectors.texts.len());
    }
}

/// Logs now and then how far a run is, for where there is no terminal.
struct RateLog {
    started: Instant,
    logged: Instant,
    texts: u64,
    total: Option<u64>,
}

impl RateLog {
    const INTERVAL: Duration = Duration::from_secs(30);

    fn new(total: Option<u64>) -> Self {
        let now = Instant::now();
        Self { started: now, logged: now, texts: 0, total }
    }

    fn advance(&mut self, texts: usize) {
        self.texts += texts as u64;
        if self.logged.elapsed() < Self::INTERVAL {
            return;
        }
        self.logged = Instant::now();
        let per_second = self.texts as f64 / self.started.elapsed().as_secs_f64();
        let left = self.total.map(|total| total.saturating_sub(self.texts) as f64 / per_second);
        tracing::info!(
            texts = self.texts,
            per_second = per_second.round(),
            seconds_left = left.map(f64::round),
            "embedding"
        );
    }
}
