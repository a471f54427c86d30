//! The registry of the CNCF's distribution, built from its Go module (needs
//! `go`), with the ways it has to ask who one is, and a client that pushes.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use seatrial_core::digest::Digest;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::tokens::Tokens;

/// Who may use the registries of these tests.
pub(crate) const USER: &str = "someone";
pub(crate) const PASSWORD: &str = "correct horse";
/// The same, as bcrypt has it.
const HASH: &str = "$2a$04$3j.7lyWx28kDxO3Sj0RCbeKk0/UjnLFLebYEO/yLYDTu/k4MeUc2y";

/// How a registry asks who one is.
#[derive(Clone, Copy)]
pub(crate) enum Asks {
    Nobody,
    Password,
    Token,
}

/// A registry on this machine; dropped, it is gone.
pub(crate) struct Distribution {
    child: Child,
    /// Host and port.
    pub(crate) address: String,
    /// What gives tokens for it, where it wants them.
    pub(crate) tokens: Option<Tokens>,
    dir: TempDir,
}

/// An image that was pushed.
pub(crate) struct Pushed {
    /// Registry and repository.
    pub(crate) name: String,
    /// The index for several platforms.
    pub(crate) index: Digest,
    /// The layer for linux/amd64.
    pub(crate) layer: Digest,
}

impl Distribution {
    pub(crate) fn new(asks: Asks) -> Self {
        let dir = tempfile::tempdir().expect("directory");
        let path = |name: &str| dir.path().join(name);
        fs::write(path("htpasswd"), format!("{USER}:{HASH}\n")).expect("a file");
        let tokens = matches!(asks, Asks::Token).then(|| Tokens::new(&path("jwks.json")));
        let auth = match &tokens {
            Some(tokens) => json!({ "token": {
                "realm": tokens.realm, "service": "test", "issuer": "test", "jwks": path("jwks.json"),
            }}),
            None if matches!(asks, Asks::Password) => {
                json!({ "htpasswd": { "realm": "test", "path": path("htpasswd") } })
            }
            None => Value::Null,
        };
        let mut config = json!({
            "version": "0.1",
            "log": { "level": "info", "accesslog": { "disabled": true } },
            "storage": { "filesystem": { "rootdirectory": path("data") } },
            "http": { "addr": "127.0.0.1:0", "secret": "x" },
        });
        if !auth.is_null() {
            config["auth"] = auth;
        }
        // JSON is YAML.
        fs::write(path("config.yml"), config.to_string()).expect("a file");
        let mut child = Command::new(program())
            .arg("serve")
            .arg(path("config.yml"))
            .env("OTEL_TRACES_EXPORTER", "none")
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("the registry starts");
        let stderr = child.stderr.take().expect("its output");
        let address = listening(stderr).unwrap_or_else(|said| {
            let _ = child.kill();
            panic!("the registry does not say where it listens:\n{said}")
        });
        Self { child, address, tokens, dir }
    }

    /// A file as `docker login` leaves it, with a password.
    pub(crate) fn login(&self, password: &str) -> PathBuf {
        let auth = STANDARD.encode(format!("{USER}:{password}"));
        self.docker_config(&json!({ "auths": { &self.address: { "auth": auth } } }))
    }

    /// A file of credentials.
    pub(crate) fn docker_config(&self, config: &Value) -> PathBuf {
        let path = self.dir.path().join("config.json");
        fs::write(&path, config.to_string()).expect("a file");
        path
    }

