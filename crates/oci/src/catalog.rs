//! Which image a name stands for, while images are still being built.
//!
//! A value that many share: whoever builds says what is declared, built or
//! failed; the registry asks, and waits where a build is under way.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use seatrial_core::digest::Digest;
use seatrial_store::Store;
use tokio::sync::watch;

use crate::error::ImageError;
use crate::media::{Document, LARGEST_MANIFEST};
use crate::reference::{full_name, in_registry, split_tag};

/// The registry of names that no one else gives: images by their name in the
/// pipeline, `seatrial.local/guestbook`.
const OWN: &str = "seatrial.local";

/// Names that were asked for in vain and are remembered.
const MOST_MISSES: usize = 1000;

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// An image that is there.
    Here(Digest),
    /// One that is being built.
    Building,
    /// One whose build failed.
    Failed {
        /// The image.
        image: String,
        /// Why.
        reason: String,
    },
    /// The repository is known, and has not this digest but another one. What
    /// is asked for by digest must have it, so it is not replaced.
    OtherDigest {
        /// The digest that it has.
        ours: Digest,
    },
    /// Nothing.
    Unknown,
}

/// A name that was asked for and is not there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Miss {
    /// The name in full.
    pub name: String,
    /// The tag or digest.
    pub reference: String,
}

/// Which image each name stands for. All clones are one.
#[derive(Debug, Clone)]
pub struct Catalog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    names: Mutex<Names>,
    /// Counts changes, for those who wait for one.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Names {
    images: BTreeMap<String, State>,
    /// By name in full.
    repositories: BTreeMap<String, Repository>,
    misses: BTreeSet<Miss>,
}

#[derive(Debug)]
struct Repository {
    image: String,
    /// The tag that is listed.
    tag: String,
    /// Whether any other tag stands for the same image: someone else wrote the
    /// name, with the tag of a release.
    any_tag: bool,
}

#[derive(Debug)]
enum State {
    Building,
    Built(Content),
    Failed(String),
}

/// Everything that an image leads to, and nothing else of the store.
#[derive(Debug)]
struct Content {
    image: Digest,
    documents: HashSet<Digest>,
    blobs: HashSet<Digest>,
}

impl Default for Catalog {
    fn default() -> Self {
        let (changes, _) = watch::channel(0);
        Self { shared: Arc::new(Shared { names: Mutex::default(), changes }) }
    }
}

impl Catalog {
    /// A catalog that knows no name.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that `image` will be built, and which names stand for it, with
    /// whatever tag, besides `seatrial.local/<image>:latest`.
    pub fn declare(&self, image: &str, replaces: &[String]) {
        self.change(|names| {
            names.name(&format!("{OWN}/{image}"), image, false);
            for name in replaces {
                names.name(name, image, true);
            }
        });
    }

    /// Says that a declared image is in the store, by the digest of its
    /// manifest or index.
    ///
    /// # Errors
    /// When it is not in the store after all.
    pub fn built(&self, image: &str, digest: Digest, store: &Store) -> Result<(), ImageError> {
        let mut content =
            Content { image: digest, documents: HashSet::new(), blobs: HashSet::new() };
        content.add(digest, store, 0)?;
        self.change(|names| drop(names.images.insert(image.to_owned(), State::Built(content))));
        Ok(())
    }

    /// Says that a declared image will not come.
    pub fn failed(&self, image: &str, reason: &str) {
        self.change(|names| {
            drop(names.images.insert(image.to_owned(), State::Failed(reason.to_owned())));
        });
    }

    /// Adds an image that is in the store, under one name and tag
    /// (`localhost/pause:1`).
    ///
    /// # Errors
    /// When it is not in the store after all.
    pub fn add(&self, name: &str, digest: Digest, store: &Store) -> Result<(), ImageError> {
        self.change(|names| names.name(name, name, false));
        self.built(name, digest, store)
    }

    /// What a name stands for now. `registry` is the one that the client
    /// thinks it talks to; `None` is this one.
    #[must_use]
    pub fn resolve(&self, registry: Option<&str>, repository: &str, reference: &str) -> Answer {
        let name = in_registry(registry.unwrap_or(OWN), repository);
        self.names().resolve(&name, reference)
    }

