//! Where the tools of a language keep what, so that dependencies are fetched
//! once and found read-only, and caches are those that a build names.

use std::collections::BTreeMap;
use std::path::Path;

use seatrial_core::action::CommandAction;
use seatrial_core::digest::Digest;
use seatrial_core::failure::Failure;
use walkdir::WalkDir;

/// Variables for the tools that a command has.
pub(super) fn environment(action: &CommandAction<Digest>) -> BTreeMap<String, String> {
    let mut env = Vec::new();
    let has = |tools: &[&str]| tools.iter().any(|tool| action.tools.contains(*tool));
    if has(&["go"]) {
        env.extend(go(action));
    }
    if has(&["cargo", "rustc"]) {
        env.extend(cargo(action));
    }
    if has(&["node", "npm", "npx", "pnpm", "yarn"]) {
        env.extend(node(action));
    }
    if has(&["python", "python3", "pip", "pip3", "pytest"]) {
        env.extend(python(action));
    }
    env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

type Variables = Vec<(&'static str, String)>;

fn go(action: &CommandAction<Digest>) -> Variables {
    let mut env = vec![
        ("GOMODCACHE", fetched(action, "go/mod")),
        ("GOCACHE", cache(action, "go-build")),
        ("GOPATH", "/tmp/go".to_owned()),
        ("GOTOOLCHAIN", "local".to_owned()),
        ("GOENV", "off".to_owned()),
        // Telemetry is switched off by a file only; this is how the go command
        // tells its own children not to begin any, with a process that stays.
        ("GO_TELEMETRY_CHILD", "2".to_owned()),
    ];
    if !action.network {
        // Nothing can be asked, and nothing new can be let in: what was
        // fetched was verified against go.sum then.
        env.extend(["GOPROXY", "GOSUMDB"].map(|name| (name, "off".to_owned())));
    }
    env
}

fn cargo(action: &CommandAction<Digest>) -> Variables {
    let mut env = vec![
        ("CARGO_HOME", fetched(action, "cargo")),
        ("CARGO_TARGET_DIR", cache(action, "cargo")),
    ];
    if !action.network {
        env.push(("CARGO_NET_OFFLINE", "true".to_owned()));
    }
    env
}

fn node(action: &CommandAction<Digest>) -> Variables {
    let mut env = vec![("npm_config_cache", cache(action, "npm"))];
    // Notices for a person, for which npm asks the network.
    env.extend(
        ["npm_config_audit", "npm_config_fund", "npm_config_update_notifier"]
            .map(|name| (name, "false".to_owned())),
    );
    if !action.network {
        env.push(("npm_config_offline", "true".to_owned()));
    }
    env
}

fn python(action: &CommandAction<Digest>) -> Variables {
    let mut env = vec![
        ("PIP_CACHE_DIR", cache(action, "pip")),
        ("PIP_DISABLE_PIP_VERSION_CHECK", "1".to_owned()),
        // Compiled files hold the time of their source.
        ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
    ];
    let packages = fetched(action, "python");
    if action.network {
        env.push(("PIP_TARGET", packages));
    } else {
        env.extend([("PIP_NO_INDEX", "1".to_owned()), ("PYTHONPATH", packages)]);
    }
    env
}

/// Where dependencies are: in what was fetched, else in what is left for
/// others by a command that has the network, else nowhere.
fn fetched(action: &CommandAction<Digest>, path: &str) -> String {
    let below = match (action.network, action.fetched) {
        (_, Some(_)) => "/fetched",
        (true, None) => "/out",
        (false, None) => "/tmp",
    };
    format!("{below}/{path}")
}

/// The directory of a cache, or one that is gone when the command has ended.
fn cache(action: &CommandAction<Digest>, name: &str) -> String {
    match action.caches.contains(name) {
        true => format!("/cache/{name}"),
        false => format!("/tmp/{name}"),
    }
}

/// Whether a command tells by the times of files what changed since its last
/// run. Files of the store have the time at which their content was first
/// seen: going back to an old content would look like no change.
pub(super) fn looks_at_times(action: &CommandAction<Digest>) -> bool {
    action.tools.contains("cargo") && !action.caches.is_empty()
}

/// Copies a tree of the store; every file is as new as the copy.
pub(super) fn copy_with_new_times(tree: &Path, to: &Path) -> Result<(), Failure> {
    for entry in WalkDir::new(tree) {
        let copied = entry.map_err(std::io::Error::from).and_then(|entry| {
            let path = to.join(entry.path().strip_prefix(tree).unwrap_or(Path::new("")));
            if entry.file_type().is_dir() {
                std::fs::create_dir(path)
            } else if entry.file_type().is_symlink() {
                std::os::unix::fs::symlink(std::fs::read_link(entry.path())?, path)
            } else {
                std::fs::copy(entry.path(), path).map(drop)
            }
        });
        copied.map_err(|error| {
            let message = format!("cannot copy {}: {error}", tree.display());
            Failure::environment("store.io", message)
        })?;
    }
    Ok(())
}
