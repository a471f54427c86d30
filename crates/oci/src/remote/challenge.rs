//! What a registry asks for before it gives something: `WWW-Authenticate`, RFC
//! 9110, section 11.6.1, and the token specification of the CNCF's distribution
//! (`docs/content/spec/auth/token.md`). Pure.

/// One way to show who one is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// Name and password with each request.
    Basic,
    /// A token from a service.
    Bearer {
        /// The service: a URL.
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

/// The strongest challenge of a list of header values that is understood.
pub(crate) fn choose<'a>(values: impl IntoIterator<Item = &'a str>) -> Option<Challenge> {
    let mut found = None;
    for value in values {
        for (scheme, parameters) in challenges(value) {
            let get = |wanted: &str| {
                let mut fitting =
                    parameters.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
                fitting.next().map(|(_, value)| value.clone())
            };
            if scheme.eq_ignore_ascii_case("bearer")
                && let Some(realm) = get("realm")
            {
                let (service, scope) = (get("service"), get("scope"));
                return Some(Challenge::Bearer { realm, service, scope });
            }
            if scheme.eq_ignore_ascii_case("basic") {
                found = Some(Challenge::Basic);
            }
        }
    }
    found
}

type Parameters = Vec<(String, String)>;

/// Splits a header value into schemes with their parameters. What is none ends
/// the list.
fn challenges(value: &str) -> Vec<(&str, Parameters)> {
    let mut all: Vec<(&str, Parameters)> = Vec::new();
    let mut rest = value;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find(|c: char| !is_token(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            return all;
        }
        let Some(text) = after.trim_start().strip_prefix('=') else {
            all.push((word, Vec::new()));
            rest = after;
            continue;
        };
        let Some((value, after)) = parameter(text.trim_start()) else { return all };
        let Some((_, parameters)) = all.last_mut() else { return all };
        parameters.push((word.to_owned(), value));
        rest = after;
    }
}

/// The value of a parameter, quoted or not, and what follows it.
fn parameter(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut escaped = false;
    for (at, c) in quoted.char_indices() {
        match c {
            _ if escaped => {
                value.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return Some((value, &quoted[at + 1..])),
            _ => value.push(c),
        }
    }
    None
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_registries_ask_for() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| {
            let owned = |text: Option<&str>| text.map(str::to_owned);
            let (service, scope) = (owned(service), owned(scope));
            Some(Challenge::Bearer { realm: realm.into(), service, scope })
        };
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        let expected = bearer(
            "https://auth.docker.io/token",
            Some("registry.docker.io"),
            Some("repository:a/b:pull,push"),
        );
        assert_eq!(choose([hub]), expected);
        assert_eq!(choose([r#"Basic realm="x, Bearer realm=y""#]), Some(Challenge::Basic));
        assert_eq!(
            choose([r#"basic realm="x", bearer realm=https://t"#]),
            bearer("https://t", None, None)
        );
        assert_eq!(
            choose(["Basic realm=x", "Bearer realm=\"a\\\"b\""]),
            bearer("a\"b", None, None)
        );
        for none in ["", "Bearer", "Negotiate", "Bearer realm=\"open", "=", "realm=x", ",,"] {
            assert_eq!(choose([none]), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn any_value_has_an_answer(value in ".*") {
            let _ = choose([value.as_str()]);
        }
    }
}
