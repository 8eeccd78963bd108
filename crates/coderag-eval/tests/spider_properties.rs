//! What must hold of exact set match for any text: the parser ends, nothing panics, and the match is
//! reflexive and symmetric.
//!
//! `PROPTEST_CASES=1000000` runs a million inputs of each kind.
#![allow(clippy::unwrap_used)]

use coderag_eval::spider::{
    ExactMatchVariant, GoldQuery, PredictedQuery, SpiderSchema, TablesEntry,
};
use proptest::prelude::*;

const VARIANTS: [ExactMatchVariant; 2] = [ExactMatchVariant::Spider, ExactMatchVariant::TestSuite];

fn schema() -> SpiderSchema {
    let entry: TablesEntry = serde_json::from_value(serde_json::json!({
        "db_id": "orchard",
        "table_names_original": ["Tree", "Harvest", "Picker"],
        "column_names_original": [
            [-1, "*"], [0, "Tree_ID"], [0, "Kind"], [0, "Height"],
            [1, "Tree_ID"], [1, "Picker_ID"], [1, "Weight"], [2, "Picker_ID"], [2, "Name"],
        ],
        "foreign_keys": [[4, 1], [5, 7]],
    }))
    .unwrap();
    SpiderSchema::of_entry(&entry)
}

/// Words that lead deep into the grammar.
const WORDS: [&str; 62] = [
    "select",
    "SELECT",
    "from",
    "where",
    "group",
    "by",
    "order",
    "limit",
    "having",
    "intersect",
    "union",
    "except",
    "join",
    "on",
    "as",
    "and",
    "or",
    "not",
    "in",
    "like",
    "between",
    "is",
    "exists",
    "distinct",
    "count",
    "max",
    "min",
    "sum",
    "avg",
    "none",
    "asc",
    "desc",
    "(",
    ")",
    ",",
    ";",
    "*",
    "+",
    "-",
    "/",
    "=",
    "!=",
    ">",
    "<",
    ">=",
    "<=",
    "tree",
    "harvest",
    "picker",
    "t1",
    "t2",
    "tree_id",
    "kind",
    "height",
    "t1.tree_id",
    "t2.picker_id",
    "weight",
    "name",
    "1",
    "2.5",
    "\"x y\"",
    "'z'",
];

fn word_soup() -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::sample::select(WORDS.to_vec()), 0..60)
        .prop_map(|words| words.join(" "))
}

/// Queries of the grammar, most of which parse.
fn query(depth: u32) -> BoxedStrategy<String> {
    let column = || {
        proptest::sample::select(vec![
            "tree_id",
            "T1.tree_id",
            "kind",
            "height",
            "count(*)",
            "max(height)",
            "count(DISTINCT kind)",
        ])
    };
    let condition = move || {
        let operators = vec!["=", "!=", ">", "<=", "LIKE", "NOT IN", "IN"];
        let plain = (column(), proptest::sample::select(operators), "[0-9]{1,2}|\"[a-z]{1,3}\"")
            .prop_map(|(column, operator, value)| format!("{column} {operator} {value}"));
        if depth == 0 {
            plain.boxed()
        } else {
            let nested = (column(), query(depth - 1))
                .prop_map(|(column, query)| format!("{column} IN ({query})"));
            prop_oneof![3 => plain, 1 => nested].boxed()
        }
    };
    let from = prop_oneof![
        Just("tree AS T1".to_owned()),
        Just("tree AS T1 JOIN harvest AS T2 ON T1.tree_id = T2.tree_id".to_owned()),
    ];
    (
        proptest::collection::vec(column(), 1..4),
        from,
        proptest::option::of((condition(), prop_oneof![Just("AND"), Just("OR")], condition())),
        proptest::option::of(column()),
        proptest::option::of((column(), prop_oneof![Just("ASC"), Just("DESC"), Just("")])),
        proptest::option::of(1_u8..5),
        proptest::option::weighted(0.2, proptest::sample::select(vec!["UNION", "EXCEPT"])),
    )
        .prop_map(|(columns, from, filter, group, order, limit, operation)| {
            let mut sql = format!("SELECT {} FROM {from}", columns.join(", "));
            if let Some((first, connective, second)) = filter {
                sql += &format!(" WHERE {first} {connective} {second}");
            }
            if let Some(group) = group {
                sql += &format!(" GROUP BY {group}");
            }
            if let Some((column, direction)) = order {
                sql += &format!(" ORDER BY {column} {direction}");
            }
            if let Some(limit) = limit {
                sql += &format!(" LIMIT {limit}");
            }
            if let Some(operation) = operation {
                sql += &format!(" {operation} SELECT kind FROM tree");
            }
            sql
        })
        .boxed()
}

/// Scores `prediction` against `gold` in both variants where the gold query parses.
fn exact(gold: &str, prediction: &str, schema: &SpiderSchema) -> [Option<bool>; 2] {
    VARIANTS.map(|variant| {
        let gold = GoldQuery::parse(gold, schema, variant)?;
        Some(gold.score(&PredictedQuery::parse(prediction, schema, variant), schema).exact)
    })
}

proptest! {
    #[test]
    fn any_text_is_scored_without_a_panic(text in any::<String>(), bytes in any::<Vec<u8>>()) {
        let schema = schema();
        let gold = "SELECT kind FROM tree WHERE height > 3";
        prop_assert_eq!(exact(gold, &text, &schema), [Some(false); 2]);
        exact(&String::from_utf8_lossy(&bytes), &text, &schema);
    }

    #[test]
    fn any_soup_of_keywords_is_scored_without_a_panic(gold in word_soup(), prediction in word_soup()) {
        exact(&gold, &prediction, &schema());
    }

    #[test]
    fn a_query_matches_itself(sql in query(2)) {
        let schema = schema();
        prop_assert!(exact(&sql, &sql, &schema).into_iter().all(|exact| exact != Some(false)), "{}", sql);
    }

    #[test]
    fn two_queries_match_in_both_directions_or_in_none(first in query(1), second in query(1)) {
        let schema = schema();
        let (forth, back) = (exact(&first, &second, &schema), exact(&second, &first, &schema));
        for (forth, back) in forth.into_iter().zip(back) {
            if let (Some(forth), Some(back)) = (forth, back) {
                prop_assert_eq!(forth, back, "{} / {}", &first, &second);
            }
        }
    }
}

#[test]
fn most_generated_queries_parse() {
    // Otherwise the properties above would say little.
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let schema = schema();
    let parsed = (0..500)
        .filter(|_| {
            let sql = query(1).new_tree(&mut runner).unwrap().current();
            GoldQuery::parse(&sql, &schema, ExactMatchVariant::Spider).is_some()
        })
        .count();
    assert!(parsed > 400, "{parsed} of 500");
}

#[test]
fn deep_nesting_ends_as_in_python() {
    let schema = schema();
    let nested = |depth: usize| {
        format!("{}SELECT kind FROM tree{}", "SELECT * FROM (".repeat(depth), ")".repeat(depth))
    };
    let parses =
        |sql: &str| PredictedQuery::parse(sql, &schema, ExactMatchVariant::Spider).parses();
    assert!(parses(&nested(400)));
    // Python's recursion limit is 1000 calls, two for each level.
    assert!(!parses(&nested(600)));
    assert!(!parses(&nested(100_000)));
    let in_conditions = "SELECT kind FROM tree WHERE kind IN (".repeat(50_000);
    assert!(!parses(&in_conditions));
}
