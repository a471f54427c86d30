//! What the integration tests of this crate re-execute to enter an environment,
//! as the product does with its own executable. Started otherwise it owns an
//! environment until it is killed: `cluster-entry STATE BIN CNI`.
#![expect(clippy::print_stdout, reason = "the test reads when the cluster is up")]

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use seatrial_cluster::{BootSpec, ClusterSpec, Components, Environment, Snapshotter};
use seatrial_core::pipeline::Resources;
use seatrial_sandbox::owner::Owner;

fn main() -> Result<(), Box<dyn Error>> {
    seatrial_sandbox::enter_if_asked();
    let args: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [state, bin, cni] = args.as_slice() else {
        return Err("usage: cluster-entry STATE BIN CNI".into());
    };
    let cluster = ClusterSpec { name: "c0".parse()?, nodes: 1, resources: Resources::default() };
    let spec = BootSpec {
        id: "e".into(),
        exe: "/proc/self/exe".into(),
        components: Components { bin: bin.clone(), cni: cni.clone() },
        clusters: vec![cluster],
        egress: vec![],
        snapshotter: Snapshotter::Overlayfs,
        within: Duration::from_secs(120),
    };
    let owner = Owner::register(state)?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let environment = Environment::boot(&owner, spec, Arc::new(|_| {})).await?;
        println!("{}", environment.pid());
        std::future::pending::<()>().await;
        Ok(())
    })
}
