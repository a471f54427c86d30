//! Files of credentials: what one says about a registry. Pure.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::Deserialize;

use super::LoginKind;

/// How Docker calls its own registry.
const HUB: &str = "https://index.docker.io/v1/";

/// What a file says about a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// It has it.
    Login(LoginKind),
    /// The program `docker-credential-NAME` has it under a name of the server.
    Program { name: String, server: String },
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Config {
    auths: BTreeMap<String, Auth>,
    creds_store: String,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

// What is in it is not to be seen anywhere.
impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Auth")
    }
}

/// Where credentials for a repository are, the best place first.
pub(super) fn find(text: &[u8], host: &str, repository: &str) -> Result<Vec<Found>, String> {
    // The message of the reader would quote what it did not like.
    let config: Config = serde_json::from_slice(text).map_err(|error| {
        format!("line {}, column {} is not as it must be", error.line(), error.column())
    })?;
    let mut found = Vec::new();
    let helper = best(&config.cred_helpers, host, repository);
    let helper = helper.map(String::as_str).or(Some(&*config.creds_store));
    if let Some(name) = helper.filter(|name| !name.is_empty()) {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if !name.chars().all(plain) {
            return Err(format!("`{}` is no name of a program", name.escape_debug()));
        }
        let server = if host == "docker.io" { HUB } else { host };
        found.push(Found::Program { name: name.to_owned(), server: server.to_owned() });
    }
    if let Some(auth) = best(&config.auths, host, repository) {
        found.extend(login(auth).ok_or_else(|| format!("what it has for {host} is damaged"))?);
    }
    Ok(found)
}

/// What the longest key that a repository is below has.
fn best<'a, T>(all: &'a BTreeMap<String, T>, host: &str, repository: &str) -> Option<&'a T> {
    let wanted = format!("{host}/{repository}/");
    let below = |key: &String| {
        let key = scope(key);
        wanted.starts_with(&format!("{key}/")).then_some(key.len())
    };
    let fitting = all.iter().filter_map(|(key, value)| Some((below(key)?, value)));
    fitting.max_by_key(|(length, _)| *length).map(|(_, value)| value)
}

/// A key without what says nothing: `https://index.docker.io/v1/` is
/// `docker.io`.
fn scope(key: &str) -> String {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let (host, path) = key.split_once('/').unwrap_or((key, ""));
    let host = match host {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    };
    match path.trim_matches('/') {
        "" | "v1" | "v2" => host.to_owned(),
        path => format!("{host}/{path}"),
    }
}

/// What an entry has: `None` when it cannot be read, nothing when it is only a
/// mark that a program knows the rest.
fn login(auth: &Auth) -> Option<Option<Found>> {
    let some = |text: &String| (!text.is_empty()).then(|| text.clone());
    if let Some(token) = some(&auth.identitytoken) {
        return Some(Some(Found::Login(LoginKind::Identity(token))));
    }
    if let Some(token) = some(&auth.registrytoken) {
        return Some(Some(Found::Login(LoginKind::Token(token))));
    }
    let (user, password) = if !auth.auth.is_empty() {
        let text = auth.auth.trim_end_matches('=');
        let bytes = STANDARD_NO_PAD.decode(text).or_else(|_| STANDARD.decode(&auth.auth)).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (user, password) = text.split_once(':')?;
        (user.to_owned(), password.trim_end_matches('\0').to_owned())
    } else if !auth.username.is_empty() {
        (auth.username.clone(), auth.password.clone())
    } else {
        return Some(None);
    };
    Some(Some(Found::Login(LoginKind::Password { user, password })))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str, host: &str, repository: &str) -> String {
        let one = |found: Found| match found {
            Found::Login(LoginKind::Password { user, password }) => format!("{user}/{password}"),
            Found::Login(LoginKind::Identity(token)) => format!("identity {token}"),
            Found::Login(LoginKind::Token(token)) => format!("token {token}"),
            Found::Program { name, server } => format!("{name} for {server}"),
        };
        match find(text.as_bytes(), host, repository) {
            Ok(found) => found.into_iter().map(one).collect::<Vec<_>>().join(", "),
            Err(reason) => format!("error: {reason}"),
        }
    }

    #[test]
    fn what_files_say() {
        // u:p, v:q:r, w:s
        let file = r#"{
            "HttpHeaders": { "X": "y" },
            "auths": {
                "https://index.docker.io/v1/": { "auth": "dTpw" },
                "r.example": { "auth": "djpxOnI=" },
                "r.example/team/app": { "auth": "dzpz" },
                "old.example": { "username": "a", "password": "b" },
                "id.example:5000": { "auth": "dTpw", "identitytoken": "i" },
                "token.example": { "registrytoken": "t" },
                "bad.example": { "auth": "!!!" },
                "mark.example": {}
            }
        }"#;
        for (host, repository, expected) in [
            ("docker.io", "library/alpine", "u/p"),
            ("r.example", "other", "v/q:r"),
            ("r.example", "team/app", "w/s"),
            ("r.example", "team/app/part", "w/s"),
            ("r.example", "team/apple", "v/q:r"),
            ("r.example:443", "x", ""),
            ("er.example", "x", ""),
            ("old.example", "x", "a/b"),
            ("id.example:5000", "x", "identity i"),
            ("token.example", "x", "token t"),
            ("mark.example", "x", ""),
            ("bad.example", "x", "error: what it has for bad.example is damaged"),
        ] {
            assert_eq!(shown(file, host, repository), expected, "{host}/{repository}");
        }
    }

    #[test]
    fn programs_come_before_what_is_in_the_file() {
        let file = r#"{ "auths": { "r.example": { "auth": "dTpw" } }, "credsStore": "all",
            "credHelpers": { "r.example": "own", "evil.example": "../x" } }"#;
        assert_eq!(shown(file, "r.example", "x"), "own for r.example, u/p");
        assert_eq!(shown(file, "docker.io", "x"), format!("all for {HUB}"));
        assert_eq!(shown(file, "evil.example", "x"), "error: `../x` is no name of a program");
    }

    #[test]
    fn what_is_wrong_is_not_quoted() {
        let text = "{ \"auths\": { \"r.example\": \"dTpwYXNzd29yZA==\" } }";
        assert_eq!(shown(text, "r.example", "x"), "error: line 1, column 44 is not as it must be");
        assert_eq!(shown("", "r.example", "x"), "error: line 1, column 0 is not as it must be");
    }

    proptest! {
        #[test]
        fn any_bytes_have_an_answer(bytes: Vec<u8>, host in ".*") {
            let _ = find(&bytes, &host, "x");
        }
    }
}
