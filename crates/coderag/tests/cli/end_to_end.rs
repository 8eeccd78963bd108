//! The main job on the real models: schema in, index, question, SQL, rows.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::program::{
    command, demo_database, have_models, language_model_alone, project, run, run_well,
};
use serde_json::Value;

const ENCODER: &str = "all-MiniLM-L6-v2";
const GENERATOR: &str = "qwen2.5-coder-0.5b-instruct";

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn real_data() -> Option<PathBuf> {
    let data = std::env::var_os("CODERAG_DATA")
        .map_or_else(|| project().join("../shared/data"), PathBuf::from);
    if !data.is_dir() {
        println!("skipped: no folder of real data at {}", data.display());
        return None;
    }
    Some(data)
}

#[test]
fn the_demo_answers_questions_with_and_without_an_index() {
    if !have_models(&[ENCODER, GENERATOR]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let demo = demo_database(folder.path());
    let index = folder.path().join("index").to_str().unwrap().to_owned();
    run_well(&["index", "build", "--corpus", &demo, "--output", &index]);
    run_well(&["index", "verify", "--index", &index]);
    let info = json(&run_well(&["index", "info", "--index", &index, "--json"]).stdout);
    assert_eq!(info["documents"], 8, "{info}");

    let question = "Which city has the most stations?";
    let search = ["index", "search", "--index", &index, question, "-k", "3", "--json"];
    let titles: Vec<Value> = json(&run_well(&search).stdout)["hits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|hit| hit["document"]["title"].clone())
        .collect();
    assert!(titles.contains(&"bicycle_rental.station".into()), "{titles:?}");

    let _alone = language_model_alone();
    let rows = |extra: &[&str]| -> Value {
        let arguments = [&["sql", question, "--db", &demo, "--execute", "--format", "json"], extra];
        json(&run_well(&arguments.concat()).stdout)["rows"].clone()
    };
    // Answered by the database itself, through another connection.
    let expected: String = rusqlite::Connection::open(&demo)
        .unwrap()
        .query_row(
            "SELECT name FROM city
             ORDER BY (SELECT count(*) FROM station WHERE city_id = city.city_id) DESC",
            [],
            |row| row.get(0),
        )
        .unwrap();
    let expected = serde_json::json!([[expected]]);
    assert_eq!(rows(&["--index", &index]), expected);
    assert_eq!(rows(&[]), expected);
}

#[test]
fn an_irrelevant_question_is_answered_with_a_refusal() {
    if !have_models(&[ENCODER]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let demo = demo_database(folder.path());
    let index = folder.path().join("index").to_str().unwrap().to_owned();
    run_well(&["index", "build", "--corpus", &demo, "--output", &index]);
    let question = "Who proved the incompleteness theorems?";
    let refused = run(&["sql", question, "--db", &demo, "--index", &index]);
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""), "{refused}");
    assert!(refused.stderr.contains("nothing in the database"), "{refused}");
}

#[test]
fn spider_singers_are_six() {
    let Some(data) = real_data() else { return };
    if !have_models(&[GENERATOR]) {
        return;
    }
    let database = data.join("spider/database/concert_singer/concert_singer.sqlite");
    let _alone = language_model_alone();
    let answer = run_well(&[
        "sql",
        "How many singers do we have?",
        "--db",
        database.to_str().unwrap(),
        "--execute",
        "--format",
        "json",
    ]);
    let answer = json(&answer.stdout);
    assert_eq!(answer["rows"], serde_json::json!([[6]]), "{answer}");
    assert_eq!(answer["tables"], serde_json::json!(["singer"]), "{answer}");
}

#[test]
fn an_index_is_refused_with_another_model_and_when_damaged() {
    if !have_models(&[ENCODER]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let demo = demo_database(folder.path());
    let index = folder.path().join("index");
    let named = index.to_str().unwrap();
    run_well(&["index", "build", "--corpus", &demo, "--output", named]);

    // The same weights with another length limit give other vectors.
    let original = run_well(&["models", "path", ENCODER]).stdout;
    let other = folder.path().join("other");
    copy_folder(original.trim().as_ref(), &other);
    fs::write(other.join("sentence_bert_config.json"), r#"{"max_seq_length": 128}"#).unwrap();
    let refused =
        run(&["index", "search", "--index", named, "rides", "--model", other.to_str().unwrap()]);
    assert_eq!(refused.code, 1, "{refused}");
    assert!(refused.stderr.contains(ENCODER), "{refused}");

    let vectors = index.join("vectors.usearch");
    let mut bytes = fs::read(&vectors).unwrap();
    bytes.truncate(bytes.len() / 2);
    fs::write(&vectors, bytes).unwrap();
    for arguments in [
        ["index", "search", "--index", named, "rides"].as_slice(),
        &["index", "verify", "--index", named],
    ] {
        let refused = run(arguments);
        assert_eq!(refused.code, 1, "{refused}");
        assert!(refused.stderr.contains("vectors.usearch"), "{refused}");
    }

    let weights = other.join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    bytes.truncate(1_000_000);
    fs::write(&weights, bytes).unwrap();
    let refused =
        run(&["embed", "--model", other.to_str().unwrap(), "--input", &demo, "--output", "-"]);
    assert_eq!(refused.code, 1, "{refused}");
    assert!(refused.stderr.contains("model.safetensors"), "{refused}");
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn vectors_are_the_same_in_every_file_format() {
    if !have_models(&[ENCODER]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(
        path("texts.jsonl"),
        "{\"q\": \"SELECT 1\"}\n{\"q\": \"\"}\n{\"q\": \"naïve café\"}\n",
    )
    .unwrap();
    let embed = |output: &str| {
        run_well(&[
            "embed",
            "--model",
            ENCODER,
            "--input",
            &path("texts.jsonl"),
            "--field",
            "q",
            "--output",
            output,
        ])
    };
    let printed = embed("-").stdout;
    for name in ["v.jsonl", "v.npy", "v.parquet"] {
        embed(&path(name));
    }
    assert_eq!(fs::read_to_string(path("v.jsonl")).unwrap(), printed);
    let lines: Vec<Value> = printed.lines().map(json).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[2]["text"], "naïve café");
    let values: Vec<f32> = lines
        .iter()
        .flat_map(|line| line["embedding"].as_array().unwrap())
        .map(|value| value.as_f64().unwrap() as f32)
        .collect();
    assert_eq!(values.len(), 3 * 384);
    let npy = fs::read(path("v.npy")).unwrap();
    let stored: Vec<f32> = npy[npy.len() - 4 * values.len()..]
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect();
    assert_eq!(stored, values);
    // A folder of texts in another shape, and a wrong extension, are refused before any work.
    let refused = run(&["embed", "--model", ENCODER, "--input", "-", "--output", &path("v.txt")]);
    assert!(refused.code == 1 && refused.stderr.contains(".npy, .parquet or .jsonl"), "{refused}");
}

#[test]
fn a_killed_build_leaves_the_old_index_and_the_next_build_succeeds() {
    if !have_models(&[ENCODER]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let tables = |count: usize| -> String {
        (0..count)
            .map(|number| format!("CREATE TABLE t{number} (id INTEGER, name_{number} TEXT);\n"))
            .collect()
    };
    fs::write(path("small.sql"), tables(3)).unwrap();
    fs::write(path("large.sql"), tables(2000)).unwrap();
    let build = |corpus: &str| {
        command(&["index", "build", "--corpus", &path(corpus), "--output", &path("index")])
    };
    let documents = || {
        run_well(&["index", "verify", "--index", &path("index")]);
        json(&run_well(&["index", "info", "--index", &path("index"), "--json"]).stdout)["documents"]
            .clone()
    };
    let leftovers = || {
        let names = fs::read_dir(folder.path()).unwrap();
        names
            .filter(|name| name.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'))
            .count()
    };
    assert!(build("small.sql").status().unwrap().success());
    let mut killed = build("large.sql").spawn().unwrap();
    while leftovers() == 0 {
        assert!(killed.try_wait().unwrap().is_none(), "ended before it could be killed");
        std::thread::sleep(Duration::from_millis(5));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert_eq!((documents(), leftovers()), (3.into(), 1));
    assert!(build("large.sql").status().unwrap().success());
    assert_eq!((documents(), leftovers()), (2000.into(), 0));
}
