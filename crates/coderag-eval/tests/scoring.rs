//! How files of predictions are scored, on small databases of our own: where the two compatibilities part,
//! that nothing a prediction does is left behind, and which input is an error.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use coderag_core::Silent;
use coderag_eval::bird::{self, BirdOptions, BirdQuestion, BirdScore, Difficulty, read_questions};
use coderag_eval::execution::{ExecutionOptions, Shape};
use coderag_eval::files::{Gold, read_gold, read_predictions};
use coderag_eval::scoring::{Databases, QuestionScore, ScoringOptions, score};
use coderag_eval::spider::{ExactMatchVariant, TablesEntry};
use coderag_eval::summary::Summary;
use coderag_eval::{Compatibility, Error, Outcome, Result};
use rusqlite::Connection;
use tempfile::TempDir;

const BOTH: [Compatibility; 2] = [Compatibility::Sensible, Compatibility::Strict];

const ORCHARD: &str = "
CREATE TABLE tree (tree_id INTEGER PRIMARY KEY, kind TEXT, height REAL);
CREATE TABLE harvest (
  harvest_id INTEGER PRIMARY KEY, tree_id INTEGER REFERENCES tree (tree_id), weight INTEGER
);
INSERT INTO tree VALUES (1, 'apple', 3.5), (2, 'pear', 4.0), (3, 'plum', 2.5), (4, 'apple', 5.0);
INSERT INTO harvest VALUES (1, 1, 40), (2, 1, 35), (3, 2, 20), (4, 4, 60);
";

const ENDLESS: &str =
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";

/// A folder with one database in it, called `orchard`.
struct Orchard(TempDir);

impl Orchard {
    fn new() -> Self {
        Self::of(ORCHARD)
    }

    fn of(script: &str) -> Self {
        let orchard = Self(tempfile::tempdir().unwrap());
        fs::create_dir(orchard.0.path().join("orchard")).unwrap();
        orchard.add("orchard.sqlite", script);
        orchard
    }

    /// Makes a further database file in the database's folder.
    fn add(&self, file: &str, script: &str) {
        let connection = Connection::open(self.folder().join(file)).unwrap();
        connection.pragma_update(None, "synchronous", "OFF").unwrap();
        connection.execute_batch(script).unwrap();
    }

    /// The database's folder.
    fn folder(&self) -> PathBuf {
        self.0.path().join("orchard")
    }

    /// All files of the database's folder with their content.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let entries = self.folder().read_dir().unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> =
            entries.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
        files.sort();
        files
    }

    fn databases(&self) -> Databases {
        Databases {
            folder: self.0.path().to_owned(),
            tables: Some(("tables.json".into(), vec![tables_entry()])),
        }
    }

    /// Writes a file beside the database's folder.
    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// The scores of (gold query, prediction) pairs.
    fn scores(&self, options: &ScoringOptions, pairs: &[(&str, &str)]) -> Vec<QuestionScore> {
        let gold: Vec<Gold> = pairs.iter().map(|(gold, _)| gold_of(gold)).collect();
        let predictions: Vec<String> = pairs.iter().map(|(_, sql)| (*sql).to_owned()).collect();
        score_with(&self.databases(), options, &[gold], &[predictions]).unwrap()
    }

    /// What came of the predictions.
    fn outcomes(&self, options: &ScoringOptions, pairs: &[(&str, &str)]) -> Vec<Outcome> {
        let scores = self.scores(options, pairs);
        // Under strict compatibility a gold query outside of the grammar is a crash, whatever comes of it.
        for score in scores.iter().filter(|score| score.gold_parses) {
            assert_eq!(score.execution, Some(score.outcome == Some(Outcome::Correct)));
        }
        scores.iter().map(|score| score.outcome.unwrap()).collect()
    }

    /// The outcomes of one prediction, sensible and strict, by the test-suite script.
    fn sensible_and_strict(&self, gold: &str, prediction: &str) -> [Outcome; 2] {
        BOTH.map(|compatibility| {
            self.outcomes(&test_suite(compatibility), &[(gold, prediction)])[0]
        })
    }

    /// BIRD's scores of (gold query, prediction) pairs.
    fn bird(&self, compatibility: Compatibility, pairs: &[(&str, &str)]) -> Vec<BirdScore> {
        let questions: Vec<BirdQuestion> = pairs
            .iter()
            .map(|(gold, prediction)| BirdQuestion {
                database: "orchard".to_owned(),
                gold: (*gold).to_owned(),
                prediction: Some((*prediction).to_owned()),
                difficulty: None,
            })
            .collect();
        bird::score(&questions, self.0.path(), &bird_options(compatibility), &Silent).unwrap()
    }
}

fn tables_entry() -> TablesEntry {
    serde_json::from_value(serde_json::json!({
        "db_id": "orchard",
        "table_names_original": ["tree", "harvest"],
        "column_names_original": [
            [-1, "*"], [0, "tree_id"], [0, "kind"], [0, "height"],
            [1, "harvest_id"], [1, "tree_id"], [1, "weight"],
        ],
        "foreign_keys": [[5, 1]],
    }))
    .unwrap()
}

fn gold_of(sql: &str) -> Gold {
    Gold { sql: sql.to_owned(), database: "orchard".to_owned() }
}

fn test_suite(compatibility: Compatibility) -> ScoringOptions {
    ScoringOptions {
        variant: ExactMatchVariant::TestSuite,
        exact_match: true,
        execution: true,
        running: ExecutionOptions { compatibility, ..ExecutionOptions::default() },
        threads: 2,
    }
}

fn spider(compatibility: Compatibility) -> ScoringOptions {
    ScoringOptions { variant: ExactMatchVariant::Spider, ..test_suite(compatibility) }
}

fn within(timeout: Duration, compatibility: Compatibility) -> ScoringOptions {
    let mut options = test_suite(compatibility);
    options.running.timeout = Some(timeout);
    options
}

fn bird_options(compatibility: Compatibility) -> BirdOptions {
    BirdOptions { compatibility, timeout: None, repetitions: 0, threads: 2 }
}

fn score_with(
    databases: &Databases,
    options: &ScoringOptions,
    gold: &[Vec<Gold>],
    predictions: &[Vec<String>],
) -> Result<Vec<QuestionScore>> {
    let paths: [&Path; 2] = ["gold.txt".as_ref(), "predictions.txt".as_ref()];
    score((paths[0], gold), (paths[1], predictions), databases, options, &Silent)
}

// The rows of the table in `Compatibility`, in its order.

