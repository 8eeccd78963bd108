use std::path::PathBuf;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong around the scores; a prediction that is wrong is none of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error(transparent)]
    Core(#[from] coderag_core::Error),

    /// A database cannot be used.
    #[error(transparent)]
    Sql(#[from] coderag_sql::Error),

    /// A file is not the JSON that is expected.
    #[error("cannot read {} as JSON of the expected shape", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },

    /// A line of a file is not what is expected there.
    #[error("{}:{line}: {what}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What was found and what is needed.
        what: String,
    },

    /// Gold and predictions do not belong together.
    #[error(
        "{} has {gold} questions and {} has {predictions} entries; they must be equal in number and \
         order", gold_path.display(), prediction_path.display()
    )]
    CountsDiffer {
        /// The gold file.
        gold_path: PathBuf,
        /// Its questions.
        gold: usize,
        /// The file of predictions.
        prediction_path: PathBuf,
        /// Its predictions.
        predictions: usize,
    },

    /// Gold and predictions have their blank lines in different places.
    #[error(
        "blank lines separate interactions, and number {interaction} of {} is not as long as that of {}; \
         write `-` for an empty answer", gold_path.display(), prediction_path.display()
    )]
    InteractionsDiffer {
        /// The gold file.
        gold_path: PathBuf,
        /// The file of predictions.
        prediction_path: PathBuf,
        /// The first interaction that differs, from 1.
        interaction: usize,
    },

    /// There is nothing to score.
    #[error("{} is empty: there is nothing to score", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },

    /// A `tables.json` contradicts itself.
    #[error("{}: the database `{database}`: {what}", path.display())]
    Tables {
        /// The file.
        path: PathBuf,
        /// The database.
        database: String,
        /// What is wrong.
        what: String,
    },

    /// The file of predictions has an entry that belongs to no question.
    #[error(
        "{}: the key `{key}` is not the number of a question; the keys go from 0 to {last}",
        path.display()
    )]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The last question.
        last: usize,
    },

    /// A database is missing.
    #[error("there is no database file for `{database}`: {} is missing", path.display())]
    NoDatabase {
        /// The database's name.
        database: String,
        /// What was looked for.
        path: PathBuf,
    },

    /// A database's foreign keys are needed and missing.
    #[error("{} has no entry for the database `{database}`", path.display())]
    NoTablesEntry {
        /// The database's name.
        database: String,
        /// The `tables.json`.
        path: PathBuf,
    },

    /// The operating system gave no thread.
    #[error("cannot start a thread to score in")]
    Thread {
        /// What the operating system said.
        source: std::io::Error,
    },

    /// A text of nothing but space, of which sqlparse makes no statement.
    #[error("the text holds no SQL statement: give a query that is not blank")]
    NoStatement,

    /// A statement whose groups (brackets, operations, CASE ...) lie deeper than sqlparse follows.
    #[error("the SQL statement nests deeper than the {limit} levels that sqlparse follows")]
    NestedTooDeeply {
        /// The deepest level that is followed.
        limit: usize,
    },

    /// A statement, or a group of one, of more tokens than sqlparse takes.
    #[error("the SQL statement has more than the {limit} tokens that sqlparse groups")]
    TooManyTokens {
        /// The most tokens that are taken.
        limit: usize,
    },

    /// A gold query whose braces list so many columns that their subsets cannot all be run.
    #[error(
        "the braces of a gold query list {columns} columns; at most {limit} are expanded, since \
         every subset is one more query: {query}"
    )]
    TooManyBracedColumns {
        /// The columns between the braces.
        columns: usize,
        /// The most that are expanded.
        limit: usize,
        /// The gold query.
        query: String,
    },

    /// A text is not SQL that the parser reads.
    #[error("not valid SQL")]
    InvalidSql(#[source] sqlparser::parser::ParserError),

    /// A text holds another number of statements than one.
    #[error("{statements} statements where one query is expected")]
    NotOneStatement {
        /// How many it holds.
        statements: usize,
    },

    /// A statement reads nothing, or not only: it is not a query.
    #[error("the statement is not a query (SELECT or WITH)")]
    NotAQuery,

    /// A text is too long to be compared.
    #[error("{tokens} words and operators, more than the {limit} that are compared")]
    TooLong {
        /// Its words, operators and parentheses.
        tokens: usize,
        /// How many are allowed.
        limit: usize,
    },

    /// The gold query cannot be normalised.
    #[error("the gold query")]
    Gold(#[source] Box<Error>),

    /// The prediction cannot be normalised.
    #[error("the prediction")]
    Prediction(#[source] Box<Error>),
}
