//! Whether the images that run are the ones that were built.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::api::{Api, ListParams};
use seatrial_core::digest::Digest;
use seatrial_core::failure::Failure;

use crate::apply::classify;
use crate::cluster::Cluster;

/// One container of one pod and the image it runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContainerImage {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The container; also those that run at the start, and those added to debug.
    pub container: String,
    /// The image as the pod names it.
    pub image: String,
    /// What the container runtime says it runs, `name@sha256:...`; `None` while
    /// it does not.
    pub image_id: Option<String>,
}

/// A container that does not run what was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The container.
    pub container: ContainerImage,
    /// The digest that was built for its image name.
    pub expected: Digest,
    /// What it runs instead.
    pub found: Found,
}

/// What a container runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// An image with another digest, or with none that can be read.
    Other(String),
    /// The runtime does not say yet: the container was not started.
    Unknown,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ContainerImage { namespace, pod, container, image, .. } = &self.container;
        write!(f, "container {container} of pod {namespace}/{pod} names {image}, ")?;
        match &self.found {
            Found::Other(id) => write!(f, "runs {id} and not {}", self.expected),
            Found::Unknown => write!(f, "and was not started: {} is not proven", self.expected),
        }
    }
}

impl Mismatch {
    /// The failure for containers that do not run what was built: whatever the
    /// tests say, they did not test this commit.
    #[must_use]
    pub fn failure(mismatches: &[Self]) -> Failure {
        let lines: Vec<_> = mismatches.iter().map(ToString::to_string).collect();
        Failure::environment("deploy.wrong_image", lines.join("\n")).hint(
            "look at `imagePullPolicy` and at what else writes this pod's image; a name under \
             `replaces` must not be imported into the nodes another way",
        )
    }
}

/// The images of all containers of all pods, sorted.
///
/// # Errors
/// When the API server does not list the pods.
pub async fn image_ids(cluster: &Cluster) -> Result<Vec<ContainerImage>, Failure> {
    let api: Api<Pod> = Api::all(cluster.client().clone());
    let pods = api
        .list(&ListParams::default())
        .await
        .map_err(|error| Failure::environment("deploy.api_unavailable", classify(&error).1))?;
    let mut images: Vec<_> = pods.items.iter().flat_map(of_pod).collect();
    images.sort();
    Ok(images)
}

/// The images of the containers of one pod. A pod that is over is left out: its
/// image does nothing any more.
fn of_pod(pod: &Pod) -> Vec<ContainerImage> {
    let (Some(spec), Some(status)) = (&pod.spec, &pod.status) else {
        return Vec::new();
    };
    if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
        return Vec::new();
    }
    let named = spec
        .init_containers
        .iter()
        .flatten()
        .chain(&spec.containers)
        .map(|container| (container.name.clone(), container.image.clone()))
        .chain(
            spec.ephemeral_containers
                .iter()
                .flatten()
                .map(|container| (container.name.clone(), container.image.clone())),
        );
    let statuses: BTreeMap<&str, &ContainerStatus> = status
        .init_container_statuses
        .iter()
        .chain(&status.container_statuses)
        .chain(&status.ephemeral_container_statuses)
        .flatten()
        .map(|status| (status.name.as_str(), status))
        .collect();
    named
        .map(|(container, image)| ContainerImage {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            pod: pod.metadata.name.clone().unwrap_or_default(),
            image: image.unwrap_or_default(),
            image_id: statuses
                .get(container.as_str())
                .map(|status| status.image_id.clone())
                .filter(|id| !id.is_empty()),
            container,
        })
        .collect()
}

/// Compares every container whose image has one of the names in `replaced`
/// (any registry spelling, tag or digest) with the digest built for that name.
#[must_use]
pub fn check_images(
    containers: &[ContainerImage],
    replaced: &BTreeMap<String, Digest>,
) -> Vec<Mismatch> {
    let replaced: BTreeMap<_, _> =
        replaced.iter().map(|(name, digest)| (image_name(name), digest)).collect();
    let mut mismatches = Vec::new();
    for container in containers {
        let Some(expected) = replaced.get(&image_name(&container.image)) else {
            continue;
        };
        let found = match &container.image_id {
            None => Found::Unknown,
            Some(id) if digest_of(id).is_some_and(|digest| digest == **expected) => continue,
            Some(id) => Found::Other(id.clone()),
        };
        mismatches.push(Mismatch { container: container.clone(), expected: **expected, found });
    }
    mismatches
}

