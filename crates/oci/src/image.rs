//! An image in the store.

use seatrial_core::digest::Digest;
use seatrial_store::{Outputs, Store};

use crate::error::ImageError;
use crate::media::{Document, LARGEST_MANIFEST};

/// An image in the store, by its digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The manifest, whose digest is the image's name.
    pub manifest: Digest,
    /// The configuration.
    pub config: Digest,
    /// The layers, the lowest first.
    pub layers: Vec<Digest>,
}

impl Image {
    /// Reads the manifest with this digest.
    ///
    /// # Errors
    /// When it is not in the store or is no manifest of one image.
    pub fn load(store: &Store, manifest: Digest) -> Result<Self, ImageError> {
        let bytes = store.read_blob(manifest, LARGEST_MANIFEST)?;
        match Document::decode(&bytes)? {
            Document::Manifest(document) => Ok(Self {
                manifest,
                config: document.config.digest()?,
                layers: document
                    .layers
                    .iter()
                    .map(|layer| layer.digest())
                    .collect::<Result<_, _>>()?,
            }),
            Document::Index { .. } => {
                Err(ImageError::Base(format!("{manifest} is an index, not an image")))
            }
        }
    }

    /// All blobs of the image, the manifest first: the outputs of the action
    /// that made it.
    #[must_use]
    pub fn outputs(&self) -> Outputs {
        let mut blobs = vec![self.manifest, self.config];
        blobs.extend(&self.layers);
        Outputs::Blobs(blobs)
    }
}
