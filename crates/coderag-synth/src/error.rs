/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong in a synthesis run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file, the configuration or a model failed.
    #[error(transparent)]
    Core(#[from] coderag_core::Error),

    /// A corpus of schemas cannot be read.
    #[error(transparent)]
    Corpus(#[from] coderag_corpus::Error),

    /// A database failed.
    #[error(transparent)]
    Sql(#[from] coderag_sql::Error),
}
