use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::columns::{column_names, for_each_row};
use crate::compressed::open;
use crate::csv_column::CsvColumn;
use crate::gretel::SQL_CONTEXT;
use crate::read::{Format, sources};
use crate::sample::SampleRows;
use crate::{Error, Result, Table, ddl, documents, sqlite};

/// Tables as a script of CREATE TABLE and INSERT statements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaScript {
    /// The database's name, where it is known. Several scripts of one source may belong to it.
    pub database: Option<String>,
    /// The statements, as written in the source.
    pub text: String,
    /// The subject and its description: gretel's `domain` and `domain_description`.
    pub domain: Option<(String, String)>,
    /// Where it comes from.
    pub source: String,
    /// The live database that the script describes.
    pub file: Option<PathBuf>,
}

/// Reads the sources of [`read_documents`](crate::read_documents) as scripts: of gretel's columns one
/// for each `sql_context`, of a DDL file and of a SQLite database one, of the others one for each table.
///
/// # Errors
/// As [`read_documents`](crate::read_documents).
pub fn read_scripts(path: &Path) -> Result<Vec<SchemaScript>> {
    let mut scripts = Vec::new();
    for (file, format) in sources(path)? {
        let source = file.display().to_string();
        let script = |text: String| SchemaScript {
            database: None,
            text,
            domain: None,
            source: source.clone(),
            file: None,
        };
        match format {
            Format::Ddl => {
                let name = file.file_name().unwrap_or_default().to_string_lossy();
                let stem = name.split('.').next().map(str::to_owned);
                scripts.push(SchemaScript { database: stem, ..script(ddl::read_text(&file)?) });
            }
            Format::Sqlite => {
                let text = sqlite::read_script(&file, SampleRows::default())?;
                let database = file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
                scripts.push(SchemaScript { database, file: Some(file.clone()), ..script(text) });
            }
            Format::JsonLines => json_lines(&file, &mut scripts)?,
            Format::Csv => {
                let column = |name| csv_column(&file, name);
                let contexts = column(SQL_CONTEXT)?;
                let domains =
                    (optional(column("domain"))?, optional(column("domain_description"))?);
                scripts.extend(with_domains(contexts, domains, script));
            }
            Format::Parquet if documents::is_file(&column_names(&file)?) => {
                for document in documents::read(&file)? {
                    let database = Table::of(&document)?.database;
                    let mut table = ddl::tables(&document.text, SampleRows::NONE);
                    // The sample rows of a document stand in a comment.
                    let text = table.pop().map_or(document.text, |table| table.text);
                    scripts.push(SchemaScript {
                        database,
                        source: document.source,
                        ..script(text)
                    });
                }
            }
            Format::Parquet => {
                let column = |name| parquet_column(&file, name);
                let contexts = column(SQL_CONTEXT)?;
                let domains =
                    (optional(column("domain"))?, optional(column("domain_description"))?);
                scripts.extend(with_domains(contexts, domains, script));
            }
        }
    }
    Ok(scripts)
}

fn json_lines(path: &Path, scripts: &mut Vec<SchemaScript>) -> Result<()> {
    for (number, line) in (1..).zip(BufReader::new(open(path)?).lines()) {
        let line = line.map_err(Error::io("read", path))?;
        if line.trim().is_empty() {
            continue;
        }
        let refused =
            |message: String| Error::Row { path: path.to_owned(), place: "line", number, message };
        let line: Value = serde_json::from_str(&line)
            .map_err(|error| refused(format!("not valid JSON: {error}")))?;
        let field = |name| line.get(name).and_then(Value::as_str).map(str::to_owned);
        let (text, database) = match (field("ddl"), field(SQL_CONTEXT)) {
            (Some(ddl), _) => (ddl, field("db_id")),
            (None, Some(context)) => (context, None),
            (None, None) => {
                return Err(refused(format!("expected a string `{SQL_CONTEXT}` or `ddl`")));
            }
        };
        scripts.push(SchemaScript {
            database,
            text,
            domain: field("domain").zip(field("domain_description")),
            source: field("source").unwrap_or_else(|| path.display().to_string()),
            file: None,
        });
    }
    Ok(())
}

/// One column of a CSV file.
fn csv_column(path: &Path, name: &str) -> Result<Vec<String>> {
    let column = CsvColumn::new(path, open(path)?, name)?;
    column.map(|value| value.map(|(_, value)| value)).collect()
}

/// One column of a Parquet file; nulls are empty.
fn parquet_column(path: &Path, name: &str) -> Result<Vec<String>> {
    let mut values = Vec::new();
    for_each_row(path, [name], |_, [value]| {
        values.push(value.unwrap_or_default().to_owned());
        Ok(())
    })?;
    Ok(values)
}

/// A column that may be absent.
fn optional(column: Result<Vec<String>>) -> Result<Vec<String>> {
    match column {
        Err(Error::MissingColumn { .. }) => Ok(Vec::new()),
        other => other,
    }
}

fn with_domains(
    contexts: Vec<String>,
    (domains, descriptions): (Vec<String>, Vec<String>),
    script: impl Fn(String) -> SchemaScript,
) -> impl Iterator<Item = SchemaScript> {
    let mut domains = domains.into_iter().zip(descriptions);
    contexts.into_iter().map(move |context| {
        let domain = domains.next().filter(|(domain, _)| !domain.is_empty());
        SchemaScript { domain, ..script(context) }
    })
}
