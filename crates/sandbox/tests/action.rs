//! What a command in a sandbox can and cannot do. These tests need root and a
//! Linux with cgroups, and say so by failing without.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use seatrial_sandbox::Error;
use seatrial_sandbox::action::{
    ActionSpec, NOBODY, Network, Outcome, ProcessLimits, Running, Status, base_root,
};
use seatrial_sandbox::cgroup::Limits;
use seatrial_sandbox::owner::Owner;
use seatrial_sandbox::root::Mount;

const EXE: &str = env!("CARGO_BIN_EXE_sandbox-entry");

/// A sandbox in which `script` runs, `/out` writable.
struct Case {
    spec: ActionSpec,
    state: tempfile::TempDir,
}

impl Case {
    fn new(script: &str) -> Self {
        let state = tempfile::tempdir().unwrap();
        let out = state.path().join("out");
        std::fs::create_dir(&out).unwrap();
        chown(&out, Some(NOBODY), Some(NOBODY)).unwrap();
        let mut root = base_root(16 << 20);
        root.mounts.push(Mount::Bind { from: out, to: "/out".into(), writable: true });
        let spec = ActionSpec {
            argv: ["sh", "-c", script].map(str::to_owned).to_vec(),
            env: vec![("PATH".into(), "/usr/bin:/bin:/usr/sbin:/sbin".into())],
            cwd: "/out".into(),
            root,
            network: Network::Private,
            uid: NOBODY,
            gid: NOBODY,
            limits: ProcessLimits::default(),
        };
        Self { spec, state }
    }

    fn out(&self) -> PathBuf {
        self.state.path().join("out")
    }

    fn run_for(&self, timeout: Duration, limits: Limits) -> Result<(Outcome, String), Error> {
        let owner = Owner::register(self.state.path())?;
        let cgroup = owner.cgroup("a", &["memory", "pids", "cpuacct", "cpu"])?;
        cgroup.limit(limits)?;
        let running = Running::start(Path::new(EXE), &self.spec, Some(cgroup.clone()))?;
        let mut text = String::new();
        let outcome = running.wait(timeout, |_, bytes| {
            text.push_str(&String::from_utf8_lossy(bytes));
        });
        assert_eq!(cgroup.directories(), Vec::<PathBuf>::new(), "control groups are left");
        owner.remove()?;
        outcome.map(|outcome| (outcome, text))
    }

    fn run(&self) -> (Outcome, String) {
        self.run_for(Duration::from_secs(20), Limits::default()).unwrap()
    }
}

/// Runs `script`; its output, when it exits with 0.
fn output_of(script: &str) -> String {
    let (outcome, text) = Case::new(script).run();
    assert_eq!(outcome.status, Status::Code(0), "{text}");
    text
}

#[test]
fn output_status_and_use_are_told() {
    let case = Case::new(
        "echo out; echo err >&2; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; exit 7",
    );
    let (outcome, text) = case.run();
    assert_eq!(outcome.status, Status::Code(7));
    assert!(text.contains("out\n") && text.contains("err\n"), "{text:?}");
    assert!(outcome.usage.core_us > 1000, "{outcome:?}");
    assert!(outcome.usage.memory_peak > 0, "{outcome:?}");
    assert!(!outcome.timed_out && !outcome.stopped && outcome.left_behind.is_empty());
}

#[test]
fn it_is_nobody_without_any_capability() {
    let text = output_of("id -u; id -g; id -G; grep -E '^(Cap|NoNewPrivs)' /proc/self/status");
    let zero = "0000000000000000";
    assert_eq!(
        text,
        format!(
            "65534\n65534\n65534\nCapInh:\t{zero}\nCapPrm:\t{zero}\nCapEff:\t{zero}\n\
             CapBnd:\t{zero}\nCapAmb:\t{zero}\nNoNewPrivs:\t1\n"
        )
    );
}

#[test]
fn root_is_refused() {
    let mut case = Case::new("true");
    case.spec.uid = 0;
    let error = case.run_for(Duration::from_secs(5), Limits::default()).unwrap_err();
    assert_eq!(error.to_string(), "cannot set up the sandbox: a command never runs as root");
}

