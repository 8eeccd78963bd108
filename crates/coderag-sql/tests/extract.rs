//! Statements in the wrappings that language models put them into.
#![allow(clippy::unwrap_used, clippy::panic)]

use coderag_sql::{Error, extract};
use proptest::prelude::*;

fn takes(answer: &str, expected: &str) {
    match extract(answer) {
        Ok(sql) => assert_eq!(sql, expected, "{answer}"),
        Err(error) => panic!("{error}: {answer}"),
    }
}

fn none(answer: &str) {
    match extract(answer) {
        Err(Error::NoStatement { answer: kept }) => assert_eq!(kept, answer),
        other => panic!("{other:?}: {answer}"),
    }
}

fn several(answer: &str, expected: usize) {
    match extract(answer) {
        Err(Error::SeveralStatements { count, answer: kept }) => {
            assert_eq!((count, kept.as_str()), (expected, answer));
        }
        other => panic!("{other:?}: {answer}"),
    }
}

#[test]
fn fenced_statements_are_taken_with_or_without_a_language() {
    for answer in [
        "```sql\nSELECT a FROM t\n```",
        "```sql\nSELECT a FROM t;\n```",
        "```SQL\r\nSELECT a FROM t;\r\n```\r\n",
        "```sqlite\nSELECT a FROM t\n```",
        "```\nSELECT a FROM t\n```",
        "```sql SELECT a FROM t```",
        "```SELECT a FROM t;```",
        "```sql\nSELECT a FROM t",
        "```sql\nSELECT a FROM t;\n\nThis selects every a of t.",
        "```sql\nSELECT a FROM t\n\nThis selects every a of t.",
        "Sure! Here's the query you want:\n\n```sql\nSELECT a FROM t;\n```\n\nIt's simple; it selects a.",
        "With this schema, I select as follows: ```sql\nSELECT a FROM t;\n``` SELECT is a keyword.",
        "```python\nprint(1)\n```\n```sql\nSELECT a FROM t\n```",
        "```sql\nSELECT a FROM t;\nThis selects every a.\n```",
        "```\nSQL: SELECT a FROM t\n```",
    ] {
        takes(answer, "SELECT a FROM t");
    }
    takes("```sql\n-- all of it\nSELECT a\n\nFROM t\n```", "-- all of it\nSELECT a\n\nFROM t");
    takes("```sql\nSelect a From t\n```", "Select a From t");
}

#[test]
fn bare_statements_are_taken_out_of_prose() {
    for answer in [
        "SELECT a FROM t",
        "SELECT a FROM t;",
        "  SELECT a FROM t ;  ",
        "SQL: SELECT a FROM t",
        "SQLQuery: SELECT a FROM t;\nSQLResult: 5",
        "Sure, here's the query:\nSELECT a FROM t;\nIt's short; it selects a.",
        "The query is `SELECT a FROM t`.",
        "To select every a with this table, use SELECT a FROM t; it selects them.",
        "Select every a of the table:\nSELECT a FROM t",
        "SELECT a FROM t\n\nThis query selects a; it's short.",
        "With this query you get a:\n\nSELECT a FROM t",
        "Don't worry.\n> SELECT a FROM t",
    ] {
        takes(answer, "SELECT a FROM t");
    }
    takes("select a from t where b = 'c;d'; done", "select a from t where b = 'c;d'");
    takes("WITH c AS (SELECT 1) SELECT * FROM c; ok", "WITH c AS (SELECT 1) SELECT * FROM c");
    takes(
        "with recursive c(i) as (select 1) select i from c",
        "with recursive c(i) as (select 1) select i from c",
    );
    takes("VALUES (1)", "VALUES (1)");
}

#[test]
fn thoughts_are_dropped() {
    let thought = "<think>\nMaybe ```sql\nSELECT wrong\n```?\n</think>\n";
    takes(&format!("{thought}```sql\nSELECT a FROM t\n```"), "SELECT a FROM t");
    takes("Maybe SELECT wrong;</think>SELECT a FROM t", "SELECT a FROM t");
    takes("SELECT a FROM t; <think>SELECT wrong", "SELECT a FROM t");
    none("<think>SELECT a FROM t");
}

#[test]
fn one_statement_given_twice_is_one() {
    takes("```sql\nSELECT a\nFROM t;\n```\nor\n```sql\nSELECT a FROM t\n```", "SELECT a\nFROM t");
    several("```sql\nSELECT a FROM t\n```\nor\n```sql\nSELECT b FROM t\n```", 2);
    several("```sql\nSELECT 1; SELECT 2; SELECT 3\n```", 3);
    several("SELECT 1;\nSELECT 2;", 2);
    several("SELECT 1; DROP TABLE t", 2);
    several("```\nSELECT 1;\n-- then\nDELETE FROM t;\n```", 2);
}

#[test]
fn statements_that_change_data_are_left_to_the_executor() {
    takes("```sql\nDELETE FROM t;\n```", "DELETE FROM t");
    takes("DROP TABLE t;", "DROP TABLE t");
    takes("SQL: PRAGMA user_version", "PRAGMA user_version");
}

