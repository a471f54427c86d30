//! Booting a cluster: how long, where the time goes, and what goes on beside.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Bench;
use super::events::Events;
use super::figure::{Figure, Unit};

/// A pod of the default ServiceAccount resolves a Service and is done.
const PROBE: &str = r#"package main

import (
	"fmt"
	"net"
	"os"
	"time"
)

func main() {
	began := time.Now()
	for {
		found, err := net.LookupHost("kubernetes.default.svc.cluster.local")
		if err == nil {
			fmt.Println(found, time.Since(began))
			return
		}
		if time.Since(began) > time.Minute {
			fmt.Println(err)
			os.Exit(1)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
"#;

const POD: &str = r"apiVersion: v1
kind: Pod
metadata: { name: probe, namespace: default }
spec:
  restartPolicy: Never
  containers: [{ name: probe, image: bench.test/probe:1 }]
";

const PIPELINE: &str = r#"seatrial: 1
params: { salt: { type: string, default: "" } }
builds:
  probe:
    inputs: [go.mod, main.go]
    tools: [go]
    caches: [go-build]
    env: { CGO_ENABLED: "0" }
    run: [go, build, -trimpath, -buildvcs=false, -o, /out/probe, .]
    outputs: [probe]
  beside:
    inputs: [go.mod]
    params: [salt]
    run: for i in $(seq 200000); do :; done; touch "$OUT/done"
images:
  probe:
    replaces: [bench.test/probe]
    base: scratch
    files: [{ build: probe, path: probe, to: /probe, mode: "0755" }]
    config: { entrypoint: [/probe] }
environments:
  default:
    clusters: { main: {} }
    install: [{ apply: pod.yaml }]
suites:
  e2e: { adapter: exec, run: ["true"], environments: [default] }
  beside: { build: beside, adapter: exec, run: ["true"], environments: [default] }
"#;

/// The whole way: cluster up, a pod of the default ServiceAccount runs and has
/// resolved a Service. Nothing goes on beside; its image is there.
pub(super) fn cold_boot(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let runs = measure(bench, "e2e")?;
    let (mut served, mut booted, mut cores, mut dropped) = (vec![], vec![], vec![], vec![]);
    let mut timeline: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for events in &runs {
        let boot = events.span("default/boot")?;
        let install = events.span("default/install")?;
        served.push(install.end - boot.start);
        booted.push(boot.length());
        dropped.push(events.span("default/drop")?.length());
        let used = ["default/boot", "default/install"].map(|node| events.core_seconds(node));
        cores.push(used.iter().sum());
        for (at, text) in events.progress("default/boot") {
            timeline.entry(text).or_default().push(at - boot.start);
        }
    }
    let mut figures = vec![
        Figure::new("served: a pod resolved a Service", Unit::Seconds, served).within(5.0),
        Figure::new("core-seconds until then", Unit::CoreSeconds, cores),
        Figure::new("the boot by itself", Unit::Seconds, booted),
    ];
    let timeline = timeline.into_iter().map(|(text, at)| Figure::new(text, Unit::Seconds, at));
    let mut timeline: Vec<_> = timeline.collect();
    timeline.sort_by(|a, b| a.median().total_cmp(&b.median()));
    figures.extend(timeline);
    figures.push(Figure::new("the drop", Unit::Seconds, dropped));
    Ok(figures)
}

/// The boot starts with the plan, beside a build that has to be made.
pub(super) fn boot_overlap(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let runs = measure(bench, "beside")?;
    let (mut offered, mut apart, mut overlap) = (vec![], vec![], vec![]);
    for events in &runs {
        let planned = events.first("planned")?;
        let (boot, build) = (events.span("default/boot")?, events.span("build/beside")?);
        offered.push(boot.start - planned);
        if let Some((at, _)) = events.progress("default/boot").first() {
            apart.push(at - planned);
        }
        overlap.push(boot.overlap(build) / build.length());
    }
    anyhow::ensure!(overlap.iter().all(|part| *part > 0.0), "the boot waited for a build");
    Ok(vec![
        Figure::new("plan to the start of the boot", Unit::Millis, offered).within(0.100),
        Figure::new("plan to the first news of the boot", Unit::Millis, apart),
    ])
}

/// Runs a suite of the project, after one run that makes what can be there.
fn measure(bench: &Bench, suite: &str) -> anyhow::Result<Vec<Events>> {
    let files = [
        ("seatrial.yaml", PIPELINE),
        ("go.mod", "module bench.test/probe\n\ngo 1.24\n"),
        ("main.go", PROBE),
        ("pod.yaml", POD),
    ];
    let project = bench.product.project("cluster", &files)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    let build = ["build", "probe"];
    bench.product.events(&mut bench.product.command(&project, &build))?;
    let run = |count| {
        // A value that no run had before: this build is never there.
        let salt = format!("salt={now}-{count}");
        let arguments = ["run", suite, "-p", &salt];
        bench.product.events(&mut bench.product.command(&project, &arguments))
    };
    (0..bench.runs).map(|count| Ok(run(count)?.events)).collect()
}