#[test]
fn the_word_value_in_a_prediction_is_1_under_strict_compatibility() {
    let orchard =
        Orchard::of("CREATE TABLE reading (value INTEGER); INSERT INTO reading VALUES (5), (7);");
    let sql = "SELECT value FROM reading";
    assert_eq!(orchard.sensible_and_strict(sql, sql), [Outcome::Correct, Outcome::WrongValues]);
    let exact = BOTH.map(|compatibility| {
        orchard.scores(&test_suite(compatibility), &[(sql, sql)])[0].exact_match.unwrap()
    });
    assert_eq!(exact, [true, false]);
    // The script of taoyds/spider leaves it.
    let outcomes =
        BOTH.map(|compatibility| orchard.outcomes(&spider(compatibility), &[(sql, sql)])[0]);
    assert_eq!(outcomes, [Outcome::Correct; 2]);
}

#[test]
fn whole_and_real_numbers_that_are_equal_are_told_apart_under_strict_compatibility() {
    let orchard = Orchard::of("CREATE TABLE mixed (a, b); INSERT INTO mixed VALUES (10, '10.');");
    assert_eq!(
        orchard.sensible_and_strict("SELECT a, b FROM mixed", "SELECT a * 1.0, b FROM mixed"),
        [Outcome::Correct, Outcome::WrongValues]
    );
}

#[test]
fn a_prediction_without_time_limit_runs_to_its_end_under_strict_compatibility() {
    let orchard = Orchard::new();
    let long = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3000000) \
                SELECT count(*) FROM n";
    let pair = [("SELECT 3000000 FROM tree LIMIT 1", long)];
    let limit = Duration::from_millis(50);
    for compatibility in BOTH {
        let score = &orchard.scores(&within(limit, compatibility), &pair)[0];
        assert_eq!(score.outcome, Some(Outcome::Timeout), "{compatibility:?}");
        assert_eq!(score.error.as_deref(), Some("the statement was stopped after 0.05 s"));
    }
    let unlimited = orchard.outcomes(&test_suite(Compatibility::Strict), &pair);
    assert_eq!(unlimited, [Outcome::Correct]);
}

#[test]
fn what_a_prediction_creates_is_there_for_later_ones_under_strict_compatibility() {
    let orchard = Orchard::new();
    let before = orchard.files();
    let gold = "SELECT kind FROM tree";
    let pairs = [
        (gold, "CREATE TABLE extra AS SELECT kind FROM tree"),
        (gold, "SELECT kind FROM extra"),
        // Never committed there.
        (gold, "INSERT INTO tree VALUES (5, 'quince', 3.0)"),
        ("SELECT count(*) FROM tree", "SELECT 4"),
        (gold, "DROP TABLE harvest"),
        (gold, "SELECT T1.kind FROM tree AS T1 LEFT JOIN harvest AS T2 ON 0"),
    ];
    let sensible = orchard.outcomes(&test_suite(Compatibility::Sensible), &pairs);
    assert_eq!(
        sensible,
        [
            Outcome::Refused,
            Outcome::UnknownTable,
            Outcome::Refused,
            Outcome::Correct,
            Outcome::Refused,
            Outcome::Correct,
        ]
    );
    let strict = orchard.outcomes(&test_suite(Compatibility::Strict), &pairs);
    assert_eq!(
        strict,
        [
            Outcome::WrongRowCount,
            Outcome::Correct,
            Outcome::WrongRowCount,
            Outcome::Correct,
            Outcome::WrongRowCount,
            Outcome::UnknownTable,
        ]
    );
    assert_eq!(orchard.files(), before);
    // The next file of predictions starts anew.
    assert_eq!(orchard.outcomes(&test_suite(Compatibility::Strict), &pairs), strict);
}

#[test]
fn a_schema_that_a_prediction_changed_is_the_one_to_parse_by_under_strict_compatibility() {
    let orchard = Orchard::new();
    let pairs = [
        ("SELECT kind FROM tree", "ALTER TABLE tree ADD COLUMN girth"),
        ("SELECT kind FROM tree", "SELECT girth FROM tree"),
    ];
    for (compatibility, parses) in [(Compatibility::Sensible, false), (Compatibility::Strict, true)]
    {
        let scores = orchard.scores(&test_suite(compatibility), &pairs);
        assert_eq!(scores[1].prediction_parses, parses, "{compatibility:?}");
    }
}

#[test]
fn an_inner_order_makes_the_order_count_under_strict_compatibility() {
    let orchard = Orchard::new();
    let gold =
        "SELECT height FROM tree WHERE tree_id IN (SELECT tree_id FROM harvest ORDER BY weight)";
    let prediction = "SELECT height FROM tree WHERE tree_id != 3 ORDER BY tree_id DESC";
    let outcomes = orchard.sensible_and_strict(gold, prediction);
    assert_eq!(outcomes, [Outcome::Correct, Outcome::WrongOrder]);
    // At the top level it counts for both.
    let gold = "SELECT height FROM tree WHERE tree_id != 3 ORDER BY tree_id";
    assert_eq!(orchard.sensible_and_strict(gold, prediction), [Outcome::WrongOrder; 2]);
}

#[test]
fn of_several_statements_the_first_is_run_under_strict_compatibility() {
    let orchard = Orchard::new();
    let (gold, prediction) = ("SELECT kind FROM tree", "SELECT kind FROM tree; SELECT 1");
    let outcomes = orchard.sensible_and_strict(gold, prediction);
    assert_eq!(outcomes, [Outcome::Refused, Outcome::Correct]);
    for compatibility in BOTH {
        let mut options = test_suite(compatibility);
        options.running.keep_distinct = true;
        let score = &orchard.scores(&options, &[(gold, prediction)])[0];
        assert_eq!(score.outcome, Some(Outcome::Refused));
        assert_eq!(
            score.error.as_deref(),
            Some("the SQL text holds more than one statement; exactly one is allowed")
        );
    }
}

#[test]
fn a_text_without_a_statement_has_an_empty_result_under_strict_compatibility() {
    let orchard = Orchard::new();
    let gold = "SELECT kind FROM tree WHERE height > 100";
    for prediction in ["-- nothing", ";"] {
        let outcomes = orchard.sensible_and_strict(gold, prediction);
        assert_eq!(outcomes, [Outcome::SyntaxError, Outcome::Correct], "{prediction}");
    }
    assert_eq!(
        orchard.sensible_and_strict("SELECT kind FROM tree", "-- nothing"),
        [Outcome::SyntaxError, Outcome::WrongRowCount]
    );
}

