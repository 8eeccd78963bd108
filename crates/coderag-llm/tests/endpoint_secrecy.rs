//! The key shows up nowhere: not in logs at any level, not in errors, not in `Debug`.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod mock_server;

use std::io;
use std::process::Command;

use coderag_core::{ChatModel, ChatRequest, Message};
use coderag_llm::{Endpoint, EndpointConfig};

use mock_server::{MockServer, begin_stream, completion, ending, piece, respond_json, send};

const KEY: &str = "sk-test-5f1c9a7e42d84b0c";
const VARIABLE: &str = "CODERAG_TEST_SECRET_KEY";

/// Runs the test below in a process of its own that has the key, and reads all it printed.
#[test]
fn the_key_is_sent_and_never_shown() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "everything_is_printed", "--nocapture"])
        .env(VARIABLE, format!(" {KEY}\n"))
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}");
    assert!(printed.contains("asking the endpoint again"), "logs were captured: {printed}");
    assert!(printed.contains("refused access"), "errors were printed: {printed}");
    assert!(printed.contains("Secret([key])"), "the endpoint was printed: {printed}");
    assert!(!printed.contains(KEY), "{printed}");
}

/// With the key in the environment: asks servers that answer, fail and quote the key, with all logs
/// on, and prints what a caller could print.
#[test]
fn everything_is_printed() {
    if std::env::var_os(VARIABLE).is_none() {
        return;
    }
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(io::stderr)
        .init();
    let server = MockServer::start(|number, request, connection| {
        let sent = request.header("authorization").unwrap_or_default();
        assert_eq!(request.path, "/v1/chat/completions");
        assert_eq!(request.body["model"], "tiny");
        assert_eq!(sent, format!("Bearer {KEY}"));
        let echo = format!("{{\"error\": {{\"message\": \"bad key {sent}\"}}}}");
        match number {
            0 => respond_json(connection, "500 Internal Server Error", &echo),
            1 => {
                begin_stream(connection);
                send(connection, format!("data: {echo}\n\n"));
            }
            2 => respond_json(connection, "200 OK", &format!("{{{KEY}")),
            3 => {
                begin_stream(connection);
                send(connection, piece("ok") + &ending("stop"));
            }
            4 => respond_json(connection, "418 I'm a teapot", &completion(KEY, "stop")),
            _ => respond_json(connection, "403 Forbidden", &echo),
        }
    });
    let endpoint = Endpoint::new(EndpointConfig {
        base_url: server.base_url.clone(),
        model: "tiny".to_owned(),
        api_key_variable: VARIABLE.to_owned(),
        first_pause_seconds: 0.001,
        ..EndpointConfig::default()
    })
    .unwrap();
    eprintln!("{endpoint:#?}");
    for _ in 0..4 {
        match endpoint.chat(&ChatRequest::new(vec![Message::user("Hi")])) {
            Ok(response) => eprintln!("{response:?}"),
            Err(error) => {
                eprintln!("{error:?}");
                let mut next: Option<&dyn std::error::Error> = Some(&error);
                while let Some(error) = next {
                    eprintln!("{error}");
                    next = error.source();
                }
            }
        }
    }
    assert!(server.requests().len() >= 6);
}
