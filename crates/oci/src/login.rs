//! What shows a registry who one is, from where everybody has it already: the
//! files that `docker login` and `podman login` write, and the programs that
//! those files name (`docker-credential-*`).
//!
//! Formats: `docker/cli`, `cli/config/configfile`; containers-auth.json(5); the
//! protocol of docker-credential-helpers. Nothing of it is ever shown or kept.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::error::ImageError;

mod file;
mod program;

use file::Found;

/// Most bytes of a file of credentials.
const LARGEST_FILE: u64 = 1 << 20;

/// Where credentials are, and whose they are. The default has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Files; the first that knows a registry counts. One that is not there
    /// knows none.
    pub files: Vec<PathBuf>,
    /// Who the programs that files name run as; `None`: as this process.
    pub user: Option<CredentialUser>,
}

/// The user whose credentials are used, where that is not the one who runs this
/// process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialUser {
    /// The name.
    pub name: String,
    /// The user's number.
    pub uid: u32,
    /// The number of its main group.
    pub gid: u32,
    /// The home directory.
    pub home: PathBuf,
}

impl Credentials {
    /// The files in which the user at `home` has credentials, by what `variable`
    /// gives of the environment.
    #[must_use]
    pub fn files_of(home: &Path, variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
        let path = |name: &str| variable(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        [
            path("REGISTRY_AUTH_FILE"),
            path("DOCKER_CONFIG").map(|dir| dir.join("config.json")),
            path("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json")),
            Some(home.join(".config/containers/auth.json")),
            Some(home.join(".docker/config.json")),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// What is known for a repository of a registry.
    pub(crate) fn login(&self, host: &str, repository: &str) -> Result<Option<Login>, ImageError> {
        for path in &self.files {
            let Some(text) = read(path)? else { continue };
            let from = path.display().to_string();
            let wrong = |reason: String| ImageError::Credentials { from: from.clone(), reason };
            for found in file::find(&text, host, repository).map_err(wrong)? {
                let (from, kind) = match found {
                    Found::Login(kind) => (from.clone(), Some(kind)),
                    Found::Program { name, server } => {
                        let from = format!("docker-credential-{name}");
                        let kind = program::ask(&from, &server, self.user.as_ref());
                        let wrong = |reason| ImageError::Credentials { from: from.clone(), reason };
                        (from.clone(), kind.map_err(wrong)?)
                    }
                };
                if let Some(kind) = kind {
                    return Ok(Some(Login { from, kind }));
                }
            }
        }
        Ok(None)
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, ImageError> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(LARGEST_FILE).read_to_end(&mut text));
    match read {
        Ok(_) => Ok(Some(text)),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(None)
        }
        Err(error) => Err(ImageError::io(path)(error)),
    }
}

/// What is known for one registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Login {
    /// Where it was found, for errors.
    pub(crate) from: String,
    pub(crate) kind: LoginKind,
}

/// What it is. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum LoginKind {
    /// A name and a password.
    Password { user: String, password: String },
    /// What a token service gives tokens for: a refresh token of OAuth 2.
    Identity(String),
    /// What goes with each request as it is.
    Token(String),
}

impl fmt::Debug for LoginKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Password",
            Self::Identity(_) => "Identity",
            Self::Token(_) => "Token",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn where_users_have_them() {
        let files = |set: &[(&str, &str)]| {
            let variable = |name: &str| {
                let found = set.iter().find(|(set, _)| *set == name);
                found.map(|(_, value)| OsString::from(value))
            };
            let files = Credentials::files_of(Path::new("/h"), variable);
            files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>()
        };
        let usual = ["/h/.config/containers/auth.json", "/h/.docker/config.json"];
        assert_eq!(files(&[("DOCKER_CONFIG", "")]), usual);
        let all = files(&[
            ("DOCKER_CONFIG", "/d"),
            ("XDG_RUNTIME_DIR", "/r"),
            ("REGISTRY_AUTH_FILE", "/a"),
        ]);
        assert_eq!(all[..3], ["/a", "/d/config.json", "/r/containers/auth.json"]);
        assert_eq!(all[3..], usual);
    }

    #[test]
    fn the_first_file_that_knows_counts() {
        let dir = tempfile::tempdir().expect("directory");
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).expect("a file");
            path
        };
        let one = file("one", r#"{"auths":{"a.example":{"auth":"dTpv"}}}"#);
        let two = file("two", r#"{"auths":{"a.example":{},"b.example":{"auth":"dTp0"}}}"#);
        let files = vec![dir.path().join("none"), one.clone(), two];
        let credentials = Credentials { files, user: None };
        let login = |host: &str| credentials.login(host, "x").expect("readable");
        let kind = LoginKind::Password { user: "u".into(), password: "o".into() };
        assert_eq!(login("a.example"), Some(Login { from: one.display().to_string(), kind }));
        assert!(login("b.example").is_some_and(|login| login.from.ends_with("two")));
        assert_eq!(login("c.example"), None);
        let shown = format!("{:?}", login("b.example").map(|login| login.kind));
        assert_eq!(shown, "Some(Password)");
    }

    /// Needs root, as sudo gives it.
    #[test]
    fn programs_run_as_the_user_whose_credentials_they_keep() {
        let dir = tempfile::tempdir().expect("directory");
        let open = |path: &Path| {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("open to all");
        };
        let path = dir.path().join("docker-credential-x");
        let answer = r#"echo "{\"Username\":\"$(id -u):$(id -g):$(id -G)\",\"Secret\":\"$HOME\"}""#;
        fs::write(&path, format!("#!/bin/sh\n{answer}\n")).expect("a program");
        open(dir.path());
        open(&path);
        let user = CredentialUser { name: "u".into(), uid: 4321, gid: 8765, home: "/h".into() };
        let answer = program::ask(path.to_str().expect("a path"), "r.example", Some(&user));
        let (user, password) = ("4321:8765:8765".to_owned(), "/h".to_owned());
        assert_eq!(answer, Ok(Some(LoginKind::Password { user, password })));
    }

    #[test]
    fn programs_are_asked() {
        let dir = tempfile::tempdir().expect("directory");
        let program = |script: &str| {
            let path = dir.path().join("docker-credential-x");
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a program");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("executable");
            let answer = program::ask(path.to_str().expect("a path"), "r.example", None);
            match answer {
                Ok(Some(LoginKind::Password { user, password })) => format!("{user}/{password}"),
                Ok(Some(LoginKind::Identity(token))) => format!("identity {token}"),
                Ok(other) => format!("{other:?}"),
                Err(reason) => format!("error: {reason}"),
            }
        };
        let answer = r#"read -r server; echo "{\"Username\":\"$1\",\"Secret\":\"$server\"}""#;
        assert_eq!(program(answer), "get/r.example");
        let identity = r#"echo '{"Username":"<token>","Secret":"t"}'"#;
        assert_eq!(program(identity), "identity t");
        assert_eq!(program("echo 'credentials not found in native keychain'; exit 1"), "None");
        assert_eq!(program("echo secret; exit 7"), "error: it ended with exit status: 7");
        assert_eq!(program("echo secret"), "error: it gives no credentials");
        assert_eq!(program("head -c 100000 /dev/zero"), "error: it says more than 64 KiB");
    }
}
