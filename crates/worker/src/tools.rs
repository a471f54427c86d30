//! Tools: programs that a command names and finds on its PATH.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use seatrial_core::action::ToolIdentity;
use seatrial_core::digest::Hasher;
use seatrial_core::failure::Failure;
use seatrial_core::name::Name;
use seatrial_sandbox::root::Mount;

mod account;

/// A tool of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// Its binary, with links resolved.
    pub binary: PathBuf,
    /// The directory that goes on the PATH of commands.
    pub directory: PathBuf,
    /// Directories that commands must see for it to work, besides `/usr`.
    pub roots: Vec<PathBuf>,
    /// What keys say of it.
    pub identity: ToolIdentity,
}

/// Why a tool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// There is no such program.
    #[error("the tool `{0}` is not on this machine's PATH")]
    Missing(Name),
    /// It is there and cannot be read or asked.
    #[error("the tool `{name}` cannot be used: {what}")]
    Unusable {
        /// Its name.
        name: Name,
        /// What failed.
        what: String,
        /// The answer of the kernel.
        #[source]
        source: io::Error,
    },
}

impl ToolError {
    /// As it ends a node.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let failure = Failure::environment("tool.missing", Failure::chain(self));
        match self {
            Self::Missing(name) => failure.hint(format!(
                "install `{name}`, or take it out of `tools:` when nothing needs it"
            )),
            Self::Unusable { .. } => failure,
        }
    }
}

/// The tools that a pipeline names, as they are on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tools {
    found: BTreeMap<Name, Tool>,
    /// Tools that were looked for and are not there.
    missing: BTreeSet<Name>,
}

/// A PATH that has the shell and the core utilities.
const SYSTEM_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

impl Tools {
    /// Finds tools: those in `components` (a directory of binaries) first, so
    /// that `kubectl` and `helm` are the locked ones, then on `path`. Where the
    /// files of a project say which version of a tool they need (`rustup`,
    /// `pyenv`), it is that of `project`, a directory.
    ///
    /// # Errors
    /// When one is there but cannot be read. One that is not there is an error
    /// only for the node that needs it.
    pub fn find<'a>(
        names: impl IntoIterator<Item = &'a Name>,
        path: &str,
        components: Option<&Path>,
        project: &Path,
    ) -> Result<Self, ToolError> {
        let mut tools = Self::default();
        for name in names {
            let directories = components.into_iter().map(Path::to_owned);
            let directories = directories.chain(std::env::split_paths(path));
            let binary =
                directories.map(|dir| dir.join(name.as_str())).find(|file| is_program(file));
            match binary {
                Some(binary) => {
                    let tool = Tool::read(name, &binary, project)?;
                    tools.found.insert(name.clone(), tool);
                }
                None => drop(tools.missing.insert(name.clone())),
            }
        }
        Ok(tools)
    }

    /// What keys say of them.
    #[must_use]
    pub fn identities(&self) -> BTreeMap<Name, ToolIdentity> {
        self.found.iter().map(|(name, tool)| (name.clone(), tool.identity.clone())).collect()
    }

    /// What a command with these tools needs: mounts, and the PATH that finds
    /// them.
    ///
    /// # Errors
    /// When one is missing.
    pub fn provide(&self, names: &BTreeSet<Name>) -> Result<(Vec<Mount>, String), ToolError> {
        let mut mounts = Vec::new();
        let mut path = Vec::new();
        for name in names {
            let tool = self.found.get(name).ok_or_else(|| ToolError::Missing(name.clone()))?;
            mounts.extend(tool.roots.iter().map(Mount::read_only));
            // A program such as `python3` is a link with a name of its own in
            // /usr/bin; that is on the PATH anyway.
            if !tool.directory.starts_with("/usr/bin") {
                path.push(tool.directory.display().to_string());
            }
        }
        path.push(SYSTEM_PATH.to_owned());
        path.dedup();
        mounts.dedup();
        Ok((mounts, path.join(":")))
    }
}

impl Tool {
    fn read(name: &Name, program: &Path, project: &Path) -> Result<Self, ToolError> {
        let unusable = |what: &str| {
            let (name, what) = (name.clone(), what.to_owned());
            move |source| ToolError::Unusable { name, what, source }
        };
        let account = account::of(name.as_str(), program, project)
            .map_err(unusable("it does not say what it is"))?;
        let program = account.program.as_deref().unwrap_or(program);
        let binary = program.canonicalize().map_err(unusable("it does not resolve"))?;
        let mut hasher = Hasher::new();
        let mut file = std::fs::File::open(&binary).map_err(unusable("it cannot be opened"))?;
        io::copy(&mut file, &mut hasher).map_err(unusable("it cannot be read"))?;
        // Where others of its kind are, by the names under which they are called.
        let directory = match &account.program {
            Some(program) => program.parent(),
            None => binary.parent(),
        };
        let directory = directory.unwrap_or(Path::new("/")).to_owned();
        let mut roots = account.roots;
        if roots.is_empty() {
            roots.push(directory.clone());
        }
        roots.retain(|root| !root.starts_with("/usr"));
        let identity = ToolIdentity { binary: hasher.finish(), account: account.text };
        Ok(Self { binary, directory, roots, identity })
    }
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().expect("a name")
    }

    #[test]
    fn components_come_first_and_what_is_missing_is_told_when_it_is_needed() {
        let dir = tempfile::tempdir().expect("a directory");
        let kubectl = dir.path().join("kubectl");
        std::fs::write(&kubectl, "#!/bin/sh\n").expect("written");
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&kubectl, std::fs::Permissions::from_mode(0o755)).expect("set");

        let names = [name("kubectl"), name("no-such-tool"), name("bash")];
        let tools =
            Tools::find(&names, "/usr/bin:/bin", Some(dir.path()), dir.path()).expect("readable");
        let (mounts, path) = tools.provide(&BTreeSet::from([name("kubectl")])).expect("there");
        let dir = dir.path().canonicalize().expect("there");
        assert_eq!(mounts, [Mount::read_only(&dir)]);
        assert_eq!(path, format!("{}:{SYSTEM_PATH}", dir.display()));

        let error = tools.provide(&BTreeSet::from([name("no-such-tool")])).expect_err("missing");
        let failure = error.failure();
        assert_eq!(failure.code, "tool.missing");
        assert_eq!(failure.message, "the tool `no-such-tool` is not on this machine's PATH");
        assert!(tools.identities().contains_key(&name("bash")));
        let (mounts, path) = tools.provide(&BTreeSet::from([name("bash")])).expect("there");
        assert_eq!((mounts.len(), path.as_str()), (0, SYSTEM_PATH), "bash is below /usr");
    }
}
