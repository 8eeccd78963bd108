//! Statements and databases that try to do harm. Each is answered with the error that says what was
//! refused, and after all of them the database's bytes are the same and no file has appeared.
#![allow(clippy::unwrap_used, clippy::panic)]

mod fixture;

use std::time::{Duration, Instant};

use coderag_sql::{Error, GuardedDatabase, Limits};
use fixture::{Fixture, chain, quick};
use rusqlite::Connection;

const READS_ONLY: &str = "only a SELECT may run on this database";
const ONE_DATABASE: &str = "a statement may read only the one database that was opened";

/// The error of executing the statement, which checking it must give as well.
fn refusal(database: &GuardedDatabase, sql: &str) -> String {
    let shown: String = sql.chars().take(120).collect();
    let executed = match database.execute(sql) {
        Ok(result) => panic!("`{shown}` returned {:?}", result.rows),
        Err(error) => chain(&error),
    };
    match database.check(sql) {
        Ok(_) => panic!("`{shown}` passed the check"),
        Err(error) => assert_eq!(chain(&error), executed, "{shown}"),
    }
    executed
}

/// Asserts that each statement is answered with its error and that nothing on disk changed.
fn refuses(attacks: &[(&str, &str)]) {
    let bakery = Fixture::bakery();
    let database = bakery.open();
    let before = bakery.files();
    for (sql, expected) in attacks {
        assert_eq!(refusal(&database, sql), *expected, "{sql}");
        assert_eq!(bakery.files(), before, "{sql}");
    }
    assert!(database.execute("SELECT count(*) FROM bread").is_ok());
}

fn refused(what: &str, why: &str) -> String {
    format!("refused {what}: {why}")
}

fn refuses_all(attacks: &[(&str, &str, &str)]) {
    let expected: Vec<String> = attacks.iter().map(|(_, what, why)| refused(what, why)).collect();
    let attacks: Vec<(&str, &str)> = attacks
        .iter()
        .zip(&expected)
        .map(|((sql, ..), expected)| (*sql, expected.as_str()))
        .collect();
    refuses(&attacks);
}

#[test]
fn changes_of_rows_are_refused() {
    refuses_all(&[
        ("DELETE FROM bread", "DELETE from `bread`", READS_ONLY),
        ("delete from bread where 1", "DELETE from `bread`", READS_ONLY),
        ("/* a */ DELETE /* b */ FROM -- c\n bread", "DELETE from `bread`", READS_ONLY),
        ("DELETE FROM bread RETURNING *", "DELETE from `bread`", READS_ONLY),
        ("WITH c AS (SELECT 1) DELETE FROM bread", "DELETE from `bread`", READS_ONLY),
        (
            "WITH c AS (SELECT id FROM shop) DELETE FROM bread WHERE id IN c",
            "DELETE from `bread`",
            READS_ONLY,
        ),
        ("UPDATE bread SET price = 0", "UPDATE of `bread`", READS_ONLY),
        ("UPDATE bread SET price = 0 RETURNING id", "UPDATE of `bread`", READS_ONLY),
        ("INSERT INTO log VALUES ('x')", "INSERT into `log`", READS_ONLY),
        ("INSERT INTO log SELECT name FROM bread", "INSERT into `log`", READS_ONLY),
        ("REPLACE INTO log VALUES ('x')", "INSERT into `log`", READS_ONLY),
        (
            "INSERT INTO shop VALUES (1, 'a', 'b') ON CONFLICT DO UPDATE SET name = 'c'",
            "INSERT into `shop`",
            READS_ONLY,
        ),
        ("EXPLAIN DELETE FROM bread", "DELETE from `bread`", READS_ONLY),
        ("INSERT INTO recipe(recipe) VALUES ('optimize')", "INSERT into `recipe`", READS_ONLY),
    ]);
}

