//! Images that a Dockerfile describes.

use std::path::PathBuf;

use serde_json::Value;

use super::{made, root};
use crate::support::{Project, Ran};

/// As it is in many projects: a stage that compiles, and one for the image.
const DOCKERFILE: &str = "FROM golang:1.26 AS builder
WORKDIR /src
COPY . .
RUN go build -o /out/server ./cmd/server

FROM scratch
ARG VERSION=none
LABEL version=$VERSION
COPY --from=builder --chown=65532:65532 /out/server /server
COPY --chmod=0600 config /etc/app/
COPY *.txt docs/
USER 65532
ENTRYPOINT [\"/server\"]
";

const YAML: &str = r#"seatrial: 1
builds:
  builder: { inputs: [main.c], run: 'mkdir "$OUT/out"; cp main.c "$OUT/out/server"; chmod +x "$OUT/out/server"' }
images:
  i: { dockerfile: Dockerfile, args: { VERSION: "7" }, builds: [builder] }
"#;

fn project() -> Project {
    root();
    Project::new(&[
        ("seatrial.yaml", YAML),
        ("Dockerfile", DOCKERFILE),
        (".dockerignore", "config/secret\n"),
        ("main.c", "the program"),
        ("config/app.conf", "a=1"),
        ("config/secret", "no"),
        ("one.txt", "1"),
        ("two.md", "2"),
    ])
}

/// The image of a run: its digest, and whether it was there.
fn image(ran: &Ran) -> (String, bool) {
    assert_eq!(ran.code, 0, "{}", ran.text());
    let image = made(ran).into_iter().find(|(name, _, _)| name == "image/i").expect("an image");
    (image.1, image.2)
}

fn blob(project: &Project, digest: &str) -> Vec<u8> {
    let hex = digest.strip_prefix("sha256:").expect("a digest");
    let path: PathBuf = project.state().join("blobs/sha256").join(&hex[..2]).join(hex);
    std::fs::read(path).expect("a blob")
}

#[test]
fn a_dockerfile_is_an_image_without_docker() {
    let project = project();
    let build = || image(&project.run(&["build", "--format", "json"]));
    let (digest, _) = build();
    let read = |digest: &Value| blob(&project, digest.as_str().expect("a digest"));
    let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).expect("JSON");
    let manifest = json(&blob(&project, &digest));
    let config = json(&read(&manifest["config"]["digest"]));
    insta::assert_snapshot!(config["config"], @r#"{"Entrypoint":["/server"],"Labels":{"version":"7"},"User":"65532"}"#);
    let layer = read(&manifest["layers"][0]["digest"]);
    let mut archive = tar::Archive::new(layer.as_slice());
    let entries = archive.entries().expect("an archive").map(|entry| {
        let entry = entry.expect("an entry");
        let header = entry.header();
        let (mode, owner) = (header.mode().expect("a mode"), header.uid().expect("an owner"));
        format!("{mode:o} {owner} {}", entry.path().expect("a path").display())
    });
    let entries: Vec<_> = entries.filter(|entry| !entry.ends_with('/')).collect();
    assert_eq!(entries, ["644 0 docs/one.txt", "600 0 etc/app/app.conf", "755 65532 server"]);

    // What is not in it does not make it again, what is does.
    assert_eq!(build(), (digest.clone(), true));
    project.write("config/secret", "changed");
    project.write("two.md", "changed");
    project.write("Dockerfile", format!("# a comment\n{DOCKERFILE}"));
    assert_eq!(build(), (digest.clone(), true));
    project.write("config/app.conf", "a=2");
    assert_ne!(build().0, digest);
}

#[test]
fn a_dockerfile_that_is_refused_has_its_place() {
    let project = project();
    project.write("Dockerfile", "FROM scratch\nRUN make\n");
    let ran = project.run(&["check"]);
    assert_eq!(ran.code, 2, "{}", ran.text());
    assert!(ran.text().contains("Dockerfile:2:1"), "{}", ran.text());
    // Under sudo this process could read it, and would show it.
    std::fs::remove_file(project.dir().join("Dockerfile")).expect("removed");
    std::os::unix::fs::symlink("/etc/shadow", project.dir().join("Dockerfile")).expect("a link");
    let ran = project.run(&["check"]);
    assert!(
        ran.text().contains("cannot read `Dockerfile`: it leads out of the project"),
        "{}",
        ran.text()
    );
    assert!(!ran.text().contains("root:"), "{}", ran.text());
    // What it copies is followed no further than any other file of the project.
    std::fs::remove_file(project.dir().join("Dockerfile")).expect("removed");
    project.write("Dockerfile", "FROM scratch\nCOPY link /passwd\n");
    std::os::unix::fs::symlink("/etc/passwd", project.dir().join("link")).expect("a link");
    project.write("seatrial.yaml", "seatrial: 1\nimages: { i: { dockerfile: Dockerfile } }\n");
    let ran = project.run(&["build"]);
    insta::assert_snapshot!(ran.stderr.lines().next().unwrap_or_default(), @"error[git.unsafe_tree]: the work tree cannot be used: the symbolic link `link` leads out of the tree, to `/etc/passwd`");
}
