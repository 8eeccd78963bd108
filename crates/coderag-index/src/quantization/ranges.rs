use std::path::Path;

use coderag_core::Embeddings;

use crate::{Error, Result, vector_file};

/// The least and the greatest number of each dimension. Numbers that are NaN are passed over.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranges {
    minimum: Vec<f32>,
    maximum: Vec<f32>,
}

impl Ranges {
    /// The ranges of no vectors.
    pub fn new(dimensions: usize) -> Self {
        Self {
            minimum: vec![f32::INFINITY; dimensions],
            maximum: vec![f32::NEG_INFINITY; dimensions],
        }
    }

    /// Widens the ranges to these vectors; numbers beyond the ranges' dimensions are passed over.
    pub fn extend(&mut self, embeddings: &Embeddings) {
        for row in embeddings.rows() {
            let limits = self.minimum.iter_mut().zip(&mut self.maximum);
            for (value, (minimum, maximum)) in row.iter().zip(limits) {
                *minimum = minimum.min(*value);
                *maximum = maximum.max(*value);
            }
        }
    }

    /// The ranges of a file's vectors, `.npy` or `.parquet`: a sample of what is to be quantised.
    ///
    /// # Errors
    /// As [`vector_file::read`], and [`Error::Vectors`] for a file without vectors.
    pub fn of_file(path: &Path) -> Result<Self> {
        let mut ranges: Option<Self> = None;
        for embeddings in vector_file::read(path)? {
            let embeddings = embeddings?;
            let dimensions = embeddings.dimensions();
            let ranges = ranges.get_or_insert_with(|| Self::new(dimensions));
            if ranges.dimensions() != dimensions {
                let problem = format!(
                    "vectors of {dimensions} numbers after vectors of {}",
                    ranges.dimensions()
                );
                return Err(Error::Vectors { path: path.to_owned(), problem });
            }
            ranges.extend(&embeddings);
        }
        let none = || Error::Vectors { path: path.to_owned(), problem: "no vectors".to_owned() };
        ranges.ok_or_else(none)
    }

    /// The ranges of the very vectors that are to be quantised. As in sentence-transformers one vector is
    /// refused, since every number would be its dimension's least, and fewer than 100 are warned of.
    ///
    /// # Errors
    /// [`Error::SingleVector`], and the errors of the batches.
    pub fn of_own(
        dimensions: usize,
        batches: impl IntoIterator<Item = Result<Embeddings>>,
    ) -> Result<Self> {
        let mut ranges = Self::new(dimensions);
        let mut count = 0;
        for embeddings in batches {
            let embeddings = embeddings?;
            count += embeddings.len();
            ranges.extend(&embeddings);
        }
        match count {
            0 | 100.. => {}
            1 => return Err(Error::SingleVector),
            2..100 => tracing::warn!(
                "the ranges of each dimension are those of only {count} vectors; calibration with more \
                 gives more stable numbers"
            ),
        }
        Ok(ranges)
    }

    /// How many dimensions the vectors have.
    pub fn dimensions(&self) -> usize {
        self.minimum.len()
    }

    /// Of each dimension the least number and the step, of which 255 span the range.
    pub(super) fn scales(&self) -> impl Iterator<Item = (f32, f32)> {
        self.minimum.iter().zip(&self.maximum).map(|(minimum, maximum)| {
            let step = (maximum - minimum) / 255.0;
            (*minimum, if step == 0.0 { 1.0 } else { step })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(values: &[f32]) -> Result<Embeddings> {
        Ok(Embeddings::new(2, values.to_vec())?)
    }

    #[test]
    fn one_vector_has_no_ranges_of_its_own() {
        assert!(matches!(Ranges::of_own(2, [batch(&[1.0, 2.0])]), Err(Error::SingleVector)));
        assert_eq!(Ranges::of_own(2, []).unwrap(), Ranges::new(2));
        let ranges = Ranges::of_own(2, [batch(&[1.0, 2.0]), batch(&[3.0, -1.0])]).unwrap();
        assert_eq!((ranges.minimum, ranges.maximum), (vec![1.0, -1.0], vec![3.0, 2.0]));
    }
}
