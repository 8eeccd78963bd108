use std::io::{Result, Write};

use serde::Serialize;

use crate::quantization::{Numbers, QuantizedEmbeddings};

pub(super) fn write(
    writer: &mut impl Write,
    texts: &[String],
    vectors: &QuantizedEmbeddings,
) -> Result<()> {
    let width = vectors.width();
    match vectors.numbers() {
        Numbers::Float32(values) => lines(writer, texts, values.chunks_exact(width)),
        Numbers::Int8(values) => lines(writer, texts, values.chunks_exact(width)),
        Numbers::Uint8(values) => lines(writer, texts, values.chunks_exact(width)),
    }
}

fn lines<'a, T: Serialize + 'a>(
    writer: &mut impl Write,
    texts: &[String],
    rows: impl Iterator<Item = &'a [T]>,
) -> Result<()> {
    #[derive(Serialize)]
    struct Line<'a, T> {
        text: &'a str,
        embedding: &'a [T],
    }
    for (text, embedding) in texts.iter().zip(rows) {
        serde_json::to_writer(&mut *writer, &Line { text, embedding })?;
        writeln!(writer)?;
    }
    Ok(())
}
