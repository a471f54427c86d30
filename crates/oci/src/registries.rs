//! Where images of registries come from.

use std::collections::BTreeMap;

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
    /// Where repositories of a registry (`docker.io`) are asked for before it
    /// is, in this order: `https://host`, or `https://host/prefix` for a mirror
    /// that has them below a prefix.
    pub mirrors: BTreeMap<String, Vec<String>>,
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
        self.first(name, |remote| remote.resolve(tag)).0
    }

    /// What the first place gives that has a repository, mirrors before the
    /// registry itself, and what was wrong with those before it. That a mirror
    /// does not have something is not wrong.
    pub(crate) fn first<T>(
        &self,
        name: &str,
        ask: impl Fn(&Remote<'_>) -> Result<T, ImageError>,
    ) -> (Result<T, ImageError>, Vec<ImageError>) {
        let own = upstream(name);
        let mut wrong = Vec::new();
        for url in self.mirrors.get(&own.host).into_iter().flatten() {
            let asked = match mirror(url, &own.repository) {
                Some(place) => ask(&Remote::new(place, name, self)),
                None => {
                    let reason = "it is no URL with https that names a host".to_owned();
                    Err(ImageError::Pull { name: name.to_owned(), reason })
                }
            };
            match asked {
                Ok(found) => return (Ok(found), wrong),
                Err(ImageError::Unknown { .. }) => {}
                Err(error) if error.is_theirs() => {
                    wrong.push(ImageError::Mirror { mirror: url.clone(), source: Box::new(error) });
                }
                Err(error) => return (Err(error), wrong),
            }
        }
        (ask(&Remote::new(own, name, self)), wrong)
    }
}

/// A repository at a mirror.
fn mirror(url: &str, repository: &str) -> Option<Place> {
    let (scheme, rest) = url.split_once("://")?;
    let (host, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let safe = scheme == "https" || (scheme == "http" && is_this_machine(host));
    if !safe || host.is_empty() || rest.contains(['@', '?', '#']) {
        return None;
    }
    let prefix = prefix.trim_matches('/');
    let repository = [prefix, repository].join("/").trim_matches('/').to_owned();
    let base = format!("{scheme}://{host}/v2/{repository}");
    Some(Place { host: host.to_owned(), base, repository })
}

/// A repository at its own registry.
fn upstream(name: &str) -> Place {
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

    #[test]
    fn mirrors_have_addresses() {
        let base = |url: &str| mirror(url, "library/alpine").map(|place| place.base);
        let expected = |base: &str| Some(base.to_owned());
        assert_eq!(base("https://m.example"), expected("https://m.example/v2/library/alpine"));
        assert_eq!(base("https://m.example:1/"), expected("https://m.example:1/v2/library/alpine"));
        let below = expected("https://m.example/v2/hub/x/library/alpine");
        assert_eq!(base("https://m.example/hub/x"), below);
        assert_eq!(base("http://localhost:1"), expected("http://localhost:1/v2/library/alpine"));
        for bad in
            ["http://m.example", "m.example", "https://", "https://u:p@m.example", "file:///"]
        {
            assert_eq!(base(bad), None, "{bad}");
        }
    }
}
