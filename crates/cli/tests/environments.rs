//! Environments as a stranger uses them: a product on a cluster, by a run and
//! by hand, and what is said when it does not get there. These tests need
//! root, git, a C compiler and the components; one needs a machine that can
//! mount layers (`seatrial doctor`).

#[path = "support/command_lines.rs"]
mod command_lines;
#[path = "support/events.rs"]
mod events;
#[path = "support/files.rs"]
mod files;
#[path = "support/ids.rs"]
mod ids;
#[path = "environments/keys.rs"]
mod keys;
#[path = "support/owned.rs"]
mod owned;
#[path = "support/processes.rs"]
mod processes;
#[path = "red-team/red_team.rs"]
mod red_team;
#[path = "support/shop.rs"]
mod shop;
mod support;

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use events::{events, events_of, failures_of};
use files::files;
use insta::assert_snapshot;
use nix::sys::signal::Signal;
use owned::process;
use processes::{send, start, wait_for};
use serde_json::Value;
use shop::{command, shop};
use support::{Project, Ran};

fn run(project: &Project, arguments: &[&str]) -> Ran {
    match arguments {
        // What needs no components.
        ["env", "ls" | "down" | "kubeconfig", ..] | ["explain", ..] => project.run(arguments),
        _ => project.finish(&mut command(project, arguments)),
    }
}

fn failures(project: &Project, suite: &str) -> String {
    let told = failures_of(&run(project, &["run", suite, "--format", "json"]));
    let timed = |line: &&str| !line.starts_with("| tried for ");
    told.lines().filter(timed).map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_product_is_installed_tested_kept_looked_at_and_taken_down() {
    let (one, two) = (shop(), shop());
    let _ends = [Ends(&one), Ends(&two)];
    let ran = run(&one, &["run", "e2e", "--keep"]);
    assert_eq!(ran.code, 0, "{}", ran.text());
    let id = ran.stderr.split("seatrial env down ").nth(1).expect("told").split(' ').next();
    let id = id.expect("an id");

    // Its node has mounted the layer of `shop`, and made file systems of two
    // itself: `pause`, and the layer that says only half of where its file is.
    let containerd = "c0n0/var/lib/containerd/io.containerd.snapshotter.v1.erofs/snapshots";
    let environment = only(&only(&one.state().join("live")));
    let made = files(&environment.join(containerd));
    let made: Vec<_> = made.iter().filter(|file| file.ends_with("layer.erofs")).collect();
    assert_eq!(made.len(), 2, "{made:#?}");
    assert_eq!(files(&one.state().join("layers")).len(), 1);

    // Another beside it, on another state directory, at the same addresses.
    let up = run(&two, &["env", "up"]);
    assert_eq!(up.code, 0, "{}", up.text());

    let listed = run(&one, &["env", "ls"]);
    assert_snapshot!(listed.text().replace(id, "0123abcd"), @r"
    id        environment  project  clusters
    0123abcd  default      project  main
    exit code 0
    ");
    let get = ["get", "nodes", "-o", "name"];
    let shell = |project, arguments: &[&str]| {
        run(project, &[&["env", "shell", "--", "kubectl"], arguments].concat())
    };
    for project in [&one, &two] {
        assert_eq!(shell(project, &get).text(), "node/c0n0\nexit code 0\n");
    }
    // One is not the other.
    assert_eq!(shell(&one, &["delete", "namespace", "shop", "--wait=false"]).code, 0);
    assert_eq!(shell(&two, &["-n", "shop", "rollout", "status", "deployment/shop"]).code, 0);

    // The kubeconfig works on this machine, and is nobody else's to read.
    let kubeconfig = one.beside("kubeconfig");
    std::fs::write(&kubeconfig, run(&one, &["env", "kubeconfig"]).stdout).expect("written");
    let kubectl = run(&one, &["env", "shell", id, "--", "sh", "-c", "command -v kubectl"]).stdout;
    let bin = Path::new(kubectl.trim()).parent().expect("a directory");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("a PATH"));
    let mut kubectl = Command::new(kubectl.trim());
    let nodes = one.finish(kubectl.args(get).env("KUBECONFIG", &kubeconfig));
    assert_snapshot!(nodes.text(), @r"
    node/c0n0
    exit code 0
    ");
    // A port of the product is brought here, by the shell and by the kubeconfig.
    let forwarded = run(&two, &["env", "shell", "--", "bash", "-c", FORWARD]);
    assert!(forwarded.stdout.contains("hello from a ConfigMap"), "{}", forwarded.text());
    std::fs::write(&kubeconfig, run(&two, &["env", "kubeconfig"]).stdout).expect("written");
    let mut bash = Command::new("bash");
    bash.args(["-c", FORWARD]).env("KUBECONFIG", &kubeconfig).env("PATH", path);
    let forwarded = two.finish(&mut bash);
    assert!(forwarded.stdout.contains("hello from a ConfigMap"), "{}", forwarded.text());

    let kept = one.state().join("environments").join(id);
    assert_eq!(mode(&kept), 0o700);
    assert_eq!(mode(&kept.join("kubeconfig-main")), 0o600);

    // A command's exit code is passed on; unknown environments are told.
    assert_eq!(run(&one, &["env", "shell", "--", "sh", "-c", "exit 7"]).code, 7);
    assert_snapshot!(run(&one, &["env", "down", "other"]).text().replace(id, "0123abcd"), @r"
    error[env.unknown]: no environment `other` stays
    hint: there are: 0123abcd (default)
    exit code 2
    ");

    // It stays while others run, and is gone when it is taken down.
    assert_eq!(run(&one, &["build", "shop"]).code, 0);
    assert_eq!(shell(&one, &get).code, 0);
    for project in [&one, &two] {
        assert_eq!(run(project, &["env", "down"]).code, 0);
        assert_eq!(run(project, &["env", "ls"]).stdout, "");
    }
}

/// Asks the product over a port of this machine, and ends what forwards it.
const FORWARD: &str = r#"
exec 3< <(exec kubectl -n shop port-forward service/shop :80)
forwards=$!
read -r -t 60 line <&3
port=${line#*127.0.0.1:}
exec 4<> /dev/tcp/127.0.0.1/${port%% *}
printf 'GET / HTTP/1.0\r\n\r\n' >&4
timeout 20 cat <&4
kill $forwards
"#;

/// Ends what a test that failed left running.
struct Ends<'a>(&'a Project);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.run(&["env", "down", "--all"]);
    }
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).expect("there").permissions().mode() & 0o777
}

