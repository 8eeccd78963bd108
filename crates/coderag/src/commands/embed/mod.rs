//! `coderag embed`: texts in, vectors out, however many there are.

mod encoding;
mod file;
mod standard_output;

use std::path::Path;

use anyhow::{Result, bail};
use coderag_core::{Embeddings, Progress};
use coderag_corpus::TextSource;
use coderag_index::quantization::{Quantization, Quantizer, Ranges};
use coderag_index::vector_file::{TextVectors, VectorFormat};

use self::encoding::Encoding;
use crate::arguments::EmbedArguments;
use crate::commands::Session;

/// What is embedded, and how.
struct Job<'a> {
    session: &'a Session,
    encoding: Encoding,
    source: TextSource,
    quantization: Quantization,
    /// None where the vectors themselves are to give the ranges of their dimensions.
    quantizer: Option<Quantizer>,
}

impl Job<'_> {
    /// Embeds texts in order.
    fn vectors(&self, texts: Vec<String>, progress: &dyn Progress) -> Result<TextVectors> {
        let embeddings = self.encoding.encode(&texts, progress)?;
        Ok(TextVectors { texts, embeddings })
    }

    /// The quantizer, for which these vectors give the ranges if need be.
    fn quantizer_for(&self, vectors: &Embeddings) -> Result<Quantizer> {
        match &self.quantizer {
            Some(quantizer) => Ok(quantizer.clone()),
            None => self.quantizer([Ok(vectors.clone())]),
        }
    }

    /// The quantizer, for which `vectors` give the ranges if need be.
    fn quantizer(
        &self,
        vectors: impl IntoIterator<Item = coderag_index::Result<Embeddings>>,
    ) -> Result<Quantizer> {
        if let Some(quantizer) = &self.quantizer {
            return Ok(quantizer.clone());
        }
        let dimensions = self.encoding.dimensions();
        let ranges = Ranges::of_own(dimensions, vectors)?;
        Ok(Quantizer::new(self.quantization, dimensions, Some(&ranges))?)
    }
}

pub(crate) fn run(session: &Session, arguments: &EmbedArguments) -> Result<()> {
    let output = &arguments.output;
    let format = VectorFormat::of(output);
    if format.is_none() && output != Path::new("-") {
        bail!(
            "cannot tell the format of the output {}: expected .npy, .parquet or .jsonl, or - for \
             standard output",
            output.display()
        );
    }
    if output.is_dir() {
        bail!("the output {} is a folder", output.display());
    }
    let quantization = Quantization::from(arguments.quantize);
    if arguments.calibration.is_some() && !quantization.needs_ranges() {
        bail!("--calibration is for --quantize int8 and --quantize uint8 alone");
    }
    let encoding = Encoding::new(session, arguments)?;
    let input_format = arguments.input_format.map(Into::into);
    let source = TextSource::new(&arguments.input, &arguments.field, input_format)?;
    // Calibration vectors that do not fit are refused now rather than after the last text.
    let quantizer = match (&arguments.calibration, quantization.needs_ranges()) {
        (None, true) => None,
        (calibration, _) => {
            let ranges = calibration.as_deref().map(Ranges::of_file).transpose()?;
            Some(Quantizer::new(quantization, encoding.dimensions(), ranges.as_ref())?)
        }
    };
    let job = Job { session, encoding, source, quantization, quantizer };
    match format {
        Some(format) => file::run(&job, format, arguments),
        None => standard_output::run(&job),
    }
}
