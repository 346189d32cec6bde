//! The table of plan keys. To add a key, add a line here and read it where its object is read.

use super::keys::{Form, Group, Key, Keys};

const STAGES: Form = Form::List(&Form::Stage);
const EXPRS: Form = Form::Either(&[Form::Expr, Form::List(&Form::Expr)]);

/// The top level of a plan.
pub static PLAN: Keys = Keys {
    name: "plan",
    doc: "A versioned description of a test.",
    groups: &[],
    keys: &[
        Key::new(
            "testmesh",
            Form::Word(&["v1"]),
            "The version of the format.",
        )
        .required(),
        Key::new("name", Form::Name, "Names the plan in reports.").required(),
        Key::new("description", Form::Text, "Says what the plan is for."),
        Key::new(
            "vars",
            Form::Map(&Form::Value),
            "Variables and their defaults, read as `vars.NAME`. `--var NAME=VALUE` or `TESTMESH_VAR_NAME` sets one; the value is read as YAML and must be of the default's type. A variable may use others.",
        ),
        Key::new(
            "secrets",
            Form::List(&Form::Name),
            "Names of secrets, read as `secrets.NAME`. The value comes from `TESTMESH_SECRET_NAME` or a file on the agent. Secrets may stand in addresses, headers, metadata, bodies and messages; outgoing text is masked.",
        ),
        Key::new(
            "targets",
            Form::Map(&Form::TargetDefinition),
            "What stages talk to, by name.",
        ),
        Key::new(
            "feeds",
            Form::Map(&Form::Object(&super::feeds::FEED)),
            "Files whose rows sessions take, to differ from each other.",
        ),
        Key::new(
            "blocks",
            Form::Map(&STAGES),
            "Named lists of stages, for `use`.",
        ),
        Key::new(
            "setup",
            STAGES,
            "Stages run once, by one agent, before the first session. What they save is `run.NAME`.",
        ),
        Key::new(
            "teardown",
            STAGES,
            "Stages run once, by one agent, after the last session, always.",
        ),
        Key::new(
            "scenarios",
            Form::Map(&Form::Object(&SCENARIO)),
            "Workloads, by name.",
        )
        .required(),
        Key::new(
            "thresholds",
            Form::List(&Form::Either(&[Form::Text, Form::Object(&THRESHOLD)])),
            "Pass/fail expressions over metrics, `OPERAND OP OPERAND`: `p95(stage_duration{stage=\"login\"}) < 500ms`, `p95(stage_duration{phase=\"late\"}) < 1.5 * p95(stage_duration{phase=\"early\"})`. An operand is a value or `[k *] AGG(METRIC{label=\"v\",label!=\"v\"})`, with AGG one of `count`, `sum`, `rate`, `per_second`, `min`, `max`, `mean` and percentiles `p50` to `p99.9`. A plan without one on failed sessions gets `count(sessions_failed) == 0`.",
        ),
        Key::new(
            "validity",
            Form::Object(&VALIDITY),
            "Whether a run may be judged at all.",
        ),
        Key::new("trace", Form::Object(&TRACE), "Which traces are exported."),
        Key::new(
            "min_agents",
            Form::Int(1, 100_000),
            "A run starts only with this many agents.",
        )
        .default("1"),
        Key::new(
            "on_agent_loss",
            Form::Word(&["inconclusive", "replace"]),
            "What the loss of an agent means.",
        )
        .default("inconclusive"),
        Key::new(
            "phases",
            Form::Map(&Form::Object(&PHASE)),
            "Named spans of the run's time, which may overlap. A threshold reads one with `{phase=\"NAME\"}`, and all the rest with `{phase!=\"NAME\"}`.",
        ),
        Key::new(
            "proxies",
            Form::Map(&Form::Object(&super::proxies::PROXY)),
            "TCP proxies that faults act on, by name.",
        ),
        Key::new(
            "faults",
            Form::Map(&Form::Object(&super::faults::FAULT)),
            "What is broken while the plan runs, by name.",
        ),
    ],
};

