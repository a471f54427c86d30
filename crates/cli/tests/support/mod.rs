//! A project in a directory of its own, and the `seatrial` command on it as a
//! stranger starts it: nothing of the caller's environment but PATH.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A project, with a state directory and a home that only it uses.
pub(crate) struct Project {
    root: tempfile::TempDir,
}

/// What a command came to.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Project {
    /// A directory that nothing is in, not even a Git repository.
    pub(crate) fn empty() -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        for name in ["project", "home"] {
            std::fs::create_dir(root.path().join(name)).expect("a directory");
        }
        Self { root }
    }

    /// A Git work tree with these files, all of them committed.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let project = Self::empty();
        for (path, text) in files {
            project.write(path, text);
        }
        project.git(&["init", "--quiet", "--initial-branch=main"]);
        project.commit();
        project
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.root.path().join("project")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.root.path().join("state")
    }

    /// Writes a file of the project.
    pub(crate) fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.dir().join(path);
        std::fs::create_dir_all(path.parent().expect("below the project")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    }

    pub(crate) fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message=x"]);
    }

    fn git(&self, arguments: &[&str]) {
        // The same commit id each time, in whatever directory.
        let dates = ["GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"];
        let output = Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@example.org"])
            .args(arguments)
            .current_dir(self.dir())
            .env("HOME", self.root.path().join("home"))
            .envs(dates.map(|name| (name, "2026-01-01T00:00:00Z")))
            .output()
            .expect("git runs");
        assert!(output.status.success(), "git {arguments:?}: {output:?}");
    }

    /// The command, not yet started, with nothing of the caller's environment
    /// but PATH.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seatrial"));
        command
            .args(arguments)
            .current_dir(self.dir())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").expect("PATH"))
            .env("HOME", self.root.path().join("home"))
            .env("COLUMNS", "100")
            .env("SEATRIAL_STATE_DIR", self.state())
            .stdin(Stdio::null());
        command
    }

    /// Runs the command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.finish(&mut self.command(arguments))
    }

    /// Runs a command to its end. The directory of this project is `[DIR]` in
    /// what it says.
    pub(crate) fn finish(&self, command: &mut Command) -> Ran {
        self.ran(&command.output().expect("the command starts"))
    }

    /// What a command that has ended came to.
    pub(crate) fn ran(&self, output: &Output) -> Ran {
        let dir = self.root.path().to_str().expect("a path of text");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(dir, "[DIR]");
        let signal = output.status.signal().map(|signal| -signal);
        Ran {
            code: output.status.code().or(signal).expect("it ended"),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// A place beside the project.
    pub(crate) fn beside(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.path().join(path)
    }
}

impl Ran {
    /// All of it as text.
    pub(crate) fn text(&self) -> String {
        format!("{}{}exit code {}\n", self.stdout, self.stderr, self.code)
    }
}
