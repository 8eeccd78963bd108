use std::io::{BufWriter, Result as IoResult, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::{Row, RowWriter};

/// Writes an object a line.
pub(super) enum JsonLines<W: Write> {
    Plain(W),
    Compressed(Box<BufWriter<GzEncoder<W>>>),
}

impl<W: Write> JsonLines<W> {
    pub(super) fn new(file: W, compressed: bool) -> Self {
        match compressed {
            true => {
                let encoder = GzEncoder::new(file, Compression::default());
                Self::Compressed(Box::new(BufWriter::new(encoder)))
            }
            false => Self::Plain(file),
        }
    }
}

impl<W: Write> RowWriter for JsonLines<W> {
    fn write(&mut self, row: &Row<'_>) -> IoResult<()> {
        let file: &mut dyn Write = match self {
            Self::Plain(file) => file,
            Self::Compressed(file) => file,
        };
        serde_json::to_writer(&mut *file, row)?;
        writeln!(file)
    }

    fn finish(self: Box<Self>) -> IoResult<()> {
        match *self {
            Self::Plain(mut file) => file.flush(),
            Self::Compressed(file) => {
                file.into_inner().map_err(|error| error.into_error())?.finish()?.flush()
            }
        }
    }
}
