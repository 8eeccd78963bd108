//! A small run that tests read back.

use std::collections::BTreeMap;
use std::path::Path;

use coderag_core::Digest;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::CodeLanguage;
use crate::asking::Totals;
use crate::config::{Category, SynthConfig};
use crate::output::{Call, GRETEL, Manifest, PAIRS, REJECTED, Shards, TaskCounts, pairs, rejected};
use crate::row::{Gate, RejectedRow, Row};
use crate::run::RunRecord;
use crate::sql::gretel::{GretelRow, record_batch};

/// Markup and control characters, as a model may write them.
pub(crate) const HOSTILE: &str = "<script>alert('x')</script> ]]> &amp; \u{1b}[2J \"quoted\" | `a`";

/// A folder with the files of a run, and what they were made of.
pub(crate) struct SmallRun {
    folder: TempDir,
    pub(crate) manifest: Manifest,
    pub(crate) rows: Vec<Row>,
    pub(crate) rejected: Vec<RejectedRow>,
}

const CONFIG: &str = r#"
seed = 7
rows_per_file = 4

[model]
name = "writer"

[budget.prices]
prompt = 1.0
cached = 0.1
completion = 2.0

[[choices.style]]
name = "Formal"
description = "Complete sentences."

[[choices.style]]
name = "Vague"
description = "Words whose meaning must be inferred."

[[task]]
name = "code_to_summary"
category = "code_to_text"
rows = 10
prompt = "code_to_summary.md"
seed = "code"
languages = ["python", "rust"]
answer = { summary = "text" }
anchor = "{{ code }}"
positive = "{{ summary }}"

[[task]]
name = "text_to_sql"
category = "text_to_sql"
rows = 20
prompt = "text_to_sql.md"
seed = "schema"
choose = ["style"]
answer = { sql = "sql", question = "text" }
anchor = "{{ question }}"
positive = "{{ sql }}"
"#;

impl SmallRun {
    /// Ten pairs of code and text, of which none was left to write, three of text and SQL, and seven rejected
    /// candidates.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config: SynthConfig = toml::from_str(CONFIG).unwrap();
        config.check().unwrap();
        let rows: Vec<Row> = (0..10).map(summary_row).chain((0..3).map(sql_row)).collect();
        let rejected: Vec<RejectedRow> = (3..10).map(rejected_row).collect();
        let manifest = write(folder.path(), &rows, &rejected, config);
        Self { folder, manifest, rows, rejected }
    }

    /// The run's folder.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

