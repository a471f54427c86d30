//! A cluster from nothing, as a plain tool makes one: the example `boot` of
//! `seatrial-cluster`, which does nothing else. The rest of Seatrial (plan,
//! store, registry, sandbox) takes no part.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use anyhow::Context as _;

use super::super::{Setup, measured};
use super::ENDS_WITH_PARENT;

/// A running cluster.
pub(super) struct Cluster {
    boot: Child,
    /// Kept open: it tells of its end too.
    _out: BufReader<ChildStdout>,
    dir: PathBuf,
    components: PathBuf,
    /// A process of the node: its namespaces are the node's.
    node: u32,
    /// Where its control group says what CPU time it used.
    counter: PathBuf,
    /// What was told of that already, in microseconds.
    told_us: Mutex<u64>,
}

impl Cluster {
    /// Boots it, and waits until it serves.
    pub(super) fn boot(setup: &Setup) -> anyhow::Result<Self> {
        let dir = setup.scratch.join("cluster");
        super::remove(&dir)?;
        std::fs::create_dir_all(&dir)?;
        let mut command = Command::new(&setup.boot);
        command.arg(&setup.components).env("HOLD", "1").env("STATE", &dir);
        let mut boot = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut out = BufReader::new(boot.stdout.take().context("it has one")?);
        let mut seen = Vec::new();
        let mut line = String::new();
        while out.read_line(&mut line)? > 0 {
            let Some((kubeconfig, pid)) = ready(&line) else {
                seen.push(std::mem::take(&mut line));
                continue;
            };
            let kubeconfig = std::fs::read_to_string(kubeconfig)?;
            std::fs::write(dir.join("kubeconfig"), &kubeconfig)?;
            std::fs::write(dir.join("kubeconfig-node"), of_node(&kubeconfig))?;
            let components = setup.components.clone();
            let (node, counter) = (node(pid)?, counter(pid)?);
            return Ok(Self {
                boot,
                _out: out,
                dir,
                components,
                node,
                counter,
                told_us: Mutex::new(0),
            });
        }
        boot.wait()?;
        anyhow::bail!("the cluster does not boot:\n{}", seen.concat())
    }

    /// CPU time that the cluster used since this was asked last, in microseconds.
    pub(super) fn used_us(&self) -> u64 {
        let mut told = self.told_us.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let now = self.counted_us().max(*told);
        now - std::mem::replace(&mut *told, now)
    }

    /// CPU time that the cluster used so far, in microseconds.
    pub(super) fn counted_us(&self) -> u64 {
        let text = std::fs::read_to_string(&self.counter).unwrap_or_default();
        match text.trim().parse::<u64>() {
            Ok(nanos) => nanos / 1000, // cpuacct.usage
            Err(_) => text // cpu.stat
                .lines()
                .find_map(|line| line.strip_prefix("usage_usec ")?.trim().parse().ok())
                .unwrap_or(0),
        }
    }

    /// `kubectl`, as on any machine.
    pub(super) fn kubectl(&self) -> Command {
        let mut command = Command::new(self.components.join("bin/kubectl"));
        command.env("KUBECONFIG", self.dir.join("kubeconfig"));
        command
    }

    /// Puts an image archive into the node, as `kind load` and `ctr` do.
    pub(super) fn import(&self, archive: &Path) -> anyhow::Result<u64> {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.node));
        command.args(["/opt/seatrial/bin/ctr", "--namespace=k8s.io", "images", "import", "-"]);
        command.stdin(std::fs::File::open(archive)?).stdout(Stdio::null());
        let mut child = command.spawn().context("nsenter does not start")?;
        let (status, cpu) = measured::wait(&mut child)?;
        anyhow::ensure!(status.success(), "ctr cannot import {}: {status}", archive.display());
        Ok(cpu.all_us)
    }

    /// How `go test` starts a test program: on the node's network, as pods and
    /// Services have addresses only there.
    pub(super) fn exec(&self) -> String {
        format!("{} nsenter --net=/proc/{}/ns/net", ENDS_WITH_PARENT.join(" "), self.node)
    }

    /// The kubeconfig for programs on the node's network.
    pub(super) fn kubeconfig_of_node(&self) -> PathBuf {
        self.dir.join("kubeconfig-node")
    }

    /// Ends it. CPU time in microseconds: what was not told yet, and what is in
    /// no control group (the program that booted it).
    pub(super) fn delete(mut self) -> anyhow::Result<(u64, u64)> {
        let used = self.used_us();
        let (status, cpu) = measured::wait(&mut self.boot)?; // closes its input
        anyhow::ensure!(status.success(), "the cluster did not end well: {status}");
        super::remove(&self.dir)?;
        Ok((used, cpu.own_us))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // After an error: the end of its input ends it.
        drop(self.boot.stdin.take());
        let _ = self.boot.wait();
    }
}

/// The line that says where the kubeconfig is and who the first process.
fn ready(line: &str) -> Option<(&Path, u32)> {
    let (path, pid) = line.strip_prefix("KUBECONFIG=")?.split_once(" pid ")?;
    Some((Path::new(path), pid.trim().parse().ok()?))
}

/// The same kubeconfig where the API server is on this machine itself.
fn of_node(kubeconfig: &str) -> String {
    let Some((before, rest)) = kubeconfig.split_once("https://127.0.0.1:") else {
        return kubeconfig.to_owned();
    };
    let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{before}https://127.0.0.1:6443{rest}")
}

/// The node's containerd, below the first process.
fn node(first: u32) -> anyhow::Result<u32> {
    let mut children = measured::children(first).into_iter();
    let found = children.find(|pid| measured::name(*pid) == "containerd");
    let found = found.with_context(|| format!("process {first} has no containerd below it"))?;
    Ok(u32::try_from(found)?)
}

/// Where the control group of the whole environment counts, given its first
/// process: that one is in a group `init` of it.
fn counter(first: u32) -> anyhow::Result<PathBuf> {
    let text = std::fs::read_to_string(format!("/proc/{first}/cgroup"))?;
    for line in text.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let path = path.trim_start_matches('/').trim_end_matches("/init");
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "cpu.stat"),
            list if list.split(',').any(|one| one == "cpuacct") => {
                ("/sys/fs/cgroup/cpuacct", "cpuacct.usage")
            }
            _ => continue,
        };
        let counter = Path::new(root).join(path).join(file);
        if counter.exists() {
            return Ok(counter);
        }
    }
    anyhow::bail!("no control group counts the CPU time of process {first}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_boot_prints_is_read() {
        let line = "KUBECONFIG=/tmp/a/kubeconfig pid 42";
        assert_eq!(ready(line), Some((Path::new("/tmp/a/kubeconfig"), 42)));
        assert_eq!(ready(" 5.498 Served"), None);
    }

    #[test]
    fn on_the_node_the_api_server_has_its_own_port() {
        let there = of_node(r#"{"server": "https://127.0.0.1:43011", "x": 1}"#);
        assert_eq!(there, r#"{"server": "https://127.0.0.1:6443", "x": 1}"#);
    }
}
