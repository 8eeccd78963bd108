//! The thread that evaluates all conversations together.
//!
//! A model's weights are read from memory once for each evaluation, however many tokens it has, and
//! reading them is what takes the time. So each evaluation appends a token to every answer under way
//! and reads on in the conversations that have not begun to be answered; conversations join and
//! leave between evaluations (continuous batching, G.-I. Yu et al., "Orca", OSDI 2022).

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::{Builder, JoinHandle};

use llama_cpp_2::token::LlamaToken;

use super::answer::Answer;
use super::cache::{Cache, Part, common};
use super::count;
use super::tokens::Tokens;
use crate::{Error, Result};

/// A conversation to answer.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) prompt: Prompt,
    pub(super) answer: Answer,
}

/// The tokens of a conversation. There is at least one.
#[derive(Debug)]
pub(super) struct Prompt {
    before: Vec<LlamaToken>,
    /// The answer begins with the output of the last token. It is evaluated like the answer's
    /// tokens, whatever was reused, because llama.cpp rounds differently in larger batches: so a
    /// conversation that is alone gets the same answer the second time.
    last: LlamaToken,
}

impl Prompt {
    /// `None` where there are no tokens.
    pub(super) fn new(mut tokens: Vec<LlamaToken>) -> Option<Self> {
        let last = tokens.pop()?;
        Some(Self { before: tokens, last })
    }
}

/// The thread; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Engine {
    requests: Option<Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    pub(super) fn start(cache: Cache, tokens: Arc<Tokens>) -> Result<Self> {
        let (requests, receiver) = channel();
        let worker = Worker {
            cache,
            tokens,
            requests: receiver,
            waiting: VecDeque::new(),
            conversations: Vec::new(),
        };
        let thread = Builder::new().name("llama.cpp".to_owned()).spawn(|| worker.run()).map_err(
            |error| Error::Engine { action: "start a thread", reason: error.to_string() },
        )?;
        Ok(Self { requests: Some(requests), thread: Some(thread) })
    }

    /// Hands a conversation over. Where the thread has died, the request is dropped and with it the
    /// way for its answer, which the receiver sees.
    pub(super) fn submit(&self, request: Request) {
        if let Some(requests) = &self.requests {
            let _ = requests.send(request);
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(thread) = self.thread.take() {
            // Those who waited for an answer of a thread that panicked have been told.
            let _ = thread.join();
        }
    }
}

#[derive(Debug)]
struct Worker {
    cache: Cache,
    tokens: Arc<Tokens>,
    requests: Receiver<Request>,
    /// In the order in which they came.
    waiting: VecDeque<Request>,
    conversations: Vec<Conversation>,
}

/// A conversation that has a sequence in the cache.
#[derive(Debug)]
struct Conversation {
    sequence: usize,
    prompt: Prompt,
    /// The token to evaluate next, once the conversation is read: its last, then the answer's.
    next: LlamaToken,
    answer: Answer,
}

impl Conversation {
    /// What is left to read before the last token.
    fn unread(&self, cache: &Cache) -> &[LlamaToken] {
        self.prompt.before.get(cache.length(self.sequence)..).unwrap_or_default()
    }
}

impl Worker {
    fn run(mut self) {
        while self.receive() {
            self.admit();
            self.step();
        }
    }

    /// Takes over what has come, and sleeps where there is nothing to do. `false` when nobody is
    /// left who could ask.
    fn receive(&mut self) -> bool {
        if self.waiting.is_empty() && self.conversations.is_empty() {
            match self.requests.recv() {
                Ok(request) => self.waiting.push_back(request),
                Err(_) => return false,
            }
        }
        loop {
            match self.requests.try_recv() {
                Ok(request) => self.waiting.push_back(request),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// Begins the conversations for which there is a place, in the order in which they came.
    fn admit(&mut self) {
        while let Some(request) = self.waiting.front() {
            if self.is_being_read(&request.prompt) {
                return;
            }
            let Some((sequence, cached)) = self.cache.open(&request.prompt.before) else { return };
            let Some(Request { prompt, mut answer }) = self.waiting.pop_front() else { return };
            answer.set_cached_tokens(count(cached));
            let next = prompt.last;
            self.conversations.push(Conversation { sequence, prompt, next, answer });
        }
    }

    /// Whether another conversation is about to evaluate more of what `prompt` begins with than
    /// there is: waiting for it is cheaper than doing it too, and takes no longer.
    fn is_being_read(&self, prompt: &Prompt) -> bool {
        let shareable = self.cache.shareable(&prompt.before);
        self.cache.is_divisible()
            && self.conversations.iter().any(|other| {
                !other.unread(&self.cache).is_empty()
                    && common(&other.prompt.before, &prompt.before) > shareable
            })
    }

    /// Evaluates the next tokens of all conversations.
    fn step(&mut self) {
        let (mut answering, mut reading) = (Vec::new(), Vec::new());
        for (index, conversation) in self.conversations.iter().enumerate() {
            let unread = conversation.unread(&self.cache);
            let sequence = conversation.sequence;
            if unread.is_empty() {
                let tokens = std::slice::from_ref(&conversation.next);
                answering.push((index, Part { sequence, tokens, output: true }));
            } else {
                reading.push((index, Part { sequence, tokens: unread, output: false }));
            }
        }
        // Each gap between sequences takes a token, too.
        let taken =
            if self.cache.parallel() == 1 { answering.len() } else { self.cache.parallel() };
        let mut room = self.cache.batch_tokens().saturating_sub(taken);
        for (index, mut part) in reading {
            part.tokens = part.tokens.get(..room).unwrap_or(part.tokens);
            room = room.saturating_sub(part.tokens.len());
            if !part.tokens.is_empty() {
                answering.push((index, part));
            }
        }
        if answering.is_empty() {
            return;
        }
        answering.sort_unstable_by_key(|(_, part)| part.sequence);
        let (indices, parts): (Vec<usize>, Vec<Part<'_>>) = answering.into_iter().unzip();
        let wanted: Vec<bool> = parts.iter().map(|part| part.output).collect();
        let mut ended = Vec::new();
        match self.cache.evaluate(&parts) {
            Ok(rows) => {
                for ((row, &index), _) in
                    rows.into_iter().zip(&indices).zip(wanted).filter(|(_, wanted)| *wanted)
                {
                    let Some(conversation) = self.conversations.get_mut(index) else { continue };
                    let choose = |sampler: &mut _| self.cache.sample(row, sampler);
                    match conversation.answer.grow(&self.tokens, choose) {
                        ControlFlow::Continue(token) => conversation.next = token,
                        ControlFlow::Break(()) => ended.push(index),
                    }
                }
            }
            Err(reason) => {
                for index in indices {
                    let Some(conversation) = self.conversations.get(index) else { continue };
                    self.cache.forget(conversation.sequence);
                    conversation.answer.fail(Error::Engine {
                        action: "evaluate the conversation",
                        reason: reason.clone(),
                    });
                    ended.push(index);
                }
            }
        }
        let mut index = 0..;
        let cache = &mut self.cache;
        self.conversations.retain(|conversation| {
            let stays = index.next().is_none_or(|index| !ended.contains(&index));
            if !stays {
                cache.close(conversation.sequence);
            }
            stays
        });
    }
}
