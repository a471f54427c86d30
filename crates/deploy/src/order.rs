//! In which order objects are applied. Pure.

use crate::manifest::ObjectId;

/// Objects of one stage are applied at the same time, stages one after the
/// other, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// What others are objects of, or are in: definitions and namespaces.
    Foundation,
    /// What pods and their admission read: grants, accounts, configuration,
    /// quotas, classes.
    Settings,
    /// Addresses, volumes' claims and budgets. Services come before the pods
    /// that find them in their environment variables.
    Surroundings,
    /// What starts pods.
    Workloads,
    /// Hooks into the API, after the pods that answer them: the other way round
    /// they would refuse those pods.
    Hooks,
    /// Custom resources, after the hooks that complete and check them.
    Custom,
}

/// The stage of an object.
pub(crate) fn stage(id: &ObjectId) -> Stage {
    match (id.group(), id.kind.as_str()) {
        ("", "Namespace") | ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            Stage::Foundation
        }
        ("rbac.authorization.k8s.io" | "scheduling.k8s.io" | "storage.k8s.io", _)
        | ("node.k8s.io", "RuntimeClass")
        | ("flowcontrol.apiserver.k8s.io" | "certificates.k8s.io", _)
        | ("networking.k8s.io", "IngressClass" | "NetworkPolicy")
        | (
            "",
            "ServiceAccount" | "ConfigMap" | "Secret" | "ResourceQuota" | "LimitRange"
            | "PersistentVolume",
        ) => Stage::Settings,
        ("", "Service" | "Endpoints" | "PersistentVolumeClaim")
        | ("discovery.k8s.io" | "policy" | "networking.k8s.io", _) => Stage::Surroundings,
        ("", "Pod" | "ReplicationController") | ("apps" | "batch" | "autoscaling", _) => {
            Stage::Workloads
        }
        ("admissionregistration.k8s.io" | "apiregistration.k8s.io", _) => Stage::Hooks,
        _ => Stage::Custom,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::parse;

    #[test]
    fn what_others_need_comes_first_and_ties_keep_their_order() {
        let kinds = [
            ("example.com/v1", "Widget"),
            ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
            ("apps/v1", "StatefulSet"),
            ("apps/v1", "Deployment"),
            ("v1", "Service"),
            ("v1", "Secret"),
            ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
            ("v1", "ServiceAccount"),
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
            ("v1", "Namespace"),
        ];
        let text: String = kinds
            .iter()
            .map(|(version, kind)| {
                format!("---\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: x}}\n")
            })
            .collect();
        let mut objects = parse(&text, "f").expect("the text is good");
        objects.sort_by_key(|object| stage(&object.id));
        let order: Vec<_> = objects.iter().map(|object| object.id.kind.as_str()).collect();
        assert_eq!(
            order,
            [
                "CustomResourceDefinition",
                "Namespace",
                "Secret",
                "ClusterRoleBinding",
                "ServiceAccount",
                "Service",
                "StatefulSet",
                "Deployment",
                "ValidatingWebhookConfiguration",
                "Widget",
            ]
        );
    }
}
