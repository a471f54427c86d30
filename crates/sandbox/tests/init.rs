//! The first process of an environment. These tests need root.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use seatrial_sandbox::action::Status;
use seatrial_sandbox::init::{Init, InitSpec, NodeSpec, Report, Spawn};
use seatrial_sandbox::netns::{Fabric, Link, Route, listen};
use seatrial_sandbox::owner::{Owner, sweep};
use seatrial_sandbox::root::{Base, Mount, Root, system_mounts};

const EXE: &str = env!("CARGO_BIN_EXE_sandbox-entry");

struct Case {
    init: Init,
    reports: Receiver<Report>,
    owner: Owner,
    state: tempfile::TempDir,
}

fn root_of(dir: &Path) -> Root {
    let mut mounts = system_mounts();
    mounts.extend([
        Mount::Devices,
        Mount::Processes { network: true, values: vec![("kernel/panic".into(), "10\n".into())] },
        Mount::System,
        Mount::Cgroups,
        Mount::Memory { to: "/run".into(), size: 1 << 20, mode: 0o755 },
    ]);
    std::fs::create_dir_all(dir).unwrap();
    Root { base: Base::Directory(dir.to_owned()), mounts }
}

impl Case {
    fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        let owner = Owner::register(state.path()).unwrap();
        let node = |index: u8| NodeSpec {
            name: format!("n{index}"),
            link: Link {
                address: Ipv4Addr::new(10, 0, 0, 2 + index),
                routes: vec![Route {
                    to: format!("10.244.{}.0/24", 1 - index),
                    via: Ipv4Addr::new(10, 0, 0, 3 - index),
                }],
                loopback: vec![],
            },
            root: root_of(&owner.dir().join(format!("n{index}"))),
        };
        let spec = InitSpec {
            fabric: Fabric {
                address: Ipv4Addr::new(10, 0, 0, 1),
                prefix: 16,
                more: vec![],
                routes: vec![],
            },
            nodes: vec![node(0), node(1)],
            root: Root {
                base: Base::Empty,
                mounts: vec![Mount::Processes { network: false, values: vec![] }],
            },
        };
        let log = File::create(owner.dir().join("init.log")).unwrap();
        let (sender, reports) = channel();
        let cgroup = owner.cgroup("e", &[]).unwrap();
        let init = Init::start(Path::new(EXE), &spec, cgroup, log, move |report| {
            let _ = sender.send(report);
        })
        .unwrap();
        Self { init, reports, state, owner }
    }

    /// Runs a command on a node to its end; its output.
    fn run(&self, node: usize, script: &str) -> (Status, String) {
        let log = self.owner.dir().join(format!("n{node}/log"));
        let _ = std::fs::remove_file(&log);
        self.start("x", node, script);
        loop {
            match self.reports.recv_timeout(Duration::from_secs(10)).unwrap() {
                Report::Exited { id, status } if id == "x" => {
                    return (status, std::fs::read_to_string(log).unwrap());
                }
                Report::Started { .. } | Report::Exited { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn start(&self, id: &str, node: usize, script: &str) {
        self.init
            .spawn(Spawn {
                id: id.into(),
                node,
                argv: ["sh", "-c", script].map(str::to_owned).to_vec(),
                env: vec![("PATH".into(), "/usr/sbin:/usr/bin:/sbin:/bin".into())],
                log: "/log".into(),
                cwd: "/".into(),
            })
            .unwrap();
    }
}

#[test]
fn nodes_have_their_own_network_name_and_root_and_reach_each_other() {
    let case = Case::new();
    assert_eq!(
        case.run(0, "hostname; ls /proc/sys/net >/dev/null"),
        (Status::Code(0), "n0\n".into())
    );
    let (_, text) = case.run(1, "hostname; ip -o -4 addr show | awk '{print $2, $4}'; ip route");
    assert!(
        text.starts_with("n1\nlo 127.0.0.1/8\neth0 10.0.0.3/16\ndefault via 10.0.0.1"),
        "{text}"
    );
    assert_eq!(
        case.run(0, "touch /mine; ls /sys/fs/cgroup | head -1 >/dev/null").0,
        Status::Code(0)
    );
    assert_eq!(case.run(1, "test -e /mine").0, Status::Code(1));
    // From another namespace, through a socket that was made inside.
    answer_one(&case);
    let script = "bash -c 'exec 3<>/dev/tcp/10.0.0.1/5000; echo hi >&3; cat <&3'";
    let (status, text) = case.run(1, script);
    assert_eq!((status, text.as_str()), (Status::Code(0), "hi back\n"));
}

/// Answers one connection at the fabric's address.
fn answer_one(case: &Case) {
    let address = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 5000);
    let server = listen(case.init.fabric(), address).unwrap();
    server.set_nonblocking(false).unwrap();
    std::thread::spawn(move || {
        let (mut peer, _) = server.accept().unwrap();
        let mut line = [0; 3];
        peer.read_exact(&mut line).unwrap();
        peer.write_all(b"hi back\n").unwrap();
    });
}

#[test]
fn the_machine_is_out_of_reach() {
    let case = Case::new();
    let (_, text) = case.run(
        0,
        "grep CapBnd /proc/self/status; cat /proc/sys/kernel/panic; \
         echo 5 2>/dev/null >/proc/sys/kernel/panic_on_oops && echo sysctl; \
         echo 1 >/proc/sys/net/ipv4/ip_forward || echo no forward; \
         for p in /root /home /dev/vda /dev/sda /dev/mem /dev/kvm; do test -e $p && echo $p; done; \
         ls -d /sys/fs/cgroup/memory/n0 /sys/fs/cgroup/n0 2>/dev/null | wc -l",
    );
    let bounding = text.lines().next().unwrap().rsplit('\t').next().unwrap();
    let bounding = u64::from_str_radix(bounding, 16).unwrap();
    for gone in [9, 16, 17, 22, 25] {
        assert_eq!(bounding >> gone & 1, 0, "capability {gone}");
    }
    assert_eq!(text.lines().skip(1).collect::<Vec<_>>(), ["10", "1"], "{text}");
    // Not even the way to it: what is nowhere is refused at once.
    let started = Instant::now();
    let (status, _) = case.run(0, "bash -c 'exec 3<>/dev/tcp/192.0.2.1/80' 2>/dev/null");
    assert_ne!(status, Status::Code(0));
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}

#[test]
fn what_cannot_start_and_what_is_killed_are_reported() {
    let case = Case::new();
    case.init
        .spawn(Spawn {
            id: "none".into(),
            node: 0,
            argv: vec!["/no/such".into()],
            env: vec![],
            log: "/log".into(),
            cwd: "/".into(),
        })
        .unwrap();
    let report = case.reports.recv_timeout(Duration::from_secs(5)).unwrap();
    let why = "cannot start /no/such: No such file or directory (os error 2)".to_owned();
    assert_eq!(report, Report::NotStarted { id: "none".into(), why });
    case.start("long", 1, "exec sleep 2000");
    let report = case.reports.recv_timeout(Duration::from_secs(5)).unwrap();
    assert!(matches!(report, Report::Started { .. }), "{report:?}");
    case.init.signal("long", 15).unwrap();
    let report = case.reports.recv_timeout(Duration::from_secs(5)).unwrap();
    assert_eq!(report, Report::Exited { id: "long".into(), status: Status::Signal(15) });
}

#[test]
fn the_end_leaves_nothing() {
    let case = Case::new();
    case.start("long", 1, "sleep 2001 & exec setsid sleep 2001");
    assert!(matches!(case.reports.recv().unwrap(), Report::Started { .. }));
    let dirs = case.init.cgroup().directories();
    assert!(!dirs.is_empty());
    let pid = case.init.pid();
    case.init.end().unwrap();
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert!(dirs.iter().all(|dir| !dir.exists()), "{dirs:?}");
    // The living owner is not swept.
    assert_eq!(sweep(case.state.path()).unwrap(), Vec::<String>::new());
    let dir = case.owner.dir().to_owned();
    case.owner.remove().unwrap();
    assert!(!dir.exists());
}
