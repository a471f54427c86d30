//! Whether a directory can hold a store: facts are read first, then judged.

use std::fs;
use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::statfs::{FsType, statfs};

use crate::error::{StoreError, errno};

/// Free bytes below which a store is not opened: a database, a cluster and
/// its logs in the last gibibyte end as corruption elsewhere.
pub const LEAST_FREE: u64 = 1 << 30;

/// What is known of a state directory before it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDirFacts {
    /// Why no file can be made in it, if so.
    pub not_writable: Option<String>,
    /// Bytes free to this user.
    pub free: u64,
    /// The type of file system, the `f_type` of statfs(2).
    pub fs_type: i64,
}

/// Why a directory cannot hold a store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateDirProblem {
    /// No file can be made in it.
    #[error("it is not writable ({0})")]
    NotWritable(String),
    /// It is nearly full.
    #[error("{} MiB are free, at least {} MiB are needed", free >> 20, LEAST_FREE >> 20)]
    NoSpace {
        /// Bytes free.
        free: u64,
    },
    /// It is on a network file system, where locks and write-ahead logs do not
    /// mean what they say.
    #[error("it is on a network file system ({0})")]
    Network(&'static str),
    /// A newer Seatrial has used it.
    #[error("its format is {found}, this Seatrial knows formats up to {known}")]
    NewerSchema {
        /// The version in the directory.
        found: u32,
        /// The newest version that this program can read.
        known: u32,
    },
    /// The database says that it is damaged.
    #[error("its database is damaged ({0})")]
    Corrupt(String),
}

impl StateDirProblem {
    /// What to do now.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotWritable(why) if *why == words(Errno::ENOSPC) => {
                "make room on that disk (`df -i`: it may have no inodes left), or use another with --state-dir"
            }
            Self::NotWritable(why) if *why == words(Errno::EROFS) => {
                "make that disk writable (`dmesg` may say why it is not), or use another with --state-dir"
            }
            Self::NotWritable(_) => "choose a directory of your own with --state-dir",
            Self::NoSpace { .. } => "make room on that disk, or use another with --state-dir",
            Self::Network(_) => "choose a directory on a local disk with --state-dir",
            Self::NewerSchema { .. } => "use the newer Seatrial, or another --state-dir",
            Self::Corrupt(_) => "move the directory away; what it held can be made again",
        }
    }
}

impl StateDirFacts {
    /// Looks at an existing directory.
    ///
    /// # Errors
    /// When the file system does not answer.
    pub fn read(dir: &Path) -> Result<Self, StoreError> {
        let stat = statfs(dir)
            .map_err(io::Error::from)
            .map_err(StoreError::io("read the file system of", dir))?;
        let probe = tempfile::Builder::new().prefix(".probe").tempfile_in(dir);
        let free = stat.blocks_available().saturating_mul(stat.block_size().unsigned_abs());
        Ok(Self {
            not_writable: probe.err().map(|error| plain(&error)),
            free,
            fs_type: magic(stat.filesystem_type()),
        })
    }

    /// Judges the facts.
    ///
    /// # Errors
    /// The first reason why a store must not be opened there.
    pub fn check(&self) -> Result<(), StateDirProblem> {
        if let Some(why) = &self.not_writable {
            return Err(StateDirProblem::NotWritable(why.clone()));
        }
        if let Some(name) = network_file_system(self.fs_type) {
            return Err(StateDirProblem::Network(name));
        }
        if self.free < LEAST_FREE {
            return Err(StateDirProblem::NoSpace { free: self.free });
        }
        Ok(())
    }
}

/// Creates `dir` where needed and checks it.
pub(crate) fn prepare(dir: &Path) -> Result<(), StoreError> {
    let refuse = |problem| StoreError::StateDir { dir: dir.to_owned(), problem };
    fs::create_dir_all(dir).map_err(|error| refuse(StateDirProblem::NotWritable(plain(&error))))?;
    StateDirFacts::read(dir)?.check().map_err(refuse)
}

/// The kernel's words without the path, which the error names already.
fn plain(error: &io::Error) -> String {
    match errno(error) {
        Some(errno) => words(errno),
        None => error.kind().to_string(),
    }
}

fn words(errno: Errno) -> String {
    errno.desc().to_lowercase()
}

fn magic(fs_type: FsType) -> i64 {
    #[expect(clippy::unnecessary_cast, reason = "the width differs between C libraries")]
    {
        fs_type.0 as i64
    }
}

/// Names of network file systems by their magic number (statfs(2)).
fn network_file_system(fs_type: i64) -> Option<&'static str> {
    Some(match fs_type & 0xffff_ffff {
        0x6969 => "nfs",
        0x517b => "smb",
        0xff53_4d42 => "cifs",
        0xfe53_4d42 => "smb2",
        0x0102_1997 => "9p",
        0x00c3_6400 => "ceph",
        0x5346_414f => "afs",
        0x7375_7245 => "coda",
        0x0bd0_0bd0 => "lustre",
        0x7461_636f => "ocfs2",
        0x0116_1970 => "gfs2",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: StateDirFacts =
        StateDirFacts { not_writable: None, free: LEAST_FREE, fs_type: 0xef53 };

    fn problem(facts: &StateDirFacts) -> String {
        facts.check().expect_err("facts are bad").to_string()
    }

    #[test]
    fn each_reason_has_its_words() {
        assert_eq!(GOOD.check(), Ok(()));
        let full = StateDirFacts { free: LEAST_FREE - 1, ..GOOD };
        assert_eq!(problem(&full), "1023 MiB are free, at least 1024 MiB are needed");
        let nfs = StateDirFacts { fs_type: 0x6969, ..GOOD };
        assert_eq!(problem(&nfs), "it is on a network file system (nfs)");
        // The number is negative where statfs has 32 bits.
        let cifs = StateDirFacts { fs_type: i64::from(0xff53_4d42_u32 as i32), ..GOOD };
        assert_eq!(problem(&cifs), "it is on a network file system (cifs)");
        let closed = StateDirFacts { not_writable: Some("permission denied".into()), ..GOOD };
        assert_eq!(problem(&closed), "it is not writable (permission denied)");
    }

    #[test]
    fn facts_of_a_real_directory() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let facts = StateDirFacts::read(dir.path()).expect("facts");
        assert_eq!(facts.not_writable, None);
        assert!(facts.free > 0);
        assert_eq!(dir.path().read_dir().expect("list").count(), 0, "the probe is gone");
    }

    #[test]
    fn a_file_in_the_way() {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        let error = prepare(file.path()).expect_err("a file is no directory");
        let text = error.to_string();
        assert!(text.ends_with(": it is not writable (file exists)"), "{text}");
        let below = prepare(&file.path().join("x")).expect_err("no directory below a file");
        assert!(below.to_string().ends_with(": it is not writable (not a directory)"), "{below}");
    }
}
