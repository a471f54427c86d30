//! Base images of a real registry: with and without credentials, and without
//! the registry.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use seatrial_core::digest::Digest;
use seatrial_core::failure::{Failure, Fault, Retry};
use seatrial_oci::{Credentials, Image, ImageError, Pull, Registries, held, pull};
use seatrial_store::Store;
use serde_json::json;
use tempfile::TempDir;

use crate::distribution::{Asks, Distribution, PASSWORD, Pushed};
use crate::tokens::REFRESH;

const PLATFORM: &str = "linux/amd64";

fn with(file: PathBuf) -> Registries {
    let credentials = Credentials { files: vec![file], user: None };
    Registries { credentials, ..Registries::default() }
}

fn store() -> (Store, TempDir) {
    let dir = tempfile::tempdir().expect("directory");
    (Store::open(dir.path()).expect("store"), dir)
}

/// Pulls into a store where nothing is.
fn pulled(registries: &Registries, pushed: &Pushed) -> Result<Image, ImageError> {
    let (store, _dir) = store();
    Ok(pull(&store, registries, wanted(pushed))?.image)
}

fn wanted(pushed: &Pushed) -> Pull<'_> {
    Pull { name: &pushed.name, digest: pushed.index, platform: PLATFORM }
}

/// As it is told: message and hints, with the port left out.
fn told(error: ImageError, registry: &Distribution) -> String {
    let failure = Failure::from(error);
    assert_eq!((failure.fault, failure.retry), (Fault::Environment, Retry::Never));
    let text = [&[failure.message], failure.hints.as_slice()].concat().join("\n");
    assert!(
        !text.contains(PASSWORD) && !text.contains("wrong") && !text.contains("Basic"),
        "{text}"
    );
    text.replace(&registry.address, "[REGISTRY]")
}

#[test]
fn a_password_opens_a_registry() {
    let registry = Distribution::new(Asks::Password);
    let pushed = registry.push("team/app", "v1");
    let file = registry.login(PASSWORD);
    let image = pulled(&with(file.clone()), &pushed).expect("pulled");
    assert_eq!(image.layers, [pushed.layer], "the one for this platform");
    assert_eq!(with(file.clone()).resolve(&pushed.name, "v1").expect("a tag"), pushed.index);

    let file_name = file.display().to_string();
    let refused = pulled(&with(registry.login("wrong")), &pushed).expect_err("refused");
    insta::assert_snapshot!(told(refused, &registry).replace(&file_name, "[FILE]"), @r"
    [REGISTRY] does not let [REGISTRY]/team/app be pulled with the credentials of [FILE]
    run `docker login [REGISTRY]` as the user who runs Seatrial
    many registries say the same of a name that they do not have
    ");
    let refused = pulled(&Registries::default(), &pushed).expect_err("refused");
    insta::assert_snapshot!(told(refused, &registry), @r"
    [REGISTRY] does not let [REGISTRY]/team/app be pulled without credentials, and there are none for it
    run `docker login [REGISTRY]` as the user who runs Seatrial
    many registries say the same of a name that they do not have
    ");
    let damaged =
        registry.docker_config(&json!({ "auths": { &registry.address: { "auth": PASSWORD } } }));
    let refused = pulled(&with(damaged), &pushed).expect_err("damaged");
    insta::assert_snapshot!(told(refused, &registry).replace(&file_name, "[FILE]"), @"no credentials from [FILE]: what it has for [REGISTRY] is damaged");
}

#[test]
fn a_token_opens_a_registry() {
    let registry = Distribution::new(Asks::Token);
    let pushed = registry.push("team/app", "v1");
    let asked = registry.tokens.as_ref().expect("tokens").asked.clone();
    let image = pulled(&with(registry.login(PASSWORD)), &pushed).expect("pulled");
    assert_eq!(image.layers, [pushed.layer]);
    // One token for all of it.
    assert_eq!(std::mem::take(&mut *asked.lock().expect("no panic")).len(), 1);

    let identity = json!({ "auths": { &registry.address: { "identitytoken": REFRESH } } });
    let image = pulled(&with(registry.docker_config(&identity)), &pushed).expect("pulled");
    assert_eq!(image.layers, [pushed.layer]);
    let lines = std::mem::take(&mut *asked.lock().expect("no panic"));
    assert!(lines.iter().all(|line| line.starts_with("POST /token ")), "{lines:?}");

    let token = registry.tokens.as_ref().expect("tokens").token("team/app", &["pull"]);
    let token = json!({ "auths": { &registry.address: { "registrytoken": token } } });
    pulled(&with(registry.docker_config(&token)), &pushed).expect("pulled");
    assert!(asked.lock().expect("no panic").is_empty(), "it is there already");

    for registries in [Registries::default(), with(registry.login("wrong"))] {
        let refused = pulled(&registries, &pushed).expect_err("refused");
        assert!(matches!(refused, ImageError::Denied { .. }), "{refused}");
        told(refused, &registry);
    }
}

#[test]
fn what_was_pulled_needs_no_registry() {
    let registry = Distribution::new(Asks::Nobody);
    let pushed = registry.push("app", "v1");
    let registries = Registries::default();
    let (store, _dir) = store();
    let first = pull(&store, &registries, wanted(&pushed)).expect("pulled").image;
    drop(registry);
    assert_eq!(pull(&store, &registries, wanted(&pushed)).expect("it is here").image, first);
    assert_eq!(held(&store, pushed.index, PLATFORM), Some(first));
    // What is missing is known to be missing, and asked for.
    std::fs::remove_file(store.blob_path(pushed.layer)).expect("removed");
    assert_eq!(held(&store, pushed.index, PLATFORM), None);
    let error = pull(&store, &registries, wanted(&pushed)).expect_err("nobody answers");
    let failure = Failure::from(error);
    assert_eq!((failure.code.as_str(), failure.retry), ("image.pull", Retry::Safe));
}

/// A server that answers every request with the same, and keeps what it was
/// asked.
fn answers(answer: impl Fn(&str) -> String + Send + 'static) -> (String, Arc<Mutex<Vec<String>>>) {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = server.local_addr().expect("bound").to_string();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    std::thread::spawn(move || {
        for mut stream in server.incoming().map_while(Result::ok) {
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
            let head = head.join("\n").to_lowercase();
            let answer = answer(&head);
            seen.lock().expect("no panic").push(head);
            let _ = stream.write_all(format!("HTTP/1.1 {answer}").as_bytes());
        }
    });
    (address, asked)
}