#[test]
fn the_first_script_compares_columns_by_name_under_strict_compatibility() {
    let orchard = Orchard::new();
    for (gold, prediction, strict) in [
        ("SELECT kind, height FROM tree", "SELECT height, kind FROM tree", Outcome::Correct),
        // Of one name the last column counts.
        (
            "SELECT min(height), max(height) FROM tree",
            "SELECT avg(height), max(height) FROM tree",
            Outcome::Correct,
        ),
        ("SELECT tree_id FROM tree", "SELECT harvest_id FROM harvest", Outcome::WrongValues),
        ("SELECT kind FROM tree", "SELECT kind FROM tree ORDER BY height", Outcome::WrongValues),
        // Outside of the grammar.
        ("SELECT kind FROM tree", "SELECT kind AS name FROM tree", Outcome::WrongValues),
    ] {
        let outcome =
            |compatibility| orchard.outcomes(&spider(compatibility), &[(gold, prediction)])[0];
        let sensible =
            if prediction.contains("avg") { Outcome::WrongValues } else { Outcome::Correct };
        assert_eq!(outcome(Compatibility::Sensible), sensible, "{prediction}");
        assert_eq!(outcome(Compatibility::Strict), strict, "{prediction}");
    }
    // A star stands for several columns.
    let star = "SELECT * FROM tree";
    let score = &orchard.scores(&spider(Compatibility::Strict), &[(star, star)])[0];
    assert_eq!((score.outcome, score.official_crash), (Some(Outcome::Correct), false));
}

#[test]
fn a_prediction_changes_what_the_gold_query_finds_under_strict_compatibility() {
    let orchard = Orchard::new();
    let before = orchard.files();
    let gold = "SELECT weight FROM harvest";
    let pairs = [(gold, "DELETE FROM harvest"), (gold, "SELECT 40"), (gold, gold)];
    let scores = |compatibility| -> Vec<(u8, Outcome)> {
        let scores = orchard.bird(compatibility, &pairs);
        scores.iter().map(|score| (score.ex, score.outcome)).collect()
    };
    assert_eq!(
        scores(Compatibility::Sensible),
        [(0, Outcome::Refused), (0, Outcome::WrongRowCount), (1, Outcome::Correct)]
    );
    assert_eq!(
        scores(Compatibility::Strict),
        [(1, Outcome::Correct), (0, Outcome::WrongRowCount), (1, Outcome::Correct)]
    );
    // The first script of Spider ends there.
    let pairs = [
        (gold, "DROP TABLE harvest"),
        (gold, gold),
        ("SELECT kind FROM tree", "SELECT kind FROM tree"),
    ];
    let sensible = orchard.scores(&spider(Compatibility::Sensible), &pairs);
    assert!(sensible.iter().all(|score| !score.official_crash));
    let outcomes: Vec<_> = sensible.iter().map(|score| score.outcome.unwrap()).collect();
    assert_eq!(outcomes, [Outcome::Refused, Outcome::Correct, Outcome::Correct]);
    let strict = orchard.scores(&spider(Compatibility::Strict), &pairs);
    let found: Vec<_> = strict
        .iter()
        .map(|score| (score.gold_parses, score.outcome.unwrap(), score.official_crash))
        .collect();
    assert_eq!(
        found,
        [
            (true, Outcome::GoldFailed, true),
            (false, Outcome::GoldFailed, true),
            (true, Outcome::Correct, false),
        ]
    );
    assert_eq!(orchard.files(), before);
}

#[test]
fn where_the_official_script_ends_the_question_scores_0_and_says_so() {
    let orchard = Orchard::new();
    let (gold, broken) = ("SELECT kind FROM tree", "SELECT girth FROM tree");
    for options in BOTH.into_iter().flat_map(|mode| [test_suite(mode), spider(mode)]) {
        let scores = orchard.scores(&options, &[(broken, gold), (gold, gold)]);
        let (failed, other) = (&scores[0], &scores[1]);
        assert!(failed.official_crash && !failed.gold_parses);
        assert_eq!((failed.exact_match, failed.execution), (Some(false), Some(false)));
        assert_eq!((failed.hardness, failed.partial), (None, None));
        assert_eq!(failed.outcome, Some(Outcome::GoldFailed));
        assert_eq!(failed.error.as_deref(), Some("no such column: girth"));
        assert!(!other.official_crash);
        assert_eq!((other.exact_match, other.execution), (Some(true), Some(true)));
        assert_eq!(Summary::of(&scores).failed_gold, 1);
    }
    // sqlparse does not follow so many brackets; SQLite does.
    let deep = format!("SELECT {}4{}", "(".repeat(120), ")".repeat(120));
    let pair = [("SELECT count(*) FROM tree", deep.as_str())];
    let strict = &orchard.scores(&test_suite(Compatibility::Strict), &pair)[0];
    assert_eq!((strict.outcome, strict.official_crash), (Some(Outcome::OtherError), true));
    assert!(strict.error.as_ref().unwrap().contains("nests deeper than the 100 levels"));
    let sensible = &orchard.scores(&test_suite(Compatibility::Sensible), &pair)[0];
    assert_eq!((sensible.outcome, sensible.official_crash), (Some(Outcome::Correct), false));
}

#[test]
fn other_files_and_all_of_the_memory_are_out_of_reach_under_either_compatibility() {
    let orchard = Orchard::new();
    let before = orchard.files();
    let other = orchard.folder().join("other.db").display().to_string();
    let attach = format!("ATTACH '{other}' AS other");
    let vacuum = format!("VACUUM INTO '{other}'");
    let gold = "SELECT kind FROM tree WHERE height > 100";
    for compatibility in BOTH {
        for prediction in [attach.as_str(), vacuum.as_str(), "SELECT load_extension('nothing')"] {
            let outcome = orchard.outcomes(&test_suite(compatibility), &[(gold, prediction)])[0];
            let expected =
                if compatibility.is_strict() { Outcome::OtherError } else { Outcome::Refused };
            assert_eq!(outcome, expected, "{prediction}");
            let score = &orchard.bird(compatibility, &[(gold, prediction)])[0];
            assert_eq!((score.ex, score.outcome), (0, expected), "{prediction}");
        }
        let huge =
            orchard.outcomes(&test_suite(compatibility), &[(gold, "SELECT zeroblob(1000000000)")]);
        assert_eq!(huge, [Outcome::TooLarge]);
    }
    assert_eq!(orchard.files(), before);
}

// What holds for both.

