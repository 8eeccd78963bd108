use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

use coderag_core::{Error as CoreError, Progress, Silent, Unit};
use reqwest::blocking::Response;
use reqwest::header::CONTENT_RANGE;
use reqwest::{Method, StatusCode, Url};
use tracing::{info, warn};

use crate::checksum::{Checksum, Expected};
use crate::http::{Follow, HubClient, read_failure, shown, unexpected};
use crate::{Error, Result};

/// How often in a row a request may fail without any byte arriving.
const MOST_FAILURES: u32 = 5;
/// The wait after the first failure; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// A download into a partial file that goes on where an earlier attempt stopped.
pub(crate) struct Download<'a> {
    pub(crate) client: &'a HubClient,
    pub(crate) url: &'a Url,
    /// Holds a beginning of the file, if an earlier attempt left one.
    pub(crate) part: &'a Path,
    pub(crate) expected: Expected,
    pub(crate) label: &'a str,
    pub(crate) progress: &'a dyn Progress,
}

impl Download<'_> {
    /// Completes the partial file and checks it. A wrong one is removed, and if it was continued
    /// from an earlier attempt it is downloaded once more from the start.
    pub(crate) fn run(&self) -> Result<Checksum> {
        loop {
            let resumed = self.complete()?;
            let checksum = Checksum::of_file(self.part, &Silent)?;
            let Err(error) = self.expected.check(shown(self.url), checksum) else {
                return Ok(checksum);
            };
            fs::remove_file(self.part).map_err(CoreError::io("remove", self.part))?;
            if !resumed {
                return Err(error);
            }
            warn!("the continued download is damaged, starting over: {error}");
        }
    }

    /// Downloads what is missing of the partial file; true when some of it was there before.
    fn complete(&self) -> Result<bool> {
        let mut output = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.part)
            .map_err(CoreError::io("create", self.part))?;
        let mut have = self.length(&output)?;
        let resumed = have > 0;
        if resumed {
            info!("going on with {} at byte {have}", self.label);
        }
        let mut failures = 0;
        while self.expected.size != Some(have) {
            if self.expected.size.is_some_and(|size| have > size) {
                self.empty(&output)?;
                have = 0;
            }
            let Err(error) = self.append(&mut output, have) else { break };
            let before = std::mem::replace(&mut have, self.length(&output)?);
            if have > before {
                failures = 0;
            }
            wait_or_give_up(error, &mut failures)?;
        }
        output.sync_all().map_err(CoreError::io("write", self.part))?;
        Ok(resumed)
    }

    /// One request, for everything from byte `have` on.
    fn append(&self, output: &mut File, have: u64) -> Result<()> {
        let answer = self.client.send(Method::GET, self.url.clone(), have, Follow::Everywhere);
        // 416: what is here is not a beginning of the file.
        if matches!(answer, Err(Error::Status { status: 416, .. })) {
            self.empty(output)?;
        }
        let mut response = answer?;
        let mut total = first_byte(&response);
        if total != have {
            if total != 0 {
                return Err(unexpected(self.url, format!("it sent byte {total} for {have}")));
            }
            self.empty(output)?;
        }
        let task = self.progress.task(self.label, self.expected.size, Unit::Bytes);
        task.advance(total);
        let mut buffer = vec![0; 1 << 18];
        loop {
            let read = match response.read(&mut buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(read_failure(self.url, error)),
            };
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
            output.write_all(bytes).map_err(CoreError::io("write", self.part))?;
            total += read as u64;
            task.advance(read as u64);
        }
        if self.expected.size.is_some_and(|size| total < size) {
            return Err(read_failure(self.url, ErrorKind::UnexpectedEof.into()));
        }
        Ok(())
    }

    fn length(&self, output: &File) -> Result<u64> {
        Ok(output.metadata().map_err(CoreError::io("examine", self.part))?.len())
    }

    fn empty(&self, output: &File) -> Result<()> {
        Ok(output.set_len(0).map_err(CoreError::io("shorten", self.part))?)
    }
}

/// Where in the file the body starts: `START` of `Content-Range: bytes START-END/SIZE`, and 0 when
/// the server does not serve ranges.
fn first_byte(response: &Response) -> u64 {
    if response.status() != StatusCode::PARTIAL_CONTENT {
        return 0;
    }
    let range = response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    let start = range.and_then(|range| range.strip_prefix("bytes ")?.split('-').next());
    start.and_then(|start| start.trim().parse().ok()).unwrap_or(0)
}

/// Waits before the next try, or gives the error back when a next try is of no use.
pub(crate) fn wait_or_give_up(error: Error, failures: &mut u32) -> Result<()> {
    *failures += 1;
    if !error.is_transient() || *failures >= MOST_FAILURES {
        return Err(error);
    }
    let wait = FIRST_WAIT * 2_u32.pow(*failures - 1);
    warn!("{}; trying again in {} ms", error.chain(), wait.as_millis());
    thread::sleep(wait);
    Ok(())
}