#[test]
fn changes_of_the_schema_are_refused() {
    let schema = "a change of the schema";
    refuses_all(&[
        ("DROP TABLE bread", schema, READS_ONLY),
        ("DROP VIEW cheap_bread", schema, READS_ONLY),
        ("DROP INDEX bread_shop", schema, READS_ONLY),
        ("DROP TRIGGER keep_log", schema, READS_ONLY),
        ("ALTER TABLE bread RENAME TO toast", "ALTER TABLE `bread`", READS_ONLY),
        ("ALTER TABLE bread ADD COLUMN crust", "ALTER TABLE `bread`", READS_ONLY),
        ("ALTER TABLE bread DROP COLUMN name", "ALTER TABLE `bread`", READS_ONLY),
        ("CREATE TABLE t (a)", schema, READS_ONLY),
        ("CREATE TABLE t AS SELECT * FROM bread", schema, READS_ONLY),
        ("CREATE TEMP TABLE t (a)", schema, READS_ONLY),
        ("CREATE TEMP TABLE t AS SELECT 1", schema, READS_ONLY),
        ("CREATE TEMP VIEW v AS SELECT 1", schema, READS_ONLY),
        ("CREATE VIEW v AS SELECT 1", schema, READS_ONLY),
        ("CREATE INDEX i ON bread (name)", schema, READS_ONLY),
        ("CREATE TRIGGER t AFTER INSERT ON log BEGIN SELECT 1; END", schema, READS_ONLY),
        ("CREATE TEMP TRIGGER t AFTER INSERT ON log BEGIN SELECT 1; END", schema, READS_ONLY),
        ("CREATE VIRTUAL TABLE v USING fts5 (a)", schema, READS_ONLY),
        (
            "CREATE VIRTUAL TABLE temp.v USING fts5vocab ('main', 'recipe', 'row')",
            schema,
            READS_ONLY,
        ),
        ("REINDEX", "REINDEX of `sqlite_autoindex_recipe_config_1`", READS_ONLY),
        ("ANALYZE", schema, READS_ONLY),
    ]);
}

#[test]
fn other_databases_and_files_are_refused() {
    let elsewhere = std::env::temp_dir().join("coderag-attack.sqlite");
    let attach = format!("ATTACH '{}' AS other", elsewhere.display());
    let into = format!("VACUUM INTO '{}'", elsewhere.display());
    let attach_refused = format!("ATTACH of `{}`", elsewhere.display());
    refuses_all(&[
        (&attach, &attach_refused, READS_ONLY),
        ("ATTACH ':memory:' AS other", "ATTACH of `:memory:`", READS_ONLY),
        ("ATTACH 'a' || 'b' AS other", "ATTACH", READS_ONLY),
        ("DETACH main", "DETACH of `main`", READS_ONLY),
        ("VACUUM", "VACUUM", READS_ONLY),
        ("-- quick\n/* and */ VACUUM", "VACUUM", READS_ONLY),
        (&into, "VACUUM", READS_ONLY),
        ("SELECT * FROM sqlite_temp_master", "reading `sqlite_temp_master`", ONE_DATABASE),
        ("SELECT * FROM temp.sqlite_schema", "reading `sqlite_temp_master`", ONE_DATABASE),
        ("SELECT count(*) FROM temp.sqlite_schema", "reading `sqlite_schema`", ONE_DATABASE),
        ("SELECT count(*) FROM sqlite_temp_schema", "reading `sqlite_temp_schema`", ONE_DATABASE),
    ]);
    assert!(!elsewhere.exists());
}

#[test]
fn pragmas_and_transactions_are_refused() {
    refuses_all(&[
        ("PRAGMA user_version", "PRAGMA `user_version`", READS_ONLY),
        ("PRAGMA user_version = 7", "PRAGMA `user_version`", READS_ONLY),
        ("PRAGMA main.page_size", "PRAGMA `page_size`", READS_ONLY),
        ("PRAGMA data_version", "PRAGMA `data_version`", READS_ONLY),
        ("PRAGMA query_only = 0", "PRAGMA `query_only`", READS_ONLY),
        ("PRAGMA writable_schema = 1", "PRAGMA `writable_schema`", READS_ONLY),
        ("PRAGMA journal_mode = WAL", "PRAGMA `journal_mode`", READS_ONLY),
        ("PRAGMA temp_store_directory = '/'", "PRAGMA `temp_store_directory`", READS_ONLY),
        ("SELECT * FROM pragma_table_info('bread')", "reading `pragma_table_info`", ONE_DATABASE),
        ("SELECT * FROM pragma_database_list", "reading `pragma_database_list`", ONE_DATABASE),
        ("SELECT * FROM pragma_page_size", "reading `pragma_page_size`", ONE_DATABASE),
        ("SELECT * FROM dbstat", "reading `dbstat`", ONE_DATABASE),
        ("SELECT count(*) FROM dbstat", "reading `dbstat`", ONE_DATABASE),
        ("SELECT 1 FROM main.dbstat", "reading `dbstat`", ONE_DATABASE),
        ("SELECT count(*) FROM pragma_user_version", "reading `pragma_user_version`", ONE_DATABASE),
        ("SELECT * FROM fts3tokenize", "reading `fts3tokenize`", ONE_DATABASE),
        ("BEGIN", "transaction control", READS_ONLY),
        ("BEGIN EXCLUSIVE", "transaction control", READS_ONLY),
        ("COMMIT", "transaction control", READS_ONLY),
        ("ROLLBACK", "transaction control", READS_ONLY),
        ("SAVEPOINT s", "a savepoint `s`", READS_ONLY),
        ("RELEASE s", "a savepoint `s`", READS_ONLY),
        ("EXPLAIN SELECT 1", "EXPLAIN", "it describes a query instead of answering it"),
        (
            "EXPLAIN QUERY PLAN SELECT * FROM bread",
            "EXPLAIN",
            "it describes a query instead of answering it",
        ),
    ]);
}

