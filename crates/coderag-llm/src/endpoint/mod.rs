//! A client for servers that speak OpenAI's chat completions interface.

mod answer;
mod config;
mod event_stream;
mod pause;
mod secret;
mod traffic;
mod wire;

use std::error::Error as StdError;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use coderag_core::{ChatModel, ChatRequest, ChatResponse};
use reqwest::blocking::{Client, Response};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{StatusCode, Url};

pub use self::config::EndpointConfig;
pub use self::traffic::Traffic;

use self::answer::{Delivery, OnText};
use self::config::Durations;
use self::pause::{Pauses, retry_after};
use self::secret::Secret;
use crate::{Error, Result};

/// A chat model behind an OpenAI-compatible endpoint.
///
/// One request runs at a time per call; the endpoint may be shared between threads.
#[derive(Debug)]
pub struct Endpoint {
    config: EndpointConfig,
    durations: Durations,
    url: Url,
    client: Client,
    key: Option<Key>,
    pauses: Mutex<Pauses>,
    traffic: Mutex<Traffic>,
    /// Ends pauses when it is set.
    interrupted: Arc<AtomicBool>,
    /// Whether the server takes `stream_options`; assumed until it refuses them.
    usage_in_stream: AtomicBool,
}

#[derive(Debug)]
struct Key {
    secret: Secret,
    /// Marked as sensitive, so the HTTP library does not show it either.
    header: HeaderValue,
}

/// Why one attempt failed, and whether another may help.
#[derive(Debug)]
struct Failure {
    error: Error,
    remedy: Remedy,
}

#[derive(Debug)]
enum Remedy {
    /// Nothing changes when the same request is sent again.
    None,
    /// It may pass; the server may have said when.
    Again(Option<Duration>),
    /// The server dislikes `stream_options`; without them it may work.
    WithoutUsage,
}

impl Failure {
    fn for_good(error: Error) -> Self {
        Self { error, remedy: Remedy::None }
    }

    fn passing(error: Error) -> Self {
        Self { error, remedy: Remedy::Again(None) }
    }
}

impl Endpoint {
    /// Sets up a client and reads the key from its environment variable. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Setting`] for a setting that cannot work, [`Error::UnusableKey`], and
    /// [`Error::Client`] when the machine has no certificate authorities and the URL is https.
    pub fn new(config: EndpointConfig) -> Result<Self> {
        let url = config.url()?;
        let durations = config.durations()?;
        if config.model.is_empty() {
            let problem = "it is empty; give the model's name as the server knows it".to_owned();
            return Err(Error::Setting { key: "model", problem });
        }
        let key = read_key(&config.api_key_variable)?;
        let client = client(&url, durations).map_err(|source| Error::Client {
            url: url.to_string(),
            source: source.without_url(),
        })?;
        let pauses =
            Pauses::new(durations.first_pause, durations.longest_pause, config.jitter_seed);
        Ok(Self {
            config,
            durations,
            url,
            client,
            key,
            pauses: Mutex::new(pauses),
            traffic: Mutex::default(),
            interrupted: Arc::default(),
            usage_in_stream: AtomicBool::new(true),
        })
    }

    /// Gives up waiting when `interrupted` is set: a request that has failed is not repeated then, also
    /// not in the middle of the pause before it, but fails with what made it fail. A request that is
    /// being answered goes on.
    #[must_use]
    pub fn interrupted_by(mut self, interrupted: Arc<AtomicBool>) -> Self {
        self.interrupted = interrupted;
        self
    }

    /// What has happened on the wire so far.
    pub fn traffic(&self) -> Traffic {
        *self.count_traffic()
    }

