//! Runs of somebody else's code beside runs of one's own, on one state
//! directory: what the one writes is never read by the other.

use insta::assert_snapshot;

use super::{failures, made, root};
use crate::support::Project;

/// Equal keys, another output each time; a cache that is read and written; a
/// fetch; an environment.
const PIPELINE: &str = r#"seatrial: 1
builds:
  odd: { inputs: [seatrial.yaml], run: date +%N > $OUT/odd }
  after: { inputs: [seatrial.yaml], caches: [notes], run: "cat /cache/notes/note > $OUT/seen || echo nothing > $OUT/seen; echo $RANDOM > /cache/notes/note" }
  fetched:
    fetch: { inputs: [lock], run: cp lock $OUT/, network: true }
    inputs: [seatrial.yaml]
    run: cp $FETCHED/lock $OUT/
environments:
  default: { install: [{ apply: deploy.yaml }] }
suites:
  e2e: { build: odd, adapter: exec, environments: [default], run: "true" }
  apart: { build: odd, adapter: exec, run: test -s odd }
"#;

fn project() -> Project {
    root();
    Project::new(&[
        ("seatrial.yaml", PIPELINE),
        ("lock", "1\n"),
        ("deploy.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\n"),
    ])
}

/// The output of one build, and whether it was there.
fn build(project: &Project, name: &str, more: &[&str]) -> (String, bool) {
    let ran = project.run(&[&["build", name, "--format", "json"], more].concat());
    assert_eq!(ran.code, 0, "{}", ran.text());
    let (_, output, hit) = made(&ran).pop().expect("one build");
    (output, hit)
}

const UNTRUSTED: &[&str] = &["--untrusted"];

#[test]
fn what_untrusted_code_made_is_made_again_by_a_trusted_run() {
    let project = project();
    let (poison, hit) = build(&project, "odd", UNTRUSTED);
    assert!(!hit);
    assert_eq!(build(&project, "odd", UNTRUSTED), (poison.clone(), true), "its own it may use");
    let (honest, hit) = build(&project, "odd", &[]);
    assert!(!hit && honest != poison, "{honest} beside {poison}");
    assert_eq!(build(&project, "odd", &[]), (honest.clone(), true));
    assert_eq!(build(&project, "odd", UNTRUSTED), (honest, true), "what is trusted comes first");
}

#[test]
fn a_cache_is_seen_by_runs_of_its_scope_alone() {
    let project = project();
    let nothing = build(&project, "after", UNTRUSTED).0;
    // Another key, so that it is made: the cache is never in it.
    let again = |more: &[&str]| {
        let text = std::fs::read_to_string(project.dir().join("seatrial.yaml")).expect("read");
        project.write("seatrial.yaml", format!("{text}# again\n"));
        build(&project, "after", more).0
    };
    assert_eq!(again(&[]), nothing, "a trusted run sees an empty cache");
    assert_ne!(again(UNTRUSTED), nothing, "an untrusted one the note of the first");
    assert_ne!(again(&[]), nothing);
}

#[test]
fn untrusted_code_gets_no_network_and_no_environment() {
    let project = project();
    assert_snapshot!(failures(&project, &["build", "fetched", "--untrusted"]), @r"
    build.untrusted_network: untrusted code asks for the network, which is that of this machine
    hint: what it fetches is used where a trusted run has fetched the same
    hint: once somebody has read the code, run it without --untrusted
    broken, exit code 2
    ");
    // What a trusted run has fetched for the same lock file is there.
    build(&project, "fetched", &[]);
    project.write("seatrial.yaml", format!("{PIPELINE}# changed\n"));
    assert!(!build(&project, "fetched", UNTRUSTED).1);

    let ran = project.run(&["run", "--untrusted"]);
    assert_eq!(ran.code, 2, "{}", ran.text());
    let error = ran.stderr.find("error[").map(|at| &ran.stderr[at..]);
    assert_snapshot!(error.expect("an error"), @r"
    error[run.untrusted_environment]: `default/boot` would run untrusted code in an environment of this machine, whose kernel it shares
    hint: name the suites that need no environment, or use `seatrial build --untrusted`
    hint: once somebody has read the code, run it without --untrusted
    ");
    let ran = project.run(&["run", "apart", "--untrusted"]);
    assert_eq!(ran.code, 0, "{}", ran.text());
}
