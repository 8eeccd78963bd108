//! The readers on real public data, where it is at hand.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::path::PathBuf;

use coderag_corpus::{Column, Table, read_all, read_documents};
use sqlparser::ast::Statement;
use sqlparser::dialect::SQLiteDialect;
use sqlparser::parser::Parser;

fn data(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("CODERAG_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")),
        PathBuf::from,
    );
    let path = folder.join(name);
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

#[test]
fn every_line_of_the_schema_corpus_is_a_table_that_sqlparser_reads_alike() {
    let Some(path) = data("schema_corpus/tables.jsonl.gz") else { return };
    let documents = read_documents(&path).unwrap();
    assert_eq!(documents.len(), 21_549);
    for document in &documents {
        let table = Table::of(document).unwrap();
        let parsed = Parser::parse_sql(&SQLiteDialect {}, &document.text).unwrap();
        let [Statement::CreateTable(parsed)] = &parsed[..] else { panic!("{}", document.text) };
        let columns: Vec<Column> = parsed
            .columns
            .iter()
            .map(|column| Column {
                name: column.name.value.clone(),
                data_type: column.data_type.to_string(),
            })
            .collect();
        assert_eq!(table.columns, columns, "{}", document.text);
        assert!(!table.columns.is_empty(), "{}", document.text);
    }
    let corpus = read_all(&[path]).unwrap();
    println!("{} documents, {} collapse", corpus.len(), documents.len() - corpus.len());
    assert!(corpus.len() > 21_000);
}

#[test]
fn every_spider_database_is_read() {
    let Some(path) = data("spider/database") else { return };
    let documents = read_documents(&path).unwrap();
    let databases: std::collections::BTreeSet<_> =
        documents.iter().filter_map(|document| Table::of(document).unwrap().database).collect();
    println!("{} tables of {} databases", documents.len(), databases.len());
    assert_eq!(databases.len(), std::fs::read_dir(&path).unwrap().count());
    for document in &documents {
        let table = Table::of(document).unwrap();
        assert!(!table.columns.is_empty(), "{}", document.title);
        // What SQLite says of a table and what the DDL reader says of its DDL agree.
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("script.sql");
        std::fs::write(&script, &document.text).unwrap();
        let again = read_documents(&script).unwrap();
        let [again] = &again[..] else { panic!("{}", document.text) };
        let again = Table::of(again).unwrap();
        let names = |table: &Table| -> Vec<String> {
            table.columns.iter().map(|column| column.name.to_lowercase()).collect()
        };
        assert_eq!(names(&again), names(&table), "{}", document.text);
        let keys = |table: &Table| -> Vec<String> {
            table.primary_key.iter().map(|name| name.to_lowercase()).collect()
        };
        assert_eq!(keys(&again), keys(&table), "{}", document.text);
        assert_eq!(again.foreign_keys.len(), table.foreign_keys.len(), "{}", document.text);
    }
}
