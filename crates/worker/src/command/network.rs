//! What a command that may reach the network is told about it.

use std::collections::BTreeMap;

use seatrial_sandbox::root::Mount;

/// Variables of the caller that say how the network is reached.
const VARIABLES: &[&str] = &[
    "GOPROXY",
    "GOSUMDB",
    "GONOSUMDB",
    "GOPRIVATE",
    "CARGO_HTTP_CAINFO",
    "CARGO_HTTP_PROXY",
    "NPM_CONFIG_REGISTRY",
    "npm_config_registry",
    "NODE_EXTRA_CA_CERTS",
    "PIP_CERT",
    "PIP_EXTRA_INDEX_URL",
    "PIP_INDEX_URL",
    "REQUESTS_CA_BUNDLE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// Adds the caller's variables, and how names are resolved here.
pub(super) fn add(env: &mut BTreeMap<String, String>, mounts: &mut Vec<Mount>) {
    for variable in VARIABLES {
        if let Ok(value) = std::env::var(variable) {
            env.insert((*variable).to_owned(), value);
        }
    }
    for file in ["/etc/resolv.conf", "/etc/hosts"] {
        if let Ok(content) = std::fs::read_to_string(file) {
            mounts.push(Mount::File { to: file.into(), content });
        }
    }
}
