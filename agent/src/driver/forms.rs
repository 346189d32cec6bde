//! Keys that several drivers share, and how they are read.
//!
//! Every reader here follows one rule: `None` means that a problem was reported, and what need not be there is `Some(None)`.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use rustls::ClientConfig;
use testmesh_shared::plan::expr::Template;
use testmesh_shared::plan::keys::{Form, Group, Key, Keys};
use testmesh_shared::plan::{Item, Pool, ProblemCode};

use super::transport::{ClientFiles, Tls, chain};
use crate::integrity::ServerClock;

/// `tls` of a target.
pub(crate) static TLS: Keys = Keys {
    name: "tls",
    doc: "How to trust the server, and who we are. Whether TLS is used follows from the scheme alone.",
    keys: &[
        Key::new(
            "ca",
            Form::File,
            "PEM certificates to trust instead of the public ones.",
        ),
        Key::new("insecure", Form::Bool, "Trust whatever certificate comes.").default("false"),
        Key::new("client", Form::Object(&CLIENT), "A client certificate."),
    ],
    groups: &[],
};

static CLIENT: Keys = Keys {
    name: "client",
    doc: "A client certificate and its key.",
    keys: &[
        Key::new("cert", Form::File, "PEM certificates, our own first.").required(),
        Key::new("key", Form::File, "The PEM private key.").required(),
    ],
    groups: &[],
};

/// `clock` of a target.
pub(crate) static CLOCK: Keys = Keys {
    name: "clock",
    doc: "How the servers' clock stands to the coordinator's. With it, `stream_latency` is the coordinator's time of an arrival minus `sent_at`, and not the excess over the stream's minimum. Arrivals before the sending count as 0 within the clocks' error (the declared one, and the uncertainty of the agent's own estimate) and are counted; beyond it, or an hour late, they are counted and not recorded. A stream reads the agent's estimate once, when it begins: declare no clock for streams that last for hours, since clocks part by up to 100 parts in a million.",
    keys: &[
        Key::new(
            "same_as",
            Form::Word(&["coordinator"]),
            "It is the clock of the coordinator's machine.",
        ),
        Key::new(
            "error",
            Form::Duration,
            "It is kept by other means, and differs by at most this.",
        ),
    ],
    groups: &[Group::ExactlyOne(&["same_as", "error"])],
};

/// `connections` of a target.
pub(crate) const CONNECTIONS: Form = Form::Either(&[
    Form::Word(&["session", "virtual_user"]),
    Form::Object(&SHARED),
]);

static SHARED: Keys = Keys {
    name: "connections",
    doc: "A number of connections that all sessions of an agent share.",
    keys: &[Key::new(
        "shared",
        Form::Int(1, MOST_SHARED),
        "How many on each agent; at least one per worker thread.",
    )
    .required()],
    groups: &[],
};

const MOST_SHARED: i64 = 10_000;

/// The value of a key that need not be there.
pub(crate) fn optional<'r, T>(
    item: Item<'r>,
    key: &str,
    read: impl FnOnce(Item<'r>) -> Option<T>,
) -> Option<Option<T>> {
    match item.key(key) {
        None => Some(None),
        Some(value) => read(value).map(Some),
    }
}

/// A size, or what holds without it.
pub(crate) fn size(item: Item<'_>, key: &str, default: usize) -> Option<usize> {
    let size = optional(item, key, Item::size)?;
    Some(size.map_or(default, |size| usize::try_from(size).unwrap_or(usize::MAX)))
}

/// A map of templates; empty if it is not there.
pub(crate) fn templates(item: Item<'_>, key: &str) -> Option<Vec<(String, Template)>> {
    let entries = item.key(key).map(Item::entries).unwrap_or_default();
    // All are read before any is missed, so that all problems are found.
    let read: Vec<_> = entries
        .into_iter()
        .map(|entry| Some((entry.key.to_owned(), entry.value.template()?)))
        .collect();
    read.into_iter().collect()
}

/// A map of headers.
pub(crate) fn headers(item: Item<'_>, key: &str) -> Option<Vec<(HeaderName, Template)>> {
    let entries = item.key(key).map(Item::entries).unwrap_or_default();
    let read: Vec<_> = entries
        .into_iter()
        .map(|entry| {
            let template = entry.value.template();
            match HeaderName::from_bytes(entry.key.as_bytes()) {
                Ok(name) => Some((name, template?)),
                Err(_) => {
                    let hint = "names are made of letters, digits and `-`";
                    let message = format!("`{}` is not a header", entry.key);
                    entry
                        .value
                        .problem_at(entry.key_span, ProblemCode::BadValue, message, hint);
                    None
                }
            }
        })
        .collect();
    read.into_iter().collect()
}

/// `connections` of a target.
pub(crate) fn connections(item: Item<'_>, default: Pool) -> Option<Pool> {
    let Some(value) = item.key("connections") else {
        return Some(default);
    };
    if value.is_map() {
        let shared = value.key("shared")?.int(1..=MOST_SHARED)?;
        return Some(Pool::Shared(u32::try_from(shared).ok()?));
    }
    Some(match value.word(&["session", "virtual_user"])? {
        "session" => Pool::Session,
        _ => Pool::VirtualUser,
    })
}

/// `clock` of a target.
pub(crate) fn clock(item: Item<'_>) -> Option<Option<ServerClock>> {
    optional(item, "clock", |clock| {
        let error = match clock.key("error") {
            Some(error) => error.duration()?,
            None => {
                clock.key("same_as")?.word(&["coordinator"])?;
                Duration::ZERO
            }
        };
        Some(ServerClock { error })
    })
}

/// `tls` of a target, as a configuration that offers these protocols.
pub(crate) fn tls(item: Item<'_>, alpn: &[&[u8]]) -> Option<Arc<ClientConfig>> {
    let tls = match item.key("tls") {
        None => Tls::default(),
        Some(value) => read_tls(value)?,
    };
    match tls.config(alpn) {
        Ok(config) => Some(config),
        Err(error) => {
            let place = item.key("tls").unwrap_or(item);
            place.problem(
                ProblemCode::BadValue,
                chain(&error),
                "certificates and keys are PEM files",
            );
            None
        }
    }
}

/// The configuration of a target that says nothing about TLS.
pub(crate) fn default_tls(alpn: &[&[u8]]) -> Arc<ClientConfig> {
    Tls::default()
        .config(alpn)
        .expect("the public roots are there")
}

/// What stands behind `tls` of a target.
pub(crate) fn read_tls(item: Item<'_>) -> Option<Tls> {
    let ca = optional(item, "ca", Item::file);
    let insecure = optional(item, "insecure", Item::bool);
    let client = optional(item, "client", |client| {
        let cert = client.key("cert").and_then(Item::file);
        let key = client.key("key").and_then(Item::file);
        Some(ClientFiles {
            cert: cert?.bytes,
            key: key?.bytes,
        })
    });
    let ca = ca?.map(|file| file.bytes);
    Some(Tls {
        ca,
        insecure: insecure?.unwrap_or_default(),
        client: client?,
    })
}