#[test]
fn predictions_that_write_leave_every_file_as_it_was() {
    let orchard = Orchard::new();
    orchard.add("orchard_2.sqlite", ORCHARD);
    let before = orchard.files();
    let predictions = [
        "DELETE FROM tree",
        "UPDATE tree SET kind = 'none'",
        "INSERT INTO tree VALUES (7, 'fig', 1.0)",
        "REPLACE INTO tree VALUES (1, 'fig', 1.0)",
        "WITH t AS (SELECT 1) DELETE FROM tree",
        "DROP TABLE harvest",
        "CREATE TABLE fig (a)",
        "CREATE INDEX tree_kind ON tree (kind)",
        "ALTER TABLE tree RENAME TO bush",
        "PRAGMA user_version = 7",
        "PRAGMA journal_mode = WAL",
        "BEGIN IMMEDIATE",
        "COMMIT",
        "VACUUM",
        "REINDEX",
        "ANALYZE",
        "SELECT kind FROM tree; DROP TABLE tree",
    ];
    let pairs = predictions.map(|prediction| ("SELECT kind FROM tree", prediction));
    for compatibility in BOTH {
        for options in [test_suite(compatibility), spider(compatibility)] {
            assert_eq!(orchard.scores(&options, &pairs).len(), pairs.len());
            assert_eq!(orchard.files(), before, "{options:?}");
        }
        assert_eq!(orchard.bird(compatibility, &pairs).len(), pairs.len());
        assert_eq!(orchard.files(), before, "BIRD, {compatibility:?}");
    }
}

#[test]
fn an_endless_prediction_times_out_and_the_others_are_scored() {
    let orchard = Orchard::new();
    let gold = "SELECT kind FROM tree";
    let pairs = [(gold, gold), (gold, ENDLESS), (gold, gold), (ENDLESS, gold)];
    for compatibility in BOTH {
        let start = Instant::now();
        let options = within(Duration::from_millis(300), compatibility);
        let scores = orchard.scores(&options, &pairs);
        assert!(start.elapsed() < Duration::from_secs(20));
        let outcomes: Vec<_> = scores.iter().map(|score| score.outcome.unwrap()).collect();
        assert_eq!(
            outcomes,
            [Outcome::Correct, Outcome::Timeout, Outcome::Correct, Outcome::GoldFailed]
        );
        assert_eq!(scores[1].error.as_deref(), Some("the statement was stopped after 0.3 s"));
        // One that returns row after row is wrong as soon as it has one too many.
        let rows =
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n";
        let score = &orchard.scores(&options, &[(gold, rows)])[0];
        assert_eq!(score.outcome, Some(Outcome::WrongRowCount));
        assert_eq!(score.gold_shape, Some(Shape { rows: 4, columns: 1 }));
        assert_eq!(score.prediction_shape, Some(Shape { rows: 5, columns: 1 }));

        let questions = pairs.map(|(gold, prediction)| BirdQuestion {
            database: "orchard".to_owned(),
            gold: gold.to_owned(),
            prediction: Some(prediction.to_owned()),
            difficulty: None,
        });
        let options = BirdOptions {
            timeout: Some(Duration::from_millis(300)),
            ..bird_options(compatibility)
        };
        let scores = bird::score(&questions, orchard.0.path(), &options, &Silent).unwrap();
        let outcomes: Vec<_> = scores.iter().map(|score| (score.ex, score.outcome)).collect();
        assert_eq!(
            outcomes,
            [
                (1, Outcome::Correct),
                (0, Outcome::Timeout),
                (1, Outcome::Correct),
                (0, Outcome::GoldFailed),
            ]
        );
    }
}

#[test]
fn outcomes_tell_what_was_wrong() {
    let orchard = Orchard::new();
    let gold = "SELECT kind FROM tree ORDER BY height";
    for (prediction, expected, message) in [
        (gold, Outcome::Correct, None),
        ("SELECT kind FROM tree ORDER BY height DESC", Outcome::WrongOrder, None),
        ("SELECT height FROM tree ORDER BY height", Outcome::WrongValues, None),
        ("SELECT DISTINCT kind FROM tree LIMIT 2", Outcome::WrongRowCount, None),
        ("SELECT kind, height FROM tree ORDER BY height", Outcome::WrongColumnCount, None),
        ("SELECT girth FROM tree", Outcome::UnknownColumn, Some("no such column: girth")),
        (
            "SELECT tree_id FROM tree JOIN harvest",
            Outcome::UnknownColumn,
            Some("ambiguous column name: tree_id"),
        ),
        ("SELECT kind FROM shrub", Outcome::UnknownTable, Some("no such table: shrub")),
        ("SELEC kind FROM tree", Outcome::SyntaxError, Some("near \"SELEC\": syntax error")),
        ("SELECT kind FROM", Outcome::SyntaxError, Some("incomplete input")),
        (
            "SELECT kind FROM tree WHERE kind = 'a",
            Outcome::SyntaxError,
            Some("unrecognized token: \"'a\""),
        ),
        ("SELECT first(kind) FROM tree", Outcome::OtherError, Some("no such function: first")),
    ] {
        for compatibility in BOTH {
            let score = &orchard.scores(&test_suite(compatibility), &[(gold, prediction)])[0];
            assert_eq!(score.outcome, Some(expected), "{prediction}");
            assert_eq!(score.error.as_deref(), message, "{prediction}");
        }
    }
}

#[test]
fn a_test_suite_needs_the_same_result_on_every_database() {
    let orchard = Orchard::new();
    let gold = "SELECT kind FROM tree WHERE height > 3";
    let pairs = [
        (gold, "SELECT kind FROM tree WHERE height >= 3"),
        (gold, "SELECT kind FROM tree WHERE NOT height <= 3"),
    ];
    for compatibility in BOTH {
        let outcomes = orchard.outcomes(&test_suite(compatibility), &pairs);
        assert_eq!(outcomes, [Outcome::Correct, Outcome::Correct]);
    }
    orchard.add("orchard_2.sqlite", ORCHARD);
    orchard.add("orchard_3.sqlite", &format!("{ORCHARD} INSERT INTO tree VALUES (9, 'fig', 3.0);"));
    // Not a database of the suite.
    fs::write(orchard.folder().join("notes.txt"), "no database").unwrap();
    for compatibility in BOTH {
        let scores = orchard.scores(&test_suite(compatibility), &pairs);
        assert_eq!(scores[0].outcome, Some(Outcome::WrongRowCount));
        assert_eq!(scores[0].gold_shape, Some(Shape { rows: 3, columns: 1 }));
        assert_eq!(scores[0].prediction_shape, Some(Shape { rows: 4, columns: 1 }));
        assert_eq!(scores[1].outcome, Some(Outcome::Correct));
    }
    // The first script knows one database only.
    assert_eq!(orchard.outcomes(&spider(Compatibility::Strict), &pairs)[0], Outcome::Correct);
    assert_eq!(
        orchard.outcomes(&spider(Compatibility::Sensible), &pairs)[0],
        Outcome::WrongRowCount
    );
    // A gold query has to run on all of them.
    orchard.add("orchard_4.sqlite", "CREATE TABLE other (a)");
    let score = &orchard.scores(&test_suite(Compatibility::Sensible), &pairs)[1];
    assert_eq!((score.outcome, score.official_crash), (Some(Outcome::GoldFailed), true));
    assert_eq!(score.error.as_deref(), Some("no such table: tree"));
}

