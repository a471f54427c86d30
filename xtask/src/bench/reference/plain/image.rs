//! An image without Docker, in plain tools: `go build`, `tar`, `sha256sum`, and
//! the archive that `docker save` writes (a tar of `manifest.json`, a
//! configuration and a layer; `docker image save`, "Docker image specification
//! v1.2").

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::super::measured;
use super::Caches;

/// Compiles a service.
pub(super) fn build(caches: &Caches, dir: &Path, service: &str) -> Command {
    let out = dir.join("images").join(service).join("root").join(service);
    let mut go = caches.go(dir);
    go.args(["build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o"]).arg(out);
    go.arg(format!("./cmd/{service}"));
    go
}

/// Where the archive of a service is.
pub(super) fn archive(dir: &Path, service: &str) -> PathBuf {
    dir.join("images").join(format!("{service}.tar"))
}

/// Compiles a service and makes its image; CPU time in microseconds.
pub(super) fn make(caches: &Caches, dir: &Path, service: &str) -> anyhow::Result<u64> {
    let mut core_us = measured::run(&mut build(caches, dir, service))?;
    let parts = dir.join("images").join(service);
    let tar = |into: &Path, of: &Path, files: &[&str]| {
        let mut tar = Command::new("tar");
        tar.args(["--create", "--numeric-owner", "--owner=0", "--group=0", "--file"]);
        measured::run(tar.arg(into).arg("--directory").arg(of).args(files))
    };
    core_us += tar(&parts.join("layer.tar"), &parts.join("root"), &[service])?;
    let (sum, summed) = measured::output(Command::new("sha256sum").arg(parts.join("layer.tar")))?;
    core_us += summed;
    let digest = sum.split(' ').next().context("sha256sum prints a digest")?;
    let config = serde_json::json!({
        "architecture": go_arch(),
        "os": "linux",
        "config": { "Entrypoint": [format!("/{service}")], "User": "65532:65532" },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{digest}")] },
    });
    let manifest = serde_json::json!([{
        "Config": "config.json",
        "RepoTags": [format!("registry.reference.test/{service}:dev")],
        "Layers": ["layer.tar"],
    }]);
    std::fs::write(parts.join("config.json"), config.to_string())?;
    std::fs::write(parts.join("manifest.json"), manifest.to_string())?;
    let files = ["manifest.json", "config.json", "layer.tar"];
    core_us += tar(&archive(dir, service), &parts, &files)?;
    Ok(core_us)
}

fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
