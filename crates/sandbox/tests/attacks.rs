//! Attacks on the sandbox from inside, by system call: each is answered as the
//! table here says. These tests need root and a Linux with seccomp.
//!
//! Perl makes the calls, since every Debian has it and it adds nothing to them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::libc;
use seatrial_sandbox::action::{
    ActionSpec, NOBODY, Network, ProcessLimits, Running, Status, base_root,
};
use seatrial_sandbox::root::Mount;

const EXE: &str = env!("CARGO_BIN_EXE_sandbox-entry");

/// Runs a perl program in a sandbox; its output.
fn perl(program: &str, mounts: Vec<Mount>, network: Network) -> String {
    let mut root = base_root(16 << 20);
    root.mounts.extend(mounts);
    let spec = ActionSpec {
        argv: ["perl", "-e", program].map(str::to_owned).to_vec(),
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        cwd: "/tmp".into(),
        root,
        network,
        uid: NOBODY,
        gid: NOBODY,
        limits: ProcessLimits::default(),
    };
    let running = Running::start(Path::new(EXE), &spec, None).unwrap();
    let mut text = String::new();
    let outcome = running.wait(Duration::from_secs(20), |_, bytes| {
        text.push_str(&String::from_utf8_lossy(bytes));
    });
    assert_eq!(outcome.unwrap().status, Status::Code(0), "{text}");
    text
}

/// What a system call answers: `0` or the number of an error.
fn errno(call: i64, arguments: &[i64]) -> i32 {
    let arguments: String = arguments.iter().map(|argument| format!(", {argument}")).collect();
    let program = format!("print syscall({call}{arguments}) < 0 ? $! + 0 : 0");
    perl(&program, vec![], Network::Private).parse().unwrap()
}

#[test]
fn no_namespace_can_be_made_and_nothing_mounted() {
    for flag in [
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWNS,
        libc::CLONE_NEWNET,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWUSER | libc::CLONE_NEWNS,
        0x80,
    ] {
        let flag = i64::from(flag);
        assert_eq!(errno(libc::SYS_unshare, &[flag]), libc::EPERM, "unshare {flag:#x}");
        let flags = flag | i64::from(libc::SIGCHLD);
        if flag != 0x80 {
            assert_eq!(errno(libc::SYS_clone, &[flags, 0, 0, 0, 0]), libc::EPERM, "{flags:#x}");
        }
    }
    assert_eq!(errno(libc::SYS_unshare, &[i64::from(libc::CLONE_FS)]), 0);
    for call in [libc::SYS_mount, libc::SYS_fsopen, libc::SYS_open_tree, libc::SYS_setns] {
        assert_eq!(errno(call, &[0, 0, 0, 0, 0]), libc::EPERM, "system call {call}");
    }
}

#[test]
fn parts_of_the_kernel_that_no_build_needs_are_not_there() {
    for call in [libc::SYS_bpf, libc::SYS_keyctl, libc::SYS_perf_event_open, libc::SYS_userfaultfd]
    {
        assert_eq!(errno(call, &[0, 0, 0, 0, 0]), libc::EPERM, "system call {call}");
    }
    for call in [libc::SYS_clone3, libc::SYS_io_uring_setup] {
        assert_eq!(errno(call, &[0, 0, 0]), libc::ENOSYS, "system call {call}");
    }
}

#[test]
fn calls_that_nobody_knows_yet_are_refused() {
    for call in [470, 471, 600, 100_000, 0x4000_0000] {
        assert_eq!(errno(call, &[0, 0, 0]), libc::ENOSYS, "system call {call:#x}");
    }
}

#[test]
fn sockets_are_of_the_usual_kinds() {
    for (family, expected) in [
        (libc::AF_UNIX, 0),
        (libc::AF_INET, 0),
        (libc::AF_INET6, 0),
        (libc::AF_ALG, libc::EPERM),
        (libc::AF_VSOCK, libc::EPERM),
        (libc::AF_PACKET, libc::EPERM),
    ] {
        let kind = i64::from(libc::SOCK_STREAM);
        let found = errno(libc::SYS_socket, &[i64::from(family), kind, 0]);
        assert_eq!(found, expected, "family {family}");
    }
    // A raw one needs a capability that nobody has.
    let (inet, raw) = (i64::from(libc::AF_INET), i64::from(libc::SOCK_RAW));
    assert_eq!(errno(libc::SYS_socket, &[inet, raw, 1]), libc::EPERM);
}

#[test]
fn threads_and_children_are_as_ever() {
    let text = perl(
        "for (1..20) { my $pid = fork; exit 3 unless $pid; waitpid $pid, 0; print $? >> 8 }",
        vec![],
        Network::Private,
    );
    assert_eq!(text, "3".repeat(20));
}

/// A directory that the command's user may write to by its mode.
fn open_directory() -> (tempfile::TempDir, PathBuf) {
    let state = tempfile::tempdir().unwrap();
    let dir = state.path().join("dir");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("input"), "as it was").unwrap();
    for path in [dir.clone(), dir.join("input")] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(path, mode).unwrap();
    }
    (state, dir)
}

#[test]
fn an_input_stays_as_it_is_whatever_its_mode() {
    let (_state, dir) = open_directory();
    let mounts = vec![Mount::Bind { from: dir.clone(), to: "/in".into(), writable: false }];
    let text = perl(
        r#"for (
             sub { open my $f, ">", "/in/input" }, sub { open my $f, ">>", "/in/input" },
             sub { open my $f, ">", "/in/new" }, sub { unlink "/in/input" },
             sub { rename "/in/input", "/in/other" }, sub { link "/in/input", "/tmp/mine" },
             sub { symlink "/x", "/in/link" }, sub { mkdir "/in/d" },
             sub { chmod 0600, "/in/input" }, sub { truncate "/in/input", 1 },
             sub { utime 1, 1, "/in/input" },
           ) { print $_->() ? "done " : "no " }"#,
        mounts,
        Network::Private,
    );
    assert_eq!(text, "no ".repeat(11));
    assert_eq!(std::fs::read(dir.join("input")).unwrap(), b"as it was");
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1);
}

#[test]
fn what_listens_on_the_machine_by_an_abstract_name_is_out_of_reach() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};

    let name = format!("seatrial-attack-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let program = format!(
        r#"use Socket; socket(my $s, PF_UNIX, SOCK_STREAM, 0) or die;
           print connect($s, pack("S a*", PF_UNIX, "\0{name}")) ? "reached" : $! + 0"#
    );
    // With the machine's network, as a step that fetches has it.
    let text = perl(&program, vec![], Network::Host);
    assert_eq!(text, libc::EPERM.to_string(), "(this needs Landlock of Linux 6.12)");
}

#[test]
fn a_signal_reaches_only_what_the_command_started() {
    // The first process, which is root's and waits for the command.
    let text = perl(r#"print kill(9, 1) ? "sent" : "not sent""#, vec![], Network::Private);
    assert_eq!(text, "not sent");
}
