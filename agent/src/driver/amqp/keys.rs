//! The keys of `amqp` in a plan.

use testmesh_shared::plan::keys::{Form, Group, Key, Keys};

use crate::driver::forms::{CONNECTIONS, TLS};
use crate::driver::limits;

pub(super) static TARGET: Keys = Keys {
    name: "amqp target",
    doc: "A broker that speaks AMQP 0-9-1, such as RabbitMQ.",
    keys: &[
        Key::new(
            "amqp",
            Form::Template,
            "`amqp://USER:PASSWORD@HOST:PORT/VHOST`; without a path the virtual host is `/`. `amqps` means TLS. Both ends send heartbeats every 10s, unless `?heartbeat=SECONDS` says otherwise.",
        )
        .required(),
        Key::new(
            "management",
            Form::Template,
            "The base URL of RabbitMQ's management API, for `queues`. Without a user in it, that of `amqp` asks.",
        ),
        Key::new(
            "timeout",
            Form::Duration,
            "Bounds each try, beside the stage's own time-outs.",
        ),
        Key::new(
            "max_message",
            Form::Size,
            "Larger messages fail with `protocol`, code `too_large`; so do those that one stage keeps, if they are larger together.",
        )
        .default("4MiB"),
        Key::new(
            "connections",
            CONNECTIONS,
            "Who shares connections. Each try has a channel of its own.",
        )
        .default("{ shared: 1 }"),
        Key::new(
            "tls",
            Form::Object(&TLS),
            "How to trust the server, and who we are.",
        ),
    ],
    groups: &[],
};

/// What a stage does, exactly one of them.
pub(super) const FORMS: &[&str] = &[
    "publish", "consume", "bind", "queue", "exchange", "delete", "queues",
];

pub(super) static STAGE: Keys = Keys {
    name: "amqp",
    doc: "One exchange with the broker. `status` is 200, or the code with which the broker refused (404: there is no such queue or exchange, 403: not allowed, 405: locked, 406: it is another than asked for, 312: no queue took the message). A refusal fails the stage unless an expression reads `status`.",
    keys: &[
        Key::new("target", Form::Target("amqp"), "Which broker.").required(),
        Key::new(
            "publish",
            Form::Object(&PUBLISH),
            "Sends a message. `stage_first_byte` is the time until the broker confirmed it.",
        ),
        Key::new(
            "consume",
            Form::Object(&CONSUME),
            "Waits for messages. `body`, `text` and `headers` are those of the last match, `docs` the list of matches: each a map with `body` (if it is JSON), `text`, `headers`, `exchange`, `key`, `redelivered`, and the properties that it has.",
        ),
        Key::new(
            "bind",
            Form::Object(&BIND),
            "Makes a queue with a name of the broker's, `body.queue`, and binds it, so that a later stage can consume what is sent from now on.",
        ),
        Key::new(
            "queue",
            Form::Template,
            "Asks for a queue, without changing it: `body.name`, `body.messages` (ready to be consumed), `body.consumers`. `status` is 404 if there is none.",
        ),
        Key::new(
            "exchange",
            Form::Template,
            "Asks for an exchange, without changing it: `body.name`. `status` is 404 if there is none.",
        ),
        Key::new(
            "delete",
            Form::Template,
            "Deletes a queue with what is in it: `body.messages`. One that is not there is no error.",
        ),
        Key::new(
            "queues",
            Form::Template,
            "Lists the queues whose whole name this is, `*` standing for anything, through the management API: `docs`, each with `name`, `messages`, `ready`, `unacknowledged`, `consumers` and `state`. The broker counts messages anew every few seconds only. `status` is that of HTTP.",
        ),
    ],
    groups: &[Group::ExactlyOne(FORMS)],
};

/// What a message is made of, at most one of them.
pub(super) const BODIES: &[&str] = &["json", "text", "body"];

