//! Every answer of the model, on the disk before it is used.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use coderag_core::{ChatResponse, Digest, Error as CoreError};
use serde::{Deserialize, Serialize};

use super::Totals;
use crate::{Error, Result};

/// What a power cut may cost. A killed process loses nothing that it had written.
const SYNC_EVERY: Duration = Duration::from_secs(2);

/// Answers by the digest of what was asked, in a file of JSON lines that only grows.
#[derive(Debug)]
pub(crate) struct Responses {
    path: PathBuf,
    store: Mutex<Store>,
}

#[derive(Debug)]
struct Store {
    file: File,
    /// Where the file ends.
    length: u64,
    /// Where each answer's line begins, and how long it is.
    lines: HashMap<Digest, (u64, usize)>,
    totals: Totals,
    synced: Instant,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    key: Digest,
    response: ChatResponse,
}

impl Responses {
    /// Opens or begins a file. A last line that a killed process left unfinished is cut off.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(CoreError::io("open", path))?;
        let mut reader = BufReader::new(file);
        let mut lines = HashMap::new();
        let mut totals = Totals::default();
        let mut length = 0;
        let mut bytes = Vec::new();
        for number in 1.. {
            bytes.clear();
            let read = reader.read_until(b'\n', &mut bytes).map_err(CoreError::io("read", path))?;
            if bytes.last() != Some(&b'\n') {
                break;
            }
            let line: Line = serde_json::from_slice(&bytes).map_err(|source| Error::Response {
                path: path.to_owned(),
                line: number,
                source,
            })?;
            totals.add(&line.response.usage);
            lines.insert(line.key, (length, read));
            length += read as u64;
        }
        let mut file = reader.into_inner();
        file.set_len(length).map_err(CoreError::io("cut", path))?;
        file.seek(SeekFrom::Start(length)).map_err(CoreError::io("read", path))?;
        let store = Store { file, length, lines, totals, synced: Instant::now() };
        Ok(Self { path: path.to_owned(), store: Mutex::new(store) })
    }

    /// The answer to what has this digest.
    pub(crate) fn get(&self, key: &Digest) -> Result<Option<ChatResponse>> {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(&(start, length)) = store.lines.get(key) else { return Ok(None) };
        let mut bytes = vec![0; length];
        store.file.read_exact_at(&mut bytes, start).map_err(CoreError::io("read", &self.path))?;
        let line: Line = serde_json::from_slice(&bytes).map_err(|source| Error::Response {
            path: self.path.clone(),
            line: 0,
            source,
        })?;
        Ok(Some(line.response))
    }

    /// Keeps an answer.
    pub(crate) fn put(&self, key: Digest, response: &ChatResponse) -> Result<()> {
        let line = Line { key, response: response.clone() };
        let mut bytes = serde_json::to_vec(&line).map_err(|source| Error::Response {
            path: self.path.clone(),
            line: 0,
            source,
        })?;
        bytes.push(b'\n');
        let mut guard = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let store = &mut *guard;
        if let Err(error) = store.file.write_all(&bytes) {
            // Half a line must not stand before the next one.
            let _ = store.file.set_len(store.length);
            let _ = store.file.seek(SeekFrom::Start(store.length));
            return Err(CoreError::io("write", &self.path)(error).into());
        }
        store.lines.insert(key, (store.length, bytes.len()));
        store.length += bytes.len() as u64;
        store.totals.add(&response.usage);
        if store.synced.elapsed() >= SYNC_EVERY {
            store.file.sync_data().map_err(CoreError::io("write", &self.path))?;
            store.synced = Instant::now();
        }
        Ok(())
    }

    /// Puts all answers on the disk.
    pub(crate) fn sync(&self) -> Result<()> {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(store.file.sync_data().map_err(CoreError::io("write", &self.path))?)
    }

    /// What all answers took.
    pub(crate) fn totals(&self) -> Totals {
        self.store.lock().unwrap_or_else(PoisonError::into_inner).totals
    }
}

#[cfg(test)]
mod tests {
    use coderag_core::{FinishReason, Usage};

    use super::*;

    fn response(text: &str) -> ChatResponse {
        let usage = Usage { prompt_tokens: 3, cached_tokens: 1, completion_tokens: 2 };
        ChatResponse { text: text.to_owned(), finish_reason: FinishReason::Stop, usage }
    }

    #[test]
    fn answers_outlive_the_process_and_half_a_line_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("responses.jsonl");
        let key = |name: &str| Digest::of(name);
        let responses = Responses::open(&path).unwrap();
        responses.put(key("a"), &response("one\ntwo")).unwrap();
        responses.put(key("b"), &response("ü")).unwrap();
        drop(responses);
        let whole = std::fs::read(&path).unwrap();
        for cut in 1..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let responses = Responses::open(&path).unwrap();
            let kept = whole[..cut].iter().filter(|byte| **byte == b'\n').count();
            assert_eq!(responses.totals().requests, kept as u64);
            assert_eq!(responses.get(&key("a")).unwrap().is_some(), kept >= 1);
            responses.put(key("c"), &response("three")).unwrap();
            drop(responses);
            let responses = Responses::open(&path).unwrap();
            assert_eq!(responses.get(&key("c")).unwrap(), Some(response("three")));
            assert_eq!(responses.totals().prompt_tokens, 3 * (kept as u64 + 1));
        }
    }

    #[test]
    fn a_damaged_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("responses.jsonl");
        Responses::open(&path).unwrap().put(Digest::of("a"), &response("one")).unwrap();
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("{\"key\": 1}\n");
        std::fs::write(&path, text).unwrap();
        assert!(matches!(Responses::open(&path), Err(Error::Response { line: 2, .. })));
    }
}