#[test]
fn functions_and_tables_that_reach_outside_are_refused() {
    let effects = "the function has effects beyond its result";
    refuses_all(&[
        ("SELECT load_extension('./evil.so')", "the function `load_extension`", effects),
        ("SELECT LOAD_EXTENSION('./evil.so', 'x')", "the function `load_extension`", effects),
        (
            "SELECT * FROM bread WHERE id = load_extension('x')",
            "the function `load_extension`",
            effects,
        ),
        ("SELECT fts3_tokenizer('simple')", "the function `fts3_tokenizer`", effects),
        ("SELECT fts3_tokenizer('simple', x'00')", "the function `fts3_tokenizer`", effects),
        ("SELECT optimize(letter) FROM letter", "the function `optimize`", effects),
        ("SELECT sqlite_log(1, 'x')", "the function `sqlite_log`", effects),
    ]);
    refuses(&[
        ("UPDATE sqlite_schema SET sql = 'x'", "table sqlite_master may not be modified"),
        ("SELECT readfile('/etc/passwd')", "no such function: readfile"),
        ("SELECT writefile('/tmp/x', 'y')", "no such function: writefile"),
        ("SELECT edit('x')", "no such function: edit"),
        ("SELECT * FROM fsdir('/')", "no such table: fsdir"),
        ("SELECT * FROM sqlite_dbpage", "no such table: sqlite_dbpage"),
        ("SELECT * FROM other.bread", "no such table: other.bread"),
    ]);
}

#[test]
fn anything_but_one_statement_without_parameters_is_refused() {
    let several = "the SQL text holds more than one statement; exactly one is allowed";
    let none = "the SQL text holds no statement";
    refuses(&[
        ("SELECT 1; SELECT 2", several),
        ("SELECT 1; DROP TABLE bread", several),
        ("SELECT 1;; ; DELETE FROM bread;", several),
        ("SELECT 1; /* x */ DELETE FROM bread", several),
        ("SELECT 1; -- x\nDELETE FROM bread", several),
        ("SELECT 1; this is why", several),
        ("SELECT ';'; DELETE FROM bread", several),
        ("", none),
        (" \n\t;;", none),
        ("-- SELECT 1", none),
        ("/* SELECT 1", none),
        ("SELECT 1 \0; DELETE FROM bread", "the SQL text holds a NUL character"),
        (
            "SELECT * FROM bread WHERE id = ?",
            "the statement has bound parameters (1), for which there are no values; write the values \
             into the statement",
        ),
        (
            "SELECT :a, @b, $c, ?9",
            "the statement has bound parameters (9), for which there are no values; write the values \
             into the statement",
        ),
    ]);
    let sql = "DROP TABLE bread; SELECT 1";
    refuses_all(&[(sql, "a change of the schema", READS_ONLY)]);
}

#[test]
fn space_comments_and_semicolons_around_a_statement_are_fine() {
    let bakery = Fixture::bakery();
    let database = bakery.open();
    for sql in [
        " SELECT 1 ",
        ";SELECT 1",
        "SELECT 1;",
        "SELECT 1 ;;\n; ",
        "-- first\nSELECT 1; -- last",
        "/* a; */ SELECT 1 /* ; DELETE FROM bread */;/* b */",
        "SELECT 1 -- ; DELETE FROM bread",
    ] {
        assert_eq!(database.execute(sql).map(|result| result.rows.len()).unwrap(), 1, "{sql}");
    }
}

