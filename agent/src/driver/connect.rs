//! The driver `connect`: opens a connection and closes it. TCP, TLS and HTTP/2 handshakes alone, in `stage_connect`.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{Either, LocalBoxFuture, select};
use rustls::ClientConfig;
use testmesh_shared::plan::expr::{EvalError, Scope, Template};
use testmesh_shared::plan::keys::{Form, Group, Key, Keys, State};
use testmesh_shared::plan::{DriverForm, DriverStage, ErrorKind, Item, ProblemCode, Target};
use tokio::time::Instant;

use super::contract::{Attempt, Driver, Drives, Results, StageError};
use super::forms::{self, TLS};
use super::transport::{Address, Io, dial, http2_failure};
use super::{grpc, http};

/// The driver `connect`.
pub(super) static FORM: DriverForm = DriverForm {
    name: "connect",
    doc: "Opens a connection and closes it: TCP, TLS and HTTP/2 handshakes only.",
    state: State::Built,
    stage: Form::Object(&STAGE),
    target: None,
    read,
    read_target: |_| None,
};

static STAGE: Keys = Keys {
    name: "connect",
    doc: "Where to connect to.",
    keys: &[
        Key::new(
            "target",
            Form::Either(&[Form::Target("http"), Form::Target("grpc")]),
            "A target with an address.",
        ),
        Key::new(
            "address",
            Form::Template,
            "HOST:PORT; `https://HOST:PORT` means TLS.",
        ),
        Key::new(
            "tls",
            Form::Object(&TLS),
            "How to trust the server, instead of as the target says.",
        ),
        Key::new(
            "http2",
            Form::Bool,
            "Whether the server must answer a ping over HTTP/2.",
        )
        .default("false"),
    ],
    groups: &[Group::ExactlyOne(&["target", "address"])],
};

/// A stage that connects.
#[derive(Debug)]
struct Connect {
    to: To,
    /// For addresses with `https://`.
    tls: Arc<ClientConfig>,
    /// Ask the peer to answer a ping over HTTP/2.
    http2: bool,
}

/// Where a stage connects to.
#[derive(Debug)]
enum To {
    Address(Template),
    Http(Arc<Target>),
    Grpc(Arc<Template>),
}

impl To {
    fn text(&self, scope: &Scope<'_>) -> Result<String, EvalError> {
        match self {
            Self::Address(template) => template.text(scope).map(Cow::into_owned),
            Self::Grpc(template) => template.text(scope).map(Cow::into_owned),
            Self::Http(target) => {
                let target: &http::Target = target
                    .value()
                    .expect("a target of `http` was read by `http`");
                target.url.text(scope).map(Cow::into_owned)
            }
        }
    }
}

fn read(item: Item<'_>) -> Option<Box<dyn DriverStage>> {
    let http2 = forms::optional(item, "http2", Item::bool);
    let own_tls = item.has("tls").then(|| forms::tls(item, ALPN));
    let (to, tls) = match item.key("target") {
        Some(name) => of_target(name)?,
        None => (
            To::Address(item.key("address")?.template()?),
            forms::default_tls(ALPN),
        ),
    };
    let tls = own_tls.unwrap_or(Some(tls))?;
    Some(Drives::stage(Connect {
        to,
        tls,
        http2: http2?.unwrap_or_default(),
    }))
}

const ALPN: &[&[u8]] = &[b"h2", b"http/1.1"];

fn of_target(name: Item<'_>) -> Option<(To, Arc<ClientConfig>)> {
    let target = name.target_of(&["http", "grpc"])?;
    if let Some(http) = target.value::<http::Target>() {
        let tls = Arc::clone(&http.tls);
        return Some((To::Http(target), tls));
    }
    let grpc: &grpc::Target = target.value()?;
    let Some(address) = &grpc.address else {
        let message = format!("the target `{}` has no `address`", target.name);
        name.problem(
            ProblemCode::MissingKey,
            message,
            "connect to an `address` instead",
        );
        return None;
    };
    Some((To::Grpc(Arc::clone(address)), Arc::clone(&grpc.tls)))
}

impl Driver for Connect {
    fn run<'a>(
        &'a self,
        attempt: &'a Attempt<'a>,
    ) -> LocalBoxFuture<'a, Result<Results, StageError>> {
        async move {
            let text = self
                .to
                .text(attempt.scope)
                .map_err(|error| StageError::template("address", &error))?;
            let address = Address::parse(&text).map_err(|error| {
                StageError::new(ErrorKind::Expectation, error.to_string()).with_code("bad_address")
            })?;
            let tls = (address.tls == Some(true)).then_some(&self.tls);
            let dialled = dial(attempt.connections.gate(), &address, tls).await?;
            let took = if self.http2 {
                dialled.took + greet(dialled.io, &address).await?
            } else {
                dialled.took
            };
            attempt.meter.connect(took);
            Ok(Results::default())
        }
        .boxed_local()
    }
}

/// Sends the preface and a ping, and waits until the peer answers it: only then it has shown to speak HTTP/2.
async fn greet(io: Io, address: &Address) -> Result<Duration, StageError> {
    let start = Instant::now();
    let failed =
        |error: &h2::Error| http2_failure(&format!("HTTP/2 handshake with {address}"), error);
    let (_sender, mut connection) = h2::client::handshake(io)
        .await
        .map_err(|error| failed(&error))?;
    let mut ping = connection
        .ping_pong()
        .expect("nobody took the pings of a new connection");
    let pong = Box::pin(async move { ping.ping(h2::Ping::opaque()).await });
    match select(pong, connection).await {
        Either::Left((Ok(_), _)) => Ok(start.elapsed()),
        Either::Left((Err(error), _)) | Either::Right((Err(error), _)) => Err(failed(&error)),
        Either::Right((Ok(()), _)) => {
            let message = format!("{address} closed the connection during the HTTP/2 handshake");
            Err(StageError::new(ErrorKind::Reset, message))
        }
    }
}
