//! One process of a suite: what it sees, and how it ended.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use seatrial_core::failure::Failure;
use seatrial_core::pipeline::Command;
use seatrial_protocol::test::TestOutcome;
use seatrial_sandbox::action::{Network, Outcome, Status};
use seatrial_sandbox::root::Mount;
use seatrial_suite::{Exit, Invocation, REPORT_LIMIT};

use super::Suite;
use crate::command::{self, Deadline, NoEnd, Prepared, bind, usage};

/// How a process of a suite ended.
pub(super) struct Ran {
    pub(super) exit: Exit,
    pub(super) report: Option<Vec<u8>>,
}

impl Suite<'_> {
    /// Starts one process and waits for its end.
    pub(super) fn start(
        &mut self,
        invocation: &Invocation,
        on_host: &Path,
        deadline: &Deadline,
        mut on_output: impl FnMut(&mut Self, &[u8]),
    ) -> Result<Ran, Failure> {
        let prepared = self.prepare(invocation, on_host)?;
        let (machine, attempt) = (self.machine, self.attempt);
        let this = self;
        let outcome = command::run(machine, attempt, &prepared, deadline, |_, bytes| {
            on_output(this, bytes);
        });
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(NoEnd::NotStarted(why)) => {
                let program = invocation.argv.first().map_or("", String::as_str);
                let reason = why.strip_prefix(&format!("cannot start {program}: "));
                let exit = Exit::NotStarted(reason.unwrap_or(&why).to_owned());
                return Ok(Ran { exit, report: None });
            }
            Err(NoEnd::Failed(failure)) => return Err(failure),
        };
        let used = usage(&outcome);
        this.usage.core_us += used.core_us;
        this.usage.memory_peak = this.usage.memory_peak.max(used.memory_peak);
        let report = invocation.report.as_deref().and_then(|path| read_report(path, on_host));
        Ok(Ran { exit: this.exit(&outcome), report })
    }

    fn exit(&self, outcome: &Outcome) -> Exit {
        if let Some(stopped) = self.stopped() {
            return Exit::Stopped(stopped);
        }
        if outcome.timed_out {
            return Exit::Stopped(TestOutcome::TimedOut);
        }
        match outcome.status {
            Status::Code(code) => Exit::Code(code),
            Status::Signal(signal) => Exit::Signal(signal),
        }
    }

    fn prepare(&self, invocation: &Invocation, on_host: &Path) -> Result<Prepared, Failure> {
        let stage = self.stage;
        let tools = stage.suite.tools.iter().cloned().collect();
        let (mut mounts, path) =
            self.machine.tools().provide(&tools).map_err(|error| error.failure())?;
        mounts.push(bind(self.machine.store().tree_path(stage.tree), "/tests", false));
        mounts.push(bind(on_host, "/reports", true));
        let mut env = BTreeMap::from([
            ("HOME".to_owned(), "/tmp".to_owned()),
            ("TMPDIR".to_owned(), "/tmp".to_owned()),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ("TZ".to_owned(), "UTC".to_owned()),
            ("ARTIFACTS".to_owned(), "/reports".to_owned()),
            ("SEATRIAL".to_owned(), "1".to_owned()),
            ("SEATRIAL_TRY".to_owned(), stage.tried.saturating_add(1).to_string()),
        ]);
        let network = match &self.target {
            None => Network::Private,
            Some(target) => {
                let content = target.kubeconfig.clone();
                mounts.push(Mount::File { to: "/kube/config".into(), content });
                let content = target.resolv_conf.clone();
                mounts.push(Mount::File { to: "/etc/resolv.conf".into(), content });
                env.insert("KUBECONFIG".to_owned(), "/kube/config".to_owned());
                target.network.clone()
            }
        };
        env.extend(stage.suite.env.clone());
        env.extend(invocation.env.clone());
        let run = Command::Argv(invocation.argv.clone());
        Ok(Prepared {
            run,
            env,
            mounts,
            path,
            cwd: "/tests".into(),
            network,
            memory: None,
            timeout: Duration::MAX,
            broken: self.target.as_ref().map(|target| target.broken.clone()),
            stop_signal: Some(invocation.stop_signal),
        })
    }
}

/// Reads a report that a test program wrote below `/reports`. It is hostile:
/// no link is followed, and no more is read than counts.
fn read_report(path: &str, on_host: &Path) -> Option<Vec<u8>> {
    use std::io::Read as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let relative = path.strip_prefix("/reports/").filter(|rest| !rest.contains('/'))?;
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
        .open(on_host.join(relative))
        .ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(REPORT_LIMIT as u64 + 1).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
