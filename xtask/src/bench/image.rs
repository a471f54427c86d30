//! A 50 MB image: from the artifact to a running pod.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::Value;

use super::Bench;
use super::figure::{Figure, Unit};
use super::product::output;

/// Bytes of the file that makes an image large. Random: nothing shrinks it.
const LARGE: u64 = 50 << 20;

/// How long a pod may take to run.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a large image adds: putting it together, and what its pod takes longer
/// than one whose image the node has.
pub(super) fn image_50mb(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let project = bench.product.project(
        "image",
        &[
            ("seatrial.yaml", &pipeline(bench.runs)?),
            ("go.mod", "module bench.test/sleeper\n\ngo 1.24\n"),
            (
                "main.go",
                "package main\n\nimport \"time\"\n\nfunc main() { time.Sleep(time.Hour) }\n",
            ),
        ],
    )?;
    let command = |arguments: &[&str]| bench.product.command(&project, arguments);
    for index in 0..bench.runs {
        bench.product.events(&mut command(&["build", &format!("large-{index}")]))?;
    }
    let mut assembled = Vec::new();
    for index in 0..bench.runs {
        let name = format!("image-{index}");
        let run = bench.product.events(&mut command(&["build", &name]))?;
        assembled.push(run.events.span(&format!("image/{name}"))?.length());
    }
    output(&mut command(&["env", "up"]))?;
    let started = pods(bench, &project);
    output(&mut command(&["env", "down", "--all"]))?;
    let Started { base, large } = started?;
    let own = Figure::new("", Unit::Seconds, base.clone()).median();
    let beyond = assembled.iter().zip(&large).map(|(image, pod)| image + pod - own).collect();
    Ok(vec![
        Figure::new("artifact to Running, beyond the pod's own start", Unit::Seconds, beyond)
            .within(0.5),
        Figure::new("of it, the image put together", Unit::Seconds, assembled),
        Figure::new("a pod with a new 50 MB image, created to Running", Unit::Seconds, large),
        Figure::new("the pod's own start: its image is there", Unit::Seconds, base),
    ])
}

fn pipeline(count: u32) -> anyhow::Result<String> {
    let mut builds = r#"  sleeper:
    tools: [go]
    env: { CGO_ENABLED: "0" }
    run: [go, build, -trimpath, -buildvcs=false, -o, /out/sleeper, .]
    outputs: [sleeper]
"#
    .to_owned();
    let mut images = r#"  small:
    replaces: [bench.test/small]
    base: scratch
    files: [{ build: sleeper, path: sleeper, to: /sleeper, mode: "0755" }]
    config: { entrypoint: [/sleeper] }
"#
    .to_owned();
    for index in 0..count {
        writeln!(
            builds,
            "  large-{index}:\n    inputs: [go.mod]\n    env: {{ INDEX: \"{index}\" }}\n    \
             run: head -c {LARGE} /dev/urandom > \"$OUT/large\"\n    outputs: [large]"
        )?;
        writeln!(
            images,
            "  image-{index}:\n    replaces: [bench.test/large-{index}]\n    \
             base: {{ image: small }}\n    \
             files: [{{ build: large-{index}, path: large, to: /large }}]\n    \
             config: {{ entrypoint: [/sleeper] }}"
        )?;
    }
    Ok(format!(
        "seatrial: 1\nbuilds:\n{builds}images:\n{images}environments:\n  default:\n    \
         clusters: {{ main: {{}} }}\n"
    ))
}

struct Started {
    base: Vec<f64>,
    large: Vec<f64>,
}

/// Creates pods one after the other and waits for each to run: one whose image
/// the node has, then one whose image is new.
fn pods(bench: &Bench, project: &std::path::Path) -> anyhow::Result<Started> {
    let kubectl = |arguments: &[&str]| {
        let shell = ["env", "shell"];
        let mut command = bench.product.command(project, &shell);
        command.args(["--", "kubectl"]).args(arguments);
        command
    };
    let watch = ["get", "pods", "--watch", "--output-watch-events", "--output=json"];
    let watch = Watch::start(&mut kubectl(&watch))?;
    let start = |name: &str, image: &str| -> anyhow::Result<f64> {
        let pod = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "name": name },
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [{ "name": "main", "image": format!("bench.test/{image}:1") }],
            },
        });
        create(&mut kubectl(&["create", "--filename=-"]), &pod)?;
        watch.until_runs(name)
    };
    start("first", "small")?;
    let (mut base, mut large) = (Vec::new(), Vec::new());
    for index in 0..bench.runs {
        base.push(start(&format!("small-{index}"), "small")?);
        large.push(start(&format!("large-{index}"), &format!("large-{index}"))?);
    }
    Ok(Started { base, large })
}

fn create(command: &mut Command, object: &Value) -> anyhow::Result<()> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    child.stdin.take().context("it has one")?.write_all(object.to_string().as_bytes())?;
    anyhow::ensure!(child.wait()?.success(), "kubectl create failed");
    Ok(())
}

/// Pods, as the API server tells of them, with the time when it did.
struct Watch {
    child: Child,
    events: Receiver<(Instant, Value)>,
}

impl Watch {
    fn start(command: &mut Command) -> anyhow::Result<Self> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let stdout = BufReader::new(child.stdout.take().context("it has one")?);
        let (sender, events) = channel();
        std::thread::spawn(move || {
            // One event a line, told as soon as it is.
            for line in stdout.lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line);
                if event.is_ok_and(|event| sender.send((Instant::now(), event)).is_err()) {
                    break;
                }
            }
        });
        Ok(Self { child, events })
    }

    /// Seconds from when a pod was there to when it ran.
    fn until_runs(&self, name: &str) -> anyhow::Result<f64> {
        let mut created = None;
        let mut last = Value::Null;
        loop {
            let (at, event) = self.events.recv_timeout(PATIENCE).with_context(|| {
                format!("the pod {name} does not run; the last that was told: {last:#}")
            })?;
            let pod = &event["object"];
            if pod["metadata"]["name"] != name {
                continue;
            }
            let created = *created.get_or_insert(at);
            if pod["status"]["phase"] == "Running" {
                return Ok((at - created).as_secs_f64());
            }
            last = pod["status"].clone();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
