//! Tables of questions and schemas in the columns of gretelai/synthetic_text_to_sql.
//!
//! Only `sql_context` is read, a script of CREATE TABLE and INSERT statements; the other columns may
//! be absent. The same table in many rows gives one document. In JSON lines a line may instead
//! describe one table: `{"id": ..., "ddl": ..., "db_id": ..., "table": ..., "source": ...}`, of
//! which only `id` and `ddl` are required.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::path::Path;

use coderag_core::{Digest, Document};
use serde_json::Value;

use crate::columns::for_each_row;
use crate::compressed::open;
use crate::csv_column::CsvColumn;
use crate::ddl::{ScriptTable, tables};
use crate::sample::SampleRows;
use crate::{Error, Result};

/// The column with the schema.
pub(crate) const SQL_CONTEXT: &str = "sql_context";

/// Reads a CSV file with a header line, compressed if its name ends in `.gz`.
///
/// # Errors
/// [`Error::Core`] when the file cannot be read, [`Error::MissingColumn`], [`Error::Row`].
pub fn read_csv(path: &Path) -> Result<Vec<Document>> {
    let mut contexts = Contexts::new(path);
    for row in CsvColumn::new(path, open(path)?, SQL_CONTEXT)? {
        let (line, context) = row?;
        contexts.add("line", line, &context);
    }
    Ok(contexts.documents)
}

/// Reads a file of JSON lines, compressed if its name ends in `.gz`.
///
/// # Errors
/// [`Error::Core`] when the file cannot be read, [`Error::Row`] for a line that is not JSON or has
/// neither `sql_context` nor `ddl`.
pub fn read_json_lines(path: &Path) -> Result<Vec<Document>> {
    let mut contexts = Contexts::new(path);
    for (number, line) in (1..).zip(BufReader::new(open(path)?).lines()) {
        let line = line.map_err(Error::io("read", path))?;
        if line.trim().is_empty() {
            continue;
        }
        let refused =
            |message: String| Error::Row { path: path.to_owned(), place: "line", number, message };
        let line: Value = serde_json::from_str(&line)
            .map_err(|error| refused(format!("not valid JSON: {error}")))?;
        let field = |name| line.get(name).and_then(Value::as_str);
        match (field("ddl"), field(SQL_CONTEXT)) {
            (Some(ddl), _) => {
                let document = described(&line, ddl, &contexts.source).map_err(refused)?;
                contexts.documents.push(document);
            }
            (None, Some(context)) => contexts.add("line", number, context),
            (None, None) => {
                return Err(refused(format!("expected a string `{SQL_CONTEXT}` or `ddl`")));
            }
        }
    }
    Ok(contexts.documents)
}

/// Reads a Parquet file.
///
/// # Errors
/// [`Error::Core`] and [`Error::Parquet`] when the file cannot be read, [`Error::MissingColumn`],
/// [`Error::ColumnType`], [`Error::Row`] for a null.
pub fn read_parquet(path: &Path) -> Result<Vec<Document>> {
    let mut contexts = Contexts::new(path);
    for_each_row(path, [SQL_CONTEXT], |number, [context]| {
        let context = context.ok_or_else(|| Error::Row {
            path: path.to_owned(),
            place: "row",
            number,
            message: format!("`{SQL_CONTEXT}` is null"),
        })?;
        contexts.add("row", number, context);
        Ok(())
    })?;
    Ok(contexts.documents)
}

/// The document of a line that describes one table, or what is wrong with the line.
fn described(line: &Value, ddl: &str, source: &str) -> Result<Document, String> {
    let field = |name| line.get(name).and_then(Value::as_str).map(str::to_owned);
    let id = field("id").ok_or("a line with `ddl` needs a string `id`")?;
    let mut tables = tables(ddl, SampleRows::default());
    let (Some(ScriptTable { mut table, text }), None) = (tables.pop(), tables.pop()) else {
        return Err("`ddl` must hold one CREATE TABLE statement".to_owned());
    };
    table.database = field("db_id").or(table.database);
    table.name = field("table").unwrap_or(table.name);
    Ok(table.document(id, text, field("source").as_deref().unwrap_or(source)))
}

/// Collects the tables of many contexts, each once.
struct Contexts {
    source: String,
    contexts: HashSet<Digest>,
    texts: HashSet<Digest>,
    documents: Vec<Document>,
}

impl Contexts {
    fn new(path: &Path) -> Self {
        let source = path.display().to_string();
        Self { source, contexts: HashSet::new(), texts: HashSet::new(), documents: Vec::new() }
    }

    fn add(&mut self, place: &str, number: u64, context: &str) {
        // Many questions share a context.
        if !self.contexts.insert(Digest::of(context)) {
            return;
        }
        let tables = tables(context, SampleRows::default());
        if tables.is_empty() {
            tracing::warn!("{}: {place} {number}: no CREATE TABLE in {SQL_CONTEXT}", self.source);
        }
        for ScriptTable { table, text } in tables {
            let mut document = table.document(String::new(), text, &self.source);
            // The id comes from the content, so that it does not depend on the order of the rows.
            let digest = document.sha256.to_string();
            document.id = format!("gretel:{}:{:.16}", document.title, digest);
            if self.texts.insert(document.sha256) {
                self.documents.push(document);
            }
        }
    }
}