fn too_large(database: &GuardedDatabase, sql: &str) -> String {
    let shown: String = sql.chars().take(120).collect();
    match database.execute(sql) {
        Err(Error::TooLarge { message }) => message,
        other => panic!("`{shown}`: {other:?}"),
    }
}

#[test]
fn values_that_explode_are_too_large() {
    let bakery = Fixture::bakery();
    let database = bakery.open();
    let big = "string or blob too big";
    for sql in [
        "SELECT randomblob(1000000000)",
        "SELECT zeroblob(1000000000)",
        "SELECT hex(zeroblob(1000000))",
        "SELECT length(randomblob(1000000000))",
        "SELECT printf('%.*c', 1000000000, 'x')",
        "SELECT printf('%1000000000d', 1)",
        "SELECT replace(printf('%.*c', 100000, 'x'), 'x', printf('%.*c', 100000, 'y'))",
        "WITH RECURSIVE n(s) AS (SELECT 'x' UNION ALL SELECT s || s FROM n) SELECT s FROM n",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100000)
         SELECT group_concat(printf('%.*c', 1000, 'x')) FROM n",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100000)
         SELECT json_group_array(printf('%.*c', 1000, 'x')) FROM n",
    ] {
        assert_eq!(too_large(&database, sql), big, "{sql}");
    }
}

#[test]
fn statements_that_are_themselves_too_large_are_refused() {
    let bakery = Fixture::bakery();
    let database = bakery.open();
    let long = format!("SELECT '{}'", "x".repeat(10_000_000));
    assert_eq!(
        refusal(&database, &long),
        "the SQL text has 10000009 bytes; at most 100000 are allowed"
    );
    let terms = vec!["SELECT 1"; 101].join(" UNION ALL ");
    assert_eq!(refusal(&database, &terms), "too many terms in compound SELECT");
    let columns = vec!["1"; 2_001].join(",");
    assert_eq!(refusal(&database, &format!("SELECT {columns}")), "too many columns in result set");
    let ones = vec!["1"; 101].join(",");
    assert_eq!(
        refusal(&database, &format!("SELECT max({ones})")),
        "too many arguments on function max"
    );
    let parentheses = format!("SELECT {}1{}", "(".repeat(5_000), ")".repeat(5_000));
    assert_eq!(refusal(&database, &parentheses), "Recursion limit");
    let sum = format!("SELECT 1{}", "+1".repeat(5_000));
    assert_eq!(refusal(&database, &sum), "Expression tree is too large (maximum depth 400)");
    let mut nested = "SELECT 1".to_owned();
    for _ in 0..2_000 {
        nested = format!("SELECT * FROM ({nested})");
    }
    assert_eq!(refusal(&database, &nested), "Recursion limit");
    let not = format!("SELECT {} 1", "NOT ".repeat(20_000));
    assert_eq!(refusal(&database, &not), "Recursion limit");
    let pattern = format!("SELECT 'a' LIKE '{}'", "%a".repeat(1_000));
    assert_eq!(
        database.execute(&pattern).unwrap_err().to_string(),
        "LIKE or GLOB pattern too complex"
    );
}

/// Runs a statement that would not end and returns how long it took.
fn runs_into_the_deadline(database: &GuardedDatabase, sql: &str) {
    let start = Instant::now();
    match database.execute(sql) {
        Err(error @ Error::Deadline { .. }) => {
            assert_eq!(error.to_string(), "the statement was stopped after 0.4 s", "{sql}");
        }
        other => panic!("`{sql}`: {other:?}"),
    }
    assert!(start.elapsed() < Duration::from_secs(10), "{sql}: {:?}", start.elapsed());
}

#[test]
fn statements_that_run_forever_are_stopped() {
    let bakery = Fixture::bakery();
    let before = bakery.files();
    let database = bakery.open_with(&quick());
    let digits = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000) ";
    for sql in [
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT 1 FROM n) SELECT i FROM n WHERE i = 2",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION SELECT i + 1 FROM n) SELECT count(*) FROM n",
        &format!("{digits} SELECT count(*) FROM n a, n b, n c, n d WHERE a.i + b.i + c.i = d.i"),
        &format!("{digits} SELECT a.i FROM n a, n b, n c ORDER BY random()"),
        &format!(
            "{digits} SELECT count(*) FROM (SELECT DISTINCT a.i || b.i || c.i FROM n a, n b, n c)"
        ),
        "WITH RECURSIVE n(b) AS (SELECT 1 UNION ALL SELECT randomblob(900000) FROM n)
         SELECT b FROM n ORDER BY b",
        "SELECT count(*) FROM sqlite_schema a, sqlite_schema b, sqlite_schema c, sqlite_schema d,
         sqlite_schema e, sqlite_schema f, sqlite_schema g, sqlite_schema h, sqlite_schema i",
    ] {
        runs_into_the_deadline(&database, sql);
    }
    assert_eq!(bakery.files(), before);
}

