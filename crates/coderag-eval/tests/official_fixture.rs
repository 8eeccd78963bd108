//! What the official scorers say of mutated predictions on the project's demo database, as
//! `scripts/official_scorers/fixture.py` wrote it down, against ours.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use coderag_core::Silent;
use coderag_eval::bird::{BirdOptions, BirdSummary, read_questions, reward};
use coderag_eval::execution::ExecutionOptions;
use coderag_eval::files::{read_gold, read_predictions};
use coderag_eval::scoring::{Databases, QuestionScore, ScoringOptions, score};
use coderag_eval::spider::{ExactMatchVariant, TablesEntry};
use coderag_eval::{Compatibility, Outcome, bird};
use rusqlite::Connection;
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

const NAME: &str = "bicycle_rental";

#[derive(Deserialize)]
struct Fixture {
    tables: TablesEntry,
    gold: Vec<String>,
    /// The number of the gold query, the prediction, and the kinds of mutation.
    predictions: Vec<(usize, String, Vec<String>)>,
    /// The score and the totals of label and prediction of each component.
    partials: Vec<Vec<usize>>,
    runs: Vec<Run>,
    bird: Bird,
}

#[derive(Deserialize)]
struct Run {
    variant: String,
    keep_distinct: bool,
    plug_value: bool,
    /// None where all predictions were run.
    predictions: Option<Vec<usize>>,
    answers: Vec<Answer>,
}

/// Hardness, whether the prediction parses, exact match, execution, the number of the partial scores, and
/// whether the official script crashes; what a crash left unknown is none.
#[derive(Deserialize)]
struct Answer(Option<String>, Option<u8>, Option<u8>, Option<u8>, Option<usize>, u8);

#[derive(Deserialize)]
struct Bird {
    values: BTreeMap<usize, Value>,
    difficulties: Vec<String>,
    /// EX and Soft-F1.
    answers: Vec<(u8, f64)>,
    rewards: Vec<Reward>,
    figures: BTreeMap<String, Figures>,
}

#[derive(Deserialize)]
struct Reward {
    gold_seconds: Vec<f64>,
    predicted_seconds: Vec<f64>,
    reward: f64,
}

#[derive(Deserialize)]
struct Figures {
    figures: Vec<f64>,
    counts: Vec<usize>,
}

impl Fixture {
    fn read() -> Self {
        serde_json::from_str(include_str!("fixture/official.json")).unwrap()
    }

    /// Writes gold queries and predictions as the official files are.
    fn write(&self, numbers: &[usize], folder: &Path) -> (PathBuf, PathBuf) {
        let (mut gold, mut predictions) = (String::new(), String::new());
        for number in numbers {
            let (question, prediction, _) = &self.predictions[*number];
            writeln!(gold, "{}\t{NAME}", self.gold[*question]).unwrap();
            writeln!(predictions, "{prediction}").unwrap();
        }
        let paths = (folder.join("gold.txt"), folder.join("predictions.txt"));
        fs::write(&paths.0, gold).unwrap();
        fs::write(&paths.1, predictions).unwrap();
        paths
    }
}

/// A folder with the demo database.
fn demo() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(NAME).join(format!("{NAME}.sqlite"));
    fs::create_dir(path.parent().unwrap()).unwrap();
    let connection = Connection::open(path).unwrap();
    connection.pragma_update(None, "synchronous", "OFF").unwrap();
    connection.execute_batch(include_str!("../../../eval/demo/bicycle_rental.sql")).unwrap();
    folder
}

