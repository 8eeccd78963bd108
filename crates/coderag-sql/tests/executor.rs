//! What the guarded executor returns, and what it says of files that are not usable databases.
#![allow(clippy::unwrap_used)]

mod fixture;

use std::fs;
use std::time::Duration;

use coderag_sql::{Error, GuardedDatabase, Limits, Value};
use fixture::{BAKERY, Fixture, chain, files, patient, quick};
use rusqlite::Connection;

/// The folder lives as long as the fixture.
fn bakery() -> (GuardedDatabase, Fixture) {
    let bakery = Fixture::bakery();
    (bakery.open(), bakery)
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[test]
fn a_query_returns_its_columns_rows_and_tables() {
    let bakery = Fixture::bakery();
    let sql = "SELECT s.name, count(*) AS breads, max(b.price) FROM shop s JOIN bread b \
               ON b.shop_id = s.id GROUP BY s.id ORDER BY s.name";
    let result = bakery.open().execute(sql).unwrap();
    assert_eq!(result.columns, ["name", "breads", "max(b.price)"]);
    assert_eq!(
        result.rows,
        [
            [text("Corner"), Value::Integer(2), Value::Real(4.0)],
            [text("Mill"), Value::Integer(2), Value::Real(2.75)],
        ]
    );
    assert_eq!(result.tables, ["bread", "shop"]);
    assert!(!result.truncated);
    let prepared = bakery.open().check(sql).unwrap();
    assert_eq!((prepared.columns, prepared.tables), (result.columns, result.tables));
}

#[test]
fn views_resolve_to_the_tables_under_them() {
    let (database, _bakery) = bakery();
    let tables = |sql: &str| database.check(sql).unwrap().tables;
    assert_eq!(tables("SELECT name FROM cheap_bread"), ["bread"]);
    assert_eq!(tables("SELECT count(*) FROM cheap_bread, SHOP"), ["bread", "shop"]);
    assert_eq!(tables("SELECT count(*) FROM Main.Bread"), ["bread"]);
    assert_eq!(tables("WITH c AS (SELECT id FROM shop) SELECT count(*) FROM c"), ["shop"]);
    assert_eq!(tables("WITH bread AS (SELECT 1 AS a) SELECT a FROM bread"), [""; 0]);
    assert_eq!(tables("SELECT 1"), [""; 0]);
    assert_eq!(tables("SELECT name FROM sqlite_master"), ["sqlite_master"]);
    assert_eq!(tables("VALUES (1), (2)"), [""; 0]);
    assert_eq!(tables("SELECT value FROM json_each('[1, 2]')"), [""; 0]);
}

#[test]
fn full_text_indexes_of_the_database_can_be_searched() {
    let (database, _bakery) = bakery();
    let result = database
        .execute("SELECT title, snippet(recipe, 1, '[', ']', '', 9) FROM recipe WHERE recipe MATCH 'rye' ORDER BY rank")
        .unwrap();
    assert_eq!(result.rows, [[text("rye"), text("water, [rye] flour and time")]]);
    assert_eq!(result.tables, ["recipe"]);
    let result = database.execute("SELECT title FROM letter WHERE body MATCH 'spelt'").unwrap();
    assert_eq!(result.rows, [[text("complaint")]]);
    assert_eq!(result.tables, ["letter"]);
}

#[test]
fn the_five_storage_classes_are_kept_and_written_as_json() {
    let (database, _bakery) = bakery();
    let sql = "SELECT NULL, 9223372036854775807, 1.5, 'é\"', x'00ff', 9e999, -9e999, 0.0/0.0, 2.0, \
               CAST(x'61ff62' AS TEXT), 'a' || char(0) || 'b'";
    let result = database.execute(sql).unwrap();
    assert_eq!(
        result.rows,
        [[
            Value::Null,
            Value::Integer(i64::MAX),
            Value::Real(1.5),
            text("é\""),
            Value::Blob(vec![0, 255]),
            Value::Real(f64::INFINITY),
            Value::Real(f64::NEG_INFINITY),
            Value::Null,
            Value::Real(2.0),
            text("a\u{fffd}b"),
            text("a\0b"),
        ]]
    );
    assert_eq!(
        serde_json::to_string(&result.rows).unwrap(),
        "[[null,9223372036854775807,1.5,\"é\\\"\",{\"blob\":\"00ff\"},{\"real\":\"Infinity\"},\
         {\"real\":\"-Infinity\"},null,2.0,\"a\u{fffd}b\",\"a\\u0000b\"]]"
    );
    let json = serde_json::to_value(&result).unwrap();
    assert_eq!(json["columns"].as_array().unwrap().len(), 11);
    assert_eq!(json["truncated"], false);
    assert!(json["elapsed_seconds"].as_f64().unwrap() < 60.0);
}

#[test]
fn results_are_cut_at_the_row_and_byte_limits_and_say_so() {
    let (_, bakery) = bakery();
    let numbers = |count: usize| {
        format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {count}) \
             SELECT i, printf('%.*c', 92, 'x') FROM n"
        )
    };
    let database = bakery.open_with(&Limits { max_rows: 10, ..patient() });
    let cut = |database: &GuardedDatabase, sql: &str| {
        let result = database.execute(sql).unwrap();
        (result.rows.len(), result.truncated)
    };
    assert_eq!(cut(&database, &numbers(10)), (10, false));
    assert_eq!(cut(&database, &numbers(11)), (10, true));
    // A result without end is cut, too.
    assert_eq!(
        cut(
            &database,
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
        ),
        (10, true)
    );
    // A row takes 24 bytes, its two values 32 each, and the text 92 more.
    let database = bakery.open_with(&Limits { max_result_bytes: 1_800, ..patient() });
    assert_eq!(cut(&database, &numbers(10)), (10, false));
    assert_eq!(cut(&database, &numbers(11)), (10, true));
    assert_eq!(cut(&database, "SELECT zeroblob(1801)"), (0, true));
}

