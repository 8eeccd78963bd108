//! Input that is long, deep, or no SQL at all.

use std::time::{Duration, Instant};

use coderag_eval::structure::{
    NormalizationOptions, SchemaColumns, SelectOrder, Values, normalize, structural_match,
};
use coderag_eval::{Error, Result};
use proptest::prelude::*;

use super::generate::query;
use super::mutate::mutant;
use super::schema;

const OPTIONS: NormalizationOptions =
    NormalizationOptions { select_order: SelectOrder::Ignored, values: Values::Compared };

fn joined(item: &str, separator: &str, count: usize) -> String {
    vec![item; count].join(separator)
}

fn nested(open: &str, inner: &str, close: &str, count: usize) -> String {
    format!("{}{inner}{}", open.repeat(count), close.repeat(count))
}

#[test]
fn long_and_deep_queries_take_neither_the_stack_nor_the_time() {
    let expressions = [
        joined("a = 1", " AND ", 900),
        joined("a", " + ", 1_900),
        joined("a", " GLOB ", 100),
        joined("a", " GLOB ", 1_900),
        joined("a", " COLLATE nocase + ", 1_200),
        format!("a{}", " IS NULL".repeat(1_500)),
        format!("a{}", " IN (1)".repeat(1_300)),
        format!("a{}", " BETWEEN 1 AND 2".repeat(1_300)),
        format!("a IN ({})", (0..30_000).map(|n| n.to_string()).collect::<Vec<_>>().join(",")),
        format!("{} a", "NOT ".repeat(1_000)),
        format!("{} a", "- ".repeat(1_000)),
        format!("a{}", "[1]".repeat(1_000)),
        nested("(", "a", " BETWEEN 1 AND 2)", 40),
        nested("(", "a", ")", 24),
        nested("(", "a", ")", 3_000),
        "(".repeat(3_900),
        nested("coalesce(a,", "a", ")", 45),
        nested("CASE WHEN a THEN ", "a", " END", 45),
        nested("(SELECT ", "a", " FROM t)", 24),
        nested("a IN (SELECT a FROM t WHERE ", "a", ")", 20),
    ];
    let mut queries: Vec<String> = expressions
        .iter()
        .flat_map(|value| {
            [format!("SELECT {value} FROM t"), format!("SELECT 1 FROM t WHERE {value}")]
        })
        .collect();
    let tables: Vec<String> = (0..7).map(|number| format!("t AS t{number}")).collect();
    let twice = |length: usize| {
        let more: Vec<String> = (1..length)
            .map(|number| {
                let before = number - 1;
                format!("c{number} AS (SELECT x.a FROM c{before} AS x, c{before} AS y)")
            })
            .collect();
        let last = length - 1;
        format!(
            "WITH c0 AS (SELECT a FROM t), {} SELECT 1 FROM c{last}, c{last} AS z",
            more.join(", ")
        )
    };
    queries.extend([
        joined("SELECT a FROM t", " UNION ", 990),
        joined("SELECT a FROM t", " EXCEPT ", 990),
        format!("SELECT * FROM {}", nested("(", "t", " JOIN t)", 22)),
        format!("SELECT * FROM {}", "(".repeat(3_900)),
        format!("SELECT 1 FROM {}", tables.join(", ")),
        nested("SELECT * FROM (", "SELECT * FROM t", ")", 22),
        nested("SELECT 1 FROM t AS x, t AS y, t AS z WHERE EXISTS (", "SELECT 1", ")", 20),
        nested("SELECT (", "SELECT a AS z FROM t ORDER BY z", ") AS z FROM t ORDER BY z", 20),
        format!(
            "SELECT {} AS z FROM t ORDER BY {}",
            joined("a", "+", 500),
            joined("z", ",", 2_000)
        ),
        format!("SELECT {} FROM t", joined("*", ",", 2_000)),
        twice(15),
        twice(100),
        format!("SELECT 1{}", ";".repeat(3_000)),
    ]);
    let schema: SchemaColumns = [("t", ["a", "b"])].into_iter().collect();
    for sql in queries {
        let head: String = sql.chars().take(60).collect();
        let schema = schema.clone();
        let start = Instant::now();
        // The stack that threads have by default.
        let thread = std::thread::Builder::new().stack_size(2 << 20);
        let result = thread.spawn(move || normalize(&sql, &schema, OPTIONS)).unwrap().join();
        let _: Result<_> = result.unwrap();
        assert!(start.elapsed() < Duration::from_secs(10), "{head}: {:?}", start.elapsed());
    }
}

#[test]
fn errors_say_what_is_wrong_and_with_which_query() {
    let schema = schema();
    let error = |sql: &str| normalize(sql, &schema, OPTIONS).unwrap_err();
    assert!(matches!(error("SELECT FROM WHERE"), Error::InvalidSql(_)));
    assert!(matches!(error("SELECT 'open"), Error::InvalidSql(_)));
    assert!(matches!(error("SELECT 1 END"), Error::InvalidSql(_)));
    assert!(matches!(error("SELECT 1; SELECT 2"), Error::NotOneStatement { statements: 2 }));
    assert!(matches!(error(""), Error::NotOneStatement { statements: 0 }));
    assert!(matches!(error("DELETE FROM star"), Error::NotAQuery));
    let long = format!("SELECT {}", joined("a", "+", 9_000));
    assert!(matches!(error(&long), Error::TooLong { .. }));
    let fails =
        |gold, prediction| structural_match(gold, prediction, &schema, OPTIONS).unwrap_err();
    assert!(matches!(fails("SELEC 1", "SELECT 1"), Error::Gold(_)));
    assert!(matches!(fails("SELECT 1", "SELEC 1"), Error::Prediction(_)));
    assert!(matches!(fails("SELEC 1", "SELEC 1"), Error::Gold(_)));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), other in any::<String>()) {
        let schema = schema();
        let one = structural_match(&text, &other, &schema, OPTIONS);
        let back = structural_match(&other, &text, &schema, OPTIONS);
        prop_assert_eq!(one.ok(), back.ok());
        prop_assert!(structural_match(&text, &text, &schema, OPTIONS).unwrap_or(true));
    }

    #[test]
    fn no_words_of_sql_make_it_panic(
        words in proptest::collection::vec(
            "SELECT|FROM|WHERE|JOIN|ON|USING|\\(|\\)|,|star|planet|name|id|\\*|=|<|AND|OR|NOT|IN|IS|NULL|\
             GROUP BY|ORDER BY|LIMIT|1|'a'|\"b\"|UNION|AS|WITH|x|count|EXISTS|CASE|WHEN|THEN|END|\\.|-|;",
            0..24,
        )
    ) {
        let text = words.join(" ");
        let schema = schema();
        prop_assert!(structural_match(&text, &text, &schema, OPTIONS).unwrap_or(true));
    }

    #[test]
    fn the_match_is_reflexive_and_symmetric(structure in 0..400_u64, seed in any::<u64>()) {
        let schema = schema();
        let one = query(structure, seed).sql;
        let other = mutant(&one, seed);
        let options = [
            OPTIONS,
            NormalizationOptions { select_order: SelectOrder::Kept, values: Values::Ignored },
        ];
        for options in options {
            prop_assert!(structural_match(&one, &one, &schema, options).unwrap());
            prop_assert!(structural_match(&other, &other, &schema, options).unwrap_or(true));
            let there = structural_match(&one, &other, &schema, options).ok();
            prop_assert_eq!(there, structural_match(&other, &one, &schema, options).ok());
        }
    }
}