static PUBLISH: Keys = Keys {
    name: "publish",
    doc: "A message and where it goes.",
    keys: &[
        Key::new(
            "exchange",
            Form::Template,
            "The exchange; an empty name is the default one, whose keys are names of queues.",
        )
        .default("\"\""),
        Key::new("key", Form::Template, "The routing key.").default("\"\""),
        Key::new("json", Form::Json, "The content, as JSON."),
        Key::new("text", Form::Template, "The content, as text."),
        Key::new("body", Form::File, "The content, from a file."),
        Key::new(
            "headers",
            Form::Map(&Form::Json),
            "Headers of the message; values keep their type. `traceparent` is added.",
        ),
        Key::new(
            "properties",
            Form::Object(&PROPERTIES),
            "Properties of the message.",
        ),
        Key::new(
            "confirm",
            Form::Bool,
            "Whether to wait until the broker says that it has the message. A refusal is `status`, code `nacked`. Without it, what the broker refuses is not seen.",
        )
        .default("true"),
        Key::new(
            "persistent",
            Form::Bool,
            "Whether durable queues keep the message on disk.",
        )
        .default("true"),
        Key::new(
            "mandatory",
            Form::Bool,
            "Whether a message that reaches no queue is a failure: `status` 312, code `unroutable`.",
        )
        .default("false"),
    ],
    groups: &[Group::AtMostOne(BODIES)],
};

static PROPERTIES: Keys = Keys {
    name: "properties",
    doc: "Properties of a message.",
    keys: &[
        Key::new(
            "content_type",
            Form::Template,
            "What the content is, instead of what its key says.",
        ),
        Key::new(
            "correlation_id",
            Form::Template,
            "What it answers, or is answered by.",
        ),
        Key::new("reply_to", Form::Template, "Where answers go."),
        Key::new("message_id", Form::Template, "Its name."),
        Key::new("type", Form::Template, "Its kind."),
        Key::new("expiration", Form::Duration, "How long a queue keeps it."),
    ],
    groups: &[],
};

/// Whether what was consumed is taken from its queue.
pub(super) const ACKS: &[&str] = &["none", "matched", "all"];

static CONSUME: Keys = Keys {
    name: "consume",
    doc: "Which messages to wait for, and where. The stage ends with the last match, or with a time-out that says what was seen.",
    keys: &[
        Key::new("queue", Form::Template, "A queue that is there."),
        Key::new(
            "exchange",
            Form::Template,
            "An exchange: what it routes while the stage runs comes over a queue of this stage's own.",
        ),
        Key::new(
            "keys",
            Form::List(&Form::Template),
            "The binding keys of that queue, such as `a.*.b` and `a.#` of a topic exchange.",
        )
        .default("[\"#\"]"),
        Key::new(
            "match",
            Form::Expr,
            "What a message must be: it reads `body` (JSON), `text`, `headers`, `key` and `exchange`. A message of which it has no value does not match. Without it, all match.",
        ),
        Key::new("count", COUNT, "How many messages must match.").default("1"),
        Key::new(
            "ack",
            Form::Word(ACKS),
            "What is taken from `queue`: nothing, and all that was seen is put back when the stage ends; the matches, when all have come; or everything that was seen, as it comes. Others see a message that was put back as redelivered, and may wait for it while it is held.",
        )
        .default("none"),
    ],
    groups: &[
        Group::ExactlyOne(&["queue", "exchange"]),
        Group::AtMostOne(&["queue", "keys"]),
        Group::AtMostOne(&["exchange", "ack"]),
    ],
};

/// A number of messages, or a template that gives one.
const COUNT: Form = Form::Either(&[Form::Template, Form::Int(1, limits::AMQP_HELD)]);

static BIND: Keys = Keys {
    name: "bind",
    doc: "A queue, and what it is bound to.",
    keys: &[
        Key::new("exchange", Form::Template, "The exchange.").required(),
        Key::new(
            "keys",
            Form::List(&Form::Template),
            "The binding keys, such as `a.*.b` and `a.#` of a topic exchange.",
        )
        .default("[\"#\"]"),
        Key::new(
            "expires",
            Form::Duration,
            "The broker deletes the queue when nobody has consumed from it for so long.",
        )
        .default("5m"),
    ],
    groups: &[],
};