fn meta(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn summary_row(number: usize) -> Row {
    let language = if number.is_multiple_of(2) { CodeLanguage::Python } else { CodeLanguage::Rust };
    let licence = if number < 7 { "MIT" } else { "Apache-2.0" };
    Row {
        id: format!("code_to_summary-{number:06}"),
        task: "code_to_summary".to_owned(),
        category: Category::CodeToText,
        anchor: format!("def f{number}(a):\n    return a < {number} and a & 3  # {HOSTILE}"),
        positive: format!("Whether a number is below {number}. {HOSTILE}"),
        language,
        source: format!("<b>numbers</b>/f.py:{number}"),
        meta: meta(json!({
            "name": format!("f{number}"), "repository": "numbers", "licence": licence, "labels": ["2"],
        })),
        answer: "Summary: ...".to_owned(),
        gretel: None,
    }
}

fn sql_row(number: usize) -> Row {
    let style = if number == 0 { "Formal" } else { "Vague" };
    let sql = format!("SELECT name FROM rider WHERE age < {number}");
    let mut notes = json!({
        "schema": "riders", "style": style, "measured_complexity": "Simple", "labels": ["1", "2"],
    });
    if number == 1 {
        notes["empty_result"] = true.into();
    }
    Row {
        id: format!("text_to_sql-{number:06}"),
        task: "text_to_sql".to_owned(),
        category: Category::TextToSql,
        anchor: format!("Which riders are younger than {number}?"),
        positive: sql.clone(),
        language: CodeLanguage::Sql,
        source: "riders.sql".to_owned(),
        meta: meta(notes),
        answer: String::new(),
        gretel: Some(GretelRow { id: number as i32, sql, ..GretelRow::default() }),
    }
}

fn rejected_row(number: usize) -> RejectedRow {
    let (gate, reason) = match number {
        3..=5 => (Gate::Execution, format!("no such column: `age{number}` {HOSTILE}")),
        6 | 7 => (Gate::Length, format!("the anchor has {number} words, fewer than 8")),
        8 => (Gate::Answer, "the part `question` is missing".to_owned()),
        _ => (Gate::NearDuplicate, "text_to_sql-000001 is the same to 93 %".to_owned()),
    };
    let is_pair = gate != Gate::Answer;
    let text = |text: &str| if is_pair { text.to_owned() } else { String::new() };
    RejectedRow {
        id: format!("text_to_sql-{number:06}"),
        task: "text_to_sql".to_owned(),
        category: Category::TextToSql,
        gate,
        reason,
        anchor: text("Which riders?"),
        positive: text("SELECT age3 FROM rider"),
        answer: format!("I cannot do that. {HOSTILE}"),
        language: CodeLanguage::Sql,
        source: "riders.sql".to_owned(),
        meta: meta(json!({ "schema": "riders", "style": "Formal" })),
    }
}

fn write(run: &Path, rows: &[Row], rejects: &[RejectedRow], config: SynthConfig) -> Manifest {
    let mut files = shards(run, PAIRS, &config, rows.iter().cloned(), pairs);
    let gretel = rows.iter().filter_map(|row| row.gretel.clone());
    files.extend(shards(run, GRETEL, &config, gretel, record_batch));
    files.extend(shards(run, REJECTED, &config, rejects.iter().cloned(), rejected));
    let of = |name: &str| {
        let task = config.tasks.iter().find(|task| task.name == name).unwrap();
        let mut counts: BTreeMap<Gate, u64> = BTreeMap::new();
        let rejects: Vec<_> = rejects.iter().filter(|row| row.task == name).collect();
        rejects.iter().for_each(|row| *counts.entry(row.gate).or_default() += 1);
        let accepted = rows.iter().filter(|row| row.task == name).count() as u64;
        TaskCounts {
            name: name.to_owned(),
            category: task.category,
            wanted: task.rows as u64,
            candidates: accepted + rejects.len() as u64 + 1,
            failed: 1,
            accepted,
            rejected: counts,
            notes: BTreeMap::new(),
        }
    };
    let tasks = vec![
        of("code_to_summary"),
        TaskCounts {
            notes: [("empty_result".to_owned(), 1), ("second_opinion".to_owned(), 3)].into(),
            ..of("text_to_sql")
        },
    ];
    let requests = Totals {
        requests: 123,
        failed: 2,
        prompt_tokens: 45_678,
        cached_tokens: 30_000,
        completion_tokens: 9_012,
    };
    let money = requests.money(&config.budget.prices);
    let call = Call {
        ended: "2026-01-02T03:04:05Z".to_owned(),
        seconds: 60.0,
        requests,
        served_from_cache: 4,
        accepted: rows.len() as u64,
    };
    let prompt = ("/home/somebody/prompts/text_to_sql.md".to_owned(), Digest::of("prompt"));
    Manifest {
        run: RunRecord {
            format_version: RunRecord::FORMAT_VERSION,
            coderag_version: "0.1.0".to_owned(),
            started: "2026-01-02T03:00:00Z".to_owned(),
            model: "writer-1b <i>".to_owned(),
            prompts: [prompt].into(),
            inputs: [].into(),
            config,
        },
        finished: true,
        seeds: json!({ "topics": 0, "code": { "used": 40 }, "schemas": { "used": 2, "skipped": {} } }),
        evaluation_sets: json!({}),
        tasks,
        requests,
        money,
        calls: vec![call],
        traffic: json!({ "retries": 3 }),
        files,
    }
}

type ToBatch<T> = fn(&[T]) -> Result<arrow::array::RecordBatch, arrow::error::ArrowError>;

fn shards<T>(
    run: &Path,
    name: &'static str,
    config: &SynthConfig,
    rows: impl Iterator<Item = T>,
    to_batch: ToBatch<T>,
) -> Vec<crate::OutputFile> {
    let mut shards = Shards::new(run, name, config.rows_per_file, to_batch);
    rows.for_each(|row| shards.push(row).unwrap());
    shards.finish().unwrap()
}
