//! One repository at one registry or mirror: OCI distribution specification
//! v1.1, with what registries ask for before they give something.
//!
//! What shows who one is goes to the host that asked for it and to the token
//! service that it names, and nowhere else: not along a redirect to another
//! host, and never without TLS but to this machine.

use std::cell::RefCell;
use std::io;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use seatrial_core::digest::Digest;
use ureq::http::{Response, StatusCode, Uri, header};
use ureq::{Agent, Body};

use crate::error::ImageError;
use crate::layout::Source;
use crate::login::{Login, LoginKind};
use crate::media::{self, Descriptor, Document, LARGEST_LAYER, LARGEST_MANIFEST};
use crate::registries::Registries;

mod challenge;

use challenge::Challenge;

/// How long a registry may take to accept a connection, to answer, and to give
/// the next piece of a body.
const PATIENCE: Duration = Duration::from_secs(60);
/// Most redirects that are followed for one answer.
const REDIRECTS: usize = 5;
/// Most bytes of what a token service answers.
const LARGEST_TOKEN: u64 = 1 << 20;

/// Where a repository is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The host, and a port where it is not the usual one: what credentials
    /// are kept under.
    pub(crate) host: String,
    /// `https://host/v2/repository`.
    pub(crate) base: String,
    /// The repository, as scopes of tokens name it.
    pub(crate) repository: String,
}

/// A repository at a place.
pub(crate) struct Remote<'a> {
    agent: Agent,
    place: Place,
    /// As the pipeline has it, for errors.
    name: &'a str,
    registries: &'a Registries,
    /// The header that the place wanted last.
    authorization: RefCell<Option<String>>,
}

impl Source for Remote<'_> {
    fn open(
        &self,
        descriptor: &Descriptor,
        manifest: bool,
    ) -> Result<Box<dyn io::Read>, ImageError> {
        let kind = if manifest { "manifests" } else { "blobs" };
        self.read(kind, &descriptor.digest)
    }
}

impl<'a> Remote<'a> {
    pub(crate) fn new(place: Place, name: &'a str, registries: &'a Registries) -> Self {
        let config = Agent::config_builder()
            .timeout_resolve(Some(PATIENCE))
            .timeout_connect(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .timeout_per_read(Some(PATIENCE))
            .http_status_as_error(false)
            // Digests are of what is stored, not of what a server makes of it.
            .accept_encoding("identity")
            .max_redirects(0)
            .user_agent(concat!("seatrial/", env!("CARGO_PKG_VERSION")));
        // What is asked without TLS is on this machine.
        let config = match place.base.starts_with("http:") {
            true => config.proxy(None),
            false => config,
        };
        let agent = config.build().new_agent();
        Self { agent, place, name, registries, authorization: RefCell::new(None) }
    }

    /// Opens a manifest or blob by its digest.
    pub(crate) fn read(&self, kind: &str, digest: &str) -> Result<Box<dyn io::Read>, ImageError> {
        let response = self.get(kind, digest)?;
        Ok(Box::new(response.into_body().into_with_config().limit(LARGEST_LAYER).reader()))
    }

    /// The digest that a tag stands for now, by the bytes that are behind it.
    pub(crate) fn resolve(&self, tag: &str) -> Result<Digest, ImageError> {
        let mut response = self.get("manifests", tag)?;
        let body = response.body_mut().with_config().limit(LARGEST_MANIFEST).read_to_vec();
        let body = body.map_err(|error| self.error(format!("its manifest: {error}")))?;
        // A page of a proxy that wants a login is no manifest, though it is OK.
        Document::decode(&body)?;
        let digest = Digest::of(&body);
        let said = response.headers().get("docker-content-digest");
        match said.and_then(|said| said.to_str().ok()) {
            // Another algorithm cannot be compared; the bytes count.
            Some(said) if said.starts_with("sha256:") && said != digest.to_string() => {
                let expected = said.escape_debug().to_string();
                let what = "the manifest";
                Err(ImageError::Mismatch { what, expected, found: digest.to_string() })
            }
            _ => Ok(digest),
        }
    }

    fn get(&self, kind: &str, reference: &str) -> Result<Response<Body>, ImageError> {
        let url = format!("{}/{kind}/{reference}", self.place.base);
        let mut response = self.ask(&url)?;
        let mut login = None;
        if response.status() == StatusCode::UNAUTHORIZED {
            let asked = response.headers().get_all(header::WWW_AUTHENTICATE).into_iter();
            let asked: Vec<_> = asked.filter_map(|value| value.to_str().ok()).collect();
            let challenge = challenge::choose(asked.iter().copied());
            let credentials = &self.registries.credentials;
            login = credentials.login(&self.place.host, &self.place.repository)?;
            *self.authorization.borrow_mut() = Some(self.authorize(challenge, login.as_ref())?);
            response = self.ask(&url)?;
        }
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(self.denied(login.as_ref())),
            StatusCode::NOT_FOUND => Err(ImageError::Unknown {
                name: self.name.to_owned(),
                reference: reference.to_owned(),
                host: self.place.host.clone(),
            }),
            StatusCode::TOO_MANY_REQUESTS => {
                Err(self.error(format!("{} wants fewer requests", self.place.host)))
            }
            status => Err(self.error(format!("{} answers {status}", shown(&url)))),
        }
    }

