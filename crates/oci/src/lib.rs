//! Image assembly and the registry, over the store.
//!
//! An image is blobs: layers, a configuration, and a manifest whose digest is
//! its name. [`assemble`] puts one together from trees, without a daemon and
//! always to the same bytes; [`Registry`] serves what is in the store to the
//! nodes of a cluster, under the names that a [`Catalog`] knows. Nothing is
//! ever pushed: what was assembled is there.
//!
//! Formats: OCI image specification v1.1 and distribution specification v1.1.
//! The types here hold the fields that Seatrial reads or writes; the rest of a
//! base image's configuration is carried along as it is.

mod assemble;
mod catalog;
mod config;
mod error;
mod image;
mod layer;
mod layout;
mod login;
mod media;
mod mountable;
mod pull;
mod range;
mod reference;
mod registries;
mod registry;
mod remote;
mod route;

pub use assemble::assemble;
pub use catalog::{Answer, Catalog, Miss};
pub use error::ImageError;
pub use image::Image;
pub use layout::import_layout;
pub use login::{CredentialUser, Credentials};
pub use mountable::{Mkfs, make_mountable};
pub use pull::{Pull, Pulled, held, pull};
pub use reference::full_name;
pub use registries::Registries;
pub use registry::{Registry, serve};
