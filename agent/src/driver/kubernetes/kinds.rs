//! Kinds of objects: those that Kubernetes brings, and those that a cluster is asked about.

use testmesh_shared::plan::{Item, ProblemCode};

/// A kind, and where its objects are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resource {
    pub(super) kind: String,
    /// `v1`, `apps/v1`.
    pub(super) api_version: String,
    pub(super) plural: String,
    pub(super) is_namespaced: bool,
}

impl Resource {
    /// The path of its objects in a namespace; none: in all of them.
    pub(super) fn path(&self, namespace: Option<&str>) -> String {
        let place = match namespace.filter(|_| self.is_namespaced) {
            Some(namespace) => format!("namespaces/{namespace}/"),
            None => String::new(),
        };
        format!("{}/{place}{}", root(&self.api_version), self.plural)
    }
}

/// The path of a group and version.
pub(super) fn root(api_version: &str) -> String {
    let apis = if api_version.contains('/') {
        "apis"
    } else {
        "api"
    };
    format!("/{apis}/{api_version}")
}

/// A kind as a plan names it.
#[derive(Debug)]
pub(super) enum Kind {
    Known(Resource),
    /// The cluster is asked for it.
    Asked {
        api_version: String,
        kind: String,
    },
}

const NAMESPACED: bool = true;
const GLOBAL: bool = false;

/// A version, whether its kinds lie in namespaces, and their names and plurals.
type Kinds = &'static [(&'static str, bool, &'static [(&'static str, &'static str)])];

/// What Kubernetes brings, by version and whether it lies in namespaces.
const KINDS: Kinds = &[
    (
        "v1",
        NAMESPACED,
        &[
            ("ConfigMap", "configmaps"),
            ("Endpoints", "endpoints"),
            ("Event", "events"),
            ("LimitRange", "limitranges"),
            ("PersistentVolumeClaim", "persistentvolumeclaims"),
            ("Pod", "pods"),
            ("ReplicationController", "replicationcontrollers"),
            ("ResourceQuota", "resourcequotas"),
            ("Secret", "secrets"),
            ("Service", "services"),
            ("ServiceAccount", "serviceaccounts"),
        ],
    ),
    (
        "v1",
        GLOBAL,
        &[
            ("Namespace", "namespaces"),
            ("Node", "nodes"),
            ("PersistentVolume", "persistentvolumes"),
        ],
    ),
    (
        "apps/v1",
        NAMESPACED,
        &[
            ("DaemonSet", "daemonsets"),
            ("Deployment", "deployments"),
            ("ReplicaSet", "replicasets"),
            ("StatefulSet", "statefulsets"),
        ],
    ),
    (
        "batch/v1",
        NAMESPACED,
        &[("CronJob", "cronjobs"), ("Job", "jobs")],
    ),
    (
        "networking.k8s.io/v1",
        NAMESPACED,
        &[
            ("Ingress", "ingresses"),
            ("NetworkPolicy", "networkpolicies"),
        ],
    ),
    (
        "autoscaling/v2",
        NAMESPACED,
        &[("HorizontalPodAutoscaler", "horizontalpodautoscalers")],
    ),
    (
        "policy/v1",
        NAMESPACED,
        &[("PodDisruptionBudget", "poddisruptionbudgets")],
    ),
    (
        "discovery.k8s.io/v1",
        NAMESPACED,
        &[("EndpointSlice", "endpointslices")],
    ),
    ("coordination.k8s.io/v1", NAMESPACED, &[("Lease", "leases")]),
    (
        "rbac.authorization.k8s.io/v1",
        NAMESPACED,
        &[("Role", "roles"), ("RoleBinding", "rolebindings")],
    ),
    (
        "rbac.authorization.k8s.io/v1",
        GLOBAL,
        &[
            ("ClusterRole", "clusterroles"),
            ("ClusterRoleBinding", "clusterrolebindings"),
        ],
    ),
    (
        "storage.k8s.io/v1",
        GLOBAL,
        &[("StorageClass", "storageclasses")],
    ),
    (
        "scheduling.k8s.io/v1",
        GLOBAL,
        &[("PriorityClass", "priorityclasses")],
    ),
];

/// A kind that Kubernetes brings.
pub(super) fn known(kind: &str) -> Option<Resource> {
    let mut all = KINDS.iter().flat_map(|(api_version, namespaced, kinds)| {
        let kinds = kinds.iter();
        kinds.map(move |(kind, plural)| (*api_version, *namespaced, *kind, *plural))
    });
    all.find(|(_, _, known, _)| *known == kind)
        .map(|(api_version, is_namespaced, kind, plural)| Resource {
            kind: kind.to_owned(),
            api_version: api_version.to_owned(),
            plural: plural.to_owned(),
            is_namespaced,
        })
}

/// Whether a text may be a part of a path: a kind, a group, or a name of an object.
pub(super) fn is_segment(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
    !text.is_empty() && text.len() <= 253 && text.chars().all(fits) && !matches!(text, "." | "..")
}

/// Reads `kind` and `api_version`.
pub(super) fn read(item: Item<'_>) -> Option<Kind> {
    let kind_item = item.key("kind")?;
    let kind = kind_item.text()?;
    let Some(version_item) = item.key("api_version") else {
        let found = known(&kind).map(Kind::Known);
        if found.is_none() {
            let message = format!("`{kind}` is no kind that every cluster has");
            let near = KINDS
                .iter()
                .flat_map(|(_, _, kinds)| *kinds)
                .find(|(known, plural)| {
                    known.eq_ignore_ascii_case(&kind) || plural.eq_ignore_ascii_case(&kind)
                });
            let hint = match near {
                Some((known, _)) => format!("did you mean `{known}`?"),
                None => "write its `api_version` too, such as `example.com/v1`".to_owned(),
            };
            kind_item.problem(ProblemCode::UnknownName, message, hint);
        }
        return found;
    };
    let version = version_item.text()?;
    let mut parts = version.split('/');
    let fine = parts.clone().count() <= 2 && parts.all(is_segment);
    if !fine {
        let message = format!("`{version}` is no group and version");
        let hint = "write GROUP/VERSION, or `v1`";
        version_item.problem(ProblemCode::BadValue, message, hint);
        return None;
    }
    if !is_segment(&kind) {
        let message = format!("`{kind}` is no kind");
        kind_item.problem(
            ProblemCode::BadValue,
            message,
            "write a kind, such as `Pod`",
        );
        return None;
    }
    Some(
        match known(&kind).filter(|known| known.api_version == *version) {
            Some(resource) => Kind::Known(resource),
            None => Kind::Asked {
                api_version: version.into_owned(),
                kind: kind.into_owned(),
            },
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_lie_where_the_api_has_them() {
        let path = |kind, namespace| known(kind).expect("a kind").path(namespace);
        assert_eq!(path("Pod", Some("a")), "/api/v1/namespaces/a/pods");
        assert_eq!(path("Pod", None), "/api/v1/pods");
        assert_eq!(path("Node", Some("a")), "/api/v1/nodes");
        assert_eq!(path("Job", Some("a")), "/apis/batch/v1/namespaces/a/jobs");
    }

    #[test]
    fn names_stay_within_their_part_of_a_path() {
        for name in ["a", "a-b.c", "system:node"] {
            assert!(is_segment(name), "{name}");
        }
        for name in ["", "a/b", "..", "a?b", "a b", "%2e"] {
            assert!(!is_segment(name), "{name}");
        }
    }
}
