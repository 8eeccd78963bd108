//! On real data: every gold query of Spider scores full marks against itself.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;

use coderag_core::Silent;
use coderag_eval::Compatibility;
use coderag_eval::execution::ExecutionOptions;
use coderag_eval::files::Gold;
use coderag_eval::scoring::{Databases, ScoringOptions, score};
use coderag_eval::spider::{ExactMatchVariant, TablesEntry};
use coderag_eval::summary::Summary;
use flate2::read::GzDecoder;

/// The folder of Spider, where the real data is at hand.
fn spider() -> Option<PathBuf> {
    let data = std::env::var_os("CODERAG_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")),
        PathBuf::from,
    );
    let spider = data.join("spider");
    if !spider.is_dir() {
        println!(
            "skipped: {} is absent, so Spider's gold queries are not scored",
            spider.display()
        );
        return None;
    }
    Some(spider)
}

#[derive(serde::Deserialize)]
struct Line {
    db_id: String,
    query: String,
    hardness: Option<String>,
    exec: String,
}

#[test]
fn gold_against_gold_is_right_everywhere() {
    let Some(spider) = spider() else { return };
    let mut lines: Vec<Line> = Vec::new();
    for file in ["dev_visible.jsonl.gz", "train.jsonl.gz"] {
        let reader = BufReader::new(GzDecoder::new(File::open(spider.join(file)).unwrap()));
        lines.extend(reader.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()));
    }
    let tables = spider.join("tables.json");
    let databases = Databases {
        folder: spider.join("database"),
        tables: Some((tables.clone(), TablesEntry::read_all(&tables).unwrap())),
    };
    // The others have no database, or fail on it.
    lines.retain(|line| matches!(line.exec.as_str(), "ok" | "empty"));
    let gold: Vec<Gold> = lines
        .iter()
        .map(|line| Gold { sql: line.query.clone(), database: line.db_id.clone() })
        .collect();
    let predictions: Vec<String> = lines.iter().map(|line| line.query.clone()).collect();
    for compatibility in [Compatibility::Sensible, Compatibility::Strict] {
        let options = ScoringOptions {
            variant: ExactMatchVariant::TestSuite,
            exact_match: true,
            execution: true,
            running: ExecutionOptions { compatibility, ..ExecutionOptions::default() },
            threads: 2,
        };
        let scores = score(
            ("gold".as_ref(), std::slice::from_ref(&gold)),
            ("gold".as_ref(), std::slice::from_ref(&predictions)),
            &databases,
            &options,
            &Silent,
        )
        .unwrap();
        for (score, line) in scores.iter().zip(&lines) {
            // The official script puts 1 in the place of `value` in predictions, in names as well.
            if compatibility.is_strict() && line.query.contains("value") {
                continue;
            }
            assert_eq!(score.execution, Some(true), "{}: {:?}", line.query, score.error);
            assert_eq!(score.structural_match, Some(true), "{}", line.query);
            assert_eq!(score.exact_match, Some(score.gold_parses), "{}", line.query);
            if let Some(hardness) = &line.hardness {
                let ours = score.hardness.map(|hardness| hardness.to_string());
                assert_eq!(ours.as_ref(), Some(hardness), "{}", line.query);
            }
        }
        let summary = Summary::of(&scores);
        println!("{} gold queries, {} outside of the grammar", scores.len(), summary.failed_gold);
    }
}
