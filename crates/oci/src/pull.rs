//! Pulling a base image by digest from a registry.

use std::io;

use seatrial_core::digest::Digest;
use seatrial_store::Store;

use crate::error::ImageError;
use crate::image::Image;
use crate::layout::{Source, import, take_in};
use crate::media::{self, Descriptor, LARGEST_MANIFEST};
use crate::registries::Registries;

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

/// What a pull came to.
#[derive(Debug)]
pub struct Pulled {
    /// The image.
    pub image: Image,
    /// What was wrong with mirrors that were asked before.
    pub passed_over: Vec<ImageError>,
}

/// The image for a platform with this digest, when all of it is in the store.
#[must_use]
pub fn held(store: &Store, digest: Digest, platform: &str) -> Option<Image> {
    let (_, size) = store.open_blob(digest).ok()?;
    let top = Descriptor::new(media::MANIFEST, digest, size);
    import(store, &Nowhere, vec![top], platform).ok()
}

/// Copies an image from its registry or a mirror into the store, every digest
/// and size verified. What is in the store already is not asked for again, and
/// when that is all of it, nobody is asked.
///
/// # Errors
/// When the registry does not answer or does not give it, or content is not
/// what was asked for.
pub fn pull(store: &Store, registries: &Registries, pull: Pull<'_>) -> Result<Pulled, ImageError> {
    let (image, passed_over) = registries.first(pull.name, |remote| {
        let size = match store.open_blob(pull.digest) {
            Ok((_, size)) => size,
            Err(_) => {
                let body = remote.read("manifests", &pull.digest.to_string())?;
                take_in(store, body, "the manifest", pull.digest, LARGEST_MANIFEST)?
            }
        };
        let top = Descriptor::new(media::MANIFEST, pull.digest, size);
        import(store, remote, vec![top], pull.platform)
    });
    Ok(Pulled { image: image?, passed_over })
}

/// Has nothing.
struct Nowhere;

impl Source for Nowhere {
    fn open(&self, _: &Descriptor, _: bool) -> Result<Box<dyn io::Read>, ImageError> {
        Err(ImageError::Base("it is not all here".to_owned()))
    }
}
