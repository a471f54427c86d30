//! Paths of the distribution specification (v1.1, "Endpoints").

use seatrial_core::digest::Digest;

/// Longest name of a repository, in bytes.
const LONGEST_NAME: usize = 255;
/// Longest tag, in bytes.
const LONGEST_TAG: usize = 128;

/// What a path asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/v2/`: whether this is a registry.
    Base,
    Manifest {
        repository: String,
        reference: String,
    },
    Blob {
        repository: String,
        digest: Digest,
    },
    Tags {
        repository: String,
    },
    Referrers {
        digest: Digest,
    },
    /// A path of the specification with a part that is not allowed.
    Bad(Bad),
    /// No path of the specification.
    None,
}

/// What is not allowed in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bad {
    Name,
    Tag,
    Digest,
}

impl Route {
    pub(crate) fn parse(path: &str) -> Self {
        // The only character of a reference that clients may encode.
        let path = path.replace("%3A", ":").replace("%3a", ":");
        if path == "/v2" || path == "/v2/" {
            return Self::Base;
        }
        let Some(rest) = path.strip_prefix("/v2/") else { return Self::None };
        if let Some(repository) = rest.strip_suffix("/tags/list") {
            return named(repository, |repository| Self::Tags { repository });
        }
        let Some((rest, last)) = rest.rsplit_once('/') else { return Self::None };
        match rest.rsplit_once('/') {
            Some((repository, "manifests")) => named(repository, |repository| {
                if last.contains(':') && last.parse::<Digest>().is_err() {
                    return Self::Bad(Bad::Digest);
                }
                if !last.contains(':') && !is_tag(last) {
                    return Self::Bad(Bad::Tag);
                }
                Self::Manifest { repository, reference: last.to_owned() }
            }),
            Some((repository, "blobs")) => named(repository, |repository| match last.parse() {
                Ok(digest) => Self::Blob { repository, digest },
                Err(_) => Self::Bad(Bad::Digest),
            }),
            Some((repository, "referrers")) => named(repository, |_| match last.parse() {
                Ok(digest) => Self::Referrers { digest },
                Err(_) => Self::Bad(Bad::Digest),
            }),
            _ => Self::None,
        }
    }
}

fn named(repository: &str, route: impl FnOnce(String) -> Route) -> Route {
    if repository.len() <= LONGEST_NAME && repository.split('/').all(is_name) {
        route(repository.to_owned())
    } else {
        Route::Bad(Bad::Name)
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_name(part: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    let ends = bytes.first().is_some_and(|b| word(*b)) && bytes.last().is_some_and(|b| word(*b));
    ends && part.split(|c: char| word_char(c)).all(|between| {
        matches!(between, "" | "." | "_" | "__") || between.bytes().all(|b| b == b'-')
    })
}

fn word_char(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`
fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= LONGEST_TAG
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let digest = Digest::of("x");
        let manifest = |repository: &str, reference: &str| Route::Manifest {
            repository: repository.to_owned(),
            reference: reference.to_owned(),
        };
        let blob = |repository: &str| Route::Blob { repository: repository.to_owned(), digest };
        let encoded = digest.to_string().replace(':', "%3A");
        for (path, route) in [
            ("/v2/".to_owned(), Route::Base),
            ("/v2/a/manifests/v1.0_x-Y".to_owned(), manifest("a", "v1.0_x-Y")),
            ("/v2/a/manifests/manifests/x".to_owned(), manifest("a/manifests", "x")),
            (
                format!("/v2/a/b-c/d__e/manifests/{digest}"),
                manifest("a/b-c/d__e", &digest.to_string()),
            ),
            (format!("/v2/a/blobs/{encoded}"), blob("a")),
            ("/v2/a/b/tags/list".to_owned(), Route::Tags { repository: "a/b".to_owned() }),
            (format!("/v2/a/referrers/{digest}"), Route::Referrers { digest }),
            ("/v2/A/manifests/x".to_owned(), Route::Bad(Bad::Name)),
            ("/v2/../manifests/x".to_owned(), Route::Bad(Bad::Name)),
            ("/v2//manifests/x".to_owned(), Route::Bad(Bad::Name)),
            ("/v2/a._b/manifests/x".to_owned(), Route::Bad(Bad::Name)),
            (format!("/v2/{}/manifests/x", "a".repeat(256)), Route::Bad(Bad::Name)),
            ("/v2/a/manifests/.x".to_owned(), Route::Bad(Bad::Tag)),
            ("/v2/a/manifests/sha256:abc".to_owned(), Route::Bad(Bad::Digest)),
            ("/v2/a/blobs/sha512:abc".to_owned(), Route::Bad(Bad::Digest)),
            ("/v2/a/blobs/uploads".to_owned(), Route::Bad(Bad::Digest)),
            ("/v1/a".to_owned(), Route::None),
            ("/v2/_catalog".to_owned(), Route::None),
        ] {
            assert_eq!(Route::parse(&path), route, "{path}");
        }
    }
}
