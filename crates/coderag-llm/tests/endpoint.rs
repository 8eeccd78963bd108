//! The endpoint client against a server that answers well, badly and not at all.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod mock_server;

use std::net::TcpListener;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use coderag_core::{ChatModel, ChatRequest, FinishReason, Message, Random, Sampling, Usage};
use coderag_llm::{Endpoint, EndpointConfig, Error, Traffic};
use serde_json::json;

use mock_server::{
    MockServer, begin_stream, completion, ending, piece, respond, respond_json, send,
};

fn config(base_url: &str) -> EndpointConfig {
    EndpointConfig {
        base_url: base_url.to_owned(),
        model: "tiny".to_owned(),
        api_key_variable: "CODERAG_TEST_ABSENT_KEY".to_owned(),
        idle_timeout_seconds: 1.0,
        first_pause_seconds: 0.001,
        longest_pause_seconds: 0.05,
        ..EndpointConfig::default()
    }
}

fn endpoint(server: &MockServer) -> Endpoint {
    Endpoint::new(config(&server.base_url)).unwrap()
}

fn question() -> ChatRequest {
    ChatRequest::new(vec![Message::user("Hi")])
}

/// Leaves the client waiting.
fn hang() {
    std::thread::sleep(Duration::from_secs(5));
}

/// The pieces of an answer and the answer.
fn stream(endpoint: &Endpoint) -> (Vec<String>, coderag_core::Result<coderag_core::ChatResponse>) {
    let mut pieces = Vec::new();
    let response = endpoint.chat_streaming(&question(), &mut |piece| {
        pieces.push(piece.to_owned());
        ControlFlow::Continue(())
    });
    (pieces, response)
}

/// The text of an error and of all its causes, as the binary prints it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(&format!(": {error}"));
        next = error.source();
    }
    text
}

/// What the endpoint says about a server that fails for good: the whole chain.
fn refusal(config: EndpointConfig) -> String {
    let error = Endpoint::new(config).unwrap().chat(&question()).unwrap_err();
    let text = chain(&error);
    assert!(text.starts_with("the language model tiny: "), "{text}");
    text
}

#[test]
fn a_stream_is_put_together_however_it_is_cut() {
    let server = MockServer::start(|number, _, connection| {
        begin_stream(connection);
        let answer = format!(
            ": hello\r\n\r\ndata: {{\"choices\":\r\ndata: [{{\"delta\":{{\"content\":\"SÉLECT\"}}}}]}}\r\n\r\n{}{}{}",
            piece(" 1 😀").replace('\n', "\r\n"),
            piece(""),
            ending("stop"),
        );
        // One byte, two bytes, and so on at a time: characters and line ends are cut.
        for bytes in answer.as_bytes().chunks(number + 1) {
            send(connection, bytes);
        }
    });
    let endpoint = endpoint(&server);
    for _ in 0..5 {
        let (pieces, response) = stream(&endpoint);
        let response = response.unwrap();
        assert_eq!(pieces, ["SÉLECT", " 1 😀"]);
        assert_eq!(response.text, "SÉLECT 1 😀");
        assert_eq!(response.finish_reason, FinishReason::Stop);
        let usage = Usage { prompt_tokens: 7, cached_tokens: 3, completion_tokens: 2 };
        assert_eq!(response.usage, usage);
    }
}

#[test]
fn every_setting_of_the_request_is_sent() {
    let server = MockServer::start(|_, _, connection| {
        respond_json(connection, "200 OK", &completion("ok", "stop"));
    });
    let request = ChatRequest {
        messages: vec![Message::system("s"), Message::user("u"), Message::assistant("a")],
        sampling: Sampling { temperature: 0.25, top_p: 0.5, seed: 9 },
        max_tokens: 33,
        stop: vec!["\n\n".to_owned()],
    };
    endpoint(&server).chat(&request).unwrap();
    let requests = server.requests();
    assert_eq!(requests[0].path, "/v1/chat/completions");
    assert_eq!(requests[0].header("authorization"), None);
    assert_eq!(
        requests[0].body,
        json!({
            "model": "tiny",
            "messages": [
                { "role": "system", "content": "s" },
                { "role": "user", "content": "u" },
                { "role": "assistant", "content": "a" },
            ],
            "temperature": 0.25,
            "top_p": 0.5,
            "seed": 9,
            "max_tokens": 33,
            "stop": ["\n\n"],
            "stream": true,
            "stream_options": { "include_usage": true },
        })
    );
}