/// One call of a built-in function cannot be interrupted, and some take quadratic time.
#[test]
fn a_slow_built_in_function_does_not_hold_up_the_caller() {
    let bakery = Fixture::bakery();
    let database = bakery.open_with(&quick());
    runs_into_the_deadline(
        &database,
        "SELECT trim(printf('%.*c', 900000, 'z'), printf('%.*c', 80000, 'a') || 'z')",
    );
    assert!(database.execute("SELECT count(*) FROM bread").is_ok());
}

#[test]
fn a_hostile_schema_is_held_to_the_same_rules() {
    let mut views = String::from("CREATE VIEW v0 AS SELECT 1 AS a;");
    for level in 1..20 {
        let below = level - 1;
        let list = format!("v{below} AS x, v{below} AS y, v{below} AS z");
        views.push_str(&format!("CREATE VIEW v{level} AS SELECT x.a FROM {list};"));
    }
    let hostile = Fixture::of(&format!(
        "{views}
         CREATE TABLE plain (a);
         CREATE VIEW loads AS SELECT load_extension('./evil.so') AS a;
         CREATE VIEW forever AS
           WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n;
         CREATE VIEW pragmas AS SELECT * FROM pragma_database_list;
         CREATE VIEW itself AS SELECT * FROM itself;
         CREATE TABLE pragma_table_info (a);"
    ));
    let before = hostile.files();
    let database = hostile.open_with(&quick());
    assert_eq!(refusal(&database, "SELECT * FROM loads"), "unsafe use of load_extension()");
    assert_eq!(
        refusal(&database, "SELECT * FROM pragmas"),
        "unsafe use of virtual table \"pragma_database_list\""
    );
    assert_eq!(refusal(&database, "SELECT * FROM itself"), "view itself is circularly defined");
    runs_into_the_deadline(&database, "SELECT sum(i) FROM forever");
    // A table that takes the name of a table-valued pragma is only a table.
    assert_eq!(database.execute("SELECT * FROM pragma_table_info").unwrap().rows.len(), 0);
    // Where its name leads to the pragma after all, the pragma is refused when it runs.
    let error = database.execute("SELECT * FROM temp.pragma_table_info('plain')").unwrap_err();
    assert_eq!(error.to_string(), refused("PRAGMA `table_info`", READS_ONLY));
    let start = Instant::now();
    let error = database.execute("SELECT * FROM v19").unwrap_err();
    assert!(matches!(error, Error::Deadline { .. } | Error::TooLarge { .. } | Error::Sql { .. }));
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(hostile.files(), before);
}

#[test]
fn a_schema_that_calls_what_reaches_outside_is_not_opened() {
    let hostile = Fixture::of(
        "CREATE TABLE generated (a, b);
         INSERT INTO generated VALUES ('x', 'y');
         PRAGMA writable_schema = 1;
         UPDATE sqlite_schema SET sql = 'CREATE TABLE generated (a, b AS (load_extension(a)))';",
    );
    let error = GuardedDatabase::open(&hostile.path, &Limits::default()).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error:?}");
    assert!(error.to_string().ends_with("(generated) - unsafe use of load_extension()"), "{error}");
}

#[test]
fn names_that_are_not_utf8_are_an_error() {
    let hostile = Fixture::of("CREATE TABLE t (a)");
    let connection = Connection::open(&hostile.path).unwrap();
    connection
        .execute_batch(
            "PRAGMA writable_schema = 1;
             UPDATE sqlite_schema SET sql = CAST(x'435245415445205441424c4520742028ff29' AS TEXT);",
        )
        .unwrap();
    drop(connection);
    let error = GuardedDatabase::open(&hostile.path, &Limits::default()).unwrap_err();
    assert!(matches!(error, Error::SchemaNotUtf8 { .. }), "{error:?}");
    assert!(error.to_string().contains("is not UTF-8 text: see `CREATE TABLE t (\u{fffd})`"));
}
