//! `coderag mine` on a model that is small enough to be in the project.

use std::fs;
use std::path::PathBuf;

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::mock_server::{MockServer, completion, respond_json};
use crate::program::{Run, command, finish, project, run};

/// A temporary folder with pairs, which a run sees as its own.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("pairs.jsonl", &lines(&pairs()));
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    fn mine(&self, arguments: &[&str]) -> Run {
        let model = project().join("crates/coderag-encoder/tests/fixtures/small-bert");
        let mut all = vec!["mine", "--model", model.to_str().unwrap(), "--chunk-rows", "10"];
        all.extend(["--anchor-column", "question", "--positive-column", "sql"]);
        all.extend(arguments);
        let mut command = command(&all);
        command.current_dir(self.0.path());
        finish(command)
    }

    fn mine_well(&self, arguments: &[&str]) -> Run {
        let run = self.mine(arguments);
        assert_eq!(run.code, 0, "{arguments:?}\n{run}");
        run
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn json_lines(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.path(name)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn pairs() -> Vec<(String, String)> {
    let subjects = ["orders", "customers", "prices", "stations", "cities", "members", "rentals"];
    let pairs = subjects.iter().flat_map(|subject| {
        [
            (format!("How many {subject} are there?"), format!("SELECT count(*) FROM {subject}")),
            (format!("List the {subject}"), format!("SELECT name FROM {subject} ORDER BY name")),
        ]
    });
    pairs.collect()
}

fn lines(pairs: &[(String, String)]) -> String {
    let line = |(question, sql): &(String, String)| {
        format!("{}\n", json!({ "question": question, "sql": sql }))
    };
    pairs.iter().map(line).collect()
}

const INPUT: [&str; 2] = ["--input", "pairs.jsonl"];

#[test]
fn pairs_get_negatives_a_record_and_a_summary() {
    let folder = Folder::new();
    let arguments = ["--output", "mined.jsonl", "--negatives", "4", "--no-relative-margin"];
    let run = folder.mine_well(&[&INPUT[..], &arguments, &["--scores"]].concat());
    insta::with_settings!({ filters => [(r"0\.\d{4}", "[score]")] }, {
        assert_snapshot!(run, @r"
        exit code 0
        --- stderr
        14 pairs of 14 anchors and 14 documents
        76 candidates
        similarity       5%     25%     50%     75%     95%
        positives    [score]  [score]  [score]  [score]  [score]
        negatives    [score]  [score]  [score]  [score]  [score]
        wrote 14 pairs with 56 negatives to mined.jsonl
        ");
    });
    assert_eq!(folder.names(), ["mined.jsonl", "mined.jsonl.mining.json", "pairs.jsonl"]);
    let rows = folder.json_lines("mined.jsonl");
    assert_eq!(rows.len(), 14);
    for (row, (question, sql)) in rows.iter().zip(pairs()) {
        assert_eq!((&row["anchor"], &row["positive"]), (&json!(question), &json!(sql)));
        let negatives = row["negatives"].as_array().unwrap();
        assert!(negatives.len() == 4 && !negatives.contains(&json!(sql)), "{row}");
        let scores = row["scores"].as_array().unwrap().iter().map(|score| score.as_f64().unwrap());
        let scores: Vec<f64> = scores.collect();
        assert!(scores.len() == 5 && scores[1..].is_sorted_by(|a, b| a >= b), "{row}");
    }
    let mut record: Value =
        serde_json::from_str(&fs::read_to_string(folder.path("mined.jsonl.mining.json")).unwrap())
            .unwrap();
    assert_eq!(record["inputs"][0]["rows"], 14);
    for place in ["/coderag_version", "/model/name", "/model/fingerprint", "/output_sha256"] {
        let value = record.pointer_mut(place).unwrap();
        assert!(value.is_string(), "{place}");
        *value = "...".into();
    }
    record["report"] = "...".into();
    assert_snapshot!(serde_json::to_string_pretty(&record).unwrap(), @r#"
    {
      "coderag_version": "...",
      "model": {
        "name": "...",
        "adapter": null,
        "fingerprint": "...",
        "precision": "f32"
      },
      "settings": {
        "negatives": 4,
        "range_min": 0,
        "range_max": null,
        "absolute_margin": null,
        "relative_margin": null,
        "max_score": null,
        "min_score": null,
        "sampling": "top",
        "seed": 42
      },
      "on_too_few": "keep",
      "judge": null,
      "columns": {
        "anchor": "question",
        "positive": "sql",
        "negatives": null,
        "scores": null
      },
      "inputs": [
        {
          "path": "pairs.jsonl",
          "bytes": 1113,
          "sha256": "05759182fc2db89f03557359b3726e1f662082b72ac9c97bfbb72eeb5c4020d0",
          "rows": 14,
          "bad_rows": 0
        }
      ],
      "corpus": [],
      "corpus_column": null,
      "output_sha256": "...",
      "report": "..."
    }
    "#);
}

/// The vectors of a run of `coderag embed` give the same negatives, by a plain loop.
#[test]
fn the_negatives_are_the_nearest_of_the_embedded_texts() {
    let folder = Folder::new();
    let arguments = ["--output", "mined.jsonl", "--negatives", "5", "--no-relative-margin"];
    folder.mine_well(&[&INPUT[..], &arguments].concat());
    let model = project().join("crates/coderag-encoder/tests/fixtures/small-bert");
    let embed = |field: &str, prompt: &str| -> Vec<Vec<f64>> {
        let mut command = command(&[
            "embed",
            "--model",
            model.to_str().unwrap(),
            "--input",
            "pairs.jsonl",
            "--field",
            field,
            "--prompt-name",
            prompt,
            "--normalize",
            "--output",
            "-",
        ]);
        command.current_dir(folder.0.path());
        let run = finish(command);
        assert_eq!(run.code, 0, "{run}");
        let vector = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap();
            let values = line["embedding"].as_array().unwrap().iter();
            values.map(|value| value.as_f64().unwrap()).collect()
        };
        run.stdout.lines().map(vector).collect()
    };
    let (questions, statements) = (embed("question", "query"), embed("sql", "document"));
    for (row, question) in questions.iter().enumerate() {
        let score = |vector: &Vec<f64>| vector.iter().zip(question).map(|(a, b)| a * b).sum();
        let mut scores: Vec<(f64, usize)> = statements
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != row)
            .map(|(other, vector)| (score(vector), other))
            .collect();
        scores.sort_by(|left, right| right.0.total_cmp(&left.0));
        let expected: Vec<Value> =
            scores.iter().take(5).map(|(_, other)| json!(pairs()[*other].1)).collect();
        assert_eq!(folder.json_lines("mined.jsonl")[row]["negatives"], json!(expected), "{row}");
    }
}

#[test]
fn kept_vectors_serve_other_filters_and_refuse_other_texts() {
    let folder = Folder::new();
    let output = ["--output", "m.jsonl", "--keep-vectors"];
    let first = folder.mine_well(&[&INPUT[..], &output].concat());
    assert!(!first.stderr.contains("embedded already"), "{first}");
    let filter = ["--no-relative-margin", "--negatives", "2"];
    let second = folder.mine_well(&[&INPUT[..], &output, &filter].concat());
    assert!(second.stderr.contains("28 of 28 texts are embedded already"), "{second}");
    let kept = fs::read(folder.path("m.jsonl")).unwrap();
    // A run that was cut off after some chunks: the vectors of the last one are made again.
    let state = folder.path("m.jsonl.partial/state.json");
    let mut chunks: Value = serde_json::from_slice(&fs::read(&state).unwrap()).unwrap();
    let rows: Vec<u64> = chunks["chunks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["rows"].as_u64().unwrap())
        .collect();
    assert_eq!(rows, [10, 4, 10, 4]);
    chunks["chunks"].as_array_mut().unwrap().truncate(3);
    fs::write(&state, chunks.to_string()).unwrap();
    let resumed = folder.mine_well(&[&INPUT[..], &output[..2], &filter].concat());
    assert!(resumed.stderr.contains("24 of 28 texts are embedded already"), "{resumed}");
    assert_eq!(fs::read(folder.path("m.jsonl")).unwrap(), kept);
    assert_eq!(folder.names(), ["m.jsonl", "m.jsonl.mining.json", "pairs.jsonl"]);

    folder.mine_well(&[&INPUT[..], &output].concat());
    folder.write("pairs.jsonl", &lines(&pairs()[1..]));
    let refused = folder.mine(&[&INPUT[..], &output].concat());
    assert!(refused.code == 1 && refused.stderr.contains("`inputs` was"), "{refused}");
    assert_eq!(folder.json_lines("m.jsonl").len(), 14);
    folder.mine_well(&[&INPUT[..], &output, &["--restart"]].concat());
    assert_eq!(folder.json_lines("m.jsonl").len(), 13);
}

#[test]
fn a_corpus_adds_documents_and_json_is_for_programs() {
    let folder = Folder::new();
    let (question, _) = &pairs()[0];
    folder.write(
        "more.txt",
        &format!("{question}\nSELECT 1\nSELECT  1\n\nSELECT count(*) FROM orders\n"),
    );
    let arguments = ["--corpus", "more.txt", "--output", "m.parquet", "--json"];
    let filters = ["--negatives", "30", "--range-max", "40", "--no-relative-margin"];
    let run = folder.mine_well(&[&INPUT[..], &arguments, &filters].concat());
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    // The question, which is one of the anchors, and one statement are new.
    assert_eq!((&report["documents"], &report["written"]["too_few"]), (&json!(16), &json!(14)));
    assert_eq!(report["written"]["negatives"], 14 * 15 - 1);
    let record: Value =
        serde_json::from_str(&fs::read_to_string(folder.path("m.parquet.mining.json")).unwrap())
            .unwrap();
    assert_eq!(record["corpus"][0]["new_documents"], 2);
    assert_eq!(record["report"], report);
    let again = ["--input", "m.parquet", "pairs.jsonl", "--output", "n.jsonl"];
    let refused = folder.mine(&again);
    assert_snapshot!(refused, @r"
    exit code 1
    --- stderr
    error: m.parquet has no column `question`, only `anchor`, `positive`, `negatives`; name the columns with --anchor-column and --positive-column
    ");
}

#[test]
fn what_cannot_be_mined_is_refused_before_anything_is_embedded() {
    let folder = Folder::new();
    folder.write("empty.jsonl", "\n");
    folder.write("bad.jsonl", "{\"question\":\"a\",\"sql\":\"b\"}\n{\"question\":\"c\"}\n");
    let mut all = String::new();
    for arguments in [
        &["--input", "pairs.jsonl", "--output", "m.csv"][..],
        &["--input", "absent.jsonl", "--output", "m.jsonl"],
        &["--input", "empty.jsonl", "--output", "m.jsonl"],
        &["--input", "bad.jsonl", "--output", "m.jsonl"],
        &["--input", "pairs.jsonl", "--output", "m.jsonl", "--relative-margin", "95"],
        &["--input", "pairs.jsonl", "--output", "m.jsonl", "--range-max", "2"],
        &["--input", "pairs.jsonl", "--output", "m.jsonl", "--corpus", "absent.txt"],
    ] {
        let run = folder.mine(arguments);
        assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{run}");
        all += &run.stderr;
    }
    assert_snapshot!(all, @r"
    error: m.csv is not a file of examples: expected .parquet, or .jsonl or .json (an object a line), the latter two also with .gz
    error: cannot open absent.jsonl: No such file or directory (os error 2)
    error: the source `empty.jsonl` has no examples
    error: 1 bad row: bad.jsonl: line 2: there is no `sql`; correct them, or leave them out with --on-bad-row skip
    error: `relative_margin`: expected a part of the positive's score, 0 to 1
    error: `range_max`: the places 0 to 2 have no room for 3 negatives; raise it, or lower `range_min` or `negatives`
    error: cannot open absent.txt: No such file or directory (os error 2)
    ");
    assert_eq!(folder.names(), ["bad.jsonl", "empty.jsonl", "pairs.jsonl"]);
    assert_eq!(run(&["mine", "--input", "pairs.jsonl"]).code, 2);
    let skipped =
        folder.mine_well(&["--input", "bad.jsonl", "--output", "m.jsonl", "--on-bad-row", "skip"]);
    assert!(skipped.stderr.contains("left out 1 bad row"), "{skipped}");
    assert_eq!(folder.json_lines("m.jsonl").len(), 1);
}

#[test]
fn a_language_model_may_judge_the_negatives() {
    let folder = Folder::new();
    let server = MockServer::start(|_, request, connection| {
        let question = request.body["messages"][1]["content"].as_str().unwrap();
        let document = question.split("----- document").nth(1).unwrap();
        let word = if document.contains("count(*)") { "Yes" } else { "no" };
        respond_json(connection, "200 OK", &completion(word, "stop"));
    });
    let filters = ["--negatives", "6", "--no-relative-margin", "--output", "m.jsonl"];
    let judge = ["--judge", "m", "--judge-endpoint", &server.base_url];
    let run = folder.mine_well(&[&INPUT[..], &filters, &judge].concat());
    let rows = folder.json_lines("m.jsonl");
    let negatives = || rows.iter().flat_map(|row| row["negatives"].as_array().unwrap());
    assert!(negatives().count() > 10);
    assert!(negatives().all(|text| !text.as_str().unwrap().contains("count(*)")), "{rows:?}");
    let dropped = 6 * 14 - negatives().count();
    assert_eq!(server.requests().len(), 6 * 14);
    let expected = format!(
        "84 negatives judged; dropped as right answers: {dropped}; kept without a clear word: 0"
    );
    assert!(dropped > 10 && run.stderr.contains(&expected), "{run}");

    // A judge that is gone: the vectors stay for the next run, and so does the old output.
    let old = fs::read(folder.path("m.jsonl")).unwrap();
    let gone = ["--judge", "m", "--judge-endpoint", "no-url"];
    let refused = folder.mine(&[&INPUT[..], &filters, &gone].concat());
    assert_eq!(refused.code, 1, "{refused}");
    assert!(refused.stderr.contains("the vectors of 28 texts are kept in"), "{refused}");
    assert_eq!(fs::read(folder.path("m.jsonl")).unwrap(), old);
    let run = folder.mine_well(&[&INPUT[..], &filters].concat());
    assert!(run.stderr.contains("28 of 28 texts are embedded already"), "{run}");
}
