//! A file server that can also misbehave.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use seatrial_core::digest::Digest;

/// Serves on a port of its own until the test ends.
pub(crate) struct Server {
    port: u16,
    state: Arc<Mutex<State>>,
}

/// How the server answers for one path.
#[derive(Clone, Default)]
pub(crate) struct Reply {
    pub(crate) body: Vec<u8>,
    /// Closes the connection after so many bytes of the body, this many times.
    pub(crate) cut: Option<(usize, usize)>,
    /// Sends nothing more after so many bytes of the body, and holds the line.
    pub(crate) stall: Option<usize>,
    /// Says where the file is instead.
    pub(crate) redirect: Option<String>,
    /// Leaves out how much there is.
    pub(crate) no_length: bool,
    /// Always answers with the whole file.
    pub(crate) no_range: bool,
}

#[derive(Default)]
struct State {
    replies: BTreeMap<String, Reply>,
    /// `PATH` or `PATH from BYTE`, in the order of arrival.
    requests: Vec<String>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&shared);
                // A client that goes away is what some tests are about.
                std::thread::spawn(move || answer(stream.unwrap(), &shared).ok());
            }
        });
        Self { port, state }
    }

    pub(crate) fn base(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A good release of both components.
    pub(crate) fn release(&self) {
        self.plain(b"#!/bin/sh\necho plain\n");
        let archive = archive(&[("packed-4.5/a", "a"), ("packed-4.5/LICENSE", "free"), ("b", "b")]);
        self.body("/packed-4.5.tgz.sha256", Digest::of(&archive).hex());
        self.body("/packed-4.5.tgz", archive);
    }

    /// The file of the plain component with its right checksum.
    pub(crate) fn plain(&self, content: &[u8]) {
        let sums = ["amd64", "arm64"].map(|arch| {
            self.body(&format!("/v1.2.3/plain-{arch}"), content);
            format!("{}  plain-{arch}\n", Digest::of(content).hex())
        });
        self.body("/v1.2.3/SHA256SUMS", sums.concat());
    }

    pub(crate) fn body(&self, path: &str, body: impl Into<Vec<u8>>) {
        self.reply(path, Reply { body: body.into(), ..Reply::default() });
    }

    pub(crate) fn reply(&self, path: &str, reply: Reply) {
        self.state.lock().unwrap().replies.insert(path.to_owned(), reply);
    }

    /// Changes how the server answers for the plain file.
    pub(crate) fn change_plain(&self, change: impl Fn(&mut Reply)) {
        let mut state = self.state.lock().unwrap();
        for (path, reply) in &mut state.replies {
            if path.contains("/plain-") {
                change(reply);
            }
        }
    }

    /// The requests since the last call, the architecture left out.
    pub(crate) fn requests(&self) -> Vec<String> {
        let requests = std::mem::take(&mut self.state.lock().unwrap().requests);
        requests.iter().map(|r| r.replace("-amd64", "").replace("-arm64", "")).collect()
    }
}

pub(crate) fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gzip);
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        tar.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

fn answer(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut from = 0;
    for line in lines {
        let line = line?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(range) = line.strip_prefix("range: bytes=") {
            from = range.trim_end_matches('-').parse().unwrap();
        }
    }
    let reply = {
        let mut state = state.lock().unwrap();
        let range = if from > 0 { format!(" from {from}") } else { String::new() };
        state.requests.push(format!("{path}{range}"));
        let reply = state.replies.get(&path).cloned();
        if let Some(Reply { cut: Some((_, times)), .. }) = state.replies.get_mut(&path) {
            *times = times.saturating_sub(1);
        }
        reply
    };
    let Some(reply) = reply else {
        return stream.write_all(
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        );
    };
    if let Some(location) = reply.redirect {
        let head = "HTTP/1.1 302 Found\r\ncontent-length: 0\r\nconnection: close\r\nlocation:";
        return stream.write_all(format!("{head} {location}\r\n\r\n").as_bytes());
    }
    let whole = reply.body.len();
    if from >= whole && from > 0 {
        return stream.write_all(
            b"HTTP/1.1 416 Range Not Satisfiable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        );
    }
    if reply.no_range {
        from = 0;
    }
    let mut head = match from {
        0 => "HTTP/1.1 200 OK\r\n".to_owned(),
        _ => format!(
            "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes {from}-{}/{whole}\r\n",
            whole - 1
        ),
    };
    if !reply.no_length {
        head.push_str(&format!("content-length: {}\r\n", whole - from));
    }
    stream.write_all(format!("{head}connection: close\r\n\r\n").as_bytes())?;
    let end = match (reply.cut, reply.stall) {
        (Some((bytes, 1..)), _) | (_, Some(bytes)) => (from + bytes).min(whole),
        _ => whole,
    };
    stream.write_all(&reply.body[from..end])?;
    if reply.stall.is_some() {
        // Until the client is gone.
        let _ = stream.read(&mut [0]);
    }
    Ok(())
}
