//! The keys of `grpc` in a plan.

use testmesh_shared::plan::keys::{Form, Group, Key, Keys};

use super::{send, watching};
use crate::driver::forms::{CLOCK, CONNECTIONS, TLS};

pub(super) static TARGET: Keys = Keys {
    name: "grpc target",
    doc: "A gRPC server, or many that serve the same services.",
    keys: &[
        Key::new(
            "grpc",
            Form::Object(&SOURCE),
            "Where the descriptions of services come from, and limits.",
        )
        .required(),
        Key::new(
            "address",
            Form::Template,
            "HOST:PORT, for stages without an `address`. `https://` means TLS.",
        ),
        Key::new("connections", CONNECTIONS, "Who shares connections.").default("session"),
        Key::new(
            "tls",
            Form::Object(&TLS),
            "How to trust the server, and who we are.",
        ),
        Key::new(
            "clock",
            Form::Object(&CLOCK),
            "How the servers' clock stands to the coordinator's, for `sent_at`.",
        ),
    ],
    groups: &[],
};

static SOURCE: Keys = Keys {
    name: "grpc",
    doc: "Where the descriptions of services come from, and limits.",
    keys: &[
        Key::new(
            "protos",
            Form::List(&Form::File),
            "`.proto` files. Imports are found beside them too.",
        ),
        Key::new(
            "descriptors",
            Form::File,
            "A binary descriptor set, with its imports.",
        ),
        Key::new(
            "reflection",
            Form::Bool,
            "Ask the server: v1, then v1alpha, at the first use of an address.",
        ),
        Key::new("address", Form::Template, "As the target's own `address`."),
        Key::new(
            "max_message",
            Form::Size,
            "Larger messages fail with `protocol`, code `too_large`.",
        )
        .default("4MiB"),
    ],
    groups: &[Group::ExactlyOne(&["protos", "descriptors", "reflection"])],
};

pub(super) static STAGE: Keys = Keys {
    name: "grpc",
    doc: "One call: its message, and when a stream is enough.",
    keys: &[
        Key::new("target", Form::Target("grpc"), "Which server.").required(),
        Key::new(
            "address",
            Form::Template,
            "HOST:PORT, instead of the target's own. `https://` means TLS.",
        ),
        Key::new("call", Form::Text, "PACKAGE.SERVICE/METHOD.").required(),
        Key::new("message", Form::Json, "The message, by proto field names.").default("{}"),
        Key::new(
            "messages",
            send::FORM,
            "The messages of a client stream, sent one after another, then the end; an empty list sends the end alone. What the server answers is read meanwhile, and an answer that comes before all are sent ends the sending. A method that takes a stream and has `message` is sent that one.",
        ),
        Key::new(
            "metadata",
            Form::Map(&Form::Template),
            "Metadata that goes out with the call.",
        ),
        Key::new(
            "stop",
            Form::Either(&[Form::Word(&["end"]), Form::Object(&STOP)]),
            "When a stream is enough. The call is cancelled then. A stream that ends before, and not with a status of `end`, fails with `protocol`, code `ended_early`.",
        )
        .default("end"),
        Key::new(
            "end",
            Form::List(&Form::Either(&[Form::Text, Form::Object(&END)])),
            "Statuses with which the server may end a stream, met `stop` or not.",
        ),
        Key::new("windows", Form::Object(&WINDOWS), "HTTP/2 windows."),
        Key::new(
            "during",
            Form::List(&Form::Stage),
            "Stages that run one after another while the stream is open, from its first message on. What they save is there for `stop: { when }`, `watch` and `end: { when }` of this stage as soon as each has ended, and for what follows. If one fails, the stream is cut, counts as `cancelled`, and the stage fails with that one's failure; it is not tried again. What has not run when the stream is over is cut, which is the finding `during_cut`; `stop: { after: during }` waits for it.",
        ),
        Key::new(
            "watch",
            Form::Map(&watching::FORM),
            "Names, and expressions over a message: `message`, a map by proto field names, and `stream` with `messages`, `rows`, `bytes`, `first`, `last` and `duration` so far. The time from the start of the call until one is first true is `stream_watch` with that name as its label `watch`, once for each stream; one that is never true records nothing. An expression without a value is the error `expectation`, but waits while it reads what a stage of `during` is still to save. Messages are decoded for as long as there is something to wait for.",
        ),
    ],
    groups: &[Group::AtMostOne(&["message", "messages"])],
};

/// A number of messages, or a template that gives one.
const COUNT: Form = Form::Either(&[Form::Template, Form::Int(1, i64::MAX)]);

static STOP: Keys = Keys {
    name: "stop",
    doc: "When a stream is enough: one of these, or `after` and one that goes with it. The call is cancelled then.",
    keys: &[
        Key::new("messages", COUNT, "After so many messages."),
        Key::new("for", Form::Duration, "So long after the first message."),
        Key::new("end", Form::Bool, "When the server ends it."),
        Key::new(
            "idle",
            Form::Duration,
            "After so long without a message, the first one having come. That silence is no stall, and may be longer than the 60s that are otherwise allowed between two messages.",
        ),
        Key::new(
            "after",
            Form::Word(&["during"]),
            "When the stages of `during` have run. Beside another key but `end`: when they have run and that is met, in whichever order.",
        ),
        Key::new(
            "when",
            Form::Expr,
            "With the first message for which this is true. It reads what expressions in `watch` do; messages are decoded for it.",
        ),
    ],
    groups: &[
        Group::AtMostOne(&["messages", "for", "end", "idle", "when"]),
        Group::AtMostOne(&["end", "after"]),
    ],
};

static END: Keys = Keys {
    name: "end",
    doc: "A status with which the server may end a stream.",
    keys: &[
        Key::new("status", Form::Text, "Its name, such as `unavailable`.").required(),
        Key::new(
            "after_idle",
            Form::Duration,
            "Only after so long without a message.",
        ),
        Key::new(
            "when",
            Form::Expr,
            "Only when this is true of `stream`; otherwise the stream has ended early.",
        ),
    ],
    groups: &[],
};

static WINDOWS: Keys = Keys {
    name: "windows",
    doc: "HTTP/2 windows: a stream is never faster than window ÷ round trip.",
    keys: &[
        Key::new("stream", Form::Size, "Of each stream.").default("2MiB"),
        Key::new("connection", Form::Size, "Of a connection.").default("5MiB"),
    ],
    groups: &[],
};
