//! Pulling a base image by digest from a registry.

use seatrial_core::digest::Digest;
use seatrial_store::Store;

use crate::error::ImageError;
use crate::image::Image;
use crate::layout::import;
use crate::media::{self, Descriptor, LARGEST_MANIFEST};
use crate::registries::{Registries, upstream};
use crate::remote::Remote;

/// What is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pull<'a> {
    /// Registry and repository, as in `docker.io/library/alpine`.
    pub name: &'a str,
    /// The digest of a manifest or index.
    pub digest: Digest,
    /// The platform, as in `linux/amd64`.
    pub platform: &'a str,
}

/// Copies an image from its registry into the store, every digest and size
/// verified. What is in the store already is not asked for again.
///
/// # Errors
/// When the registry does not answer or does not give it, or content is not
/// what was asked for.
pub fn pull(store: &Store, registries: &Registries, pull: Pull<'_>) -> Result<Image, ImageError> {
    let remote = Remote::new(upstream(pull.name), pull.name, registries);
    let size = match store.open_blob(pull.digest) {
        Ok((_, size)) => size,
        Err(_) => {
            let body = remote.read("manifests", &pull.digest.to_string())?;
            store.put_blob(body, Some(pull.digest), LARGEST_MANIFEST)?.size
        }
    };
    let top = Descriptor::new(media::MANIFEST, pull.digest, size);
    import(store, &remote, vec![top], pull.platform)
}
