//! The conformance suite of the OCI distribution specification, built from
//! its Go module (needs `go`): the parts about pulling and content discovery.
//! The registry takes no pushes, so it has the content before.

use std::path::Path;
use std::process::Command;

use tokio::task::spawn_blocking;

use crate::served::Served;

#[tokio::test(flavor = "multi_thread")]
async fn pulling_and_discovery_conform_to_the_specification() {
    let served = Served::new().await;
    let results = tempfile::tempdir().expect("directory");
    let blobs = served.image.layers.iter().chain([&served.image.config]);
    let blobs: Vec<String> = blobs.map(ToString::to_string).collect();
    let manifest = served.image.manifest.to_string();
    let address = served.registry.address().expect("address").to_string();
    let mut suite = Command::new(build());
    suite
        .env("OCI_REGISTRY", address)
        .env("OCI_TLS", "disabled")
        .env("OCI_VERSION", "1.1")
        .env("OCI_REPO1", "digits")
        .env("OCI_RESULTS_DIR", results.path())
        .env("OCI_RO_DATA_TAGS", "latest")
        .env("OCI_RO_DATA_MANIFESTS", &manifest)
        .env("OCI_RO_DATA_BLOBS", blobs.join(" "))
        .env("OCI_RO_DATA_REFERRERS", &manifest)
        .env("OCI_DATA_SHA512", "false");
    for disabled in ["PUSH", "BLOBS_DELETE", "MANIFESTS_DELETE", "TAGS_DELETE"] {
        suite.env(format!("OCI_API_{disabled}"), "false");
    }
    let output = spawn_blocking(move || suite.output()).await.expect("task").expect("suite runs");
    let [report, log] =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    // The report on stdout, not the exit status: without pushes this version of
    // the suite trips over its own next report, results.yaml.
    assert!(report.contains("OCI Conformance Result: Pass"), "{report}\n{log}");
    // All of it was asked for and none of it skipped.
    for api in [
        "Ping",
        "Tag listing",
        "Manifest get by digest",
        "Manifest get by tag",
        "Blob get",
        "Blob head",
        "Referrers",
    ] {
        let line = report.lines().find(|line| line.trim_start().starts_with(&format!("{api}.")));
        assert!(line.is_some_and(|line| line.ends_with(" Pass")), "{api}: {line:?}\n{}", report);
    }
}

/// Builds the suite; the second time this is a look at Go's cache.
fn build() -> std::path::PathBuf {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance");
    let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).join("oci-conformance");
    let output = Command::new("go")
        .current_dir(module)
        .args(["build", "-o"])
        .arg(&binary)
        .arg("github.com/opencontainers/distribution-spec/conformance")
        .output()
        .expect("the conformance suite needs `go` on the PATH");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    binary
}
