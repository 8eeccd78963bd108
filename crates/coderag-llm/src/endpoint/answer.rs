//! Reads the answer to one request: a stream of events or a whole JSON.

use std::io::Read;
use std::ops::ControlFlow;
use std::time::Instant;

use coderag_core::{ChatResponse, FinishReason, Usage};
use reqwest::blocking::Response;
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;

use super::event_stream::EventStream;
use super::wire::{Completion, error_message};
use super::{Endpoint, Failure};
use crate::Error;

/// The longest answer that is read. It bounds the memory that a server can make this client take.
const LONGEST_ANSWER: usize = 64 << 20;

/// Receives the pieces of an answer and may break off.
pub(super) type OnText<'call> = dyn FnMut(&str) -> ControlFlow<()> + 'call;

/// The text of an attempt and the receiver that it is handed on to.
pub(super) struct Delivery<'receiver, 'call> {
    on_text: Option<&'receiver mut OnText<'call>>,
    text: String,
}

impl<'receiver, 'call> Delivery<'receiver, 'call> {
    pub(super) fn new(on_text: Option<&'receiver mut OnText<'call>>) -> Self {
        Self { on_text, text: String::new() }
    }

    /// Whether the receiver has got a piece, which cannot be taken back.
    pub(super) fn begun(&self) -> bool {
        self.on_text.is_some() && !self.text.is_empty()
    }

    fn deliver(&mut self, piece: &str) -> ControlFlow<()> {
        if piece.is_empty() {
            return ControlFlow::Continue(());
        }
        self.text.push_str(piece);
        self.on_text.as_mut().map_or(ControlFlow::Continue(()), |on_text| on_text(piece))
    }
}

/// What has been learnt from a stream so far.
#[derive(Default)]
struct Progress {
    finish_reason: Option<FinishReason>,
    usage: Usage,
    any_choice: bool,
}

/// Whether a stream goes on.
enum Next {
    Event,
    Done,
    Cancelled,
}