#[test]
fn a_server_that_ignores_the_wish_for_a_stream_gives_one_piece() {
    let server = MockServer::start(|_, _, connection| {
        respond_json(connection, "200 OK", &completion("whole", "stop"));
    });
    let (pieces, response) = stream(&endpoint(&server));
    assert_eq!(pieces, ["whole"]);
    let response = response.unwrap();
    assert_eq!((response.text.as_str(), response.usage.prompt_tokens), ("whole", 7));
}

#[test]
fn without_streaming_a_whole_answer_is_asked_for() {
    let server = MockServer::start(|_, _, connection| {
        respond_json(connection, "200 OK", &completion("whole", "stop"));
    });
    let config = EndpointConfig { stream: false, ..config(&server.base_url) };
    let response = Endpoint::new(config).unwrap().chat(&question()).unwrap();
    assert_eq!(response.text, "whole");
    let body = &server.requests()[0].body;
    assert_eq!(body["stream"], json!(false));
    assert!(body.get("stream_options").is_none());
}

#[test]
fn a_server_without_stream_options_is_asked_without_them() {
    let server = MockServer::start(|_, request, connection| {
        if request.body.get("stream_options").is_some() {
            let body = r#"{"error": {"message": "unknown field stream_options"}}"#;
            respond_json(connection, "400 Bad Request", body);
        } else {
            begin_stream(connection);
            send(connection, piece("ok") + &ending("stop"));
        }
    });
    let endpoint = endpoint(&server);
    assert_eq!(endpoint.chat(&question()).unwrap().text, "ok");
    assert_eq!(endpoint.chat(&question()).unwrap().text, "ok");
    assert_eq!(server.requests().len(), 3, "the second request leaves them out at once");
}

#[test]
fn an_answer_cut_by_the_token_limit_says_so() {
    let server = MockServer::start(|number, _, connection| {
        if number == 0 {
            begin_stream(connection);
            send(connection, piece("SELECT") + &ending("length"));
        } else {
            respond_json(connection, "200 OK", &completion("SELECT", "length"));
        }
    });
    let endpoint = endpoint(&server);
    for _ in 0..2 {
        let response = endpoint.chat(&question()).unwrap();
        assert_eq!(response.text, "SELECT");
        assert_eq!(response.finish_reason, FinishReason::Length);
    }
}

