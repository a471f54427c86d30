//! Names of commits that come from outside.

use std::fmt;

use crate::error::SourceError;

/// Longest name of a branch or tag, in bytes.
const LONGEST: usize = 255;

/// A branch, a tag, or a full commit id: a name that git takes for nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GitRef {
    /// A branch or tag, also in full as `refs/heads/main`.
    Name(String),
    /// A commit, by 40 (SHA-1) or 64 (SHA-256) lowercase hexadecimal digits.
    Commit(String),
}

impl fmt::Display for GitRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(text) | Self::Commit(text) => f.write_str(text),
        }
    }
}

/// Parses the name of a commit, by the rules of git-check-ref-format(1) and
/// stricter ones: nothing that reads as an option, a revision expression or an
/// abbreviated id, which can mean another commit tomorrow.
///
/// # Errors
/// [`SourceError::BadRef`] with the reason.
pub fn parse_ref(name: &str) -> Result<GitRef, SourceError> {
    let refuse =
        |reason| Err(SourceError::BadRef { name: name.chars().take(LONGEST).collect(), reason });
    let hex = name.bytes().all(|b| b.is_ascii_hexdigit());
    match name.len() {
        0 => return refuse("it is empty"),
        40 | 64 if hex && !name.bytes().any(|b| b.is_ascii_uppercase()) => {
            return Ok(GitRef::Commit(name.to_owned()));
        }
        4..=64 if hex => return refuse("it can be an abbreviated commit id"),
        len if len > LONGEST => return refuse("it has more than 255 bytes"),
        _ => {}
    }
    if name.starts_with('-') {
        return refuse("it begins with `-`");
    }
    if name == "@" || name.contains("@{") || name.contains("..") {
        return refuse("it is an expression");
    }
    if name.chars().any(|c| c.is_control() || " ~^:?*[\\".contains(c)) {
        return refuse("it has a character that no branch or tag has");
    }
    let part_is_bad =
        |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
    if name.ends_with('.') || name.split('/').any(part_is_bad) {
        return refuse(
            "it has an empty part, or one that begins with `.` or ends with `.lock` or `.`",
        );
    }
    Ok(GitRef::Name(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_full_ids() {
        for good in
            ["main", "refs/heads/main", "v1.2.3", "feature/x-y_z", "dependabot/go_modules/a"]
        {
            assert_eq!(parse_ref(good).expect(good), GitRef::Name(good.to_owned()));
        }
        for length in [40, 64] {
            let id = "c0ffee11".repeat(length / 8);
            assert_eq!(parse_ref(&id).expect("id"), GitRef::Commit(id.clone()));
        }
    }

    #[test]
    fn what_git_could_take_for_something_else() {
        let long = "x".repeat(256);
        let upper = "A".repeat(40);
        for (bad, reason) in [
            ("", "it is empty"),
            ("--upload-pack=touch /tmp/x", "it begins with `-`"),
            ("-", "it begins with `-`"),
            ("main..evil", "it is an expression"),
            ("HEAD@{1}", "it is an expression"),
            ("@", "it is an expression"),
            ("a\nb", "it has a character that no branch or tag has"),
            ("a\0b", "it has a character that no branch or tag has"),
            ("HEAD~1", "it has a character that no branch or tag has"),
            ("main:path", "it has a character that no branch or tag has"),
            ("cafe", "it can be an abbreviated commit id"),
            ("c0ffee1", "it can be an abbreviated commit id"),
            (upper.as_str(), "it can be an abbreviated commit id"),
            (long.as_str(), "it has more than 255 bytes"),
            (
                "a//b",
                "it has an empty part, or one that begins with `.` or ends with `.lock` or `.`",
            ),
            (
                "a/.git",
                "it has an empty part, or one that begins with `.` or ends with `.lock` or `.`",
            ),
            (
                "a.lock",
                "it has an empty part, or one that begins with `.` or ends with `.lock` or `.`",
            ),
        ] {
            let error = parse_ref(bad).expect_err("refused").to_string();
            assert!(error.ends_with(&format!(" is no branch, tag or commit: {reason}")), "{error}");
        }
        let failure = seatrial_core::failure::Failure::from(parse_ref("-x").expect_err("refused"));
        assert_eq!(failure.code, "git.bad_ref");
        assert_eq!(failure.message, "`-x` is no branch, tag or commit: it begins with `-`");
    }
}
