//! Rules of the kernel about paths, sockets and signals: a second lock on a
//! door that the root already has. Were one of its mounts writable by mistake,
//! this would still not let anything be written there; and what listens on the
//! machine under an abstract socket name, which no root hides, is out of reach
//! where the kernel can say so (Linux 6.12).

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, Scope,
};

use crate::error::Error;
use crate::root::{Mount, Root};

/// The newest set of rules that is used; a kernel that knows less is given less.
const NEWEST: ABI = ABI::V6;

/// Lets this process and all it will start write where `root` says and nowhere
/// else. It cannot be undone. Does nothing on a kernel without Landlock.
pub(crate) fn apply(root: &Root) -> Result<(), Error> {
    restrict(root).map_err(|error| {
        Error::Missing(format!("cannot set rules about paths (Landlock): {error}"))
    })
}

fn restrict(root: &Root) -> Result<(), RulesetError> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    let read = AccessFs::from_read(NEWEST);
    rules = allow(rules, Path::new("/"), read)?;
    // Devices that cannot hurt, and the own processes' entries: the mounts and
    // the file's owner say what of them can be written.
    let files = read | AccessFs::from_file(NEWEST);
    for mount in &root.mounts {
        rules = match mount {
            Mount::Devices => allow(rules, Path::new("/dev"), AccessFs::from_all(NEWEST))?,
            Mount::Processes { .. } => allow(rules, Path::new("/proc"), files)?,
            Mount::Memory { to, .. } | Mount::Bind { to, writable: true, .. } => {
                allow(rules, to, AccessFs::from_all(NEWEST))?
            }
            _ => rules,
        };
    }
    rules.restrict_self().map(drop)
}

type Rules = landlock::RulesetCreated;

fn allow(
    rules: Rules,
    path: &Path,
    access: landlock::BitFlags<AccessFs>,
) -> Result<Rules, RulesetError> {
    // What is not there needs no rule.
    match PathFd::new(path) {
        Ok(fd) => rules.add_rule(PathBeneath::new(fd, access)),
        Err(_) => Ok(rules),
    }
}
