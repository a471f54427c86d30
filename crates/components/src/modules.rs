//! The embedded Go modules: one small module for each upstream, whose `go.mod`
//! names the commands and whose `go.sum` fixes every byte of their source.
//! Embedded, so that an installed `seatrial` works without its repository.

use std::collections::BTreeMap;

/// Modules by name, each with its files by name.
pub type Modules = BTreeMap<String, BTreeMap<String, String>>;

/// The modules of the embedded lock.
#[must_use]
pub fn embedded_modules() -> Modules {
    let mut modules = Modules::new();
    for (module, file, text) in FILES {
        modules.entry((*module).to_owned()).or_default().insert((*file).to_owned(), (*text).into());
    }
    modules
}

/// One line of the table below.
macro_rules! file {
    ($module:literal, $file:literal) => {
        ($module, $file, include_str!(concat!("../modules/", $module, "/", $file)))
    };
}

const FILES: &[(&str, &str, &str)] = &[
    file!("cni", "go.mod"),
    file!("cni", "go.sum"),
    file!("containerd", "go.mod"),
    file!("containerd", "go.sum"),
    file!("coredns", "go.mod"),
    file!("coredns", "go.sum"),
    file!("etcd", "go.mod"),
    file!("etcd", "go.sum"),
    file!("helm", "go.mod"),
    file!("helm", "go.sum"),
    file!("kube-network-policies", "go.mod"),
    file!("kube-network-policies", "go.sum"),
    file!("kubernetes", "go.mod"),
    file!("kubernetes", "go.sum"),
    file!("kubernetes", "main.go"),
    file!("runc", "go.mod"),
    file!("runc", "go.sum"),
];