#[test]
fn what_is_not_listed_does_not_exist() {
    let state = tempfile::tempdir().unwrap();
    let secret = state.path().join("secret");
    std::fs::write(&secret, "x").unwrap();
    let text = output_of(&format!(
        "for p in /root /home /run /var /srv /mnt /sys /boot /etc/shadow {}; do \
         test -e $p && echo $p; done; ls /; true",
        secret.display()
    ));
    let listed: Vec<&str> = text.lines().collect();
    let allowed = [
        "bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "out", "proc", "sbin", "tmp", "usr",
    ];
    for name in listed {
        assert!(allowed.contains(&name), "`{name}` exists in the sandbox");
    }
}

#[test]
fn only_out_and_tmp_can_be_written() {
    let case = Case::new(
        "touch /out/yes /tmp/yes || exit 1; \
         for p in / /usr /etc /usr/bin /dev /proc/sys/kernel; do touch $p/no 2>/dev/null && echo $p; done; \
         echo 1 2>/dev/null >/proc/sys/vm/drop_caches && echo sysctl; \
         echo h 2>/dev/null >/proc/sysrq-trigger && cat /proc/sysrq-trigger; \
         mount -t tmpfs none /tmp 2>/dev/null && echo mount; \
         unshare -U true 2>/dev/null; true",
    );
    let (outcome, text) = case.run();
    assert_eq!((outcome.status, text.as_str()), (Status::Code(0), ""));
    assert!(case.out().join("yes").exists());
}

#[test]
fn tmp_is_full_at_its_limit() {
    let text = output_of("head -c 64000000 /dev/zero >/tmp/big 2>/dev/null; wc -c </tmp/big");
    assert_eq!(text.trim(), (16 << 20).to_string());
}

#[test]
fn devices_are_those_that_cannot_hurt() {
    let text = output_of("find /dev -type c -o -type b | sort");
    let expect = ["full", "kmsg", "null", "ptmx", "random", "tty", "urandom", "zero"];
    for path in text.lines() {
        let name = path.rsplit('/').next().unwrap();
        assert!(expect.contains(&name), "{path}");
    }
}

#[test]
fn there_is_no_network_but_a_loopback() {
    assert_eq!(
        output_of("ls /proc/self/net/dev && tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '"),
        "/proc/self/net/dev\nlo\n"
    );
}

#[test]
fn other_processes_are_not_seen() {
    let text = output_of("ls /proc > /tmp/seen; grep -c '^[0-9]' /tmp/seen");
    // The first process, the shell and ls.
    assert_eq!(text.trim(), "3");
}

#[test]
fn a_daemon_is_ended_and_named() {
    let case = Case::new("setsid sleep 1000 >/dev/null 2>&1 & sleep 0.05; echo done");
    let (outcome, text) = case.run();
    assert_eq!((outcome.status, text.as_str()), (Status::Code(0), "done\n"));
    assert_eq!(outcome.left_behind, ["sleep"]);
    assert!(!runs("sleep 1000"), "the daemon still runs");
}