#[test]
fn answers_without_sql_are_an_error() {
    for answer in [
        "",
        "   \n",
        "I cannot answer that.",
        "```\n```",
        "```python\nprint('SELECT')\n```",
        "Create something with values.",
        "```",
    ] {
        none(answer);
    }
}

#[test]
fn markdown_escapes_are_undone_outside_literals_only() {
    takes(r"SELECT count(\*) FROM my\_t", "SELECT count(*) FROM my_t");
    takes(
        r"SELECT a\_b FROM t WHERE c LIKE 'd\_e' ESCAPE '\'",
        r"SELECT a_b FROM t WHERE c LIKE 'd\_e' ESCAPE '\'",
    );
    takes("SELECT a FROM t WHERE b &lt; 3", "SELECT a FROM t WHERE b &lt; 3");
}

/// A query whose literals and names hold what could mislead: semicolons, quotes, comments, words.
fn query() -> impl Strategy<Value = String> {
    let literal = "[a-zA-Z0-9 ;,.:'\"_%*/\\\\\\[\\]é-]{0,12}"
        .prop_map(|text: String| format!("'{}'", text.replace('\'', "''")));
    let name = prop_oneof![
        Just("a".to_owned()),
        Just("[my; column]".to_owned()),
        "[a-zA-Z ;.:'_-]{1,8}".prop_map(|name: String| format!("\"{name}\"")),
    ];
    let term = prop_oneof![
        literal.clone(),
        (0..1000_i32).prop_map(|number| number.to_string()),
        literal.prop_map(|literal| format!("length({literal})")),
    ];
    let select = (proptest::collection::vec((term.clone(), name), 1..4), term, any::<bool>());
    let select = select.prop_map(|(columns, term, lower)| {
        let columns: Vec<String> =
            columns.into_iter().map(|(term, name)| format!("{term} AS {name}")).collect();
        let (select, from) = if lower { ("select", "from") } else { ("SELECT", "FROM") };
        format!("{select} {}\n{from} t /* of; it's */ WHERE b = {term}", columns.join(",\n  "))
    });
    (select, 0..4).prop_map(|(select, form)| match form {
        0 => format!("WITH c AS ({select}) SELECT * FROM c"),
        1 => format!("{select}\nUNION\n{select}"),
        2 => format!("{select} -- the end; really"),
        _ => select,
    })
}

fn is_valid(sql: &str) -> bool {
    let connection = rusqlite::Connection::open_in_memory().unwrap();
    connection.execute_batch("CREATE TABLE t (b)").unwrap();
    connection.prepare(sql).is_ok()
}

#[test]
fn long_answers_take_no_quadratic_time() {
    let start = std::time::Instant::now();
    for part in
        [";", "a;", "SELECT 1;", "with ", "'", "```", "```a;", "<think>", "\n", "--", "(", ": "]
    {
        let _ = extract(&part.repeat(1_000_000 / part.len()));
    }
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

proptest! {
    #[test]
    fn a_valid_query_comes_out_of_every_wrapping_unchanged(sql in query()) {
        prop_assume!(is_valid(&sql));
        for (before, after) in [
            ("", ""),
            ("", "\n;"),
            ("\n ", "\n"),
            ("SQL: ", ""),
            ("SQLQuery:\n", "\n\nThis is the query; it's right."),
            ("<think>Let me see. SELECT? It's ```hard```.</think>\n", "\n;\n"),
            ("Here's the query:\n\n", "\n;\nIt isn't long; it's right."),
            ("```sql\n", "\n```"),
            ("```sql\n", "\n;\n```"),
            ("```\n", "\n```\nThis isn't; SELECT is."),
            ("```SQLite\n", "\n"),
            ("Here's what I'd select:\n```sql\n", "\n;\n```\n\nIt's the one with values."),
            ("Example:\n```python\nx = 'SELECT 1'\n```\nQuery:\n```sql\n", "\n```"),
        ] {
            let answer = format!("{before}{sql}{after}");
            match extract(&answer) {
                Ok(taken) => prop_assert_eq!(&taken, &sql, "{}", answer),
                Err(error) => prop_assert!(false, "{error}: {answer}"),
            }
        }
    }

    #[test]
    fn nothing_makes_it_panic(answer in "(?s).{0,200}") {
        let _ = extract(&answer);
    }

    #[test]
    fn no_mixture_of_what_it_looks_for_makes_it_panic(
        parts in proptest::collection::vec(
            prop_oneof![
                Just("```"), Just("```sql\n"), Just("SELECT"), Just("with"), Just(" AS ("), Just(";"),
                Just("'"), Just("\""), Just("`"), Just("["), Just("--"), Just("/*"), Just("*/"),
                Just("\n"), Just("\n\n"), Just(" "), Just("<think>"), Just("</think>"), Just(":"),
                Just("\\_"), Just("\\"), Just("é"), Just("DROP"), Just("VALUES("), Just("a"),
            ],
            0..30,
        )
    ) {
        let answer = parts.concat();
        if let Ok(sql) = extract(&answer) {
            prop_assert!(!sql.trim().is_empty(), "{}", answer);
        }
    }
}
