use std::num::NonZeroUsize;

use anyhow::Result;
use coderag_core::{Digest, Embeddings, Progress as _, TextRole, Unit};
use coderag_encoder::EncodeOptions;
use coderag_encoder::device::DeviceEncoder;
use coderag_index::ChunkFolder;
use coderag_train::mining::Pairs;
use serde::Serialize;
use serde_json::Value;

use crate::arguments::MineArguments;
use crate::commands::Session;
use crate::output;
use crate::progress::Shared;

/// All that decides which texts there are and what their vectors are.
#[derive(Serialize)]
pub(super) struct VectorsSettings<'a> {
    pub(super) model: Digest,
    pub(super) precision: String,
    pub(super) inputs: Vec<Digest>,
    pub(super) columns: [&'a String; 2],
    pub(super) corpus: Vec<Digest>,
    pub(super) corpus_column: &'a str,
}

/// The vectors of the documents and then of the anchors, in chunks on the disk.
pub(super) struct Vectors(ChunkFolder);

impl Vectors {
    pub(super) fn open(arguments: &MineArguments, settings: &VectorsSettings<'_>) -> Result<Self> {
        let settings = match serde_json::to_value(settings)? {
            Value::Object(settings) => settings,
            _ => Default::default(),
        };
        let begin = if arguments.restart { ChunkFolder::restart } else { ChunkFolder::open };
        Ok(Self(begin(&arguments.output, settings)?))
    }

    /// Embeds what is not in a chunk yet, and returns the vectors of the anchors and of the documents.
    pub(super) fn embed(
        &mut self,
        session: &Session,
        encoder: &DeviceEncoder,
        pairs: &Pairs,
        chunk_rows: NonZeroUsize,
    ) -> Result<(Embeddings, Embeddings)> {
        self.embed_missing(session, encoder, pairs, chunk_rows)?;
        let (documents, anchors) = (pairs.documents().len(), pairs.anchors().len());
        let mut dimensions = 1;
        let mut values = [Vec::new(), Vec::new()];
        let mut left = documents;
        for batch in self.0.embeddings() {
            let batch = batch?;
            dimensions = batch.dimensions();
            let [of_documents, of_anchors] = &mut values;
            of_documents.reserve_exact(documents * dimensions - of_documents.len());
            of_anchors.reserve_exact(anchors * dimensions - of_anchors.len());
            for row in batch.rows() {
                if left > 0 {
                    of_documents.extend(row)
                } else {
                    of_anchors.extend(row)
                }
                left = left.saturating_sub(1);
            }
        }
        let [documents, anchors] = values;
        let embeddings = |values| Embeddings::new(dimensions, values);
        Ok((embeddings(anchors)?, embeddings(documents)?))
    }

    fn embed_missing(
        &mut self,
        session: &Session,
        encoder: &DeviceEncoder,
        pairs: &Pairs,
        chunk_rows: NonZeroUsize,
    ) -> Result<()> {
        let total = (pairs.documents().len() + pairs.anchors().len()) as u64;
        let before = self.0.rows();
        if before > 0 {
            output::note(format_args!(
                "{before} of {total} texts are embedded already, in {}",
                self.0.path().display()
            ));
            let mut texts = pairs.documents().iter().chain(pairs.anchors()).cloned().map(Ok);
            self.0.skip_embedded::<coderag_index::Error>(&mut texts, |_| {})?;
        }
        let left = Some(total.saturating_sub(before));
        let task = Shared::new(session.progress.task("embedding texts", left, Unit::Items));
        let mut done = usize::try_from(before)?;
        for (texts, role) in
            [(pairs.documents(), TextRole::Document), (pairs.anchors(), TextRole::Query)]
        {
            let mut options = EncodeOptions::from(role);
            options.normalize = Some(true);
            for batch in texts.get(done..).unwrap_or_default().chunks(chunk_rows.get()) {
                let borrowed: Vec<&str> = batch.iter().map(String::as_str).collect();
                self.0.append(batch, &encoder.encode(&borrowed, &options, &task)?)?;
            }
            done = done.saturating_sub(texts.len());
        }
        Ok(())
    }

    /// Says where the vectors are that a run which failed leaves behind, or removes a folder without any.
    pub(super) fn keep_for_another_run(self) {
        let rows = self.0.rows();
        if rows == 0 {
            // What went wrong first is what the user should read.
            let _ = self.0.remove();
            return;
        }
        output::note(format_args!(
            "the vectors of {rows} texts are kept in {}; the same command goes on from there",
            self.0.path().display()
        ));
    }

    /// Removes the vectors, unless they are to be kept.
    pub(super) fn finish(self, keep: bool) -> Result<()> {
        if !keep {
            self.0.remove()?;
        }
        Ok(())
    }
}
