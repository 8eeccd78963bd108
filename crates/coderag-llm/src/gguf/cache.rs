//! The keys and values of evaluated tokens, and what conversations share of them.
//!
//! Each conversation is a sequence of tokens with a stretch of the cache for itself, so that a token
//! attends to its own conversation alone: in a cache that all share, llama.cpp has each token pass over
//! the keys of all conversations, which costs more than the model itself once there are many. A
//! conversation that begins like another one copies that beginning, which takes about as long as
//! evaluating one token, in the manner of the prefix caching of vLLM and SGLang.

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

/// How many beginnings are kept when no conversation that has them is left.
const KEPT_PREFIXES: u32 = 16;

/// By how many tokens a beginning that two conversations share must exceed the kept ones to be
/// kept too. Fewer are evaluated faster than they are worth a place.
const WORTH_KEEPING: usize = 32;

/// A model's working memory: the KV cache and what is in it.
#[derive(Debug)]
pub(super) struct Cache {
    /// Refers to `model`; fields are dropped in order, so it goes first.
    context: LlamaContext<'static>,
    _model: Arc<LlamaModel>,
    batch: LlamaBatch<'static>,
    batch_tokens: usize,
    /// First those for conversations, then those for the beginnings they share.
    sequences: Vec<Sequence>,
    /// How many of the sequences are for conversations.
    parallel: usize,
    /// How many tokens a sequence can have.
    stretch: usize,
    /// Whether a sequence can take over a part of another one. The state of a recurrent model
    /// cannot be cut.
    divisible: bool,
    /// Counts uses, to find what was not used for longest.
    clock: u64,
}

/// A sequence of tokens in the cache. Its number is its place in [`Cache::sequences`].
#[derive(Debug, Default)]
struct Sequence {
    /// The tokens whose keys and values are in the cache, in order.
    tokens: Vec<LlamaToken>,
    /// Whether a conversation goes on in it.
    open: bool,
    last_use: u64,
}

/// Tokens to append to a sequence.
#[derive(Debug)]
pub(super) struct Part<'tokens> {
    pub(super) sequence: usize,
    pub(super) tokens: &'tokens [LlamaToken],
    /// Whether each token's output is wanted.
    pub(super) output: bool,
}

