//! What is declared and changes is made again, with all that depends on it;
//! what is not declared changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use insta::assert_snapshot;

use super::root;
use crate::ids::without_ids;
use crate::support::Project;

const PIPELINE: &str = r#"seatrial: 1
params: { level: { type: string, default: "1" } }
builds:
  code:
    inputs: ["src/**"]
    run: grep -v '^#' src/code > $OUT/code; stat -c %a src/code | cut -c1 >> $OUT/code
    outputs: [code]
  text:
    inputs: [text]
    env: { GREETING: hello }
    params: [level]
    tools: [flavour]
    run: echo $GREETING $PARAM_LEVEL $(flavour) > $OUT/text; cat text >> $OUT/text
  both:
    fetch: { inputs: [fetched], run: cp fetched $OUT/ }
    inputs: [none]
    run: cat $FETCHED/fetched > $OUT/both
images:
  code: { files: [{ build: code, path: code, to: /code }] }
  top:
    base: { image: code }
    files: [{ build: text, path: text, to: /text }]
    config: { env: { A: b } }
environments:
  default: { install: [{ apply: deploy.yaml }] }
suites:
  e2e: { build: both, adapter: exec, environments: [default], run: "true" }
"#;

fn project() -> Project {
    root();
    let project = Project::new(&[
        ("seatrial.yaml", PIPELINE),
        ("src/code", "# a comment\ncode\n"),
        ("text", "text\n"),
        ("fetched", "fetched\n"),
        ("none", ""),
        ("other", "not an input\n"),
        ("deploy.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\n"),
    ]);
    flavour(&project, "sweet");
    project
}

/// Writes the tool that is declared, which is on the PATH of [`command`].
fn flavour(project: &Project, says: &str) {
    let tool = project.beside("bin/flavour");
    std::fs::create_dir_all(tool.parent().expect("a parent")).expect("a directory");
    std::fs::write(&tool, format!("#!/bin/sh\necho {says}\n")).expect("written");
    std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).expect("set");
}

fn command(project: &Project, arguments: &[&str]) -> Command {
    let mut command = project.command(arguments);
    let bin = project.beside("bin").display().to_string();
    let path = std::env::var("PATH").expect("PATH");
    command.env("PATH", format!("{bin}:{path}"));
    command
}

/// What of each action came out, and which were carried out.
#[derive(Debug, PartialEq, Eq)]
struct Built {
    outputs: BTreeMap<String, String>,
    made: BTreeSet<String>,
}

fn finish(project: &Project, command: &mut Command) -> Built {
    let ran = project.finish(command);
    assert_eq!(ran.code, 0, "{}", ran.text());
    let mut built = Built { outputs: BTreeMap::new(), made: BTreeSet::new() };
    for (name, output, hit) in super::made(&ran) {
        if !hit {
            built.made.insert(name.clone());
        }
        built.outputs.insert(name, output);
    }
    built
}

fn build(project: &Project, arguments: &[&str]) -> Built {
    finish(project, &mut command(project, &[&["build", "--format", "json"], arguments].concat()))
}

fn made(project: &Project, arguments: &[&str]) -> Vec<String> {
    build(project, arguments).made.into_iter().collect()
}

#[test]
fn each_declared_thing_makes_what_depends_on_it_again() {
    let project = project();
    let all = ["build/both", "build/code", "build/text", "fetch/both", "image/code", "image/top"];
    assert_eq!(made(&project, &[]), all);
    assert_eq!(made(&project, &[]), [""; 0]);

    project.write("src/code", "# a comment\nother code\n");
    assert_eq!(made(&project, &[]), ["build/code", "image/code", "image/top"]);
    // Another input with the same output: it stops there.
    project.write("src/code", "# another comment\nother code\n");
    assert_eq!(made(&project, &[]), ["build/code"]);
    project.write("src/more", "");
    assert_eq!(made(&project, &[]), ["build/code"]);
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(project.dir().join("src/code"), mode).expect("set");
    assert_eq!(made(&project, &[]), ["build/code", "image/code", "image/top"]);

    project.write("text", "other text\n");
    assert_eq!(made(&project, &[]), ["build/text", "image/top"]);
    assert_eq!(made(&project, &["-p", "level=2"]), ["build/text", "image/top"]);
    assert_eq!(made(&project, &[]), [""; 0], "what was made before is still there");
    flavour(&project, "sour");
    assert_eq!(made(&project, &[]), ["build/text", "image/top"]);
    project.write("fetched", "other\n");
    assert_eq!(made(&project, &[]), ["build/both", "fetch/both"]);

    let changed = |from: &str, to: &str| {
        assert!(PIPELINE.contains(from), "{from}");
        project.write("seatrial.yaml", PIPELINE.replace(from, to));
        let made = made(&project, &[]);
        project.write("seatrial.yaml", PIPELINE);
        made
    };
    assert_eq!(changed("GREETING: hello", "GREETING: bye"), ["build/text", "image/top"]);
    assert_eq!(changed("GREETING: hello", "GREETING: hello, B: c"), ["build/text"]);
    assert_eq!(changed("outputs: [code]", "outputs: [\"c*\"]"), ["build/code"]);
    assert_eq!(changed("to: /code", "to: /usr/code"), ["image/code", "image/top"]);
    assert_eq!(changed("A: b", "A: c"), ["image/top"]);
    assert_eq!(changed("cat text", "cat  text"), ["build/text"]);
    assert_eq!(changed("inputs: [text]", "inputs: [text]\n    timeout: 7m"), [""; 0]);
    assert_eq!(changed("inputs: [text]", "inputs: [text]\n    caches: [c]"), [""; 0]);
    project.write("deploy.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: b }\n");
    assert_eq!(made(&project, &[]), [""; 0], "an install input is no business of builds");
}

