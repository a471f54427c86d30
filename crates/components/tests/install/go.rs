//! From Go modules, and what happens when a release cannot be had.

use super::*;

#[test]
fn without_a_release_components_are_built() {
    let server = Server::start();
    let cache = tempfile::tempdir().unwrap();
    let components = components(&server.base());
    let (installed, said) = install(&components, cache.path(), &From::Auto);
    let installed = installed.unwrap();
    let said = said.join("\n").replace(&server.base(), "http://SERVER");
    insta::assert_snapshot!(said, @r#"
    plain: no release (cannot download http://SERVER/v1.2.3/SHA256SUMS: the server answered 404), building it from Go modules
    plain: done from go
    packed: no release (cannot download http://SERVER/packed-4.5.tgz.sha256: the server answered 404), building it from Go modules
    packed: done from go
    "#);
    let run = |path| std::process::Command::new(path).status().unwrap();
    assert!(run(installed.bin.join("plain")).success());
    assert!(run(installed.cni.join("b")).success());
    assert!(!installed.bin.join("hello").exists(), "only the names of the release are installed");
}

/// A server that does not answer costs time, so it is asked once.
#[test]
fn an_unreachable_server_is_asked_once() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let cache = tempfile::tempdir().unwrap();
    let (installed, said) = install(&components(&base), cache.path(), &From::Auto);
    installed.unwrap();
    insta::assert_snapshot!(said.join("\n").replace(&base, "http://SERVER"), @r#"
    plain: no release (cannot download http://SERVER/v1.2.3/SHA256SUMS: no usable answer: io: Connection refused (os error 111)), building it from Go modules
    plain: done from go
    packed: no release (cannot download http://SERVER/packed-4.5.tgz.sha256: the server did not answer before), building it from Go modules
    packed: done from go
    "#);
}

/// A connection that is accepted and never answered: seconds, not minutes, and
/// only once.
#[test]
fn a_silent_server_is_given_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let cache = tempfile::tempdir().unwrap();
    let mut reasons = Vec::new();
    let start = std::time::Instant::now();
    let mut silence = None;
    let result = components(&base).install(cache.path(), &From::Auto, &mut |progress| {
        if let Step::FallingBack { reason } = progress.step {
            silence.get_or_insert(start.elapsed());
            reasons.push(reason.replace(&base, "http://SERVER"));
        }
    });
    result.unwrap();
    insta::assert_snapshot!(reasons.join("\n"), @r#"
    cannot download http://SERVER/v1.2.3/SHA256SUMS: no usable answer: timeout: receive response
    cannot download http://SERVER/packed-4.5.tgz.sha256: the server did not answer before
    "#);
    assert!(silence.unwrap().as_secs() < 10, "{silence:?}");
}

#[test]
fn a_release_that_was_asked_for_is_not_replaced() {
    let server = Server::start();
    let cache = tempfile::tempdir().unwrap();
    let (result, _) = install(&components(&server.base()), cache.path(), &From::Release);
    let error = result.unwrap_err();
    insta::assert_snapshot!(chain(&error).replace(&server.base(), "http://SERVER"), @r#"
    components.download: cannot download http://SERVER/v1.2.3/SHA256SUMS: the server answered 404
    hint: check the network or HTTPS_PROXY, build the components with `--from go`, or copy them from another machine with `--from DIR`
    "#);
    assert_eq!(error.failure().retry, seatrial_core::failure::Retry::Safe);
}

#[test]
fn changed_source_is_built_anew_and_a_broken_one_shows_why() {
    let server = Server::start();
    let cache = tempfile::tempdir().unwrap();
    let old = components(&server.base());
    let before = good_install(&old, cache.path(), &From::Go);
    let lock = old.lock().clone();
    let broken = Components::new(lock.clone(), modules("package main\n\nfunc main() { x }\n"));
    let (result, _) = install(&broken, cache.path(), &From::Go);
    let failure = result.unwrap_err().failure();
    assert_eq!(failure.code, "components.build");
    assert!(failure.detail.contains("undefined: x"), "{failure:?}");
    let new = Components::new(lock, modules("package main\n\nfunc main() { println() }\n"));
    assert_eq!(new.locate(cache.path()).installed, None);
    let after = good_install(&new, cache.path(), &From::Go);
    assert_ne!(before.digest, after.digest);
    // Who still uses the old one is not disturbed.
    assert_eq!(old.locate(cache.path()).installed, Some(before));
}

#[test]
fn what_a_build_needs_is_checked_first() {
    let check = |module: &str, needs: &str| {
        let lock = format!(
            r#"{{ "components": [{{ "name": "a", "version": "1", "go": {{
                "module": "{module}", "build": {{ "bin/a": "." }}, "needs": [{needs}] }} }}] }}"#
        );
        let mut modules = modules("package main\n\nfunc main() {}\n");
        let mut future = modules["hello"].clone();
        future.insert("go.mod".into(), "module future.invalid\n\ngo 99.1.2\n".into());
        modules.insert("future".into(), future);
        let cache = tempfile::tempdir().unwrap();
        let components = Components::new(Lock::parse(&lock).unwrap(), modules);
        chain(&install(&components, cache.path(), &From::Auto).0.unwrap_err())
    };
    insta::assert_snapshot!(check("hello", r#""libseatrial-nonexistent""#), @r#"
    components.prerequisite: libseatrial-nonexistent is not installed
    hint: on Debian or Ubuntu: apt-get install libseatrial-nonexistent
    "#);
    insta::assert_snapshot!(check("hello", r#""seatrial-nonexistent-cc""#), @r#"
    components.prerequisite: seatrial-nonexistent-cc is not installed
    hint: on Debian or Ubuntu: apt-get install seatrial-nonexistent-cc
    "#);
    insta::assert_snapshot!(check("nowhere", ""), @r#"
    components.prerequisite: there is no module "nowhere"
    hint:
    "#);
    let too_old = check("future", "");
    let found = too_old.split("Go is ").nth(1).unwrap().split(',').next().unwrap();
    insta::assert_snapshot!(too_old.replace(found, "VERSION"), @r#"
    components.prerequisite: Go is VERSION, but 99.1.2 or newer is needed
    hint: install Go 99.1.2 or newer: https://go.dev/dl
    "#);
}

#[test]
fn an_optional_component_is_left_out() {
    let server = Server::start();
    let mut lock = components(&server.base()).lock().clone();
    lock.components[1].optional = true;
    lock.components[1].go = None;
    let cache = tempfile::tempdir().unwrap();
    let components = Components::new(lock, modules("package main\n\nfunc main() {}\n"));
    let (installed, said) = install(&components, cache.path(), &From::Auto);
    assert!(said.last().unwrap().starts_with("packed: left out: "), "{said:?}");
    let installed = installed.unwrap();
    assert!(installed.bin.join("plain").exists() && !installed.bin.join("a").exists());
    assert_eq!(installed.versions.len(), 1);
}
