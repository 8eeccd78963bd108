//! Files of vectors that other tools read: NumPy arrays, Parquet tables and JSON lines.
//!
//! All are written a batch at a time, so that memory does not grow with their length.

mod json_lines;
mod npy;
mod parquet;
mod read;
mod writer;

use std::path::Path;

use coderag_core::{Embeddings, Error as CoreError, atomic};

pub(crate) use self::parquet::{ParquetVectors, ParquetWriter};
pub use self::read::read;
pub use self::writer::VectorWriter;
use crate::Result;
use crate::quantization::Quantizer;

/// How a file holds vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VectorFormat {
    /// A NumPy array, `[texts, width]`, without the texts.
    Npy,
    /// A Parquet table with the columns `text` and `embedding`, a list of fixed length.
    Parquet,
    /// JSON lines with the keys `text` and `embedding`.
    JsonLines,
}

impl VectorFormat {
    /// The format that a file's name tells: `.npy`, `.parquet` or `.jsonl`.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_lowercase().as_str() {
            "npy" => Some(Self::Npy),
            "parquet" => Some(Self::Parquet),
            "jsonl" => Some(Self::JsonLines),
            _ => None,
        }
    }
}

/// Texts and their vectors, row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct TextVectors {
    /// The texts.
    pub texts: Vec<String>,
    /// Their vectors, `[texts.len(), dimensions]`.
    pub embeddings: Embeddings,
}

