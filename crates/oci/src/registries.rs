//! Where images of registries come from.

use seatrial_core::digest::Digest;

use crate::error::ImageError;
use crate::login::Credentials;
use crate::reference::full_name;
use crate::remote::{Place, Remote, is_this_machine};

/// What is known of registries on this machine. The default knows nothing:
/// each is asked at its own address, as nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registries {
    /// What shows them who asks.
    pub credentials: Credentials,
}

impl Registries {
    /// The digest that a tag of a repository (`docker.io/library/alpine`,
    /// `3.22`) stands for now: of its manifest, or of its index where it is for
    /// several platforms. It is the digest of the bytes that came, whatever the
    /// registry says of them.
    ///
    /// # Errors
    /// When the registry does not answer, denies it, has no such tag, or gives
    /// what is no manifest.
    ///
    /// It blocks, and is not for a thread of an async runtime.
    pub fn resolve(&self, name: &str, tag: &str) -> Result<Digest, ImageError> {
        if !is_tag(tag) {
            let (name, reason) = (name.to_owned(), format!("`{}` is no tag", tag.escape_debug()));
            return Err(ImageError::Pull { name, reason });
        }
        Remote::new(upstream(name), name, self).resolve(tag)
    }
}

/// A repository at its own registry.
pub(crate) fn upstream(name: &str) -> Place {
    let name = full_name(name);
    let (host, repository) = name.split_once('/').unwrap_or((&name, ""));
    let address = match host {
        "docker.io" => "https://registry-1.docker.io".to_owned(),
        host if is_this_machine(host) => format!("http://{host}"),
        host => format!("https://{host}"),
    };
    let base = format!("{address}/v2/{repository}");
    Place { host: host.to_owned(), base, repository: repository.to_owned() }
}

/// Whether text is a tag: OCI distribution specification, "Pulling manifests".
fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags() {
        for (tag, is) in [
            ("3.22", true),
            ("_a-B.c", true),
            (&*"x".repeat(128), true),
            (&*"x".repeat(129), false),
            ("", false),
            ("-a", false),
            ("a/b", false),
            ("a b", false),
            ("sha256:0", false),
        ] {
            assert_eq!(is_tag(tag), is, "{tag}");
        }
    }

    #[test]
    fn registries_have_addresses() {
        let base = |name: &str| upstream(name).base;
        assert_eq!(base("alpine"), "https://registry-1.docker.io/v2/library/alpine");
        assert_eq!(base("ghcr.io/a/b"), "https://ghcr.io/v2/a/b");
        assert_eq!(base("localhost:5000/a"), "http://localhost:5000/v2/a");
    }
}