#[test]
fn a_stream_may_end_without_done_but_not_without_a_reason() {
    let server = MockServer::start(|number, _, connection| {
        begin_stream(connection);
        if number == 0 {
            // So llama-cpp-python ends a stream that another request interrupts.
            send(connection, piece("half") + "data: [DONE]\n");
        } else {
            let last = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}";
            send(connection, piece("ok") + last);
        }
    });
    let response = endpoint(&server).chat(&question()).unwrap();
    assert_eq!((response.text.as_str(), response.finish_reason), ("ok", FinishReason::Stop));
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_receiver_that_breaks_off_cancels_the_answer() {
    let server = MockServer::start(|_, _, connection| {
        begin_stream(connection);
        send(connection, piece("one") + &piece("two") + &piece("three"));
        hang();
    });
    let mut pieces = 0;
    let response = endpoint(&server)
        .chat_streaming(&question(), &mut |_| {
            pieces += 1;
            if pieces == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    assert_eq!(response.text, "onetwo");
    assert_eq!(response.finish_reason, FinishReason::Cancelled);
}

/// Answers badly, in one of five ways.
fn fail(kind: u64, connection: &mut std::net::TcpStream) {
    match kind {
        0 => respond(connection, "429 Too Many Requests", "Retry-After: 0\r\n", "{}"),
        1 => respond_json(connection, "500 Internal Server Error", "{\"error\": \"oops\"}"),
        2 => hang(),
        3 => respond_json(connection, "200 OK", &completion("half", "stop")[..40]),
        _ => {
            begin_stream(connection);
            send(connection, piece("never shown to chat()"));
        }
    }
}

/// A number that looks random and depends on nothing but its place.
fn scrambled(number: usize) -> u64 {
    (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33
}

#[test]
fn a_fifth_of_the_requests_may_fail_in_any_one_way() {
    for kind in 0..5 {
        let server = MockServer::start(move |number, _, connection| {
            if scrambled(number).is_multiple_of(5) {
                fail(kind, connection);
            } else {
                begin_stream(connection);
                send(connection, piece("ok") + &ending("stop"));
            }
        });
        let endpoint = endpoint(&server);
        for _ in 0..20 {
            assert_eq!(endpoint.chat(&question()).unwrap().text, "ok");
        }
        let failed = server.requests().len() - 20;
        assert!(failed >= 2, "{failed} failures of kind {kind}");
    }
}

#[test]
fn a_server_that_fails_in_all_ways_at_once_is_asked_until_it_answers() {
    let server = MockServer::start(|number, _, connection| match scrambled(number) % 6 {
        5 => respond_json(connection, "200 OK", &completion("ok", "stop")),
        kind => fail(kind, connection),
    });
    let config = EndpointConfig { retries: 60, ..config(&server.base_url) };
    let endpoint = Endpoint::new(config).unwrap();
    for _ in 0..5 {
        assert_eq!(endpoint.chat(&question()).unwrap().text, "ok");
    }
    assert!(server.requests().len() > 10);
}

/// Starts a server that answers one request in five. The seed and the number of a request decide which,
/// and how the others fail. Also returns its own counts.
fn flaky_server(seed: u64) -> (MockServer, Arc<Mutex<Traffic>>) {
    let counts = Arc::new(Mutex::new(Traffic::default()));
    let counted = counts.clone();
    let server = MockServer::start(move |number, _, connection| {
        let kind = (Random::derived(seed, &[number as u64]).uniform() / 0.16) as u64;
        {
            let mut counts = counted.lock().unwrap();
            counts.attempts += 1;
            *match kind {
                0 => &mut counts.rate_limited,
                1 => &mut counts.server_errors,
                2 => &mut counts.timeouts,
                3 => &mut counts.malformed,
                4 => &mut counts.disconnected,
                _ => &mut counts.answers,
            } += 1;
        }
        if kind < 5 {
            fail(kind, connection);
        } else {
            begin_stream(connection);
            send(connection, piece("ok") + &ending("stop"));
        }
    });
    (server, counts)
}

#[test]
fn many_threads_get_all_their_answers_from_a_flaky_server_and_count_as_it_does() {
    let (server, counts) = flaky_server(1);
    let config = EndpointConfig { retries: 100, ..config(&server.base_url) };
    let endpoint = Endpoint::new(config).unwrap();
    let asked = AtomicUsize::new(0);
    scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while asked.fetch_add(1, Ordering::Relaxed) < 200 {
                    assert_eq!(endpoint.chat(&question()).unwrap().text, "ok");
                }
            });
        }
    });
    let traffic = endpoint.traffic();
    println!("{traffic:?}");
    assert_eq!(traffic, *counts.lock().unwrap());
    assert_eq!(traffic.answers, 200);
    assert_eq!(traffic.attempts, traffic.answers + traffic.failures());
    // 800 are expected; the bounds are six standard deviations of a negative binomial count away.
    assert!((420..1180).contains(&traffic.failures()), "{traffic:?}");
    for failures in [
        traffic.rate_limited,
        traffic.server_errors,
        traffic.timeouts,
        traffic.malformed,
        traffic.disconnected,
    ] {
        assert!(failures > 80, "{traffic:?}");
    }
}

