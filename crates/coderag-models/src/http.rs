use std::time::Duration;

use coderag_core::BoxError;
use reqwest::blocking::{Client, Response};
use reqwest::header::{ACCEPT_ENCODING, LOCATION, RANGE};
use reqwest::redirect::Policy;
use reqwest::{Method, StatusCode, Url};

use crate::{Error, Result, Settings, Token};

/// How long the hub may say nothing, while connecting or while sending a file.
const SILENCE: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(15);
const MOST_REDIRECTS: usize = 10;

/// An HTTP client that sends the token to the hub's endpoint and to no other address, whatever the
/// endpoint redirects to.
#[derive(Debug)]
pub(crate) struct HubClient {
    http: Client,
    endpoint: Url,
    token: Option<Token>,
}

/// How far to follow redirects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Follow {
    /// Up to the redirect that leaves the endpoint; the hub describes large files there.
    WithinEndpoint,
    /// To the end.
    Everywhere,
}

impl HubClient {
    pub(crate) fn new(settings: &Settings) -> Result<Self> {
        // Fails only when the process has a provider already, which then serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let endpoint = Url::parse(&settings.endpoint)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| Error::Endpoint(settings.endpoint.clone()))?;
        let http = Client::builder()
            .user_agent(concat!("coderag/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .timeout(SILENCE)
            .build()
            .map_err(Error::HttpClient)?;
        Ok(Self { http, endpoint, token: settings.token.clone() })
    }

    /// The address of a file in a repository.
    pub(crate) fn file_url(&self, repository: &str, revision: &str, path: &str) -> Result<Url> {
        let revision = revision.replace('/', "%2F");
        let endpoint = self.endpoint.as_str().trim_end_matches('/');
        Url::parse(&format!("{endpoint}/{repository}/resolve/{revision}/{path}"))
            .map_err(|_| Error::Endpoint(endpoint.to_owned()))
    }

    /// Sends a request, from byte `start` of the file on where that is not 0.
    ///
    /// # Errors
    /// [`Error::Transport`] when there is no answer, else an error for every answer that is neither
    /// a success nor a redirect that [`Follow`] stops at.
    pub(crate) fn send(
        &self,
        method: Method,
        mut url: Url,
        start: u64,
        follow: Follow,
    ) -> Result<Response> {
        for _ in 0..=MOST_REDIRECTS {
            let mut request =
                self.http.request(method.clone(), url.clone()).header(ACCEPT_ENCODING, "identity");
            if start > 0 {
                request = request.header(RANGE, format!("bytes={start}-"));
            }
            if let Some(token) = self.token.as_ref().filter(|_| self.is_endpoint(&url)) {
                request = request.bearer_auth(token.reveal());
            }
            let response = request.send().map_err(|error| Error::Transport {
                url: shown(&url),
                // The address may carry a signature that grants access.
                source: error.without_url(),
            })?;
            let status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            if !status.is_redirection() {
                return Err(refusal(&url, status));
            }
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let next = location.and_then(|location| url.join(location).ok()).ok_or_else(|| {
                unexpected(&url, format!("{status} without a usable address to go on to"))
            })?;
            if follow == Follow::WithinEndpoint && !self.is_endpoint(&next) {
                return Ok(response);
            }
            url = next;
        }
        Err(unexpected(&url, "it redirects without end"))
    }

    fn is_endpoint(&self, url: &Url) -> bool {
        url.origin() == self.endpoint.origin()
    }
}

fn refusal(url: &Url, status: StatusCode) -> Error {
    let (url, status) = (shown(url), status.as_u16());
    match status {
        401 | 403 => Error::AccessRefused { url, status },
        _ => Error::Status { url, status },
    }
}

pub(crate) fn unexpected(url: &Url, problem: impl Into<String>) -> Error {
    Error::UnexpectedAnswer { url: shown(url), problem: problem.into() }
}

/// An address for a message: without the query, where signatures are.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    let _ = url.set_password(None);
    url.into()
}

/// The cause of a failed read, without the address that the HTTP client puts into it.
pub(crate) fn read_failure(url: &Url, error: std::io::Error) -> Error {
    let kind = error.kind();
    let source = match error.downcast::<reqwest::Error>() {
        Ok(error) => std::io::Error::new(kind, BoxError::from(error.without_url())),
        Err(error) => error,
    };
    Error::BrokenOff { url: shown(url), source }
}
