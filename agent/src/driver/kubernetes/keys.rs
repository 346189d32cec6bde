//! The keys of `kubernetes` in a plan.

use testmesh_shared::plan::keys::{Form, Group, Key, Keys};

use crate::driver::forms::{CONNECTIONS, TLS};

pub(super) static TARGET: Keys = Keys {
    name: "kubernetes target",
    doc: "The API server of a cluster.",
    keys: &[
        Key::new(
            "kubernetes",
            Form::Template,
            "`default`: as on the agent's machine (`KUBECONFIG`, `~/.kube/config`, or the service account of its pod). A URL: that server, with `token` and `tls`. Otherwise the file of a kubeconfig, which travels with the plan: it must hold its certificates and tokens itself, and run no command.",
        )
        .required(),
        Key::new(
            "context",
            Form::Text,
            "Which context of the kubeconfig, instead of its current one.",
        ),
        Key::new(
            "namespace",
            Form::Template,
            "Where objects are, for stages without a `namespace`; without it, that of the kubeconfig, or `default`.",
        ),
        Key::new("token", Form::Template, "The bearer token for a URL."),
        Key::new(
            "timeout",
            Form::Duration,
            "Bounds each try, beside the stage's own time-outs.",
        ),
        Key::new(
            "max_body",
            Form::Size,
            "Larger answers and objects fail with `protocol`, code `too_large`.",
        )
        .default("16MiB"),
        Key::new("connections", CONNECTIONS, "Who shares connections.").default("{ shared: 1 }"),
        Key::new(
            "tls",
            Form::Object(&TLS),
            "How to trust the server of a URL, and who we are.",
        ),
    ],
    groups: &[Group::AtMostOne(&["context", "token"]), Group::AtMostOne(&["context", "tls"])],
};

/// What a stage does, exactly one of them.
pub(super) const FORMS: &[&str] = &["get", "list", "wait", "logs", "events"];

pub(super) static STAGE: Keys = Keys {
    name: "kubernetes",
    doc: "One look at a cluster. `status` is that of the API server: 200, 404 if there is no such object or kind, 403 if it may not be read. A refusal fails the stage unless an expression reads `status`. `metadata.managedFields` of objects is left out.",
    keys: &[
        Key::new("target", Form::Target("kubernetes"), "Which cluster.").required(),
        Key::new(
            "namespace",
            Form::Template,
            "Where objects are, instead of where the target says; `*` is everywhere, for what reads more than one.",
        ),
        Key::new("get", Form::Object(&GET), "Reads one object: `body`."),
        Key::new("list", Form::Object(&LIST), "Reads objects: `docs`."),
        Key::new(
            "wait",
            Form::Object(&WAIT),
            "Waits until objects are as they should be, and hears of each change as it happens. `body` is the object that fits, `docs` all that were looked at. `stage_duration` is the time that it took.",
        ),
        Key::new(
            "logs",
            Form::Object(&LOGS),
            "Reads logs: `text`, and `docs`, each with `pod` and `text`.",
        ),
        Key::new(
            "events",
            Form::Object(&EVENTS),
            "Reads what the cluster told about an object: `docs`, the latest last.",
        ),
    ],
    groups: &[Group::ExactlyOne(FORMS)],
};

const KIND: Key = Key::new(
    "kind",
    Form::Text,
    "The kind, such as `Pod`, `Job` or `Deployment`.",
)
.required();

const API_VERSION: Key = Key::new(
    "api_version",
    Form::Text,
    "The group and version, such as `example.com/v1`, for kinds that Kubernetes does not bring itself. The cluster is asked about them.",
);

const LABELS: Key = Key::new(
    "labels",
    Form::Template,
    "A label selector, such as `app=web,tier!=cache`.",
);

const FIELDS: Key = Key::new(
    "fields",
    Form::Template,
    "A field selector, such as `status.phase=Pending`.",
);

static GET: Keys = Keys {
    name: "get",
    doc: "Which object.",
    keys: &[
        KIND,
        API_VERSION,
        Key::new("name", Form::Template, "Its name.").required(),
    ],
    groups: &[],
};

static LIST: Keys = Keys {
    name: "list",
    doc: "Which objects; all of the kind without a selector.",
    keys: &[KIND, API_VERSION, LABELS, FIELDS],
    groups: &[],
};

static WAIT: Keys = Keys {
    name: "wait",
    doc: "Which objects, and what to wait for.",
    keys: &[
        KIND,
        API_VERSION,
        Key::new("name", Form::Template, "The name of one object."),
        LABELS,
        FIELDS,
        Key::new(
            "until",
            Form::Expr,
            "What must be true of one of them, `object`, or of all that there are, the list `objects`. While it has no value, it is not yet true.",
        ),
        Key::new(
            "gone",
            Form::Bool,
            "Wait until there is no such object, instead: also true where there never was one.",
        ),
    ],
    groups: &[
        Group::AtMostOne(&["name", "labels"]),
        Group::AtMostOne(&["name", "fields"]),
        Group::ExactlyOne(&["until", "gone"]),
    ],
};

static LOGS: Keys = Keys {
    name: "logs",
    doc: "Whose logs, and how much of them.",
    keys: &[
        Key::new("pod", Form::Template, "The name of a pod."),
        Key::new(
            "labels",
            Form::Template,
            "A label selector: all pods that it selects, in the order of their names.",
        ),
        Key::new(
            "container",
            Form::Template,
            "Which container, if a pod has more than one.",
        ),
        Key::new(
            "tail",
            Form::Int(1, 1_000_000),
            "How many lines from the end.",
        )
        .default("1000"),
        Key::new(
            "previous",
            Form::Bool,
            "Those of the container before its last restart.",
        )
        .default("false"),
        Key::new(
            "match",
            Form::Expr,
            "Keeps the lines for which this is true: it reads `line`.",
        ),
    ],
    groups: &[Group::ExactlyOne(&["pod", "labels"])],
};

static EVENTS: Keys = Keys {
    name: "events",
    doc: "About which object; without a name, about all of the kind.",
    keys: &[
        KIND,
        Key::new("name", Form::Template, "The name of the object."),
    ],
    groups: &[],
};