const END: &str = "\r\nConnection: close\r\nContent-Length: ";

#[test]
fn mirrors_come_before_the_registry_and_are_not_trusted() {
    let registry = Distribution::new(Asks::Password);
    // The registry itself is never reached: it is not on this machine.
    let registries = |mirrors: &[String]| Registries {
        mirrors: [("docker.io".to_owned(), mirrors.to_vec())].into(),
        ..with(registry.login(PASSWORD))
    };
    let good = format!("http://{}/hub", registry.address);
    let (liar, _) = answers(|_| format!("200 OK{END}4\r\n\r\nlies"));
    let (empty, _) = answers(|_| format!("404 Not Found{END}0\r\n\r\n"));
    let gone = {
        let server = TcpListener::bind("127.0.0.1:0").expect("a port");
        server.local_addr().expect("bound").to_string()
    };
    let mirrors = [&liar, &empty, &gone].map(|address| format!("http://{address}"));
    let all = [mirrors.as_slice(), &["http://m.example".to_owned(), good]].concat();
    let name = "docker.io/x/app";
    let pushed = registry.push("hub/x/app", "v1");
    let (store, _dir) = store();
    let wanted = Pull { name, digest: pushed.index, platform: PLATFORM };
    let pulled = pull(&store, &registries(&all), wanted).expect("the last mirror has it");
    assert_eq!(pulled.image.layers, [pushed.layer]);
    let told = pulled.passed_over.iter().map(|error| Failure::chain(error)).collect::<Vec<_>>();
    let told = told.join("\n").replace(&liar, "[LIAR]").replace(&gone, "[GONE]");
    let digests = [(pushed.index, "[WANTED]"), (Digest::of("lies"), "[LIES]")];
    let told = digests.iter().fold(told, |t, (digest, name)| t.replace(&digest.to_string(), name));
    insta::assert_snapshot!(told, @r"
    the mirror http://[LIAR] is passed over: the manifest of the base image: content is [LIES], not [WANTED]
    the mirror http://[GONE] is passed over: cannot pull docker.io/x/app: http://[GONE]/v2/x/app/manifests/[WANTED]: io: Connection refused (os error 111)
    the mirror http://m.example is passed over: cannot pull docker.io/x/app: it is no URL with https that names a host
    ");
    assert_eq!(registries(&all[4..]).resolve(name, "v1").expect("a tag"), pushed.index);
}

#[test]
fn a_mirror_that_is_down_is_passed_over() {
    let registry = Distribution::new(Asks::Nobody);
    let pushed = registry.push("app", "v1");
    let mirrors = [(registry.address.clone(), vec!["http://127.0.0.1:1".to_owned()])].into();
    let registries = Registries { mirrors, ..Registries::default() };
    let (store, _dir) = store();
    let pulled = pull(&store, &registries, wanted(&pushed)).expect("the registry has it");
    assert_eq!((pulled.image.layers, pulled.passed_over.len()), (vec![pushed.layer], 1));
}

#[test]
fn what_opens_a_registry_does_not_go_along_a_redirect() {
    let registry = Distribution::new(Asks::Nobody);
    let pushed = registry.push("app", "v1");
    let to = registry.address.clone();
    let path = |head: &str| head.split(' ').nth(1).unwrap_or_default().to_owned();
    let (other, seen_there) = answers(move |head| {
        let path = path(head);
        format!("307 Temporary Redirect\r\nLocation: http://{to}{path}?signature=s{END}0\r\n\r\n")
    });
    // One that wants a password for each request, and has its blobs elsewhere.
    let (front, seen_here) = answers(move |head| {
        if !head.contains("authorization: basic ") {
            return format!(
                "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"{END}0\r\n\r\n"
            );
        }
        let path = path(head);
        format!("307 Temporary Redirect\r\nLocation: http://{other}{path}{END}0\r\n\r\n")
    });
    let name = format!("{front}/app");
    let auth = json!({ "auths": { &front: { "auth": "dTpw" } } });
    let registries = with(registry.docker_config(&auth));
    let (store, _dir) = store();
    let wanted = Pull { name: &name, digest: pushed.index, platform: PLATFORM };
    let pulled = pull(&store, &registries, wanted).expect("pulled");
    assert_eq!(pulled.image.layers, [pushed.layer]);
    let known = |seen: &Mutex<Vec<String>>| {
        let seen = seen.lock().expect("no panic");
        let known = seen.iter().filter(|head| head.contains("\nauthorization: "));
        (seen.len(), known.count())
    };
    // Index, manifest, configuration and layer, and the question who it is.
    assert_eq!(known(&seen_here), (5, 4));
    assert_eq!(known(&seen_there), (4, 0));
}