    fn count_traffic(&self) -> MutexGuard<'_, Traffic> {
        self.traffic.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a request, again where that may help. `on_text` is `None` when nobody is waiting for
    /// the pieces, which leaves every failure free to be retried.
    fn answer(
        &self,
        request: &ChatRequest,
        mut on_text: Option<&mut OnText<'_>>,
    ) -> Result<ChatResponse> {
        let deadline = Instant::now() + self.durations.total;
        let mut repetitions = 0;
        loop {
            let mut delivery = Delivery::new(on_text.as_deref_mut());
            self.count_traffic().attempts += 1;
            let failure = match self.attempt(request, deadline, &mut delivery) {
                Ok(response) => {
                    self.count_traffic().answers += 1;
                    return Ok(response);
                }
                Err(failure) => failure,
            };
            self.count_traffic().count(&failure.error);
            let asked_for = match failure.remedy {
                _ if delivery.begun() => return Err(failure.error),
                Remedy::None => return Err(failure.error),
                Remedy::WithoutUsage => {
                    self.usage_in_stream.store(false, Ordering::Relaxed);
                    continue;
                }
                Remedy::Again(asked_for) => asked_for,
            };
            let pause = self
                .pauses
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .next(repetitions, asked_for);
            if repetitions >= self.config.retries || Instant::now() + pause >= deadline {
                return Err(failure.error);
            }
            repetitions += 1;
            tracing::warn!(
                error = %failure.error,
                cause = failure.error.source().map(tracing::field::display),
                repetition = repetitions,
                pause = ?pause,
                "asking the endpoint again"
            );
            if self.pause(pause).is_break() {
                return Err(failure.error);
            }
        }
    }

    /// Waits, and breaks where that was interrupted.
    fn pause(&self, pause: Duration) -> ControlFlow<()> {
        /// How long an interruption may go unnoticed.
        const SLICE: Duration = Duration::from_millis(50);
        let end = Instant::now() + pause;
        loop {
            if self.interrupted.load(Ordering::Relaxed) {
                return ControlFlow::Break(());
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return ControlFlow::Continue(());
            }
            std::thread::sleep(left.min(SLICE));
        }
    }

    /// Sends a request once and reads its answer.
    fn attempt(
        &self,
        request: &ChatRequest,
        deadline: Instant,
        delivery: &mut Delivery<'_, '_>,
    ) -> Result<ChatResponse, Failure> {
        let usage_in_stream = self.usage_in_stream.load(Ordering::Relaxed);
        let stream = self.config.stream;
        let body = wire::Body::new(&self.config.model, request, stream, usage_in_stream);
        let accept =
            if stream { "text/event-stream, application/json" } else { "application/json" };
        let mut http = self.client.post(self.url.clone()).header(ACCEPT, accept).json(&body);
        if let Some(key) = &self.key {
            http = http.header(AUTHORIZATION, key.header.clone());
        }
        let response = http.send().map_err(|error| self.cannot_send(error, deadline))?;
        if response.status().is_success() {
            self.read(response, deadline, delivery)
        } else {
            Err(self.refused(response))
        }
    }

    fn cannot_send(&self, error: reqwest::Error, deadline: Instant) -> Failure {
        let url = self.url.to_string();
        if error.is_timeout() {
            return self.too_slow(error.is_connect(), deadline);
        }
        let is_tls = is_tls(&error);
        let is_connect = error.is_connect();
        let source = error.without_url();
        if is_tls {
            Failure::for_good(Error::Tls { url, source })
        } else if is_connect {
            Failure::passing(Error::Unreachable { url, source })
        } else {
            Failure::passing(Error::ConnectionLost { url, source: source.into() })
        }
    }

    fn too_slow(&self, connecting: bool, deadline: Instant) -> Failure {
        let url = self.url.to_string();
        if Instant::now() >= deadline {
            return Failure::for_good(Error::Timeout {
                url,
                waited_for: "no complete answer",
                key: "total_timeout_seconds",
                limit: self.durations.total,
            });
        }
        Failure::passing(if connecting {
            Error::Timeout {
                url,
                waited_for: "no connection",
                key: "connect_timeout_seconds",
                limit: self.durations.connect,
            }
        } else {
            Error::Timeout {
                url,
                waited_for: "not a byte",
                key: "idle_timeout_seconds",
                limit: self.durations.idle,
            }
        })
    }