#[test]
fn what_is_not_declared_changes_nothing() {
    let first = project();
    let expected = build(&first, &[]);
    let same = |what: &str, command: &mut Command| {
        let again = finish(&first, command);
        assert_eq!(
            again,
            Built { made: BTreeSet::new(), outputs: expected.outputs.clone() },
            "{what}"
        );
    };
    let again = || command(&first, &["build", "--format", "json"]);
    same(
        "environment",
        again().envs([("TZ", "Asia/Tokyo"), ("GREETING", "bye"), ("LANG", "tr_TR")]),
    );
    same("home and terminal", again().envs([("HOME", "/"), ("COLUMNS", "40"), ("TERM", "vt100")]));
    let now = std::fs::File::open(first.dir().join("text")).expect("there");
    now.set_modified(std::time::SystemTime::now()).expect("set");
    same("times", &mut again());
    first.write("other", "changed");
    first.write("new", "new");
    same("files that are not inputs", &mut again());
    first.commit();
    same("the commit", &mut again());

    // Made anew under other circumstances, every output has the same digest.
    let second = project();
    let mut umask = Command::new("sh");
    umask.args(["-c", "umask 077; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_seatrial")]);
    umask.args(["build", "--format", "json"]).current_dir(second.dir()).env_clear();
    let plain = command(&second, &[]);
    umask.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    umask.envs([("TZ", "America/Lima")]);
    let anew = finish(&second, &mut umask);
    assert_eq!(anew, expected);
}

#[test]
fn what_changed_is_told() {
    let project = project();
    let why = |node: &str| {
        let ran = project.finish(&mut command(&project, &["plan", "--why", node]));
        let error = ran.stderr.find("error[").map(|begin| &ran.stderr[begin..]);
        let text = format!("{}{}", ran.stdout, error.unwrap_or_default());
        without_ids(&text)
    };
    assert_snapshot!(why("build/code"), @r"
    build/code: to be made
    no recorded run of project has it; its key is ID
    ");
    assert_snapshot!(why("image/top"), @r"
    image/top: to be made
    its key waits for what image/code and build/text will be
      seatrial plan --why image/code
      seatrial plan --why build/text
    ");
    build(&project, &[]);
    assert_snapshot!(why("image/top"), @r"
    image/top: there
    nothing changed since run ID: its key is ID
    ");
    project.write("src/code", "changed");
    project.write("src/new", "new");
    assert_snapshot!(why("build/code"), @r"
    build/code: to be made
    since run ID its key changed from ID to ID:
      source
        ~ src/code
        + src/new
    ");
    assert_snapshot!(why("image/code"), @r"
    image/code: to be made
    its key waits for what build/code will be
      seatrial plan --why build/code
    ");
    flavour(&project, "bitter");
    project.write("seatrial.yaml", PIPELINE.replace("hello", "good day"));
    assert_snapshot!(why("build/text"), @r"
    build/text: to be made
    since run ID its key changed from ID to ID:
      env GREETING: hello -> good day
      tool flavour is another
    ");
    assert_snapshot!(why("default/install"), @r"
    default/install: done in every run, since it works with something alive
    its key waits for what default/boot and image/code and image/top will be
      seatrial plan --why default/boot
      seatrial plan --why image/code
      seatrial plan --why image/top
    ");
    assert_snapshot!(why("build/cod"), @r"
    error[plan.unknown_node]: the plan has no node `build/cod`
    hint: there are: default/boot, build/code, image/code, build/text, image/top, default/install, fetch/both, build/both, default/e2e
    ");
}