/// One scenario.
pub(super) static SCENARIO: Keys = Keys {
    name: "scenario",
    doc: "One named workload of a plan: a load model over stages.",
    groups: &[Group::AtMostOne(&["start", "after"])],
    keys: &[
        Key::new("load", Form::Load, "Who starts sessions, and when.").required(),
        Key::new("sites", Form::Map(&Form::Int(1, 1_000_000)), "Sites and their weights; without it all agents take part, evenly."),
        Key::new("warm_up", Form::Duration, "The first part of the scenario: measured, in phase `warm_up`, but not judged by thresholds.").default("0s"),
        Key::new("graceful_stop", Form::Duration, "How long sessions in flight may go on after the end.").default("30s"),
        Key::new("stages", STAGES, "What a session does.").required(),
        Key::new("cleanup", STAGES, "What a session does at its end, also after a failure or a stop."),
        Key::new("start", Form::Duration, "When the scenario starts.").default("0s"),
        Key::new("after", Form::Name, "The scenario that must end first: its planned end, or, if it ends by a number of sessions, the end of the agent's own part of it."),
    ],
};

/// Every stage; the walk adds the drivers' keys.
pub(super) static STAGE: Keys = Keys {
    name: "stage",
    doc: "One step of a session, run by one driver; the unit of timing. Beside these keys it has exactly one of a driver's key, `repeat`, `parallel` and `use`.",
    groups: &[],
    keys: &[
        Key::new("name", Form::Name, "Unique in its scenario; the label `stage` of its metrics. `use` takes none."),
        Key::new("repeat", Form::Object(&REPEAT), "Runs `stages` many times."),
        Key::new("stages", STAGES, "What `repeat` runs."),
        Key::new("parallel", STAGES, "Runs stages side by side; the stages of a block, `use`, are one branch and run in order. When one fails the others are cancelled."),
        Key::new("use", Form::Name, "Puts the stages of a block here."),
        Key::new("as", Form::Name, "Prefixes the names of the stages of `use`: `PREFIX.name`."),
        Key::new("expect", EXPRS, "Expressions that must be true."),
        Key::new("save", Form::Map(&Form::Expr), "Values kept as `session.NAME` (in `setup`: `run.NAME`)."),
        Key::new("until", Form::Expr, "Repeats the stage until this is true; a transport error means not yet."),
        Key::new("every", Form::Duration, "Between the starts of two attempts of `until`.").default("500ms"),
        Key::new("when", Form::Expr, "Skips the stage unless this is true."),
        Key::new("timeout", Form::Duration, "Bounds the stage with its retries and polls. Stages with a stream and `repeat` have none, but 30s to the first message and 60s between two.").default("30s"),
        Key::new("attempt_timeout", Form::Duration, "Bounds one try."),
        Key::new("retry", Form::Object(&RETRY), "What is tried again; nothing unless written."),
        Key::new("on_failure", Form::Word(&["continue"]), "Goes on with the next stage; without it a failed stage ends the session."),
        Key::new("integrity", Form::Object(&INTEGRITY), "How the stream's data is verified."),
        Key::new("stall", Form::Duration, "Gaps between messages over this are stalls.").default("1s"),
    ],
};

static REPEAT: Keys = Keys {
    name: "repeat",
    doc: "Runs the stage's `stages` many times.",
    groups: &[Group::ExactlyOne(&["times", "each"])],
    keys: &[
        Key::new("times", Form::Expr, "How many times."),
        Key::new("each", Form::Expr, "A list; once for each item."),
        Key::new(
            "as",
            Form::Name,
            "The loop variable: the number from 0, or the item.",
        ),
        Key::new("parallel", Form::Bool, "All at once.").default("false"),
    ],
};

static RETRY: Keys = Keys {
    name: "retry",
    doc: "What is tried again.",
    groups: &[],
    keys: &[
        Key::new(
            "attempts",
            Form::Int(1, 100_000),
            "All tries, the first one included.",
        )
        .required(),
        Key::new(
            "on",
            Form::List(&Form::Text),
            "Error kinds and status codes.",
        )
        .default("[refused, unavailable, reset, timeout]"),
        Key::new("backoff", Form::Duration, "Between two tries.").default("250ms"),
    ],
};

