//! The connection to the coordinator as a component.
//!
//! Owns the gRPC stream and the [`LinkState`]; the loop selects an event, steps the state machine, and performs what it
//! says. Messages of runs come in through one bounded channel and leave, as they arrive, through another; what is lost with
//! a broken connection is repeated by its sender, who learns of the new one by [`LinkEvent::Up`].

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use testmesh_proto::v1::agent_message::Kind as Outgoing;
use testmesh_proto::v1::coordinator_message::Kind as Incoming;
use testmesh_proto::v1::mesh_client::MeshClient;
use testmesh_proto::v1::{AgentMessage, ClockProbe, CoordinatorMessage, Heartbeat, Hello, Welcome};
use testmesh_shared::clock::{OffsetEstimate, Probe, TimeAnchor};
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;
use tonic::{Code, Status, Streaming};
use url::Url;

use super::state::{Action, Event, LinkState, Policy};
use crate::limits;
use crate::telemetry::Vitals;

/// What a link needs to know.
#[derive(Debug)]
pub struct LinkConfig {
    /// Where the coordinator listens.
    pub coordinator: Url,
    /// Said first on every connection.
    pub hello: Hello,
    /// How patient it is.
    pub policy: Policy,
    /// Turns this process's monotonic clock into wire times.
    pub anchor: TimeAnchor,
}

/// What a link tells its agent.
#[derive(Debug)]
pub enum LinkEvent {
    /// The coordinator can be reached, perhaps again: repeat what it has not acknowledged.
    Up,
    /// The coordinator cannot be reached for now.
    Down,
    /// A message for a run.
    Message(Box<Incoming>),
    /// Nothing was heard for a whole lease: runs drain.
    LeaseExpired,
}

/// Why a link ended for good.
#[derive(Debug, Error)]
pub enum LinkError {
    /// The address is none.
    #[error("`{coordinator}` is not an address that can be dialled")]
    Address {
        /// As given.
        coordinator: Url,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
    /// Nobody answered in time.
    #[error("coordinator {coordinator} could not be reached: {last}")]
    Unreachable {
        /// Whom we dialled.
        coordinator: Url,
        /// What the last attempt said.
        last: String,
    },
    /// The coordinator will not have this agent.
    #[error("coordinator {coordinator} refused this agent: {reason}")]
    Refused {
        /// Whom we dialled.
        coordinator: Url,
        /// In its words, or ours if its protocol is another.
        reason: String,
    },
}

/// The connection as a component: run it once.
#[derive(Debug)]
pub struct Link {
    config: LinkConfig,
    outgoing: mpsc::Receiver<Outgoing>,
    events: mpsc::Sender<LinkEvent>,
    offset: watch::Sender<OffsetEstimate>,
    vitals: Vitals,
    stream: Connection,
    last_error: String,
    refused: bool,
}

/// The gRPC stream in its stages.
enum Connection {
    None,
    Opening(BoxFuture<'static, Result<Box<Open>, Status>>),
    Open(Box<Open>),
}

struct Open {
    incoming: Streaming<CoordinatorMessage>,
    outgoing: mpsc::Sender<AgentMessage>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Opening(_) => "Opening",
            Self::Open(_) => "Open",
        })
    }
}

/// What the loop woke up for.
enum Woken {
    Tick,
    Opened(Result<Box<Open>, Status>),
    Received(Result<Option<CoordinatorMessage>, Status>),
    Send(Outgoing),
    Stop,
}

impl Link {
    /// A link that is not dialled yet. `outgoing` is what runs have to say; `events` is what they hear; `offset` is kept at
    /// the newest estimate of the coordinator's clock.
    pub fn new(
        config: LinkConfig,
        outgoing: mpsc::Receiver<Outgoing>,
        events: mpsc::Sender<LinkEvent>,
        offset: watch::Sender<OffsetEstimate>,
        vitals: Vitals,
    ) -> Self {
        Self {
            config,
            outgoing,
            events,
            offset,
            vitals,
            stream: Connection::None,
            last_error: String::new(),
            refused: false,
        }
    }

