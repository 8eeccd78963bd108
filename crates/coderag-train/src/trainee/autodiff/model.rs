use burn::module::{AutodiffModule as _, Module as _};
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Int, Tensor, TensorData};
use coderag_encoder::lora::{Adapter, LoraModel as _};
use coderag_encoder::{
    Architecture, Body, ForwardPass, ModelDirectory, Pooling, TokenBatch, batches_by_length,
};

use crate::config::DropoutSettings;
use crate::{Error, Result};

/// The most tokens, padding included, that are embedded at once where nothing is remembered.
const TOKENS_AT_ONCE: usize = 8192;

/// A body with its pooling and its dropout.
#[derive(Debug)]
pub(super) struct Model<B: AutodiffBackend> {
    pub(super) architecture: Architecture,
    pub(super) pooling: Pooling,
    pub(super) body: Body<B>,
    pub(super) device: B::Device,
    /// Whether anything is left out at random.
    has_dropout: bool,
}

impl<B: AutodiffBackend> Model<B> {
    pub(super) fn load(
        directory: &ModelDirectory,
        adapter: Option<&Adapter>,
        dropout: DropoutSettings,
        device: &B::Device,
    ) -> Result<Self> {
        let mut body = with_dropout(directory.body::<B>(device)?, dropout)?;
        if let Some(adapter) = adapter {
            body = body.with_adapter(adapter)?;
        }
        let adapter_dropout = adapter.map_or(0.0, |adapter| adapter.config().dropout);
        Ok(Self {
            architecture: directory.architecture().clone(),
            pooling: directory.pooling(),
            body,
            device: device.clone(),
            has_dropout: dropout != DropoutSettings::default() || adapter_dropout > 0.0,
        })
    }

    /// The vectors of a batch, `[sequences, dim]`.
    pub(super) fn vectors(&self, batch: &TokenBatch<B>, seed: u64) -> Tensor<B, 2> {
        self.walk(&*self.body.pass(batch), batch, seed, |_, _| {})
    }

    /// The same without anything that would remember how they were computed. `keep` sees what enters each
    /// block and what leaves the last, `[batch * tokens, hidden_size]`, with the number of blocks before it.
    pub(super) fn vectors_without_graph(
        &self,
        batch: &TokenBatch<B>,
        seed: u64,
        mut keep: impl FnMut(usize, Tensor<B::InnerBackend, 2>),
    ) -> Tensor<B::InnerBackend, 2> {
        // Still on the backend with gradients, where dropout is active.
        let body = self.body.clone().no_grad();
        let keep = |index, states: &Tensor<B, 2>| keep(index, states.clone().inner());
        self.walk(&*body.pass(batch), batch, seed, keep).inner()
    }

    fn walk(
        &self,
        pass: &dyn ForwardPass<B>,
        batch: &TokenBatch<B>,
        seed: u64,
        mut keep: impl FnMut(usize, &Tensor<B, 2>),
    ) -> Tensor<B, 2> {
        let mut states = self.embeddings(pass, seed);
        for index in 0..pass.layers() {
            keep(index, &states);
            states = self.layer(pass, index, states, seed);
        }
        keep(pass.layers(), &states);
        self.pool(pass, batch, states)
    }

    /// The width of a vector.
    pub(super) fn dimensions(&self) -> usize {
        self.architecture.hidden_size()
    }

    /// The vectors of no sequences.
    pub(super) fn no_vectors(&self) -> Tensor<B::InnerBackend, 2> {
        Tensor::empty([0, self.dimensions()], &self.device)
    }

    /// Replaces the body by one that is made of it. While each parameter is replaced, nothing else holds it, so
    /// that the old and the new one of all are never in memory together.
    pub(super) fn change_body(&mut self, change: impl FnOnce(Body<B>) -> Body<B>) {
        // Its weights would be drawn when they are first used.
        let blank = Body::init(&self.architecture, &self.device);
        self.body = change(std::mem::replace(&mut self.body, blank));
    }

    /// What enters the first block.
    pub(super) fn embeddings(&self, pass: &dyn ForwardPass<B>, seed: u64) -> Tensor<B, 2> {
        self.set_seed(seed, 0);
        pass.embeddings()
    }

    /// Takes states through a block.
    pub(super) fn layer(
        &self,
        pass: &dyn ForwardPass<B>,
        index: usize,
        states: Tensor<B, 2>,
        seed: u64,
    ) -> Tensor<B, 2> {
        self.set_seed(seed, index + 1);
        pass.layer(index, states)
    }

    /// The vectors from what leaves the last block.
    pub(super) fn pool(
        &self,
        pass: &dyn ForwardPass<B>,
        batch: &TokenBatch<B>,
        states: Tensor<B, 2>,
    ) -> Tensor<B, 2> {
        self.pooling.pool(pass.finish(states), batch)
    }

    /// Has dropout in a part of the model depend on the seed and the part alone, so that the part can be
    /// computed again.
    fn set_seed(&self, seed: u64, part: usize) {
        if self.has_dropout {
            // SplitMix64's step, so that the parts of one seed are not those of the next.
            let part = (part as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            B::seed(&self.device, seed.wrapping_add(part));
        }
    }

    /// The vectors of sequences without dropout, those of like length together so that little is padded.
    pub(super) fn embed(&self, sequences: &[&[u32]]) -> Tensor<B::InnerBackend, 2> {
        let body = self.body.valid();
        let lengths: Vec<usize> = sequences.iter().map(|ids| ids.len()).collect();
        let mut rows = vec![0i64; sequences.len()];
        let (mut parts, mut embedded) = (Vec::new(), 0);
        for indices in batches_by_length(&lengths, TOKENS_AT_ONCE) {
            let chosen: Vec<&[u32]> = indices.iter().map(|&index| sequences[index]).collect();
            let batch = TokenBatch::new(&chosen, &self.device);
            parts.push(self.pooling.pool(body.forward(&batch), &batch));
            for index in indices {
                rows[index] = embedded;
                embedded += 1;
            }
        }
        let rows = TensorData::new(rows, [sequences.len()]);
        let rows = Tensor::<B::InnerBackend, 1, Int>::from_data(rows, &self.device);
        Tensor::cat(parts, 0).select(0, rows)
    }
}

/// # Errors
/// [`Error::Setting`] for a dropout that transformers' model does not have.
fn with_dropout<B: AutodiffBackend>(body: Body<B>, dropout: DropoutSettings) -> Result<Body<B>> {
    let [hidden, attention] = [dropout.hidden, dropout.attention].map(f64::from);
    match body {
        Body::Bert(bert) => Ok(Body::Bert(bert.with_dropout(hidden, attention))),
        Body::Qwen2(qwen2) if hidden == 0.0 => {
            Ok(Body::Qwen2(qwen2.with_attention_dropout(attention)))
        }
        Body::Qwen2(_) => Err(Error::Setting {
            setting: "dropout.hidden",
            problem: "Qwen2 and Qwen3 have none; use `dropout.attention` or `lora_dropout`"
                .to_owned(),
        }),
    }
}