/// Writes `rows` vectors to a file, batch by batch and quantised on the way. The file appears whole or not
/// at all.
///
/// # Errors
/// [`Error::Core`](crate::Error::Core) when the file cannot be written, the error of a batch, and
/// [`Error::Dimensions`](crate::Error::Dimensions) for a batch of another width than the quantizer's; an
/// old file stays then.
pub fn write(
    path: &Path,
    format: VectorFormat,
    quantizer: &Quantizer,
    rows: u64,
    batches: impl IntoIterator<Item = Result<TextVectors>>,
) -> Result<()> {
    atomic::write_file(path, |file| {
        let refused = |error| CoreError::io("write", path)(error);
        let (width, numbers) = (quantizer.width(), quantizer.number_type());
        let mut writer = match format {
            VectorFormat::Npy => VectorWriter::npy(file, rows, width, numbers),
            VectorFormat::Parquet => VectorWriter::parquet(file, width, numbers),
            VectorFormat::JsonLines => Ok(VectorWriter::json_lines(file)),
        }
        .map_err(refused)?;
        for batch in batches {
            let TextVectors { texts, embeddings } = batch?;
            writer.write(&texts, &quantizer.quantize(&embeddings)?).map_err(refused)?;
        }
        writer.finish().map_err(refused)?;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::quantization::{Quantization, Ranges};

    fn batches() -> Vec<Result<TextVectors>> {
        let batch = |texts: &[&str], values: &[f32]| {
            let texts = texts.iter().map(|&text| text.to_owned()).collect();
            Ok(TextVectors { texts, embeddings: Embeddings::new(2, values.to_vec()).unwrap() })
        };
        vec![batch(&["a \"b\"", ""], &[1.0, -2.0, 0.5, 0.0]), batch(&["c"], &[0.25, 3.0])]
    }

    fn quantizer(quantization: Quantization) -> Quantizer {
        let mut ranges = Ranges::new(2);
        for batch in batches() {
            ranges.extend(&batch.unwrap().embeddings);
        }
        Quantizer::new(quantization, 2, Some(&ranges)).unwrap()
    }

    #[test]
    fn an_array_has_the_bytes_that_numpy_saves() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.npy");
        for (quantization, description, width, last) in [
            (Quantization::Float32, "'<f4'", 2, &3.0_f32.to_le_bytes()[..]),
            (Quantization::Int8, "'|i1'", 2, &[126]),
            (Quantization::Uint8, "'|u1'", 2, &[254]),
            (Quantization::Ubinary, "'|u1'", 1, &[0b1100_0000]),
        ] {
            let quantizer = quantizer(quantization);
            write(&path, VectorFormat::Npy, &quantizer, 3, batches()).unwrap();
            let bytes = fs::read(&path).unwrap();
            // https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
            assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
            let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
            assert_eq!((10 + length) % 16, 0);
            let header = String::from_utf8_lossy(&bytes[10..10 + length]);
            assert!(header.contains(&format!("'descr': {description}")), "{header}");
            assert!(header.contains(&format!("'shape': (3, {width},")), "{header}");
            assert!(header.contains("'fortran_order': False"), "{header}");
            assert_eq!(bytes.len(), 10 + length + 3 * width * last.len());
            assert!(bytes.ends_with(last));
        }
    }

    #[test]
    fn lines_keep_texts_and_vectors_together() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.jsonl");
        let float32 = quantizer(Quantization::Float32);
        write(&path, VectorFormat::JsonLines, &float32, 3, batches()).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "{\"text\":\"a \\\"b\\\"\",\"embedding\":[1.0,-2.0]}\n\
             {\"text\":\"\",\"embedding\":[0.5,0.0]}\n\
             {\"text\":\"c\",\"embedding\":[0.25,3.0]}\n"
        );
        let binary = quantizer(Quantization::Binary);
        write(&path, VectorFormat::JsonLines, &binary, 3, batches()).unwrap();
        let lines = fs::read_to_string(&path).unwrap();
        assert!(lines.ends_with("{\"text\":\"c\",\"embedding\":[64]}\n"), "{lines}");
    }

    #[test]
    fn floats_read_back_from_arrays_and_tables() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["v.npy", "v.parquet"] {
            let path = folder.path().join(name);
            let format = VectorFormat::of(&path).unwrap();
            write(&path, format, &quantizer(Quantization::Float32), 3, batches()).unwrap();
            let values: Vec<f32> = read(&path)
                .unwrap()
                .flat_map(|embeddings| embeddings.unwrap().as_slice().to_vec())
                .collect();
            assert_eq!(values, [1.0, -2.0, 0.5, 0.0, 0.25, 3.0], "{name}");
        }
    }

    #[test]
    fn a_table_has_numbers_of_the_quantised_type() {
        use ::parquet::arrow::arrow_reader::ParquetRecordBatchReader;
        use arrow::array::AsArray as _;
        use arrow::datatypes::DataType;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.parquet");
        for (quantization, item, width) in [
            (Quantization::Float32, DataType::Float32, 2),
            (Quantization::Int8, DataType::Int8, 2),
            (Quantization::Uint8, DataType::UInt8, 2),
            (Quantization::Binary, DataType::Int8, 1),
            (Quantization::Ubinary, DataType::UInt8, 1),
        ] {
            let quantizer = quantizer(quantization);
            write(&path, VectorFormat::Parquet, &quantizer, 3, batches()).unwrap();
            let file = fs::File::open(&path).unwrap();
            let mut reader = ParquetRecordBatchReader::try_new(file, 10).unwrap();
            let batch = reader.next().unwrap().unwrap();
            let list = batch.column_by_name("embedding").unwrap().as_fixed_size_list();
            assert_eq!((list.value_type(), list.value_length()), (item, width));
            let texts = batch.column_by_name("text").unwrap().as_string::<i32>();
            assert_eq!(texts.iter().flatten().collect::<Vec<_>>(), ["a \"b\"", "", "c"]);
        }
    }

    #[test]
    fn an_array_of_fewer_rows_than_promised_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.npy");
        let float32 = quantizer(Quantization::Float32);
        let refused = write(&path, VectorFormat::Npy, &float32, 4, batches());
        assert!(matches!(refused, Err(crate::Error::Core(_))), "{refused:?}");
        assert!(!path.exists());
    }

    #[test]
    fn what_holds_no_vectors_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let refusal = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            let refused = read(&path).and_then(|mut batches| batches.next().transpose());
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains(name), "{refused}");
            refused
        };
        refusal("a.npy", b"no array");
        refusal("a.parquet", b"no table");
        assert!(refusal("a.csv", b"1,2").contains(".npy or .parquet"));
        let path = folder.path().join("b.npy");
        write(&path, VectorFormat::Npy, &quantizer(Quantization::Uint8), 3, batches()).unwrap();
        let bytes = fs::read(&path).unwrap();
        assert!(refusal("b.npy", &bytes).contains("expected 32-bit floats"));
        write(&path, VectorFormat::Npy, &quantizer(Quantization::Float32), 3, batches()).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes.truncate(bytes.len() - 1);
        refusal("c.npy", &bytes);
    }
}
