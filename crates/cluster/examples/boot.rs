//! Boots an environment, prints when what happened, and ends it. Needs root.
//!
//! `cargo run -p seatrial-cluster --example boot -- COMPONENTS [NODES...]`,
//! where `COMPONENTS` has the directories `bin` and `cni`, and `NODES` are the
//! numbers of nodes of each cluster (default `1`). With `HOLD=1` it waits for
//! the end of its input before it ends the environment.
#![expect(clippy::print_stdout, reason = "an example talks to its terminal")]

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use seatrial_cluster::{BootSpec, ClusterSpec, Components, Environment, Snapshotter};
use seatrial_core::pipeline::Resources;
use seatrial_sandbox::owner::{Owner, sweep};

fn main() -> anyhow::Result<()> {
    seatrial_sandbox::enter_if_asked();
    let mut args = std::env::args().skip(1);
    let components = PathBuf::from(args.next().context("which components?")?);
    let mut nodes = args.map(|count| count.parse()).collect::<Result<Vec<u32>, _>>()?;
    if nodes.is_empty() {
        nodes.push(1);
    }
    let state =
        std::env::var_os("STATE").map_or_else(|| "/var/tmp/seatrial-boot".into(), PathBuf::from);
    tokio::runtime::Runtime::new()?.block_on(boot(&components, &nodes, &state))
}

async fn boot(components: &Path, nodes: &[u32], state: &Path) -> anyhow::Result<()> {
    sweep(state)?;
    let owner = Owner::register(state)?;
    let clusters = nodes.iter().enumerate().map(|(index, nodes)| {
        let name = format!("c{index}").parse()?;
        Ok(ClusterSpec { name, nodes: *nodes, resources: Resources::default() })
    });
    let spec = BootSpec {
        id: "example".into(),
        exe: "/proc/self/exe".into(),
        components: Components { bin: components.join("bin"), cni: components.join("cni") },
        clusters: clusters.collect::<anyhow::Result<_>>()?,
        egress: vec![],
        snapshotter: Snapshotter::Overlayfs,
        within: Duration::from_secs(60),
    };
    let name = spec.clusters[0].name.clone();
    let show = Arc::new(|event: seatrial_cluster::Event| {
        println!("{:6.3} {:?}", event.at.as_secs_f64(), event.what);
    });
    let environment = Environment::boot(&owner, spec, show).await?;
    let usage = environment.usage();
    println!("{:6.3} core-s, {} MB", usage.core_us as f64 / 1e6, usage.memory_peak >> 20);
    if std::env::var_os("HOLD").is_some() {
        let path = owner.dir().join("kubeconfig");
        std::fs::write(&path, environment.kubeconfig(&name).context("a kubeconfig")?)?;
        println!("KUBECONFIG={} pid {}", path.display(), environment.pid());
        std::io::stdin().read_to_end(&mut Vec::new())?;
    }
    let start = Instant::now();
    environment.shutdown().await?;
    println!("ended in {:.3} s", start.elapsed().as_secs_f64());
    owner.remove()?;
    Ok(())
}
