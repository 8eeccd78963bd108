use std::collections::BTreeSet;
use std::fs::File;

use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;
use crate::testing::SmallRun;

fn card_of(run: &SmallRun, manifest: &Manifest) -> String {
    card(manifest, &Survey::read(run.path(), manifest).unwrap())
}

fn front_matter(card: &str) -> &str {
    card.strip_prefix("---\n").unwrap().split_once("\n---\n").unwrap().0
}

#[test]
fn the_metadata_names_the_files_of_each_config() {
    let run = SmallRun::new();
    let card = card_of(&run, &run.manifest);
    let expected = "\
language:
- \"eng\"
- code
task_categories:
- sentence-similarity
- text-retrieval
- text-generation
size_categories:
- n<1K
tags:
- synthetic
- code
- sentence-transformers
- text-to-sql
- coderag
configs:
- config_name: pairs
  default: true
  data_files:
  - split: train
    path: \"pairs/*.parquet\"
- config_name: gretel
  data_files:
  - split: train
    path: \"gretel/*.parquet\"
- config_name: rejected
  data_files:
  - split: train
    path: \"rejected/*.parquet\"";
    assert_eq!(front_matter(&card), expected);
}

#[test]
fn configs_without_files_are_left_out() {
    let run = SmallRun::new();
    let mut manifest = run.manifest.clone();
    manifest.files.retain(|file| file.path.starts_with("pairs/"));
    let card = card_of(&run, &manifest);
    assert!(!front_matter(&card).contains("gretel") && !card.contains("\"rejected\""));
    let empty = card_of(&run, &Manifest::empty(run.manifest.run.clone()));
    assert!(!front_matter(&empty).contains("configs:") && !empty.contains("load_dataset"));
}

#[test]
fn the_columns_are_those_of_the_files() {
    let run = SmallRun::new();
    for config in &CONFIGS {
        let file = run.manifest.files_in(config.name).next().unwrap();
        let file = File::open(run.path().join(&file.path)).unwrap();
        let schema = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().schema().clone();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let said: Vec<&str> = config.columns.iter().map(|(name, ..)| *name).collect();
        assert_eq!(said, names, "{}", config.name);
    }
}

#[test]
fn counts_licences_and_settings_are_told_and_folders_are_not() {
    let run = SmallRun::new();
    let card = card_of(&run, &run.manifest);
    for line in [
        "| `code_to_summary` | 11 | 10 | 0 | 0 | 0 | 0 | 1 |",
        "| `text_to_sql` | 11 | 3 | 1 | 2 | 3 | 1 | 1 |",
        "| `Apache-2.0` | 3 |",
        "| `MIT` | 7 |",
        "| `text_to_sql` | text_to_sql | schemas of databases | `text_to_sql.md` | 0.8 | 0.95 | 512 |",
        "Seeds: 0 topics, 40 functions, 2 schemas.",
        "- Rows whose SQL returned nothing: 1; their `meta` says so.",
    ] {
        assert!(card.lines().any(|it| it == line), "{line}\n{card}");
    }
    assert!(!card.contains("/home/somebody"));
    assert!(!front_matter(&card).contains("license"));
    assert!(card.contains("The terms of `writer-1b <i>` apply to what it wrote."));
}

#[test]
fn tables_have_as_many_cells_as_headings() {
    let run = SmallRun::new();
    let card = card_of(&run, &run.manifest);
    let mut widths = BTreeSet::new();
    for line in card.lines() {
        if line.starts_with('|') {
            widths.insert(line.matches('|').count());
        } else {
            assert!(widths.len() <= 1, "a table with rows of {widths:?} bars before: {line}");
            widths.clear();
        }
    }
}

#[test]
fn sizes_have_the_hubs_names() {
    let sizes = [0, 999, 1_000, 99_999, 1_000_000].map(size_category);
    assert_eq!(sizes, ["n<1K", "n<1K", "1K<n<10K", "10K<n<100K", "1M<n<10M"]);
}
