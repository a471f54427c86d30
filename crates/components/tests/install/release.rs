//! From the release.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::time::{Duration, Instant};

use super::*;
use crate::server::{Reply, archive};

#[test]
fn a_good_release_is_installed_once() {
    let (cache, server, components) = good();
    assert_eq!(components.locate(cache.path()).installed, None);
    let (installed, said) = install(&components, cache.path(), &From::Auto);
    let installed = installed.unwrap();
    assert_eq!(
        said,
        [
            "plain: downloaded plain-amd64".replace("amd64", arch()),
            "plain: done from release".into(),
            "packed: downloaded packed-4.5.tgz".into(),
            "packed: done from release".into(),
        ]
    );
    assert_eq!(
        server.requests(),
        ["/v1.2.3/SHA256SUMS", "/v1.2.3/plain", "/packed-4.5.tgz.sha256", "/packed-4.5.tgz"]
    );
    assert_eq!(read(&installed.bin.join("a")), "a");
    assert_eq!(read(&installed.cni.join("b")), "b");
    let output = std::process::Command::new(installed.bin.join("plain")).output().unwrap();
    assert_eq!(output.stdout, b"plain\n");
    let mode = installed.bin.join("plain").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o555, "nobody may write what clusters share");
    assert_eq!(
        installed.versions,
        BTreeMap::from([("packed".into(), "4.5".into()), ("plain".into(), "1.2.3".into())])
    );

    assert_eq!(components.locate(cache.path()).installed.as_ref(), Some(&installed));
    let (again, said) = install(&components, cache.path(), &From::Auto);
    assert_eq!(again.unwrap(), installed);
    assert_eq!(said, ["plain: present", "packed: present"]);
    assert_eq!(server.requests(), Vec::<String>::new());
    let work: Vec<_> = std::fs::read_dir(cache.path().join("work")).unwrap().collect();
    assert!(work.is_empty(), "left behind: {work:?}");
}

#[test]
fn a_wrong_checksum_stops_everything() {
    let (cache, server, components) = good();
    server.change_plain(|reply| reply.body = b"evil".to_vec());
    let (result, said) = install(&components, cache.path(), &From::Auto);
    let error = result.unwrap_err();
    insta::assert_snapshot!(scrub(&chain(&error), &server), @r#"
    components.checksum: checksum of http://SERVER/v1.2.3/plain-ARCH: expected sha256:95dc627f3ca2d4d8f3dc705ff58819a3bf682d7f35f37e6da5a8494b9111ad21, the file has sha256:b5c1fb2efc6d6b4674c2fdcc48ce01b43a3b7c03763c0c3355de0099ee0f8c73
    hint: do not use this file; try another network, or build with `--from go`
    "#);
    // Not built from Go instead: somebody may be at work here.
    assert!(!said.iter().any(|line| line.contains("Go")), "{said:?}");
    let status = components.locate(cache.path());
    assert_eq!(status.installed, None);
    assert!(status.components.iter().all(|component| component.source.is_none()));
    // The damaged file is not taken up again.
    server.release();
    good_install(&components, cache.path(), &From::Auto);
}

#[test]
fn a_cut_connection_is_resumed() {
    let (cache, server, components) = good();
    let content = "x".repeat(100_000);
    server.plain(content.as_bytes());
    server.change_plain(|reply| reply.cut = Some((40_000, 2)));
    let (result, said) = install(&components, cache.path(), &From::Release);
    assert_eq!(read(&result.unwrap().bin.join("plain")), content);
    assert_eq!(said.iter().filter(|line| line.contains("resuming")).count(), 2, "{said:?}");
    assert_eq!(
        server.requests()[1..4],
        ["/v1.2.3/plain", "/v1.2.3/plain from 40000", "/v1.2.3/plain from 80000"]
    );
}

#[test]
fn the_next_start_resumes_where_a_killed_one_stopped() {
    let (cache, server, components) = good();
    server.plain("x".repeat(1000).as_bytes());
    let work = work_dir(&components, cache.path());
    // A part, and a result that was being put together.
    std::fs::create_dir_all(work.join("made/bin")).unwrap();
    std::fs::write(work.join("made/bin/plain"), "half").unwrap();
    std::fs::write(work.join(format!("plain-{}.part", arch())), "x".repeat(600)).unwrap();
    server.requests();
    let (result, _) = install(&components, cache.path(), &From::Release);
    assert_eq!(read(&result.unwrap().bin.join("plain")).len(), 1000);
    assert_eq!(server.requests()[0], "/v1.2.3/plain from 600");
    assert!(!work.exists(), "nothing is left of it");
}

#[test]
fn a_killed_installation_is_taken_up_where_it_was() {
    let (cache, server, components) = good();
    let content = "x".repeat(300_000);
    server.plain(content.as_bytes());
    let work = work_dir(&components, cache.path());
    let part = work.join(format!("plain-{}.part", arch()));
    for stop in [1000, 100_000] {
        server.change_plain(|reply| reply.stall = Some(stop));
        let before = std::fs::metadata(&part).map_or(0, |found| found.len());
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "release::install_in_a_child", "--nocapture"])
            .env(CHILD, format!("{} {}", server.base(), cache.path().display()))
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let wanted = before + stop as u64;
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let size = std::fs::metadata(&part).map_or(0, |found| found.len());
            if size >= wanted {
                break;
            }
            assert!(Instant::now() < deadline, "{size} bytes of {wanted} are there");
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(components.locate(cache.path()).installed, None);
    }
    server.change_plain(|reply| reply.stall = None);
    server.requests();
    let installed = good_install(&components, cache.path(), &From::Release);
    assert_eq!(server.requests()[0], "/v1.2.3/plain from 101000");
    assert_eq!(read(&installed.bin.join("plain")), content);
}

