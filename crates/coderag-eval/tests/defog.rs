//! The defog scorer against the official script's outcomes (scripts/reference_defog.py), and what
//! must hold of any two tables.
#![allow(clippy::panic, clippy::unwrap_used)]

use std::convert::Infallible;
use std::fs;
use std::path::PathBuf;

use coderag_eval::Compatibility;
use coderag_eval::Error;
use coderag_eval::defog::{
    Comparer, Comparison, ComparisonError, MAX_BRACED_COLUMNS, Questions, Table, minimal_queries,
};
use coderag_sql::Value;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value as Json;

#[derive(Deserialize)]
struct Fixture {
    reference: Json,
    minimal_queries: Vec<Expansion>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Expansion {
    gold: String,
    queries: Vec<String>,
}

#[derive(Deserialize)]
struct Case {
    question: String,
    category: String,
    gold_sql: String,
    predicted_sql: String,
    gold: Vec<JsonTable>,
    predicted: JsonTable,
    outcome: Outcome,
}

#[derive(Deserialize)]
struct JsonTable {
    columns: Vec<String>,
    rows: Vec<Vec<Json>>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum Outcome {
    Compared(bool, bool),
    Exception(String),
}

const BOTH: [Compatibility; 2] = [Compatibility::Sensible, Compatibility::Strict];
const EXACT: Comparison = Comparison { exact: true, correct: true };
const CORRECT: Comparison = Comparison { exact: false, correct: true };
const WRONG: Comparison = Comparison { exact: false, correct: false };

fn fixture() -> Fixture {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixture/defog.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn value(json: &Json) -> Value {
    let text = |key: &str| json.get(key).and_then(Json::as_str);
    match json {
        Json::Null => Value::Null,
        Json::String(text) => Value::Text(text.clone()),
        Json::Number(number) => Value::Integer(number.as_i64().unwrap()),
        _ => match (text("real"), text("blob")) {
            (Some(real), None) => Value::Real(real.parse().unwrap()),
            (None, Some(blob)) => Value::Blob(
                (0..blob.len())
                    .step_by(2)
                    .map(|at| u8::from_str_radix(&blob[at..at + 2], 16).unwrap())
                    .collect(),
            ),
            _ => panic!("not a value: {json}"),
        },
    }
}

impl JsonTable {
    fn table(&self) -> Table {
        Table {
            columns: self.columns.clone(),
            rows: self.rows.iter().map(|row| row.iter().map(value).collect()).collect(),
        }
    }
}

impl Case {
    fn run(&self, compatibility: Compatibility) -> Result<Comparison, ComparisonError> {
        let comparer = Comparer {
            question: &self.question,
            category: &self.category,
            gold_sql: &self.gold_sql,
            predicted_sql: &self.predicted_sql,
            compatibility,
        };
        let mut alternatives = self.gold.iter();
        comparer.compare_alternatives(&self.predicted.table(), |_| {
            Ok::<_, Infallible>(alternatives.next().unwrap().table())
        })
    }
}

fn comparer(compatibility: Compatibility) -> Comparer<'static> {
    Comparer {
        question: "Which stations are there?",
        category: "group_by",
        gold_sql: "SELECT 1",
        predicted_sql: "SELECT 2",
        compatibility,
    }
}

fn table<const N: usize>(columns: [&str; N], rows: &[[Value; N]]) -> Table {
    Table {
        columns: columns.map(str::to_owned).to_vec(),
        rows: rows.iter().map(|row| row.to_vec()).collect(),
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// The outcome of two tables, sane and official; an exception as `None`.
fn outcomes(gold: &Table, predicted: &Table) -> [Option<Comparison>; 2] {
    BOTH.map(|compatibility| comparer(compatibility).compare(gold, predicted).ok())
}

#[test]
fn minimal_queries_are_those_of_the_official_script() {
    let expansions = fixture().minimal_queries;
    assert!(expansions.len() > 40);
    for Expansion { gold, queries } in expansions {
        let ours: Vec<_> = minimal_queries(&gold).unwrap().collect();
        assert_eq!(ours, queries, "{gold}");
    }
}

#[test]
fn outcomes_are_those_of_the_official_script() {
    let fixture = fixture();
    assert_eq!(fixture.reference["pandas"], "3.1.1");
    let mut counts = [0; 4];
    for case in &fixture.cases {
        let ours = case.run(Compatibility::Strict);
        let context = || format!("{} against {}", case.predicted_sql, case.gold_sql);
        match (&case.outcome, ours) {
            (Outcome::Compared(exact, correct), Ok(ours)) => {
                let official = Comparison { exact: *exact, correct: *correct };
                assert_eq!(ours, official, "{}", context());
                counts[usize::from(*exact) + usize::from(*correct)] += 1;
            }
            (Outcome::Exception(_), Err(_)) => counts[3] += 1,
            (official, ours) => panic!("{}: {ours:?} instead of {official:?}", context()),
        }
    }
    assert!(counts.iter().all(|count| *count >= 10), "the fixture has every outcome: {counts:?}");
}

#[test]
fn sane_comparison_never_fails_on_what_makes_the_official_script_raise() {
    let cases = fixture().cases;
    let raised: Vec<_> =
        cases.iter().filter(|case| matches!(case.outcome, Outcome::Exception(_))).collect();
    assert!(raised.len() > 30);
    for case in raised {
        case.run(Compatibility::Sensible).unwrap();
    }
}

#[test]
fn tables_of_different_shapes_are_exact_only_by_broadcasting() {
    let one = Value::Integer(1);
    let single = table(["n"], &[[one.clone()]]);
    let repeated = table(["a", "b"], &[[one.clone(), one.clone()], [one.clone(), one.clone()]]);
    assert_eq!(outcomes(&single, &repeated), [Some(WRONG), Some(EXACT)]);
    let empty = table(["n"], &[]);
    assert_eq!(outcomes(&empty, &single), [Some(WRONG), Some(EXACT)]);
}

#[test]
fn null_equals_null_and_nothing_else() {
    let with = |value: Value| table(["id", "n"], &[[Value::Integer(2), value]]);
    assert_eq!(
        outcomes(&with(Value::Null), &with(Value::Integer(-99_999))),
        [Some(WRONG), Some(EXACT)]
    );
    let number = table(["n"], &[[Value::Integer(1)], [Value::Null]]);
    let renamed = Table { columns: vec!["m".to_owned()], ..number.clone() };
    assert_eq!(outcomes(&number, &renamed), [Some(EXACT), Some(EXACT)]);
    let words = table(["w"], &[[text("a")], [Value::Null]]);
    assert_eq!(outcomes(&words, &words), [Some(EXACT), None]);
}

#[test]
fn mixed_classes_can_be_sorted() {
    let gold = table(["v"], &[[text("a")], [Value::Integer(1)]]);
    let predicted = table(["v"], &[[Value::Integer(1)], [text("a")]]);
    assert_eq!(outcomes(&gold, &predicted), [Some(EXACT), None]);
}

#[test]
fn columns_of_one_name_are_told_apart() {
    let gold =
        table(["id", "name"], &[[Value::Integer(1), text("a")], [Value::Integer(2), text("b")]]);
    let predicted = table(
        ["n", "n", "n"],
        &[[text("b"), text("x"), Value::Integer(2)], [text("a"), text("x"), Value::Integer(1)]],
    );
    assert_eq!(outcomes(&gold, &predicted), [Some(CORRECT), None]);
}

#[test]
fn more_columns_are_correct_and_fewer_are_wrong() {
    let short = table(["id"], &[[Value::Integer(1)], [Value::Integer(2)]]);
    let long = table(["n", "x"], &[[Value::Integer(2), text("a")], [Value::Integer(1), text("b")]]);
    assert_eq!(outcomes(&short, &long), [Some(CORRECT); 2]);
    assert_eq!(outcomes(&long, &short), [Some(WRONG); 2]);
}

#[test]
fn reals_have_a_tolerance_only_when_correct_is_judged_and_integers_none() {
    let real = |value| table(["v"], &[[Value::Real(value)]]);
    assert_eq!(outcomes(&real(2.0), &real(2.000_001)), [Some(CORRECT); 2]);
    assert_eq!(outcomes(&real(2.0), &real(2.001)), [Some(WRONG); 2]);
    let integer = table(["v"], &[[Value::Integer(2)]]);
    assert_eq!(outcomes(&integer, &real(2.0)), [Some(EXACT); 2]);
    assert_eq!(outcomes(&integer, &real(2.000_001)), [Some(WRONG); 2]);
}

#[test]
fn the_order_of_rows_counts_when_the_question_asks_for_it() {
    let up = table(["n"], &[[Value::Integer(1)], [Value::Integer(2)]]);
    let down = table(["n"], &[[Value::Integer(2)], [Value::Integer(1)]]);
    for compatibility in BOTH {
        let plain = comparer(compatibility);
        assert_eq!(plain.compare(&up, &down).unwrap(), EXACT);
        let ordered = Comparer { question: "Sort the stations.", ..plain };
        assert_eq!(ordered.compare(&up, &down).unwrap(), WRONG);
        let ordered = Comparer { category: "order_by", ..plain };
        assert_eq!(ordered.compare(&up, &down).unwrap(), WRONG);
    }
}

#[test]
fn alternatives_are_run_one_by_one_until_one_is_exact() {
    let predicted = table(["id", "x"], &[[Value::Integer(1), text("a")]]);
    let comparer = Comparer {
        gold_sql: "SELECT id FROM t; SELECT {id, x, y} FROM t; SELECT z FROM t",
        ..comparer(Compatibility::Sensible)
    };
    let mut run = Vec::new();
    let comparison = comparer
        .compare_alternatives(&predicted, |sql| {
            run.push(sql.to_owned());
            Ok::<_, Infallible>(match sql {
                "SELECT id, x FROM t" | "SELECT id,  x FROM t" => predicted.clone(),
                _ => table(["id"], &[[Value::Integer(1)]]),
            })
        })
        .unwrap();
    assert_eq!(comparison, EXACT);
    assert_eq!(
        run,
        [
            "SELECT id FROM t",
            "SELECT id FROM t",
            "SELECT  x FROM t",
            "SELECT  y FROM t",
            "SELECT id,  x FROM t"
        ]
    );
}

#[test]
fn a_failing_gold_query_is_named() {
    let predicted = table(["id", "x"], &[[Value::Integer(1), text("a")]]);
    let comparer = Comparer {
        gold_sql: "SELECT id FROM t; SELECT broken",
        ..comparer(Compatibility::Sensible)
    };
    let error = comparer
        .compare_alternatives(&predicted, |sql| match sql {
            "SELECT broken" => Err("no such column: broken"),
            _ => Ok(table(["id"], &[[Value::Integer(1)]])),
        })
        .unwrap_err();
    assert_eq!(error.to_string(), "the gold query failed: SELECT broken");
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "no such column: broken");
}

#[test]
fn a_table_without_columns_or_with_ragged_rows_is_an_error() {
    let good = table(["n"], &[[Value::Null]]);
    for compatibility in BOTH {
        let comparer = comparer(compatibility);
        let error = comparer.compare(&good, &Table::default()).unwrap_err();
        assert!(matches!(error, ComparisonError::NoColumns));
        let ragged = Table { columns: vec!["n".to_owned()], rows: vec![vec![Value::Null], vec![]] };
        let error = comparer.compare(&good, &ragged).unwrap_err();
        assert_eq!(error.to_string(), "row 2 has 0 values but the table has 1 columns");
    }
}

#[test]
fn braces_are_bounded_and_expanded_lazily() {
    let braces = |count: usize| format!("SELECT {{{}}} FROM t", vec!["c"; count].join(","));
    let gold = braces(MAX_BRACED_COLUMNS);
    assert_eq!(minimal_queries(&gold).unwrap().next().unwrap(), "SELECT c FROM t");
    let gold = braces(MAX_BRACED_COLUMNS + 1);
    let error = minimal_queries(&gold).unwrap_err();
    assert!(matches!(error, Error::TooManyBracedColumns { columns: 21, limit: 20, .. }));
    let comparer = Comparer { gold_sql: &gold, ..comparer(Compatibility::Sensible) };
    let error = comparer
        .compare_alternatives(&table(["n"], &[]), |_| Ok::<_, Infallible>(Table::default()))
        .unwrap_err();
    assert!(matches!(error, ComparisonError::Alternatives(_)));
}

/// A file of the given text that lasts as long as its folder.
fn file(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    (folder, path)
}

const CSV: &str = "db_name,db_type,query_category,query,question,notes\n\
    rides,sqlite,order_by,\"SELECT a,\n b FROM t;\",\"Sort \"\"a\"\".\",x\n\
    rides,sqlite,,SELECT 1,Which?,\n";

#[test]
fn a_csv_file_of_questions_is_read() {
    let (_folder, path) = file("questions.csv", CSV);
    let questions = Questions::read(&path).unwrap();
    let [first, second] = questions.questions.as_slice() else { panic!("two questions") };
    assert_eq!(first.database, "rides");
    assert_eq!(first.dialect.as_deref(), Some("sqlite"));
    assert_eq!(first.category, "order_by");
    assert_eq!(first.gold, "SELECT a,\n b FROM t;");
    assert_eq!(first.question, "Sort \"a\".");
    assert_eq!(first.prediction, None);
    assert_eq!((first.line, second.line), (2, 4));
    assert_eq!(second.category, "");

    let error = questions.predictions(None).unwrap_err().to_string();
    assert!(error.contains("questions.csv:2: the question has no `generated_query`"), "{error}");
}

#[test]
fn the_official_runners_own_predictions_are_accepted() {
    let csv = "question,query,db_name,generated_query\nWhich?,SELECT 1,rides,SELECT 2\nWho?,SELECT 1,rides,\n";
    let (_folder, path) = file("results.csv", csv);
    let questions = Questions::read(&path).unwrap();
    assert_eq!(questions.predictions(None).unwrap(), ["SELECT 2", ""]);
}

#[test]
fn json_lines_of_questions_are_read() {
    let lines = "{\"db_name\":\"rides\",\"query\":\"SELECT 1\",\"question\":\"Q\",\"query_category\":null}\n\n\
        {\"db_name\":\"rides\",\"query\":\"SELECT 2\",\"question\":\"R\",\"generated_query\":\"SELECT 3\"}\n";
    let (_folder, path) = file("questions.jsonl", lines);
    let questions = Questions::read(&path).unwrap();
    let [first, second] = questions.questions.as_slice() else { panic!("two questions") };
    assert_eq!((first.category.as_str(), first.line), ("", 1));
    assert_eq!((second.prediction.as_deref(), second.line), (Some("SELECT 3"), 3));
}

#[test]
fn predictions_come_from_json_json_lines_or_text() {
    let (_folder, path) = file("questions.csv", CSV);
    let questions = Questions::read(&path).unwrap();
    for (name, contents, expected) in [
        ("p.json", "[\"SELECT 1\", {\"generated_query\": \"SELECT\\n2\", \"n\": 1}]", "SELECT\n2"),
        ("p.json", "[{\"generated_query\": \"SELECT 1\"}, null]", ""),
        ("p.jsonl", "\"SELECT 1\"\n{\"generated_query\": null}\n", ""),
        ("p.sql", "SELECT 1\nSELECT 2\n", "SELECT 2"),
        ("p.txt", "SELECT 1\r\n\r\n", ""),
    ] {
        let (_folder, path) = file(name, contents);
        let predictions = questions.predictions(Some(&path)).unwrap();
        assert_eq!(predictions, ["SELECT 1", expected], "{name}: {contents}");
    }
}

#[test]
fn a_bad_line_is_named() {
    let questions_error = |name: &str, contents: &str| {
        let (_folder, path) = file(name, contents);
        let error = Questions::read(&path).unwrap_err();
        assert!(matches!(error, Error::Line { .. }), "{error:?}");
        error.to_string().rsplit_once(&format!("{name}:")).unwrap().1.to_owned()
    };
    assert_eq!(
        questions_error("q.csv", "db_name,question\n"),
        "1: the heading has no column `query`, which is needed"
    );
    assert_eq!(
        questions_error("q.csv", "db_name,query,question\na,b,c\na,b\n"),
        "3: the record has 2 fields but the heading has 3"
    );
    assert_eq!(
        questions_error("q.jsonl", "\n{\"db_name\": \"a\", \"query\": \"b\"}\n"),
        "2: missing field `question` (column 30)"
    );

    let (_folder, path) = file("questions.csv", CSV);
    let questions = Questions::read(&path).unwrap();
    let prediction_error = |name: &str, contents: &str| {
        let (_folder, path) = file(name, contents);
        questions.predictions(Some(&path)).unwrap_err().to_string()
    };
    let error = prediction_error("p.jsonl", "\"SELECT 1\"\n7\n");
    assert!(error.contains("p.jsonl:2: a string, null or an object"), "{error}");
    let error = prediction_error("p.json", "[\"SELECT 1\",\n 7]");
    assert!(error.contains("p.json:2: a string, null or an object"), "{error}");
    let error = prediction_error("p.sql", "SELECT 1\n");
    assert!(error.contains("p.sql has 1 entries; they"), "{error}");
    let error = questions.predictions(Some(&path.with_file_name("none.sql"))).unwrap_err();
    assert!(matches!(error, Error::Core(_)));
}

/// Any value, with many that are equal or nearly so.
fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        (-2_i64..3).prop_map(Value::Integer),
        any::<i64>().prop_map(Value::Integer),
        (-2_i32..3).prop_map(|half| Value::Real(f64::from(half) / 2.0)),
        any::<f64>().prop_map(Value::Real),
        "[ab1]{0,2}".prop_map(Value::Text),
        any::<String>().prop_map(Value::Text),
        proptest::collection::vec(any::<u8>(), 0..3).prop_map(Value::Blob),
    ]
}

/// Tables of one width, at most three columns of which several may have one name.
fn any_tables(count: usize) -> impl Strategy<Value = Vec<Table>> {
    (1_usize..4).prop_flat_map(move |width| {
        let columns = proptest::collection::vec("[abA]{1,2}", width);
        let row = proptest::collection::vec(any_value(), width);
        let table = (columns, proptest::collection::vec(row, 0..6))
            .prop_map(|(columns, rows)| Table { columns, rows });
        proptest::collection::vec(table, count)
    })
}

fn any_sql() -> impl Strategy<Value = String> {
    prop_oneof!["(SELECT|ORDER BY|a|b|A|DESC|asc|[(),.;\n ]){0,12}", any::<String>(),]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn whatever_is_exact_is_correct(
        tables in any_tables(2),
        question in prop_oneof![Just("Which?"), Just("Sort them.")],
        gold_sql in any_sql(),
        predicted_sql in any_sql(),
    ) {
        for compatibility in BOTH {
            let comparer = Comparer {
                question, category: "", gold_sql: &gold_sql, predicted_sql: &predicted_sql, compatibility,
            };
            if let Ok(comparison) = comparer.compare(&tables[0], &tables[1]) {
                prop_assert!(comparison.correct || !comparison.exact);
            }
        }
    }

    #[test]
    fn a_table_matches_itself(
        tables in any_tables(1),
        question in prop_oneof![Just("Which?"), Just("Sort them.")],
        sql in any_sql(),
    ) {
        let comparer = Comparer {
            question, category: "", gold_sql: &sql, predicted_sql: &sql, compatibility: Compatibility::Sensible,
        };
        prop_assert_eq!(comparer.compare(&tables[0], &tables[0]).unwrap(), EXACT);
    }

    #[test]
    fn the_order_of_rows_is_irrelevant_unless_asked_for(
        (tables, shuffled) in any_tables(2).prop_flat_map(|mut tables| {
            // Half of the rows in common, so that all outcomes occur.
            let rows = tables[0].rows.iter().take(3).cloned().collect::<Vec<_>>();
            tables[1].rows.truncate(1);
            tables[1].rows.extend(rows);
            tables[1].columns = tables[0].columns.clone();
            let shuffled = Just(tables[1].rows.clone()).prop_shuffle();
            (Just(tables), shuffled)
        }),
    ) {
        let comparer = comparer(Compatibility::Sensible);
        let shuffled = Table { rows: shuffled, ..tables[1].clone() };
        prop_assert_eq!(
            comparer.compare(&tables[0], &tables[1]).unwrap(),
            comparer.compare(&tables[0], &shuffled).unwrap()
        );
        prop_assert_eq!(comparer.compare(&tables[1], &shuffled).unwrap(), EXACT);
    }

    #[test]
    fn sane_comparison_has_an_outcome_for_any_two_tables(
        gold in any_tables(1),
        predicted in any_tables(1),
        question in any::<String>(),
        category in any::<String>(),
        gold_sql in any_sql(),
        predicted_sql in any_sql(),
    ) {
        for compatibility in BOTH {
            let comparer = Comparer {
                question: &question,
                category: &category,
                gold_sql: &gold_sql,
                predicted_sql: &predicted_sql,
                compatibility,
            };
            let comparison = comparer.compare(&gold[0], &predicted[0]);
            prop_assert!(comparison.is_ok() || compatibility == Compatibility::Strict);
        }
    }

    #[test]
    fn braces_with_n_columns_stand_for_all_their_subsets(
        left in "[^{};]*", columns in proptest::collection::vec("[a-z]{1,3}", 1..8), right in "[^;]*",
    ) {
        let gold = format!("SELECT {left}{{{}}}{right}", columns.join(","));
        let queries: Vec<_> = minimal_queries(&gold).unwrap().collect();
        prop_assert_eq!(queries.len(), (1 << columns.len()) - 1);
    }

    #[test]
    fn any_gold_query_expands_or_is_refused(gold in "(\\PC|[{},;]){0,200}") {
        if let Ok(queries) = minimal_queries(&gold) {
            prop_assert!(queries.take(1000).count() > 0 || gold.split(';').all(|part| part.trim().is_empty()));
        }
    }
}
