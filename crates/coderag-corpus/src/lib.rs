//! Readers that turn DDL files, gretel-style tables and live databases into one table of documents.
//!
//! Every reader yields [`coderag_core::Document`]s, one per table, whose text is the table's DDL
//! followed by up to three sample rows where a live database has them, and whose meta is a
//! [`Table`]. The crate knows nothing of vectors.
//!
//! ```no_run
//! let documents = coderag_corpus::read_all(&["shop.sqlite", "schemas/"])?;
//! coderag_corpus::documents::write("documents.parquet".as_ref(), &documents)?;
//! # Ok::<(), coderag_corpus::Error>(())
//! ```
//!
//! Where whole databases are wanted instead of their tables, [`read_scripts`] reads the same sources as
//! scripts.
//!
//! Texts that are not schemas, to embed or to search for, are read from many formats by [`TextSource`],
//! however many there are.

mod columns;
mod compressed;
mod csv_column;
pub mod ddl;
pub mod documents;
mod error;
pub mod gretel;
mod lexer;
mod read;
mod sample;
mod scripts;
pub mod sqlite;
mod table;
mod texts;

pub use error::{Error, Result};
pub use read::{read_all, read_documents};
pub use scripts::{SchemaScript, read_scripts};
pub use table::{Column, ForeignKey, Table, meta};
pub use texts::{TextFormat, TextSource, Texts, read_texts};