/// What the test above starts and kills.
const CHILD: &str = "SEATRIAL_TEST_INSTALL";

#[test]
fn install_in_a_child() {
    let Ok(args) = std::env::var(CHILD) else { return };
    let (base, cache) = args.split_once(' ').unwrap();
    good_install(&components(base), Path::new(cache), &From::Release);
}

#[test]
fn a_connection_that_never_gets_further_is_given_up() {
    let (cache, server, components) = good();
    server.change_plain(|reply| reply.cut = Some((0, usize::MAX)));
    let (result, said) = install(&components, cache.path(), &From::Release);
    insta::assert_snapshot!(scrub(&chain(&result.unwrap_err()), &server), @r#"
    components.download: cannot download http://SERVER/v1.2.3/plain-ARCH: lost the connection after 0 bytes, 3 times: Peer disconnected
    hint: check the network or HTTPS_PROXY, build the components with `--from go`, or copy them from another machine with `--from DIR`
    "#);
    assert_eq!(said.iter().filter(|line| line.contains("resuming")).count(), 2, "{said:?}");
}

#[test]
fn what_a_killed_installation_of_another_lock_left_is_swept() {
    let (cache, _server, components) = good();
    let work = cache.path().join("work/old-1.0-go-0123456789ab");
    let busy = cache.path().join("work/busy-1.0-go-0123456789ab");
    for dir in [&work, &busy] {
        std::fs::create_dir_all(dir.join("made")).unwrap();
    }
    std::fs::create_dir(cache.path().join("locks")).unwrap();
    let lock = cache.path().join("locks").join(busy.file_name().unwrap());
    let lock = std::fs::File::create(lock).unwrap();
    lock.lock().unwrap();
    good_install(&components, cache.path(), &From::Release);
    assert!(!work.exists());
    assert!(busy.exists(), "somebody works there");
}

#[test]
fn a_part_of_another_file_is_thrown_away() {
    let (cache, server, components) = good();
    let work = work_dir(&components, cache.path());
    let part = work.join(format!("plain-{}.part", arch()));
    let plant = |bytes: &str| {
        std::fs::create_dir_all(&work).unwrap();
        std::fs::write(&part, bytes).unwrap();
    };
    plant("zzz");
    server.requests();
    good_install(&components, cache.path(), &From::Release);
    assert_eq!(server.requests()[..2], ["/v1.2.3/plain from 3", "/v1.2.3/plain"]);
    // One that is longer than the file, at a server that answers with 416.
    std::fs::remove_dir_all(cache.path().join("store")).unwrap();
    plant(&"z".repeat(5000));
    good_install(&components, cache.path(), &From::Release);
    // One at a server that does not resume.
    std::fs::remove_dir_all(cache.path().join("store")).unwrap();
    server.change_plain(|reply| reply.no_range = true);
    plant("zzz");
    server.requests();
    good_install(&components, cache.path(), &From::Release);
    assert_eq!(server.requests()[0], "/v1.2.3/plain from 3");
}

#[test]
fn too_large_is_refused_early_and_late() {
    let (cache, server, components) = good();
    server.plain("x".repeat((1 << 20) + 1).as_bytes());
    let (result, _) = install(&components, cache.path(), &From::Auto);
    insta::assert_snapshot!(scrub(&chain(&result.unwrap_err()), &server), @r#"
    components.too-large: cannot download http://SERVER/v1.2.3/plain-ARCH: larger than the 1048576 bytes that the lock allows
    hint: do not use this file; try another network, or build with `--from go`
    "#);
    // A server that does not say how much there is.
    server.change_plain(|reply| reply.no_length = true);
    let (result, _) = install(&components, cache.path(), &From::Auto);
    insta::assert_snapshot!(scrub(&chain(&result.unwrap_err()), &server), @r#"
    components.too-large: cannot download http://SERVER/v1.2.3/plain-ARCH: larger than the 1048576 bytes that the lock allows
    hint: do not use this file; try another network, or build with `--from go`
    "#);
    // A checksum file without end.
    server.reply(
        "/v1.2.3/SHA256SUMS",
        Reply { body: vec![b'x'; (1 << 20) + 1], no_length: true, ..Reply::default() },
    );
    let (result, _) = install(&components, cache.path(), &From::Auto);
    insta::assert_snapshot!(scrub(&chain(&result.unwrap_err()), &server), @r#"
    components.too-large: cannot download http://SERVER/v1.2.3/SHA256SUMS: larger than the 1048576 bytes that the lock allows
    hint: do not use this file; try another network, or build with `--from go`
    "#);
}

#[test]
fn redirects_are_followed_but_not_for_ever() {
    let (cache, server, components) = good();
    let elsewhere = Server::start();
    elsewhere.body("/blob", "#!/bin/sh\necho plain\n");
    let to = |url: String| move |reply: &mut Reply| reply.redirect = Some(url.clone());
    server.change_plain(to(format!("{}/blob", elsewhere.base())));
    good_install(&components, cache.path(), &From::Release);
    assert_eq!(elsewhere.requests(), ["/blob"]);

    let cache = tempfile::tempdir().unwrap();
    server.change_plain(to(format!("{}/v1.2.3/plain-{}", server.base(), arch())));
    let (result, _) = install(&components, cache.path(), &From::Release);
    insta::assert_snapshot!(scrub(&chain(&result.unwrap_err()), &server), @r#"
    components.download: cannot download http://SERVER/v1.2.3/plain-ARCH: no usable answer: too many redirects
    hint: check the network or HTTPS_PROXY, build the components with `--from go`, or copy them from another machine with `--from DIR`
    "#);
}

#[test]
fn the_first_checksum_is_recorded_and_enforced() {
    let (cache, server, components) = good();
    good_install(&components, cache.path(), &From::Release);
    // The publisher replaces the file, its checksum with it.
    server.plain(b"other");
    std::fs::remove_dir_all(cache.path().join("store")).unwrap();
    let (result, _) = install(&components, cache.path(), &From::Release);
    let text = scrub(&chain(&result.unwrap_err()), &server);
    let text = text.replace(&cache.path().display().to_string(), "CACHE");
    insta::assert_snapshot!(cut_name(&text), @r#"
    components.checksum: checksum of http://SERVER/v1.2.3/plain-ARCH: expected sha256:95dc627f3ca2d4d8f3dc705ff58819a3bf682d7f35f37e6da5a8494b9111ad21, the file has sha256:d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa
    hint: the publisher replaced the file or somebody changes it on the way; only if you know why, remove CACHE/checksums/plain-ARCH-…
    "#);
}

#[test]
fn a_known_digest_needs_no_checksum_file() {
    let (cache, server, _) = good();
    let digest = seatrial_core::digest::Digest::of("#!/bin/sh\necho plain\n");
    let components = lock_with(&server, |lock| {
        lock.components.truncate(1);
        lock.components[0].release[0].digest = Some(digest);
    });
    good_install(&components, cache.path(), &From::Release);
    assert_eq!(server.requests(), ["/v1.2.3/plain"]);
}

#[test]
fn a_hostile_archive_is_refused() {
    let (cache, server, components) = good();
    let mut hostile = archive(&[("packed-4.5/a", "a")]);
    hostile.extend(b"more");
    server.body("/packed-4.5.tgz.sha256", seatrial_core::digest::Digest::of(&hostile).hex());
    server.body("/packed-4.5.tgz", hostile);
    let (result, _) = install(&components, cache.path(), &From::Auto);
    insta::assert_snapshot!(chain(&result.unwrap_err()), @r#"
    archive.ambiguous: cannot unpack packed-4.5.tgz: content behind the end of the compressed data
    hint: do not use this file; try another network, or build with `--from go`
    "#);
}

#[test]
fn two_processes_download_once() {
    let (cache, server, components) = good();
    let run = || good_install(&components, cache.path(), &From::Release);
    let (first, second) = std::thread::scope(|scope| {
        let (first, second) = (scope.spawn(run), scope.spawn(run));
        (first.join().unwrap(), second.join().unwrap())
    });
    assert_eq!(first, second);
    assert_eq!(server.requests().len(), 4, "two files and their two checksums");
}

#[test]
fn a_copy_of_the_directory_installs_elsewhere() {
    let (cache, server, components) = good();
    server.release();
    let (installed, _) = install(&components, cache.path(), &From::Go);
    let original = installed.unwrap();
    let copy = tempfile::tempdir().unwrap();
    let status =
        std::process::Command::new("cp").arg("-r").arg(&original.root).arg(copy.path()).status();
    assert!(status.unwrap().success());
    let dir = copy.path().join(original.root.file_name().unwrap());

    let other = tempfile::tempdir().unwrap();
    let (result, said) = install(&components, other.path(), &From::Dir(dir.clone()));
    let result = result.unwrap();
    assert_eq!(said, ["plain: done from dir", "packed: done from dir"]);
    assert_eq!(result.digest, original.digest);
    let inode = |path: std::path::PathBuf| path.metadata().unwrap().ino();
    assert_eq!(inode(result.bin.join("a")), inode(result.cni.join("b")), "one file, two names");

    // Damaged on the way.
    let file = dir.join("bin/plain");
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, "evil").unwrap();
    let other = tempfile::tempdir().unwrap();
    let (result, _) = install(&components, other.path(), &From::Dir(dir.clone()));
    let text = chain(&result.unwrap_err()).replace(&dir.display().to_string(), "DIR");
    insta::assert_snapshot!(text, @r#"
    components.from-dir: DIR/bin/plain is damaged: its content is not what components.json says
    hint: copy the directory that `seatrial components status` names on a machine with the same version of Seatrial, with all that is in it
    "#);

    // From another version, and no such directory at all.
    let newer = lock_with(&server, |lock| lock.components[0].version = "1.2.4".into());
    let (result, _) = install(&newer, other.path(), &From::Dir(dir.clone()));
    let text = chain(&result.unwrap_err()).replace(&dir.display().to_string(), "DIR");
    insta::assert_snapshot!(text, @r#"
    components.from-dir: DIR: plain 1.2.4 is wanted, found 1.2.3
    hint: copy the directory that `seatrial components status` names on a machine with the same version of Seatrial, with all that is in it
    "#);
    let (result, _) = install(&components, other.path(), &From::Dir("/nonexistent".into()));
    insta::assert_snapshot!(chain(&result.unwrap_err()), @r#"
    components.from-dir: /nonexistent is no directory of installed components: No such file or directory (os error 2)
    hint: copy the directory that `seatrial components status` names on a machine with the same version of Seatrial, with all that is in it
    "#);
}

/// The components with a changed lock.
fn lock_with(server: &Server, change: impl FnOnce(&mut Lock)) -> Components {
    let mut lock = components(&server.base()).lock().clone();
    change(&mut lock);
    Components::new(lock, modules("package main\n\nfunc main() {}\n"))
}

/// The plain component's working directory, which is named like its place in
/// the store: that one is made and removed for this.
fn work_dir(components: &Components, cache: &Path) -> std::path::PathBuf {
    let lock = Lock { components: components.lock().components[..1].to_vec() };
    install(&Components::new(lock, Modules::new()), cache, &From::Release).0.unwrap();
    let store = cache.join("store");
    let slot = std::fs::read_dir(&store).unwrap().next().unwrap().unwrap().file_name();
    std::fs::remove_dir_all(store).unwrap();
    cache.join("work").join(slot)
}

fn arch() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

fn scrub(text: &str, server: &Server) -> String {
    text.replace(&server.base(), "http://SERVER").replace(arch(), "ARCH")
}

/// Cuts the digest at the end of a record's name.
fn cut_name(text: &str) -> String {
    let at = text.rfind('-').unwrap();
    format!("{}-…", &text[..at])
}
