use crate::{Digest, Error, Result};

/// Which side of an asymmetric encoder a text belongs to; it selects the model's prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextRole {
    /// A question, embedded with the model's `query` prompt where it has one.
    Query,
    /// A text to be found, embedded with the model's `document` prompt where it has one.
    Document,
}

/// A row-major matrix of embeddings, `[texts, dimensions]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Embeddings {
    dimensions: usize,
    values: Vec<f32>,
}

impl Embeddings {
    /// Wraps row-major values, `[texts, dimensions]`.
    ///
    /// # Errors
    /// [`Error::RaggedEmbeddings`] when the values do not fill whole rows.
    pub fn new(dimensions: usize, values: Vec<f32>) -> Result<Self> {
        if dimensions == 0 || !values.len().is_multiple_of(dimensions) {
            return Err(Error::RaggedEmbeddings { values: values.len(), dimensions });
        }
        Ok(Self { dimensions, values })
    }

    /// The width of a row.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.values.len() / self.dimensions
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// All values, row by row.
    pub fn as_slice(&self) -> &[f32] {
        &self.values
    }

    /// The rows in order, each `[dimensions]`.
    pub fn rows(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact(self.dimensions)
    }

    /// The first values of each row, as sentence-transformers' `truncate_embeddings`: rows that are no
    /// wider than `dimensions` stay as they are.
    ///
    /// # Errors
    /// [`Error::RaggedEmbeddings`] for no dimensions.
    pub fn truncate(self, dimensions: usize) -> Result<Self> {
        if dimensions >= self.dimensions {
            return Ok(self);
        }
        let values = self.rows().flat_map(|row| row.iter().take(dimensions).copied()).collect();
        Self::new(dimensions, values)
    }

    /// Scales each row to length 1, as `torch.nn.functional.normalize`: a row of zeros stays one.
    pub fn normalize(&mut self) {
        for row in self.values.chunks_exact_mut(self.dimensions) {
            let length = row.iter().map(|value| value * value).sum::<f32>().sqrt().max(1e-12);
            row.iter_mut().for_each(|value| *value /= length);
        }
    }

    /// The values, row by row.
    pub fn into_values(self) -> Vec<f32> {
        self.values
    }
}

/// Turns texts into vectors.
pub trait Embedder: Send + Sync {
    /// The digest of everything that decides the vectors: weights, tokeniser, pooling, prompts.
    /// Two embedders with the same fingerprint can search each other's indexes.
    fn fingerprint(&self) -> Digest;

    /// The width of the vectors.
    fn dimensions(&self) -> usize;

    /// Embeds texts in order, `[texts.len(), dimensions]`. A text gives the same vector alone and in
    /// any batch, up to floating-point noise.
    ///
    /// # Errors
    /// [`Error::Component`] when the backend fails.
    fn embed(&self, texts: &[&str], role: TextRole) -> Result<Embeddings>;
}

/// The dot product of two vectors of one width, summed in lanes so that it vectorises and rounds the same everywhere.
pub fn dot(left: &[f32], right: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut sums = [0.0; LANES];
    let (left, left_rest) = left.as_chunks::<LANES>();
    let (right, right_rest) = right.as_chunks::<LANES>();
    for (left, right) in left.iter().zip(right) {
        for ((sum, left), right) in sums.iter_mut().zip(left).zip(right) {
            *sum += left * right;
        }
    }
    let rest: f32 = left_rest.iter().zip(right_rest).map(|(left, right)| left * right).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_and_then_scaled() {
        let embeddings = || Embeddings::new(3, vec![3.0, 4.0, 12.0, 0.0, 0.0, 1.0]).unwrap();
        let mut cut = embeddings().truncate(2).unwrap();
        assert_eq!(cut, Embeddings::new(2, vec![3.0, 4.0, 0.0, 0.0]).unwrap());
        cut.normalize();
        assert_eq!(cut.as_slice(), [0.6, 0.8, 0.0, 0.0]);
        assert_eq!(embeddings().truncate(4).unwrap(), embeddings());
        assert!(embeddings().truncate(0).is_err());
    }
}