    /// Pushes an image for two platforms under a tag.
    pub(crate) fn push(&self, repository: &str, tag: &str) -> Pushed {
        let blob = |bytes: &[u8]| {
            let digest = Digest::of(bytes);
            let (_, location) =
                self.send("POST", &format!("/v2/{repository}/blobs/uploads/"), "", b"");
            let location = location.expect("a place to upload to");
            let path = location.strip_prefix(&format!("http://{}", self.address));
            let path = path.unwrap_or(&location);
            let path =
                format!("{path}{}digest={digest}", if path.contains('?') { '&' } else { '?' });
            self.send("PUT", &path, "application/octet-stream", bytes);
            json!({ "digest": digest.to_string(), "size": bytes.len() })
        };
        let manifest = |body: &Value, name: &str| {
            let text = body.to_string();
            let kind = body["mediaType"].as_str().expect("a media type");
            let digest = Digest::of(&text);
            let name = if name.is_empty() { digest.to_string() } else { name.to_owned() };
            let path = format!("/v2/{repository}/manifests/{name}");
            self.send("PUT", &path, kind, text.as_bytes());
            (digest, json!({ "mediaType": kind, "digest": digest.to_string(), "size": text.len() }))
        };
        let with_type = |mut descriptor: Value, kind: &str| {
            descriptor["mediaType"] = format!("application/vnd.oci.image.{kind}").into();
            descriptor
        };
        let mut layer = Digest::of("");
        let images = ["arm64", "amd64"].map(|architecture| {
            let bytes = vec![architecture.as_bytes()[1]; 1024];
            layer = Digest::of(&bytes);
            let config = json!({ "architecture": architecture, "os": "linux", "config": {},
                "rootfs": { "type": "layers", "diff_ids": [layer.to_string()] } });
            let body = json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": with_type(blob(config.to_string().as_bytes()), "config.v1+json"),
                "layers": [with_type(blob(&bytes), "layer.v1.tar")],
            });
            let (_, mut descriptor) = manifest(&body, "");
            descriptor["platform"] = json!({ "architecture": architecture, "os": "linux" });
            descriptor
        });
        let index = json!({ "schemaVersion": 2, "manifests": images,
            "mediaType": "application/vnd.oci.image.index.v1+json" });
        let (index, _) = manifest(&index, tag);
        Pushed { name: format!("{}/{repository}", self.address), index, layer }
    }

    /// Sends a request that must work, as somebody who may; where it leads to.
    fn send(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> (u16, Option<String>) {
        let url = format!("http://{}{path}", self.address);
        let basic = format!("Basic {}", STANDARD.encode(format!("{USER}:{PASSWORD}")));
        let authorization = match &self.tokens {
            Some(tokens) => {
                let repository = path.trim_start_matches("/v2/").split("/blobs/").next();
                let repository = repository.and_then(|path| path.split("/manifests/").next());
                let scope = repository.expect("a repository");
                format!("Bearer {}", tokens.token(scope, &["pull", "push"]))
            }
            None => basic,
        };
        let request = ureq::http::Request::builder()
            .method(method)
            .uri(&url)
            .header("authorization", authorization)
            .header("content-type", kind);
        let answer = ureq::run(request.body(body).expect("a request"));
        let answer = answer.unwrap_or_else(|error| panic!("{method} {url}: {error}"));
        let location = answer.headers().get("location").and_then(|value| value.to_str().ok());
        (answer.status().as_u16(), location.map(str::to_owned))
    }
}

impl Drop for Distribution {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where it says that it listens, or all that it said.
fn listening(output: impl std::io::Read + Send + 'static) -> Result<String, String> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut said = String::new();
        let mut tell = Some(tell);
        // To its end, or it could not write any more.
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let address = line.split("listening on ").nth(1);
            let address = address.map(|rest| rest.split(['"', ' ']).next().unwrap_or(rest));
            if let (Some(address), Some(tell)) = (address, tell.take_if(|_| address.is_some())) {
                let _ = tell.send(Ok(address.to_owned()));
            }
            said.push_str(&line);
            said.push('\n');
        }
        if let Some(tell) = tell {
            let _ = tell.send(Err(said));
        }
    });
    told.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| Err("nothing for 60 s".into()))
}

/// Builds the registry once; the second time this is a look at Go's cache.
fn program() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("registry");
        let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).join("distribution");
        let output = Command::new("go")
            .current_dir(module)
            .env("CGO_ENABLED", "0")
            .args(["build", "-o"])
            .arg(&binary)
            .arg(".")
            .output()
            .expect("the registry needs `go` on the PATH");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        binary
    })
}
