//! Live SQLite databases: one document per table and view.
//!
//! A document's text is the DDL as SQLite stores it, which always states the keys, and under it a
//! comment block with sample rows. Views have no sample rows, because a view may
//! compute for long. SQLite's own tables and the shadow tables of virtual tables are left out.

use std::fmt::Write as _;
use std::path::Path;

use coderag_core::Document;
use rusqlite::config::DbConfig;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::sample::{block, cell};
use crate::table::statement;
use crate::{Column, Error, ForeignKey, Result, Table};

pub use crate::sample::SampleRows;

/// Reads a database file, opened read-only; the database is named after the file's stem.
///
/// # Errors
/// [`Error::Core`] when the file cannot be opened, [`Error::Sqlite`] when it is not a database,
/// is locked or is damaged.
pub fn read_file(path: &Path, sample_rows: SampleRows) -> Result<Vec<Document>> {
    let connection = open(path)?;
    let database = path.file_stem().unwrap_or_default().to_string_lossy();
    read(&connection, &database, &path.display().to_string(), sample_rows)
        .map_err(|source| Error::Sqlite { database: path.display().to_string(), source })
}

/// Reads the tables of a database file, opened read-only, as a script: each CREATE TABLE statement,
/// followed by INSERT statements for its first rows. Texts longer than the sample's width are cut, and
/// blobs and infinities are NULL; views and virtual tables are left out.
///
/// # Errors
/// As [`read_file`].
pub fn read_script(path: &Path, sample_rows: SampleRows) -> Result<String> {
    let connection = open(path)?;
    let refused = |source| Error::Sqlite { database: path.display().to_string(), source };
    let mut script = String::new();
    for Entry { kind, name, ddl } in entries(&connection).map_err(refused)? {
        if kind != Kind::Table {
            continue;
        }
        script.push_str(&statement(&ddl));
        script.push('\n');
        match inserts(&connection, &name, sample_rows) {
            Ok(inserts) => script.push_str(&inserts),
            Err(error) if kind.tolerates(&error) => {
                tracing::warn!(%error, table = name, "the table is described by its DDL alone");
            }
            Err(error) => return Err(refused(error)),
        }
    }
    Ok(script)
}

fn open(path: &Path) -> Result<Connection> {
    // SQLite's own message for this does not say why.
    std::fs::File::open(path).map_err(Error::io("open", path))?;
    let refused = |source| Error::Sqlite { database: path.display().to_string(), source };
    let absolute = std::path::absolute(path).map_err(Error::io("find", path))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(absolute, flags).map_err(refused)?;
    // The schema may be hostile: its expressions must not call functions with side effects.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false).map_err(refused)?;
    Ok(connection)
}

/// Reads the tables and views of a connection's main database, in the order of their creation.
///
/// Runs SELECT and read-only PRAGMA statements, so call it before an authorizer that forbids those
/// is installed. A view or virtual table that cannot be read is given without columns or rows.
///
/// # Errors
/// [`Error::Sqlite`] when the file is not a database, is locked or is damaged.
pub fn read_tables(
    connection: &Connection,
    database: &str,
    sample_rows: SampleRows,
) -> Result<Vec<Document>> {
    let source = match connection.path() {
        Some(path) if !path.is_empty() => path,
        _ => database,
    };
    read(connection, database, source, sample_rows)
        .map_err(|source| Error::Sqlite { database: database.to_owned(), source })
}

fn read(
    connection: &Connection,
    database: &str,
    source: &str,
    sample_rows: SampleRows,
) -> rusqlite::Result<Vec<Document>> {
    let mut documents = Vec::new();
    for entry in entries(connection)? {
        documents.push(document(connection, database, source, sample_rows, entry)?);
    }
    Ok(documents)
}

/// What the schema says of one table.
struct Entry {
    kind: Kind,
    name: String,
    ddl: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Table,
    View,
    Virtual,
}

