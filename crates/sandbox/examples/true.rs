//! What a sandbox costs: runs `true` in one, again and again. Needs root.
//! `cargo xtask bench action-overhead` runs it.
//!
//! `cargo run --release -p seatrial-sandbox --example true -- [COUNT]` prints
//! the seconds of one, on average.
#![expect(clippy::print_stdout, reason = "an example talks to its terminal")]

use std::path::Path;
use std::time::{Duration, Instant};

use seatrial_sandbox::action::{
    ActionSpec, NOBODY, Network, ProcessLimits, Running, Status, base_root,
};
use seatrial_sandbox::owner::Owner;

fn main() {
    seatrial_sandbox::enter_if_asked();
    let count = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(50_u32);
    let state = tempfile::tempdir().expect("there is a directory for temporary files");
    let owner = Owner::register(state.path()).expect("it is run by root, with control groups");
    let began = Instant::now();
    for index in 0..count {
        run(&owner, &index.to_string());
    }
    println!("{}", began.elapsed().as_secs_f64() / f64::from(count.max(1)));
    owner.remove().expect("nothing is left");
}

fn run(owner: &Owner, name: &str) {
    let spec = ActionSpec {
        argv: vec!["true".into()],
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        cwd: "/tmp".into(),
        root: base_root(16 << 20),
        network: Network::Private,
        uid: NOBODY,
        gid: NOBODY,
        limits: ProcessLimits::default(),
    };
    let cgroup = owner.cgroup(name, &["cpuacct", "memory", "pids"]).expect("a control group");
    let running = Running::start(Path::new("/proc/self/exe"), &spec, Some(cgroup));
    let running = running.expect("the sandbox starts");
    let outcome = running.wait(Duration::from_secs(60), 1 << 20, |_, _| {}).expect("it ends");
    assert_eq!(outcome.status, Status::Code(0));
}
