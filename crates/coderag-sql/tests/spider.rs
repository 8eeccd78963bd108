//! Spider's gold SQL on Spider's databases: the guard refuses none of it and changes no result.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use coderag_core::Digest;
use coderag_sql::{DatabaseSchema, GuardedDatabase, Limits, Value};
use flate2::read::GzDecoder;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

const SAMPLE: usize = 1_000;

fn data() -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let folder = std::env::var_os("CODERAG_DATA").map_or_else(|| default.into(), PathBuf::from);
    let spider = folder.join("spider");
    if spider.is_dir() {
        return Some(spider);
    }
    println!("skipped: Spider's gold SQL in the guarded executor; {} is missing", spider.display());
    None
}

fn database_path(spider: &Path, name: &str) -> PathBuf {
    spider.join("database").join(name).join(format!("{name}.sqlite"))
}

fn unguarded(path: &Path, sql: &str) -> (Vec<String>, Vec<Vec<Value>>) {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut cursor = statement.query([]).unwrap();
    let mut rows = Vec::new();
    while let Some(row) = cursor.next().unwrap() {
        let value = |column| match row.get_ref_unwrap(column) {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(value) => Value::Integer(value),
            ValueRef::Real(value) => Value::Real(value),
            ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
            ValueRef::Blob(blob) => Value::Blob(blob.to_owned()),
        };
        rows.push((0..columns.len()).map(value).collect());
    }
    (columns, rows)
}

#[test]
fn gold_statements_run_guarded_as_they_run_unguarded() {
    let Some(spider) = data() else { return };
    let file = std::fs::File::open(spider.join("train.jsonl.gz")).unwrap();
    let mut gold: Vec<(Digest, String, String)> = BufReader::new(GzDecoder::new(file))
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(&line.unwrap()).unwrap())
        .filter(|row| row["exec"] == "ok")
        .map(|row| {
            let text = |key: &str| row[key].as_str().unwrap().to_owned();
            // The order of the digests is a random one, and the same each time.
            (Digest::of(format!("42 {}", text("id"))), text("db_id"), text("query"))
        })
        .collect();
    gold.sort();
    gold.truncate(SAMPLE);
    assert_eq!(gold.len(), SAMPLE);
    let limits = Limits {
        deadline: Duration::from_secs(60),
        max_rows: usize::MAX,
        max_result_bytes: usize::MAX,
        ..Limits::default()
    };
    let mut failures = Vec::new();
    for (_, name, sql) in &gold {
        let path = database_path(&spider, name);
        let database = GuardedDatabase::open(&path, &limits).unwrap();
        match database.execute(sql) {
            Ok(result) => {
                assert!(!result.truncated && !result.tables.is_empty(), "{sql}");
                if (result.columns, result.rows) != unguarded(&path, sql) {
                    failures.push(format!("{name}: {sql}: another result"));
                }
            }
            Err(error) => failures.push(format!("{name}: {sql}: {error}")),
        }
    }
    assert!(failures.is_empty(), "{} of {SAMPLE}: {failures:#?}", failures.len());
}

#[test]
fn every_database_with_tables_has_a_schema() {
    let Some(spider) = data() else { return };
    let mut databases = 0;
    let mut tables = 0;
    for entry in std::fs::read_dir(spider.join("database")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let path = database_path(&spider, &name);
        if !path.is_file() {
            continue;
        }
        let database = GuardedDatabase::open(&path, &Limits::default()).unwrap();
        let schema = DatabaseSchema::read(&database).unwrap();
        assert_eq!(schema.database, name);
        for table in &schema.tables {
            assert!(!table.table.columns.is_empty(), "{}", table.text);
            let sql = format!("SELECT * FROM \"{}\"", table.table.name);
            let name = std::slice::from_ref(&table.table.name);
            assert_eq!(database.check(&sql).unwrap().tables, name);
        }
        databases += 1;
        tables += schema.tables.len();
    }
    println!("{databases} databases, {tables} tables");
    assert!(databases > 100);
}
