//! Downloads one file, resumable, limited in size, over HTTP.
//!
//! The caller checks the content: nothing that a server says about it is
//! believed here, except how much there is.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use ureq::http::header::{CONTENT_LENGTH, CONTENT_RANGE};
use ureq::http::{Response, StatusCode};

use crate::Step;

/// How long a server may take to accept a connection and to answer. Short,
/// because a build from Go modules is the way out.
const ANSWER: Duration = Duration::from_secs(5);
/// How long it may send nothing in the middle of a file.
const SILENCE: Duration = Duration::from_secs(30);
/// How often a lost connection is taken up again without getting further.
const TRIES: u32 = 3;
/// How many bytes go by between two reports.
const REPORT: u64 = 1 << 20;

/// Why a file was not downloaded.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The server was not reached or did not answer.
    #[error("no usable answer")]
    NoAnswer(#[source] ureq::Error),
    /// The server did not answer another request a moment ago.
    #[error("the server did not answer before")]
    Gone,
    /// The server refused.
    #[error("the server answered {0}")]
    Status(u16),
    /// The connection was lost again and again.
    #[error("lost the connection after {done} bytes, {TRIES} times")]
    Lost {
        /// Bytes that are here.
        done: u64,
        /// What the last loss was.
        #[source]
        source: io::Error,
    },
    /// There is more than there may be.
    #[error("larger than the {limit} bytes that the lock allows")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The server contradicts itself about what it sends.
    #[error("the server answered a request from byte {asked} with {found:?}")]
    BadRange {
        /// The first byte that was asked for.
        asked: u64,
        /// What the server says it sends.
        found: String,
    },
    /// The part on disk cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl FetchError {
    /// Whether the file is out of reach, as opposed to wrong.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::NoAnswer(_) | Self::Gone | Self::Status(_) | Self::Lost { .. })
    }

    /// Whether the server itself is out of reach, so that asking it for
    /// another file only costs the same time again.
    pub(crate) fn is_server_gone(&self) -> bool {
        matches!(self, Self::NoAnswer(_) | Self::Lost { .. })
    }
}

/// What downloads, with its connections kept open between files.
#[derive(Debug)]
pub(crate) struct Client(ureq::Agent);

impl Client {
    /// A client that honours `HTTPS_PROXY` and its like.
    pub(crate) fn new() -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_resolve(Some(ANSWER))
            .timeout_connect(Some(ANSWER))
            .timeout_recv_response(Some(ANSWER))
            .timeout_per_read(Some(SILENCE))
            // A server that compresses what is compressed breaks ranges and
            // checksums.
            .accept_encoding("identity")
            .http_status_as_error(false)
            .user_agent(concat!("seatrial/", env!("CARGO_PKG_VERSION")))
            .build();
        Self(config.new_agent())
    }

    /// A small text of at most `limit` bytes.
    pub(crate) fn text(&self, url: &str, limit: u64) -> Result<String, FetchError> {
        let response = self.get(url, 0)?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(FetchError::Status(status.as_u16()));
        }
        let mut bytes = Vec::new();
        let mut body = response.into_body().into_reader().take(limit + 1);
        body.read_to_end(&mut bytes).map_err(|source| FetchError::Lost { done: 0, source })?;
        if bytes.len() as u64 > limit {
            return Err(FetchError::TooLarge { limit });
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Downloads `url` into the file `part`, going on behind what an earlier
    /// try left there.
    pub(crate) fn file(
        &self,
        url: &str,
        part: &Path,
        limit: u64,
        progress: &mut dyn FnMut(Step),
    ) -> Result<(), FetchError> {
        let name = url.rsplit('/').next().unwrap_or(url);
        let mut furthest = size(part);
        let mut losses = 0;
        loop {
            match self.attempt(url, name, part, limit, progress) {
                Err(FetchError::Lost { done, source }) => {
                    losses = if done > furthest { 1 } else { losses + 1 };
                    furthest = furthest.max(done);
                    if losses >= TRIES {
                        return Err(FetchError::Lost { done, source });
                    }
                    progress(Step::Resuming { reason: source.to_string() });
                }
                other => return other,
            }
        }
    }

    fn attempt(
        &self,
        url: &str,
        name: &str,
        part: &Path,
        limit: u64,
        progress: &mut dyn FnMut(Step),
    ) -> Result<(), FetchError> {
        let write = |source| FetchError::Write { path: part.to_owned(), source };
        let asked = size(part);
        let response = self.get(url, asked)?;
        if asked > 0 && response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            // Killed between the last byte and the check; the check decides.
            return Ok(());
        }
        let start = start(&response, asked)?;
        let total = length(&response).and_then(|length| length.checked_add(start));
        if total.is_some_and(|total| total > limit) {
            return Err(FetchError::TooLarge { limit });
        }
        let mut file = fs::OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .open(part)
            .and_then(|file| file.set_len(start).map(|()| file))
            .map_err(write)?;
        io::Seek::seek(&mut file, io::SeekFrom::Start(start)).map_err(write)?;
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; 64 << 10];
        let (mut done, mut reported) = (start, start);
        progress(Step::Downloading { file: name.to_owned(), done, total });
        loop {
            let n = body.read(&mut buffer).map_err(|source| FetchError::Lost { done, source })?;
            if n == 0 {
                break;
            }
            done += n as u64;
            if done > limit {
                return Err(FetchError::TooLarge { limit });
            }
            file.write_all(&buffer[..n]).map_err(write)?;
            if done - reported >= REPORT {
                reported = done;
                progress(Step::Downloading { file: name.to_owned(), done, total });
            }
        }
        if total.is_some_and(|total| done < total) {
            let source = io::ErrorKind::UnexpectedEof.into();
            return Err(FetchError::Lost { done, source });
        }
        progress(Step::Downloading { file: name.to_owned(), done, total });
        Ok(())
    }

    fn get(&self, url: &str, from: u64) -> Result<Response<ureq::Body>, FetchError> {
        let request = self.0.get(url);
        let request = match from {
            0 => request,
            from => request.header("range", format!("bytes={from}-")),
        };
        // A redirect must not lead from an authenticated server to another.
        let request = request.config().https_only(url.starts_with("https:")).build();
        request.call().map_err(FetchError::NoAnswer)
    }
}

/// The first byte that an answer holds, which is 0 if the server does not
/// resume.
fn start(response: &Response<ureq::Body>, asked: u64) -> Result<u64, FetchError> {
    match response.status() {
        StatusCode::OK => Ok(0),
        StatusCode::PARTIAL_CONTENT if asked > 0 => {
            let header = response.headers().get(CONTENT_RANGE);
            let found = header.and_then(|value| value.to_str().ok()).unwrap_or_default();
            match found.strip_prefix(&format!("bytes {asked}-")) {
                Some(_) => Ok(asked),
                None => {
                    Err(FetchError::BadRange { asked, found: found.chars().take(80).collect() })
                }
            }
        }
        other => Err(FetchError::Status(other.as_u16())),
    }
}

fn length(response: &Response<ureq::Body>) -> Option<u64> {
    response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |found| found.len())
}