#[test]
fn distinct_and_values_count_only_where_they_are_asked_for() {
    let orchard = Orchard::new();
    let distinct = [("SELECT DISTINCT kind FROM tree", "SELECT kind FROM tree")];
    let values =
        [("SELECT kind FROM tree WHERE height > 3.7", "SELECT kind FROM tree WHERE height > 100")];
    for compatibility in BOTH {
        let mut options = test_suite(compatibility);
        assert_eq!(orchard.outcomes(&options, &distinct), [Outcome::Correct]);
        assert_eq!(orchard.outcomes(&options, &values), [Outcome::WrongRowCount]);
        options.running.keep_distinct = true;
        options.running.plug_values = true;
        assert_eq!(orchard.outcomes(&options, &distinct), [Outcome::WrongRowCount]);
        assert_eq!(orchard.outcomes(&options, &values), [Outcome::Correct]);
    }
}

#[test]
fn text_that_is_not_utf8_is_read_as_each_official_script_reads_it() {
    let orchard = Orchard::of(
        "CREATE TABLE tree (kind TEXT); INSERT INTO tree VALUES (CAST(x'6669ff67' AS TEXT)); \
         CREATE TABLE label (kind TEXT); INSERT INTO label VALUES ('fig');",
    );
    let databases = Databases { tables: None, ..orchard.databases() };
    let score = |options: &ScoringOptions, gold: &str, prediction: &str| {
        let gold = [vec![gold_of(gold)]];
        score_with(&databases, options, &gold, &[vec![prediction.to_owned()]]).unwrap().remove(0)
    };
    let (damaged, whole) = ("SELECT kind FROM tree", "SELECT kind FROM label");
    // The test-suite script leaves bad bytes out.
    for compatibility in BOTH {
        assert_eq!(
            score(&test_suite(compatibility), damaged, whole).outcome,
            Some(Outcome::Correct)
        );
        assert_eq!(
            score(&test_suite(compatibility), whole, damaged).outcome,
            Some(Outcome::Correct)
        );
    }
    // The others fail on them.
    let refused = Some("the result holds text that is not UTF-8");
    let spider = |compatibility, gold: &str, prediction: &str| {
        let score = score(&spider(compatibility), gold, prediction);
        (score.outcome.unwrap(), score.error)
    };
    let bird = |compatibility, gold, prediction| {
        let score = orchard.bird(compatibility, &[(gold, prediction)]).remove(0);
        (score.outcome, score.error)
    };
    for (gold, prediction, expected) in
        [(damaged, whole, Outcome::GoldFailed), (whole, damaged, Outcome::OtherError)]
    {
        let strict = [
            spider(Compatibility::Strict, gold, prediction),
            bird(Compatibility::Strict, gold, prediction),
        ];
        for (outcome, error) in strict {
            assert_eq!((outcome, error.as_deref()), (expected, refused));
        }
        let correct = (Outcome::Correct, None);
        assert_eq!(spider(Compatibility::Sensible, gold, prediction), correct);
        assert_eq!(bird(Compatibility::Sensible, gold, prediction), correct);
    }
}

// Files and what is wrong with them.

#[test]
fn a_missing_database_is_an_error() {
    let orchard = Orchard::new();
    let folder = orchard.0.path();
    let gold = |database: &str| {
        [vec![Gold { sql: "SELECT kind FROM tree".to_owned(), database: database.to_owned() }]]
    };
    let predictions = [vec!["SELECT 1".to_owned()]];
    let databases = Databases { tables: None, ..orchard.databases() };
    for (name, file) in [
        ("meadow", folder.join("meadow").join("meadow.sqlite")),
        // A name may not lead elsewhere.
        ("../orchard", folder.join("../orchard").join("../orchard.sqlite")),
    ] {
        for options in BOTH.into_iter().flat_map(|mode| [test_suite(mode), spider(mode)]) {
            let error = score_with(&databases, &options, &gold(name), &predictions).unwrap_err();
            if options.variant == ExactMatchVariant::TestSuite || name == "meadow" {
                assert!(matches!(&error, Error::NoDatabase { .. } | Error::Sql(_)), "{error:?}");
            }
            if let Error::NoDatabase { database, .. } = &error {
                assert_eq!(database, name);
                assert_eq!(
                    error.to_string(),
                    format!(
                        "there is no database file for `{name}`: {} is missing",
                        file.display()
                    )
                );
            }
        }
        for compatibility in BOTH {
            let question = BirdQuestion {
                database: name.to_owned(),
                gold: "SELECT 1".to_owned(),
                prediction: None,
                difficulty: None,
            };
            let options = bird_options(compatibility);
            let error = bird::score(&[question], folder, &options, &Silent).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("there is no database file for `{name}`: {} is missing", file.display())
            );
        }
    }
    // An empty folder is none, either.
    fs::create_dir(folder.join("meadow")).unwrap();
    let options = test_suite(Compatibility::Sensible);
    let error = score_with(&databases, &options, &gold("meadow"), &predictions).unwrap_err();
    assert!(matches!(error, Error::NoDatabase { .. }), "{error:?}");
}

#[test]
fn exact_match_alone_needs_no_database_where_tables_json_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut databases = Databases {
        folder: folder.path().to_owned(),
        tables: Some(("tables.json".into(), vec![tables_entry()])),
    };
    let options = ScoringOptions { execution: false, ..test_suite(Compatibility::Sensible) };
    let gold = [vec![gold_of(
        "SELECT T1.kind FROM tree AS T1 JOIN harvest AS T2 ON T1.tree_id = T2.tree_id",
    )]];
    let predictions =
        [vec!["SELECT kind FROM harvest JOIN tree ON tree.tree_id = harvest.tree_id".to_owned()]];
    let scores = score_with(&databases, &options, &gold, &predictions).unwrap();
    assert_eq!((scores[0].exact_match, scores[0].execution), (Some(true), None));
    assert_eq!((scores[0].structural_match, scores[0].outcome), (Some(true), None));
    databases.tables = None;
    let error = score_with(&databases, &options, &gold, &predictions).unwrap_err();
    assert!(matches!(error, Error::NoDatabase { .. }), "{error:?}");
}

#[test]
fn a_database_that_tables_json_lacks_is_an_error() {
    let orchard = Orchard::new();
    let path = orchard.write("tables.json", "[]");
    let databases = Databases {
        tables: Some((path.clone(), TablesEntry::read_all(&path).unwrap())),
        ..orchard.databases()
    };
    let error = score_with(
        &databases,
        &test_suite(Compatibility::Sensible),
        &[vec![gold_of("SELECT kind FROM tree")]],
        &[vec!["SELECT 1".to_owned()]],
    )
    .unwrap_err();
    assert!(matches!(error, Error::NoTablesEntry { .. }));
    assert_eq!(
        error.to_string(),
        format!("{} has no entry for the database `orchard`", path.display())
    );
    let path = orchard.write("tables.json", "{\"db_id\": \"orchard\"}");
    let error = TablesEntry::read_all(&path).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot read {} as JSON of the expected shape", path.display())
    );
}

