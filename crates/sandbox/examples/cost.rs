//! What a sandbox costs: runs `true` in one, a hundred times. Needs root.
//!
//! `cargo run --release -p seatrial-sandbox --example cost`. `cargo xtask bench
//! action-overhead` reads the median.
#![expect(clippy::print_stdout, reason = "an example talks to its terminal")]

use std::path::Path;
use std::time::Duration;

use seatrial_sandbox::Error;
use seatrial_sandbox::action::{ActionSpec, NOBODY, Network, ProcessLimits, Running, base_root};
use seatrial_sandbox::owner::Owner;

fn main() -> Result<(), Error> {
    seatrial_sandbox::enter_if_asked();
    let state = std::env::temp_dir().join("seatrial-cost");
    let owner = Owner::register(&state)?;
    let spec = ActionSpec {
        argv: vec!["true".into()],
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        cwd: "/tmp".into(),
        root: base_root(1 << 20),
        network: Network::Private,
        uid: NOBODY,
        gid: NOBODY,
        limits: ProcessLimits::default(),
    };
    let mut walls = Vec::new();
    for number in 0..100 {
        let cgroup = owner.cgroup(&format!("a{number}"), &["cpu", "cpuacct", "memory", "pids"])?;
        let begun = std::time::Instant::now();
        let running = Running::start(Path::new("/proc/self/exe"), &spec, Some(cgroup))?;
        running.wait(Duration::from_secs(10), |_, _| {})?;
        walls.push(begun.elapsed());
    }
    walls.sort();
    let millis = [50, 90, 99].map(|place: usize| walls[place].as_secs_f64() * 1e3);
    let [median, most, worst] = millis;
    println!("median {median:.2} ms, 90 % {most:.2} ms, worst {worst:.2} ms");
    owner.remove()
}
