//! The way to a cluster's API, and what kinds of object it serves.
//!
//! The kinds are read in two requests (aggregated discovery) and kept until
//! somebody asks for one that is not among them.

use std::sync::{Arc, Mutex, PoisonError};

use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::discovery::v2::APIGroupDiscoveryList;
use kube::core::{ApiResource, DynamicObject};
use seatrial_core::failure::Failure;

/// Why a cluster's API cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The text is not a kubeconfig, or one with parts that are not there.
    #[error("this is not a usable kubeconfig")]
    Kubeconfig(#[source] kube::config::KubeconfigError),
    /// Its certificates or addresses cannot be used.
    #[error("no client can be made from this kubeconfig")]
    Client(#[source] kube::Error),
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        Self::environment("deploy.kubeconfig", Self::chain(&error))
    }
}

/// One cluster, by its API.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    kinds: Arc<Mutex<Arc<Kinds>>>,
}

/// Makes a client from the text of a kubeconfig. Nothing is sent yet.
///
/// # Errors
/// When the text is no kubeconfig or its certificates cannot be used.
pub async fn connect(kubeconfig: &str) -> Result<Cluster, ConnectError> {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig).map_err(ConnectError::Kubeconfig)?;
    let mut config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
            .await
            .map_err(ConnectError::Kubeconfig)?;
    // The cluster is on this machine. A proxy of the environment does not know it.
    config.proxy_url = None;
    // What may be tried again is decided here, and its cause is kept.
    config.default_retry = false;
    Client::try_from(config).map(Cluster::new).map_err(ConnectError::Client)
}

impl Cluster {
    /// Uses a client that exists.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, kinds: Arc::default() }
    }

    /// The client, for requests of the caller's own.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The kinds that were served when last asked, none before.
    pub(crate) fn kinds(&self) -> Arc<Kinds> {
        Arc::clone(&self.kinds.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks the cluster again for its kinds.
    pub(crate) async fn refresh_kinds(&self) -> Result<Arc<Kinds>, kube::Error> {
        let (core, groups) = futures::try_join!(
            self.client.list_core_api_versions_aggregated(),
            self.client.list_api_groups_aggregated()
        )?;
        let kinds = Arc::new(Kinds::new([core, groups]));
        *self.kinds.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&kinds);
        Ok(kinds)
    }

    /// The requests for objects of `kind`; `namespace` is left out for kinds without.
    pub(crate) fn api(&self, kind: &Kind, namespace: Option<&str>) -> kube::Api<DynamicObject> {
        match namespace.filter(|_| kind.namespaced) {
            Some(namespace) => {
                kube::Api::namespaced_with(self.client.clone(), namespace, &kind.resource)
            }
            None => kube::Api::all_with(self.client.clone(), &kind.resource),
        }
    }

    /// The namespace of an object that names none.
    pub(crate) fn default_namespace(&self) -> &str {
        self.client.default_namespace()
    }
}

/// A kind of object that a cluster serves.
#[derive(Debug, Clone)]
pub(crate) struct Kind {
    pub(crate) resource: ApiResource,
    pub(crate) namespaced: bool,
    /// Whether its objects can be listed.
    listable: bool,
    /// Other words for it: its short and singular names.
    words: Vec<String>,
}

impl Kind {
    /// A built-in kind, which need not be looked up.
    pub(crate) fn namespaced(group: &str, version: &str, kind: &str, plural: &str) -> Self {
        let gvk = kube::core::GroupVersionKind::gvk(group, version, kind);
        Self {
            resource: ApiResource::from_gvk_with_plural(&gvk, plural),
            namespaced: true,
            listable: true,
            words: Vec::new(),
        }
    }
}

/// All kinds that a cluster serves, preferred versions first.
#[derive(Debug, Default)]
pub(crate) struct Kinds(Vec<Kind>);

impl Kinds {
    pub(crate) fn new(lists: impl IntoIterator<Item = APIGroupDiscoveryList>) -> Self {
        let mut kinds = Vec::new();
        for group in lists.into_iter().flat_map(|list| list.items) {
            let name = group.metadata.and_then(|metadata| metadata.name).unwrap_or_default();
            for version in group.versions {
                let version_name = version.version.unwrap_or_default();
                for resource in version.resources {
                    let kind = resource.response_kind.and_then(|kind| kind.kind);
                    let (Some(plural), Some(kind)) = (resource.resource, kind) else {
                        continue;
                    };
                    let api_version = if name.is_empty() {
                        version_name.clone()
                    } else {
                        format!("{name}/{version_name}")
                    };
                    let mut words = resource.short_names;
                    words.extend(resource.singular_resource);
                    kinds.push(Kind {
                        resource: ApiResource {
                            group: name.clone(),
                            version: version_name.clone(),
                            api_version,
                            kind,
                            plural,
                        },
                        namespaced: resource.scope.as_deref() == Some("Namespaced"),
                        listable: resource.verbs.iter().any(|verb| verb == "list"),
                        words,
                    });
                }
            }
        }
        Self(kinds)
    }

    /// The kinds whose objects can be listed, each in its preferred version.
    pub(crate) fn listable(&self) -> impl Iterator<Item = &Kind> {
        let preferred = |(index, kind): &(usize, &Kind)| {
            let same = |other: &Kind| {
                other.resource.group == kind.resource.group
                    && other.resource.kind == kind.resource.kind
            };
            !self.0[..*index].iter().any(same)
        };
        let listable = self.0.iter().enumerate().filter(|(_, kind)| kind.listable);
        listable.filter(preferred).map(|(_, kind)| kind)
    }

    /// The kind with exactly this version and name.
    pub(crate) fn exact(&self, api_version: &str, kind: &str) -> Option<&Kind> {
        self.0.iter().find(|k| k.resource.api_version == api_version && k.resource.kind == kind)
    }

    /// Whether the cluster was never asked.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A kind of this name in any group or version.
    pub(crate) fn of_kind(&self, kind: &str) -> Option<&Kind> {
        self.0.iter().find(|k| k.resource.kind == kind)
    }

    /// The kind that a person means with `deployment`, `deploy`, `Deployments`
    /// or `deployments.apps`: the first that fits, as with kubectl.
    pub(crate) fn meant(&self, word: &str) -> Option<&Kind> {
        let word = word.to_ascii_lowercase();
        let (name, group) = match word.split_once('.') {
            Some((name, group)) => (name, Some(group)),
            None => (word.as_str(), None),
        };
        self.0.iter().find(|kind| {
            let resource = &kind.resource;
            group.is_none_or(|group| group == resource.group)
                && (resource.plural == name
                    || resource.kind.eq_ignore_ascii_case(name)
                    || kind.words.iter().any(|word| word == name))
        })
    }

    /// The served kind whose name is nearest to `kind`, for a hint.
    pub(crate) fn nearest(&self, kind: &str) -> Option<&Kind> {
        self.0
            .iter()
            .map(|k| (strsim::damerau_levenshtein(&k.resource.kind, kind), k))
            .filter(|(distance, _)| *distance <= 2)
            .min_by_key(|(distance, _)| *distance)
            .map(|(_, kind)| kind)
    }
}
