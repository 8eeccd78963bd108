use coderag_corpus::sqlite::{SampleRows, read_tables};
use coderag_corpus::{Error as CorpusError, Table};

use crate::{Error, GuardedDatabase, Result};

/// The tables and views of one database, as a prompt shows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseSchema {
    /// The database's name; documents of an index belong to it when they name it.
    pub database: String,
    /// The tables and views in the order of their creation.
    pub tables: Vec<SchemaTable>,
}

/// One table or view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaTable {
    /// Its name, columns and keys.
    pub table: Table,
    /// Its DDL, followed by a comment with up to three sample rows.
    pub text: String,
}

impl DatabaseSchema {
    /// Reads the schema and sample rows from the live database, under the database's limits.
    ///
    /// # Errors
    /// [`Error::NoTables`] for an empty database; otherwise as [`GuardedDatabase::open`].
    pub fn read(database: &GuardedDatabase) -> Result<Self> {
        let name = database.name();
        let documents = {
            let name = name.clone();
            database.read_only(move |connection, _| {
                Ok(read_tables(&connection, &name, SampleRows::default()))
            })?
        };
        let documents = documents.map_err(|error| match error {
            CorpusError::Sqlite { source, .. } => database.failure(source),
            other => Error::Corpus(other),
        })?;
        if documents.is_empty() {
            return Err(Error::NoTables { database: name });
        }
        let tables = documents
            .into_iter()
            .map(|document| Ok(SchemaTable { table: Table::of(&document)?, text: document.text }))
            .collect::<Result<_>>()?;
        Ok(Self { database: name, tables })
    }
}
