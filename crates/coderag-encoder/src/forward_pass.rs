use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// A batch's way through a transformer, one part after the other. Whoever goes it step by step can keep what
/// enters each block and compute the rest again (gradient checkpointing: Chen et al., 2016,
/// arXiv:1604.06174).
pub trait ForwardPass<B: Backend> {
    /// What enters the first block, `[batch * tokens, hidden_size]`.
    fn embeddings(&self) -> Tensor<B, 2>;

    /// How many blocks there are.
    fn layers(&self) -> usize;

    /// Takes states, `[batch * tokens, hidden_size]`, through a block.
    ///
    /// # Panics
    /// When there is no block of this index.
    fn layer(&self, index: usize, states: Tensor<B, 2>) -> Tensor<B, 2>;

    /// What follows the last block: `[batch * tokens, hidden_size]` to `[batch, tokens, hidden_size]`.
    fn finish(&self, states: Tensor<B, 2>) -> Tensor<B, 3>;

    /// The whole way.
    fn run(&self) -> Tensor<B, 3> {
        let layers = 0..self.layers();
        let states = layers.fold(self.embeddings(), |states, index| self.layer(index, states));
        self.finish(states)
    }
}
