//! Bases of images: from a registry of this machine, as the command pulls them.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use seatrial_core::digest::Digest;

use super::events::failures_of;
use super::processes::{send, start};
use super::{SOON, root};
use crate::support::Project;

/// `someone:correct horse`, as it is sent.
const SECRET: &str = "c29tZW9uZTpjb3JyZWN0IGhvcnNl";

/// A registry on this machine with one image, which has the tag `3.22`.
#[derive(Default)]
pub(crate) struct Registry {
    /// How long it takes over the layer.
    pub(crate) delay: Duration,
    /// Whether it wants `SECRET`.
    pub(crate) secret: bool,
    /// Whether what it gives is something else.
    pub(crate) lies: bool,
}

/// One that runs, until the test ends.
pub(crate) struct Started {
    address: String,
    /// The name of its image, pinned.
    pub(crate) name: String,
    /// Each path that is asked for.
    asked: Receiver<String>,
}

impl Registry {
    pub(crate) fn start(self) -> Started {
        let server = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = server.local_addr().expect("bound").to_string();
        let layer = vec![0; 1024];
        let layer_digest = Digest::of(&layer);
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{layer_digest}"]}}}}"#
        );
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{layer_digest}","size":{}}}]}}"#,
            Digest::of(&config),
            config.len(),
            layer.len()
        );
        let name = format!("{address}/base@{}", Digest::of(&manifest));
        let all = [manifest.into_bytes(), config.into_bytes(), layer];
        let tagged = ("3.22".to_owned(), all[0].clone());
        let all = all.into_iter().map(|b| (Digest::of(&b).to_string(), b));
        let all: BTreeMap<_, _> = all.chain([tagged]).collect();
        let (tell, asked) = channel();
        std::thread::spawn(move || {
            for stream in server.incoming() {
                let Ok(mut stream) = stream else { continue };
                let lines = BufReader::new(&stream).lines().map_while(Result::ok);
                let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
                let path = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
                let digest = path.rsplit('/').next().unwrap_or_default();
                let _ = tell.send(path.to_owned());
                let known = head.iter().any(|line| line.ends_with(&format!("Basic {SECRET}")));
                let (status, body) = match all.get(digest) {
                    _ if self.secret && !known => {
                        ("401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"", &b""[..])
                    }
                    Some(_) if self.lies => ("200 OK", &b"lies"[..]),
                    Some(body) => ("200 OK", &body[..]),
                    None => continue,
                };
                if digest == layer_digest.to_string() {
                    #[expect(clippy::disallowed_methods, reason = "the time is what is tested")]
                    std::thread::sleep(self.delay);
                }
                let head = format!(
                    "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
            }
        });
        Started { address, name, asked }
    }
}

/// A project whose one image stands on `base`.
fn project(base: &str) -> Project {
    root();
    let yaml = format!(
        "seatrial: 1\nimages:\n  i: {{ base: '{base}', files: [{{ path: x, to: /x }}] }}\n"
    );
    Project::new(&[("seatrial.yaml", &yaml), ("x", "x")])
}

fn home(project: &Project, path: &str, text: &str) {
    let path = project.beside("home").join(path);
    std::fs::create_dir_all(path.parent().expect("below home")).expect("a directory");
    std::fs::write(path, text).expect("a file");
}

/// Every file below a directory that holds `text`.
fn holding(dir: &std::path::Path, text: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a directory").map_while(Result::ok) {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(holding(&path, text)),
            Ok(kind) if kind.is_file() => {
                let bytes = std::fs::read(&path).expect("a file");
                if bytes.windows(text.len()).any(|part| part == text.as_bytes()) {
                    found.push(path);
                }
            }
            _ => {}
        }
    }
    found
}

#[test]
fn a_private_base_is_pulled_with_the_credentials_of_its_user() {
    let registry = Registry { secret: true, ..Registry::default() }.start();
    let project = project(&registry.name);
    let refused = project.run(&["build", "--format", "json"]);
    let told = failures_of(&refused).replace(&registry.address, "[REGISTRY]");
    insta::assert_snapshot!(told, @r"
    image.denied: [REGISTRY] does not let [REGISTRY]/base be pulled without credentials, and there are none for it
    hint: run `docker login [REGISTRY]` as the user who runs Seatrial
    hint: many registries say the same of a name that they do not have
    broken, exit code 3
    ");

    let config = format!(r#"{{"auths":{{"{}":{{"auth":"{SECRET}"}}}}}}"#, registry.address);
    home(&project, ".docker/config.json", &config);
    // Code of somebody else does not get what its user may pull.
    let stranger = project.run(&["build", "--untrusted"]);
    assert!(stranger.stderr.contains("image.denied"), "{}", stranger.text());
    assert_eq!(stranger.code, 3);
    let ran = project.run(&["build", "--format", "json"]);
    assert_eq!(ran.code, 0, "{}", ran.text());
    // What it was opened with is nowhere.
    for secret in [SECRET, "correct horse"] {
        assert!(!ran.text().contains(secret), "{}", ran.text());
        assert_eq!(holding(&project.state(), secret), [] as [std::path::PathBuf; 0]);
    }
    // Nobody is asked for what is here, also for another image on the base.
    while registry.asked.try_recv().is_ok() {}
    project.write("x", "y");
    let again = project.run(&["build"]);
    assert_eq!(again.code, 0, "{}", again.text());
    assert!(registry.asked.try_recv().is_err(), "the registry was asked");
}

#[test]
fn mirrors_of_the_settings_are_asked_first() {
    let registry = Registry::default().start();
    let liar = Registry { lies: true, ..Registry::default() }.start();
    // What it is called by is not on this machine at all.
    let project = project(&registry.name.replace(&registry.address, "registry.invalid"));
    let settings = |first: &str| {
        format!(
            "registries:\n  registry.invalid:\n    mirrors: ['http://{}', 'http://{}']\n",
            first, registry.address
        )
    };
    home(&project, ".config/seatrial/settings.yaml", &settings("Mirror"));
    let refused = project.run(&["build"]);
    assert_eq!(refused.code, 2, "{}", refused.text());
    assert!(refused.text().contains("settings.yaml:3:15"), "{}", refused.text());
    home(&project, ".config/seatrial/settings.yaml", &settings(&liar.address));
    let ran = project.run(&["build"]);
    assert_eq!(ran.code, 0, "{}", ran.text());
    let told = format!("the mirror http://{} is passed over", liar.address);
    assert!(ran.text().contains(&told), "{}", ran.text());
}

#[test]
fn a_pull_that_hangs_ends_with_ctrl_c() {
    let registry = Registry { delay: Duration::from_secs(3600), ..Registry::default() }.start();
    let project = project(&registry.name);
    let child = start(&mut project.command(&["build"]));
    while !registry.asked.recv_timeout(SOON).expect("it pulls").contains("/blobs/") {}
    registry.asked.recv_timeout(SOON).expect("the layer is asked for");
    let began = Instant::now();
    send(child.id(), Signal::SIGINT);
    let ran = project.ran(&child.wait_with_output().expect("it ends"));
    assert_eq!(ran.code, 130, "{}", ran.text());
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}
