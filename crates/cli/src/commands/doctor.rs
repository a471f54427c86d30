use std::path::Path;
use std::process::Command;

use clap::Args;
use nix::unistd::AccessFlags;
use seatrial_components::Components;
use seatrial_core::failure::Failure;
use seatrial_core::verdict::exit_code;

use crate::error::CommandError;
use crate::paths::PathArgs;
use crate::ui;

/// Look at this machine: what is missing, and the command that mends it
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {}

/// What was found out about one thing.
enum Finding {
    Fine(String),
    /// It works, with less.
    Less(String),
    /// It does not work; what to do.
    Missing(String, String),
}

impl DoctorArgs {
    pub(crate) fn run(&self, paths: &PathArgs) -> Result<u8, CommandError> {
        let components = Components::locked().locate(&paths.components()?).installed.is_some();
        let mut findings = vec![
            root(),
            cgroups(),
            program("ip", "iproute2", "links of environments"),
            program("nft", "nftables", "Services in clusters"),
            program("git", "git", "the files of a project"),
            overlay(&paths.state()?),
            layers(&paths.state()?),
            inotify(),
            network_policy(nix::unistd::geteuid().is_root(), apart),
        ];
        findings.push(match components {
            true => Finding::Fine("Kubernetes and friends are installed".to_owned()),
            false => Finding::Missing(
                "Kubernetes is not installed".to_owned(),
                "seatrial components install   (`seatrial run` does it by itself)".to_owned(),
            ),
        });
        if !components {
            findings.push(go());
            findings.push(program("pkg-config", "pkg-config", "building runc"));
            findings.push(program("cc", "gcc libc6-dev", "building runc"));
            findings.push(libseccomp());
        }
        let mut missing = false;
        for finding in findings {
            match finding {
                Finding::Fine(text) => ui::data(&format!("ok       {text}\n"))?,
                Finding::Less(text) => ui::data(&format!("less     {text}\n"))?,
                Finding::Missing(text, mend) => {
                    missing = true;
                    ui::data(&format!("missing  {text}\n         {mend}\n"))?;
                }
            }
        }
        Ok(if missing { exit_code::BROKEN } else { exit_code::PASSED })
    }
}

fn root() -> Finding {
    match nix::unistd::geteuid().is_root() {
        true => Finding::Fine("running as root: environments can be made".to_owned()),
        false => Finding::Missing(
            "not root: environments and sandboxes cannot be made".to_owned(),
            "sudo seatrial run   (builds and tests run as your user all the same)".to_owned(),
        ),
    }
}

fn cgroups() -> Finding {
    match seatrial_sandbox::cgroup::Hierarchies::detect() {
        Ok(hierarchies) if hierarchies.unified() => Finding::Less(
            "cgroup version 2: supported, but not tried as much as version 1".to_owned(),
        ),
        Ok(_) => Finding::Fine("cgroup version 1".to_owned()),
        Err(error) => Finding::Missing(
            format!("control groups cannot be used: {error}"),
            "mount -t cgroup2 none /sys/fs/cgroup".to_owned(),
        ),
    }
}

fn program(name: &str, package: &str, what: &str) -> Finding {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    match directories.map(|dir| dir.join(name)).find(|file| file.is_file()) {
        Some(file) => Finding::Fine(format!("{name} ({})", file.display())),
        None => Finding::Missing(
            format!("{name} is not there: needed for {what}"),
            format!("apt-get install -y {package}"),
        ),
    }
}

