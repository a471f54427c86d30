//! What is known of registries: the credentials of whoever calls, and the
//! settings of the machine and of its user.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User, geteuid};
use seatrial_config::Settings;
use seatrial_core::failure::Failure;
use seatrial_oci::{CredentialUser, Credentials, Registries};

use crate::error::CommandError;

/// Settings of the machine.
const MACHINE: &str = "/etc/seatrial/settings.yaml";

/// Most bytes of settings that are read, and one more, which are refused.
const READ: u64 = (1 << 20) + 1;

/// What this machine and the user who calls know of registries. Under sudo that
/// is the user who called it, as their builds run as them.
pub(crate) fn registries() -> Result<Registries, CommandError> {
    let caller = caller();
    let variable = |name: &str| match (&caller, name) {
        // sudo leaves its own out or, told to keep it, root's.
        (Some(caller), "XDG_RUNTIME_DIR") => Some(format!("/run/user/{}", caller.uid).into()),
        _ => std::env::var_os(name),
    };
    let own = || std::env::var_os("HOME").map(PathBuf::from);
    let home = caller.as_ref().map(|caller| caller.home.clone()).or_else(own);
    let mut settings = read(Path::new(MACHINE))?;
    if let Some(path) = home.as_deref().map(|home| of_user(home, caller.is_some())) {
        // What a user says of a registry counts, all of it.
        settings.mirrors.extend(read(&path)?.mirrors);
    }
    let files = home.map_or_else(Vec::new, |home| Credentials::files_of(&home, variable));
    Ok(Registries { credentials: Credentials { files, user: caller }, mirrors: settings.mirrors })
}

/// Settings of a user.
fn of_user(home: &Path, other: bool) -> PathBuf {
    // The variable is that of whoever runs this, under sudo not the user's.
    let set: Option<OsString> = if other { None } else { std::env::var_os("XDG_CONFIG_HOME") };
    let set = set.map(PathBuf::from).filter(|dir| dir.is_absolute());
    set.unwrap_or_else(|| home.join(".config")).join("seatrial/settings.yaml")
}

/// The user who called sudo.
fn caller() -> Option<CredentialUser> {
    let uid: u32 = std::env::var("SUDO_UID").ok()?.parse().ok()?;
    if !geteuid().is_root() || uid == 0 {
        return None;
    }
    let user = User::from_uid(Uid::from_raw(uid)).ok()??;
    let User { name, uid, gid, dir, .. } = user;
    Some(CredentialUser { name, uid: uid.as_raw(), gid: gid.as_raw(), home: dir })
}

fn read(path: &Path) -> Result<Settings, CommandError> {
    let mut text = Vec::new();
    match std::fs::File::open(path).and_then(|file| file.take(READ).read_to_end(&mut text)) {
        Ok(_) => {}
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(Settings::default());
        }
        Err(error) => {
            let message = format!("cannot read {}: {error}", path.display());
            return Err(Failure::config("config.unreadable", message).into());
        }
    }
    let origin = path.display().to_string();
    seatrial_config::load_settings(&text, &origin).map_err(CommandError::Diagnostics)
}
