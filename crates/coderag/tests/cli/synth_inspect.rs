//! `coderag synth inspect`, and what a run leaves for people, on a run of a server that answers by rote.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use crate::mock_server::{MockServer, completion, respond_json};
use crate::program::{run, run_well};

const CODE: &str = "\
def area(width, height):
    total = width * height
    return total


def greet(name):
    text = 'hello ' + name
    return text


def longest(words):
    best = max(words, key=len)
    return best


def is_leap(year):
    by_four = year % 4 == 0
    return by_four and (year % 100 != 0 or year % 400 == 0)
";

/// What the server answers to a prompt that has the text.
const ANSWERS: [(&str, &str); 4] = [
    (
        "def area",
        "Summary: Multiplies the width of a rectangle by its height and returns the product.",
    ),
    ("def greet", "I would rather not.\u{1b}[2J <script>"),
    (
        "def longest",
        "Summary: Finds the word with the most letters in a list; of several the first one counts.",
    ),
    (
        "def is_leap",
        "Summary: Tells whether a year has 366 days by the rules of the Gregorian calendar.",
    ),
];

const CONFIG: &str = r#"
[model]
name = "writer"

[requests]
in_flight = 1

[seeds.code]
folders = ["code"]
least_lines = 2

[gates.label]
enabled = false

[[task]]
name = "code_to_summary"
category = "code_to_text"
rows = 4
prompt = "summary.md"
seed = "code"
languages = ["python"]
answer = { summary = "text" }
anchor = "{{ code }}"
positive = "{{ summary }}"
"#;

/// A folder in which `run` is a run of four candidates, of which three became rows.
fn finished_run() -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    write("code/pyproject.toml", "[project]\nname = 'small'\nlicense = 'MIT'\n");
    write("code/small.py", CODE);
    write("prompts/summary.md", "### user ###\nSummarise:\n{{ code }}\n");
    write("synth.toml", &format!("candidates_per_row = 1\n{CONFIG}"));
    let server = MockServer::start(|_, request, connection| {
        let body = request.body.to_string();
        let answer = ANSWERS.iter().find(|(code, _)| body.contains(code)).unwrap().1;
        respond_json(connection, "200 OK", &completion(answer, "stop"));
    });
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let output = path("run");
    run_well(&[
        "synth",
        "--config",
        &path("synth.toml"),
        "--endpoint",
        &server.base_url,
        "--output",
        &output,
    ]);
    (folder, output)
}

#[test]
fn a_run_is_shown_with_its_counts_and_rows() {
    let (_folder, output) = finished_run();
    let shown =
        run_well(&["synth", "inspect", &output, "--accepted", "9", "--rejected", "9"]).stdout;
    let lines: Vec<Vec<&str>> =
        shown.lines().map(|line| line.split_whitespace().collect()).collect();
    for line in [
        "code_to_summary 3 4 4 1 0",
        "answer 4 1 25.0%",
        "language 3 0 0.0%",
        "syntax not met",
        "near_duplicate 3 0 0.0%",
        "requests 4 answered, 0 failed",
        "tokens 28 of prompts, of which 0 were not evaluated again, and 8 of answers",
        "python from code/small.py:1",
    ] {
        assert!(lines.contains(&line.split(' ').collect()), "{line}\n{shown}");
    }
    assert_eq!(shown.matches("---- positive ----").count(), 3);
    assert!(shown.contains("    total = width * height\n"), "{shown}");
    assert!(shown.contains("I would rather not.\\u{1b}[2J <script>"), "{shown}");
    assert!(!shown.contains('\u{1b}'));
}

#[test]
fn json_holds_the_same_and_the_seed_draws_the_rows() {
    let (_folder, output) = finished_run();
    let drawn = |seed: &str| -> Value {
        let arguments = ["synth", "inspect", &output, "--json", "--accepted", "1", "--seed", seed];
        serde_json::from_str(&run_well(&arguments).stdout).unwrap()
    };
    let first = drawn("1");
    assert_eq!(first, drawn("1"));
    assert_eq!((&first["rows"], &first["finished"]), (&3.into(), &true.into()));
    assert_eq!(first["tasks"][0]["accepted"], 3);
    assert_eq!(first["gates"][0]["rejected"], 1);
    assert_eq!(first["accepted"].as_array().unwrap().len(), 1);
    assert_eq!(first["accepted"][0]["meta"]["licence"], "MIT");
    assert_eq!(first["rejected"][0]["gate"], "answer");
    let ids = |value: &Value| value["accepted"][0]["id"].clone();
    assert!((2..20).any(|seed| ids(&drawn(&seed.to_string())) != ids(&first)));
}

#[test]
fn what_is_no_run_and_what_is_damaged_is_told() {
    let (folder, output) = finished_run();
    let none = run(&["synth", "inspect", folder.path().to_str().unwrap()]);
    assert!(none.code != 0 && none.stderr.contains("is no run that wrote rows"), "{none}");
    let task = run(&["synth", "inspect", &output, "--task", "other"]);
    assert!(task.code != 0 && task.stderr.contains("its tasks are: code_to_summary"), "{task}");
    fs::write(folder.path().join("run/pairs/part-00000.parquet"), "not Parquet").unwrap();
    let damaged = run(&["synth", "inspect", &output]);
    assert!(damaged.code != 0 && damaged.stderr.contains("pairs/part-00000.parquet"), "{damaged}");
}

#[test]
fn a_run_leaves_a_report_and_a_card() {
    let (folder, _) = finished_run();
    let read = |name: &str| fs::read_to_string(folder.path().join("run").join(name)).unwrap();
    let report = read("report.html");
    assert!(report.contains("<title>Synthesis by writer</title>"));
    assert!(report.contains("I would rather not.\u{241b}[2J &lt;script&gt;"));
    let card = read("README.md");
    assert!(card.starts_with("---\n") && card.contains("path: \"pairs/*.parquet\""));
    assert!(card.contains("| `MIT` | 3 |"));
}