#[test]
fn a_database_that_is_none_is_an_error() {
    let orchard = Orchard::new();
    let path = orchard.folder().join("orchard.sqlite");
    fs::write(&path, "kind,height\n".repeat(400)).unwrap();
    let error = score_with(
        &orchard.databases(),
        &test_suite(Compatibility::Strict),
        &[vec![gold_of("SELECT kind FROM tree")]],
        &[vec!["SELECT 1".to_owned()]],
    )
    .unwrap_err();
    assert!(matches!(error, Error::Sql(coderag_sql::Error::NotADatabase { .. })), "{error:?}");
    assert!(error.to_string().contains("orchard.sqlite is not a SQLite database"), "{error}");
}

#[test]
fn blank_lines_in_other_places_are_an_error_of_their_own() {
    let orchard = Orchard::new();
    let gold_path = orchard.write("gold.txt", "SELECT 1\torchard\nSELECT 2\torchard\n");
    let gold = read_gold(&gold_path).unwrap();
    let path = orchard.write("predictions.txt", "SELECT 1\n\nSELECT 2\n");
    let predictions = read_predictions(&path).unwrap();
    let error = score(
        (&gold_path, &gold),
        (&path, &predictions),
        &orchard.databases(),
        &test_suite(Compatibility::Sensible),
        &Silent,
    )
    .unwrap_err();
    assert!(matches!(error, Error::InteractionsDiffer { interaction: 1, .. }), "{error}");
    assert!(error.to_string().contains("write `-` for an empty answer"), "{error}");
}

#[test]
fn a_result_that_is_too_large_is_no_result() {
    let orchard = Orchard::new();
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                   SELECT i, printf('%.*c', 20000, 'x') FROM n";
    let right = "SELECT kind FROM tree";
    for compatibility in BOTH {
        let outcomes =
            orchard.outcomes(&test_suite(compatibility), &[(right, endless), (right, right)]);
        // More rows than the gold query's are not even read.
        assert_eq!(outcomes, [Outcome::WrongRowCount, Outcome::Correct]);
        let gold = orchard.write("gold.sql", format!("{right}\torchard\n"));
        let file = serde_json::json!({"0": endless}).to_string();
        let predictions = orchard.write("predictions.json", file);
        let questions = read_questions(&gold, &predictions, None, compatibility).unwrap();
        let scores =
            bird::score(&questions, orchard.0.path(), &bird_options(compatibility), &Silent)
                .unwrap();
        assert_eq!(scores[0].outcome, Outcome::TooLarge, "{:?}", scores[0].error);
    }
}

#[test]
fn distinct_in_a_comparison_stays() {
    let orchard = Orchard::new();
    let sql = "SELECT DISTINCT kind FROM tree WHERE height IS NOT DISTINCT FROM height";
    assert_eq!(
        orchard.outcomes(&test_suite(Compatibility::Sensible), &[(sql, sql)]),
        [Outcome::Correct]
    );
}

#[test]
fn what_a_pragma_sets_does_not_reach_other_questions() {
    let orchard = Orchard::new();
    let right = "SELECT kind FROM tree";
    let pairs =
        [(right, "PRAGMA hard_heap_limit=1"), (right, "PRAGMA soft_heap_limit=1"), (right, right)];
    let outcomes = orchard.outcomes(&test_suite(Compatibility::Strict), &pairs);
    assert_eq!(outcomes[2], Outcome::Correct, "{outcomes:?}");
}

#[test]
fn unequal_counts_are_an_error() {
    let orchard = Orchard::new();
    let gold_path = orchard.write("gold.txt", "SELECT 1\torchard\nSELECT 2\torchard\n");
    let gold = read_gold(&gold_path).unwrap();
    for (content, count) in [("SELECT 1\n", 1), ("", 0), ("a\nb\nc\n", 3)] {
        let path = orchard.write("predictions.txt", content);
        let predictions = read_predictions(&path).unwrap();
        let error = score(
            (&gold_path, &gold),
            (&path, &predictions),
            &orchard.databases(),
            &test_suite(Compatibility::Sensible),
            &Silent,
        )
        .unwrap_err();
        assert!(matches!(error, Error::CountsDiffer { .. }));
        assert_eq!(
            error.to_string(),
            format!(
                "{} has 2 questions and {} has {count} entries; they must be equal in number and order",
                gold_path.display(),
                path.display()
            )
        );
    }
}

#[test]
fn files_are_read_as_the_official_scripts_read_them() {
    let orchard = Orchard::new();
    let path = orchard
        .write("predictions.txt", "SELECT 1\tignored\r\n  SELECT 2  \n \t \nSELECT \u{fffd}3");
    let predictions = read_predictions(&path).unwrap();
    assert_eq!(predictions, [vec!["SELECT 1", "SELECT 2"], vec!["SELECT \u{fffd}3"]]);
    let path = orchard.write("gold.txt", "SELECT 1\torchard\n\nSELECT 2 orchard\n");
    let error = read_gold(&path).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{}:3: expected a query, a tab and a database, found 1 fields", path.display())
    );
    let absent = orchard.0.path().join("absent.txt");
    for error in [read_gold(&absent).unwrap_err(), read_predictions(&absent).unwrap_err()] {
        assert_eq!(error.to_string(), format!("cannot read {}", absent.display()));
    }
}

// Interactions and the official tables.

const INTERACTIONS: [&[(&str, &str)]; 3] = [
    &[
        ("SELECT count(*) FROM tree", "SELECT count(*) FROM tree"),
        ("SELECT kind FROM tree WHERE height > 3", "SELECT kind FROM tree WHERE height >= 3"),
        (
            "SELECT kind, count(*) FROM tree GROUP BY kind",
            "SELECT kind, count(*) FROM tree GROUP BY kind",
        ),
        ("SELECT kind FROM tree GROUP BY kind HAVING count(*) > 1", "SELECT kind FROM tree"),
        (
            "SELECT kind FROM tree ORDER BY height DESC LIMIT 1",
            "SELECT kind FROM tree ORDER BY height ASC LIMIT 1",
        ),
        ("SELECT max(height) FROM tree", "SELECT max(height) FROM tree"),
    ],
    &[
        (
            "SELECT T1.kind FROM tree AS T1 JOIN harvest AS T2 ON T1.tree_id = T2.tree_id WHERE T2.weight > 30 OR T1.height < 3",
            "SELECT T1.kind FROM tree AS T1 JOIN harvest AS T2 ON T1.tree_id = T2.tree_id WHERE T2.weight > 30 OR T1.height < 3",
        ),
        (
            "SELECT kind FROM tree WHERE tree_id NOT IN (SELECT tree_id FROM harvest)",
            "SELECT kind FROM tree WHERE tree_id NOT IN (SELECT tree_id FROM harvest)",
        ),
    ],
    &[
        (
            "SELECT kind FROM tree EXCEPT SELECT T1.kind FROM tree AS T1 JOIN harvest AS T2 ON T1.tree_id = T2.tree_id WHERE T2.weight > 30",
            "SELECT kind FROM tree EXCEPT SELECT kind FROM tree WHERE height > 3",
        ),
        ("SELECT avg(weight) FROM harvest", "SELECT avg(weight) AS mean FROM harvest"),
        ("SELECT kind, height FROM tree WHERE height BETWEEN 2 AND 4", "this is no query"),
    ],
];

