//! `testmesh.v1.Mesh`: one link per agent.
//!
//! A link is a task of its own: it answers clock probes at once, passes signs of life to the registry, and everything that
//! belongs to a run to that run's inbox. When the inbox is full the link waits, and through gRPC so does the agent; the
//! wait is not held against it. An agent that says what makes no sense loses its link, and nobody else notices.
use super::hello;
use super::server::Parts;
use crate::limits;
use crate::registry::{Assignment, JoinError, MemberId, Membership, Outbound, Outgoing};
use crate::run::{AgentInput, FromAgent};
use crate::telemetry;
use std::pin::Pin;
use testmesh_proto::v1::agent_message::Kind as Incoming;
use testmesh_proto::v1::coordinator_message::Kind;
use testmesh_proto::v1::mesh_server::Mesh;
use testmesh_proto::{PROTOCOL, v1};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Code, Request, Response, Status, Streaming};

/// The service.
#[derive(Debug)]
pub(super) struct MeshService {
    parts: Parts,
}

impl MeshService {
    pub(super) fn new(parts: Parts) -> Self {
        Self { parts }
    }
}

#[tonic::async_trait]
impl Mesh for MeshService {
    type LinkStream = Pin<Box<dyn Stream<Item = Result<v1::CoordinatorMessage, Status>> + Send>>;

    async fn link(
        &self,
        request: Request<Streaming<v1::AgentMessage>>,
    ) -> Result<Response<Self::LinkStream>, Status> {
        let (outbound, messages) = mpsc::channel(limits::OUTBOUND_QUEUE);
        let link = Link {
            parts: self.parts.clone(),
            outbound,
        };
        self.parts
            .tasks
            .spawn("link", link.serve(request.into_inner()));
        let stream = ReceiverStream::new(messages).map(|outgoing| match outgoing {
            Outgoing::Message(message) => Ok(message),
            Outgoing::Refuse(why) => Err(Status::failed_precondition(why)),
            Outgoing::Close(why) => Err(Status::aborted(why)),
        });
        Ok(Response::new(Box::pin(stream)))
    }
}

struct Link {
    parts: Parts,
    outbound: Outbound,
}

/// How a link goes on after a message.
enum Next {
    On,
    /// The agent says what makes no sense.
    Nonsense(String),
}

impl Link {
    async fn serve(self, mut inbound: Streaming<v1::AgentMessage>) {
        let membership = match self.greet(&mut inbound).await {
            Ok(membership) => membership,
            Err(refusal) => {
                if let Outgoing::Refuse(why) | Outgoing::Close(why) = &refusal {
                    telemetry::link_refused("", why);
                }
                let _ = self.outbound.send(refusal).await;
                return;
            }
        };
        self.converse(inbound, membership).await;
    }

    /// Hello and Welcome.
    async fn greet(
        &self,
        inbound: &mut Streaming<v1::AgentMessage>,
    ) -> Result<Membership, Outgoing> {
        let refuse = |error: hello::HelloError| Outgoing::Refuse(error.to_string());
        let first = tokio::select! {
            () = self.parts.closing.cancelled() => return Err(Outgoing::Close(JoinError::ShuttingDown.to_string())),
            first = timeout(limits::HELLO_TIMEOUT, inbound.message()) => first,
        };
        let Ok(Ok(Some(v1::AgentMessage {
            kind: Some(Incoming::Hello(hello)),
        }))) = first
        else {
            return Err(refuse(hello::HelloError::Absent));
        };
        let hello = hello::check(hello).map_err(refuse)?;
        let joined = self.parts.registry.join(hello, self.outbound.clone()).await;
        let membership = joined.map_err(|error| match error {
            JoinError::NameTaken(_) => Outgoing::Refuse(error.to_string()),
            JoinError::TooMany | JoinError::ShuttingDown => Outgoing::Close(error.to_string()),
        })?;
        let welcome = v1::Welcome {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            epoch: self.parts.epoch.get(),
            heartbeat_ms: millis(limits::HEARTBEAT),
            lease_ms: millis(self.parts.terms.lost_after),
        };
        self.say(Kind::Welcome(welcome)).await;
        Ok(membership)
    }

