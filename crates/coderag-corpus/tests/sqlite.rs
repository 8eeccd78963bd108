//! Live SQLite databases, made by SQLite itself.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use coderag_core::Document;
use coderag_corpus::sqlite::{SampleRows, read_file, read_tables};
use coderag_corpus::{Column, Table};
use rusqlite::Connection;

const SCRIPT: &str = "
    CREATE TABLE parent (b TEXT, a INTEGER, PRIMARY KEY (a, b)) WITHOUT ROWID;
    CREATE TABLE \"child of \"\"x\"\"\" (
        id INTEGER PRIMARY KEY, -- a comment
        pa INT, pb TEXT, data BLOB, half AS (id / 2.0),
        FOREIGN KEY (pa, pb) REFERENCES parent,
        FOREIGN KEY (id) REFERENCES nowhere(key)
    );
    INSERT INTO parent VALUES ('one', 1), ('two', 2);
";

fn database(folder: &Path, script: &str) -> PathBuf {
    let path = folder.join("shop.sqlite");
    Connection::open(&path).unwrap().execute_batch(script).unwrap();
    path
}

fn read(script: &str) -> Vec<Document> {
    let folder = tempfile::tempdir().unwrap();
    read_file(&database(folder.path(), script), SampleRows::default()).unwrap()
}

#[test]
fn tables_are_described_with_keys_and_sample_rows() {
    let documents = read(
        "PRAGMA foreign_keys = OFF;
         CREATE TABLE parent (b TEXT, a INTEGER, PRIMARY KEY (a, b)) WITHOUT ROWID;
         CREATE TABLE \"child of \"\"x\"\"\" (
            id INTEGER PRIMARY KEY, pa INT, pb TEXT, data BLOB, half AS (id / 2.0),
            FOREIGN KEY (pa, pb) REFERENCES parent,
            FOREIGN KEY (id) REFERENCES nowhere(key));
         CREATE INDEX i ON \"child of \"\"x\"\"\" (pa);
         INSERT INTO parent VALUES ('one', 1), ('two', 2), ('three', 3), ('four', 4);
         INSERT INTO \"child of \"\"x\"\"\" VALUES (1, NULL, 'a\nb */ c', x'00ff');",
    );
    let titles: Vec<&str> = documents.iter().map(|document| document.title.as_str()).collect();
    assert_eq!(titles, ["shop.parent", "shop.child of \"x\""]);
    assert_eq!(
        documents[0].text,
        "CREATE TABLE parent (b TEXT, a INTEGER, PRIMARY KEY (a, b)) WITHOUT ROWID;\n/*\n3 example \
         rows:\nb | a\none | 1\ntwo | 2\nthree | 3\n*/"
    );
    assert!(
        documents[1].text.ends_with(
            ";\n/*\n1 example row:\nid | pa | pb | data | half\n1 | NULL | a b * / c | <blob 2 \
             bytes> | 0.5\n*/"
        ),
        "{}",
        documents[1].text
    );
    let parent = Table::of(&documents[0]).unwrap();
    assert_eq!(parent.database.as_deref(), Some("shop"));
    assert_eq!(parent.primary_key, ["a", "b"]);
    assert_eq!(parent.columns[1], Column { name: "a".into(), data_type: "INTEGER".into() });
    let child = Table::of(&documents[1]).unwrap();
    assert_eq!(child.columns.len(), 5);
    let keys: Vec<_> =
        child.foreign_keys.iter().map(|key| (&*key.table, &key.columns[..])).collect();
    assert_eq!(
        keys,
        [("parent", &["pa".into(), "pb".into()][..]), ("nowhere", &["id".into()][..])]
    );
    assert_eq!(child.foreign_keys[0].references, ["a", "b"], "the parent's primary key");
    assert_eq!(child.foreign_keys[1].references, ["key"]);
}