    /// Asks once, following redirects.
    fn ask(&self, url: &str) -> Result<Response<Body>, ImageError> {
        let accept = format!(
            "{}, {}, application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, */*",
            media::MANIFEST,
            media::INDEX
        );
        let mut authorization = self.authorization.borrow().clone();
        let mut at = url.to_owned();
        for _ in 0..=REDIRECTS {
            let mut request = self.agent.get(&at).header(header::ACCEPT, &accept);
            if let Some(authorization) = &authorization {
                request = request.header(header::AUTHORIZATION, authorization);
            }
            let response = request.call().map_err(|error| self.http_error(&at, &error))?;
            let location = response.headers().get(header::LOCATION);
            let (true, Some(location)) = (response.status().is_redirection(), location) else {
                return Ok(response);
            };
            let location = location.to_str().unwrap_or_default();
            let to = redirected(&at, location).ok_or_else(|| {
                let to = shown(location).escape_debug().to_string();
                self.error(format!("{} leads to `{to}`, where TLS ends", shown(&at)))
            })?;
            if origin(&at) != origin(&to) {
                authorization = None;
            }
            at = to;
        }
        Err(self.error(format!("{} leads from one place to the next", shown(url))))
    }

    /// The header that answers a challenge.
    fn authorize(
        &self,
        challenge: Option<Challenge>,
        login: Option<&Login>,
    ) -> Result<String, ImageError> {
        match (challenge, login.map(|login| &login.kind)) {
            (Some(Challenge::Bearer { .. }), Some(LoginKind::Token(token))) => {
                Ok(format!("Bearer {token}"))
            }
            (Some(Challenge::Bearer { realm, service, scope }), _) => {
                let scope =
                    scope.unwrap_or_else(|| format!("repository:{}:pull", self.place.repository));
                let token = self.token(&realm, service.as_deref(), &scope, login)?;
                Ok(format!("Bearer {token}"))
            }
            (Some(Challenge::Basic), Some(LoginKind::Password { user, password })) => {
                Ok(basic(user, password))
            }
            (Some(Challenge::Basic), _) => Err(self.denied(login)),
            (None, _) => {
                let text = "wants credentials in a way that is neither Basic nor Bearer";
                Err(self.error(format!("{} {text}", self.place.host)))
            }
        }
    }

