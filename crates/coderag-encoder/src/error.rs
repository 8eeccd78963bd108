use std::path::PathBuf;

use coderag_core::BoxError;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong when a model is loaded or texts are embedded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read, or the vectors could not be collected.
    #[error(transparent)]
    Core(#[from] coderag_core::Error),

    /// A file that every model needs is not in the directory.
    #[error("`{}` is missing: {hint}", path.display())]
    Missing {
        /// Where the file should be.
        path: PathBuf,
        /// What to do.
        hint: &'static str,
    },

    /// A settings file is not JSON, or a value has the wrong type.
    #[error("cannot read the settings in `{}`", path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// The parser's message, with line and column.
        source: serde_json::Error,
    },

    /// The model asks for something this crate does not do.
    #[error("`{}`: {what}", path.display())]
    Unsupported {
        /// The file that asks for it.
        path: PathBuf,
        /// What it asks for, and what is supported.
        what: String,
    },

    /// Settings that contradict each other or make no sense.
    #[error("`{}`: {problem}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },

    /// The weights are not a whole safetensors file.
    #[error(
        "`{}` is truncated or damaged; `coderag models verify` checks a pulled model against its hash",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: safetensors::SafeTensorError,
    },

    /// The weights do not fit the architecture that `config.json` describes.
    #[error("`{}` does not fit its config.json: {}", path.display(), list(problems))]
    Weights {
        /// The file.
        path: PathBuf,
        /// One entry for each missing, unexpected or ill-shaped tensor.
        problems: Vec<String>,
    },

    /// An adapter is not whole, or is for another model.
    #[error("{} cannot be used: {}", adapter_name(path), list(problems))]
    Adapter {
        /// The file, unless the adapter was made in this process.
        path: Option<PathBuf>,
        /// One entry for each missing, unexpected or ill-shaped tensor.
        problems: Vec<String>,
    },

    /// `tokenizer.json` cannot be used.
    #[error("cannot read the tokenizer in `{}`", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What the tokenizer library said.
        source: BoxError,
    },

    /// A text could not be turned into tokens.
    #[error("cannot tokenize the texts")]
    Tokenization(#[source] BoxError),

    /// The model has no prompt of this name.
    #[error("the model has no prompt `{name}`; it has {}", known.join(", "))]
    UnknownPrompt {
        /// The name that was asked for.
        name: String,
        /// The names the model has.
        known: Vec<String>,
    },

    /// `CODERAG_CPU` asks for what this CPU lacks, or for a name that means nothing.
    #[error("CODERAG_CPU is `{value}`: {problem}")]
    Cpu {
        /// The variable's value.
        value: String,
        /// What is wrong with it.
        problem: String,
    },

    /// A sequence of tokens that the model cannot take.
    #[error("sequence {index}: {problem}")]
    Sequence {
        /// Its place in the call, from 0.
        index: usize,
        /// What is wrong with it.
        problem: String,
    },

    /// The threads could not be started.
    #[error("cannot start {threads} threads")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the system said.
        source: std::io::Error,
    },

    /// A model cannot be trained in this way.
    #[error("cannot train: {0}")]
    Training(String),

    /// A card cannot be used.
    #[error("cannot use cuda:{index}: {problem}")]
    Cuda {
        /// The card's number.
        index: usize,
        /// What is missing or too old, and what to install.
        problem: String,
    },

    /// The device failed while it computed.
    #[error("cannot compute the vectors")]
    Backend(#[source] BoxError),
}

fn adapter_name(path: &Option<PathBuf>) -> String {
    path.as_ref().map_or("the adapter".to_owned(), |path| format!("`{}`", path.display()))
}

/// The first problems, and how many more there are.
fn list(problems: &[String]) -> String {
    const SHOWN: usize = 5;
    let mut text = problems.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    if problems.len() > SHOWN {
        text.push_str(&format!("; and {} more", problems.len() - SHOWN));
    }
    text
}
