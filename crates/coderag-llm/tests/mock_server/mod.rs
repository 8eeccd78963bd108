//! A small HTTP server on 127.0.0.1 that answers as a test tells it to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

/// What a client sent.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    /// Header names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Value,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// A running server; it lives until the process ends.
pub(crate) struct MockServer {
    pub(crate) base_url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl MockServer {
    /// Starts a server that lets `respond` write the whole response. The number counts the requests
    /// from 0. The connection closes after each.
    pub(crate) fn start(
        respond: impl Fn(usize, &Request, &mut TcpStream) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        let respond = Arc::new(respond);
        thread::spawn(move || {
            for connection in listener.incoming() {
                let (seen, respond) = (seen.clone(), respond.clone());
                thread::spawn(move || {
                    let mut connection = connection.unwrap();
                    let Some(request) = read_request(&connection) else { return };
                    let number = {
                        let mut seen = seen.lock().unwrap();
                        seen.push(request.clone());
                        seen.len() - 1
                    };
                    respond(number, &request, &mut connection);
                });
            }
        });
        Self { base_url, requests }
    }

    /// The requests so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn read_request(connection: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(connection);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length")?.1.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { path, headers, body: serde_json::from_slice(&body).ok()? })
}

/// Writes bytes; a client that has gone is no failure of a test.
pub(crate) fn send(connection: &mut TcpStream, bytes: impl AsRef<[u8]>) {
    let _ = connection.write_all(bytes.as_ref());
    let _ = connection.flush();
}

/// A complete response.
pub(crate) fn respond(connection: &mut TcpStream, status: &str, headers: &str, body: &str) {
    let length = body.len();
    send(
        connection,
        format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        ),
    );
}

pub(crate) fn respond_json(connection: &mut TcpStream, status: &str, body: &str) {
    respond(connection, status, "Content-Type: application/json\r\n", body);
}

/// The head of a stream that ends when the connection closes.
pub(crate) fn begin_stream(connection: &mut TcpStream) {
    send(
        connection,
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/event-stream; charset=utf-8\r\n\r\n",
    );
}

/// One event of a streamed answer.
pub(crate) fn piece(text: &str) -> String {
    let chunk = serde_json::json!({ "choices": [{ "index": 0, "delta": { "content": text }, "finish_reason": null }] });
    format!("data: {chunk}\n\n")
}

/// The events that end a streamed answer.
pub(crate) fn ending(reason: &str) -> String {
    format!(
        "data: {{\"choices\":[{{\"delta\":{{}},\"finish_reason\":\"{reason}\"}}]}}\n\n\
         data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":7,\"completion_tokens\":2,\"prompt_tokens_details\":{{\"cached_tokens\":3}}}}}}\n\n\
         data: [DONE]\n\n"
    )
}

/// A whole answer.
pub(crate) fn completion(text: &str, reason: &str) -> String {
    serde_json::json!({
        "choices": [{ "message": { "role": "assistant", "content": text }, "finish_reason": reason }],
        "usage": { "prompt_tokens": 7, "completion_tokens": 2 },
    })
    .to_string()
}