#[test]
fn the_texts_of_a_database_form_a_script_that_makes_it_again() {
    let script = "CREATE TABLE a (x INT) -- the last line is a comment\n;
         CREATE TABLE b (y TEXT DEFAULT 'x;y'); INSERT INTO b VALUES ('*/ DROP TABLE a; /*');
         CREATE VIEW c AS SELECT x FROM a;";
    let texts: Vec<String> = read(script).into_iter().map(|document| document.text).collect();
    let again = read(&texts.join("\n"));
    let names: Vec<&str> = again.iter().map(|document| document.title.as_str()).collect();
    assert_eq!(names, ["shop.a", "shop.b", "shop.c (view)"]);
}

#[test]
fn long_values_are_cut_and_rows_can_be_left_out() {
    let connection = Connection::open_in_memory().unwrap();
    connection
        .execute_batch(
            "CREATE TABLE a (x TEXT); INSERT INTO a VALUES (printf('%.*c', 100000, 'x'));",
        )
        .unwrap();
    let documents = read_tables(&connection, "memory", SampleRows::default()).unwrap();
    assert!(documents[0].text.contains(&format!("\n{}…\n", "x".repeat(60))));
    assert_eq!(documents[0].source, "memory");
    let documents = read_tables(&connection, "memory", SampleRows::NONE).unwrap();
    assert_eq!(documents[0].text, "CREATE TABLE a (x TEXT);");
}

#[test]
fn views_and_virtual_tables_are_described_and_internal_tables_are_not() {
    let documents = read(
        "CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT, x); INSERT INTO a (x) VALUES (7);
         CREATE VIRTUAL TABLE words USING fts5(body); INSERT INTO words VALUES ('hello');
         CREATE VIEW v AS SELECT x AS renamed FROM a;
         CREATE VIEW broken AS SELECT * FROM missing; ANALYZE;",
    );
    let titles: Vec<&str> = documents.iter().map(|document| document.title.as_str()).collect();
    assert_eq!(titles, ["shop.a", "shop.words", "shop.v (view)", "shop.broken (view)"]);
    assert!(documents[1].text.ends_with("body\nhello\n*/"), "{}", documents[1].text);
    assert_eq!(Table::of(&documents[2]).unwrap().columns[0].name, "renamed");
    assert!(Table::of(&documents[3]).unwrap().columns.is_empty());
}

#[test]
fn a_virtual_table_of_an_unknown_module_does_not_hide_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path(), "CREATE TABLE a (x INT); CREATE TABLE z (x INT);");
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch(
            "PRAGMA writable_schema = ON;
             INSERT INTO sqlite_schema VALUES ('table', 'odd', 'odd', 0,
                 'CREATE VIRTUAL TABLE odd USING unheard_of(x)');",
        )
        .unwrap();
    drop(connection);
    let documents = read_file(&path, SampleRows::default()).unwrap();
    let titles: Vec<&str> = documents.iter().map(|document| document.title.as_str()).collect();
    assert_eq!(titles, ["shop.a", "shop.z", "shop.odd"]);
}

#[test]
fn reading_leaves_the_database_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path(), SCRIPT);
    let before = std::fs::read(&path).unwrap();
    read_file(&path, SampleRows::default()).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn what_is_not_a_database_is_a_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.sqlite");
    std::fs::write(&path, "this is a text file and not a database, as anyone can see").unwrap();
    let error = read_file(&path, SampleRows::default()).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(error.to_string().contains("text.sqlite"), "{error}");
    assert!(cause.contains("not a database"), "{cause}");

    let missing = read_file(&folder.path().join("none.sqlite"), SampleRows::default());
    assert!(missing.unwrap_err().to_string().contains("cannot open"));
    assert!(!folder.path().join("none.sqlite").exists());
}

#[test]
fn a_damaged_database_is_an_error_or_is_read_but_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = database(folder.path(), SCRIPT);
    let bytes = std::fs::read(&path).unwrap();
    for length in (0..bytes.len()).step_by(509) {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let _ = read_file(&path, SampleRows::default());
    }
    let mut refused = 0;
    for position in (0..bytes.len()).step_by(97) {
        let mut damaged = bytes.clone();
        damaged[position] ^= 0xff;
        std::fs::write(&path, damaged).unwrap();
        refused += usize::from(read_file(&path, SampleRows::default()).is_err());
    }
    assert!(refused > 0);
}
