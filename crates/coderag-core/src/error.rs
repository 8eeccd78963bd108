use std::path::{Path, PathBuf};

/// Any error that can cross a thread.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The result of the traits and functions of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong in the shared contract.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file operation.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// The attempted operation, as a verb: `read`, `create`, `rename`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },

    /// A configuration file is not valid TOML, or a value has the wrong type.
    #[error("{origin}: {message}")]
    Config {
        /// The file, or the name of the built-in configuration.
        origin: String,
        /// The parser's message, with line and column.
        message: String,
    },

    /// A configuration file has a key nobody reads, which is nearly always a typing error.
    #[error("{origin}: line {line}: unknown key `{key}`{}", suggest(.nearest))]
    UnknownKey {
        /// The file, or the name of the built-in configuration.
        origin: String,
        /// The line, counted from 1.
        line: usize,
        /// The key as written.
        key: String,
        /// The most similar valid key.
        nearest: Option<String>,
    },

    /// A SHA-256 digest was not 64 hexadecimal digits.
    #[error("`{0}` is not a SHA-256 digest: expected 64 hexadecimal digits")]
    InvalidDigest(String),

    /// A matrix of embeddings whose value count is not a multiple of its width.
    #[error("{values} values do not form rows of {dimensions} dimensions")]
    RaggedEmbeddings {
        /// How many values there are.
        values: usize,
        /// The width of a row.
        dimensions: usize,
    },

    /// An implementation of one of the traits failed.
    #[error("{component}")]
    Component {
        /// What failed, in words a user knows: `the language model qwen2.5-coder-0.5b`.
        component: String,
        /// Why.
        source: BoxError,
    },
}

impl Error {
    /// Names the file behind an I/O error; meant for `map_err`.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// Wraps the error of an implementation of one of the traits; meant for `map_err`.
    pub fn component<E: Into<BoxError>>(component: impl Into<String>) -> impl FnOnce(E) -> Self {
        let component = component.into();
        move |source| Self::Component { component, source: source.into() }
    }
}

fn suggest(nearest: &Option<String>) -> String {
    match nearest {
        Some(key) => format!("; did you mean `{key}`?"),
        None => String::new(),
    }
}