/// Our scores of a run's predictions, in strict compatibility.
fn scores(fixture: &Fixture, run: &Run, folder: &Path) -> Vec<QuestionScore> {
    let all: Vec<usize> = (0..fixture.predictions.len()).collect();
    let (gold, predictions) = fixture.write(run.predictions.as_ref().unwrap_or(&all), folder);
    let databases = Databases {
        folder: folder.to_owned(),
        tables: Some(("tables.json".into(), vec![fixture.tables.clone()])),
    };
    let options = ScoringOptions {
        variant: match run.variant.as_str() {
            "spider" => ExactMatchVariant::Spider,
            "test-suite" => ExactMatchVariant::TestSuite,
            other => panic!("no script is called {other}"),
        },
        exact_match: true,
        execution: true,
        running: ExecutionOptions {
            compatibility: Compatibility::Strict,
            keep_distinct: run.keep_distinct,
            plug_values: run.plug_value,
            timeout: None,
        },
        threads: 2,
    };
    let gold_queries = read_gold(&gold).unwrap();
    let predicted = read_predictions(&predictions).unwrap();
    score((&gold, &gold_queries), (&predictions, &predicted), &databases, &options, &Silent)
        .unwrap()
}

/// The fields in which ours differ from the official answer.
fn differences(answer: &Answer, partials: &[Vec<usize>], ours: &QuestionScore) -> Vec<String> {
    let Answer(hardness, parses, exact, execution, partial, crash) = answer;
    let mut found = Vec::new();
    let mut compare = |field: &str, official: String, ours: String| {
        if official != ours {
            found.push(format!("{field}: official {official}, ours {ours}"));
        }
    };
    let level = ours.hardness.map(|hardness| hardness.to_string());
    compare("hardness", format!("{hardness:?}"), format!("{level:?}"));
    compare("gold parses", hardness.is_some().to_string(), ours.gold_parses.to_string());
    compare("crash", (*crash == 1).to_string(), ours.official_crash.to_string());
    if let Some(parses) = parses {
        compare(
            "prediction parses",
            (*parses == 1).to_string(),
            ours.prediction_parses.to_string(),
        );
    }
    for (field, official, ours) in
        [("exact match", exact, ours.exact_match), ("execution", execution, ours.execution)]
    {
        if let Some(official) = official {
            compare(field, format!("{:?}", Some(*official == 1)), format!("{ours:?}"));
        }
    }
    if let Some(partial) = partial {
        let ours: Vec<usize> = (ours.partial.iter().flat_map(|partial| partial.0))
            .flat_map(|score| [usize::from(score.score), score.label_total, score.prediction_total])
            .collect();
        compare("partial", format!("{:?}", partials[*partial]), format!("{ours:?}"));
    }
    found
}