    /// Keeps the link up until `stop`, or until it is refused or gives up. What was queued before `stop` is still sent if
    /// the connection is open.
    ///
    /// # Errors
    ///
    /// The coordinator refused this agent, or could not be reached within the configured time.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), LinkError> {
        let endpoint = self.endpoint()?;
        let mut state = LinkState::new(self.config.policy.clone(), Instant::now());
        let mut actions = state.step(Instant::now(), Event::Tick);
        loop {
            for action in std::mem::take(&mut actions) {
                if action == Action::Close {
                    return Err(self.closing_error());
                }
                self.perform(action, &endpoint).await;
            }
            let woken = self.wake(state.wake_at(), &stop).await;
            let event = match woken {
                Woken::Stop => return self.farewell().await,
                Woken::Send(message) => {
                    if self.send(message).await {
                        continue;
                    }
                    // It is repeated after a reconnect, and after nothing less.
                    self.last_error = "the coordinator did not take a message in time".into();
                    Event::Broke
                }
                other => self.take_in(other).await,
            };
            actions = state.step(Instant::now(), event);
        }
    }

    fn endpoint(&self) -> Result<Endpoint, LinkError> {
        let coordinator = &self.config.coordinator;
        let endpoint = Endpoint::from_shared(coordinator.to_string()).map_err(|source| {
            LinkError::Address {
                coordinator: coordinator.clone(),
                source,
            }
        })?;
        Ok(endpoint
            .connect_timeout(self.config.policy.answer_within)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(limits::LINK_KEEP_ALIVE)
            .keep_alive_timeout(limits::LINK_KEEP_ALIVE)
            .keep_alive_while_idle(true))
    }

    /// Waits for the next thing to happen; each source is polled only where it makes sense.
    async fn wake(&mut self, wake_at: Option<Instant>, stop: &CancellationToken) -> Woken {
        let tick = async {
            match wake_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        match &mut self.stream {
            Connection::None => tokio::select! {
                () = stop.cancelled() => Woken::Stop,
                () = tick => Woken::Tick,
            },
            Connection::Opening(opening) => tokio::select! {
                () = stop.cancelled() => Woken::Stop,
                opened = opening => Woken::Opened(opened),
                () = tick => Woken::Tick,
            },
            Connection::Open(open) => tokio::select! {
                // Incoming first: an Ack makes room. Stopping last: what is queued goes out before.
                biased;
                received = open.incoming.message() => Woken::Received(received),
                () = tick => Woken::Tick,
                Some(message) = self.outgoing.recv() => Woken::Send(message),
                () = stop.cancelled() => Woken::Stop,
            },
        }
    }

    /// Turns what the connection said into an event, passing messages on.
    async fn take_in(&mut self, woken: Woken) -> Event {
        match woken {
            Woken::Tick | Woken::Send(_) | Woken::Stop => Event::Tick,
            Woken::Opened(Ok(open)) => {
                self.stream = Connection::Open(open);
                Event::Dialled
            }
            Woken::Opened(Err(status)) | Woken::Received(Err(status)) => self.broken(&status),
            Woken::Received(Ok(None)) => {
                self.last_error = "the coordinator closed the connection".into();
                Event::Broke
            }
            Woken::Received(Ok(Some(message))) => self.received(message).await,
        }
    }

    async fn received(&mut self, message: CoordinatorMessage) -> Event {
        match message.kind {
            Some(Incoming::Welcome(welcome)) => self.welcomed(&welcome),
            Some(Incoming::ClockReply(reply)) => {
                let probe = Probe {
                    sent_ns: reply.probe_sent_ns,
                    received_ns: reply.received_ns,
                    replied_ns: reply.replied_ns,
                    returned_ns: self.config.anchor.unix_ns_now(),
                };
                self.offset.send_modify(|estimate| estimate.add(probe));
                Event::Heard
            }
            Some(kind) => {
                self.tell(LinkEvent::Message(Box::new(kind))).await;
                Event::Heard
            }
            // A kind that a later version may send.
            None => Event::Heard,
        }
    }

    fn welcomed(&mut self, welcome: &Welcome) -> Event {
        let hello = &self.config.hello;
        if !(hello.protocol_min..=hello.protocol_max).contains(&welcome.protocol) {
            self.last_error = format!(
                "it speaks protocol {} (testmesh {}), this agent {} to {} (testmesh {})",
                welcome.protocol,
                welcome.version,
                hello.protocol_min,
                hello.protocol_max,
                hello.version
            );
            self.refused = true;
            return Event::Refused;
        }
        tracing::info!(coordinator = %self.config.coordinator, version = %welcome.version, "welcomed");
        let at_least =
            |millis: u32, least: Duration| Duration::from_millis(u64::from(millis)).max(least);
        Event::Welcomed {
            heartbeat: at_least(welcome.heartbeat_ms, limits::HEARTBEAT_LEAST),
            lease: at_least(welcome.lease_ms, limits::LEASE_LEAST),
        }
    }

    fn broken(&mut self, status: &Status) -> Event {
        self.last_error = match std::error::Error::source(status) {
            Some(source) => testmesh_shared::error::Chain(source).to_string(),
            None => status.message().to_owned(),
        };
        tracing::debug!(code = ?status.code(), error = %self.last_error, "link broke");
        match status.code() {
            Code::FailedPrecondition
            | Code::InvalidArgument
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::AlreadyExists
            | Code::Unimplemented => {
                self.refused = true;
                Event::Refused
            }
            _ => Event::Broke,
        }
    }

    async fn perform(&mut self, action: Action, endpoint: &Endpoint) {
        match action {
            Action::Dial => {
                self.stream =
                    Connection::Opening(dial(endpoint.clone(), self.config.hello.clone()).boxed())
            }
            // Hello was the stream's first message.
            Action::Greet | Action::Close => {}
            Action::Beat => self.beat().await,
            Action::HangUp => self.stream = Connection::None,
            Action::AnnounceUp => self.tell(LinkEvent::Up).await,
            Action::AnnounceDown => {
                tracing::warn!(coordinator = %self.config.coordinator, error = %self.last_error, "coordinator lost");
                self.tell(LinkEvent::Down).await;
            }
            Action::ExpireLease => self.tell(LinkEvent::LeaseExpired).await,
        }
    }

    async fn beat(&mut self) {
        let clock = self.offset.borrow().offset();
        let vitals = self.vitals.read();
        let beat = Heartbeat {
            cpu: vitals.cpu,
            memory: vitals.memory,
            clock_offset_ns: clock.map_or(0, |clock| clock.offset_ns),
            // Before the first answer nothing is known.
            clock_uncertainty_ns: clock.map_or(u64::MAX, |clock| clock.uncertainty_ns),
        };
        self.send(Outgoing::Heartbeat(beat)).await;
        let sent_ns = self.config.anchor.unix_ns_now();
        self.send(Outgoing::ClockProbe(ClockProbe { sent_ns }))
            .await;
    }

    /// Sends on the open connection. Waits for the transport, but never beyond the time an answer may take: a coordinator
    /// that does not read is as good as gone. Whether the message is on its way.
    async fn send(&mut self, message: Outgoing) -> bool {
        let Connection::Open(open) = &self.stream else {
            return false;
        };
        let message = AgentMessage {
            kind: Some(message),
        };
        let sent = tokio::time::timeout(
            self.config.policy.answer_within,
            open.outgoing.send(message),
        )
        .await;
        matches!(sent, Ok(Ok(())))
    }

    /// The agent outlives its link, or is ending: then there is nobody to tell.
    async fn tell(&mut self, event: LinkEvent) {
        let _ = self.events.send(event).await;
    }

    /// Sends what is queued, and lets the transport finish.
    async fn farewell(mut self) -> Result<(), LinkError> {
        self.outgoing.close();
        while let Some(message) = self.outgoing.recv().await {
            self.send(message).await;
        }
        if let Connection::Open(open) = std::mem::replace(&mut self.stream, Connection::None) {
            let Open {
                mut incoming,
                outgoing,
            } = *open;
            drop(outgoing);
            let until_closed = async { while let Ok(Some(_)) = incoming.message().await {} };
            let _ = tokio::time::timeout(limits::FAREWELL, until_closed).await;
        }
        Ok(())
    }

    fn closing_error(self) -> LinkError {
        let coordinator = self.config.coordinator;
        if self.refused {
            return LinkError::Refused {
                coordinator,
                reason: self.last_error,
            };
        }
        let last = if self.last_error.is_empty() {
            "no answer".into()
        } else {
            self.last_error
        };
        LinkError::Unreachable { coordinator, last }
    }
}

/// Opens the connection and the stream on it, with Hello as its first message.
async fn dial(endpoint: Endpoint, hello: Hello) -> Result<Box<Open>, Status> {
    let channel = endpoint
        .connect()
        .await
        .map_err(|error| Status::from_error(Box::new(error)))?;
    let mut client = MeshClient::new(channel)
        .max_decoding_message_size(limits::LINK_MESSAGE_BYTES)
        .max_encoding_message_size(limits::LINK_MESSAGE_BYTES);
    let (outgoing, messages) = mpsc::channel(limits::LINK_QUEUE);
    let first = AgentMessage {
        kind: Some(Outgoing::Hello(hello)),
    };
    outgoing
        .try_send(first)
        .map_err(|_| Status::internal("a new queue has room for its first message"))?;
    let incoming = client
        .link(ReceiverStream::new(messages))
        .await?
        .into_inner();
    Ok(Box::new(Open { incoming, outgoing }))
}