/// The scores of the interactions, from files in which blank lines separate them.
fn interactions(options: &ScoringOptions) -> Vec<QuestionScore> {
    let orchard = Orchard::new();
    let file = |name: &str, line: fn(&(&str, &str)) -> String| {
        let texts = INTERACTIONS.map(|pairs| pairs.iter().map(line).collect::<String>());
        orchard.write(name, texts.join("\n"))
    };
    let gold_path = file("gold.txt", |(gold, _)| format!("{gold}\torchard\n"));
    let prediction_path = file("predictions.txt", |(_, prediction)| format!("{prediction}\n"));
    let gold = read_gold(&gold_path).unwrap();
    let predictions = read_predictions(&prediction_path).unwrap();
    let databases = orchard.databases();
    score((&gold_path, &gold), (&prediction_path, &predictions), &databases, options, &Silent)
        .unwrap()
}

#[test]
fn blank_lines_separate_interactions_which_have_scores_of_their_own() {
    let scores = interactions(&test_suite(Compatibility::Sensible));
    let places: Vec<_> = scores.iter().map(|score| (score.interaction, score.turn)).collect();
    assert_eq!(
        places,
        [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)]
    );
    let summary = Summary::of(&scores);
    let (name, joint) = summary.levels.last().unwrap();
    assert_eq!((name.as_str(), joint.count), ("joint_all", 3));
    // Only the second one is right from beginning to end.
    assert_eq!((joint.execution, joint.exact_match), (Some(1.0 / 3.0), Some(1.0 / 3.0)));
    let turns: Vec<_> =
        summary.turns.iter().map(|(name, scores)| (name.as_str(), scores.count)).collect();
    assert_eq!(
        turns,
        [("turn 1", 3), ("turn 2", 3), ("turn 3", 2), ("turn 4", 1), ("turn > 4", 2)]
    );
    // Without blank lines there is nothing of the kind.
    let orchard = Orchard::new();
    let scores = orchard.scores(&test_suite(Compatibility::Sensible), INTERACTIONS[0]);
    let summary = Summary::of(&scores);
    assert!(summary.turns.is_empty());
    assert_eq!(summary.levels.last().unwrap().0, "all");
}

/// Printed by the script `evaluation.py` of taoyds/test-suite-sql-eval (commit e97acc5) with `--etype all`
/// for [`INTERACTIONS`] on [`ORCHARD`]; what it prints for each question before is left out. The bar at the
/// end of each line stands behind its last space.
const OFFICIAL_TABLE: &str = "                     easy                 medium               hard                 extra                all                  joint_all           |
count                5                    3                    3                    0                    11                   3                   |
=====================   EXECUTION ACCURACY     =====================|
execution            0.800                0.333                0.667                0.000                0.636                0.333               |
|
====================== EXACT MATCHING ACCURACY =====================|
exact match          0.400                0.333                0.667                0.000                0.455                0.333               |
|
---------------------PARTIAL MATCHING ACCURACY----------------------|
select               1.000                1.000                1.000                0.000                1.000                0.000               |
select(no AGG)       1.000                1.000                1.000                0.000                1.000                0.000               |
where                0.000                0.000                1.000                0.000                0.667                0.000               |
where(no OP)         1.000                0.000                1.000                0.000                1.000                0.000               |
group(no Having)     0.000                1.000                0.000                0.000                1.000                0.000               |
group                0.000                1.000                0.000                0.000                1.000                0.000               |
order                0.000                0.000                0.000                0.000                0.000                0.000               |
and/or               1.000                1.000                1.000                0.000                1.000                0.000               |
IUEN                 0.000                0.000                0.000                0.000                0.000                0.000               |
keywords             1.000                0.500                1.000                0.000                0.833                0.000               |
---------------------- PARTIAL MATCHING RECALL ----------------------|
select               0.800                0.667                1.000                0.000                0.818                0.000               |
select(no AGG)       0.800                0.667                1.000                0.000                0.818                0.000               |
where                0.000                0.000                1.000                0.000                0.500                0.000               |
where(no OP)         1.000                0.000                1.000                0.000                0.750                0.000               |
group(no Having)     0.000                1.000                0.000                0.000                0.500                0.000               |
group                0.000                1.000                0.000                0.000                0.500                0.000               |
order                0.000                0.000                0.000                0.000                0.000                0.000               |
and/or               1.000                1.000                1.000                0.000                1.000                0.000               |
IUEN                 0.000                0.000                0.000                0.000                0.000                0.000               |
keywords             0.500                0.333                1.000                0.000                0.625                0.000               |
---------------------- PARTIAL MATCHING F1 --------------------------|
select               0.889                0.800                1.000                0.000                0.900                1.000               |
select(no AGG)       0.889                0.800                1.000                0.000                0.900                1.000               |
where                1.000                1.000                1.000                0.000                0.571                1.000               |
where(no OP)         1.000                1.000                1.000                0.000                0.857                1.000               |
group(no Having)     1.000                1.000                1.000                0.000                0.667                1.000               |
group                1.000                1.000                1.000                0.000                0.667                1.000               |
order                1.000                1.000                1.000                0.000                1.000                1.000               |
and/or               1.000                1.000                1.000                0.000                1.000                1.000               |
IUEN                 1.000                1.000                1.000                0.000                1.000                1.000               |
keywords             0.667                0.400                1.000                0.000                0.714                1.000               |
|
|
                     turn 1               turn 2               turn 3               turn 4               turn > 4            |
count                3                    3                    2                    1                    2                   |
=====================   TURN EXECUTION ACCURACY     =====================|
execution            0.667                1.000                0.500                0.000                0.500               |
|
====================== TURN EXACT MATCHING ACCURACY =====================|
exact match          0.667                0.333                0.500                0.000                0.500               |
";