impl Endpoint {
    pub(super) fn read(
        &self,
        response: Response,
        deadline: Instant,
        delivery: &mut Delivery<'_, '_>,
    ) -> Result<ChatResponse, Failure> {
        let is_stream = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.to_ascii_lowercase().starts_with("text/event-stream"));
        if is_stream {
            self.read_stream(response, deadline, delivery)
        } else {
            self.read_whole(response, deadline, delivery)
        }
    }

    /// Reads a JSON answer, also from a server that was asked for a stream and does not stream.
    fn read_whole(
        &self,
        mut response: Response,
        deadline: Instant,
        delivery: &mut Delivery<'_, '_>,
    ) -> Result<ChatResponse, Failure> {
        let mut body = Vec::new();
        let mut buffer = [0; 8192];
        loop {
            match self.read_some(&mut response, &mut buffer, deadline)? {
                [] => break,
                bytes => body.extend_from_slice(bytes),
            }
            self.check_length(body.len())?;
        }
        let completion = self.parse(&body)?;
        let Some(choice) = completion.choices.first() else {
            return Err(self.no_choices(&String::from_utf8_lossy(&body)));
        };
        let finish_reason = self.finish_reason(choice.finish_reason.as_deref())?;
        let finish_reason = match delivery.deliver(choice.text()) {
            ControlFlow::Continue(()) => finish_reason.unwrap_or(FinishReason::Stop),
            ControlFlow::Break(()) => FinishReason::Cancelled,
        };
        let usage = completion.usage().unwrap_or_default();
        Ok(ChatResponse { text: std::mem::take(&mut delivery.text), finish_reason, usage })
    }

    fn read_stream(
        &self,
        mut response: Response,
        deadline: Instant,
        delivery: &mut Delivery<'_, '_>,
    ) -> Result<ChatResponse, Failure> {
        let mut stream = EventStream::default();
        let mut progress = Progress::default();
        let mut buffer = [0; 8192];
        let mut length = 0;
        let next = 'stream: loop {
            let bytes = match self.read_some(&mut response, &mut buffer, deadline) {
                Ok(bytes) => bytes,
                // The answer is complete; only the token counts may be missing.
                Err(_) if progress.finish_reason.is_some() => break Next::Done,
                Err(failure) => return Err(failure),
            };
            length += bytes.len();
            self.check_length(length)?;
            for event in stream.push(bytes) {
                match self.take_event(&event, &mut progress, delivery)? {
                    Next::Event => {}
                    next => break 'stream next,
                }
            }
            if bytes.is_empty() {
                break match std::mem::take(&mut stream).finish() {
                    Some(event) => self.take_event(&event, &mut progress, delivery)?,
                    None => Next::Event,
                };
            }
        };
        let finish_reason = match (next, progress.finish_reason) {
            (Next::Cancelled, _) => FinishReason::Cancelled,
            (Next::Done, _) if !progress.any_choice => return Err(self.no_choices("[DONE]")),
            (_, Some(finish_reason)) => finish_reason,
            // llama-cpp-python ends a stream in this way when another request interrupts it.
            (_, None) => {
                let characters = delivery.text.chars().count();
                let url = self.url.to_string();
                return Err(Failure::passing(Error::StreamClosed { url, characters }));
            }
        };
        let text = std::mem::take(&mut delivery.text);
        Ok(ChatResponse { text, finish_reason, usage: progress.usage })
    }

    fn take_event(
        &self,
        event: &str,
        progress: &mut Progress,
        delivery: &mut Delivery<'_, '_>,
    ) -> Result<Next, Failure> {
        if event.trim() == "[DONE]" {
            return Ok(Next::Done);
        }
        if event.trim().is_empty() {
            return Ok(Next::Event);
        }
        let completion = self.parse(event.as_bytes())?;
        progress.usage = completion.usage().unwrap_or(progress.usage);
        let Some(choice) = completion.choices.first() else { return Ok(Next::Event) };
        progress.any_choice = true;
        let finish_reason = self.finish_reason(choice.finish_reason.as_deref())?;
        progress.finish_reason = finish_reason.or(progress.finish_reason);
        Ok(match delivery.deliver(choice.text()) {
            ControlFlow::Continue(()) => Next::Event,
            ControlFlow::Break(()) => Next::Cancelled,
        })
    }

    /// Reads what has come, at most a buffer full; nothing means the end.
    fn read_some<'buffer>(
        &self,
        response: &mut Response,
        buffer: &'buffer mut [u8],
        deadline: Instant,
    ) -> Result<&'buffer [u8], Failure> {
        match response.read(buffer) {
            Ok(length) if length > 0 && Instant::now() >= deadline => {
                Err(self.too_slow(false, deadline))
            }
            Ok(length) => Ok(buffer.get(..length).unwrap_or_default()),
            Err(error) => {
                let cause =
                    error.get_ref().and_then(|cause| cause.downcast_ref::<reqwest::Error>());
                if cause.is_some_and(reqwest::Error::is_timeout) {
                    return Err(self.too_slow(false, deadline));
                }
                let url = self.url.to_string();
                Err(Failure::passing(Error::ConnectionLost { url, source: error.into() }))
            }
        }
    }

    fn check_length(&self, length: usize) -> Result<(), Failure> {
        if length <= LONGEST_ANSWER {
            return Ok(());
        }
        let url = self.url.to_string();
        Err(Failure::for_good(Error::TooLarge { url, limit: LONGEST_ANSWER }))
    }

    fn parse(&self, json: &[u8]) -> Result<Completion, Failure> {
        let url = self.url.to_string();
        let completion: Completion = serde_json::from_slice(json).map_err(|source| {
            if source.is_eof() {
                return Failure::passing(Error::CutShort { url: url.clone(), source });
            }
            // A server that has begun a JSON object, or has answered before, speaks this interface:
            // what is no JSON is a proxy's page or half of two answers, and will pass. Whole JSON of
            // another shape will not, nor what a server says that has never answered.
            let disturbed = source.is_syntax()
                && (json.trim_ascii_start().starts_with(b"{") || self.traffic().answers > 0);
            let excerpt = self.excerpt(&String::from_utf8_lossy(json));
            let error = Error::NotJson { url: url.clone(), excerpt, source };
            if disturbed { Failure::passing(error) } else { Failure::for_good(error) }
        })?;
        match &completion.error {
            None => Ok(completion),
            Some(error) => {
                let message = self.excerpt(&error_message(error));
                Err(Failure::passing(Error::FailedAnswering { url, message }))
            }
        }
    }

    fn no_choices(&self, body: &str) -> Failure {
        let excerpt = self.excerpt(body);
        Failure::for_good(Error::NoChoices { url: self.url.to_string(), excerpt })
    }

    /// Servers write many words for a natural end (`stop`, `eos`, `stop_sequence`), one for a cut.
    fn finish_reason(&self, reason: Option<&str>) -> Result<Option<FinishReason>, Failure> {
        match reason {
            None => Ok(None),
            Some("length") => Ok(Some(FinishReason::Length)),
            Some("content_filter") => {
                Err(Failure::for_good(Error::Filtered { url: self.url.to_string() }))
            }
            Some(_) => Ok(Some(FinishReason::Stop)),
        }
    }

    /// The server's words of refusal, as far as they can be read.
    pub(super) fn refusal_message(&self, response: Response) -> String {
        /// Enough for any message and too little to hurt.
        const LONGEST_REFUSAL: u64 = 64 << 10;
        let mut body = Vec::new();
        // What came before a lost connection is still worth showing.
        let _ = response.take(LONGEST_REFUSAL).read_to_end(&mut body);
        let text = String::from_utf8_lossy(&body);
        self.excerpt(
            &serde_json::from_str::<Value>(&text)
                .map_or_else(|_| text.clone().into_owned(), |json| error_message(&json)),
        )
    }
}
