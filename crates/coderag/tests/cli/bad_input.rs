//! Whatever a user gets wrong ends in one clear line and the right exit code.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;

use crate::program::{Run, command, demo_database, finish, run};
use insta::assert_snapshot;

/// A run with an empty model cache, its temporary folder spelt `[FOLDER]`.
fn run_in(folder: &Path, arguments: &[&str]) -> String {
    let arguments: Vec<String> =
        arguments.iter().map(|argument| argument.replace("[FOLDER]", path(folder))).collect();
    let mut command = command(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    command.env("CODERAG_CACHE", folder.join("cache"));
    finish(command).to_string().replace(path(folder), "[FOLDER]")
}

fn path(folder: &Path) -> &str {
    folder.to_str().unwrap()
}

/// A server that answers every request with these bytes.
fn server(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = vec![0; 65536];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    format!("http://{address}/v1")
}

#[test]
fn a_model_that_is_not_pulled_or_not_known() {
    let folder = tempfile::tempdir().unwrap();
    let demo = demo_database(folder.path());
    let pulled = ["sql", "How many?", "--db", &demo];
    assert_snapshot!(run_in(folder.path(), &pulled), @r"
    exit code 1
    --- stderr
    error: the model `qwen2.5-coder-0.5b-instruct` is not installed; run: coderag models pull qwen2.5-coder-0.5b-instruct
    ");
    let unknown = ["sql", "How many?", "--db", &demo, "--model", "qwen2.5-coder-15b-instruct"];
    assert_snapshot!(run_in(folder.path(), &unknown), @r"
    exit code 1
    --- stderr
    error: `qwen2.5-coder-15b-instruct` is neither an existing file or folder nor a model's name; did you mean `qwen2.5-coder-1.5b-instruct`? (`coderag models list` lists the names)
    ");
    assert_snapshot!(run_in(folder.path(), &["models", "pull", "all-minilm"]), @r"
    exit code 1
    --- stderr
    error: no model is called `all-minilm`; did you mean `all-MiniLM-L6-v2`? (`coderag models list` lists the names)
    ");
}

#[test]
fn a_path_that_is_not_what_it_should_be() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    fs::write(&text, "not a database, and longer than the header of one would be: ".repeat(20))
        .unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    for (arguments, what) in [
        (vec!["sql", "q", "--db", "[FOLDER]/absent.sqlite"], "absent.sqlite"),
        (vec!["sql", "q", "--db", "[FOLDER]/notes.txt"], "notes.txt"),
        (vec!["sql", "q", "--db", "[FOLDER]/empty"], "empty"),
        (vec!["index", "info", "--index", "[FOLDER]/absent"], "absent"),
        (vec!["index", "verify", "--index", "[FOLDER]/empty"], "empty"),
        (vec!["index", "search", "--index", "[FOLDER]/notes.txt", "q"], "notes.txt"),
        (vec!["embed", "--model", "[FOLDER]/empty", "--input", "-", "--output", "-"], "empty"),
    ] {
        let text = run_in(folder.path(), &arguments);
        assert!(text.starts_with("exit code 1\n--- stderr\nerror: "), "{arguments:?}\n{text}");
        assert!(text.contains(what), "{arguments:?}\n{text}");
    }
}

#[test]
fn a_card_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("texts.txt"), "a\n").unwrap();
    let model =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../coderag-encoder/tests/fixtures/small-bert");
    let embed = |device| {
        run_in(
            folder.path(),
            &[
                "--device",
                device,
                "embed",
                "--model",
                model,
                "--input",
                "[FOLDER]/texts.txt",
                "--output",
                "-",
            ],
        )
    };
    let text = embed("cuda:4096");
    assert!(text.starts_with("exit code 1\n--- stderr\nerror: cannot use cuda:4096: "), "{text}");
    // Without one, the processor does it.
    assert!(embed("auto").starts_with("exit code 0\n"));
    assert!(embed("cpu").starts_with("exit code 0\n"));
}

#[test]
fn wrong_usage_is_exit_code_2() {
    assert_eq!(run(&["sql"]).code, 2);
    assert_eq!(run(&["index", "search", "--index", "i"]).code, 2);
    assert_eq!(run(&["--device", "gpu", "models", "list"]).code, 2);
    assert_eq!(run(&["--threads", "0", "models", "list"]).code, 2);
}

#[test]
fn an_endpoint_that_is_dead_or_answers_garbage() {
    let folder = tempfile::tempdir().unwrap();
    let demo = demo_database(folder.path());
    let ask = |endpoint: &str| -> Run {
        run(&["sql", "How many?", "--db", &demo, "--endpoint", endpoint, "--model", "m"])
    };
    // A port that was free a moment ago.
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let garbage =
        server("HTTP/1.1 200 OK\r\nContent-Length: 14\r\nConnection: close\r\n\r\n<html>no</html");
    let not_http = server("hello\r\n\r\n");
    for endpoint in [format!("http://{dead}/v1"), garbage, not_http, "no-url".to_owned()] {
        let run = ask(&endpoint);
        assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{endpoint}: {run}");
        // The lines before it tell of the attempts.
        let error = run.stderr.lines().last().unwrap_or_default();
        assert!(
            error.starts_with("error: the language model m: ") || !endpoint.contains(':'),
            "{run}"
        );
        let named = endpoint.trim_start_matches("http://").trim_end_matches("/v1");
        assert!(error.contains(named), "{endpoint}: {run}");
    }
}

#[test]
fn an_unknown_key_of_a_settings_file() {
    let folder = tempfile::tempdir().unwrap();
    let demo = demo_database(folder.path());
    fs::write(folder.path().join("sql.toml"), "[limits]\nmax_row = 3\n").unwrap();
    let arguments = ["sql", "How many?", "--db", &demo, "--config", "[FOLDER]/sql.toml"];
    assert_snapshot!(run_in(folder.path(), &arguments), @r"
    exit code 1
    --- stderr
    error: [FOLDER]/sql.toml: line 2: unknown key `max_row`; did you mean `max_rows`?
    ");
}

#[test]
fn a_closed_pipe_is_no_error() {
    use std::process::Stdio;
    let mut child = command(&["models", "list"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}
