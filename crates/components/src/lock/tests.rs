use super::*;
use crate::embedded_modules;

#[test]
fn the_embedded_lock_is_complete() {
    let lock = Lock::parse(include_str!("../../components.lock.json")).unwrap();
    let places: Vec<_> = lock.components.iter().flat_map(Component::places).collect();
    let unique: BTreeSet<_> = places.iter().copied().collect();
    assert_eq!(places.len(), unique.len(), "two components install the same file");
    insta::assert_snapshot!(unique.into_iter().collect::<Vec<_>>().join(" "), @"bin/containerd bin/containerd-shim-runc-v2 bin/coredns bin/ctr bin/etcd bin/helm bin/kube-apiserver bin/kube-controller-manager bin/kube-network-policies bin/kube-proxy bin/kube-scheduler bin/kubectl bin/kubelet bin/runc cni/bridge cni/host-local cni/loopback cni/portmap");
}

/// The version in the lock is what people see, the one in `go.mod` is what is
/// built: they must not drift apart.
#[test]
fn modules_require_the_locked_versions() {
    let modules = embedded_modules();
    for component in Lock::embedded().components {
        let go = component.go.as_ref().unwrap();
        let module = &modules[&go.module];
        for package in go.build.values().filter(|package| *package != ".") {
            let require = format!(" v{}", component.version);
            let found = module["go.mod"].lines().any(|line| {
                let line = line.trim().trim_start_matches("require ");
                line.split_once(' ').is_some_and(|(path, rest)| {
                    package.starts_with(path) && format!(" {rest}").starts_with(&require)
                })
            });
            assert!(found, "{package} is not at v{}", component.version);
        }
        if component.name == "kubernetes" {
            let line = format!("require k8s.io/kubernetes v{}", component.version);
            assert!(module["go.mod"].contains(&line));
        }
    }
}

fn component(release: &str, go: &str) -> Result<Lock, LockError> {
    let fields = [release, go].join(",");
    let fields = fields.trim_matches(',');
    Lock::parse(&format!(r#"{{ "components": [{{ "name": "a", "version": "1.0", {fields} }}] }}"#))
}

#[test]
fn what_leads_out_of_bin_and_cni_is_refused() {
    let check = |place: &str| {
        let go = format!(r#""go": {{ "module": "a", "build": {{ "{place}": "." }} }}"#);
        component("", &go).unwrap_err().to_string()
    };
    insta::assert_snapshot!(check("../a"), @r#"component lock: a: "../a" is neither bin/NAME nor cni/NAME"#);
    insta::assert_snapshot!(check("bin/../../a"), @r#"component lock: a: "bin/../../a" is neither bin/NAME nor cni/NAME"#);
    insta::assert_snapshot!(check("etc/a"), @r#"component lock: a: "etc/a" is neither bin/NAME nor cni/NAME"#);
    insta::assert_snapshot!(check("bin/"), @r#"component lock: a: "bin/" is neither bin/NAME nor cni/NAME"#);
    let name = r#"{ "components": [{ "name": "../a", "version": "1.0" }] }"#;
    insta::assert_snapshot!(Lock::parse(name).unwrap_err(), @r#"component lock: "../a" is no plain name"#);
}

#[test]
fn release_and_build_must_install_the_same() {
    let release =
        r#""release": [{ "url": "u", "checksum": "c", "limit-mib": 1, "file": "bin/a" }]"#;
    let go = |place: &str| format!(r#""go": {{ "module": "a", "build": {{ "{place}": "." }} }}"#);
    component(release, &go("bin/a")).unwrap();
    insta::assert_snapshot!(component(release, &go("bin/b")).unwrap_err(), @r#"component lock: a: release and Go build differ in ["bin/a", "bin/b"]"#);
}

#[test]
fn everything_that_decides_about_bytes_is_in_the_digest() {
    let component = Lock::embedded().components.remove(0);
    let module = |text: &str| BTreeMap::from([("go.mod".to_owned(), text.to_owned())]);
    let digest =
        |c: &Component, source, arch, text: &str| c.digest(source, arch, Some(&module(text)));
    let base = digest(&component, Source::Go, "amd64", "a");
    assert_eq!(base, digest(&component, Source::Go, "amd64", "a"));
    assert_ne!(base, digest(&component, Source::Release, "amd64", "a"));
    assert_ne!(base, digest(&component, Source::Go, "arm64", "a"));
    assert_ne!(base, digest(&component, Source::Go, "amd64", "b"));
    let mut other = component.clone();
    other.go.as_mut().unwrap().tags.push("x".into());
    assert_ne!(base, digest(&other, Source::Go, "amd64", "a"));
    // A module's change does not throw a download away.
    let release = |text| digest(&component, Source::Release, "amd64", text);
    assert_eq!(release("a"), release("b"));
}
