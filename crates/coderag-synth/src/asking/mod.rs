//! Asks the model: nothing twice, nothing beyond the budget, nothing faster than allowed.

mod budget;
mod rate;
mod responses;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use coderag_core::{ChatModel, ChatRequest, ChatResponse, Digest};
use serde_json::json;

pub use self::budget::Totals;
pub(crate) use self::responses::Responses;

use self::budget::{Accounts, Exhausted};
use self::rate::Rate;
use crate::config::{Budget, RequestSettings};
use crate::{Error, Result};

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The request failed with all its repetitions; another one may not.
    Failed(String),
    /// Nothing more is asked in this call.
    Stopped,
}

/// Why a call asks nothing more.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Somebody asked to stop.
    Interrupted,
    /// A cap of the budget was reached.
    Exhausted(Exhausted),
    /// An error that further requests would meet, too.
    Failed(Error),
}

/// A model with everything that a run wants of one.
pub(crate) struct Asker<'a> {
    model: &'a dyn ChatModel,
    responses: Responses,
    accounts: Accounts,
    rate: Rate,
    interrupt: &'a AtomicBool,
    failures_in_a_row: AtomicU32,
    most_failures_in_a_row: u32,
    /// The requests that are being asked, so that the same one waits for the answer.
    in_flight: Mutex<HashSet<Digest>>,
    answered: Condvar,
    stop: Mutex<Option<Stop>>,
}

impl<'a> Asker<'a> {
    pub(crate) fn new(
        model: &'a dyn ChatModel,
        responses: Responses,
        failed_earlier: u64,
        settings: &RequestSettings,
        budget: &Budget,
        interrupt: &'a AtomicBool,
    ) -> Self {
        let accounts =
            Accounts::new(*budget, Totals { failed: failed_earlier, ..responses.totals() });
        Self {
            model,
            responses,
            accounts,
            rate: Rate::new(settings.per_minute),
            interrupt,
            failures_in_a_row: AtomicU32::new(0),
            most_failures_in_a_row: settings.failures_in_a_row.max(1),
            in_flight: Mutex::default(),
            answered: Condvar::new(),
            stop: Mutex::default(),
        }
    }

    /// The answer to a request, from an earlier time where there is one.
    pub(crate) fn ask(&self, request: &ChatRequest) -> Result<ChatResponse, Refusal> {
        let key = key(self.model.name(), request);
        let _turn = Turn::take(self, key);
        match self.responses.get(&key) {
            Ok(Some(response)) => {
                self.accounts.reused();
                return Ok(response);
            }
            Ok(None) => {}
            Err(error) => return Err(self.stop(Stop::Failed(error))),
        }
        if self.is_stopped() {
            return Err(Refusal::Stopped);
        }
        if let Err(exhausted) = self.accounts.reserve() {
            return Err(self.stop(Stop::Exhausted(exhausted)));
        }
        if !self.rate.wait(self.interrupt) {
            self.accounts.release();
            return Err(self.stop(Stop::Interrupted));
        }
        match self.model.chat(request) {
            Ok(response) => {
                self.failures_in_a_row.store(0, Ordering::Relaxed);
                self.accounts.answered(&response.usage);
                match self.responses.put(key, &response) {
                    Ok(()) => Ok(response),
                    Err(error) => Err(self.stop(Stop::Failed(error))),
                }
            }
            Err(error) => {
                self.accounts.failed();
                let reason = chain(&error);
                tracing::warn!("a request failed: {reason}");
                let failures = 1 + self.failures_in_a_row.fetch_add(1, Ordering::Relaxed);
                if failures >= self.most_failures_in_a_row
                    && !self.interrupt.load(Ordering::Relaxed)
                {
                    self.stop(Stop::Failed(Error::ModelFails { failures, source: error }));
                }
                Err(Refusal::Failed(reason))
            }
        }
    }

    /// Whether nothing more is asked.
    pub(crate) fn is_stopped(&self) -> bool {
        if self.interrupt.load(Ordering::Relaxed) {
            self.stop(Stop::Interrupted);
        }
        self.stop.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// What was asked and what it took.
    pub(crate) fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// Puts all answers on the disk and says why nothing more was asked, if that is so.
    pub(crate) fn finish(&self) -> Result<Option<Stop>> {
        self.responses.sync()?;
        Ok(self.stop.lock().unwrap_or_else(PoisonError::into_inner).take())
    }

    /// Keeps the first reason.
    fn stop(&self, reason: Stop) -> Refusal {
        self.stop.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
        Refusal::Stopped
    }
}

/// The right to ask one request, which one thread has at a time.
struct Turn<'t, 'a> {
    asker: &'t Asker<'a>,
    key: Digest,
}

impl<'t, 'a> Turn<'t, 'a> {
    fn take(asker: &'t Asker<'a>, key: Digest) -> Self {
        let mut in_flight = asker.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        while !in_flight.insert(key) {
            in_flight = asker.answered.wait(in_flight).unwrap_or_else(PoisonError::into_inner);
        }
        Self { asker, key }
    }
}

impl Drop for Turn<'_, '_> {
    fn drop(&mut self) {
        let mut in_flight = self.asker.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        in_flight.remove(&self.key);
        self.asker.answered.notify_all();
    }
}

/// What decides an answer.
fn key(model: &str, request: &ChatRequest) -> Digest {
    let ChatRequest { messages, sampling, max_tokens, stop } = request;
    let content = json!({
        "model": model,
        "messages": messages,
        "sampling": sampling,
        "max_tokens": max_tokens,
        "stop": stop,
    });
    Digest::of(content.to_string())
}

/// An error and its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
