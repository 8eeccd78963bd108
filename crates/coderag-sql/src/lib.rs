//! Grounded text-to-SQL: table selection, prompts, SQL extraction and the guarded executor.
//!
//! A question travels through five stages, each usable alone:
//!
//! 1. [`DatabaseSchema::read`] describes the tables of a SQLite file and
//!    [`DatabaseSchema::select`] takes those that the question is about;
//! 2. [`prompt`] turns them and the question into a conversation;
//! 3. a [`coderag_core::ChatModel`] continues it;
//! 4. [`extract`] finds the one statement in the answer;
//! 5. [`GuardedDatabase`] checks or runs it, trusting neither the statement nor the database.
//!
//! [`TextToSql`] runs them in order. The crate knows nothing of engines, encoders or indexes: it
//! sees a chat model and a retriever only through the traits of `coderag-core`.
//!
//! ```no_run
//! use coderag_sql::{GuardedDatabase, Limits};
//!
//! let database = GuardedDatabase::open("shop.sqlite".as_ref(), &Limits::default())?;
//! let result = database.execute("SELECT count(*) FROM customer")?;
//! assert!(database.execute("DELETE FROM customer").is_err());
//! # Ok::<(), coderag_sql::Error>(())
//! ```

mod authorizer;
mod connection;
mod error;
mod executor;
mod extract;
mod lexed;
mod limits;
mod pipeline;
mod prompt;
mod rows;
mod schema;
mod scratch;
mod seconds;
mod selection;
mod settings;
mod value;

pub use error::{Error, Result};
pub use executor::{GuardedDatabase, Prepared, QueryResult};
pub use extract::{extract, single_line};
pub use limits::Limits;
pub use pipeline::{Answer, TextToSql};
pub use prompt::prompt;
pub use schema::{DatabaseSchema, SchemaTable};
pub use scratch::ScratchDatabase;
pub use selection::{Selection, SelectionSettings};
pub use settings::Settings;
pub use value::{TextDecoding, Value};
