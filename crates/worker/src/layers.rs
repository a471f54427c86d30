//! How nodes get the layers of images: mounted as file systems that are made
//! once for all of them, where the machine can do that; else each node pulls
//! and unpacks them.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use seatrial_core::digest::Digest;
use seatrial_core::failure::Failure;
use seatrial_oci::{Image, ImageError, Mkfs, make_mountable};
use seatrial_sandbox::look_into_erofs;
use seatrial_store::{Layers, Store, StoreError};
use tokio::sync::OnceCell;

/// Why this machine cannot mount layers.
#[derive(Debug, thiserror::Error)]
pub enum NotMountable {
    /// A program is missing.
    #[error("mkfs.erofs is not there")]
    NoProgram,
    /// The program fails.
    #[error("no EROFS file system can be made")]
    Mkfs(#[source] ImageError),
    /// The kernel refuses.
    #[error("the kernel does not mount EROFS file systems straight from files")]
    Kernel(#[source] seatrial_sandbox::Error),
    /// It could not be tried.
    #[error("it cannot be tried whether layers can be mounted")]
    Scratch(#[source] io::Error),
    /// The store has no place for them.
    #[error("there is no place for layers")]
    Store(#[source] StoreError),
}

impl NotMountable {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoProgram | Self::Mkfs(_) => "apt-get install -y erofs-utils",
            Self::Kernel(_) => "it takes Linux 6.12 with CONFIG_EROFS_FS_BACKED_BY_FILE",
            Self::Scratch(_) | Self::Store(_) => "choose a directory of your own with --state-dir",
        }
    }
}

/// Tries whether this machine can mount layers: makes a file system below
/// `scratch`, a directory on the disk of the store, and reads a file in it.
///
/// # Errors
/// What is missing.
pub fn try_mounting(scratch: &Path) -> Result<Mkfs, NotMountable> {
    let mkfs = Mkfs::find().ok_or(NotMountable::NoProgram)?;
    let content = b"content";
    let dir = tempfile::tempdir_in(scratch).map_err(NotMountable::Scratch)?;
    let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    let write =
        || std::fs::create_dir(&from).and_then(|()| std::fs::write(from.join("f"), content));
    write().map_err(NotMountable::Scratch)?;
    mkfs.make(&from, &to, Digest::of(content)).map_err(NotMountable::Mkfs)?;
    match look_into_erofs(&to, |root| std::fs::read(root.join("f"))) {
        Ok(Ok(read)) if read == content => Ok(mkfs),
        Ok(Ok(_)) => Err(NotMountable::Scratch(io::Error::other("a file reads wrong"))),
        Ok(Err(error)) => Err(NotMountable::Scratch(error)),
        Err(error) => Err(NotMountable::Kernel(error)),
    }
}

/// Layers that this machine makes mountable, each once.
#[derive(Debug)]
pub(crate) struct MountableLayers {
    store: Arc<Store>,
    mkfs: Mkfs,
    layers: Layers,
    /// What was made or is being made.
    made: Mutex<HashMap<Digest, Arc<OnceCell<()>>>>,
}

impl MountableLayers {
    /// Looks whether this machine can do that. It takes some 20 ms.
    pub(crate) fn new(store: &Arc<Store>) -> Result<Self, NotMountable> {
        let layers = store.layers().map_err(NotMountable::Store)?;
        let mkfs = try_mounting(layers.dir())?;
        Ok(Self { store: store.clone(), mkfs, layers, made: Mutex::default() })
    }

    /// The directory that nodes look into.
    pub(crate) fn dir(&self) -> &Path {
        self.layers.dir()
    }

    /// Makes the layers of an image mountable, or waits until they are. Those
    /// that cannot be are pulled and unpacked by each node.
    pub(crate) async fn make(&self, image: &Image) {
        for layer in &image.layers {
            let cell = {
                let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
                made.entry(*layer).or_default().clone()
            };
            cell.get_or_init(|| self.make_one(*layer)).await;
        }
    }

    async fn make_one(&self, layer: Digest) {
        let (store, layers, mkfs) = (self.store.clone(), self.layers.clone(), self.mkfs.clone());
        let work = move || make_mountable(&store, &layers, &mkfs, layer);
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(mountable)) => tracing::debug!(%layer, mountable, "layer"),
            Ok(Err(error)) => {
                let error = Failure::chain(&error);
                tracing::warn!(%layer, error, "a layer is unpacked by each node");
            }
            Err(panic) => tracing::error!(%layer, %panic, "making a layer mountable panicked"),
        }
    }
}
