//! Names that a pipeline gives to its parts.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A name: a DNS label as in RFC 1123, at most 63 characters of `a-z`, `0-9`
/// and `-`, beginning and ending with a letter or digit. So it can be part of
/// a host name, a label, a path and a Kubernetes object without escaping.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

/// Why some text is not a [`Name`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseNameError {
    /// There is no character.
    #[error("a name cannot be empty")]
    Empty,
    /// There are more than 63 characters.
    #[error("a name has at most 63 characters, this one has {0}")]
    TooLong(usize),
    /// A character that is not allowed where it stands.
    #[error("a name consists of a-z, 0-9 and `-` and begins and ends with a letter or digit")]
    Character,
}

impl Name {
    /// The text of the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as part of an environment variable: `my-image` is `MY_IMAGE`.
    #[must_use]
    pub fn variable(&self) -> String {
        self.0.to_ascii_uppercase().replace('-', "_")
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = text.as_bytes();
        let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
            return Err(ParseNameError::Empty);
        };
        if bytes.len() > 63 {
            return Err(ParseNameError::TooLong(text.chars().count()));
        }
        let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
        if !bytes.iter().all(inner) || *first == b'-' || *last == b'-' {
            return Err(ParseNameError::Character);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_labels_are_names() {
        for good in ["a", "0", "e2e-tests", &"x".repeat(63)] {
            assert_eq!(good.parse::<Name>().map(|n| n.to_string()), Ok(good.to_owned()));
        }
        assert_eq!("".parse::<Name>(), Err(ParseNameError::Empty));
        assert_eq!("x".repeat(64).parse::<Name>(), Err(ParseNameError::TooLong(64)));
        for bad in ["-a", "a-", "A", "a.b", "a_b", "a b", "ä", "a\u{202e}", "a\0"] {
            assert_eq!(bad.parse::<Name>(), Err(ParseNameError::Character), "{bad:?}");
        }
    }
}
