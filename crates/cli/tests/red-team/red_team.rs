//! Hostile code in every place where a project's code runs: what it gets is
//! what the table in `docs/threat-model.md` says, line by line. Needs root, git,
//! a C compiler and the components.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::time::Duration;

use nix::sys::stat::{major, minor, stat};

use crate::Ends;
use crate::command_lines::processes_with;
use crate::processes::wait_for;
use crate::shop::command;
use crate::support::Project;

/// What came of each attack, by its name.
type Outcomes = BTreeMap<String, String>;

#[test]
fn hostile_code_gets_what_the_threat_model_says() {
    assert!(nix::unistd::geteuid().is_root(), "this test needs root: it boots clusters");
    let files = [
        ("seatrial.yaml", include_str!("seatrial.yaml")),
        ("attack.c", include_str!("attack.c")),
        ("pods.yaml", include_str!("pods.yaml")),
    ];
    let project = Project::new(&files);
    let other = Project::new(&[("seatrial.yaml", "seatrial: 1\nenvironments: { default: {} }\n")]);
    let _ends = [Ends(&project), Ends(&other)];
    let mark = format!("red-team-{}", std::process::id());

    // What is worth stealing, and what listens on this machine.
    let home = home_canary(&mark);
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a port");
    let abstract_name = SocketAddr::from_abstract_name(&mark).expect("a name");
    let _abstract = UnixListener::bind_addr(&abstract_name).expect("a socket");
    let up = other.finish(&mut command(&other, &["env", "up"]));
    assert_eq!(up.code, 0, "{}", up.text());
    let environments = other.state().join("environments");
    let kubeconfig =
        std::fs::read_dir(environments).expect("there").flatten().map(|entry| entry.path());
    let kubeconfig = kubeconfig.map(|dir| dir.join("kubeconfig-main")).find(|path| path.exists());

    let mut targets = String::new();
    let mut define = |name: &str, value: &str| {
        writeln!(targets, "#define {name} {value}").expect("memory");
    };
    let text = |path: &Path| format!("{:?}", path.to_str().expect("text"));
    let disk = stat("/").expect("a root").st_dev;
    define("HOME_CANARY", &text(home.path()));
    define("STATE_CANARY", &text(&project.state().join("store.db")));
    define("OTHER_KUBECONFIG", &text(&kubeconfig.expect("the other environment's kubeconfig")));
    define("DISK_MAJOR", &major(disk).to_string());
    define("DISK_MINOR", &minor(disk).to_string());
    define("PORT", &listener.local_addr().expect("bound").port().to_string());
    define("ADDRESS", &format!("{:?}", own_address().to_string()));
    define("ABSTRACT", &format!("{mark:?}"));
    define("DAEMON", &format!("{mark:?}"));
    project.write("targets.h", &targets);
    project.commit();

    let ran = project.finish(&mut command(&project, &["run"]));
    assert_eq!(ran.code, 0, "{}", ran.text());
    wait_for("end of what was started", Duration::from_secs(10), || {
        let left = processes_with(&mark);
        if left.is_empty() { Ok(()) } else { Err(left) }
    });

    // Every input and everything else in the store is what it was.
    let scrubbed = project.run(&["scrub"]);
    assert!(scrubbed.stdout.ends_with(" sound, 0 damaged\n"), "{}", scrubbed.text());

    let log = |node: &str| {
        let ran = project.run(&["logs", "latest", node]);
        assert_eq!(ran.code, 0, "{}", ran.text());
        ran.stdout
    };
    let suite = log("default/e2e");
    let (test, pods) = suite.split_once("\npod\n").expect("the pod's log");
    let (pod, privileged) = pods.split_once("\nprivileged pod\n").expect("the other pod's log");
    let (build, install) = (log("build/attack"), log("default/install"));
    let places = [&build, &install, test, pod, privileged].map(outcomes);
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/threat-model.md");
    let text = std::fs::read_to_string(document).expect("docs/threat-model.md");
    let found = table(&places);
    let expected: Vec<&str> = text.lines().filter(|line| line.starts_with("| `")).collect();
    let as_told = found.len() == expected.len()
        && found.iter().zip(&expected).all(|(found, expected)| allowed(found, expected));
    assert!(as_told, "found:\n{}\nexpected:\n{}", found.join("\n"), expected.join("\n"));
}

/// Whether a line is as the document says, whose cells name alternatives where
/// kernels differ: `no or opened`.
fn allowed(found: &str, expected: &str) -> bool {
    let (found, expected): (Vec<&str>, Vec<&str>) =
        (found.split(" | ").collect(), expected.split(" | ").collect());
    let cell = |(found, expected): (&&str, &&str)| {
        let ends = |text: &str| text.trim_end_matches(" |").to_owned();
        expected.split(" or ").any(|expected| ends(found) == ends(expected))
    };
    found.len() == expected.len() && found.iter().zip(&expected).all(cell)
}

/// The lines of the table, as the document has them.
fn table(places: &[Outcomes]) -> Vec<String> {
    let attacks = places.first().into_iter().flat_map(|place| place.keys());
    attacks
        .map(|attack| {
            let of = |place: &Outcomes| place.get(attack).cloned().unwrap_or("?".to_owned());
            let cells: Vec<String> = places.iter().map(of).collect();
            format!("| `{attack}` | {} |", cells.join(" | "))
        })
        .collect()
}

fn outcomes(log: &str) -> Outcomes {
    let line = |line: &str| {
        let (attack, outcome) = line.strip_prefix("attack ")?.split_once(": ")?;
        Some((attack.to_owned(), outcome.to_owned()))
    };
    log.lines().filter_map(line).collect()
}

/// A file in this user's home.
fn home_canary(mark: &str) -> tempfile::NamedTempFile {
    let home = std::env::var_os("HOME").expect("HOME");
    let file = tempfile::Builder::new().prefix(mark).tempfile_in(home).expect("a file at home");
    std::fs::write(file.path(), "a secret").expect("written");
    file
}

/// An address of this machine that is not its loopback; the loopback when it
/// has none. Nothing is sent.
fn own_address() -> Ipv4Addr {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket");
    let found = socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).and_then(|()| socket.local_addr());
    match found.map(|address| address.ip()) {
        Ok(std::net::IpAddr::V4(address)) => address,
        _ => Ipv4Addr::LOCALHOST,
    }
}
