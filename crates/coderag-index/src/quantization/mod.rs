//! Vectors in fewer bits, with the numbers of sentence-transformers' `quantize_embeddings`.

mod ranges;

use coderag_core::Embeddings;

pub use self::ranges::Ranges;
use crate::{Error, Result};

/// How the numbers of vectors are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quantization {
    /// As they are.
    #[default]
    Float32,
    /// Each dimension's range in 255 equal steps, from -128.
    Int8,
    /// Each dimension's range in 255 equal steps, from 0.
    Uint8,
    /// [`Ubinary`](Self::Ubinary)'s bytes less 128.
    Binary,
    /// A bit for each dimension, set where the number is above 0. The first dimension is the highest bit
    /// of the first byte; the last byte is filled up with zeros.
    Ubinary,
}

impl Quantization {
    /// Whether each dimension's range decides the numbers.
    pub fn needs_ranges(self) -> bool {
        matches!(self, Self::Int8 | Self::Uint8)
    }

    /// How many numbers a vector has.
    pub fn width(self, dimensions: usize) -> usize {
        match self {
            Self::Float32 | Self::Int8 | Self::Uint8 => dimensions,
            Self::Binary | Self::Ubinary => dimensions.div_ceil(8),
        }
    }

    /// The type of the numbers.
    pub fn number_type(self) -> NumberType {
        match self {
            Self::Float32 => NumberType::Float32,
            Self::Int8 | Self::Binary => NumberType::Int8,
            Self::Uint8 | Self::Ubinary => NumberType::Uint8,
        }
    }
}

/// The type of a stored number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberType {
    /// A 32-bit float.
    Float32,
    /// A signed byte.
    Int8,
    /// A byte.
    Uint8,
}

/// Quantised vectors, `[texts, width]`.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantizedEmbeddings {
    width: usize,
    numbers: Numbers,
}

/// The numbers of vectors, row by row.
#[derive(Clone, Debug, PartialEq)]
pub enum Numbers {
    /// 32-bit floats.
    Float32(Vec<f32>),
    /// Signed bytes.
    Int8(Vec<i8>),
    /// Bytes.
    Uint8(Vec<u8>),
}

impl QuantizedEmbeddings {
    /// How many vectors there are.
    pub fn len(&self) -> usize {
        let numbers = match &self.numbers {
            Numbers::Float32(values) => values.len(),
            Numbers::Int8(values) => values.len(),
            Numbers::Uint8(values) => values.len(),
        };
        numbers / self.width
    }

    /// Whether there are no vectors.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many numbers a vector has.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The type of the numbers.
    pub fn number_type(&self) -> NumberType {
        match self.numbers {
            Numbers::Float32(_) => NumberType::Float32,
            Numbers::Int8(_) => NumberType::Int8,
            Numbers::Uint8(_) => NumberType::Uint8,
        }
    }

    /// The numbers, row by row.
    pub fn numbers(&self) -> &Numbers {
        &self.numbers
    }
}

/// Quantises vectors, however many at a time.
#[derive(Clone, Debug)]
pub struct Quantizer {
    quantization: Quantization,
    dimensions: usize,
    /// Of each dimension its least number and its step; none where no ranges are needed.
    scales: Vec<(f32, f32)>,
}

impl Quantizer {
    /// Quantises vectors of `dimensions` numbers; `ranges` are for those quantisations that
    /// [need](Quantization::needs_ranges) them.
    ///
    /// # Errors
    /// [`Error::NoRanges`], and [`Error::RangesWidth`] for ranges of other vectors.
    pub fn new(
        quantization: Quantization,
        dimensions: usize,
        ranges: Option<&Ranges>,
    ) -> Result<Self> {
        let mut scales = Vec::new();
        if quantization.needs_ranges() {
            let ranges = ranges.ok_or(Error::NoRanges)?;
            if ranges.dimensions() != dimensions {
                return Err(Error::RangesWidth {
                    found: ranges.dimensions(),
                    expected: dimensions,
                });
            }
            scales = ranges.scales().collect();
        }
        Ok(Self { quantization, dimensions, scales })
    }

    /// How many numbers a quantised vector has.
    pub fn width(&self) -> usize {
        self.quantization.width(self.dimensions)
    }

    /// The type of the quantised numbers.
    pub fn number_type(&self) -> NumberType {
        self.quantization.number_type()
    }

    /// Quantises vectors.
    ///
    /// # Errors
    /// [`Error::Dimensions`] for vectors of another width.
    pub fn quantize(&self, embeddings: &Embeddings) -> Result<QuantizedEmbeddings> {
        let (found, expected) = (embeddings.dimensions(), self.dimensions);
        if found != expected {
            return Err(Error::Dimensions { found, expected });
        }
        let numbers = match self.quantization {
            Quantization::Float32 => Numbers::Float32(embeddings.as_slice().to_vec()),
            Quantization::Int8 => {
                // The cast cuts nothing off: the steps are whole numbers from 0 to 255.
                let signed = |step: f32| (step - 128.0) as i8;
                Numbers::Int8(self.steps(embeddings).map(signed).collect())
            }
            Quantization::Uint8 => {
                Numbers::Uint8(self.steps(embeddings).map(|step| step as u8).collect())
            }
            Quantization::Binary => {
                let signed = |byte: u8| byte.wrapping_sub(128).cast_signed();
                Numbers::Int8(packed_signs(embeddings).map(signed).collect())
            }
            Quantization::Ubinary => Numbers::Uint8(packed_signs(embeddings).collect()),
        };
        Ok(QuantizedEmbeddings { width: self.width(), numbers })
    }