    /// Explains a status that is not a success.
    fn refused(&self, response: Response) -> Failure {
        let url = self.url.to_string();
        let status = response.status();
        if status.is_redirection()
            && let Some(location) = response.headers().get(LOCATION)
        {
            let location = self.excerpt(&String::from_utf8_lossy(location.as_bytes()));
            return Failure::for_good(Error::Redirected { url, location });
        }
        let asked_for = retry_after(response.headers());
        let message = self.refusal_message(response);
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let variable = &self.config.api_key_variable;
                let key = if self.key.is_some() {
                    format!("the key was read from the environment variable {variable}")
                } else {
                    format!(
                        "no key was sent because the environment variable {variable} is not set"
                    )
                };
                let status = status.as_u16();
                Failure::for_good(Error::Unauthorized { url, status, message, key })
            }
            StatusCode::NOT_FOUND => {
                let model = self.config.model.clone();
                Failure::for_good(Error::NotFound { url, model, message })
            }
            _ => {
                let remedy = if status == StatusCode::TOO_MANY_REQUESTS
                    || status == StatusCode::REQUEST_TIMEOUT
                    || status.is_server_error()
                {
                    Remedy::Again(asked_for)
                } else if message.contains("stream_options")
                    && self.usage_in_stream.load(Ordering::Relaxed)
                {
                    Remedy::WithoutUsage
                } else {
                    Remedy::None
                };
                Failure { error: Error::Status { url, status: status.as_u16(), message }, remedy }
            }
        }
    }

    /// The first few hundred characters of a text that the server sent, on one line and without the
    /// key.
    fn excerpt(&self, text: &str) -> String {
        const LONGEST: usize = 300;
        let text = match &self.key {
            Some(key) => key.secret.redact(text),
            None => text.to_owned(),
        };
        let mut words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        words.retain(|character| !character.is_control());
        match words.char_indices().nth(LONGEST) {
            Some((end, _)) => format!("{}...", &words[..end]),
            None if words.is_empty() => "nothing".to_owned(),
            None => words,
        }
    }
}

impl ChatModel for Endpoint {
    fn name(&self) -> &str {
        &self.config.model
    }

    fn chat(&self, request: &ChatRequest) -> coderag_core::Result<ChatResponse> {
        self.answer(request, None).map_err(coderag_core::Error::component(self.component()))
    }

    fn chat_streaming(
        &self,
        request: &ChatRequest,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> coderag_core::Result<ChatResponse> {
        self.answer(request, Some(on_text))
            .map_err(coderag_core::Error::component(self.component()))
    }
}

impl Endpoint {
    fn component(&self) -> String {
        format!("the language model {}", self.config.model)
    }
}

fn read_key(variable: &str) -> Result<Option<Key>> {
    let unusable = || Error::UnusableKey { variable: variable.to_owned() };
    let Some(text) = std::env::var_os(variable) else { return Ok(None) };
    let text = text.into_string().map_err(|_| unusable())?;
    let Some(secret) = Secret::new(&text) else { return Ok(None) };
    let mut header =
        HeaderValue::from_str(&format!("Bearer {}", secret.expose())).map_err(|_| unusable())?;
    header.set_sensitive(true);
    Ok(Some(Key { secret, header }))
}

fn client(url: &Url, durations: Durations) -> Result<Client, reqwest::Error> {
    // reqwest takes the process's default provider. Another part of the process may have installed
    // one already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("coderag/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(durations.connect)
        .redirect(Policy::none());
    if url.scheme() == "http" {
        // Redirects are not followed, so no certificate is ever checked; a machine without
        // certificate authorities can still ask a local server.
        builder = builder.tls_certs_only([]);
    }
    if is_loopback(url) {
        builder = builder.no_proxy();
    }
    // The blocking client's timeout limits each wait for bytes, not the whole request.
    reqwest::blocking::ClientBuilder::from(builder)
        .timeout(durations.idle.min(durations.total))
        .build()
}

/// Whether the server is on this machine, where no proxy could find it.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether an error comes from the TLS library. The HTTP library wraps that in an I/O error, whose
/// `source` skips its own content.
fn is_tls(error: &reqwest::Error) -> bool {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if error.is::<rustls::Error>() || inner.is_some_and(|inner| inner.is::<rustls::Error>()) {
            return true;
        }
        next = inner.map(|inner| inner as _).or_else(|| error.source());
    }
    false
}