#[test]
fn what_does_not_get_there_is_told_with_its_reason() {
    let project = shop();
    assert_snapshot!(failures(&project, "unknown-kind"), @r"
    deploy.unknown_kind: bad/kind.yaml:1: Deploymnt shop: nothing in the cluster serves Deploymnt of apps/v1; it serves Deployment of apps/v1
    hint: apply the CustomResourceDefinition in the same or an earlier install step, or mend `apiVersion` and `kind`
    failed, exit code 1
    ");
    assert_snapshot!(failures(&project, "no-crd"), @r"
    deploy.unknown_kind: bad/resource.yaml:5: Order first: nothing in the cluster serves Order of shop.example/v1
    hint: apply the CustomResourceDefinition in the same or an earlier install step, or mend `apiVersion` and `kind`
    failed, exit code 1
    ");
    // A definition that is never established: which of two that want one kind
    // comes first is up to the API server.
    let told = failures(&project, "conflict");
    assert!(told.starts_with("deploy.not_established: bad/conflict.yaml:"), "{told}");
    assert!(told.contains("its names are not accepted: "), "{told}");
    assert_snapshot!(failures(&project, "invalid"), @r#"
    deploy.invalid: bad/invalid.yaml:1: Deployment default/Shop: Deployment.apps "Shop" is invalid: metadata.name: Invalid value: "Shop": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
    failed, exit code 1
    "#);

    // What waiting cannot mend is not waited for: then it would be `not_ready`.
    let told = failures(&project, "no-image");
    assert!(told.starts_with("deploy.image_not_found: Deployment default/web cannot"), "{told}");
    assert!(told.contains("registry.example/shopp:2: not found"), "{told}");
    assert!(told.contains("needs its name in `replaces`"), "{told}");
    let near = "nothing builds `registry.example/shopp`; `registry.example/shop` is built";
    assert!(told.contains(near), "{told}");
    let told = failures(&project, "crash");
    assert!(told.starts_with("deploy.crash_loop: Deployment default/crash cannot"), "{told}");
    assert!(told.contains("| cannot reach the database\n"), "{told}");
    // Nothing says when it works, and its Deployment is available for a moment.
    let told = failures(&project, "fade");
    assert!(told.starts_with("deploy.crash_loop: Deployment default/fade cannot"), "{told}");
    assert!(told.contains("| no licence\n"), "{told}");
    // Once is no failure, and not nothing.
    let ran = run(&project, &["run", "second", "--format", "json"]);
    assert_eq!(ran.code, 0, "{}", ran.text());
    let warnings = events(&ran, "warning");
    let text = warnings[0]["failure"]["message"].as_str().expect("text");
    assert!(text.contains("restarted once, at last with exit code 3 (Error)"), "{text}");

    let told = failures(&project, "sick");
    assert!(
        told.starts_with("deploy.not_ready: Deployment default/sick is not ready after 6 s"),
        "{told}"
    );
    assert!(told.contains("| serving\n"), "the end of its log: {told}");
    assert!(
        told.contains("Readiness probe failed: HTTP probe failed with statuscode: 503"),
        "{told}"
    );
    assert_snapshot!(failures(&project, "step"), @r#"
    install.failed: it ended with exit code 1
    | error: the server doesn't have a resource type "nothing"
    failed, exit code 1
    "#);
}

#[test]
fn a_failing_test_leaves_evidence() {
    let project = shop();
    let ran = run(&project, &["run", "red"]);
    assert_eq!(ran.code, 1, "{}", ran.text());
    assert!(ran.stderr.contains("expected 2 replicas found 1"), "{}", ran.text());
    let to = project.beside("evidence").display().to_string();
    let copied = run(&project, &["explain", "--evidence", &to]);
    assert_eq!(copied.code, 0, "{}", copied.text());
    let found = files(Path::new(&to));
    for wanted in ["events.txt", "components/", "shop"] {
        let is_wanted = |file: &PathBuf| file.display().to_string().contains(wanted);
        assert!(found.iter().any(is_wanted), "{wanted} in {found:#?}");
    }
}

/// The one directory in a directory.
fn only(dir: &Path) -> PathBuf {
    let entries = std::fs::read_dir(dir).expect("there").flatten().map(|entry| entry.path());
    let dirs: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    let [dir] = &dirs[..] else { panic!("{dirs:#?}") };
    dir.clone()
}

/// Waits until the test of the suite `waits` runs in an environment where it
/// did not before, and returns the process that it waits for.
fn waiting(owner: &Child, before: Option<u32>) -> u32 {
    let mut found = None;
    wait_for("test", Duration::from_secs(90), || {
        found =
            process(owner.id(), "kubectl", "wait --for=delete node").filter(|p| Some(*p) != before);
        found.map(|_| ()).ok_or("not begun")
    });
    found.expect("waited for")
}

fn kill_component(owner: &Child, name: &str) {
    send(process(owner.id(), name, "").expect("it runs"), Signal::SIGKILL);
}

/// The names of the nodes of a run, by their places.
fn names(ran: &Ran) -> Vec<String> {
    events_of(ran, &["planned", "plan-grown", "suite-grown"])
        .iter()
        .flat_map(|event| event["nodes"].as_array().cloned().unwrap_or_default())
        .map(|node| node["name"].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// The node of `names` that an event is of.
fn node<'a>(event: &Value, names: &'a [String]) -> &'a str {
    let place = event["node"].as_u64().and_then(|node| usize::try_from(node).ok());
    &names[place.expect("a place")]
}

/// The outcomes of the one test, how often the plan grew, and the names of the
/// nodes that ended well.
fn course(ran: &Ran) -> (Vec<String>, usize, Vec<String>) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let grown = events(ran, "plan-grown");
    let names = names(ran);
    let finished = events(ran, "node-finished").into_iter();
    let done = finished
        .filter(|event| event["outcome"]["outcome"] == "done")
        .map(|event| node(&event, &names).to_owned());
    let tests = events(ran, "test-finished");
    (tests.iter().map(|test| text(&test["outcome"])).collect(), grown.len(), done.collect())
}

/// The most environments that there were at once, from the start of a boot to
/// the end of a drop.
fn environments_at_once(ran: &Ran) -> usize {
    let names = names(ran);
    let (mut now, mut most) = (0_usize, 0);
    for event in events_of(ran, &["node-started", "node-finished"]) {
        let (begins, name) = (event["event"] == "node-started", node(&event, &names));
        now += usize::from(begins && name.contains("/boot"));
        let failed = event["outcome"]["outcome"] != "done";
        let gone = name.contains("/drop") || name.contains("/boot") && failed;
        now -= usize::from(!begins && gone);
        most = most.max(now);
    }
    most
}

#[test]
fn what_a_dead_component_voids_is_tried_once_elsewhere() {
    let project = shop();
    let two = ["run", "waits", "--environments", "2", "--format", "json"];
    let run = || start(&mut command(&project, &two));
    let child = run();
    let first = waiting(&child, None);
    kill_component(&child, "etcd");
    // In the second environment the test gets to its end.
    send(waiting(&child, Some(first)), Signal::SIGTERM);
    let ran = project.ran(&child.wait_with_output().expect("it ends"));
    assert_eq!(ran.code, 0, "{}", ran.text());
    assert_eq!(failures_of(&ran), "passed, exit code 0\n");
    let (tests, grown, done) = course(&ran);
    assert_eq!((tests.join(" "), grown), ("broken passed".to_owned(), 1));
    let of_sessions: Vec<_> = done.iter().filter(|name| name.starts_with("default/")).collect();
    assert_eq!(
        of_sessions,
        [
            "default/boot",
            "default/install",
            "default/evidence",
            "default/drop",
            "default/boot#2",
            "default/install#2",
            "default/waits#2",
            "default/drop#2",
        ]
    );
    let explained = project.run(&["explain"]).stdout;
    let died = "void  default/waits: etcd of node c0n0 ended by itself (signal 9)\n";
    assert!(explained.contains(died), "{explained}");
    assert!(explained.contains("tried again as default/waits#2\n"), "{explained}");

    // The same test under two deaths is no accident.
    let child = run();
    let first = waiting(&child, None);
    kill_component(&child, "kube-scheduler");
    waiting(&child, Some(first));
    kill_component(&child, "etcd");
    let ran = project.ran(&child.wait_with_output().expect("it ends"));
    assert_eq!(ran.code, 1, "{}", ran.text());
    let (tests, grown, done) = course(&ran);
    assert_eq!((tests.join(" "), grown), ("broken broken".to_owned(), 1));
    assert_eq!(done.iter().filter(|name| name.starts_with("default/drop")).count(), 2);
    let told = failures_of(&ran);
    let second = "cluster.component_died: etcd of node c0n0 ended by itself (signal 9)\n| ";
    assert!(told.starts_with(second), "{told}");
    assert!(told.lines().filter(|line| line.starts_with("| ")).count() > 3, "{told}");
    assert!(told.ends_with("failed, exit code 1\n"), "{told}");
    let explained = project.run(&["explain"]).stdout;
    assert!(explained.contains("FAIL  waits/waits waits  breaks its environment\n"), "{explained}");
    let first = "void  default/waits: kube-scheduler of node c0n0 ended by itself (signal 9)\n";
    assert!(explained.contains(first), "{explained}");
}

/// Tests of suites that ran, and the outcome of each try.
fn outcomes(ran: &Ran) -> Vec<String> {
    let finished = events(ran, "test-finished").into_iter();
    let line = |event: Value| format!("{} {}", event["test"], event["outcome"]).replace('"', "");
    finished.map(line).collect()
}

#[test]
fn what_fails_is_tried_again_in_another_environment() {
    let project = shop();
    let ran = run(&project, &["run", "flaky", "--environments", "1", "--format", "json"]);
    assert_eq!(ran.code, 0, "{}", ran.text());
    assert_eq!(environments_at_once(&ran), 1);
    // The second environment has nothing of the first.
    assert_eq!(outcomes(&ran), ["flaky failed", "flaky passed"]);
    let (_, void, done) = course(&ran);
    assert_eq!(void, 0);
    let of_sessions: Vec<_> = done.iter().filter(|name| name.starts_with("bare/")).collect();
    assert_eq!(
        of_sessions,
        [
            "bare/boot",
            "bare/install",
            "bare/flaky",
            "bare/evidence",
            "bare/drop",
            "bare/boot#2",
            "bare/install#2",
            "bare/flaky#2",
            "bare/drop#2",
        ]
    );
    let explained = project.run(&["explain"]).stdout;
    assert!(explained.contains("FLAKY  flaky/flaky flaky  failed, then passed\n"), "{explained}");
}

#[test]
fn what_is_fresh_has_an_environment_of_its_own() {
    let project = shop();
    let ran = run(&project, &["run", "fresh", "--environments", "2", "--format", "json"]);
    assert_eq!(ran.code, 0, "{}", ran.text());
    assert_eq!(environments_at_once(&ran), 2);
    let mut said = outcomes(&ran);
    said.sort();
    assert_snapshot!(said.join("\n"), @r"
    TestOne passed
    TestTogetherMakes passed
    TestTogetherSees passed
    TestTwo failed
    TestTwo passed
    ");
    let (_, _, mut done) = course(&ran);
    done.retain(|name| !name.contains("/evidence"));
    done.sort();
    assert_snapshot!(done.join("\n"), @"
    bare/fresh
    bare/fresh#2
    bare/fresh#3
    bare/fresh#4
    bare/fresh/boot
    bare/fresh/boot#2
    bare/fresh/boot#3
    bare/fresh/boot#4
    bare/fresh/drop
    bare/fresh/drop#2
    bare/fresh/drop#3
    bare/fresh/drop#4
    bare/fresh/install
    bare/fresh/install#2
    bare/fresh/install#3
    bare/fresh/install#4
    build/shop
    build/tests
    image/migrate
    image/shop
    ");
    let explained = project.run(&["explain"]).stdout;
    assert!(
        explained.contains("FLAKY  fresh/alone.test TestTwo  failed, then passed\n"),
        "{explained}"
    );
}