    async fn converse(&self, mut inbound: Streaming<v1::AgentMessage>, mut membership: Membership) {
        let (id, registry) = (membership.id, &self.parts.registry);
        loop {
            let message = tokio::select! {
                () = self.parts.closing.cancelled() => {
                    let _ = self.outbound.try_send(Outgoing::Close(JoinError::ShuttingDown.to_string()));
                    return registry.leave(id, "the coordinator is shutting down".into()).await;
                }
                changed = membership.assignment.changed() => match changed {
                    Ok(()) => continue,
                    // The registry has ended the membership, and told the agent why.
                    Err(_) => return,
                },
                message = inbound.message() => message,
            };
            let message = match message {
                Ok(Some(message)) => message,
                Ok(None) => return registry.leave(id, "it said goodbye".into()).await,
                // A message that is too large, or no message: its bytes have come, so the link is well and the agent is not.
                Err(status) if matches!(status.code(), Code::OutOfRange | Code::Internal) => {
                    let why = format!("its message cannot be read: {}", status.message());
                    return registry.eject(id, why).await;
                }
                Err(status) => {
                    let why = format!("its link broke: {}", status.message());
                    return registry.detach(id, why).await;
                }
            };
            if let Next::Nonsense(why) = self.take(message, id, &membership).await {
                return registry.eject(id, why).await;
            }
        }
    }

    async fn take(&self, message: v1::AgentMessage, id: MemberId, membership: &Membership) -> Next {
        let (run, input) = match message.kind {
            // A kind that a later version may send.
            None => return Next::On,
            Some(Incoming::Hello(_)) => return Next::Nonsense("it said Hello twice".into()),
            Some(Incoming::ClockProbe(probe)) => {
                self.answer(probe);
                return Next::On;
            }
            Some(Incoming::Heartbeat(heartbeat)) => {
                let vitals = hello::vitals(&heartbeat);
                self.parts.registry.heard(id, Some(vitals)).await;
                let assigned = membership.assignment.borrow().clone();
                if let Some(assignment) = assigned {
                    self.pass(AgentInput::Heartbeat(vitals), id, assignment)
                        .await;
                }
                return Next::On;
            }
            Some(Incoming::Refused(refused)) => (refused.run.clone(), AgentInput::Refused(refused)),
            Some(Incoming::Armed(armed)) => (armed.run, AgentInput::Armed),
            Some(Incoming::SetUpDone(done)) => (done.run.clone(), AgentInput::SetUpDone(done)),
            Some(Incoming::Batch(batch)) => (batch.run.clone(), AgentInput::Batch(Box::new(batch))),
            Some(Incoming::StageFirstPassed(first)) => {
                (first.run.clone(), AgentInput::StageFirstPassed(first))
            }
            Some(Incoming::FaultState(state)) => (state.run.clone(), AgentInput::FaultState(state)),
            Some(Incoming::Drained(drained)) => (drained.run.clone(), AgentInput::Drained(drained)),
            Some(Incoming::TearDownDone(done)) => {
                (done.run.clone(), AgentInput::TearDownDone(done))
            }
        };
        let assigned = membership.assignment.borrow().clone();
        match assigned.filter(|assignment| assignment.run.as_str() == run) {
            Some(assignment) => self.pass(input, id, assignment).await,
            None => self.late(&run, input),
        }
        Next::On
    }

    /// Hands a message to the run. An agent that waits because the run is busy is not silent.
    async fn pass(&self, message: AgentInput, id: MemberId, assignment: Assignment) {
        let agent = assignment.agent;
        let sending = assignment.inbox.send(FromAgent { agent, message });
        tokio::pin!(sending);
        // A run that is over needs no messages.
        while timeout(limits::HEARTBEAT, &mut sending).await.is_err() {
            self.parts.registry.heard(id, None).await;
            // Without a kind: a sign of life, for an agent whose heartbeats wait behind its own messages.
            let alive = v1::CoordinatorMessage { kind: None };
            let _ = self.outbound.try_send(Outgoing::Message(alive));
        }
    }

    /// A message of a run that this agent does not serve any more. Measurements are taken off its hands, and told.
    fn late(&self, run: &str, input: AgentInput) {
        let answer = match input {
            AgentInput::Batch(batch) => {
                telemetry::late_batch("", run);
                Kind::Ack(v1::Ack {
                    run: batch.run,
                    epoch: batch.epoch,
                    seq: batch.seq,
                })
            }
            // It has nothing left to do there, and was told to forget the run while its link was broken.
            AgentInput::Drained(drained) => Kind::Release(v1::Release { run: drained.run }),
            _ => return,
        };
        let _ = self.outbound.try_send(message(answer));
    }

    fn answer(&self, probe: v1::ClockProbe) {
        let received_ns = self.parts.anchor.unix_ns(Instant::now());
        let reply = v1::ClockReply {
            probe_sent_ns: probe.sent_ns,
            received_ns,
            replied_ns: self.parts.anchor.unix_ns_now(),
        };
        // A probe without an answer is only a probe less.
        let _ = self.outbound.try_send(message(Kind::ClockReply(reply)));
    }

    async fn say(&self, kind: Kind) {
        let _ = self.outbound.send(message(kind)).await;
    }
}

fn message(kind: Kind) -> Outgoing {
    Outgoing::Message(v1::CoordinatorMessage { kind: Some(kind) })
}

fn millis(duration: std::time::Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
