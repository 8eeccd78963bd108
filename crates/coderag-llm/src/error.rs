use std::path::PathBuf;
use std::time::Duration;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong with a language model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting of the endpoint cannot work.
    #[error("the endpoint's setting `{key}` is wrong: {problem}")]
    Setting {
        /// The setting.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },

    /// The key cannot be sent.
    #[error(
        "the key in the environment variable {variable} holds characters that an HTTP header cannot carry; set it again"
    )]
    UnusableKey {
        /// The variable the key was read from.
        variable: String,
    },

    /// The HTTP client could not be set up.
    #[error("cannot set up the HTTP client for {url}")]
    Client {
        /// The endpoint.
        url: String,
        /// Why; without certificate authorities on the machine, that they are missing.
        source: reqwest::Error,
    },

    /// No connection could be made.
    #[error("cannot connect to {url}; check that the server runs and that `base_url` is right")]
    Unreachable {
        /// The endpoint.
        url: String,
        /// What the operating system said.
        source: reqwest::Error,
    },

    /// The encrypted connection could not be set up.
    #[error(
        "cannot make a TLS connection to {url}; check that the server speaks https there and that this machine trusts its certificate"
    )]
    Tls {
        /// The endpoint.
        url: String,
        /// What the TLS library said.
        source: reqwest::Error,
    },

    /// The connection broke.
    #[error("the connection to {url} was lost before the answer was complete")]
    ConnectionLost {
        /// The endpoint.
        url: String,
        /// What the operating system or the HTTP library said.
        source: coderag_core::BoxError,
    },

    /// The endpoint was too slow.
    #[error("{url} took too long: {waited_for} within {limit:?} (`{key}`)")]
    Timeout {
        /// The endpoint.
        url: String,
        /// What did not happen: `no connection`.
        waited_for: &'static str,
        /// The setting that limits the wait.
        key: &'static str,
        /// Its value.
        limit: Duration,
    },

    /// The endpoint refused the key, or the lack of one.
    #[error("{url} refused access (HTTP {status}): {message}; {key}")]
    Unauthorized {
        /// The endpoint.
        url: String,
        /// 401 or 403.
        status: u16,
        /// The server's words.
        message: String,
        /// Which environment variable was looked at, and whether it held a key.
        key: String,
    },

    /// The endpoint knows no such address or no such model.
    #[error(
        "{url} was not found (HTTP 404): {message}; check that `base_url` ends with the version, such as /v1, and that the server has the model `{model}`"
    )]
    NotFound {
        /// The endpoint.
        url: String,
        /// The model asked for.
        model: String,
        /// The server's words.
        message: String,
    },

    /// The endpoint answered with another HTTP error.
    #[error("{url} answered HTTP {status}: {message}")]
    Status {
        /// The endpoint.
        url: String,
        /// The status code.
        status: u16,
        /// The server's words.
        message: String,
    },

    /// The endpoint wants to be asked elsewhere. Redirects are not followed: they would carry the
    /// conversation, and perhaps the key, to a server nobody chose.
    #[error("{url} redirects to {location}; if you trust that address, set `base_url` to it")]
    Redirected {
        /// The endpoint.
        url: String,
        /// Where it redirects to.
        location: String,
    },

    /// What came back is no JSON of this interface.
    #[error(
        "{url} did not answer with chat completion JSON but with `{excerpt}`; check that `base_url` is an OpenAI-compatible server"
    )]
    NotJson {
        /// The endpoint.
        url: String,
        /// The beginning of what came back.
        excerpt: String,
        /// The parser's words.
        source: serde_json::Error,
    },

    /// What came back stopped in the middle of the JSON.
    #[error("the answer of {url} ends in the middle")]
    CutShort {
        /// The endpoint.
        url: String,
        /// The parser's words.
        source: serde_json::Error,
    },

    /// A JSON answer without an answer in it.
    #[error("{url} answered without any choices: `{excerpt}`")]
    NoChoices {
        /// The endpoint.
        url: String,
        /// The beginning of what came back.
        excerpt: String,
    },

    /// A stream without its end.
    #[error(
        "{url} closed the stream before the answer was complete, after {characters} characters"
    )]
    StreamClosed {
        /// The endpoint.
        url: String,
        /// How much text had come.
        characters: usize,
    },

    /// The server failed after it had begun to answer.
    #[error("{url} failed while answering: {message}")]
    FailedAnswering {
        /// The endpoint.
        url: String,
        /// The server's words.
        message: String,
    },

    /// The server's content filter stopped the answer.
    #[error("the content filter of {url} stopped the answer")]
    Filtered {
        /// The endpoint.
        url: String,
    },

    /// More came back than any answer can be.
    #[error(
        "{url} sent more than {limit} bytes; check that `base_url` is a language model's server"
    )]
    TooLarge {
        /// The endpoint.
        url: String,
        /// The limit.
        limit: usize,
    },

    /// The operating system refused a file operation.
    #[error(transparent)]
    Core(#[from] coderag_core::Error),

    /// A model file is damaged, or no GGUF file.
    #[error("{} is not a usable GGUF file: {problem}", path.display())]
    Gguf {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },

    /// A model file without a chat template.
    #[error(
        "{} has no chat template (tokenizer.chat_template); use a model that was tuned for conversations, usually named Instruct or Chat",
        path.display()
    )]
    NoChatTemplate {
        /// The file.
        path: PathBuf,
    },

    /// The chat template could not be read or refused the conversation.
    #[error("the chat template of {name} failed")]
    Template {
        /// The model.
        name: String,
        /// The template engine's words.
        source: minijinja::Error,
    },

    /// An option of the embedded engine cannot work.
    #[error("the option `{key}` is wrong: {problem}")]
    Option {
        /// The option.
        key: &'static str,
        /// What is wrong with it.
        problem: String,
    },

    /// The conversation does not fit.
    #[error(
        "the conversation has {prompt_tokens} tokens and the context holds {context_tokens}, of which the answer needs at least one; shorten the conversation or raise `context_tokens`"
    )]
    PromptTooLong {
        /// The conversation's length.
        prompt_tokens: usize,
        /// The context's length.
        context_tokens: usize,
    },

    /// The embedded engine failed.
    #[error("llama.cpp cannot {action}: {reason}")]
    Engine {
        /// The attempted operation, as a verb.
        action: &'static str,
        /// What llama.cpp said.
        reason: String,
    },
}
