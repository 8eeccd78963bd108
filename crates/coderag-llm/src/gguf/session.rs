use std::num::NonZeroU32;
use std::sync::Arc;

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;

use super::{GgufOptions, log};
use crate::{Error, Result};

/// The one sequence of tokens that a context holds.
const SEQUENCE: i32 = 0;

/// A model's working memory: the KV cache and what is in it.
#[derive(Debug)]
pub(super) struct Session {
    /// Refers to `model`; fields are dropped in order, so it goes first.
    context: LlamaContext<'static>,
    _model: Arc<LlamaModel>,
    batch: LlamaBatch<'static>,
    batch_tokens: usize,
    context_tokens: usize,
    /// The tokens whose keys and values are in the cache, in order.
    evaluated: Vec<LlamaToken>,
}

impl Session {
    pub(super) fn new(
        model: Arc<LlamaModel>,
        backend: &LlamaBackend,
        options: GgufOptions,
    ) -> Result<Self> {
        let trained_on = trained_context(&model).unwrap_or(u32::MAX);
        let context_tokens = options.context_tokens.min(trained_on).max(1);
        let threads = i32::try_from(options.threads).unwrap_or(i32::MAX);
        let parameters = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(context_tokens))
            .with_n_batch(options.batch_tokens)
            .with_n_ubatch(options.batch_tokens)
            .with_n_threads(threads)
            .with_n_threads_batch(threads);
        log::take_error();
        let context = shared(&model)
            .new_context(backend, parameters)
            .map_err(|_| Error::Engine { action: "set up a context", reason: log::take_error() })?;
        // llama.cpp lowers the batch to the context's length.
        let batch_tokens = usize::try_from(context.n_batch()).unwrap_or(1).max(1);
        Ok(Self {
            context,
            _model: model,
            batch: LlamaBatch::new(batch_tokens, 1),
            batch_tokens,
            context_tokens: usize::try_from(context_tokens).unwrap_or(usize::MAX),
            evaluated: Vec::new(),
        })
    }

    /// The most tokens that a conversation and its answer may have together.
    pub(super) fn context_tokens(&self) -> usize {
        self.context_tokens
    }

    /// Evaluates a conversation, less what it has in common with what is in the cache, and returns
    /// how many tokens that was.
    pub(super) fn evaluate_prompt(&mut self, prompt: &[LlamaToken]) -> Result<usize> {
        let Some((last, before)) = prompt.split_last() else {
            let reason = "it is empty".to_owned();
            return Err(Error::Engine { action: "evaluate the conversation", reason });
        };
        let common = before
            .iter()
            .zip(&self.evaluated)
            .take_while(|(wanted, evaluated)| wanted == evaluated)
            .count();
        let kept = if self.forget_from(common) { common } else { 0 };
        if kept == 0 {
            self.forget();
        }
        self.evaluate(before.get(kept..).unwrap_or_default())?;
        // The answer begins with the output of the last token. It is evaluated alone, whatever was
        // reused, because llama.cpp rounds differently in larger batches: so the same request gives
        // the same answer the second time.
        self.evaluate(&[*last])?;
        Ok(kept)
    }

    /// Appends tokens to the sequence.
    pub(super) fn evaluate(&mut self, tokens: &[LlamaToken]) -> Result<()> {
        log::take_error();
        self.try_evaluate(tokens).map_err(|reason| {
            // The cache may hold a part of the batch.
            self.forget();
            let reason = format!("{reason} ({})", log::take_error());
            Error::Engine { action: "evaluate the conversation", reason }
        })
    }

    fn try_evaluate(&mut self, tokens: &[LlamaToken]) -> Result<(), String> {
        for chunk in tokens.chunks(self.batch_tokens) {
            self.batch.clear();
            for (position, &token) in (self.evaluated.len()..).zip(chunk) {
                let position = i32::try_from(position).map_err(|error| error.to_string())?;
                // Only the last token's output is wanted, which is evaluated alone.
                let wanted = tokens.len() == 1;
                self.batch
                    .add(token, position, &[SEQUENCE], wanted)
                    .map_err(|error| error.to_string())?;
            }
            self.context.decode(&mut self.batch).map_err(|error| error.to_string())?;
            self.evaluated.extend_from_slice(chunk);
        }
        Ok(())
    }

    /// Chooses the token that follows what was evaluated last.
    pub(super) fn sample(&self, sampler: &mut LlamaSampler) -> LlamaToken {
        sampler.sample(&self.context, -1)
    }

    /// Drops the tokens from `position` on from the cache. Recurrent models cannot; they return
    /// `false`.
    fn forget_from(&mut self, position: usize) -> bool {
        let dropped = u32::try_from(position)
            .ok()
            .and_then(|position| {
                self.context.clear_kv_cache_seq(Some(0), Some(position), None).ok()
            })
            .unwrap_or(false);
        self.evaluated.truncate(position);
        dropped
    }

    fn forget(&mut self) {
        self.context.clear_kv_cache();
        self.evaluated.clear();
    }
}

/// The length of the contexts that the model was trained on.
fn trained_context(model: &LlamaModel) -> Option<u32> {
    let architecture = model.meta_val_str("general.architecture").ok()?;
    model.meta_val_str(&format!("{architecture}.context_length")).ok()?.parse().ok()
}

/// A reference to the model without a lifetime, for the context beside it in [`Session`].
#[allow(unsafe_code)]
fn shared(model: &Arc<LlamaModel>) -> &'static LlamaModel {
    // SAFETY: the only use of the reference is a context that `Session` stores with a clone of the
    // `Arc`, and drops before it; the model's address does not change when either is moved.
    unsafe { &*Arc::as_ptr(model) }
}
