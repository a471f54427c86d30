//! Publishers' checksums: read, recorded at the first installation, enforced
//! from then on.
//!
//! A checksum that comes from the same place as the file protects against a
//! damaged transfer only. The record protects against more: a file that was
//! replaced after somebody here has used it.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use seatrial_core::digest::Digest;

use crate::error::{Error, IoContext as _};

/// Why a file's checksum is refused.
#[derive(Debug, thiserror::Error)]
pub enum ChecksumError {
    /// The publisher's checksum file has no line for the file.
    #[error("no SHA-256 for {file} in the publisher's checksum file")]
    NotListed {
        /// The file's name.
        file: String,
    },
    /// What should be a checksum is something else.
    #[error("{found:?} is not 64 lowercase hexadecimal digits")]
    Malformed {
        /// What was found, cut.
        found: String,
    },
    /// The file has other content.
    #[error("expected {expected}, the file has {found}")]
    Mismatch {
        /// What the publisher or the record says.
        expected: Digest,
        /// What was downloaded.
        found: Digest,
        /// The record that says so, if it is not the publisher's file.
        recorded: Option<PathBuf>,
    },
}

/// Finds the SHA-256 of `file` in a publisher's checksum file: either one bare
/// checksum, or lines as `sha256sum` writes them.
pub(crate) fn find(text: &str, file: &str) -> Result<Digest, ChecksumError> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let Some(first) = lines.next() else {
        return Err(ChecksumError::NotListed { file: file.to_owned() });
    };
    if !first.contains(char::is_whitespace) && lines.next().is_none() {
        return digest(first);
    }
    for line in text.lines() {
        let Some((hex, name)) = line.trim().split_once(char::is_whitespace) else {
            continue;
        };
        // `*` marks a binary file; some publishers name the path they built in.
        let name = name.trim_start().trim_start_matches('*');
        if name.rsplit('/').next() == Some(file) {
            return digest(hex);
        }
    }
    Err(ChecksumError::NotListed { file: file.to_owned() })
}

/// A digest as it was first seen for an address.
#[derive(Debug)]
pub(crate) struct Record(PathBuf);

impl Record {
    /// The record for `url` in the directory `dir`.
    pub(crate) fn new(dir: &Path, url: &str) -> Self {
        let name = url.rsplit('/').next().unwrap_or_default();
        Self(dir.join(format!("{name}-{}", Digest::of(url).short())))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// What was recorded, if anything was.
    pub(crate) fn read(&self) -> Result<Option<Digest>, Error> {
        let text = match fs::read_to_string(&self.0) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).doing("read", &self.0),
        };
        let (hex, url) = text.trim().split_once("  ").unwrap_or((text.trim(), ""));
        match digest(hex) {
            Ok(digest) => Ok(Some(digest)),
            // Not passed over: an attacker who can damage the record could
            // then have it replaced.
            Err(source) => Err(Error::Checksum { url: url.to_owned(), source }),
        }
    }

    /// Records a digest; all at once, so that a crash leaves no half of it.
    pub(crate) fn write(&self, digest: Digest, url: &str) -> Result<(), Error> {
        let new = self.0.with_extension("new");
        fs::File::create(&new)
            .and_then(|mut file| {
                writeln!(file, "{}  {url}", digest.hex())?;
                file.sync_all()
            })
            .doing("write", &new)?;
        fs::rename(&new, &self.0).doing("write", &self.0)
    }
}

fn digest(hex: &str) -> Result<Digest, ChecksumError> {
    let found = || ChecksumError::Malformed { found: hex.chars().take(80).collect() };
    format!("sha256:{hex}").parse().map_err(|_| found())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";
    const B: &str = "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d";

    #[test]
    fn each_publishers_form_is_read() {
        let a = Digest::of("a");
        let check = |text: &str| assert_eq!(find(text, "x.tgz").unwrap(), a, "{text}");
        check(A);
        check(&format!("{A}\n"));
        check(&format!("{A}  x.tgz\n"));
        check(&format!("{A} *x.tgz\n"));
        check(&format!("{A}  _output/x.tgz\n"));
        check(&format!("{B}  x.tgz.asc\n{B}  y.tgz\n{A}  x.tgz\n"));
    }

    #[test]
    fn what_is_no_checksum_is_refused() {
        let check = |text: &str| find(text, "x.tgz").unwrap_err().to_string();
        insta::assert_snapshot!(check(""), @"no SHA-256 for x.tgz in the publisher's checksum file");
        insta::assert_snapshot!(check(&format!("{A}  y.tgz\n{A}  prefix-x.tgz\n")), @"no SHA-256 for x.tgz in the publisher's checksum file");
        insta::assert_snapshot!(check("<!DOCTYPE"), @r#""<!DOCTYPE" is not 64 lowercase hexadecimal digits"#);
        insta::assert_snapshot!(check("d41d8cd98f00b204e9800998ecf8427e  x.tgz"), @r#""d41d8cd98f00b204e9800998ecf8427e" is not 64 lowercase hexadecimal digits"#);
        assert!(matches!(find(&A.to_uppercase(), "x"), Err(ChecksumError::Malformed { .. })));
        assert!(matches!(find(&format!("{A}0"), "x"), Err(ChecksumError::Malformed { .. })));
    }
}
