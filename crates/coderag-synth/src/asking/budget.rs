use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use coderag_core::Usage;
use serde::{Deserialize, Serialize};

use crate::config::{Budget, Prices};

/// What requests took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// Requests that were answered.
    pub requests: u64,
    /// Requests that failed with all their repetitions.
    pub failed: u64,
    /// Tokens of prompts.
    pub prompt_tokens: u64,
    /// Those of `prompt_tokens` that were not evaluated again.
    pub cached_tokens: u64,
    /// Tokens of answers.
    pub completion_tokens: u64,
}

impl Totals {
    pub(super) fn add(&mut self, usage: &Usage) {
        self.requests += 1;
        self.prompt_tokens += u64::from(usage.prompt_tokens);
        self.cached_tokens += u64::from(usage.cached_tokens);
        self.completion_tokens += u64::from(usage.completion_tokens);
    }

    /// Tokens of prompts and answers.
    pub fn tokens(&self) -> u64 {
        self.prompt_tokens + self.completion_tokens
    }

    /// What they cost.
    pub fn money(&self, prices: &Prices) -> f64 {
        let fresh = self.prompt_tokens.saturating_sub(self.cached_tokens);
        let millionths = fresh as f64 * prices.prompt
            + self.cached_tokens as f64 * prices.cached
            + self.completion_tokens as f64 * prices.completion;
        millionths / 1e6
    }
}

/// A cap that was reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Exhausted {
    Requests(u64),
    Tokens(u64),
    Seconds(f64),
    Money(f64),
}

impl fmt::Display for Exhausted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requests(cap) => write!(formatter, "`budget.requests` = {cap}"),
            Self::Tokens(cap) => write!(formatter, "`budget.tokens` = {cap}"),
            Self::Seconds(cap) => write!(formatter, "`budget.seconds` = {cap}"),
            Self::Money(cap) => write!(formatter, "`budget.money` = {cap}"),
        }
    }
}

/// Counts what a run takes against its budget.
#[derive(Debug)]
pub(crate) struct Accounts {
    budget: Budget,
    start: Instant,
    books: Mutex<Books>,
}

#[derive(Debug)]
struct Books {
    /// Of the run, earlier calls included.
    run: Totals,
    /// Of this call.
    call: Totals,
    /// Requests that an earlier answer served.
    reused: u64,
    in_flight: u64,
}

impl Accounts {
    pub(super) fn new(budget: Budget, earlier: Totals) -> Self {
        let books = Books { run: earlier, call: Totals::default(), reused: 0, in_flight: 0 };
        Self { budget, start: Instant::now(), books: Mutex::new(books) }
    }

    /// Allows one more request, or says which cap forbids it. Requests in flight count as sent.
    pub(super) fn reserve(&self) -> Result<(), Exhausted> {
        let Budget { requests, tokens, seconds, money, prices } = self.budget;
        let elapsed = self.start.elapsed().as_secs_f64();
        self.with(|books| {
            let sent = books.run.requests + books.run.failed + books.in_flight;
            if requests > 0 && sent >= requests {
                return Err(Exhausted::Requests(requests));
            }
            if tokens > 0 && books.run.tokens() >= tokens {
                return Err(Exhausted::Tokens(tokens));
            }
            if seconds > 0.0 && elapsed >= seconds {
                return Err(Exhausted::Seconds(seconds));
            }
            if money > 0.0 && books.run.money(&prices) >= money {
                return Err(Exhausted::Money(money));
            }
            books.in_flight += 1;
            Ok(())
        })
    }

    /// Takes back a reservation.
    pub(super) fn release(&self) {
        self.with(|books| books.in_flight -= 1);
    }

    pub(super) fn answered(&self, usage: &Usage) {
        self.with(|books| {
            books.in_flight -= 1;
            books.run.add(usage);
            books.call.add(usage);
        });
    }

    pub(super) fn failed(&self) {
        self.with(|books| {
            books.in_flight -= 1;
            books.run.failed += 1;
            books.call.failed += 1;
        });
    }

    pub(super) fn reused(&self) {
        self.with(|books| books.reused += 1);
    }

    /// What the run took, earlier calls included; of a call that was killed the failures are not known.
    pub(crate) fn of_run(&self) -> Totals {
        self.with(|books| books.run)
    }

    /// What this call took.
    pub(crate) fn of_call(&self) -> Totals {
        self.with(|books| books.call)
    }

    /// How many requests of this call earlier answers served.
    pub(crate) fn served_from_cache(&self) -> u64 {
        self.with(|books| books.reused)
    }

    /// What the run cost.
    pub(crate) fn money(&self) -> f64 {
        self.of_run().money(&self.budget.prices)
    }

    /// How long this call has lasted.
    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    fn with<T>(&self, work: impl FnOnce(&mut Books) -> T) -> T {
        work(&mut self.books.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USAGE: Usage = Usage { prompt_tokens: 100, cached_tokens: 60, completion_tokens: 10 };

    #[test]
    fn requests_in_flight_count_against_the_cap() {
        let budget = Budget { requests: 3, ..Budget::default() };
        let accounts = Accounts::new(budget, Totals { requests: 1, ..Totals::default() });
        assert!(accounts.reserve().is_ok() && accounts.reserve().is_ok());
        assert_eq!(accounts.reserve(), Err(Exhausted::Requests(3)));
        accounts.release();
        assert!(accounts.reserve().is_ok());
        accounts.answered(&USAGE);
        accounts.failed();
        assert_eq!(accounts.reserve(), Err(Exhausted::Requests(3)));
        assert_eq!((accounts.of_run().requests, accounts.of_call().requests), (2, 1));
    }

    #[test]
    fn tokens_and_money_are_counted() {
        let prices = Prices { prompt: 2.0, cached: 0.5, completion: 10.0 };
        let mut totals = Totals::default();
        totals.add(&USAGE);
        // 40 at 2, 60 at 0.5 and 10 at 10 a million.
        assert_eq!(totals.money(&prices), 210.0 / 1e6);
        let caps = [
            Budget { tokens: 110, ..Budget::default() },
            Budget { money: 2e-4, prices, ..Budget::default() },
        ];
        for budget in caps {
            assert!(Accounts::new(budget, Totals::default()).reserve().is_ok());
            assert!(Accounts::new(budget, totals).reserve().is_err(), "{budget:?}");
        }
    }
}
