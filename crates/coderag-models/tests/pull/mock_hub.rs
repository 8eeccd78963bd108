//! A model hub on 127.0.0.1, as the public one behaves: small files come from the hub itself after a
//! relative redirect, large ones from another origin that the hub redirects to.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use coderag_core::Digest;

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A running hub; its threads end with the test process.
#[derive(Clone)]
pub(crate) struct MockHub {
    state: Arc<Mutex<State>>,
    pub(crate) endpoint: String,
    storage: String,
}

#[derive(Default)]
struct State {
    files: HashMap<String, File>,
    requests: Vec<Request>,
    faults: Faults,
}

#[derive(Clone)]
struct File {
    content: Vec<u8>,
    large: bool,
    /// The digest that the hub announces.
    announced: Digest,
}

/// What goes wrong.
#[derive(Clone, Default)]
pub(crate) struct Faults {
    /// The next body ends after so many bytes.
    pub(crate) cut_after: Option<usize>,
    /// Bodies stop after so many bytes and nothing follows.
    pub(crate) stall_after: Option<usize>,
    /// The next so many requests are answered with this status.
    pub(crate) status: Option<(usize, u16)>,
    pub(crate) ignores_ranges: bool,
    /// Requests without this token are refused.
    pub(crate) token: Option<&'static str>,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    /// Whether it came to the storage, not to the hub.
    pub(crate) storage: bool,
}

impl MockHub {
    pub(crate) fn start() -> Self {
        let bind = || TcpListener::bind("127.0.0.1:0").unwrap();
        let address = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
        let (hub, storage) = (bind(), bind());
        let this =
            Self { state: Arc::default(), endpoint: address(&hub), storage: address(&storage) };
        for (listener, is_storage) in [(hub, false), (storage, true)] {
            let this = this.clone();
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let this = this.clone();
                    // A client that hangs up in the middle is part of the tests.
                    thread::spawn(move || drop(this.answer(stream, is_storage)));
                }
            });
        }
        this
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Serves a file of the repository `owner/tiny`.
    pub(crate) fn serve(&self, path: &str, content: &[u8], large: bool) {
        self.serve_announced(path, content, Digest::of(content), large);
    }

    /// Serves a file, announced with a digest of another content.
    pub(crate) fn serve_announced(
        &self,
        path: &str,
        content: &[u8],
        announced: Digest,
        large: bool,
    ) {
        let file = File { content: content.to_owned(), large, announced };
        self.state().files.insert(path.to_owned(), file);
    }

    pub(crate) fn faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Every request so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// The `Range` headers of the requests for contents.
    pub(crate) fn ranges(&self) -> Vec<Option<String>> {
        let requests = self.requests();
        let contents = requests.iter().filter(|request| request.storage && request.method == "GET");
        contents.map(|request| request.headers.get("range").cloned()).collect()
    }

    /// Waits until the storage was asked for a content.
    pub(crate) fn wait_for_download(&self) {
        let start = Instant::now();
        while self.ranges().is_empty() {
            assert!(start.elapsed() < Duration::from_secs(30), "nobody asked for a content");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn answer(&self, stream: TcpStream, storage: bool) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut words = line.split_whitespace();
        let method = words.next().unwrap_or_default().to_owned();
        let path = words.next().unwrap_or_default().to_owned();
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
        let request = Request { method, path, headers, storage };
        let (file, faults, status) = {
            let mut state = self.state();
            state.requests.push(request.clone());
            let status = match &mut state.faults.status {
                Some((left, status)) if *left > 0 => {
                    *left -= 1;
                    Some(*status)
                }
                _ => None,
            };
            let name = request.path.rsplit_once("/at/").map(|(_, name)| name).or_else(|| {
                request
                    .path
                    .strip_prefix("/owner/tiny/resolve/")
                    .map(|rest| rest.split_once('/').map_or("", |(_, name)| name))
            });
            let name = name.unwrap_or_default().split('?').next().unwrap_or_default();
            let file = state.files.get(name).map(|file| (name.to_owned(), file.clone()));
            let faults = state.faults.clone();
            let sends = request.method == "GET" && (storage || request.path.contains("/at/"));
            if sends {
                state.faults.cut_after = None;
            }
            (file, faults, status)
        };
        let mut stream = stream;
        let mut empty = |status: u16, extra: &str| {
            write!(
                stream,
                "HTTP/1.1 {status} -\r\nContent-Length: 0\r\nConnection: close\r\n{extra}\r\n"
            )
        };
        if let Some(status) = status {
            return empty(status, "");
        }
        let authorization = request.headers.get("authorization");
        if !storage
            && faults.token.is_some_and(|token| authorization != Some(&format!("Bearer {token}")))
        {
            return empty(401, "");
        }
        let Some((name, file)) = file else { return empty(404, "") };
        let digest = file.announced;
        if !storage && !request.path.contains("/at/") {
            let size = file.content.len();
            return if file.large {
                let storage = &self.storage;
                empty(
                    302,
                    &format!(
                        "Location: {storage}/at/{name}?Signature=very-secret\r\nX-Repo-Commit: {COMMIT}\r\n\
                         X-Linked-ETag: \"{digest}\"\r\nX-Linked-Size: {size}\r\n"
                    ),
                )
            } else {
                empty(
                    307,
                    &format!(
                        "Location: /api/resolve-cache/at/{name}\r\nX-Repo-Commit: {COMMIT}\r\n"
                    ),
                )
            };
        }
        let length = file.content.len();
        let start =
            request.headers.get("range").filter(|_| !faults.ignores_ranges).and_then(|range| {
                range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok()
            });
        if start.is_some_and(|start| start >= length) {
            return empty(416, &format!("Content-Range: bytes */{length}\r\n"));
        }
        let body = &file.content[start.unwrap_or(0)..];
        // Git's identifier of a small file has 40 digits; the storage has tags of its own.
        let tag = if storage { "storage".to_owned() } else { digest.to_string()[..40].to_owned() };
        let status = match start {
            Some(start) => format!("206 -\r\nContent-Range: bytes {start}-{}/{length}", length - 1),
            None => "200 -".to_owned(),
        };
        write!(
            stream,
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\
             ETag: \"{tag}\"\r\nX-Repo-Commit: {COMMIT}\r\n\r\n",
            body.len()
        )?;
        if request.method == "HEAD" {
            return Ok(());
        }
        let end = faults.cut_after.or(faults.stall_after).unwrap_or(body.len()).min(body.len());
        stream.write_all(&body[..end])?;
        stream.flush()?;
        if faults.stall_after.is_some() {
            thread::sleep(Duration::from_secs(60));
        }
        Ok(())
    }
}