#[test]
fn every_answer_is_that_of_the_official_spider_scripts() {
    let fixture = Fixture::read();
    assert_eq!(fixture.runs.len(), 4);
    let folder = demo();
    let mut wrong = String::new();
    for run in &fixture.runs {
        let ours = scores(&fixture, run, folder.path());
        assert_eq!(ours.len(), run.answers.len());
        for (answer, ours) in run.answers.iter().zip(&ours) {
            let found = differences(answer, &fixture.partials, ours);
            if !found.is_empty() {
                let (variant, keep, plug) = (&run.variant, run.keep_distinct, run.plug_value);
                writeln!(
                    wrong,
                    "{variant} (keep_distinct {keep}, plug_value {plug}) {}: {found:?}\n  gold {}\n  prediction {:?}",
                    ours.index, ours.gold, ours.prediction
                )
                .unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Without these, the test above could pass on a fixture in which nothing happens.
#[test]
fn the_fixture_has_every_kind_of_case() {
    let fixture = Fixture::read();
    let kinds: BTreeSet<&str> =
        fixture.predictions.iter().flat_map(|(_, _, kinds)| kinds).map(String::as_str).collect();
    assert!(kinds.len() >= 120, "{} kinds", kinds.len());
    let at_least = |what: &str, least: usize, count: usize| {
        assert!(count >= least, "{what}: {count}, at least {least} are needed");
    };
    at_least("predictions", 400, fixture.predictions.len());
    at_least("gold queries", 40, fixture.gold.len());
    at_least("partial scores", 100, fixture.partials.len());
    for component in 0..10 {
        let of_component = |full: usize| {
            fixture.partials.iter().filter(|partial| partial[3 * component] == full).count()
        };
        at_least("partial scores of 0", 5, of_component(0));
        at_least("partial scores of 1", 5, of_component(1));
    }
    let of = |variant: &str, keep_distinct: bool, plug_value: bool| {
        let mut runs = fixture.runs.iter();
        runs.find(|run| {
            run.variant == variant
                && run.keep_distinct == keep_distinct
                && run.plug_value == plug_value
        })
        .unwrap()
    };
    let count = |run: &Run, select: &dyn Fn(&Answer) -> bool| {
        run.answers.iter().filter(|answer| select(answer)).count()
    };
    for run in
        [of("spider", false, false), of("test-suite", false, false), of("test-suite", true, false)]
    {
        assert_eq!(run.answers.len(), fixture.predictions.len());
        for level in ["easy", "medium", "hard", "extra"] {
            at_least(level, 50, count(run, &|answer| answer.0.as_deref() == Some(level)));
        }
        at_least("that parse", 150, count(run, &|answer| answer.1 == Some(1)));
        at_least("that do not parse", 150, count(run, &|answer| answer.1 == Some(0)));
        at_least("exact matches", 80, count(run, &|answer| answer.2 == Some(1)));
        at_least("mismatches", 200, count(run, &|answer| answer.2 == Some(0)));
        at_least("right results", 60, count(run, &|answer| answer.3 == Some(1)));
        at_least("wrong results", 200, count(run, &|answer| answer.3 == Some(0)));
        at_least("crashes", 20, count(run, &|answer| answer.5 == 1));
        at_least(
            "right results without exact match",
            10,
            count(run, &|answer| answer.2 == Some(0) && answer.3 == Some(1)),
        );
        at_least(
            "exact matches with wrong results",
            10,
            count(run, &|answer| answer.2 == Some(1) && answer.3 == Some(0)),
        );
    }
    // Each option changes something.
    let plain = of("test-suite", false, false);
    let differing = |run: &Run| {
        let numbers: Vec<usize> =
            run.predictions.clone().unwrap_or_else(|| (0..run.answers.len()).collect());
        let pairs = numbers.iter().map(|number| &plain.answers[*number]).zip(&run.answers);
        pairs.filter(|(plain, answer)| plain.3 != answer.3).count()
    };
    at_least("changes by --keep-distinct", 5, differing(of("test-suite", true, false)));
    at_least("changes by --plug-value", 5, differing(of("test-suite", false, true)));
    at_least("differences of the scripts", 20, differing(of("spider", false, false)));
    // What came of running the predictions is told apart by ours alone.
    let folder = demo();
    let mut outcomes: BTreeMap<Outcome, usize> = BTreeMap::new();
    for score in fixture.runs.iter().flat_map(|run| scores(&fixture, run, folder.path())) {
        *outcomes.entry(score.outcome.unwrap()).or_default() += 1;
    }
    for (outcome, least) in [
        (Outcome::Correct, 300),
        (Outcome::WrongOrder, 10),
        (Outcome::WrongValues, 100),
        (Outcome::WrongRowCount, 100),
        (Outcome::WrongColumnCount, 20),
        (Outcome::UnknownColumn, 50),
        (Outcome::UnknownTable, 5),
        (Outcome::SyntaxError, 200),
        (Outcome::OtherError, 10),
        (Outcome::Refused, 5),
    ] {
        at_least(&outcome.to_string(), least, outcomes.get(&outcome).copied().unwrap_or(0));
    }
}

/// The official file of predictions, of which some values are odd.
fn bird_predictions(fixture: &Fixture) -> String {
    let entries = fixture.predictions.iter().enumerate().map(|(index, (_, prediction, _))| {
        let usual = || Value::String(format!("{prediction}\t----- bird -----\t{NAME}"));
        let value = fixture.bird.values.get(&index).cloned().unwrap_or_else(usual);
        format!("\"{index}\": {value}")
    });
    format!("{{{}}}", entries.collect::<Vec<_>>().join(",\n"))
}

#[test]
fn every_answer_is_that_of_the_official_bird_scripts() {
    let fixture = Fixture::read();
    let folder = demo();
    let numbers: Vec<usize> = (0..fixture.predictions.len()).collect();
    let (gold, _) = fixture.write(&numbers, folder.path());
    let predictions = folder.path().join("predictions.json");
    fs::write(&predictions, bird_predictions(&fixture)).unwrap();
    let difficulties = folder.path().join("difficulties.jsonl");
    let lines = fixture.bird.difficulties.iter();
    let lines: Vec<String> =
        lines.map(|name| format!("{{\"difficulty\": \"{name}\"}}\n")).collect();
    fs::write(&difficulties, lines.concat()).unwrap();

    let questions =
        read_questions(&gold, &predictions, Some(&difficulties), Compatibility::Strict).unwrap();
    let options = BirdOptions {
        compatibility: Compatibility::Strict,
        timeout: None,
        repetitions: 0,
        threads: 2,
    };
    let scores = bird::score(&questions, folder.path(), &options, &Silent).unwrap();
    assert_eq!(scores.len(), fixture.bird.answers.len());
    let mut wrong = String::new();
    for (score, (ex, soft_f1)) in scores.iter().zip(&fixture.bird.answers) {
        // The order of additions is free.
        if score.ex != *ex || (score.soft_f1 - soft_f1).abs() > 1e-9 {
            let ours = (score.ex, score.soft_f1);
            writeln!(
                wrong,
                "{}: official {:?}, ours {ours:?}\n  gold {}\n  prediction {:?}",
                score.index,
                (ex, soft_f1),
                score.gold,
                score.prediction
            )
            .unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");

    let summary = BirdSummary::of(&scores);
    assert_eq!(
        summary.levels.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        ["simple", "moderate", "challenging", "total"]
    );
    let (ex, soft_f1) = (&fixture.bird.figures["ex"], &fixture.bird.figures["soft_f1"]);
    for (index, (name, level)) in summary.levels.iter().enumerate() {
        assert_eq!((level.count, level.count), (ex.counts[index], soft_f1.counts[index]), "{name}");
        assert!((level.ex - ex.figures[index]).abs() < 1e-9, "{name}: {}", level.ex);
        assert!((level.soft_f1 - soft_f1.figures[index]).abs() < 1e-9, "{name}: {}", level.soft_f1);
    }

    // The fixture has every kind of case.
    let count = |select: &dyn Fn(&(u8, f64)) -> bool| {
        fixture.bird.answers.iter().filter(|answer| select(answer)).count()
    };
    assert!(count(&|(ex, _)| *ex == 1) >= 100);
    assert!(count(&|(ex, soft_f1)| *ex == 0 && *soft_f1 == 0.0) >= 100);
    assert!(count(&|(ex, soft_f1)| *ex == 0 && *soft_f1 == 1.0) >= 3);
    assert!(count(&|(ex, soft_f1)| *ex == 1 && *soft_f1 < 1.0) >= 3);
    assert!(count(&|(_, soft_f1)| *soft_f1 > 0.0 && *soft_f1 < 1.0) >= 30);
    assert!(fixture.bird.values.len() >= 10);
}

#[test]
fn the_reward_for_given_times_is_the_official_one() {
    let rewards = Fixture::read().bird.rewards;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for Reward { gold_seconds, predicted_seconds, reward: official } in &rewards {
        let ours = reward(gold_seconds, predicted_seconds);
        assert!(ours == *official, "{ours} {official}: {gold_seconds:?} {predicted_seconds:?}");
        *counts.entry(official.to_string()).or_default() += 1;
    }
    assert!(rewards.len() >= 30);
    assert_eq!(counts.keys().collect::<Vec<_>>(), ["0", "0.25", "0.5", "0.75", "1", "1.25"]);
    assert!(rewards.iter().any(|reward| reward.gold_seconds.len() > 128));
}
