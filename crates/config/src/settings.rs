//! Settings of a machine or a user: what is not of a project.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::Known;
use crate::diagnostic::{Code, Diagnostic, quote};
use crate::read::{FromText, List, Map, NonEmpty, section};

/// Settings of a machine or a user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Mirrors of registries, each a URL, in the order in which they are asked.
    pub mirrors: BTreeMap<String, Vec<String>>,
}

section! {
    /// Settings of a machine or a user.
    SettingsFile {
        /// What is known of registries, by name such as `docker.io`.
        registries: Map<Registry, RegistryFile>, optional;
    }
}

section! {
    /// A registry.
    RegistryFile {
        /// Where its images are asked for before it is, in this order.
        mirrors: NonEmpty<List<Mirror>>, required;
    }
}

impl SettingsFile {
    pub(crate) fn settings(self) -> Settings {
        let entries = self.registries.value().map_or_else(Vec::new, |registries| registries.0);
        let mirrors = entries.into_iter().filter_map(|entry| {
            let mirrors = entry.value?.mirrors.value()?.0;
            Some((entry.name.0, mirrors.into_iter().map(|mirror| mirror.value.0).collect()))
        });
        Settings { mirrors: mirrors.collect() }
    }
}

/// The name of a registry: a host, and a port where it has one.
pub(crate) struct Registry(String);

impl FromText for Registry {
    const WHAT: &'static str = "the name of a registry such as `docker.io`";

    fn from_text(text: &str, _: &Known<'_>) -> Result<Self, Diagnostic> {
        match is_host(text) {
            true => Ok(Self(text.to_owned())),
            false => {
                let message = format!("{} is no name of a registry", quote(text));
                let bad = Diagnostic::new(Code::BadValue, message);
                Err(bad.hint("`docker.io` or `registry.example:5000`, as names of images begin"))
            }
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^[a-z0-9.-]+(:[0-9]+)?$" })
    }
}

/// The URL of a mirror.
pub(crate) struct Mirror(String);

impl FromText for Mirror {
    const WHAT: &'static str = "a URL such as `https://mirror.example`";

    fn from_text(text: &str, _: &Known<'_>) -> Result<Self, Diagnostic> {
        let bad = |why: &str| {
            let message = format!("{} cannot be a mirror: {why}", quote(text));
            Diagnostic::new(Code::BadValue, message)
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(|| {
            bad("it is no URL").hint(format!("write {}", quote(&format!("https://{text}"))))
        })?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if rest.contains('@') {
            return Err(Diagnostic::new(Code::BadValue, "a mirror is written without credentials")
                .hint("they are those of `docker login`, for the host of the mirror"));
        }
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-/".contains(&b);
        if !is_host(host) || !path.bytes().all(inner) {
            return Err(bad("it is more than a host and a path"));
        }
        let name = host.split(':').next().unwrap_or_default();
        match scheme {
            "https" => Ok(Self(text.to_owned())),
            "http" if matches!(name, "localhost" | "127.0.0.1") => Ok(Self(text.to_owned())),
            "http" => Err(bad("only this machine is asked without TLS").hint("use `https://`")),
            _ => Err(bad("it is asked by HTTP").hint("use `https://`")),
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^https?://" })
    }
}

fn is_host(text: &str) -> bool {
    let (name, port) = text.split_once(':').unwrap_or((text, "1"));
    let label = |label: &str| {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !label.is_empty() && label.bytes().all(inner)
    };
    text.len() <= 255
        && name.split('.').all(label)
        && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Style, load_settings, render};

    #[test]
    fn mirrors_of_registries() {
        let text = "registries:\n  docker.io:\n    mirrors: [https://m.example/hub, 'http://localhost:5000']\n";
        let settings = load_settings(text.as_bytes(), "settings.yaml").expect("good");
        let mirrors = ["https://m.example/hub".to_owned(), "http://localhost:5000".to_owned()];
        assert_eq!(settings.mirrors, [("docker.io".to_owned(), mirrors.to_vec())].into());
        let none = load_settings(b"# nothing yet\n", "settings.yaml").expect("good");
        assert_eq!(none, Settings::default());
    }

    #[test]
    fn mistakes_have_places() {
        let text = "registry: {}\nregistries:\n  Docker.io: { mirrors: [m.example] }\n  docker.io:\n    mirrors:\n      - http://m.example\n      - https://u:secret@m.example\n      - ftp://m.example\n  ghcr.io: {}\n";
        let mistakes = load_settings(text.as_bytes(), "settings.yaml").expect_err("bad");
        let shown = render(&mistakes, Style::Narrow);
        insta::assert_snapshot!(shown, @r"
        settings.yaml:1:1: error[config.unknown_field]: unknown field `registry`
          hint: did you mean `registries`?
          hint: the fields here are `registries`
        settings.yaml:3:3: error[config.bad_value]: `Docker.io` is no name of a registry
          hint: `docker.io` or `registry.example:5000`, as names of images begin
        settings.yaml:3:26: error[config.bad_value]: `m.example` cannot be a mirror: it is no URL
          hint: write `https://m.example`
        settings.yaml:6:9: error[config.bad_value]: `http://m.example` cannot be a mirror: only this machine is asked without TLS
          hint: use `https://`
        settings.yaml:7:9: error[config.bad_value]: a mirror is written without credentials
          hint: they are those of `docker login`, for the host of the mirror
        settings.yaml:8:9: error[config.bad_value]: `ftp://m.example` cannot be a mirror: it is asked by HTTP
          hint: use `https://`
        settings.yaml:9:3: error[config.missing_field]: field `mirrors` is missing in `registries.ghcr.io`
          hint: `mirrors`: Where its images are asked for before it is, in this order.
        ");
    }
}
