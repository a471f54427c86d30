//! Putting an image together.

use seatrial_core::action::{ImageAction, ImageBase};
use seatrial_core::digest::Digest;
use seatrial_store::Store;

use crate::config::configure;
use crate::error::ImageError;
use crate::image::Image;
use crate::layer::Layer;
use crate::layout::import_layout;
use crate::media::{self, Descriptor, Document, LARGEST_MANIFEST, Manifest};

/// Puts an image for `platform` (`linux/amd64`) together and into the store.
/// Equal inputs give equal bytes, wherever and whenever. The layer is read and
/// hashed once, on its way into the store.
///
/// # Errors
/// When a file is missing or two are in each other's way, the base cannot be
/// used or was not pulled, or reading or storing fails.
pub fn assemble(
    store: &Store,
    action: &ImageAction<Digest>,
    platform: &str,
) -> Result<Image, ImageError> {
    let base = match &action.base {
        ImageBase::Scratch => None,
        ImageBase::Layout { tree, path } => {
            let dir = store.tree_path(*tree).join(path);
            Some(load(store, import_layout(store, &dir, platform)?.manifest, platform)?)
        }
        ImageBase::Image(digest) => Some(load(store, *digest, platform)?),
        ImageBase::Registry { name, digest } if !store.has_blob(*digest) => {
            return Err(ImageError::NotPulled { name: name.clone(), digest: *digest });
        }
        ImageBase::Registry { digest, .. } => Some(load(store, *digest, platform)?),
    };
    let mut layers = base.as_ref().map_or_else(Vec::new, |base| base.layers.clone());
    let layer = if action.files.is_empty() {
        None
    } else {
        let blob = Layer::new(store, &action.files, base.is_none())?.write(store)?;
        layers.push(Descriptor::new(media::LAYER, blob.digest, blob.size));
        Some(blob.digest)
    };
    let base_config = match &base {
        None => None,
        Some(base) => Some(store.read_blob(base.config.digest()?, LARGEST_MANIFEST)?),
    };
    // An uncompressed layer is its own diff id.
    let layer = layer.map(|digest| digest.to_string());
    let config = configure(base_config.as_deref(), &action.config, platform, layer.as_deref())?;
    let config = store.put_bytes(&config)?;
    let manifest = Manifest {
        schema_version: 2,
        media_type: media::MANIFEST.to_owned(),
        config: Descriptor::new(media::CONFIG, config.digest, config.size),
        layers,
    };
    let text = serde_json::to_vec(&manifest).expect("a manifest is JSON");
    Image::load(store, store.put_bytes(&text)?.digest)
}

/// The manifest of a base, through an index where there is one.
fn load(store: &Store, digest: Digest, platform: &str) -> Result<Manifest, ImageError> {
    let mut digest = digest;
    for _ in 0..3 {
        match Document::decode(&store.read_blob(digest, LARGEST_MANIFEST)?)? {
            Document::Manifest(manifest) => return Ok(manifest),
            Document::Index { manifests, .. } => {
                digest = media::choose(&manifests, platform)?.digest()?;
            }
        }
    }
    Err(ImageError::Base("its indexes are nested too deep".to_owned()))
}

#[cfg(test)]
mod tests;