    /// Of each number the step of its dimension's range that it is in, a whole number from 0 to 255.
    fn steps(&self, embeddings: &Embeddings) -> impl Iterator<Item = f32> {
        embeddings.rows().flat_map(|row| {
            row.iter()
                .zip(&self.scales)
                .map(|(value, (start, step))| ((value - start) / step).floor().clamp(0.0, 255.0))
        })
    }
}

/// A bit for each number, as `numpy.packbits(embeddings > 0, axis=-1)`.
fn packed_signs(embeddings: &Embeddings) -> impl Iterator<Item = u8> {
    embeddings.rows().flat_map(|row| {
        row.chunks(8).map(|values| {
            values
                .iter()
                .zip((0..8).rev())
                .fold(0, |byte, (value, bit)| byte | u8::from(*value > 0.0) << bit)
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    /// What sentence-transformers' `quantize_embeddings` makes of vectors; see
    /// scripts/reference_embed.py.
    #[derive(Deserialize)]
    struct Reference {
        embeddings: Vec<Vec<f32>>,
        calibration: Vec<Vec<f32>>,
        own_ranges: Expected,
        calibrated: Expected,
    }

    #[derive(Deserialize)]
    struct Expected {
        int8: Vec<Vec<i8>>,
        uint8: Vec<Vec<u8>>,
        binary: Vec<Vec<i8>>,
        ubinary: Vec<Vec<u8>>,
    }

    fn matrix(rows: &[Vec<f32>]) -> Embeddings {
        Embeddings::new(rows[0].len(), rows.concat()).unwrap()
    }

    #[test]
    fn numbers_are_those_of_sentence_transformers() {
        let reference = include_str!("../../tests/fixtures/quantization.json");
        let reference: Reference = serde_json::from_str(reference).unwrap();
        let embeddings = matrix(&reference.embeddings);
        assert_ne!(embeddings.dimensions() % 8, 0);
        for (calibration, expected) in [
            (&reference.embeddings, &reference.own_ranges),
            (&reference.calibration, &reference.calibrated),
        ] {
            let mut ranges = Ranges::new(embeddings.dimensions());
            ranges.extend(&matrix(calibration));
            for (quantization, expected) in [
                (Quantization::Float32, Numbers::Float32(reference.embeddings.concat())),
                (Quantization::Int8, Numbers::Int8(expected.int8.concat())),
                (Quantization::Uint8, Numbers::Uint8(expected.uint8.concat())),
                (Quantization::Binary, Numbers::Int8(expected.binary.concat())),
                (Quantization::Ubinary, Numbers::Uint8(expected.ubinary.concat())),
            ] {
                let quantizer =
                    Quantizer::new(quantization, embeddings.dimensions(), Some(&ranges)).unwrap();
                let found = quantizer.quantize(&embeddings).unwrap();
                assert_eq!(found.numbers(), &expected, "{quantization:?}");
                assert_eq!(found.len(), embeddings.len());
                assert_eq!(found.number_type(), quantizer.number_type());
            }
        }
    }

    #[test]
    fn ranges_are_asked_for_and_must_fit() {
        let new = |quantization, ranges| Quantizer::new(quantization, 3, ranges).map(|_| ());
        assert!(matches!(new(Quantization::Int8, None), Err(Error::NoRanges)));
        let narrow = Ranges::new(2);
        let refused = new(Quantization::Uint8, Some(&narrow));
        assert!(matches!(refused, Err(Error::RangesWidth { found: 2, expected: 3 })));
        assert!(new(Quantization::Binary, None).is_ok());
        let binary = Quantizer::new(Quantization::Binary, 3, None).unwrap();
        let wide = Embeddings::new(4, vec![0.0; 4]).unwrap();
        assert!(matches!(binary.quantize(&wide), Err(Error::Dimensions { .. })));
    }

    proptest! {
        #[test]
        fn any_cut_into_batches_gives_the_same_numbers(
            values in prop::collection::vec(prop::num::f32::ANY, 5 * 11),
            cut in 0_usize..5,
        ) {
            let (head, tail) = values.split_at(cut * 11);
            let part = |values: &[f32]| Embeddings::new(11, values.to_vec()).unwrap();
            let mut ranges = Ranges::new(11);
            ranges.extend(&part(&values));
            let mut parted = Ranges::new(11);
            parted.extend(&part(head));
            parted.extend(&part(tail));
            prop_assert_eq!(&ranges, &parted);
            for quantization in [Quantization::Int8, Quantization::Uint8, Quantization::Binary] {
                let quantizer = Quantizer::new(quantization, 11, Some(&ranges)).unwrap();
                let whole = quantizer.quantize(&part(&values)).unwrap();
                let parts = [head, tail].map(|values| quantizer.quantize(&part(values)).unwrap());
                let count: usize = parts.iter().map(QuantizedEmbeddings::len).sum();
                prop_assert_eq!(count, whole.len());
                match (whole.numbers(), parts[0].numbers(), parts[1].numbers()) {
                    (Numbers::Int8(whole), Numbers::Int8(head), Numbers::Int8(tail)) => {
                        prop_assert_eq!(whole, &[&head[..], tail].concat());
                    }
                    (Numbers::Uint8(whole), Numbers::Uint8(head), Numbers::Uint8(tail)) => {
                        prop_assert_eq!(whole, &[&head[..], tail].concat());
                    }
                    numbers => prop_assert!(false, "{numbers:?}"),
                }
            }
        }
    }
}