#[test]
fn a_daemon_that_holds_the_output_does_not_hold_the_action() {
    let started = Instant::now();
    let (outcome, _) = Case::new("setsid sleep 1001 & echo done").run();
    assert_eq!(outcome.status, Status::Code(0));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn a_command_that_takes_too_long_is_ended_with_all_it_started() {
    let case = Case::new("echo begun; sleep 1002 & sleep 1002");
    let (outcome, text) = case.run_for(Duration::from_millis(300), Limits::default()).unwrap();
    assert!(outcome.timed_out, "{outcome:?}");
    assert_eq!((outcome.status, text.as_str()), (Status::Signal(9), "begun\n"));
    assert!(!runs("sleep 1002"));
}

#[test]
fn a_command_can_be_stopped_from_another_thread() {
    let case = Case::new("echo begun; sleep 1003");
    let running = Running::start(Path::new(EXE), &case.spec, None).unwrap();
    let stopper = running.stopper();
    let outcome = running
        .wait(Duration::from_secs(20), |_, _| {
            let stopper = stopper.clone();
            std::thread::spawn(move || stopper.stop());
        })
        .unwrap();
    assert!(outcome.stopped && !outcome.timed_out, "{outcome:?}");
}

#[test]
fn a_command_can_be_asked_to_end_and_do_so_in_its_own_way() {
    let case = Case::new("trap 'echo bye; exit 3' QUIT; echo begun; sleep 1008 & wait");
    let running = Running::start(Path::new(EXE), &case.spec, None).unwrap();
    let stopper = running.stopper();
    let mut text = String::new();
    let outcome = running.wait(Duration::from_secs(20), |_, bytes| {
        text.push_str(&String::from_utf8_lossy(bytes));
        if text == "begun\n" {
            stopper.signal(3);
        }
    });
    let outcome = outcome.unwrap();
    assert_eq!((outcome.status, text.as_str()), (Status::Code(3), "begun\nbye\n"));
    assert!(!outcome.stopped && !runs("sleep 1008"), "{outcome:?}");
    // Too late and out of range: nobody is hurt.
    stopper.signal(3);
    stopper.signal(4711);
}

#[test]
fn memory_beyond_the_limit_is_told_apart_from_a_crash() {
    let case = Case::new("exec tail /dev/zero");
    let limits = Limits { memory: Some(64 << 20), tasks: None };
    let (outcome, _) = case.run_for(Duration::from_secs(20), limits).unwrap();
    assert!(outcome.usage.oom_kills > 0, "{outcome:?}");
    assert_eq!(outcome.status, Status::Signal(9));
}

#[test]
fn a_fork_bomb_meets_its_limit() {
    let case = Case::new("i=0; while [ $i -lt 200 ]; do sleep 1004 & i=$((i+1)); done; echo all");
    let limits = Limits { memory: None, tasks: Some(20) };
    let (outcome, text) = case.run_for(Duration::from_secs(20), limits).unwrap();
    assert!(!text.contains("all"), "{outcome:?} {text}");
    assert!(!runs("sleep 1004"));
}

#[test]
fn a_program_that_is_none_is_the_callers_mistake() {
    let mut case = Case::new("");
    case.spec.argv = vec!["no-such-program".into()];
    let error = case.run_for(Duration::from_secs(5), Limits::default()).unwrap_err();
    assert!(matches!(error, Error::NotStarted(_)), "{error:?}");
    assert_eq!(
        error.to_string(),
        "cannot start no-such-program: No such file or directory (os error 2)"
    );
}

#[test]
fn a_missing_input_fails_closed() {
    let mut case = Case::new("echo ran > /out/ran");
    case.spec.root.mounts.push(Mount::read_only("/no/such/input"));
    let error = case.run_for(Duration::from_secs(5), Limits::default()).unwrap_err();
    assert!(
        error.to_string().starts_with("cannot set up the sandbox: cannot bind /no/such/input"),
        "{error}"
    );
    assert!(!case.out().join("ran").exists());
}

#[test]
fn a_hundred_in_a_row_are_cheap_and_leave_nothing() {
    let case = Case::new("");
    let mut spec = case.spec;
    spec.argv = vec!["true".into()];
    let mut took = Vec::new();
    for _ in 0..100 {
        let running = Running::start(Path::new(EXE), &spec, None).unwrap();
        let outcome = running.wait(Duration::from_secs(5), |_, _| {}).unwrap();
        assert!(outcome.status.success());
        took.push(outcome.wall);
    }
    took.sort();
    // The budget is 10 ms on a quiet machine; this only catches a gross mistake.
    assert!(took[50] < Duration::from_millis(200), "median {:?}", took[50]);
}

/// Whether a process with this command line runs on the machine.
fn runs(command: &str) -> bool {
    let wanted = command.replace(' ', "\0");
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .any(|line| String::from_utf8_lossy(&line).trim_end_matches('\0') == wanted)
}
