//! What can go wrong with images, and whose fault it is.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use seatrial_core::digest::Digest;
use seatrial_core::failure::{Failure, Retry};
use seatrial_store::StoreError;

/// An error of an image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A file of the image is not in the tree that it should come from.
    #[error("there is no `{path}` in the tree {}", tree.short())]
    NoFile {
        /// The path.
        path: String,
        /// The tree.
        tree: Digest,
    },
    /// A place in the image that is no absolute path.
    #[error("`{}` is not an absolute path without `..`", .0.escape_debug())]
    Place(String),
    /// Something is to be below a file, or a file where a directory is.
    #[error("`/{}` would be a file and a directory", .0.escape_debug())]
    Conflict(String),
    /// A name that means "deleted" in a layer.
    #[error("`/{}` cannot be in an image: names that begin with `.wh.` delete files", .0.escape_debug())]
    Whiteout(String),
    /// Content of a base image is not what its descriptor says.
    #[error("{what} of the base image: content is {found}, not {expected}")]
    Mismatch {
        /// Which content.
        what: &'static str,
        /// What the descriptor says.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A descriptor whose digest is none that Seatrial uses.
    #[error("`{}` is not a digest that can be used: {reason}", digest.escape_debug())]
    Digest {
        /// The digest.
        digest: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A base image that is not one.
    #[error("the base image cannot be used: {0}")]
    Base(String),
    /// A base image of a registry that is not in the store.
    #[error("the base image {name}@{digest} was not pulled")]
    NotPulled {
        /// Registry and repository.
        name: String,
        /// The digest.
        digest: Digest,
    },
    /// Content of a base image did not come to its end.
    #[error("{what} of the base image broke off")]
    Cut {
        /// Which content.
        what: &'static str,
        /// What happened.
        #[source]
        source: io::Error,
    },
    /// A mirror could not be used.
    #[error("the mirror {mirror} is passed over")]
    Mirror {
        /// Its URL.
        mirror: String,
        /// Why.
        #[source]
        source: Box<ImageError>,
    },
    /// A registry did not give a base image.
    #[error("cannot pull {name}: {reason}")]
    Pull {
        /// What was asked for.
        name: String,
        /// What the registry said.
        reason: String,
    },
    /// A registry wants to know who asks, or lets them not have it.
    #[error("{host} does not let {name} be pulled {}", Self::how(credentials.as_deref()))]
    Denied {
        /// What was asked for.
        name: String,
        /// The registry.
        host: String,
        /// Where the credentials are from; `None`: there are none for it.
        credentials: Option<String>,
    },
    /// Credentials cannot be read.
    #[error("no credentials from {from}: {reason}")]
    Credentials {
        /// The file or program.
        from: String,
        /// What is wrong; never what is in them.
        reason: String,
    },
    /// A registry does not have it.
    #[error("{host} has no {} of {name}", reference.escape_debug())]
    Unknown {
        /// Registry and repository.
        name: String,
        /// The tag or digest.
        reference: String,
        /// Who was asked.
        host: String,
    },
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The answer of the kernel.
        #[source]
        source: io::Error,
    },
    /// `mkfs.erofs` failed.
    #[error("mkfs.erofs ended with {status}: {reason}")]
    Mkfs {
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        reason: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ImageError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    fn how(credentials: Option<&str>) -> String {
        match credentials {
            Some(from) => format!("with the credentials of {from}"),
            None => "without credentials, and there are none for it".to_owned(),
        }
    }

    /// Whether it says something about who was asked, and not about this
    /// machine: another may do better.
    pub(crate) fn is_theirs(&self) -> bool {
        !matches!(self, Self::Store(_) | Self::Io { .. } | Self::Credentials { .. })
    }
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        let message = Failure::chain(&error);
        match error {
            ImageError::NoFile { .. } => Self::config("image.no_file", message)
                .hint("`path` is relative to what the build leaves in $OUT"),
            ImageError::Place(_) => Self::config("image.place", message),
            ImageError::Conflict(_) | ImageError::Whiteout(_) => {
                Self::config("image.conflict", message)
            }
            ImageError::Mismatch { .. } | ImageError::Digest { .. } => {
                Self::config("cas.digest_mismatch", message)
            }
            ImageError::Base(_) => Self::config("image.base", message),
            ImageError::NotPulled { .. } | ImageError::Pull { .. } | ImageError::Cut { .. } => {
                Self::environment("image.pull", message)
            }
            ImageError::Mirror { .. } => Self::environment("image.mirror", message),
            ImageError::Denied { host, .. } => {
                let at = if host == "docker.io" { String::new() } else { format!(" {host}") };
                // The same credentials are not taken the next time either.
                Self { retry: Retry::Never, ..Self::environment("image.denied", message) }
                    .hint(format!("run `docker login{at}` as the user who runs Seatrial"))
                    .hint("many registries say the same of a name that they do not have")
            }
            ImageError::Credentials { .. } => {
                Self { retry: Retry::Never, ..Self::environment("image.credentials", message) }
            }
            ImageError::Unknown { .. } => Self::config("image.unknown", message),
            ImageError::Io { .. } => Self::environment("image.io", message),
            ImageError::Mkfs { .. } => Self::environment("image.mkfs", message),
            ImageError::Store(error) => error.into(),
        }
    }
}
