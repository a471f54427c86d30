//! Names of repositories, as people write them and as registries know them.

/// The name of a repository in full: registry, `/`, path. A tag or digest is
/// left out, and what Docker leaves out is put in: `nginx:1` is
/// `docker.io/library/nginx`.
#[must_use]
pub fn full_name(name: &str) -> String {
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    let (name, _) = split_tag(name);
    match name.split_once('/') {
        Some((first, rest)) if is_registry(first) => in_registry(first, rest),
        _ => in_registry("docker.io", name),
    }
}

/// The name in full of a repository of a registry.
pub(crate) fn in_registry(registry: &str, repository: &str) -> String {
    match registry {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" if !repository.contains('/') => {
            format!("docker.io/library/{repository}")
        }
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => {
            format!("docker.io/{repository}")
        }
        _ => format!("{registry}/{repository}"),
    }
}

/// Splits a tag off: a colon behind the last slash, as one before it is a port.
pub(crate) fn split_tag(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (name, None),
    }
}

/// Whether the first component of a name is a registry: it looks like a host.
fn is_registry(first: &str) -> bool {
    first == "localhost" || first.contains(['.', ':'])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use seatrial_core::fuzz::bytes;

    use super::*;

    #[test]
    fn names_in_full() {
        for (name, full) in [
            ("nginx", "docker.io/library/nginx"),
            ("nginx:1.27", "docker.io/library/nginx"),
            ("bitnami/redis", "docker.io/bitnami/redis"),
            ("docker.io/nginx@sha256:00", "docker.io/library/nginx"),
            ("index.docker.io/a/b", "docker.io/a/b"),
            ("ghcr.io/example/guestbook:v1@sha256:00", "ghcr.io/example/guestbook"),
            ("localhost/pause:1", "localhost/pause"),
            ("localhost:5000/x/y", "localhost:5000/x/y"),
            ("registry:5000/x:tag", "registry:5000/x"),
        ] {
            assert_eq!(full_name(name), full);
        }
    }

    proptest! {
        /// The name in full is the same by whatever name it is asked for.
        #[test]
        fn fuzz_reference(name in bytes(&["ghcr.io/example/guestbook:v1@sha256:00", "localhost:5000/x", "nginx:1.27"])) {
            let name = String::from_utf8_lossy(&name);
            let full = full_name(&name);
            prop_assert!(full.contains('/') && !full.contains('@'), "{}", full);
        }
    }
}
