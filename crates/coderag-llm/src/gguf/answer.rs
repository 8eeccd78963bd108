use std::ops::ControlFlow;
use std::sync::mpsc::Sender;

use coderag_core::{FinishReason, Usage};
use llama_cpp_2::sampling::LlamaSampler;
use llama_cpp_2::token::LlamaToken;

use super::text::TextStream;
use super::tokens::Tokens;
use crate::Error;

/// What the engine tells the thread that waits for an answer.
#[derive(Debug)]
pub(super) enum Event {
    /// More text, and what the answer has taken up to there.
    Text { text: String, usage: Usage },
    /// There is no more.
    Finished { finish_reason: FinishReason, usage: Usage },
    /// There is no answer.
    Failed(Error),
}

/// An answer that grows token by token.
#[derive(Debug)]
pub(super) struct Answer {
    sampler: LlamaSampler,
    stream: TextStream,
    /// The most tokens it may have.
    limit: u32,
    usage: Usage,
    receiver: Sender<Event>,
}

impl Answer {
    pub(super) fn new(
        sampler: LlamaSampler,
        stream: TextStream,
        limit: u32,
        prompt_tokens: u32,
        receiver: Sender<Event>,
    ) -> Self {
        let usage = Usage { prompt_tokens, ..Usage::default() };
        Self { sampler, stream, limit, usage, receiver }
    }

    pub(super) fn set_cached_tokens(&mut self, cached_tokens: u32) {
        self.usage.cached_tokens = cached_tokens;
    }

    /// Adds the token that `choose` takes from the model's output, and breaks where the answer ends
    /// with it or nobody waits for it any more.
    pub(super) fn grow(
        &mut self,
        tokens: &Tokens,
        choose: impl FnOnce(&mut LlamaSampler) -> LlamaToken,
    ) -> ControlFlow<(), LlamaToken> {
        if self.usage.completion_tokens == self.limit {
            return self.finish(FinishReason::Length);
        }
        let token = choose(&mut self.sampler);
        if tokens.ends_turn(token) {
            self.show_rest()?;
            return self.finish(FinishReason::Stop);
        }
        self.usage.completion_tokens += 1;
        let addition = self.stream.push(&tokens.bytes(token));
        self.show(addition.text)?;
        if addition.stopped {
            return self.finish(FinishReason::Stop);
        }
        if self.usage.completion_tokens == self.limit {
            self.show_rest()?;
            return self.finish(FinishReason::Length);
        }
        ControlFlow::Continue(token)
    }

    pub(super) fn fail(&self, error: Error) {
        // Whether anybody still waits makes no difference.
        let _ = self.receiver.send(Event::Failed(error));
    }

    fn show_rest(&mut self) -> ControlFlow<()> {
        let rest = self.stream.finish();
        self.show(rest)
    }

    fn show(&self, text: String) -> ControlFlow<()> {
        if text.is_empty() {
            return ControlFlow::Continue(());
        }
        match self.receiver.send(Event::Text { text, usage: self.usage }) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }

    fn finish(&self, finish_reason: FinishReason) -> ControlFlow<(), LlamaToken> {
        // Whether anybody still waits makes no difference.
        let _ = self.receiver.send(Event::Finished { finish_reason, usage: self.usage });
        ControlFlow::Break(())
    }
}
