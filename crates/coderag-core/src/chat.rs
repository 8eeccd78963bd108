use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::Result;

/// Who speaks in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Standing instructions.
    System,
    /// The person asking.
    User,
    /// The model.
    Assistant,
}

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

impl Message {
    /// Standing instructions.
    pub fn system(content: impl Into<String>) -> Self {
        Self { role: Role::System, content: content.into() }
    }

    /// A turn of the person asking.
    pub fn user(content: impl Into<String>) -> Self {
        Self { role: Role::User, content: content.into() }
    }

    /// A turn of the model, given as an example or as history.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self { role: Role::Assistant, content: content.into() }
    }
}

/// How the next token is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sampling {
    /// 0 always takes the most probable token; higher values flatten the distribution.
    pub temperature: f32,
    /// Keeps the smallest set of tokens whose probabilities sum to this (nucleus sampling).
    pub top_p: f32,
    /// The same seed gives the same text on the same engine.
    pub seed: u32,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 0.0, top_p: 1.0, seed: 42 }
    }
}

/// A conversation to continue.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatRequest {
    /// The conversation so far.
    pub messages: Vec<Message>,
    /// How the next token is chosen.
    pub sampling: Sampling,
    /// The most tokens to generate.
    pub max_tokens: u32,
    /// Generation ends before any of these strings.
    pub stop: Vec<String>,
}

impl ChatRequest {
    /// A greedy request of at most 512 tokens with no stop strings.
    pub fn new(messages: Vec<Message>) -> Self {
        Self { messages, sampling: Sampling::default(), max_tokens: 512, stop: Vec::new() }
    }
}

/// Why generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FinishReason {
    /// The model ended its turn or wrote a stop string.
    Stop,
    /// `max_tokens` or the context was used up.
    Length,
    /// The receiver of the stream asked to stop.
    Cancelled,
}

/// How many tokens a request took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the rendered conversation.
    pub prompt_tokens: u32,
    /// Those of `prompt_tokens` that were reused from an earlier request.
    pub cached_tokens: u32,
    /// Tokens generated.
    pub completion_tokens: u32,
}

/// What a chat model answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatResponse {
    /// The generated text, without the stop string.
    pub text: String,
    /// Why it ended.
    pub finish_reason: FinishReason,
    /// What it took.
    pub usage: Usage,
}

/// A language model that continues conversations.
pub trait ChatModel: Send + Sync {
    /// The model's name, for messages and reports.
    fn name(&self) -> &str;

    /// Answers in one piece.
    ///
    /// # Errors
    /// [`crate::Error::Component`] when the model or its endpoint fails.
    fn chat(&self, request: &ChatRequest) -> Result<ChatResponse> {
        self.chat_streaming(request, &mut |_| ControlFlow::Continue(()))
    }

    /// Answers piece by piece: `on_text` receives each piece as it is generated and may break off.
    /// The concatenated pieces equal [`ChatResponse::text`].
    ///
    /// # Errors
    /// [`crate::Error::Component`] when the model or its endpoint fails.
    fn chat_streaming(
        &self,
        request: &ChatRequest,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<ChatResponse>;
}
