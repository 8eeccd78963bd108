use serde::{Deserialize, Serialize};

use crate::Error;

/// What happened on the wire since an endpoint was set up, over all threads.
///
/// Each attempt that has ended counts once more, as an answer or as one kind of failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Requests sent, repetitions included.
    pub attempts: u64,
    /// Complete answers, and those that the receiver broke off.
    pub answers: u64,
    /// HTTP 429: too many requests.
    pub rate_limited: u64,
    /// HTTP 5xx, and errors that a server reports after it has begun to answer.
    pub server_errors: u64,
    /// No connection, no byte or no complete answer in time.
    pub timeouts: u64,
    /// No connection at all, encrypted or not.
    pub unreachable: u64,
    /// Connections that were lost or closed before the answer was complete.
    pub disconnected: u64,
    /// Answers that are no JSON of this interface, or half of it.
    pub malformed: u64,
    /// What the server will not do: other HTTP errors, redirects, filtered answers.
    pub refused: u64,
}

impl Traffic {
    /// How many attempts failed.
    pub fn failures(&self) -> u64 {
        self.rate_limited
            + self.server_errors
            + self.timeouts
            + self.unreachable
            + self.disconnected
            + self.malformed
            + self.refused
    }

    /// Counts what an attempt has failed with.
    pub(super) fn count(&mut self, error: &Error) {
        let counter = match error {
            Error::Status { status: 429, .. } => &mut self.rate_limited,
            Error::Status { status: 500.., .. } | Error::FailedAnswering { .. } => {
                &mut self.server_errors
            }
            Error::Timeout { .. } => &mut self.timeouts,
            Error::Unreachable { .. } | Error::Tls { .. } => &mut self.unreachable,
            Error::ConnectionLost { .. } | Error::StreamClosed { .. } => &mut self.disconnected,
            Error::NotJson { .. }
            | Error::CutShort { .. }
            | Error::NoChoices { .. }
            | Error::TooLarge { .. } => &mut self.malformed,
            _ => &mut self.refused,
        };
        *counter += 1;
    }
}
