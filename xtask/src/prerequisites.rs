//! What this machine must have before anything else: found, or installed by
//! apt where that is possible.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{bail, ensure};

use crate::repository::succeed;

/// Something that the machine must have.
struct Prerequisite {
    name: &'static str,
    /// The Debian package that brings it.
    package: &'static str,
    is_there: fn() -> bool,
    /// Whether nothing goes without it.
    required: bool,
}

const PREREQUISITES: &[Prerequisite] = &[
    required("git", "git", || program("git")),
    required("ip", "iproute2", || program("ip")),
    required("nft", "nftables", || program("nft")),
    required("pkg-config", "pkg-config", || program("pkg-config")),
    required("libseccomp", "libseccomp-dev", libseccomp),
    // Without it policies hold only where the kernel has NFT_QUEUE.
    Prerequisite { required: false, ..required("iptables", "iptables", || program("iptables")) },
    // Without it nodes unpack layers of images; tests of mounting them fail.
    Prerequisite {
        required: false,
        ..required("mkfs.erofs", "erofs-utils", || program("mkfs.erofs"))
    },
];

/// What only tests need: other languages, and disks that fail.
const FOR_TESTS: &[Prerequisite] = &[
    required("node", "nodejs", || program("node")),
    required("npm", "npm", || program("npm")),
    required("python3", "python3", || program("python3")),
    required("pytest", "python3-pytest", || program("pytest")),
    required("mkfs.btrfs", "btrfs-progs", || program("mkfs.btrfs")),
    required("mkfs.ext4", "e2fsprogs", || program("mkfs.ext4")),
];

const fn required(
    name: &'static str,
    package: &'static str,
    is_there: fn() -> bool,
) -> Prerequisite {
    Prerequisite { name, package, is_there, required: true }
}

/// Makes sure that all is there that a run needs.
pub(crate) fn ensure_all() -> anyhow::Result<()> {
    ensure(PREREQUISITES.iter().collect())
}

/// Makes sure that all is there that the tests need.
pub(crate) fn ensure_for_tests() -> anyhow::Result<()> {
    ensure(PREREQUISITES.iter().chain(FOR_TESTS).collect())
}

fn ensure(prerequisites: Vec<&Prerequisite>) -> anyhow::Result<()> {
    ensure!(is_root(), "environments need root: run this as root");
    ensure!(
        program("go"),
        "go is not there: install Go 1.26 or newer from https://go.dev/dl/ \
         (the examples are written in Go)"
    );
    let missing = prerequisites.into_iter().filter(|needed| !(needed.is_there)());
    let missing: Vec<_> = missing.collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<_> = missing.iter().map(|needed| needed.package).collect();
    let names: Vec<_> = missing.iter().map(|needed| needed.name).collect();
    let needed = missing.iter().any(|missing| missing.required);
    if !program("apt-get") {
        ensure!(!needed, "missing: {} (in Debian: {})", names.join(", "), packages.join(" "));
        return Ok(());
    }
    println!("missing: {}; installing {}", names.join(", "), packages.join(" "));
    if install(&packages).is_err() {
        // The lists of packages may be old or empty.
        let installed = succeed(&mut apt(&["update"])).and_then(|()| install(&packages));
        if needed {
            installed?;
        }
    }
    let still = missing.iter().find(|needed| needed.required && !(needed.is_there)());
    match still {
        Some(needed) => {
            bail!("{} was installed, and yet {} is missing", needed.package, needed.name)
        }
        None => Ok(()),
    }
}

/// Whether this process may do everything; the owner of `/proc/self` is who it
/// runs as.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

fn install(packages: &[&str]) -> anyhow::Result<()> {
    succeed(apt(&["install", "--yes", "--no-install-recommends"]).args(packages))
}

fn apt(args: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.args(args).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    command
}

fn program(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // A user's PATH often lacks where `ip` and `nft` are.
    let more = ["/usr/sbin", "/sbin"].map(|dir| Path::new(dir).to_owned());
    std::env::split_paths(&path).chain(more).any(|dir| dir.join(name).is_file())
}

fn libseccomp() -> bool {
    let mut command = Command::new("pkg-config");
    command.args(["--exists", "libseccomp"]).stdin(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
