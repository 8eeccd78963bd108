use std::time::Duration;

use reqwest::Url;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Where an OpenAI-compatible server is and how patiently it is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EndpointConfig {
    /// The server's address up to and including the version: `http://127.0.0.1:8080/v1`.
    pub base_url: String,
    /// The model's name as the server knows it.
    pub model: String,
    /// The environment variable that holds the key. Local servers need none.
    pub api_key_variable: String,
    /// Whether answers are asked for as a stream of server-sent events; `false` is for servers that
    /// cannot.
    pub stream: bool,
    /// How long to wait for a connection, in seconds.
    pub connect_timeout_seconds: f64,
    /// How long the server may be silent, before its first byte or between two, in seconds. Without
    /// streaming a server is silent until it has generated the whole answer.
    pub idle_timeout_seconds: f64,
    /// How long a request may take with all its retries, in seconds. A silent server is noticed
    /// only when `idle_timeout_seconds` have passed.
    pub total_timeout_seconds: f64,
    /// How often a failed request is repeated: after 408, 429, 5xx, a lost connection or a timeout,
    /// and only while no part of the answer has been handed on.
    pub retries: u32,
    /// The pause before the first repetition, in seconds. It doubles each time, less up to half of it
    /// at random.
    pub first_pause_seconds: f64,
    /// The longest pause, in seconds, also where the server's `Retry-After` asks for more.
    pub longest_pause_seconds: f64,
    /// The seed of the pauses' random part.
    pub jitter_seed: u64,
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self {
            base_url: "http://127.0.0.1:8080/v1".to_owned(),
            model: String::new(),
            api_key_variable: "OPENAI_API_KEY".to_owned(),
            stream: true,
            connect_timeout_seconds: 10.0,
            idle_timeout_seconds: 120.0,
            total_timeout_seconds: 600.0,
            retries: 3,
            first_pause_seconds: 0.5,
            longest_pause_seconds: 30.0,
            jitter_seed: 0,
        }
    }
}

/// A checked [`EndpointConfig`]'s durations.
#[derive(Clone, Copy, Debug)]
pub(super) struct Durations {
    pub(super) connect: Duration,
    pub(super) idle: Duration,
    pub(super) total: Duration,
    pub(super) first_pause: Duration,
    pub(super) longest_pause: Duration,
}

impl EndpointConfig {
    /// The address that conversations are posted to.
    pub(super) fn url(&self) -> Result<Url> {
        let problem = |problem: &str| Error::Setting {
            key: "base_url",
            problem: format!("{problem}; it should look like http://127.0.0.1:8080/v1"),
        };
        let mut url = Url::parse(&self.base_url)
            .map_err(|error| problem(&format!("`{}` is not a URL: {error}", self.base_url)))?;
        // The URL is shown in errors and logs, so it must not hold a password.
        if !url.username().is_empty() || url.password().is_some() {
            return Err(problem("it must not hold a user name or password"));
        }
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(problem(&format!("`{}` is not an http or https URL", self.base_url)));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(problem("it must not hold a `?` or `#` part"));
        }
        let path = format!("{}/chat/completions", url.path().trim_end_matches('/'));
        url.set_path(&path);
        Ok(url)
    }

    pub(super) fn durations(&self) -> Result<Durations> {
        let duration = |key: &'static str, seconds: f64| {
            Duration::try_from_secs_f64(seconds)
                .ok()
                .filter(|duration| !duration.is_zero())
                .ok_or_else(|| Error::Setting {
                    key,
                    problem: format!("{seconds} is not a positive number of seconds"),
                })
        };
        Ok(Durations {
            connect: duration("connect_timeout_seconds", self.connect_timeout_seconds)?,
            idle: duration("idle_timeout_seconds", self.idle_timeout_seconds)?,
            total: duration("total_timeout_seconds", self.total_timeout_seconds)?,
            first_pause: duration("first_pause_seconds", self.first_pause_seconds)?,
            longest_pause: duration("longest_pause_seconds", self.longest_pause_seconds)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url_of(base_url: &str) -> Result<String> {
        EndpointConfig { base_url: base_url.to_owned(), ..EndpointConfig::default() }
            .url()
            .map(String::from)
    }

    #[test]
    fn a_base_url_may_end_with_a_slash() {
        for base_url in ["http://localhost:1/v1", "http://localhost:1/v1/"] {
            assert_eq!(url_of(base_url).unwrap(), "http://localhost:1/v1/chat/completions");
        }
        assert_eq!(url_of("https://a.b").unwrap(), "https://a.b/chat/completions");
    }

    #[test]
    fn a_base_url_that_cannot_work_is_refused_without_showing_a_password() {
        for base_url in ["localhost:8080", "ftp://a/v1", "http://", "http://a/v1?x=1", "file:///a"]
        {
            assert!(url_of(base_url).unwrap_err().to_string().contains("base_url"), "{base_url}");
        }
        let message = url_of("https://me:hunter2@a.b/v1").unwrap_err().to_string();
        assert!(!message.contains("hunter2"), "{message}");
    }

    #[test]
    fn a_duration_that_is_not_positive_is_refused() {
        for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let config =
                EndpointConfig { idle_timeout_seconds: seconds, ..EndpointConfig::default() };
            let message = config.durations().unwrap_err().to_string();
            assert!(message.contains("idle_timeout_seconds"), "{message}");
        }
    }
}