impl Cache {
    pub(super) fn new(
        model: Arc<LlamaModel>,
        backend: &LlamaBackend,
        options: GgufOptions,
        context_tokens: u32,
    ) -> Result<Self> {
        let GgufOptions { parallel, .. } = options;
        let sequences = if parallel == 1 { 1 } else { parallel + KEPT_PREFIXES };
        let threads = i32::try_from(options.threads).unwrap_or(i32::MAX);
        // llama.cpp aborts where a batch could not take a token of each sequence, and reading must go on
        // beside them.
        let batch_tokens = options.batch_tokens.max(2 * sequences);
        let parameters = LlamaContextParams::default()
            .with_n_ctx(NonZeroU32::new(context_tokens.saturating_mul(sequences)))
            .with_n_seq_max(sequences)
            .with_kv_unified(false)
            .with_n_batch(batch_tokens)
            .with_n_ubatch(batch_tokens)
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
            divisible: !model.is_recurrent() && !model.is_hybrid(),
            _model: model,
            batch: LlamaBatch::new(batch_tokens, 1),
            batch_tokens,
            sequences: (0..sequences).map(|_| Sequence::default()).collect(),
            parallel: usize::try_from(parallel).unwrap_or(usize::MAX),
            stretch: usize::try_from(context_tokens).unwrap_or(usize::MAX),
            clock: 0,
        })
    }

    /// The most tokens that can be evaluated at once.
    pub(super) fn batch_tokens(&self) -> usize {
        self.batch_tokens
    }

    /// How many conversations there can be at once.
    pub(super) fn parallel(&self) -> usize {
        self.parallel
    }

    /// How many of a sequence's tokens are evaluated.
    pub(super) fn length(&self, sequence: usize) -> usize {
        self.sequences.get(sequence).map_or(0, |sequence| sequence.tokens.len())
    }

    /// How many tokens a conversation that begins with `tokens` could take over from another one.
    pub(super) fn shareable(&self, tokens: &[LlamaToken]) -> usize {
        if self.divisible { self.longest_prefix(tokens).1 } else { 0 }
    }

    /// Whether a conversation could take over a part of another one.
    pub(super) fn is_divisible(&self) -> bool {
        self.divisible
    }

    /// Begins a conversation: returns its sequence, and how many of `tokens` are in it. `None` while
    /// all sequences are taken.
    pub(super) fn open(&mut self, tokens: &[LlamaToken]) -> Option<(usize, usize)> {
        let (source, common) = self.longest_prefix(tokens);
        let target = self.place_for(source, common)?;
        self.keep_prefix(source, common);
        let cached = self.take_over(source, target, common);
        self.touch(source);
        self.touch(target);
        self.sequences.get_mut(target)?.open = true;
        Some((target, cached))
    }

    /// Ends a conversation. Its tokens stay until the room is needed.
    pub(super) fn close(&mut self, sequence: usize) {
        self.touch(sequence);
        if let Some(sequence) = self.sequences.get_mut(sequence) {
            sequence.open = false;
        }
    }

    /// Appends tokens to sequences, in one pass over the model, and returns where each part's first token
    /// stands in the output. The parts are in the order of their sequences. After a failure the sequences
    /// must be forgotten, because they may hold some of the tokens.
    pub(super) fn evaluate(&mut self, parts: &[Part<'_>]) -> Result<Vec<usize>, String> {
        log::take_error();
        self.try_evaluate(parts).map_err(|reason| format!("{reason} ({})", log::take_error()))
    }

    fn try_evaluate(&mut self, parts: &[Part<'_>]) -> Result<Vec<usize>, String> {
        self.batch.clear();
        let (mut gaps, mut rows) = (Vec::new(), Vec::with_capacity(parts.len()));
        let mut next = parts.first().map_or(0, |part| part.sequence);
        for part in parts {
            for gap in next..part.sequence {
                // llama.cpp evaluates only neighbouring sequences together, so those between get a token
                // that is dropped again.
                if let Some(&filler) = part.tokens.first() {
                    if self.length(gap) >= self.stretch {
                        self.forget(gap);
                    }
                    self.add(gap, &[filler], false)?;
                    gaps.push((gap, self.length(gap)));
                }
            }
            rows.push(usize::try_from(self.batch.n_tokens()).map_err(|error| error.to_string())?);
            self.add(part.sequence, part.tokens, part.output)?;
            next = part.sequence + 1;
        }
        self.context.decode(&mut self.batch).map_err(|error| error.to_string())?;
        for (gap, length) in gaps {
            self.cut(gap, length);
        }
        for part in parts {
            if let Some(sequence) = self.sequences.get_mut(part.sequence) {
                sequence.tokens.extend_from_slice(part.tokens);
            }
        }
        Ok(rows)
    }

    /// Puts tokens into the batch, after those of their sequence.
    fn add(&mut self, sequence: usize, tokens: &[LlamaToken], output: bool) -> Result<(), String> {
        let id = i32::try_from(sequence).map_err(|error| error.to_string())?;
        for (position, &token) in (self.length(sequence)..).zip(tokens) {
            let position = i32::try_from(position).map_err(|error| error.to_string())?;
            self.batch.add(token, position, &[id], output).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Chooses the token that follows the `row`th token of the last evaluation.
    pub(super) fn sample(&self, row: usize, sampler: &mut LlamaSampler) -> LlamaToken {
        sampler.sample(&self.context, i32::try_from(row).unwrap_or(-1))
    }

    /// Drops all tokens of a sequence.
    pub(super) fn forget(&mut self, sequence: usize) {
        self.cut(sequence, 0);
    }

    /// The sequence that has most in common with `tokens` from the first token on, and how many.
    fn longest_prefix(&self, tokens: &[LlamaToken]) -> (usize, usize) {
        let common = |sequence: &Sequence| common(&sequence.tokens, tokens);
        // The first of several.
        (self.sequences.iter().map(common).enumerate())
            .rev()
            .max_by_key(|(_, common)| *common)
            .unwrap_or_default()
    }

    /// A free sequence for a conversation: `source` itself where the conversation continues it,
    /// otherwise the one that was not used for longest.
    fn place_for(&self, source: usize, common: usize) -> Option<usize> {
        let mut free =
            (0..).zip(self.sequences.iter().take(self.parallel)).filter(|(_, place)| !place.open);
        let continued = |(place, sequence): &(usize, &Sequence)| {
            *place == source && sequence.tokens.len() == common
        };
        let oldest = free.clone().min_by_key(|(_, place)| place.last_use);
        free.find(continued).or(oldest).map(|(place, _)| place)
    }

    /// Keeps what two conversations share, in a sequence of its own.
    fn keep_prefix(&mut self, source: usize, common_tokens: usize) {
        let Some(prefix) =
            self.sequences.get(source).and_then(|source| source.tokens.get(..common_tokens))
        else {
            return;
        };
        let kept = (0..)
            .zip(&self.sequences)
            .skip(self.parallel)
            .map(|(place, sequence)| (place, common(&sequence.tokens, prefix), sequence));
        let Some((longest, length, sequence)) = kept.clone().max_by_key(|(_, length, _)| *length)
        else {
            return;
        };
        if common_tokens < length + WORTH_KEEPING {
            if length > 0 {
                self.touch(longest);
            }
            return;
        }
        let oldest = kept.min_by_key(|(_, _, sequence)| sequence.last_use).map(|(place, ..)| place);
        let grows = length > 0 && sequence.tokens.len() == length;
        let place = if grows { longest } else { oldest.unwrap_or(longest) };
        self.take_over(source, place, common_tokens);
        self.touch(place);
    }

    /// Makes `target` hold the first `common` tokens of `source` and no others. Returns how many it
    /// holds: none where the model cannot do it.
    fn take_over(&mut self, source: usize, target: usize, common: usize) -> usize {
        if source == target {
            return self.cut(target, common);
        }
        self.forget(target);
        let tokens = self.sequences.get(source).and_then(|source| source.tokens.get(..common));
        let (Some(tokens), true) = (tokens.map(<[_]>::to_vec), self.divisible) else { return 0 };
        let (Ok(from), Ok(to)) = (i32::try_from(source), i32::try_from(target)) else { return 0 };
        // Stretches of the cache can only be copied whole.
        if common == 0 || self.context.copy_kv_cache_seq(from, to, None, None).is_err() {
            return 0;
        }
        if let Some(target) = self.sequences.get_mut(target) {
            target.tokens = tokens;
        }
        self.cut(target, common)
    }

    /// Drops the tokens of a sequence from `position` on, and returns how many are left. Recurrent
    /// models can only drop all.
    fn cut(&mut self, sequence: usize, position: usize) -> usize {
        let id = u32::try_from(sequence).ok();
        let dropped = u32::try_from(position)
            .ok()
            .and_then(|position| self.context.clear_kv_cache_seq(id, Some(position), None).ok())
            .unwrap_or(false);
        let left = if dropped { position } else { 0 };
        if !dropped {
            // Dropping a whole sequence never fails.
            let _ = self.context.clear_kv_cache_seq(id, None, None);
        }
        if let Some(sequence) = self.sequences.get_mut(sequence) {
            sequence.tokens.truncate(left);
        }
        left
    }

    fn touch(&mut self, sequence: usize) {
        self.clock += 1;
        if let Some(sequence) = self.sequences.get_mut(sequence) {
            sequence.last_use = self.clock;
        }
    }
}

/// How many tokens two sequences have in common, from the first one on.
pub(super) fn common(left: &[LlamaToken], right: &[LlamaToken]) -> usize {
    left.iter().zip(right).take_while(|(left, right)| left == right).count()
}

/// A reference to the model without a lifetime, for the context beside it in [`Cache`].
#[allow(unsafe_code)]
fn shared(model: &Arc<LlamaModel>) -> &'static LlamaModel {
    // SAFETY: the only use of the reference is a context that `Cache` stores with a clone of the
    // `Arc`, and drops before it; the model's address does not change when either is moved.
    unsafe { &*Arc::as_ptr(model) }
}