/// As [`OFFICIAL_TABLE`], with `--etype exec`.
const OFFICIAL_EXECUTION_TABLE: &str = "                     easy                 medium               hard                 extra                all                  joint_all           |
count                5                    3                    3                    0                    11                   3                   |
=====================   EXECUTION ACCURACY     =====================|
execution            0.800                0.333                0.667                0.000                0.636                0.333               |
|
|
                     turn 1               turn 2               turn 3               turn 4               turn > 4            |
count                3                    3                    2                    1                    2                   |
=====================   TURN EXECUTION ACCURACY     =====================|
execution            0.667                1.000                0.500                0.000                0.500               |
";

#[test]
fn a_summary_begins_with_the_table_of_the_official_script() {
    let barred = |scores: &[QuestionScore]| Summary::of(scores).to_string().replace('\n', "|\n");
    let execution =
        |compatibility| ScoringOptions { exact_match: false, ..test_suite(compatibility) };
    for compatibility in BOTH {
        for (options, table) in [
            (test_suite(compatibility), OFFICIAL_TABLE),
            (execution(compatibility), OFFICIAL_EXECUTION_TABLE),
        ] {
            let ours = barred(&interactions(&options));
            let (begins, rest) = ours.split_at(table.len().min(ours.len()));
            assert_eq!(begins, table, "\n{ours}");
            assert!(
                rest.starts_with("|\n====================== BEYOND THE OFFICIAL SCORES"),
                "{rest}"
            );
        }
    }
}

// BIRD's files.

/// The questions and their scores for a file of predictions, with the same gold query throughout.
fn bird_file(
    orchard: &Orchard,
    predictions: &str,
    questions: usize,
    compatibility: Compatibility,
) -> Vec<(Option<String>, u8, Outcome)> {
    let gold = "SELECT kind FROM tree WHERE height > 100\torchard\n".repeat(questions);
    let gold = orchard.write("gold.sql", gold);
    let predictions = orchard.write("predictions.json", predictions);
    let questions = read_questions(&gold, &predictions, None, compatibility).unwrap();
    let scores =
        bird::score(&questions, orchard.0.path(), &bird_options(compatibility), &Silent).unwrap();
    let texts = questions.into_iter().map(|question| question.prediction);
    texts.zip(scores).map(|(text, score)| (text, score.ex, score.outcome)).collect()
}

#[test]
fn odd_values_of_birds_predictions_run_as_a_space_under_strict_compatibility() {
    let orchard = Orchard::new();
    let right = "SELECT kind FROM tree WHERE height = 9";
    let file = format!(
        r#"{{
            "0": "{right}\t----- bird -----\torchard",
            "1": null,
            "2": 7,
            "3": ["{right}"],
            "4": "  {right} \n",
            "5": "{right}\t----- bird -----\torchard\t----- bird -----\torchard",
            "6": ""
        }}"#
    );
    let text = |text: &str| Some(text.to_owned());
    let twice = format!("{right}\t----- bird -----\torchard\t----- bird -----\torchard");
    let absent = (None, 0, Outcome::Missing);
    assert_eq!(
        bird_file(&orchard, &file, 7, Compatibility::Sensible),
        [
            (text(right), 1, Outcome::Correct),
            absent.clone(),
            absent.clone(),
            absent,
            (text(right), 1, Outcome::Correct),
            (text(&twice), 1, Outcome::Correct),
            (text(""), 0, Outcome::SyntaxError),
        ]
    );
    // An empty result, which here is right. What follows two hyphens is a comment.
    let space = (text(" "), 1, Outcome::Correct);
    assert_eq!(
        bird_file(&orchard, &file, 7, Compatibility::Strict),
        [
            (text(right), 1, Outcome::Correct),
            space.clone(),
            space.clone(),
            space,
            (text(right), 1, Outcome::Correct),
            (text(&twice), 1, Outcome::Correct),
            (text(""), 1, Outcome::Correct),
        ]
    );
}

#[test]
fn birds_predictions_belong_to_questions_by_key_or_strictly_by_order() {
    let orchard = Orchard::new();
    let (right, wrong) = ("SELECT 1 FROM tree WHERE 0", "SELECT 1");
    let file = format!(r#"{{"2": "{right}", "0": "{wrong}"}}"#);
    let found = |compatibility| -> Vec<(Option<String>, u8)> {
        let found = bird_file(&orchard, &file, 3, compatibility);
        found.into_iter().map(|(text, ex, _)| (text, ex)).collect()
    };
    let (right, wrong) = ((Some(right.to_owned()), 1), (Some(wrong.to_owned()), 0));
    assert_eq!(found(Compatibility::Sensible), [wrong.clone(), (None, 0), right.clone()]);
    assert_eq!(found(Compatibility::Strict), [right, wrong, (None, 0)]);
    let score = &orchard.bird(Compatibility::Sensible, &[("SELECT 1", "")])[0];
    assert_eq!(score.error.as_deref(), Some("the SQL text holds no statement"));
}

#[test]
fn birds_files_that_cannot_be_read_are_errors() {
    let orchard = Orchard::new();
    let gold = orchard.write("gold.sql", "SELECT 1\torchard\nSELECT 2\torchard\n");
    let predictions = orchard.write("predictions.json", r#"{"0": "SELECT 1", "1": "SELECT 2"}"#);
    let rated = orchard.write(
        "difficulties.jsonl",
        "{\"difficulty\": \"simple\", \"question_id\": 3}\n{\"difficulty\": \"challenging\"}\n",
    );
    let read = |gold: &Path, predictions: &Path, rated: &Path| {
        read_questions(gold, predictions, Some(rated), Compatibility::Sensible)
    };
    let questions = read(&gold, &predictions, &rated).unwrap();
    let levels: Vec<_> = questions.iter().map(|question| question.difficulty).collect();
    assert_eq!(levels, [Some(Difficulty::Simple), Some(Difficulty::Challenging)]);

    let list = orchard.write("list.json", "[\"SELECT 1\"]");
    assert_eq!(
        read(&gold, &list, &rated).unwrap_err().to_string(),
        format!("cannot read {} as JSON of the expected shape", list.display())
    );
    let untabbed = orchard.write("untabbed.sql", "SELECT 1\torchard\nSELECT 2\n");
    assert_eq!(
        read(&untabbed, &predictions, &rated).unwrap_err().to_string(),
        format!("{}:2: expected a query, a tab and a database, found 1 fields", untabbed.display())
    );
    let unrated =
        orchard.write("unrated.jsonl", "{\"difficulty\": \"simple\"}\n{\"difficulty\": \"odd\"}\n");
    let error = read(&gold, &predictions, &unrated).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("{}:2: unknown variant `odd`", unrated.display())),
        "{error}"
    );
}