fn go() -> Finding {
    match Command::new("go").arg("version").output() {
        Ok(output) if output.status.success() => {
            Finding::Fine(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        }
        _ => Finding::Missing(
            "go is not there: needed to build Kubernetes where its release cannot be had"
                .to_owned(),
            "install Go 1.26 or newer from https://go.dev/dl/".to_owned(),
        ),
    }
}

fn libseccomp() -> Finding {
    let found = Command::new("pkg-config").args(["--exists", "libseccomp"]).status();
    match found.is_ok_and(|status| status.success()) {
        true => Finding::Fine("libseccomp".to_owned()),
        false => Finding::Missing(
            "libseccomp's headers are not there: needed for building runc".to_owned(),
            "apt-get install -y libseccomp-dev".to_owned(),
        ),
    }
}

/// overlayfs does not work on overlayfs, and containers need it on the store.
fn overlay(state: &Path) -> Finding {
    let existing = existing(state);
    if nix::unistd::access(existing, AccessFlags::W_OK).is_err() || !existing.is_dir() {
        return Finding::Missing(
            format!("{} is no directory that can be written", existing.display()),
            "name another one with --state-dir".to_owned(),
        );
    }
    let is_overlay = nix::sys::statfs::statfs(existing)
        .is_ok_and(|stat| stat.filesystem_type() == nix::sys::statfs::OVERLAYFS_SUPER_MAGIC);
    match is_overlay {
        false => Finding::Fine(format!("{} can hold containers", existing.display())),
        true => Finding::Missing(
            format!("{} is on overlayfs, which cannot hold containers", existing.display()),
            "name a directory on a disk with --state-dir (in a container: a volume)".to_owned(),
        ),
    }
}

fn existing(dir: &Path) -> &Path {
    dir.ancestors().find(|dir| dir.exists()).unwrap_or(Path::new("/"))
}

/// Layers of images are mounted from EROFS file systems that are made once, or
/// pulled and unpacked by every node.
fn layers(state: &Path) -> Finding {
    if !nix::unistd::geteuid().is_root() {
        return Finding::Less("only root can try whether layers of images can be mounted".into());
    }
    match seatrial_worker::try_mounting(existing(state)) {
        Ok(_) => Finding::Fine("nodes mount layers of images (EROFS)".to_owned()),
        Err(error) => Finding::Less(format!(
            "nodes unpack layers of images (overlayfs), some 0.3 s for 50 MB: {} ({})",
            Failure::chain(&error),
            error.hint(),
        )),
    }
}

fn inotify() -> Finding {
    let more = "sysctl fs.inotify.max_user_instances=8192";
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    match seatrial_worker::watched() {
        Err(error) => Finding::Missing(Failure::chain(&error), "a /proc with sys".to_owned()),
        Ok(0) => Finding::Missing(
            "the kernel allows too few inotify instances for an environment".to_owned(),
            more.to_owned(),
        ),
        Ok(n) if (n as usize) < cores.max(4) => Finding::Less(format!(
            "inotify instances are enough for about {n} nodes of clusters at once ({more})"
        )),
        Ok(n) => Finding::Fine(format!("inotify instances for about {n} nodes of clusters")),
    }
}

/// NetworkPolicy needs a kernel that can hand packets to a program: by a rule
/// of nftables, which needs nothing more, or by the older iptables target.
fn network_policy(root: bool, can: impl Fn(&[String]) -> bool) -> Finding {
    if !root {
        return Finding::Less(
            "whether NetworkPolicy is enforced can be told by root only".to_owned(),
        );
    }
    match seatrial_cluster::policy_probes().iter().any(|probe| can(probe)) {
        true => Finding::Fine("NetworkPolicy is enforced".to_owned()),
        false => Finding::Less(
            "NetworkPolicy is not enforced here, and a run that has one warns: the kernel \
             cannot queue packets, neither by nftables (NFT_QUEUE) nor by iptables (NFQUEUE) \
             (modprobe -a nft_queue xt_NFQUEUE nfnetlink_queue; apt-get install -y iptables)"
                .to_owned(),
        ),
    }
}

/// Whether a command succeeds in a network namespace that is gone after it.
fn apart(command: &[String]) -> bool {
    let mut unshare = Command::new("unshare");
    unshare.arg("--net").args(command);
    unshare.output().is_ok_and(|output| output.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_enforced_where_one_of_two_ways_works() {
        let said = |finding| match finding {
            Finding::Fine(_) => "fine",
            Finding::Less(text) if text.contains("not enforced") => "not enforced",
            Finding::Less(_) => "not known",
            Finding::Missing(..) => "missing",
        };
        assert_eq!(said(network_policy(true, |command| command[0] == "nft")), "fine");
        assert_eq!(said(network_policy(true, |command| command[0] == "iptables")), "fine");
        assert_eq!(said(network_policy(true, |_| false)), "not enforced");
        assert_eq!(said(network_policy(false, |_| panic!("not asked"))), "not known");
    }
}