#[test]
fn each_attempt_counts_once_whatever_became_of_it() {
    let server = MockServer::start(|number, _, connection| match number {
        0 => respond_json(connection, "400 Bad Request", "{\"error\": \"stream_options\"}"),
        1 => respond_json(connection, "503 Service Unavailable", "{}"),
        2 => respond_json(connection, "200 OK", "{\"error\": \"out of memory\"}"),
        3 => respond_json(connection, "429 Too Many Requests", "{}"),
        4 => respond_json(connection, "200 OK", &completion("ok", "stop")),
        5 => respond_json(connection, "200 OK", "{\"choices\": []}"),
        _ => respond_json(connection, "404 Not Found", "{}"),
    });
    let endpoint = endpoint(&server);
    endpoint.chat(&question()).unwrap();
    endpoint.chat(&question()).unwrap_err();
    endpoint.chat(&question()).unwrap_err();
    let expected = Traffic {
        attempts: 7,
        answers: 1,
        rate_limited: 1,
        server_errors: 2,
        malformed: 1,
        refused: 2,
        ..Traffic::default()
    };
    assert_eq!(endpoint.traffic(), expected);
    let json = serde_json::to_string(&expected).unwrap();
    assert_eq!(serde_json::from_str::<Traffic>(&json).unwrap(), expected);
}

#[test]
fn what_is_no_json_passes_from_a_server_that_speaks_it() {
    let page = "<html>502 Bad Gateway</html>";
    let server = MockServer::start(move |number, _, connection| match number {
        0 => respond_json(connection, "200 OK", &format!("{{\"choices\": [{page}")),
        2 => respond(connection, "200 OK", "Content-Type: text/html\r\n", page),
        3 => {
            begin_stream(connection);
            send(connection, format!("data: {page}\n\n"));
        }
        _ => respond_json(connection, "200 OK", &completion("ok", "stop")),
    });
    let endpoint = endpoint(&server);
    for attempts in [2, 5] {
        assert_eq!(endpoint.chat(&question()).unwrap().text, "ok");
        assert_eq!(endpoint.traffic().attempts, attempts);
    }
    assert_eq!(endpoint.traffic().malformed, 3);
}

#[test]
fn an_interruption_ends_a_pause_with_what_had_failed() {
    let server = MockServer::start(|_, _, connection| {
        respond_json(connection, "500 Internal Server Error", "{\"error\": \"oops\"}");
    });
    let patient = EndpointConfig {
        first_pause_seconds: 60.0,
        longest_pause_seconds: 60.0,
        ..config(&server.base_url)
    };
    let interrupted = Arc::new(AtomicBool::new(false));
    let endpoint = Endpoint::new(patient).unwrap().interrupted_by(interrupted.clone());
    let begin = Instant::now();
    scope(|scope| {
        let asking = scope.spawn(|| endpoint.chat(&question()));
        while endpoint.traffic().server_errors == 0 {
            sleep(Duration::from_millis(5));
        }
        interrupted.store(true, Ordering::Relaxed);
        let error = asking.join().unwrap().unwrap_err();
        assert!(chain(&error).contains("HTTP 500: oops"), "{}", chain(&error));
    });
    assert!(begin.elapsed() < Duration::from_secs(25), "the shortest pause is 30 s");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn retries_end_with_the_last_error() {
    let server = MockServer::start(|_, _, connection| {
        let body = r#"{"error": {"message": "the model is loading"}}"#;
        respond_json(connection, "503 Service Unavailable", body);
    });
    let text = refusal(config(&server.base_url));
    assert!(text.contains("HTTP 503: the model is loading"), "{text}");
    assert_eq!(server.requests().len(), 4, "once and three times again");
}

#[test]
fn what_cannot_pass_is_not_tried_again() {
    for status in ["400 Bad Request", "401 Unauthorized", "404 Not Found", "422 Unprocessable"] {
        let server = MockServer::start(move |_, _, connection| {
            respond_json(connection, status, r#"{"detail": "no"}"#);
        });
        refusal(config(&server.base_url));
        assert_eq!(server.requests().len(), 1, "{status}");
    }
}

#[test]
fn the_server_decides_when_it_is_asked_again_up_to_a_limit() {
    let server = MockServer::start(|number, _, connection| match number {
        0 => respond(connection, "429 Too Many Requests", "Retry-After: 0.2\r\n", "{}"),
        1 => respond(connection, "429 Too Many Requests", "Retry-After: 3600\r\n", "{}"),
        _ => respond_json(connection, "200 OK", &completion("ok", "stop")),
    });
    let config = EndpointConfig { longest_pause_seconds: 0.4, ..config(&server.base_url) };
    let begin = Instant::now();
    Endpoint::new(config).unwrap().chat(&question()).unwrap();
    let elapsed = begin.elapsed();
    assert!(elapsed >= Duration::from_millis(600), "{elapsed:?}");
    assert!(elapsed < Duration::from_secs(5), "{elapsed:?}");
}

#[test]
fn nothing_is_tried_again_once_a_piece_was_handed_on() {
    let server = MockServer::start(|_, _, connection| {
        begin_stream(connection);
        send(connection, piece("SELECT") + &piece(" 1"));
    });
    let (pieces, response) = stream(&endpoint(&server));
    assert_eq!(pieces, ["SELECT", " 1"]);
    let text = chain(&response.unwrap_err());
    assert!(text.contains("closed the stream") && text.contains("after 8 characters"), "{text}");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_stream_that_fails_before_its_first_piece_is_tried_again() {
    let server = MockServer::start(|number, _, connection| {
        begin_stream(connection);
        match number {
            0 => send(connection, "data: {\"error\": {\"message\": \"overloaded\"}}\n\n"),
            1 => send(connection, "data: {\"choices\": [{\"del"),
            2 => send(connection, ": only a comment\n\n"),
            _ => send(connection, piece("ok") + &ending("stop")),
        }
    });
    let (pieces, response) = stream(&endpoint(&server));
    response.unwrap();
    assert_eq!(pieces, ["ok"]);
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn a_dead_endpoint_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
    drop(listener);
    let text = refusal(config(&base_url));
    assert!(text.contains(&format!("cannot connect to {base_url}")), "{text}");
    assert!(text.contains("base_url") && text.contains("refused"), "{text}");
}

#[test]
fn a_server_that_speaks_no_tls_is_told_from_a_dead_one() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base_url = format!("https://{}/v1", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            respond(&mut connection.unwrap(), "400 Bad Request", "", "");
        }
    });
    // Without certificate authorities on the machine no https client can be made at all.
    match Endpoint::new(config(&base_url)) {
        Ok(endpoint) => {
            let text = chain(&endpoint.chat(&question()).unwrap_err());
            assert!(text.contains("cannot make a TLS connection"), "{text}");
        }
        Err(error) => {
            assert!(matches!(&error, Error::Client { .. }), "{error}");
            assert!(chain(&error).contains("CA certificates"), "{}", chain(&error));
        }
    }
}