static INTEGRITY: Keys = Keys {
    name: "integrity",
    doc: "How the data of a stream is verified, on the encoded messages.",
    groups: &[],
    keys: &[
        Key::new(
            "sequence",
            Form::Either(&[Form::FieldPath, Form::Object(&SEQUENCE)]),
            "The field that numbers the rows. Needed unless whole streams are compared.",
        ),
        Key::new(
            "key",
            Form::FieldPath,
            "Which row it is, for comparison with others; the sequence unless written. A key of its own that comes again with other bytes, among the last 128 keys of its stream, is the error `integrity`, code `key_not_unique`.",
        ),
        Key::new(
            "payload",
            Form::FieldPath,
            "The bytes that the checksum covers; the whole message unless written.",
        ),
        Key::new(
            "sent_at",
            Form::Object(&SENT_AT),
            "When the server sent a row; gives `stream_latency`.",
        ),
        Key::new(
            "truth",
            Form::Object(&TRUTH),
            "What rows are compared with; without it, their order alone is verified.",
        ),
        Key::new(
            "split",
            Form::Either(&[Form::Word(&["rows"]), Form::Object(&SPLIT)]),
            "How the rows of a message, one for each value of `sequence`, share its `payload`: `rows` divides it evenly among them, in their order. Without it a message has one row. A payload that does not divide, or not as many keys as rows, is the error `integrity`, code `row_shape`.",
        ),
        Key::new(
            "allow",
            Form::Object(&ALLOW),
            "What a lossy stream may do: shares of the rows that the stage received, in the whole run, below or at which the data does not count as corrupt.",
        ),
    ],
};

static SEQUENCE: Keys = Keys {
    name: "sequence",
    doc: "The field that numbers the rows. The first number is free. A number between two steps, or beyond `wrap`, is `reordered` and moves nothing.",
    groups: &[],
    keys: &[
        Key::new("field", Form::FieldPath, "The field.").required(),
        Key::new(
            "step",
            Form::Int(1, i64::MAX),
            "By how much each number is more than the one before.",
        )
        .default("1"),
        Key::new(
            "wrap",
            Form::Either(&[Form::Text, Form::Int(2, i64::MAX)]),
            "Where the number starts again: after `wrap - 1` comes 0, or with `type`, after the greatest number of the field's type the least. The shorter way round counts, so up to half of the numbers may be left out at once. Fields of 64 bits start again by themselves.",
        ),
    ],
};

static SPLIT: Keys = Keys {
    name: "split",
    doc: "Rows that lie side by side in a payload: an array in C order whose last dimension is the rows.",
    groups: &[],
    keys: &[Key::new(
        "stride",
        Form::Int(1, MOST_ELEMENT_BYTES),
        "The bytes of one element. A row is every element in its place.",
    )
    .required()],
};

/// Of one element of an array.
pub(super) const MOST_ELEMENT_BYTES: i64 = 1 << 30;

static ALLOW: Keys = Keys {
    name: "allow",
    doc: "Shares of a stage's rows that may be wrong. Counters, findings and thresholds see all of them.",
    groups: &[],
    keys: &[
        Key::new("missing", Form::Share, "Rows that never come.").default("0%"),
        Key::new("repeated", Form::Share, "Rows that come again.").default("0%"),
        Key::new("reordered", Form::Share, "Rows that come late.").default("0%"),
        Key::new(
            "mismatched",
            Form::Share,
            "Rows that differ from their truth.",
        )
        .default("0%"),
    ],
};

static SENT_AT: Keys = Keys {
    name: "sent_at",
    doc: "When the server sent a row. Unless its target declares a `clock`, the offset of the server's clock is unknown, and the latency is the excess over the stream's minimum.",
    groups: &[],
    keys: &[
        Key::new("field", Form::FieldPath, "The field.").required(),
        Key::new(
            "unit",
            Form::Word(&["s", "ms", "us", "ns"]),
            "The field's unit, since the Unix epoch.",
        )
        .required(),
    ],
};

static TRUTH: Keys = Keys {
    name: "truth",
    doc: "What the rows of a stream are compared with.",
    groups: &[Group::ExactlyOne(&["agree", "rows", "mongodb", "digest"])],
    keys: &[
        Key::new("agree", Form::Object(&AGREE), "What other sessions saw."),
        Key::new(
            "rows",
            Form::Expr,
            "A list of `{key, digest}` that an earlier stage saved.",
        ),
        Key::new(
            "mongodb",
            Form::Object(&DOCUMENTS),
            "Documents of a collection, one for each row. Those between the first and the last row that a stream brought, by key, and that it did not bring, are missing.",
        ),
        Key::new(
            "digest",
            Form::Template,
            "The XXH3-128 of the stream's whole payload, in 32 lowercase hex digits (`xxhsum -H2`). Verifies or mismatches all rows of a stream that ended by itself; those of one that was stopped or cut are unverified.",
        ),
        Key::new(
            "complete",
            Form::Bool,
            "With `rows` or `mongodb`: if the stream ends by itself, listed rows that never came are missing at both ends too.",
        )
        .default("false"),
    ],
};

