//! Base images that are a directory: OCI image layout, `image-layout.md`.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use seatrial_core::digest::Digest;
use seatrial_store::{Store, StoreError};

use crate::error::ImageError;
use crate::image::Image;
use crate::media::{Descriptor, Document, LARGEST_LAYER, LARGEST_MANIFEST, choose};

/// Copies the image for `platform` (`linux/amd64`) from a layout directory into
/// the store, every digest and size verified.
///
/// # Errors
/// When the directory is no layout, has no or several such images, or content
/// is not what its descriptor says.
pub fn import_layout(store: &Store, dir: &Path, platform: &str) -> Result<Image, ImageError> {
    import(store, &Layout { dir }, read_index(dir)?, platform)
}

/// Where the content of an image comes from.
pub(crate) trait Source {
    /// Opens what a descriptor names, a manifest or another blob.
    fn open(
        &self,
        descriptor: &Descriptor,
        manifest: bool,
    ) -> Result<Box<dyn io::Read>, ImageError>;
}

struct Layout<'a> {
    dir: &'a Path,
}

impl Source for Layout<'_> {
    fn open(&self, descriptor: &Descriptor, _: bool) -> Result<Box<dyn io::Read>, ImageError> {
        // The digest was parsed: it is hexadecimal digits, not a path.
        let path = self.dir.join("blobs/sha256").join(descriptor.digest()?.hex());
        Ok(Box::new(File::open(&path).map_err(ImageError::io(path))?))
    }
}

/// Copies an image into the store, beginning at a list of manifests.
pub(crate) fn import(
    store: &Store,
    source: &dyn Source,
    mut manifests: Vec<Descriptor>,
    platform: &str,
) -> Result<Image, ImageError> {
    // An index in an index is used; deeper ones only by who means harm.
    for _ in 0..3 {
        let descriptor = choose(&manifests, platform)?;
        let digest = copy(store, source, descriptor, Part::Manifest)?;
        match Document::decode(&store.read_blob(digest, LARGEST_MANIFEST)?)? {
            Document::Index { manifests: inner, .. } => manifests = inner,
            Document::Manifest(manifest) => {
                let config = copy(store, source, &manifest.config, Part::Config)?;
                let layers = manifest.layers.iter();
                let layers: Result<_, _> =
                    layers.map(|layer| copy(store, source, layer, Part::Layer)).collect();
                return Ok(Image { manifest: digest, config, layers: layers? });
            }
        }
    }
    Err(ImageError::Base("its indexes are nested too deep".to_owned()))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Manifest,
    Config,
    Layer,
}

fn copy(
    store: &Store,
    source: &dyn Source,
    descriptor: &Descriptor,
    part: Part,
) -> Result<Digest, ImageError> {
    let digest = descriptor.digest()?;
    let (what, limit) = match part {
        Part::Manifest => ("the manifest", LARGEST_MANIFEST),
        Part::Config => ("the configuration", LARGEST_MANIFEST),
        Part::Layer => ("a layer", LARGEST_LAYER),
    };
    if descriptor.size > limit {
        return Err(StoreError::TooLarge { limit }.into());
    }
    if let Ok((_, size)) = store.open_blob(digest)
        && size == descriptor.size
    {
        return Ok(digest);
    }
    let reader = source.open(descriptor, part == Part::Manifest)?.take(descriptor.size + 1);
    let size = take_in(store, reader, what, digest, descriptor.size)?;
    if size != descriptor.size {
        let bytes = |size: u64| format!("{size} bytes");
        let (expected, found) = (bytes(descriptor.size), bytes(size));
        return Err(ImageError::Mismatch { what, expected, found });
    }
    Ok(digest)
}

/// Reads content into the store that has to have a digest and at most `limit`
/// bytes; how many it has. Whose fault it is, who sends or who stores, is told
/// apart.
pub(crate) fn take_in(
    store: &Store,
    mut reader: impl io::Read,
    what: &'static str,
    digest: Digest,
    limit: u64,
) -> Result<u64, ImageError> {
    let mismatch = |expected, found| ImageError::Mismatch { what, expected, found };
    let mut take = || -> Result<u64, ImageError> {
        let mut writer = store.blob_writer(limit)?;
        let mut buffer = vec![0; 256 << 10];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(writer.finish(Some(digest))?.size),
                Ok(count) => writer.push(&buffer[..count])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(ImageError::Cut { what, source }),
            }
        }
    };
    take().map_err(|error| match error {
        ImageError::Store(StoreError::TooLarge { limit }) => {
            mismatch(format!("{limit} bytes"), "longer".to_owned())
        }
        ImageError::Store(StoreError::DigestMismatch { expected, found }) => {
            mismatch(expected.to_string(), found.to_string())
        }
        error => error,
    })
}

fn read_index(dir: &Path) -> Result<Vec<Descriptor>, ImageError> {
    let read = |name: &str| -> Result<Vec<u8>, ImageError> {
        let path: PathBuf = dir.join(name);
        let mut bytes = Vec::new();
        let file = File::open(&path).map_err(ImageError::io(&path))?;
        file.take(LARGEST_MANIFEST).read_to_end(&mut bytes).map_err(ImageError::io(&path))?;
        Ok(bytes)
    };
    if fs::symlink_metadata(dir.join("oci-layout")).is_err() {
        let text = "it is not an OCI image layout (there is no file `oci-layout`)";
        return Err(ImageError::Base(text.to_owned()));
    }
    match Document::decode(&read("index.json")?)? {
        Document::Index { manifests, .. } => Ok(manifests),
        Document::Manifest(_) => Err(ImageError::Base("its index.json is no index".to_owned())),
    }
}
