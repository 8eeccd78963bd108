//! The JSON of the chat completions interface, as far as this client uses it.

use coderag_core::{ChatRequest, Message, Usage};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is posted.
#[derive(Debug, Serialize)]
pub(super) struct Body<'a> {
    model: &'a str,
    messages: &'a [Message],
    temperature: f32,
    top_p: f32,
    seed: u32,
    max_tokens: u32,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop: &'a [String],
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
}

#[derive(Debug, Serialize)]
struct StreamOptions {
    include_usage: bool,
}

impl<'a> Body<'a> {
    pub(super) fn new(
        model: &'a str,
        request: &'a ChatRequest,
        stream: bool,
        usage_in_stream: bool,
    ) -> Self {
        Self {
            model,
            messages: &request.messages,
            temperature: request.sampling.temperature,
            top_p: request.sampling.top_p,
            seed: request.sampling.seed,
            max_tokens: request.max_tokens,
            stop: &request.stop,
            stream,
            stream_options: (stream && usage_in_stream)
                .then_some(StreamOptions { include_usage: true }),
        }
    }
}

/// What comes back: a whole answer, or one event of a streamed one.
#[derive(Debug, Deserialize)]
pub(super) struct Completion {
    #[serde(default)]
    pub(super) choices: Vec<Choice>,
    usage: Option<TokenUsage>,
    /// Set where a server fails after it has sent its status.
    pub(super) error: Option<Value>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Choice {
    /// The text of a whole answer.
    message: Option<Content>,
    /// The text that an event adds.
    delta: Option<Content>,
    pub(super) finish_reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Content {
    content: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct TokenUsage {
    #[serde(default)]
    prompt_tokens: u32,
    #[serde(default)]
    completion_tokens: u32,
    prompt_tokens_details: Option<PromptTokensDetails>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct PromptTokensDetails {
    cached_tokens: Option<u32>,
}

impl Completion {
    pub(super) fn usage(&self) -> Option<Usage> {
        self.usage.map(|usage| Usage {
            prompt_tokens: usage.prompt_tokens,
            cached_tokens: usage
                .prompt_tokens_details
                .and_then(|details| details.cached_tokens)
                .unwrap_or(0),
            completion_tokens: usage.completion_tokens,
        })
    }
}

impl Choice {
    pub(super) fn text(&self) -> &str {
        self.message
            .as_ref()
            .or(self.delta.as_ref())
            .and_then(|content| content.content.as_deref())
            .unwrap_or("")
    }
}

/// The words of an error object: servers write `{"error": {"message": ...}}`, `{"error": "..."}`,
/// `{"message": ...}` or `{"detail": ...}`.
pub(super) fn error_message(body: &Value) -> String {
    let error = body.get("error").unwrap_or(body);
    let message = error.get("message").or_else(|| error.get("detail")).unwrap_or(error);
    message.as_str().map_or_else(|| message.to_string(), str::to_owned)
}
