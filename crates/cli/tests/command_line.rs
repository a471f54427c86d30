//! What a stranger reads of the command before it can do anything: helps,
//! mistakes, and what is not there. Needs git; needs neither root nor
//! components.

mod support;

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;

use insta::assert_snapshot;
use support::{Project, Ran};

/// A build and a suite that need no cluster.
const HELLO: &str = r#"seatrial: 1
params: { greeting: { type: enum, values: [hello, ahoy] } }
builds:
  hello:
    inputs: [name.txt]
    params: [greeting]
    run: echo "$PARAM_GREETING $(cat name.txt)" > "$OUT/hello"
    outputs: [hello]
  twice:
    run: cat name.txt name.txt > "$OUT/twice"
images:
  hello: { files: [{ build: hello, path: hello, to: /hello }] }
environments:
  default: { install: [{ apply: deploy }] }
suites:
  greets: { build: hello, adapter: exec, run: grep hello hello }
  e2e: { build: twice, adapter: exec, run: cat twice, environments: [default] }
"#;

fn hello() -> Project {
    Project::new(&[
        ("seatrial.yaml", HELLO),
        ("name.txt", "world\n"),
        ("deploy/pod.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: { name: x }\n"),
    ])
}

/// A user that owns nothing, as the caller of `command`, where the caller is
/// root and nothing could be forbidden to it.
fn as_nobody(command: &mut std::process::Command) -> &mut std::process::Command {
    const NOBODY: u32 = 65534;
    if nix::unistd::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn own_by_nobody(project: &Project) {
    if nix::unistd::geteuid().is_root() {
        for dir in [project.beside(""), project.dir(), project.dir().join(".git")] {
            chown(dir, Some(65534), Some(65534)).expect("root may");
        }
    }
}

#[test]
fn each_command_says_what_it_is_for() {
    let commands: &[&[&str]] = &[
        &[],
        &["run"],
        &["build"],
        &["check"],
        &["plan"],
        &["env"],
        &["env", "up"],
        &["env", "ls"],
        &["env", "shell"],
        &["env", "kubeconfig"],
        &["env", "down"],
        &["runs"],
        &["explain"],
        &["logs"],
        &["init"],
        &["update"],
        &["components"],
        &["components", "install"],
        &["components", "status"],
        &["doctor"],
        &["schema"],
        &["completions"],
    ];
    let project = Project::empty();
    let mut all = String::new();
    for command in commands {
        let arguments = [command, &["--help"] as &[&str]].concat();
        let mut help = project.command(&arguments);
        let ran = project.finish(help.env_remove("SEATRIAL_STATE_DIR"));
        let Ran { code, stdout, stderr } = ran;
        assert_eq!((code, stderr.as_str()), (0, ""), "{arguments:?}");
        all.push_str(&format!("$ seatrial {}\n{stdout}\n", arguments.join(" ")));
    }
    assert_snapshot!("help", all);
}

#[test]
fn bad_use_is_told_with_the_nearest_right_word() {
    let project = hello();
    assert_snapshot!(project.run(&["rum"]).text(), @r"
    error: unrecognized subcommand 'rum'

      tip: some similar subcommands exist: 'runs', 'run'

    Usage: seatrial [OPTIONS] <COMMAND>

    For more information, try '--help'.
    exit code 2
    ");
    assert_snapshot!(project.run(&["run", "--formt", "json"]).text(), @r"
    error: unexpected argument '--formt' found

      tip: a similar argument exists: '--format'

    Usage: seatrial run --format <FORMAT> [SUITES]...

    For more information, try '--help'.
    exit code 2
    ");
    assert_snapshot!(project.run(&["run", "-p", "greeting"]).text(), @r"
    error: invalid value 'greeting' for '--param <NAME=VALUE>': write it as name=value

    For more information, try '--help'.
    exit code 2
    ");
    assert_snapshot!(project.run(&["run", "Not A Name"]).text(), @r"
    error: invalid value 'Not A Name' for '[SUITES]...': a name consists of a-z, 0-9 and `-` and begins and ends with a letter or digit

    For more information, try '--help'.
    exit code 2
    ");
    assert_snapshot!(project.run(&["completions", "dos"]).text(), @r"
    error: invalid value 'dos' for '<SHELL>'
      [possible values: bash, elvish, fish, powershell, zsh]

    For more information, try '--help'.
    exit code 2
    ");
    assert_snapshot!(project.run(&["-C", "nowhere", "check"]).text(), @r"
    config.not_found

      × there is no seatrial.yaml in nowhere
      help: there is one above: use `-C [DIR]/project`

    exit code 2
    ");
}

#[test]
fn a_good_file_is_fine() {
    assert_snapshot!(hello().run(&["check"]).text(), @r"
    seatrial.yaml is fine: 2 builds, 1 image, 1 environment, 2 suites
    exit code 0
    ");
}

#[test]
fn what_is_odd_about_a_file_is_told_to_people_whom_it_concerns() {
    let project = Project::new(&[(
        "seatrial.yaml",
        "seatrial: 1\nbuilds: { used: { run: touch $OUT/a }, spare: { run: touch $OUT/a } }\n\
         suites: { s: { build: used, adapter: exec, run: \"true\" } }\n",
    )]);
    let told = |arguments: &[&str]| {
        let ran = project.run(arguments);
        assert_eq!(ran.code, 0, "{}", ran.text());
        ran.stderr.contains("config.unused")
    };
    assert!(told(&["check"]));
    assert!(told(&["plan"]));
    assert!(!told(&["plan", "--format", "json"]));
    assert!(!told(&["build", "spare"]), "who builds it uses it");
}

#[test]
fn every_mistake_of_a_file_is_told_at_once() {
    let project = hello();
    project.write(
        "seatrial.yaml",
        "seatrial: 1\n\
         builds:\n\
         \x20 Server: { run: make }\n\
         \x20 tests: { runn: make, timeout: 5 }\n\
         environments:\n\
         \x20 default: { clusters: { main: { kubernetes: 1.37 } } }\n\
         suites:\n\
         \x20 e2e: { build: test, adapter: goo, environments: [default] }\n",
    );
    let checked = project.run(&["check"]);
    assert_snapshot!(checked.text(), @r#"
    config.bad_name

      × `Server` is no name: a name consists of a-z, 0-9 and `-` and begins and ends with a letter or
      │ digit
       ╭─[seatrial.yaml:3:3]
     2 │ builds:
     3 │   Server: { run: make }
       ·   ───┬──
       ·      ╰── `server` would be one
     4 │   tests: { runn: make, timeout: 5 }
       ╰────

    config.missing_field

      × field `run` is missing in `builds.tests`
       ╭─[seatrial.yaml:4:3]
     3 │   Server: { run: make }
     4 │   tests: { runn: make, timeout: 5 }
       ·   ─────
     5 │ environments:
       ╰────
      help: `run`: The command: a script for `bash -euo pipefail`, or a list of a program and its
            arguments.

    config.unknown_field

      × unknown field `runn` in `builds.tests`
       ╭─[seatrial.yaml:4:12]
     3 │   Server: { run: make }
     4 │   tests: { runn: make, timeout: 5 }
       ·            ──┬─
       ·              ╰── did you mean `run`?
     5 │ environments:
       ╰────
      help: the fields here are `inputs`, `tools`, `fetch`, `caches`, `env`, `params`, `run`,
            `outputs`, `resources`, `timeout` and `network`

    config.bad_quantity

      × `5` is no duration: a unit is missing
       ╭─[seatrial.yaml:4:33]
     3 │   Server: { run: make }
     4 │   tests: { runn: make, timeout: 5 }
       ·                                 ┬
       ·                                 ╰── `5s` are seconds
     5 │ environments:
       ╰────

    config.wrong_type

      × expected a version in quotes, such as "1.37", found `1.37` in
      │ `environments.default.clusters.main.kubernetes`
       ╭─[seatrial.yaml:6:46]
     5 │ environments:
     6 │   default: { clusters: { main: { kubernetes: 1.37 } } }
       ·                                              ────
     7 │ suites:
       ╰────
      help: quote it: "1.37"

    config.unknown_ref

      × there is no build `test`
       ╭─[seatrial.yaml:8:17]
     7 │ suites:
     8 │   e2e: { build: test, adapter: goo, environments: [default] }
       ·                 ──┬─
       ·                   ╰── did you mean `tests`?
       ╰────
      help: this file has `tests`

    config.bad_value

      × `goo` is not an adapter
       ╭─[seatrial.yaml:8:32]
     7 │ suites:
     8 │   e2e: { build: test, adapter: goo, environments: [default] }
       ·                                ─┬─
       ·                                 ╰── did you mean `go`?
       ╰────
      help: allowed are `go`, `ginkgo`, `rust`, `pytest`, `junit` and `exec`

    exit code 2
    "#);
    // Every command that needs the file says the same, before it does anything.
    for command in [&["run"] as &[&str], &["build"], &["plan"], &["env", "up"]] {
        assert_eq!(project.run(command).text(), checked.text(), "{command:?}");
    }
    assert!(!project.state().exists(), "nothing was begun");
}

#[test]
fn bombs_and_what_is_no_text_are_refused() {
    let project = hello();
    let mut bomb = String::from("seatrial: 1\nx-a: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..10 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("x-{level}: &a{level} [{aliases}]\n"));
    }
    project.write("seatrial.yaml", bomb);
    assert_snapshot!(project.run(&["check"]).text(), @r"
    config.alias_budget

      × aliases repeat more than a pipeline may hold
       ╭─[seatrial.yaml:6:26]
     5 │ x-3: &a3 [*a2, *a2, *a2, *a2, *a2, *a2, *a2, *a2, *a2, *a2]
     6 │ x-4: &a4 [*a3, *a3, *a3, *a3, *a3, *a3, *a3, *a3, *a3, *a3]
       ·                          ───
     7 │ x-5: &a5 [*a4, *a4, *a4, *a4, *a4, *a4, *a4, *a4, *a4, *a4]
       ╰────
      help: at most 50000 values and 1 MiB of text, what aliases repeat included

    exit code 2
    ");
    project.write("seatrial.yaml", b"seatrial: 1\nsuites: { \xff: {} }\n");
    assert_snapshot!(project.run(&["check"]).text(), @r"
    config.bad_text

      × these bytes are not UTF-8
       ╭─[seatrial.yaml:2:11]
     1 │ seatrial: 1
     2 │ suites: { �: {} }
       ·           ▲
       ╰────
      help: save the file as UTF-8

    exit code 2
    ");
    project.write("seatrial.yaml", "seatrial: 1\n---\nseatrial: 1\n");
    assert_snapshot!(project.run(&["check"]).text(), @r"
    config.multiple_documents

      × a second document begins here
       ╭─[seatrial.yaml:2:1]
     1 │ seatrial: 1
     2 │ ---
       · ───
     3 │ seatrial: 1
       ╰────
      help: a pipeline is one document: remove `---` and what follows it

    exit code 2
    ");
    project.write("seatrial.yaml", vec![b' '; 2 << 20]);
    assert_snapshot!(project.run(&["check"]).text(), @r"
    config.too_large

      × seatrial.yaml is larger than 1 MiB
      help: a pipeline file describes a build: what is generated or data belongs beside it

    exit code 2
    ");
}

#[test]
fn a_directory_without_a_pipeline_is_told_what_to_do() {
    let project = Project::new(&[]);
    assert_snapshot!(project.run(&["run"]).text(), @r"
    config.not_found

      × there is no seatrial.yaml in .
      help: `seatrial init` writes one to start from

    exit code 2
    ");
    project.write("seatrial.yml", HELLO);
    assert_snapshot!(project.run(&["run"]).text(), @r"
    config.not_found

      × there is no seatrial.yaml in .
      help: `seatrial.yml` is there: rename it to `seatrial.yaml`

    exit code 2
    ");
}

#[test]
fn a_pipeline_that_is_a_directory_is_no_panic() {
    let project = Project::new(&[]);
    std::fs::create_dir(project.dir().join("seatrial.yaml")).expect("made");
    assert_snapshot!(project.run(&["check"]).text(), @r"
    config.not_found

      × there is no seatrial.yaml in .
      help: seatrial.yaml is a directory there; it must be a file

    exit code 2
    ");
}

#[test]
fn a_directory_outside_of_git_is_refused() {
    let project = Project::empty();
    project.write("seatrial.yaml", HELLO);
    assert_snapshot!(project.run(&["plan"]).text(), @r"
    error[git.no_work_tree]: [DIR]/project is not in a Git work tree
    hint: make it one: `git init && git add --all`
    exit code 2
    ");
}

#[test]
fn suites_environments_builds_and_parameters_that_are_not_there() {
    let project = hello();
    assert_snapshot!(project.run(&["run", "e2f"]).text(), @r"
    error[run.unknown_name]: there is no suite `e2f`
    hint: there are: e2e, greets
    exit code 2
    ");
    assert_snapshot!(project.run(&["env", "up", "defaults"]).text(), @r"
    error[run.unknown_name]: there is no environment `defaults`
    hint: there are: default
    exit code 2
    ");
    assert_snapshot!(project.run(&["build", "helo"]).text(), @r"
    error[run.unknown_name]: there is no build or image `helo`
    hint: there are: hello, twice
    exit code 2
    ");
    assert_snapshot!(project.run(&["run", "-p", "greting=ahoy"]).text(), @r"
    config.bad_param

      × there is no parameter `greting`
      help: the parameters are `greeting`

    exit code 2
    ");
    assert_snapshot!(project.run(&["run", "-p", "greeting=hi"]).text(), @r"
    config.bad_param

      × parameter `greeting` cannot be `hi`
      help: allowed are `hello` and `ahoy`

    exit code 2
    ");
}

#[test]
fn nothing_to_run_is_never_a_success() {
    let project = Project::new(&[("seatrial.yaml", "seatrial: 1\n")]);
    assert_snapshot!(project.run(&["run"]).text(), @r"
    error[run.nothing_selected]: the pipeline has no suite to run
    hint: add one under `suites:`; `seatrial init` writes an example
    exit code 2
    ");
    assert_snapshot!(project.run(&["build"]).text(), @r"
    error[run.nothing_selected]: the pipeline builds nothing
    exit code 2
    ");
}

/// Root reads what its user may not: a link must not make it print that.
#[test]
fn what_a_link_outside_names_is_not_shown_as_a_pipeline_file() {
    for name in ["seatrial.yaml", "seatrial.lock"] {
        let project = hello();
        std::fs::write(project.beside("secret"), "password: [correct horse\n").expect("written");
        let _ = std::fs::remove_file(project.dir().join(name));
        std::os::unix::fs::symlink("../secret", project.dir().join(name)).expect("a link");
        let ran = project.run(&["check"]);
        assert_eq!(ran.code, 2, "{}", ran.text());
        assert!(ran.text().contains("it leads out of the project"), "{}", ran.text());
        assert!(!ran.text().contains("horse"), "{}", ran.text());
    }
}

#[test]
fn a_link_that_leads_outside_is_refused_by_name() {
    let project = hello();
    std::os::unix::fs::symlink("/etc/passwd", project.dir().join("secrets.txt")).expect("made");
    project.commit();
    assert_snapshot!(project.run(&["plan"]).text(), @r"
    error[git.unsafe_tree]: the work tree cannot be used: the symbolic link `secrets.txt` leads out of the tree, to `/etc/passwd`
    exit code 2
    ");
    std::fs::remove_file(project.dir().join("secrets.txt")).expect("removed");
    project.write("readme.md", "a");
    project.write("README.md", "b");
    project.commit();
    assert_snapshot!(project.run(&["plan"]).text(), @r"
    error[git.unsafe_tree]: `README.md` and `readme.md` are one name where case or Unicode form is not told apart
    exit code 2
    ");
}

/// Hexadecimal digits of keys say which tools this machine has.
fn without_keys(text: &str) -> String {
    let is_key = |word: &str| word.len() == 12 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let words = text.split(' ').map(|word| if is_key(word) { "[the key...]" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_plan_says_what_would_be_done_and_what_waits_for_what() {
    let project = hello();
    assert_snapshot!(without_keys(&project.run(&["plan"]).text()), @r"
    node              step            key                                     state       expected
    default/boot      cluster setup   -                                       to be done  unknown
    build/hello       image build     [the key...]                            to be made  unknown
    image/hello       image build     waits for build/hello                   to be made  unknown
    default/install   test setup      waits for default/boot, image/hello     to be done  unknown
    build/twice       test compile    [the key...]                            to be made  unknown
    default/e2e       test execution  waits for default/install, build/twice  to be done  unknown
    default/evidence  post test       -                                       to be done  unknown
    default/drop      post test       -                                       to be done  unknown
    suite/greets      test execution  waits for build/hello                   to be done  unknown
    exit code 0
    ");
    assert_snapshot!(without_keys(&project.run(&["plan", "greets"]).text()), @r"
    node          step            key                    state       expected
    build/hello   test compile    [the key...]           to be made  unknown
    suite/greets  test execution  waits for build/hello  to be done  unknown
    exit code 0
    ");
    let json = |arguments: &[&str]| {
        let ran = project.run(&[&["plan", "--format", "json"], arguments].concat());
        serde_json::from_str::<serde_json::Value>(&ran.stdout).expect("JSON")
    };
    let key = |plan: &serde_json::Value, name: &str| {
        let nodes = plan.as_array().expect("a list");
        nodes.iter().find(|node| node["name"] == name).expect("planned")["key"].to_string()
    };
    let before = json(&[]);
    // A parameter is in the keys of those that list it, and only in theirs.
    let ahoy = json(&["-p", "greeting=ahoy"]);
    assert_ne!(key(&before, "build/hello"), key(&ahoy, "build/hello"));
    assert_eq!(key(&before, "build/twice"), key(&ahoy, "build/twice"));
    // A file is in the keys of those whose inputs it matches.
    project.write("other.txt", "new");
    let other = json(&[]);
    assert_eq!(key(&before, "build/hello"), key(&other, "build/hello"));
    assert_ne!(key(&before, "build/twice"), key(&other, "build/twice"));
    let note = "note: included though Git does not track them: other.txt\n";
    assert_eq!(project.run(&["plan"]).stderr, note);
}

#[test]
fn the_schema_is_the_documented_one() {
    let documented = include_str!("../../../docs/seatrial.schema.json");
    assert_eq!(Project::empty().run(&["schema"]).stdout, documented);
}

#[test]
fn completions_know_the_commands() {
    let ran = Project::empty().run(&["completions", "bash"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(ran.stdout.contains("complete -F _seatrial"), "{}", ran.stdout);
    assert!(ran.stdout.contains("kubeconfig"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("keeper"), "nothing that is not for people");
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let project = Project::empty();
    let mut child = project.command(&["schema"]);
    let mut child = child.stdout(std::process::Stdio::piped()).spawn().expect("it starts");
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn nothing_is_recorded_yet() {
    let project = hello();
    assert_snapshot!(project.run(&["runs"]).text(), @r"
    no run is recorded yet: `seatrial run` makes the first
    exit code 0
    ");
    assert_snapshot!(project.run(&["explain"]).text(), @r"
    error[run.unknown]: no run is recorded yet
    hint: `seatrial run` makes the first
    exit code 2
    ");
    assert_snapshot!(project.run(&["logs", "12345678"]).text(), @r"
    error[run.unknown]: no run is recorded yet
    hint: `seatrial run` makes the first
    exit code 2
    ");
    assert_snapshot!(project.run(&["env", "ls"]).text(), @r"
    no environment is running: `seatrial env up` brings one up
    exit code 0
    ");
    assert_snapshot!(project.run(&["env", "down"]).text(), @r"
    error[env.unknown]: no environment stays
    hint: `seatrial env up` brings one up
    exit code 2
    ");
    assert_snapshot!(project.run(&["env", "kubeconfig", "main"]).text(), @r"
    error[env.unknown]: no environment `main` stays
    hint: `seatrial env up` brings one up
    exit code 2
    ");
}

#[test]
fn init_writes_a_file_that_check_likes_and_does_not_overwrite_one() {
    let project = Project::new(&[
        ("go.mod", "module example.org/shop\n\ngo 1.26\n"),
        ("cmd/shop/main.go", "package main\n\nfunc main() {}\n"),
        ("test/e2e/e2e_test.go", "package e2e\n"),
        ("deploy/shop.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: { name: shop }\n"),
    ]);
    assert_snapshot!(project.run(&["init"]).text(), @r"
    wrote ./seatrial.yaml: read it, then `seatrial check`
    exit code 0
    ");
    assert_snapshot!(project.run(&["check"]).text(), @r"
    seatrial.yaml is fine: 2 builds, 1 image, 1 environment, 1 suite
    exit code 0
    ");
    assert_eq!(project.run(&["plan"]).code, 0);
    let written = std::fs::read_to_string(project.dir().join("seatrial.yaml")).expect("written");
    assert_snapshot!(project.run(&["init"]).text(), @r"
    error[init.exists]: cannot write ./seatrial.yaml: it is there already
    hint: `seatrial init --print` shows what would be written
    exit code 2
    ");
    assert_eq!(project.run(&["init", "--print"]).stdout, written);
    let other = Project::new(&[("pom.xml", "<project/>\n")]);
    assert_snapshot!(other.run(&["init"]).text(), @r"
    error[init.unknown_project]: there is no go.mod, Cargo.toml, pyproject.toml, requirements.txt or package.json here, and `init` knows no other projects
    hint: start from the example in docs/format.md
    exit code 2
    ");
}

#[test]
fn a_state_directory_that_cannot_be_one_is_refused() {
    let project = hello();
    let run_in = |dir: &str| {
        let dir = project.beside(dir).display().to_string();
        project.run(&["plan", "--state-dir", &dir]).text()
    };
    std::fs::write(project.beside("file"), "").expect("written");
    assert_snapshot!(run_in("file"), @r"
    error[server.data_dir]: state directory [DIR]/file: it is not writable (file exists)
    hint: choose a directory of your own with --state-dir
    exit code 3
    ");
    assert_snapshot!(run_in("file/below"), @r"
    error[server.data_dir]: state directory [DIR]/file/below: it is not writable (not a directory)
    hint: choose a directory of your own with --state-dir
    exit code 3
    ");

    let closed = project.beside("closed");
    std::fs::create_dir(&closed).expect("made");
    std::fs::set_permissions(&closed, Permissions::from_mode(0o555)).expect("set");
    own_by_nobody(&project);
    let mut command = project.command(&["plan", "--state-dir", &closed.display().to_string()]);
    assert_snapshot!(project.finish(as_nobody(&mut command)).text(), @r"
    error[server.data_dir]: state directory [DIR]/closed: it is not writable (permission denied)
    hint: choose a directory of your own with --state-dir
    exit code 3
    ");
    std::fs::set_permissions(&closed, Permissions::from_mode(0o755)).expect("set");
}

#[test]
fn without_root_nothing_runs_rather_than_unprotected() {
    let project = hello();
    own_by_nobody(&project);
    // With a cluster, too: nothing is installed for nothing.
    let mut command = project.command(&["run"]);
    assert_snapshot!(project.finish(as_nobody(&mut command)).text(), @r"
    error[sandbox.unavailable]: environments and sandboxes need root on this machine
    hint: run it with sudo: builds and tests run as your user, only what needs it as root
    exit code 3
    ");
}
