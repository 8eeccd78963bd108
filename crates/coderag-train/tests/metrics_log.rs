//! `metrics.jsonl`: what is written, and what a resumed run finds.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use coderag_train::Error;
use coderag_train::evaluation::Scores;
use coderag_train::loss::BatchStatistics;
use coderag_train::record::{EvaluationRecord, MetricsLog, Record, StepRecord};
use proptest::prelude::*;

fn step(number: u64) -> Record {
    let statistics = number.is_multiple_of(2).then(|| BatchStatistics {
        anchors: 32,
        accuracy: 0.75,
        positive: 0.5,
        hardest_negative: 0.25,
        margin: 0.25,
        margin_quantiles: [-0.25, 0.0, 0.25, 0.5, 0.75],
    });
    Record::Step(StepRecord {
        step: number,
        stage: 0,
        epoch: number / 4,
        loss: 1.0 / number as f64,
        learning_rate: 2e-4,
        gradient_norm: 0.5,
        pairs: 32,
        tokens: 4000,
        seconds: 1.5,
        statistics,
    })
}

fn evaluation(step: u64) -> Record {
    let scores = Scores {
        recall_at_1: 0.25,
        recall_at_5: 0.5,
        recall_at_10: 0.75,
        mrr_at_10: 0.375,
        ndcg_at_10: 0.4375,
        queries: 100,
        documents: 1000,
        margin: None,
    };
    Record::Evaluation(EvaluationRecord { step, scores, seconds: 12.0 })
}

/// Steps 1 to 6 with evaluations after 0, 3 and 6.
fn records() -> Vec<Record> {
    let mut records = vec![evaluation(0)];
    for number in 1..=6 {
        records.push(step(number));
        if number % 3 == 0 {
            records.push(evaluation(number));
        }
    }
    records
}

fn write(path: &Path, records: &[Record]) {
    let mut log = MetricsLog::create(path).unwrap();
    for record in records {
        log.append(record).unwrap();
    }
    log.flush().unwrap();
}

#[test]
fn each_record_is_a_line_that_says_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    write(&path, &records());
    let text = std::fs::read_to_string(&path).unwrap();
    let kinds: Vec<String> = text
        .lines()
        .map(|line| {
            let object: serde_json::Value = serde_json::from_str(line).unwrap();
            object["kind"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(kinds.len(), 9);
    assert_eq!(kinds[..3], ["evaluation", "step", "step"]);
    assert_eq!(MetricsLog::read(&path).unwrap(), records());
}

#[test]
fn a_value_that_is_no_number_is_read_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    let Record::Step(mut bad) = step(1) else { unreachable!() };
    (bad.loss, bad.gradient_norm) = (f64::NAN, f64::INFINITY);
    write(&path, &[Record::Step(bad)]);
    let read = MetricsLog::read(&path).unwrap();
    let [Record::Step(read)] = &read[..] else { panic!("one step") };
    assert!(read.loss.is_nan() && read.gradient_norm.is_nan());
}

#[test]
fn a_resumed_run_finds_the_records_up_to_its_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    write(&path, &records());
    let before = std::fs::read_to_string(&path).unwrap();
    let mut log = MetricsLog::resume(&path, 3).unwrap();
    let kept = std::fs::read_to_string(&path).unwrap();
    assert_eq!(kept.lines().count(), 5);
    assert!(before.starts_with(&kept), "lines are kept as they are");
    for record in records().split_off(5) {
        log.append(&record).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
    assert_eq!(MetricsLog::read(&path).unwrap(), records());
}

#[test]
fn a_run_without_a_log_begins_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    MetricsLog::resume(&path, 7).unwrap().append(&step(8)).unwrap();
    assert_eq!(MetricsLog::read(&path).unwrap(), [step(8)]);
}

#[test]
fn a_damaged_line_is_named_and_nothing_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    write(&path, &records());
    let damaged = std::fs::read_to_string(&path).unwrap().replacen("\"loss\":0.5,", "", 1);
    std::fs::write(&path, &damaged).unwrap();
    for error in [MetricsLog::read(&path).unwrap_err(), MetricsLog::resume(&path, 3).unwrap_err()] {
        let message = error.to_string();
        assert!(matches!(error, Error::Metrics { line: 3, .. }), "{message}");
        assert!(
            message.contains("metrics.jsonl: line 3") && message.contains("`loss`"),
            "{message}"
        );
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), damaged);
}

/// The device that refuses every byte, as a full disk does.
#[test]
fn a_full_disk_is_an_error_that_names_the_file() {
    let mut log = MetricsLog::create(Path::new("/dev/full")).unwrap();
    let error = log.append(&step(1)).unwrap_err();
    assert_eq!(error.to_string(), "cannot write /dev/full");
}

proptest! {
    /// Wherever a kill cuts the file, whole lines are found, and going on gives the uninterrupted file.
    #[test]
    fn a_torn_last_line_is_dropped(cut in 0_usize..3000) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        write(&path, &records());
        let whole = std::fs::read(&path).unwrap();
        let cut = cut.min(whole.len());
        std::fs::write(&path, &whole[..cut]).unwrap();
        let found = MetricsLog::read(&path).unwrap();
        prop_assert_eq!(&found[..], &records()[..found.len()]);
        let ended = whole[..cut].iter().filter(|byte| **byte == b'\n').count();
        prop_assert!([ended, ended + 1].contains(&found.len()));
        let mut log = MetricsLog::resume(&path, u64::MAX).unwrap();
        for record in &records()[found.len()..] {
            log.append(record).unwrap();
        }
        prop_assert_eq!(std::fs::read(&path).unwrap(), whole);
    }
}
