use std::io::{BufWriter, Write as _, stdout};

use anyhow::{Result, bail};
use coderag_encoder::{EncodeOptions, Prompt};
use coderag_index::vector_file;

use crate::arguments::EmbedArguments;
use crate::commands::Session;

/// How the vectors are written.
enum Format {
    StandardOutput,
    Npy,
    Parquet,
    JsonLines,
}

pub(crate) fn run(session: &Session, arguments: &EmbedArguments) -> Result<()> {
    let output = &arguments.output;
    let extension = output.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    let format = match extension.as_str() {
        _ if output.as_os_str() == "-" => Format::StandardOutput,
        "npy" => Format::Npy,
        "parquet" => Format::Parquet,
        "jsonl" => Format::JsonLines,
        _ => bail!(
            "cannot tell the format of the output {}: expected .npy, .parquet or .jsonl, or - for \
             standard output",
            output.display()
        ),
    };
    let encoder =
        session.encoder_of(&arguments.model, arguments.adapter.as_deref(), arguments.precision)?;
    let texts = coderag_corpus::read_texts(&arguments.input, &arguments.field)?;
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let options = EncodeOptions {
        prompt: arguments.prompt_name.clone().map_or(Prompt::Default, Prompt::Named),
        ..EncodeOptions::default()
    };
    let embeddings = encoder.encode(&texts, &options, &session.progress)?;
    match format {
        Format::StandardOutput => {
            let mut stdout = BufWriter::new(stdout().lock());
            vector_file::json_lines(&mut stdout, &texts, &embeddings)?;
            stdout.flush()?;
        }
        Format::Npy => vector_file::write_npy(output, &embeddings)?,
        Format::Parquet => vector_file::write_parquet(output, &texts, &embeddings)?,
        Format::JsonLines => vector_file::write_json_lines(output, &texts, &embeddings)?,
    }
    Ok(())
}