/// The full name of an image, `registry/repository` without tag and digest, as
/// Docker and containerd complete it (the `distribution/reference` library):
/// `nginx:1` is `docker.io/library/nginx`.
#[must_use]
pub fn image_name(image: &str) -> String {
    let image = image.split_once('@').map_or(image, |(name, _)| name);
    // A colon behind the last slash begins a tag, one before it a port.
    let slash = image.rfind('/').map_or(0, |at| at + 1);
    let image = match image[slash..].find(':') {
        Some(colon) => &image[..slash + colon],
        None => image,
    };
    let (registry, repository) = match image.split_once('/') {
        Some((first, rest)) if is_registry(first) => (first, rest),
        _ => ("docker.io", image),
    };
    let registry = registry.to_ascii_lowercase();
    match registry.as_str() {
        "docker.io" | "index.docker.io" if !repository.contains('/') => {
            format!("docker.io/library/{repository}")
        }
        "index.docker.io" => format!("docker.io/{repository}"),
        _ => format!("{registry}/{repository}"),
    }
}

/// Whether the first part of an image name is a host and not a repository.
fn is_registry(part: &str) -> bool {
    part == "localhost"
        || part.contains(['.', ':'])
        || part.chars().any(|character| character.is_ascii_uppercase())
}

/// The digest in an image identifier: `name@sha256:...`, or `sha256:...` alone,
/// with a scheme in front in older runtimes.
fn digest_of(image_id: &str) -> Option<Digest> {
    let at = image_id.rfind("sha256:")?;
    image_id[at..].parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_completed_as_container_runtimes_do() {
        let table = [
            ("nginx", "docker.io/library/nginx"),
            ("nginx:1.27", "docker.io/library/nginx"),
            ("docker.io/nginx", "docker.io/library/nginx"),
            ("index.docker.io/library/nginx", "docker.io/library/nginx"),
            ("index.docker.io/nginx", "docker.io/library/nginx"),
            ("library/nginx", "docker.io/library/nginx"),
            ("shop/web:v1", "docker.io/shop/web"),
            ("ghcr.io/shop/web:v1@sha256:00", "ghcr.io/shop/web"),
            ("GHCR.io/shop/web", "ghcr.io/shop/web"),
            ("localhost/web", "localhost/web"),
            ("localhost:5000/web:1", "localhost:5000/web"),
            ("registry:5000/a/b/c", "registry:5000/a/b/c"),
            ("local/web", "docker.io/local/web"),
        ];
        for (image, name) in table {
            assert_eq!(image_name(image), name, "{image}");
        }
    }

    proptest! {
        #[test]
        fn a_completed_name_stays_and_tag_and_digest_do_not_matter(
            registry in proptest::option::of("[a-z]{1,5}(\\.[a-z]{2,3}|:[0-9]{2,4}|\\.io:[0-9]{2})"),
            repository in "[a-z0-9]{1,8}(/[a-z0-9._-]{1,8}){0,2}",
            tag in "[A-Za-z0-9_][A-Za-z0-9._-]{0,10}",
            content in ".*",
        ) {
            let name = match registry {
                Some(registry) => format!("{registry}/{repository}"),
                None => repository,
            };
            // A repository may look like a registry; then it is one.
            let full = image_name(&name);
            prop_assert_eq!(&image_name(&full), &full);
            prop_assert_eq!(&image_name(&format!("{name}:{tag}")), &full);
            let digest = Digest::of(content);
            prop_assert_eq!(&image_name(&format!("{name}@{digest}")), &full);
            prop_assert_eq!(&image_name(&format!("{name}:{tag}@{digest}")), &full);
            prop_assert_eq!(digest_of(&format!("{full}@{digest}")), Some(digest));
        }

        #[test]
        fn no_image_panics(image in "\\PC{0,40}") {
            let _ = image_name(&image);
            let _ = digest_of(&image);
        }
    }

    fn container(image: &str, image_id: Option<String>) -> ContainerImage {
        ContainerImage {
            namespace: "shop".to_owned(),
            pod: "web-1".to_owned(),
            container: "app".to_owned(),
            image: image.to_owned(),
            image_id,
        }
    }

    #[test]
    fn only_replaced_names_are_compared_and_only_by_digest() {
        let built = Digest::of("built");
        let old = Digest::of("old");
        let replaced = BTreeMap::from([("ghcr.io/shop/web".to_owned(), built)]);
        let check = |image: &str, id: Option<String>| {
            let mismatches = check_images(&[container(image, id)], &replaced);
            mismatches.into_iter().map(|mismatch| mismatch.found).next()
        };
        assert_eq!(check("ghcr.io/shop/web:v3", Some(format!("ghcr.io/shop/web@{built}"))), None);
        assert_eq!(check("ghcr.io/shop/web:v3", Some(format!("mirror.test/web@{built}"))), None);
        assert_eq!(check("ghcr.io/shop/other:v3", Some(format!("x@{old}"))), None);
        let id = format!("ghcr.io/shop/web@{old}");
        assert_eq!(check("ghcr.io/shop/web", Some(id.clone())), Some(Found::Other(id)));
        assert_eq!(check("ghcr.io/shop/web", Some("?".to_owned())), Some(Found::Other("?".into())));
        assert_eq!(check("ghcr.io/shop/web", None), Some(Found::Unknown));
    }

    #[test]
    fn a_mismatch_says_what_runs_where() {
        let replaced = BTreeMap::from([("ghcr.io/shop/web".to_owned(), Digest::of("built"))]);
        let old = Digest::of("old");
        let containers = [
            container("ghcr.io/shop/web:v3", Some(format!("ghcr.io/shop/web@{old}"))),
            container("ghcr.io/shop/web:v4", None),
        ];
        let failure = Mismatch::failure(&check_images(&containers, &replaced));
        insta::assert_snapshot!(failure.message, @r"
        container app of pod shop/web-1 names ghcr.io/shop/web:v3, runs ghcr.io/shop/web@sha256:cba06b5736faf67e54b07b561eae94395e774c517a7d910a54369e1263ccfbd4 and not sha256:586a866f990ab55e36decfffc2011f172e4452d5141c939a5436baffba11111d
        container app of pod shop/web-1 names ghcr.io/shop/web:v4, and was not started: sha256:586a866f990ab55e36decfffc2011f172e4452d5141c939a5436baffba11111d is not proven
        ");
    }

    #[test]
    fn all_containers_of_a_pod_that_is_not_over_are_read() {
        let pod = |phase: &str| -> Pod {
            serde_json::from_value(serde_json::json!({
                "metadata": { "namespace": "shop", "name": "web-1" },
                "spec": {
                    "initContainers": [{ "name": "setup", "image": "setup:1" }],
                    "containers": [
                        { "name": "app", "image": "web:1" },
                        { "name": "proxy", "image": "proxy:1" },
                    ],
                },
                "status": {
                    "phase": phase,
                    "initContainerStatuses": [{
                        "name": "setup", "image": "setup:1", "imageID": "setup@sha256:1",
                        "ready": true, "restartCount": 0,
                    }],
                    "containerStatuses": [{
                        "name": "app", "image": "web:1", "imageID": "",
                        "ready": false, "restartCount": 0,
                    }],
                },
            }))
            .expect("it is a pod")
        };
        let images: Vec<_> = of_pod(&pod("Pending"))
            .into_iter()
            .map(|image| (image.container, image.image, image.image_id))
            .collect();
        let row = |name: &str, image: &str, id: Option<&str>| {
            (name.to_owned(), image.to_owned(), id.map(str::to_owned))
        };
        assert_eq!(
            images,
            [
                row("setup", "setup:1", Some("setup@sha256:1")),
                row("app", "web:1", None),
                row("proxy", "proxy:1", None),
            ]
        );
        assert_eq!(of_pod(&pod("Succeeded")), []);
    }
}