static DOCUMENTS: Keys = Keys {
    name: "mongodb truth",
    doc: "Documents that rows are compared with by key. They are read once by each agent for each distinct query of a run, beside the streams, and only their keys and digests are kept: what is written to the collection later is not seen. Keys are numbers (dates count in milliseconds since the Unix epoch), texts, object ids or binary values (in hex), each in one document, and must come in ascending order; documents that do not, or cannot be read, leave the rows from there on unverified, with the finding `truth_unreadable`.",
    groups: &[Group::ExactlyOne(&["payload", "digest"])],
    keys: &[
        Key::new("target", Form::Target("mongodb"), "Which database.").required(),
        Key::new("collection", Form::Template, "The collection.").required(),
        Key::new(
            "filter",
            Form::Json,
            "Which documents, as extended JSON; all without it.",
        ),
        Key::new(
            "sort",
            Form::Json,
            "An order in which their keys ascend; without it, by the key itself.",
        ),
        Key::new(
            "key",
            Form::FieldPath,
            "The field that holds what `key` of `integrity` holds.",
        )
        .required(),
        Key::new(
            "payload",
            Form::FieldPath,
            "A binary or text field with the bytes that `payload` of `integrity` covers.",
        ),
        Key::new(
            "digest",
            Form::FieldPath,
            "A text field with the XXH3-64 of those bytes, in 16 lowercase hex digits.",
        ),
    ],
};

static AGREE: Keys = Keys {
    name: "agree",
    doc: "Any two sessions of the group that saw a row with the same key saw the same bytes.",
    groups: &[],
    keys: &[
        Key::new("group", Form::Template, "The group's name.").required(),
        Key::new(
            "of",
            Form::Word(&["rows", "stream"]),
            "Rows, or whole streams.",
        )
        .default("rows"),
    ],
};

static PHASE: Keys = Keys {
    name: "phase",
    doc: "A named span of the run's time. Measurements are kept by the second; a second that lies partly in a phase belongs to it.",
    groups: &[],
    keys: &[
        Key::new(
            "from",
            Form::Duration,
            "When it begins, since the run's start.",
        )
        .required(),
        Key::new("to", Form::Duration, "When it is over.").required(),
    ],
};

static THRESHOLD: Keys = Keys {
    name: "threshold",
    doc: "The long form of a threshold.",
    groups: &[],
    keys: &[
        Key::new("expr", Form::Text, "The threshold.").required(),
        Key::new(
            "abort",
            Form::Bool,
            "Ends the run as soon as it is broken, and nothing makes its value doubtful: no session starts any more, those in flight have their graceful stop, and the run has failed.",
        )
        .default("false"),
        Key::new(
            "after",
            Form::Duration,
            "Judges only seconds of the run from this time on, and does not abort before.",
        )
        .default("0s"),
        Key::new(
            "over",
            Form::Duration,
            "Judges every span of this length by itself, each second anew; broken if any full one breaks it. Whole seconds, at most 10 minutes.",
        ),
    ],
};

/// When a run may be judged.
pub(super) static VALIDITY: Keys = Keys {
    name: "validity",
    doc: "When a run may be judged. A run that breaks one of these is inconclusive, never passed.",
    groups: &[],
    keys: &[
        Key::new(
            "agents_lost",
            Form::Int(0, 1_000_000),
            "At most this many agents are lost.",
        )
        .default("0"),
        Key::new(
            "dropped_sessions",
            Form::Share,
            "At most this share of planned sessions is dropped.",
        )
        .default("1%"),
        Key::new(
            "schedule_lag_p99",
            Form::Duration,
            "At most this lag between planned and actual start (open model).",
        )
        .default("100ms"),
        Key::new(
            "agent_loop_lag_p99",
            Form::Duration,
            "At most this lag of an agent's event loop (100ms in one-process runs).",
        )
        .default("20ms"),
        Key::new(
            "agent_cpu",
            Form::Share,
            "At most this share of an agent's CPU (in one-process runs reported only).",
        )
        .default("90%"),
    ],
};

static TRACE: Keys = Keys {
    name: "trace",
    doc: "Which traces are exported; decided at the end of a session.",
    groups: &[],
    keys: &[
        Key::new(
            "sample",
            Form::Share,
            "The share of sessions that are not kept anyway.",
        )
        .default("1%"),
        Key::new(
            "keep",
            Form::List(&Form::Word(&["failed", "slowest"])),
            "Sessions always kept.",
        )
        .default("[failed, slowest]"),
    ],
};
