//! The gates on texts and code that people wrote. Read from `CODERAG_DATA`, never committed.

#![expect(clippy::print_stdout, reason = "says what was refused, and what was skipped")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use coderag_core::Random;
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

/// What CPython's parser says to each text, or `None` where there is no Python.
fn parses_in_cpython(codes: &[String]) -> Option<Vec<bool>> {
    const PROGRAM: &str = "import ast, json, sys, warnings\nwarnings.simplefilter('ignore')\n\
        for code in json.load(sys.stdin):\n    try:\n        ast.parse(code)\n        print(1)\n    \
        except (SyntaxError, ValueError):\n        print(0)\n";
    let mut python = Command::new("python3")
        .args(["-c", PROGRAM])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let input = serde_json::to_vec(codes).unwrap();
    let mut stdin = python.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&input).unwrap());
    let output = python.wait_with_output().unwrap();
    writer.join().unwrap();
    Some(String::from_utf8(output.stdout).unwrap().lines().map(|line| line == "1").collect())
}

/// Real functions, some of them cut off or of Python 2, and each with a piece taken out.
#[test]
fn python_is_valid_where_cpython_parses_it() {
    let Some(data) = data() else { return };
    let mut codes = read_texts(&data.join("pydoc/dev.jsonl.gz"), "doc").unwrap();
    codes.extend(read_texts(&data.join("cosqa/corpus.jsonl.gz"), "code").unwrap());
    let mut random = Random::new(2);
    let broken: Vec<String> = codes
        .iter()
        .map(|code| {
            let start = code.floor_char_boundary(random.below(code.len() as u64) as usize);
            let end = code.floor_char_boundary(start + 1 + random.below(8) as usize);
            format!("{}{}", &code[..start], &code[end.max(start)..])
        })
        .collect();
    for (name, codes, least) in [("whole", codes, 0.995), ("broken", broken, 0.99)] {
        let Some(expected) = parses_in_cpython(&codes) else {
            println!("skipped: there is no python3");
            return;
        };
        assert_eq!(expected.len(), codes.len());
        let (mut agreed, mut shown) = (0, 0);
        for (code, expected) in codes.iter().zip(&expected) {
            let found = syntax::check(CodeLanguage::Python, code);
            if found.is_ok() == *expected {
                agreed += 1;
            } else if shown < 12 {
                shown += 1;
                println!("{name}: CPython {expected}, here {found:?}: {code}\n");
            }
        }
        let valid = expected.iter().filter(|valid| **valid).count();
        let share = f64::from(agreed) / codes.len() as f64;
        println!("{name}: {agreed} of {} as CPython, {valid} valid", codes.len());
        assert!(share >= least, "{name}: {share}");
    }
}

#[test]
fn real_code_is_no_placeholder_and_real_sql_parses() {
    let Some(data) = data() else { return };
    for (file, field) in [("pydoc/dev.jsonl.gz", "doc"), ("cosqa/corpus.jsonl.gz", "code")] {
        let texts = read_texts(&data.join(file), field).unwrap();
        let share = refused(file, &texts, |code| syntax::placeholder(CodeLanguage::Python, code));
        assert!(share <= 0.005, "{file}");
    }
    let texts = read_texts(&data.join("spider/train.jsonl.gz"), "query").unwrap();
    let share = refused("SQL", &texts, |code| syntax::check(CodeLanguage::Sql, code));
    assert!(share <= 0.005);
    assert_eq!(refused("SQL", &texts, |code| syntax::placeholder(CodeLanguage::Sql, code)), 0.0);
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