impl Kind {
    /// Whether a failure to read the content says nothing about the rest of the database.
    fn tolerates(self, error: &rusqlite::Error) -> bool {
        match self {
            Self::Virtual | Self::View => true,
            // An SQL error, such as a generated column that calls an unknown function; not damage,
            // a lock or a full disk.
            Self::Table => match error {
                rusqlite::Error::SqlInputError { .. } => true,
                other => other.sqlite_error_code() == Some(ErrorCode::Unknown),
            },
        }
    }
}

fn entries(connection: &Connection) -> rusqlite::Result<Vec<Entry>> {
    let mut statement = connection.prepare(
        "SELECT listed.type, schema.name, schema.sql
         FROM main.sqlite_schema AS schema
         JOIN pragma_table_list AS listed
           ON listed.schema = 'main' AND listed.name = schema.name
         WHERE schema.type IN ('table', 'view') AND schema.sql IS NOT NULL
           AND schema.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
         ORDER BY schema.rowid",
    )?;
    let mut rows = statement.query([])?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        let kind = match text(row.get_ref(0)?).as_str() {
            "shadow" => continue,
            "view" => Kind::View,
            "virtual" => Kind::Virtual,
            _ => Kind::Table,
        };
        entries.push(Entry { kind, name: text(row.get_ref(1)?), ddl: text(row.get_ref(2)?) });
    }
    Ok(entries)
}

fn document(
    connection: &Connection,
    database: &str,
    source: &str,
    sample_rows: SampleRows,
    Entry { kind, name, ddl }: Entry,
) -> rusqlite::Result<Document> {
    let tolerate = |error: rusqlite::Error| {
        if !kind.tolerates(&error) {
            return Err(error);
        }
        tracing::warn!(database, table = name, %error, "the table is described by its DDL alone");
        Ok(())
    };
    let mut table =
        Table { database: Some(database.to_owned()), name: name.clone(), ..Table::default() };
    let mut text = statement(&ddl);
    match columns(connection, &name) {
        Ok((columns, primary_key)) => {
            table.columns = columns;
            table.primary_key = primary_key;
        }
        Err(error) => tolerate(error)?,
    }
    table.foreign_keys = foreign_keys(connection, &name)?;
    if kind != Kind::View && sample_rows.limit > 0 {
        match rows(connection, &name, sample_rows) {
            Ok(rows) => text.push_str(&rows),
            Err(error) => tolerate(error)?,
        }
    }
    let mut document = table.document(format!("sqlite:{database}:{name}"), text, source);
    if kind == Kind::View {
        document.title.push_str(" (view)");
    }
    Ok(document)
}

/// The columns, and the primary key's in key order.
fn columns(connection: &Connection, table: &str) -> rusqlite::Result<(Vec<Column>, Vec<String>)> {
    // `hidden` is 1 for the hidden columns of virtual tables, 2 and 3 for generated columns.
    let mut statement = connection.prepare(
        "SELECT name, type, pk FROM pragma_table_xinfo(?1, 'main') WHERE hidden <> 1 ORDER BY cid",
    )?;
    let mut rows = statement.query([table])?;
    let mut columns = Vec::new();
    let mut primary_key: Vec<(i64, String)> = Vec::new();
    while let Some(row) = rows.next()? {
        let name = text(row.get_ref(0)?);
        let position: i64 = row.get(2)?;
        if position > 0 {
            primary_key.push((position, name.clone()));
        }
        columns.push(Column { name, data_type: text(row.get_ref(1)?) });
    }
    primary_key.sort();
    Ok((columns, primary_key.into_iter().map(|(_, name)| name).collect()))
}

