//! The gates on texts and code that people wrote. Read from `CODERAG_DATA`, never committed.

use std::path::{Path, PathBuf};

use coderag_corpus::read_texts;

use super::language::{ExpectedLanguage, chat_leftover, prompt_leak};
use super::secrets::scrub;
use super::syntax;
use crate::CodeLanguage;

fn data() -> Option<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let data = std::env::var_os("CODERAG_DATA").map_or(default, PathBuf::from);
    if !data.join("spider").is_dir() {
        println!("skipped: {} holds no data; set CODERAG_DATA", data.display());
        return None;
    }
    Some(data)
}

/// How many texts fail a check, with up to 15 of them printed.
fn refused(name: &str, texts: &[String], check: impl Fn(&str) -> Result<(), String>) -> f64 {
    let mut count = 0;
    for text in texts {
        if let Err(reason) = check(text) {
            count += 1;
            if count <= 15 {
                println!("{name}: {reason}: {text:.100}");
            }
        }
    }
    println!("{name}: {count} of {} refused", texts.len());
    count as f64 / texts.len() as f64
}

#[test]
fn real_english_questions_are_not_refused() {
    let Some(data) = data() else { return };
    let english = ExpectedLanguage::new("eng").unwrap();
    for (file, field) in [
        ("spider/train.jsonl.gz", "question"),
        ("spider/dev_visible.jsonl.gz", "question"),
        ("cosqa/queries_dev.jsonl.gz", "query"),
        ("conala/train.jsonl.gz", "intent"),
        ("wikisql_context/train_dev.jsonl.gz", "sql_prompt"),
        ("pydoc/dev.jsonl.gz", "query"),
    ] {
        let texts = read_texts(&data.join(file), field).unwrap();
        assert!(refused(file, &texts, |text| english.check(text)) <= 0.005, "{file}");
        assert!(refused(file, &texts, chat_leftover) <= 0.001, "{file}");
        assert!(refused(file, &texts, prompt_leak) <= 0.002, "{file}");
    }
}

#[test]
fn real_code_is_valid_and_no_placeholder() {
    let Some(data) = data() else { return };
    for (language, file, field) in [
        (CodeLanguage::Python, "pydoc/dev.jsonl.gz", "doc"),
        (CodeLanguage::Python, "cosqa/corpus.jsonl.gz", "code"),
        (CodeLanguage::Sql, "spider/train.jsonl.gz", "query"),
    ] {
        let texts = read_texts(&data.join(file), field).unwrap();
        let invalid = refused(file, &texts, |code| syntax::check(language, code));
        let placeholders = refused(file, &texts, |code| syntax::placeholder(language, code));
        // CoSQA has functions of Python 2; of the others some only raise NotImplementedError.
        assert!(invalid <= if file.starts_with("cosqa") { 0.1 } else { 0.01 }, "{file}");
        assert!(placeholders <= 0.02, "{file}");
    }
}

#[test]
fn little_of_real_code_and_questions_is_scrubbed() {
    let Some(data) = data() else { return };
    for (file, field) in [
        ("pydoc/train.jsonl.gz", "doc"),
        ("pydoc/train.jsonl.gz", "query"),
        ("cosqa/corpus.jsonl.gz", "code"),
        ("spider/train.jsonl.gz", "question"),
        ("wikisql_context/train_dev.jsonl.gz", "sql_prompt"),
    ] {
        let texts = read_texts(&data.join(file), field).unwrap();
        let changed = refused(file, &texts, |text| match scrub(text) {
            scrubbed if scrubbed.found.is_empty() => Ok(()),
            scrubbed => {
                let lines = text.lines().zip(scrubbed.text.lines());
                let line =
                    lines.filter(|(before, after)| before != after).map(|(line, _)| line.trim());
                Err(format!(
                    "{}: {}",
                    scrubbed.found.join(", "),
                    line.collect::<Vec<_>>().join(" | ")
                ))
            }
        });
        assert!(changed <= 0.005, "{file}");
    }
}
