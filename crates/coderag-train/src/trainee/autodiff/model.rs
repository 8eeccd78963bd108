use burn::module::{AutodiffModule as _, Module as _};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Int, Tensor, TensorData};
use coderag_encoder::lora::{Adapter, LoraModel as _};
use coderag_encoder::{
    Architecture, Body, ForwardPass, ModelDirectory, Pooling, TokenBatch, batches_by_length,
};

use crate::config::DropoutSettings;
use crate::{Error, Result};

/// The most tokens that go through the model together, padding included. On two Zen 4 cores 1024 to 4096 take
/// about the same time, and 8192 more.
const TOKENS_AT_ONCE: usize = 4096;

/// A body with its pooling and its dropout.
#[derive(Debug)]
pub(super) struct Model<B: AutodiffBackend> {
    pub(super) architecture: Architecture,
    pub(super) pooling: Pooling,
    pub(super) body: Body<B>,
    pub(super) device: B::Device,
    /// The most tokens that go through the body together, padding included; a longer sequence goes alone.
    pub(super) tokens_at_once: usize,
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
            tokens_at_once: TOKENS_AT_ONCE,
            has_dropout: dropout != DropoutSettings::default() || adapter_dropout > 0.0,
        })
    }

    /// The vectors of a part, `[sequences, dim]`.
    pub(super) fn vectors(&self, part: &Part<B>) -> Tensor<B, 2> {
        self.walk(&*self.body.pass(&part.batch), part, |_, _| {})
    }

    /// The same without anything that would remember how they were computed. `keep` sees what enters each
    /// block and what leaves the last, `[batch * tokens, hidden_size]`, with the number of blocks before it.
    pub(super) fn vectors_without_graph(
        &self,
        part: &Part<B>,
        mut keep: impl FnMut(usize, Tensor<B::InnerBackend, 2>),
    ) -> Tensor<B::InnerBackend, 2> {
        // Still on the backend with gradients, where dropout is active.
        let body = self.body.clone().no_grad();
        let keep = |index, states: &Tensor<B, 2>| keep(index, states.clone().inner());
        self.walk(&*body.pass(&part.batch), part, keep).inner()
    }

    fn walk(
        &self,
        pass: &dyn ForwardPass<B>,
        part: &Part<B>,
        mut keep: impl FnMut(usize, &Tensor<B, 2>),
    ) -> Tensor<B, 2> {
        let mut states = self.embeddings(pass, part.seed);
        for index in 0..pass.layers() {
            keep(index, &states);
            states = self.layer(pass, index, states, part.seed);
        }
        keep(pass.layers(), &states);
        self.pool(pass, &part.batch, states)
    }

    /// The width of a vector.
    pub(super) fn dimensions(&self) -> usize {
        self.architecture.hidden_size()
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

    /// Has dropout in the embeddings, 0, or a block, from 1, depend on the seed and the block alone, so that it
    /// can be computed again.
    fn set_seed(&self, seed: u64, block: usize) {
        if self.has_dropout {
            // SplitMix64's step, so that the blocks of one seed are not those of the next.
            let block = (block as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            B::seed(&self.device, seed.wrapping_add(block));
        }
    }

    /// Divides sequences into parts of like length, so that little is padded.
    pub(super) fn parts<A: Backend<Device = B::Device>>(
        &self,
        sequences: &[&[u32]],
        seed: u64,
    ) -> Vec<Part<A>> {
        let lengths: Vec<usize> = sequences.iter().map(|ids| ids.len()).collect();
        let batches = batches_by_length(&lengths, self.tokens_at_once).into_iter().enumerate();
        let part = |(number, indices): (usize, Vec<usize>)| {
            let chosen: Vec<&[u32]> = indices.iter().map(|&index| sequences[index]).collect();
            let batch = TokenBatch::new(&chosen, &self.device);
            // Apart from those of the parts before and from those of blocks.
            let seed = seed ^ (number as u64).rotate_right(16);
            Part { indices, batch, seed }
        };
        batches.map(part).collect()
    }

    /// The vectors of sequences without dropout.
    pub(super) fn embed(&self, sequences: &[&[u32]]) -> Tensor<B::InnerBackend, 2> {
        let body = self.body.valid();
        let embed = |part: Part<B::InnerBackend>| {
            (self.pooling.pool(body.forward(&part.batch), &part.batch), part.indices)
        };
        self.in_order(self.parts(sequences, 0).into_iter().map(embed))
    }

    /// The vectors of parts in the order of their sequences.
    pub(super) fn in_order(
        &self,
        parts: impl Iterator<Item = (Tensor<B::InnerBackend, 2>, Vec<usize>)>,
    ) -> Tensor<B::InnerBackend, 2> {
        let (vectors, indices): (Vec<_>, Vec<_>) = parts.unzip();
        if vectors.is_empty() {
            return Tensor::empty([0, self.dimensions()], &self.device);
        }
        let indices = indices.concat();
        let mut rows = vec![0; indices.len()];
        indices.into_iter().enumerate().for_each(|(row, index)| rows[index] = row);
        Tensor::cat(vectors, 0).select(0, self.rows(&rows))
    }

    /// Numbers of rows, on the device.
    pub(super) fn rows(&self, rows: &[usize]) -> Tensor<B::InnerBackend, 1, Int> {
        let rows: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
        Tensor::from_data(TensorData::from(rows.as_slice()), &self.device)
    }
}

/// Sequences that go through the model together.
#[derive(Debug)]
pub(super) struct Part<B: Backend> {
    /// Which of a call's sequences they are.
    pub(super) indices: Vec<usize>,
    pub(super) batch: TokenBatch<B>,
    /// Of their dropout.
    pub(super) seed: u64,
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
