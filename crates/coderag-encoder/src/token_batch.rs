use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};

/// Token sequences, padded on the right to the longest.
#[derive(Clone, Debug)]
pub struct TokenBatch<B: Backend> {
    input_ids: Tensor<B, 2, Int>,
    lengths: Vec<usize>,
}

impl<B: Backend> TokenBatch<B> {
    /// Pads sequences of token ids to a common length.
    ///
    /// The id at padded positions is 0. It is never seen: attention is masked there and pooling
    /// leaves it out.
    pub fn new<S: AsRef<[u32]>>(sequences: &[S], device: &B::Device) -> Self {
        let lengths: Vec<usize> = sequences.iter().map(|ids| ids.as_ref().len()).collect();
        let tokens = lengths.iter().copied().max().unwrap_or(0);
        let mut ids = Vec::with_capacity(sequences.len() * tokens);
        for (row, sequence) in sequences.iter().enumerate() {
            ids.extend(sequence.as_ref().iter().map(|&id| i64::from(id)));
            ids.resize((row + 1) * tokens, 0);
        }
        let data = TensorData::new(ids, [sequences.len(), tokens]);
        Self { input_ids: Tensor::from_data(data, device), lengths }
    }

    /// The token ids, `[batch, tokens]`.
    pub fn input_ids(&self) -> Tensor<B, 2, Int> {
        self.input_ids.clone()
    }

    /// How many sequences there are and how long the longest is.
    pub fn shape(&self) -> [usize; 2] {
        self.input_ids.dims()
    }

    /// 0 at real tokens and minus infinity at padding, `[batch, tokens]`; nothing when no sequence is
    /// padded.
    pub fn padding_bias(&self) -> Option<Tensor<B, 2>> {
        let [_, tokens] = self.shape();
        let padded = self.lengths.iter().any(|&length| length < tokens);
        padded.then(|| self.fill(|_| 0.0, f32::NEG_INFINITY))
    }

    /// One over the sequence's length at real tokens and 0 at padding, `[batch, tokens]`.
    pub fn mean_weights(&self) -> Tensor<B, 2> {
        self.fill(|length| 1.0 / length as f32, 0.0)
    }

    /// The place of each sequence's last token, `[batch]`.
    pub fn last_tokens(&self) -> Tensor<B, 1, Int> {
        let last: Vec<i64> =
            self.lengths.iter().map(|&length| length.saturating_sub(1) as i64).collect();
        Tensor::from_data(TensorData::from(last.as_slice()), &self.input_ids.device())
    }

    /// `[batch, tokens]` with one value for each sequence's real tokens and another for padding.
    fn fill(&self, real: impl Fn(usize) -> f32, padding: f32) -> Tensor<B, 2> {
        let [batch, tokens] = self.shape();
        let mut values = Vec::with_capacity(batch * tokens);
        for (row, &length) in self.lengths.iter().enumerate() {
            values.resize(row * tokens + length, real(length));
            values.resize((row + 1) * tokens, padding);
        }
        let device = self.input_ids.device();
        Tensor::from_data(TensorData::new(values, [batch, tokens]), &device)
    }
}
