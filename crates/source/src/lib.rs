//! Git trees and working trees as content-addressed inputs.
//!
//! A local run tests what is on the disk: every file that Git tracks, as it is
//! now, and every file that it neither tracks nor ignores (a new file is part
//! of the change; [`ProjectFiles::untracked`] names those, so that a plan can).
//! What is ignored, deleted or below another Git directory is not there.
//!
//! ```text
//! WorkTree::open(dir) ──▶ files(): one listing, one stat each ──▶ snapshot(patterns): a tree
//! ```
//!
//! This crate asks the `git` binary and reads files; it never changes a work
//! tree, takes no lock in it and runs no hook.

pub mod error;
pub mod files;
pub mod git_ref;
pub mod pattern;
pub mod work_tree;

mod git;

pub use error::SourceError;
pub use files::{ProjectFiles, Snapshot};
pub use git_ref::GitRef;
pub use pattern::Patterns;
pub use work_tree::{Head, WorkTree};
