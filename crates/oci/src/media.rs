//! Manifests and indexes: OCI image specification v1.1, `manifest.md`,
//! `image-index.md`, `descriptor.md`.

use seatrial_core::digest::Digest;
use serde::{Deserialize, Serialize};

use crate::error::ImageError;

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// Most bytes of a manifest, an index or a configuration, as registries have it.
pub(crate) const LARGEST_MANIFEST: u64 = 4 << 20;
/// Most bytes of a layer.
pub(crate) const LARGEST_LAYER: u64 = 16 << 30;

/// What some content is, and how large.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<Platform>,
}

/// What an image runs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Platform {
    pub(crate) architecture: String,
    pub(crate) os: String,
}

/// A manifest or an index; told apart by what they have, as old ones do not
/// name their own media type.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Either {
    #[serde(default)]
    media_type: String,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    manifests: Option<Vec<Descriptor>>,
}

/// A manifest of one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    pub(crate) media_type: String,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

/// What a digest of an image leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Document {
    Manifest(Manifest),
    Index { media_type: String, manifests: Vec<Descriptor> },
}

impl Descriptor {
    pub(crate) fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        let (media_type, digest) = (media_type.to_owned(), digest.to_string());
        Self { media_type, digest, size, platform: None }
    }

    /// The digest, when it is one that the store has.
    pub(crate) fn digest(&self) -> Result<Digest, ImageError> {
        self.digest.parse().map_err(|error: seatrial_core::digest::ParseDigestError| {
            ImageError::Digest { digest: self.digest.clone(), reason: error.to_string() }
        })
    }

    /// Whether it can be the image for `platform` (`linux/amd64`).
    fn is_for(&self, platform: &str) -> bool {
        self.platform.as_ref().is_none_or(|p| format!("{}/{}", p.os, p.architecture) == platform)
    }
}

impl Document {
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, ImageError> {
        let either: Either = serde_json::from_slice(bytes)
            .map_err(|error| ImageError::Base(format!("its manifest is no manifest: {error}")))?;
        let own = |default: &str| {
            if either.media_type.is_empty() {
                default.to_owned()
            } else {
                either.media_type.clone()
            }
        };
        // A document that is both means one thing to one reader and another to
        // the next (OCI distribution specification, CVE-2021-41190).
        match (either.config, either.manifests) {
            (Some(config), None)
                if matches!(own(MANIFEST).as_str(), MANIFEST | DOCKER_MANIFEST) =>
            {
                let (media_type, layers) = (own(MANIFEST), either.layers);
                Ok(Self::Manifest(Manifest { schema_version: 2, media_type, config, layers }))
            }
            (None, Some(manifests)) if matches!(own(INDEX).as_str(), INDEX | DOCKER_INDEX) => {
                Ok(Self::Index { media_type: own(INDEX), manifests })
            }
            _ => {
                Err(ImageError::Base("its manifest is neither a manifest nor an index".to_owned()))
            }
        }
    }

    pub(crate) fn media_type(&self) -> &str {
        match self {
            Self::Manifest(manifest) => &manifest.media_type,
            Self::Index { media_type, .. } => media_type,
        }
    }
}

/// The one image of an index for a platform.
pub(crate) fn choose<'a>(
    manifests: &'a [Descriptor],
    platform: &str,
) -> Result<&'a Descriptor, ImageError> {
    let mut fitting = manifests.iter().filter(|descriptor| descriptor.is_for(platform));
    match (fitting.next(), fitting.next()) {
        (Some(descriptor), None) => Ok(descriptor),
        (None, _) => Err(ImageError::Base(format!("it has no image for {platform}"))),
        (Some(_), Some(_)) => {
            Err(ImageError::Base(format!("it has more than one image for {platform}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use seatrial_core::fuzz::bytes;

    use super::*;

    #[test]
    fn one_image_for_one_platform() {
        let manifest = |architecture: &str, digest: &str| Descriptor {
            platform: Some(Platform { architecture: architecture.into(), os: "linux".into() }),
            ..Descriptor::new(MANIFEST, Digest::of(digest), 1)
        };
        let (amd, arm) = (manifest("amd64", "a"), manifest("arm64", "b"));
        let all = [amd.clone(), arm, manifest("unknown", "attestation")];
        assert_eq!(choose(&all, "linux/amd64").expect("chosen"), &amd);
        let refusal =
            |list: &[Descriptor]| choose(list, "linux/amd64").expect_err("none").to_string();
        let text = "the base image cannot be used: it has no image for linux/amd64";
        assert_eq!(refusal(&all[1..]), text);
        let text = "the base image cannot be used: it has more than one image for linux/amd64";
        assert_eq!(refusal(&[amd.clone(), amd]), text);
    }

    #[test]
    fn documents_that_are_two_things_are_refused() {
        let text = r#"{"config":{"digest":"x","size":1},"layers":[],"manifests":[]}"#;
        let error = Document::decode(text.as_bytes()).expect_err("ambiguous").to_string();
        assert_eq!(
            error,
            "the base image cannot be used: its manifest is neither a manifest nor an index"
        );
        let text =
            text.replace(",\"manifests\":[]", "").replacen('{', "{\"mediaType\":\"text/x\",", 1);
        assert!(Document::decode(text.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn fuzz_image_manifest(bytes in bytes(&[
            serde_json::to_vec(&Manifest {
                schema_version: 2,
                media_type: MANIFEST.to_owned(),
                config: Descriptor::new(CONFIG, Digest::of("c"), 7),
                layers: vec![Descriptor::new(LAYER, Digest::of("l"), 1 << 40)],
            }).expect("JSON"),
            serde_json::to_vec(&serde_json::json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [
                { "mediaType": MANIFEST, "digest": Digest::of("m"), "size": 3, "platform": { "os": "linux", "architecture": "amd64" } },
            ] })).expect("JSON"),
        ])) {
            match Document::decode(&bytes) {
                Ok(Document::Index { manifests, .. }) => drop(choose(&manifests, "linux/amd64")),
                Ok(Document::Manifest(manifest)) => drop(manifest.config.digest()),
                Err(_) => {}
            }
        }
    }
}