#[test]
fn invalid_sql_is_told_in_sqlites_words_with_its_place() {
    let (database, _bakery) = bakery();
    let error = |sql: &str| match database.execute(sql) {
        Err(Error::Sql { message, offset }) => (message, offset),
        other => panic!("{other:?}"),
    };
    assert_eq!(error("SELECT prize FROM bread"), ("no such column: prize".to_owned(), Some(7)));
    assert_eq!(error("SELECT * FROM cake"), ("no such table: cake".to_owned(), None));
    assert_eq!(error("SELECT FROM bread"), ("near \"FROM\": syntax error".to_owned(), Some(7)));
    assert_eq!(error("SELECT 'open"), ("unrecognized token: \"'open\"".to_owned(), Some(7)));
    assert_eq!(error("Sure, here it is"), ("near \"Sure\": syntax error".to_owned(), Some(0)));
    let message = error("SELECT json_extract('{', '$') FROM bread").0;
    assert_eq!(message, "malformed JSON");
}

#[test]
fn statements_run_in_parallel_on_one_value() {
    let (database, _bakery) = bakery();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let database = &database;
            scope.spawn(move || {
                for round in 0..20 {
                    let sql = format!("SELECT {thread} * 100 + {round} FROM shop");
                    let result = database.execute(&sql).unwrap();
                    assert_eq!(result.rows.len(), 3);
                    assert_eq!(result.rows[0], [Value::Integer(thread * 100 + round)]);
                }
            });
        }
    });
}

#[test]
fn what_is_not_a_database_file_is_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let open = |name: &str| GuardedDatabase::open(&folder.path().join(name), &quick()).unwrap_err();
    let named = |name: &str| folder.path().join(name).display().to_string();

    assert_eq!(
        chain(&open("missing.sqlite")),
        format!("cannot open {}: No such file or directory (os error 2)", named("missing.sqlite"))
    );
    fs::create_dir(folder.path().join("folder")).unwrap();
    assert!(matches!(open("folder"), Error::NotAFile { .. }));
    fs::write(folder.path().join("text"), "a plain text\n".repeat(100)).unwrap();
    assert!(matches!(open("text"), Error::NotADatabase { .. }));
    // An encrypted database is noise from its first byte.
    let noise: Vec<u8> =
        (0..8192_u32).map(|index| (index.wrapping_mul(2654435761) >> 13) as u8).collect();
    fs::write(folder.path().join("noise"), noise).unwrap();
    let error = open("noise");
    assert!(matches!(error, Error::NotADatabase { .. }));
    assert!(
        chain(&error).ends_with("or it is encrypted: file is not a database"),
        "{}",
        chain(&error)
    );

    let whole = fs::read(&Fixture::bakery().path).unwrap();
    fs::write(folder.path().join("truncated"), &whole[..whole.len() / 2]).unwrap();
    let error = match GuardedDatabase::open(&folder.path().join("truncated"), &quick()) {
        Err(error) => error,
        Ok(database) => database.execute("SELECT * FROM letter, recipe, bread, log").unwrap_err(),
    };
    assert!(matches!(error, Error::Damaged { .. }), "{error:?}");

    let before = files_of(&folder);
    assert_eq!(before, ["folder", "noise", "text", "truncated"], "nothing was created");
}

