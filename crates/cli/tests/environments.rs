//! Environments as a stranger uses them: a product on a cluster, by a run and
//! by hand, and what is said when it does not get there. These tests need
//! root, git, a C compiler and the components.

#[path = "support/events.rs"]
mod events;
#[path = "support/processes.rs"]
mod processes;
#[path = "red-team/red_team.rs"]
mod red_team;
#[path = "support/shop.rs"]
mod shop;
mod support;

use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use events::failures_of;
use insta::assert_snapshot;
use nix::sys::signal::Signal;
use processes::{processes_with, send, start, wait_for};
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
    let mut kubectl = Command::new(kubectl.trim());
    let nodes = one.finish(kubectl.args(get).env("KUBECONFIG", &kubeconfig));
    assert_snapshot!(nodes.text(), @r"
    node/c0n0
    exit code 0
    ");
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
    let told = failures(&project, "crash");
    assert!(told.starts_with("deploy.crash_loop: Deployment default/crash cannot"), "{told}");
    assert!(told.contains("| cannot reach the database\n"), "{told}");

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
    let files = walkdir(Path::new(&to));
    for wanted in ["events.txt", "components/", "shop"] {
        assert!(files.iter().any(|file| file.contains(wanted)), "{wanted} in {files:#?}");
    }
}

fn walkdir(dir: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).expect("there").flatten() {
        match entry.path().is_dir() {
            true => files.extend(walkdir(&entry.path())),
            false => files.push(entry.path().display().to_string()),
        }
    }
    files
}

/// The process of a component in what `owner` runs apart.
fn component(owner: &Child, name: &str) -> Option<u32> {
    let group = format!("/{}-", owner.id());
    let of = |entry: std::fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let comm = std::fs::read_to_string(entry.path().join("comm")).ok()?;
        let groups = std::fs::read_to_string(entry.path().join("cgroup")).ok()?;
        (comm.trim() == name && groups.contains(&group)).then_some(pid)
    };
    std::fs::read_dir("/proc").expect("/proc").flatten().find_map(of)
}

#[test]
fn a_component_that_dies_breaks_the_run_and_is_named() {
    let project = shop();
    for name in ["kube-scheduler", "etcd"] {
        let child = start(&mut command(&project, &["run", "waits", "--format", "json"]));
        // The tests have begun when their command runs.
        wait_for("tests", Duration::from_secs(90), || {
            let waits = processes_with("kubectl wait --for=delete node");
            if waits.is_empty() { Err("not begun") } else { Ok(()) }
        });
        let pid = component(&child, name).expect("it runs");
        send(pid, Signal::SIGKILL);
        let ran = project.ran(&child.wait_with_output().expect("it ends"));
        assert_eq!(ran.code, 3, "{}", ran.text());
        let told = failures_of(&ran);
        let first = told.lines().next().expect("a line");
        assert_eq!(
            first,
            format!("cluster.component_died: {name} of node c0n0 ended by itself (signal 9)")
        );
        assert!(told.lines().filter(|line| line.starts_with("| ")).count() > 3, "{told}");
    }
}