fn foreign_keys(connection: &Connection, table: &str) -> rusqlite::Result<Vec<ForeignKey>> {
    // SQLite numbers foreign keys from the last in the DDL to the first.
    let mut statement = connection.prepare(
        "SELECT id, \"table\", \"from\", \"to\" FROM pragma_foreign_key_list(?1, 'main')
         ORDER BY id DESC, seq",
    )?;
    let mut rows = statement.query([table])?;
    let mut keys: Vec<(i64, ForeignKey)> = Vec::new();
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        let from = text(row.get_ref(2)?);
        let to = match row.get_ref(3)? {
            ValueRef::Null => None,
            value => Some(text(value)),
        };
        match keys.last_mut() {
            Some((last, key)) if *last == id => {
                key.columns.push(from);
                key.references.extend(to);
            }
            _ => {
                let table = text(row.get_ref(1)?);
                let references = to.into_iter().collect();
                keys.push((id, ForeignKey { columns: vec![from], table, references }));
            }
        }
    }
    let mut keys: Vec<ForeignKey> = keys.into_iter().map(|(_, key)| key).collect();
    for key in &mut keys {
        // `REFERENCES parent` without columns means the parent's primary key.
        if key.references.is_empty() {
            let (_, parent) = columns(connection, &key.table).unwrap_or_default();
            if parent.len() == key.columns.len() {
                key.references = parent;
            }
        }
    }
    Ok(keys)
}

/// The comment block with the table's first rows; empty for an empty table.
fn rows(connection: &Connection, table: &str, sample: SampleRows) -> rusqlite::Result<String> {
    let mut statement = connection.prepare(&first_rows(table, sample))?;
    let names: Vec<String> =
        statement.column_names().map(|name| cell(name, sample.value_width)).collect();
    let mut rows = statement.query([])?;
    let mut shown = Vec::new();
    while let Some(row) = rows.next()? {
        let values =
            (0..names.len()).map(|column| Ok(value(row.get_ref(column)?, sample.value_width)));
        shown.push(values.collect::<rusqlite::Result<Vec<_>>>()?);
    }
    Ok(block(&names, &shown))
}

/// The first rows of a table as INSERT statements, one a line.
fn inserts(connection: &Connection, table: &str, sample: SampleRows) -> rusqlite::Result<String> {
    let mut statement = connection.prepare(&first_rows(table, sample))?;
    let names: Vec<String> = statement.column_names().map(quoted).collect();
    let mut rows = statement.query([])?;
    let mut script = String::new();
    while let Some(row) = rows.next()? {
        let values = (0..names.len()).map(|column| {
            Ok(match row.get_ref(column)? {
                ValueRef::Blob(_) => "NULL".to_owned(),
                // SQL cannot write an infinity.
                ValueRef::Real(number) if !number.is_finite() => "NULL".to_owned(),
                ValueRef::Text(bytes) => {
                    let shown = cell(&String::from_utf8_lossy(bytes), sample.value_width);
                    format!("'{}'", shown.replace('\'', "''"))
                }
                other => value(other, sample.value_width),
            })
        });
        let values = values.collect::<rusqlite::Result<Vec<_>>>()?.join(", ");
        let (table, names) = (quoted(table), names.join(", "));
        // Writing to a String cannot fail.
        let _ = writeln!(script, "INSERT INTO {table} ({names}) VALUES ({values});");
    }
    Ok(script)
}

fn first_rows(table: &str, sample: SampleRows) -> String {
    format!("SELECT * FROM main.{} NOT INDEXED LIMIT {}", quoted(table), sample.limit)
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn value(value: ValueRef<'_>, width: usize) -> String {
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(value) => value.to_string(),
        ValueRef::Real(value) => value.to_string(),
        ValueRef::Text(bytes) => cell(&String::from_utf8_lossy(bytes), width),
        ValueRef::Blob(bytes) => format!("<blob {} bytes>", bytes.len()),
    }
}

/// A text value; bytes that are not UTF-8 are replaced.
fn text(value: ValueRef<'_>) -> String {
    value.as_bytes().map(String::from_utf8_lossy).unwrap_or_default().into_owned()
}