fn files_of(folder: &tempfile::TempDir) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn names_with_a_meaning_for_sqlite_are_plain_file_names() {
    let folder = tempfile::tempdir().unwrap();
    for name in [":memory:", "file:x?mode=rwc", "100% of it#?&.db", "schön.sqlite"] {
        let path = folder.path().join(name);
        fs::copy(&Fixture::bakery().path, &path).unwrap();
        for mode in ["DELETE", "WAL"] {
            set_journal_mode(&path, mode);
            let before = files(folder.path());
            let database = GuardedDatabase::open(&path, &patient()).unwrap();
            assert_eq!(database.execute("SELECT * FROM bread").unwrap().rows.len(), 4, "{name}");
            assert_eq!(files(folder.path()), before, "{name}");
        }
    }
}

/// Without rusqlite's default flags, which read `file:` names as URIs, through an absolute path.
fn set_journal_mode(path: &std::path::Path, mode: &str) {
    let connection = Connection::open(path).unwrap();
    let set: String = connection
        .query_row(&format!("PRAGMA journal_mode = {mode}"), [], |row| row.get(0))
        .unwrap();
    assert!(set.eq_ignore_ascii_case(mode));
}

#[test]
fn a_locked_database_is_an_error_after_the_deadline() {
    let (database, bakery) = bakery();
    let database_with_deadline = bakery.open_with(&quick());
    let writer = Connection::open(&bakery.path).unwrap();
    writer.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let error = database_with_deadline.execute("SELECT 1 FROM bread").unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error:?}");
    let error = GuardedDatabase::open(&bakery.path, &quick()).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error:?}");
    // A lock that is released before the deadline only delays.
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            writer.execute_batch("ROLLBACK").unwrap();
        });
        assert_eq!(database.execute("SELECT 1 FROM bread").unwrap().rows.len(), 4);
    });
}

#[test]
fn write_ahead_logs_are_read_and_never_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("live.sqlite");
    let writer = Connection::open(&path).unwrap();
    writer.execute_batch(&format!("PRAGMA journal_mode = WAL; {BAKERY}")).unwrap();
    let count = |path: &std::path::Path| {
        let database = GuardedDatabase::open(path, &patient()).unwrap();
        let result = database.execute("SELECT count(*) FROM log").unwrap();
        result.rows[0][0].clone()
    };
    writer.execute_batch("INSERT INTO log VALUES ('only in the log')").unwrap();
    // A writer is there.
    assert_eq!(count(&path), Value::Integer(1));
    // A writer was killed.
    let killed = tempfile::tempdir().unwrap();
    for name in ["live.sqlite", "live.sqlite-wal"] {
        fs::copy(folder.path().join(name), killed.path().join(name)).unwrap();
    }
    let digest = |name: &str| coderag_core::Digest::of_file(&killed.path().join(name)).unwrap();
    let before = (digest("live.sqlite"), digest("live.sqlite-wal"));
    assert_eq!(count(&killed.path().join("live.sqlite")), Value::Integer(1));
    assert_eq!((digest("live.sqlite"), digest("live.sqlite-wal")), before);
    // No writer is there.
    drop(writer);
    assert_eq!(files_of(&folder), ["live.sqlite"]);
    let before = files(folder.path());
    assert_eq!(count(&path), Value::Integer(1));
    assert_eq!(files(folder.path()), before);
}

#[test]
fn a_killed_writers_journal_is_an_error_that_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("live.sqlite");
    let writer = Connection::open(&path).unwrap();
    writer
        .execute_batch(
            "CREATE TABLE t (a); PRAGMA cache_size = 2; BEGIN;
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 2000)
             INSERT INTO t SELECT randomblob(500) FROM n;",
        )
        .unwrap();
    let killed = tempfile::tempdir().unwrap();
    for name in ["live.sqlite", "live.sqlite-journal"] {
        fs::copy(folder.path().join(name), killed.path().join(name)).unwrap();
    }
    let before = files(killed.path());
    let error = GuardedDatabase::open(&killed.path().join("live.sqlite"), &quick()).unwrap_err();
    assert!(matches!(error, Error::UnfinishedTransaction { .. }), "{error:?}");
    assert!(error.to_string().contains("open it once with a program that may write to it"));
    assert_eq!(files(killed.path()), before);
}
