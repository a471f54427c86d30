//! The machine that was measured on.

use std::fs::read_to_string;
use std::process::Command;

use anyhow::Context as _;
use serde::Serialize;

use super::product::Product;

/// What a reader of a figure must know of where it was taken.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    cpu: String,
    cores: usize,
    memory_mib: u64,
    kernel: String,
    commit: String,
    /// Whether files differ from the commit.
    dirty: bool,
    /// What was measured.
    product: String,
}

impl Machine {
    pub(crate) fn read(product: &Product) -> anyhow::Result<Self> {
        let cpu = read_to_string("/proc/cpuinfo")?;
        let memory = read_to_string("/proc/meminfo")?;
        let memory = after(&memory, "MemTotal:").and_then(|rest| rest.split(' ').next());
        Ok(Self {
            cpu: after(&cpu, "model name\t:").unwrap_or("unknown").to_owned(),
            cores: std::thread::available_parallelism()?.get(),
            memory_mib: memory.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024,
            kernel: read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            commit: git(&["rev-parse", "--short=12", "HEAD"])?,
            dirty: !git(&["status", "--porcelain"])?.is_empty(),
            product: product.said(),
        })
    }

    pub(crate) fn line(&self) -> String {
        let dirty = if self.dirty { " with changes" } else { "" };
        format!("{}; {} {}{dirty}", self.itself(), self.product, self.commit)
    }

    /// The machine, without what was measured.
    pub(crate) fn itself(&self) -> String {
        let Self { cpu, cores, memory_mib, kernel, .. } = self;
        format!("{cpu}, {cores} cores, {memory_mib} MiB, Linux {kernel}")
    }
}

/// Tasks that wanted to run, on average over the last minute.
pub(crate) fn load() -> anyhow::Result<f64> {
    let text = read_to_string("/proc/loadavg")?;
    let first = text.split(' ').next().context("/proc/loadavg is empty")?;
    Ok(first.parse()?)
}

fn after<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(label)).map(str::trim)
}

fn git(arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("git").args(arguments).output().context("git cannot be started")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
