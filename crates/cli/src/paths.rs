//! Where Seatrial keeps what.

use std::path::PathBuf;

use clap::Args;
use seatrial_core::failure::Failure;

/// Directories, for every subcommand.
#[derive(Debug, Args)]
pub(crate) struct PathArgs {
    /// Directory of the project, where seatrial.yaml is
    #[arg(short = 'C', long = "directory", value_name = "DIR", default_value = ".", global = true)]
    pub(crate) project: PathBuf,
    /// Directory of the store: artifacts, recorded runs, caches
    ///
    /// /var/lib/seatrial for root, else $XDG_STATE_HOME/seatrial or
    /// ~/.local/state/seatrial.
    #[arg(long, value_name = "DIR", env = "SEATRIAL_STATE_DIR", global = true)]
    state_dir: Option<PathBuf>,
    /// Directory of Kubernetes and friends
    ///
    /// $XDG_CACHE_HOME/seatrial or ~/.cache/seatrial.
    #[arg(long, value_name = "DIR", env = "SEATRIAL_CACHE_DIR", global = true)]
    cache_dir: Option<PathBuf>,
}

impl PathArgs {
    /// The directory of the store.
    pub(crate) fn state(&self) -> Result<PathBuf, Failure> {
        if let Some(dir) = &self.state_dir {
            return Ok(dir.clone());
        }
        if nix::unistd::geteuid().is_root() {
            return Ok("/var/lib/seatrial".into());
        }
        below_home("XDG_STATE_HOME", ".local/state", "--state-dir")
    }

    /// The directory of components.
    pub(crate) fn components(&self) -> Result<PathBuf, Failure> {
        let cache = match &self.cache_dir {
            Some(dir) => dir.clone(),
            None => below_home("XDG_CACHE_HOME", ".cache", "--cache-dir")?,
        };
        Ok(cache.join("components"))
    }
}

fn below_home(variable: &str, default: &str, option: &str) -> Result<PathBuf, Failure> {
    // A relative XDG directory is to be ignored (XDG Base Directory
    // Specification).
    let set = std::env::var_os(variable).map(PathBuf::from).filter(|dir| dir.is_absolute());
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(default));
    set.or_else(home).map(|dir| dir.join("seatrial")).ok_or_else(|| {
        Failure::config("cli.no_home", format!("neither ${variable} nor $HOME is set"))
            .hint(format!("name a directory with {option}"))
    })
}
