//! A service that gives tokens for a registry, both ways of the distribution
//! specification: with a password, and with a refresh token.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{KeyPair, PKCS_ED25519, SigningKey as _};
use serde_json::json;

use crate::distribution::{PASSWORD, USER};

/// What stands for the password once somebody has shown it.
pub(crate) const REFRESH: &str = "refresh token";

/// The service; its thread ends with the test.
pub(crate) struct Tokens {
    /// Its URL.
    pub(crate) realm: String,
    key: Arc<KeyPair>,
    /// The first line of each request.
    pub(crate) asked: Arc<Mutex<Vec<String>>>,
}

impl Tokens {
    /// Starts it, and writes what the registry knows its signatures by.
    pub(crate) fn new(keys: &Path) -> Self {
        let key = Arc::new(KeyPair::generate_for(&PKCS_ED25519).expect("a key"));
        let x = URL_SAFE_NO_PAD.encode(key.public_key_raw());
        let set = json!({ "keys": [{
            "kty": "OKP", "crv": "Ed25519", "x": x, "kid": "k", "alg": "EdDSA", "use": "sig",
        }]});
        fs::write(keys, set.to_string()).expect("a file");
        let server = TcpListener::bind("127.0.0.1:0").expect("a port");
        let realm = format!("http://{}/token", server.local_addr().expect("bound"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let tokens = Self { realm, key: key.clone(), asked: asked.clone() };
        std::thread::spawn(move || {
            for stream in server.incoming().map_while(Result::ok) {
                let _ = answer(&stream, &key, &asked);
            }
        });
        tokens
    }

    /// A token for a repository.
    pub(crate) fn token(&self, repository: &str, actions: &[&str]) -> String {
        sign(&self.key, repository, actions)
    }
}

fn answer(
    mut stream: &TcpStream,
    key: &KeyPair,
    asked: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let header = |name: &str| {
        let mut lines = head.iter().filter_map(|line| line.split_once(": "));
        lines.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    let length = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8_lossy(&body).into_owned();
    let line = head.first().cloned().unwrap_or_default();
    let query = line.split(['?', ' ']).nth(2).unwrap_or_default();
    let (given, good) = match line.starts_with("POST") {
        true => (
            &*body,
            body.contains("refresh_token=refresh") && body.contains("grant_type=refresh_token"),
        ),
        false => {
            let basic = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
            (query, header("authorization").is_none_or(|given| given == basic))
        }
    };
    let known = line.starts_with("POST") || header("authorization").is_some();
    asked.lock().expect("no panic").push(format!("{line} {body}"));
    let scope = given.split('&').find_map(|part| part.strip_prefix("scope=")).unwrap_or_default();
    let scope = scope.replace("%3A", ":").replace("%2F", "/");
    let repository = scope.split(':').nth(1).unwrap_or_default();
    // Who says nothing gets a token that is good for nothing, as at Docker Hub.
    let actions: &[&str] = if known { &["pull"] } else { &[] };
    let (status, body) = match good {
        true => ("200 OK", json!({ "access_token": sign(key, repository, actions) }).to_string()),
        false => ("401 Unauthorized", String::new()),
    };
    let head =
        format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes())
}

/// A JSON Web Token: RFC 7519, with what distribution's registry reads of it.
fn sign(key: &KeyPair, repository: &str, actions: &[&str]) -> String {
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = part(json!({ "typ": "JWT", "alg": "EdDSA", "kid": "k" }));
    let claims = part(json!({
        "iss": "test", "sub": USER, "aud": "test", "nbf": 0, "iat": 0, "exp": 1_u64 << 40, "jti": "1",
        "access": [{ "type": "repository", "name": repository, "actions": actions }],
    }));
    let text = format!("{head}.{claims}");
    let signature = key.sign(text.as_bytes()).expect("a signature");
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}