#[test]
fn a_silent_server_and_a_slow_one_run_out_of_time() {
    let server = MockServer::start(|_, _, _| hang());
    let once = EndpointConfig { retries: 0, ..config(&server.base_url) };
    let text = refusal(once);
    assert!(text.contains("took too long") && text.contains("idle_timeout_seconds"), "{text}");

    let server = MockServer::start(|_, _, connection| {
        begin_stream(connection);
        for _ in 0..50 {
            send(connection, piece("x"));
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let begin = Instant::now();
    let impatient = EndpointConfig { total_timeout_seconds: 0.6, ..config(&server.base_url) };
    let text = refusal(impatient);
    assert!(text.contains("total_timeout_seconds"), "{text}");
    assert!(begin.elapsed() < Duration::from_secs(3));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn retries_stay_within_the_total_time() {
    let server = MockServer::start(|_, _, connection| {
        respond_json(connection, "500 Internal Server Error", "{}");
    });
    let config = EndpointConfig {
        retries: 1000,
        longest_pause_seconds: 0.1,
        first_pause_seconds: 0.1,
        total_timeout_seconds: 0.5,
        ..config(&server.base_url)
    };
    let begin = Instant::now();
    let text = refusal(config);
    assert!(text.contains("HTTP 500"), "{text}");
    assert!(begin.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_refused_key_names_the_variable_it_was_read_from() {
    let server = MockServer::start(|_, request, connection| {
        let sent = request.header("authorization").unwrap_or("nothing");
        let body = format!(r#"{{"error": {{"message": "Incorrect API key: {sent}"}}}}"#);
        respond_json(connection, "401 Unauthorized", &body);
    });
    let text = refusal(config(&server.base_url));
    assert!(text.contains("CODERAG_TEST_ABSENT_KEY is not set"), "{text}");
    // Cargo sets this one for every test, so it can stand for a key.
    let with_key = EndpointConfig {
        api_key_variable: "CARGO_MANIFEST_DIR".to_owned(),
        ..config(&server.base_url)
    };
    let text = refusal(with_key);
    assert!(text.contains("read from the environment variable CARGO_MANIFEST_DIR"), "{text}");
    assert!(text.contains("Incorrect API key: Bearer [key]"), "{text}");
    assert!(!text.contains(env!("CARGO_MANIFEST_DIR")), "{text}");
    let sent = server.requests()[1].header("authorization").unwrap().to_owned();
    assert_eq!(sent, format!("Bearer {}", env!("CARGO_MANIFEST_DIR")));
}

#[test]
fn a_missing_address_or_model_is_explained() {
    let server = MockServer::start(|_, _, connection| {
        respond(connection, "404 Not Found", "Content-Type: text/html\r\n", "<h1>Not\nFound</h1>");
    });
    let text = refusal(config(&server.base_url));
    assert!(text.contains("<h1>Not Found</h1>"), "{text}");
    assert!(text.contains("`tiny`") && text.contains("base_url"), "{text}");
}

#[test]
fn an_answer_that_is_no_completion_is_quoted() {
    for (body, expected) in [
        ("<!doctype html><title>Log in</title>", "but with `<!doctype html><title>Log in</title>`"),
        ("[1, 2]", "but with `[1, 2]`"),
        ("{\"choices\": [{\"message\": {\"content\": 7}}]}", "did not answer with chat completion"),
        ("{\"choices\": []}", "without any choices: `{\"choices\": []}`"),
        ("{\"object\": \"list\"}", "without any choices"),
        ("{\"error\": {\"message\": \"out of memory\"}}", "failed while answering: out of memory"),
        ("", "ends in the middle"),
    ] {
        let server = MockServer::start(move |_, _, connection| {
            respond(connection, "200 OK", "", body);
        });
        let text = refusal(config(&server.base_url));
        assert!(text.contains(expected), "{text}");
    }
    let garbage = format!("{}é{}", "x".repeat(299), "y".repeat(100_000));
    let server = MockServer::start(move |_, _, connection| {
        respond(connection, "200 OK", "", &garbage);
    });
    let text = refusal(config(&server.base_url));
    assert!(text.contains("xé...") && text.len() < 1000, "{text}");
}

#[test]
fn a_stream_of_garbage_or_without_an_answer_is_an_error() {
    for (events, expected) in [
        ("data: hello\n\n", "did not answer with chat completion JSON but with `hello`"),
        ("data: [DONE]\n\n", "without any choices"),
        (
            "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"content_filter\"}]}\n\n",
            "content filter",
        ),
    ] {
        let server = MockServer::start(move |_, _, connection| {
            begin_stream(connection);
            send(connection, events);
        });
        let text = refusal(config(&server.base_url));
        assert!(text.contains(expected), "{text}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn a_redirect_is_named_and_not_followed() {
    let other = MockServer::start(|_, _, connection| {
        respond_json(connection, "200 OK", &completion("stolen", "stop"));
    });
    let elsewhere = other.base_url.clone();
    let server = MockServer::start(move |_, _, connection| {
        let location = format!("Location: {elsewhere}/chat/completions\r\n");
        respond(connection, "307 Temporary Redirect", &location, "");
    });
    let with_key = EndpointConfig {
        api_key_variable: "CARGO_MANIFEST_DIR".to_owned(),
        ..config(&server.base_url)
    };
    let text = refusal(with_key);
    assert!(text.contains(&format!("redirects to {}", other.base_url)), "{text}");
    assert!(other.requests().is_empty());
}

#[test]
fn settings_that_cannot_work_are_refused_before_anything_is_sent() {
    let refuse = |config: EndpointConfig| Endpoint::new(config).unwrap_err().to_string();
    let good = config("http://127.0.0.1:1/v1");
    let text = refuse(EndpointConfig { model: String::new(), ..good.clone() });
    assert!(text.contains("`model`"), "{text}");
    let text = refuse(EndpointConfig { base_url: "127.0.0.1".to_owned(), ..good });
    assert!(text.contains("`base_url`"), "{text}");
    let error = serde_json::from_value::<EndpointConfig>(json!({ "modell": "x" })).unwrap_err();
    assert!(error.to_string().contains("unknown field `modell`"), "{error}");
}