    /// As [`Catalog::resolve`], after waiting at most `limit` for the image to
    /// be built. What is not there then is remembered as a miss.
    pub async fn wait(
        &self,
        registry: Option<&str>,
        repository: &str,
        reference: &str,
        limit: Duration,
    ) -> Answer {
        let mut changes = self.shared.changes.subscribe();
        let answer = tokio::time::timeout(limit, async {
            loop {
                match self.resolve(registry, repository, reference) {
                    Answer::Building if changes.changed().await.is_ok() => {}
                    answer => return answer,
                }
            }
        })
        .await
        .unwrap_or(Answer::Building);
        if matches!(answer, Answer::Unknown | Answer::OtherDigest { .. }) {
            let name = in_registry(registry.unwrap_or(OWN), repository);
            let mut names = self.names();
            if names.misses.len() < MOST_MISSES {
                names.misses.insert(Miss { name, reference: reference.to_owned() });
            }
        }
        answer
    }

    /// Names in full that were asked for and are not there: images that are
    /// named somewhere but not built.
    #[must_use]
    pub fn misses(&self) -> Vec<Miss> {
        self.names().misses.iter().cloned().collect()
    }

    /// The name that stands for an image and is most like `name`, if any is
    /// near enough to be what was meant.
    #[must_use]
    pub fn nearest(&self, name: &str) -> Option<String> {
        let names = self.names();
        let distance = |known: &String| (strsim::osa_distance(known, name), known.clone());
        let (distance, known) = names.repositories.keys().map(distance).min()?;
        (distance <= name.len() / 4).then_some(known)
    }

    /// All names in full that stand for an image.
    #[must_use]
    pub fn known(&self) -> Vec<String> {
        self.names().repositories.keys().cloned().collect()
    }

    /// The tags of a repository that are listed.
    pub(crate) fn tags(&self, registry: Option<&str>, repository: &str) -> Option<Vec<String>> {
        let name = in_registry(registry.unwrap_or(OWN), repository);
        let names = self.names();
        let built = names.content(&name).is_some();
        let repository = names.repositories.get(&name)?;
        Some(if built { vec![repository.tag.clone()] } else { Vec::new() })
    }

    /// Whether a blob belongs to the image of a repository.
    pub(crate) fn has_blob(
        &self,
        registry: Option<&str>,
        repository: &str,
        digest: Digest,
    ) -> bool {
        let name = in_registry(registry.unwrap_or(OWN), repository);
        let names = self.names();
        names.content(&name).is_some_and(|content| {
            content.blobs.contains(&digest) || content.documents.contains(&digest)
        })
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        // No change leaves the names half done.
        self.shared.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Names)) {
        change(&mut self.names());
        self.shared.changes.send_modify(|count| *count += 1);
    }
}

impl Names {
    fn name(&mut self, name: &str, image: &str, any_tag: bool) {
        let tag = split_tag(name).1.unwrap_or("latest").to_owned();
        let repository = Repository { image: image.to_owned(), tag, any_tag };
        self.repositories.insert(full_name(name), repository);
        self.images.entry(image.to_owned()).or_insert(State::Building);
    }

    fn resolve(&self, name: &str, reference: &str) -> Answer {
        let Some(repository) = self.repositories.get(name) else { return Answer::Unknown };
        let by_digest = reference.contains(':');
        if !by_digest && !repository.any_tag && reference != repository.tag {
            return Answer::Unknown;
        }
        match self.images.get(&repository.image) {
            None => Answer::Unknown,
            Some(State::Building) => Answer::Building,
            Some(State::Failed(reason)) => {
                Answer::Failed { image: repository.image.clone(), reason: reason.clone() }
            }
            Some(State::Built(content)) if by_digest => content.resolve(reference),
            Some(State::Built(content)) => Answer::Here(content.image),
        }
    }

    fn content(&self, name: &str) -> Option<&Content> {
        match self.images.get(&self.repositories.get(name)?.image)? {
            State::Built(content) => Some(content),
            _ => None,
        }
    }
}

impl Content {
    fn resolve(&self, reference: &str) -> Answer {
        match reference.parse::<Digest>() {
            Ok(digest) if self.documents.contains(&digest) => Answer::Here(digest),
            _ => Answer::OtherDigest { ours: self.image },
        }
    }

    /// Adds a manifest or index with all that it names. Of an index, what is
    /// not in the store is left out: images for other platforms.
    fn add(&mut self, digest: Digest, store: &Store, depth: u32) -> Result<(), ImageError> {
        match Document::decode(&store.read_blob(digest, LARGEST_MANIFEST)?)? {
            Document::Manifest(manifest) => {
                for part in manifest.layers.iter().chain([&manifest.config]) {
                    self.blobs.insert(part.digest()?);
                }
            }
            Document::Index { manifests, .. } => {
                for part in manifests.iter().filter(|_| depth < 3) {
                    let digest = part.digest()?;
                    if store.has_blob(digest) {
                        self.add(digest, store, depth + 1)?;
                    }
                }
            }
        }
        self.documents.insert(digest);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
