//! Running things apart: namespaces, mounts, cgroups and links of this
//! machine, without a shell, a daemon or a container engine.
//!
//! Two things are built here. An [`Action`](action) is one command in a root of
//! its own, unprivileged and mostly without a network. An [`Init`](init::Init)
//! is the first process of an environment: it holds the namespaces of its
//! nodes and starts what it is told to.
//!
//! Both are made the same way. The caller's own executable is started again in
//! a new pid namespace ([`enter_if_asked`]), so the part that sets up
//! namespaces runs in a process with one thread. It gets a value over a socket,
//! carries it out and reports. When the owner's end of that socket closes, for
//! whatever reason, the process leaves and the kernel kills everything in its
//! pid namespace: nothing has to be cleaned up but cgroup directories and files
//! ([`owner::sweep`]).
//!
//! This crate decides nothing about Kubernetes and is the only one with
//! `unsafe`. It knows no async runtime.

pub mod action;
pub mod cgroup;
mod entry;
mod error;
pub mod init;
mod landlock;
mod mounted;
pub mod netns;
pub mod owner;
mod privilege;
pub mod root;
mod seccomp;
mod wire;

pub use entry::enter_if_asked;
pub use error::Error;
pub use mounted::look_into_erofs;