    /// Gets a token from the service that a registry names.
    fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: &str,
        login: Option<&Login>,
    ) -> Result<String, ImageError> {
        let place = shown(realm).escape_debug().to_string();
        if !is_private(realm, &self.place.base) {
            return Err(self.error(format!("its tokens are at `{place}`, without TLS")));
        }
        let answer = match login.map(|login| &login.kind) {
            Some(LoginKind::Identity(secret)) => {
                let mut form = vec![
                    ("grant_type", "refresh_token"),
                    ("client_id", "seatrial"),
                    ("scope", scope),
                    ("refresh_token", secret),
                ];
                form.extend(service.map(|service| ("service", service)));
                self.agent.post(realm).send_form(form)
            }
            kind => {
                let mut request = self.agent.get(realm).query("scope", scope);
                if let Some(service) = service {
                    request = request.query("service", service);
                }
                if let Some(LoginKind::Password { user, password }) = kind {
                    request = request
                        .query("account", user)
                        .header(header::AUTHORIZATION, basic(user, password));
                }
                request.call()
            }
        };
        let mut response = answer.map_err(|error| self.http_error(realm, &error))?;
        match response.status() {
            StatusCode::OK => {}
            // Services say it with 400 too: RFC 6749, section 5.2.
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(self.denied(login));
            }
            status => return Err(self.error(format!("{place} answers {status}"))),
        }
        let body = response.body_mut().with_config().limit(LARGEST_TOKEN).read_to_vec();
        let body = body.map_err(|error| self.http_error(realm, &error))?;
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let token = ["token", "access_token"].into_iter().find_map(|name| body.get(name)?.as_str());
        token.map(str::to_owned).ok_or_else(|| self.error(format!("{place} gives no token")))
    }

    fn denied(&self, login: Option<&Login>) -> ImageError {
        ImageError::Denied {
            name: self.name.to_owned(),
            host: self.place.host.clone(),
            credentials: login.map(|login| login.from.clone()),
        }
    }

    fn http_error(&self, url: &str, error: &ureq::Error) -> ImageError {
        match error {
            // It would repeat the URL, with what signs it.
            ureq::Error::BadUri(_) => {
                self.error(format!("`{}` is no URL", shown(url).escape_debug()))
            }
            error => self.error(format!("{}: {error}", shown(url))),
        }
    }

    fn error(&self, reason: String) -> ImageError {
        ImageError::Pull { name: self.name.to_owned(), reason }
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// A URL without what may be secret in it: what signs a request is in a query.
fn shown(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}

/// Scheme, host and port.
fn origin(url: &str) -> Option<(String, String)> {
    let url: Uri = url.parse().ok()?;
    Some((url.scheme_str()?.to_ascii_lowercase(), url.authority()?.as_str().to_ascii_lowercase()))
}

/// Whether nobody on the way from `from` can read or change what is sent to
/// `url`: it is asked with TLS, or both are on this machine.
fn is_private(url: &str, from: &str) -> bool {
    let local = |url: &str| {
        origin(url).is_some_and(|(scheme, host)| scheme == "http" && is_this_machine(&host))
    };
    match origin(url) {
        Some((_, host)) if host.contains('@') => false,
        Some((scheme, _)) => scheme == "https" || (local(url) && local(from)),
        None => false,
    }
}

/// Where a redirect leads; `None` where it must not be followed.
fn redirected(from: &str, location: &str) -> Option<String> {
    let (scheme, authority) = origin(from)?;
    let to = match location {
        absolute if absolute.contains("://") => absolute.to_owned(),
        relative if relative.starts_with("//") => format!("{scheme}:{relative}"),
        path if path.starts_with('/') => format!("{scheme}://{authority}{path}"),
        _ => return None,
    };
    is_private(&to, from).then_some(to)
}

/// Whether a host, with or without a port, is this machine by its name alone.
pub(crate) fn is_this_machine(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_keep_to_tls() {
        let to = |from: &str, location: &str| redirected(from, location);
        let here = "https://r.example/v2/a/blobs/x";
        assert_eq!(
            to(here, "https://cdn.example/x?s=1").as_deref(),
            Some("https://cdn.example/x?s=1")
        );
        assert_eq!(to(here, "/y").as_deref(), Some("https://r.example/y"));
        assert_eq!(to(here, "//cdn.example/y").as_deref(), Some("https://cdn.example/y"));
        for bad in [
            "http://cdn.example/x",
            "http://localhost:1/x",
            "file:///etc/passwd",
            "y",
            "",
            "https://u:p@cdn.example/",
        ] {
            assert_eq!(to(here, bad), None, "{bad}");
        }
        let local = "http://127.0.0.1:5000/v2/a/blobs/x";
        assert_eq!(to(local, "http://localhost:1/x").as_deref(), Some("http://localhost:1/x"));
        assert_eq!(to(local, "http://cdn.example/x"), None);
    }

    #[test]
    fn this_machine_is_known_by_its_names() {
        for (host, is) in [
            ("localhost", true),
            ("localhost:5000", true),
            ("127.0.0.1:80", true),
            ("[::1]:80", true),
            ("localhost.example", false),
            ("127.0.0.1.example:80", false),
            ("r.example:5000", false),
        ] {
            assert_eq!(is_this_machine(host), is, "{host}");
        }
    }
}
