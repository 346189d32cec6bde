//! What agents say to a run, as their links hand it over.
use super::event::AgentIndex;
use crate::limits;
use crate::registry::Vitals;
use prost::Message;
use std::sync::Arc;
use testmesh_proto::v1;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Where the links of a run's agents put their messages. Bounded by number and by bytes: a full inbox holds the links back,
/// and they the agents.
#[derive(Clone, Debug)]
pub struct Inbox {
    queue: mpsc::Sender<Held>,
    room: Arc<Semaphore>,
}

/// The other end of an [`Inbox`].
#[derive(Debug)]
pub struct Messages {
    queue: mpsc::Receiver<Held>,
}

/// A message with the room that it takes, which is free again once the message is taken out.
#[derive(Debug)]
struct Held {
    message: FromAgent,
    _room: OwnedSemaphorePermit,
}

/// The run is over, and needs no messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the run is over")]
pub struct Over;

impl Inbox {
    /// An empty inbox that holds so many messages, and so many KiB of them.
    pub fn new(messages: usize, kib: usize) -> (Self, Messages) {
        let (sender, receiver) = mpsc::channel(messages);
        let room = Arc::new(Semaphore::new(kib));
        let inbox = Self {
            queue: sender,
            room,
        };
        (inbox, Messages { queue: receiver })
    }

    /// Waits for room, and puts a message in. Dropped before that, it has put nothing in.
    ///
    /// # Errors
    ///
    /// If nobody will take it out.
    pub async fn send(&self, message: FromAgent) -> Result<(), Over> {
        // One that is larger than all there is waits until it is alone.
        let kib = (message.message.encoded_len() / 1024 + 1).min(limits::RUN_QUEUE_KIB);
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        let held = async {
            let room = Arc::clone(&self.room).acquire_many_owned(kib).await;
            let _room = room.map_err(|_| Over)?;
            let held = Held { message, _room };
            self.queue.send(held).await.map_err(|_| Over)
        };
        tokio::select! {
            sent = held => sent,
            // A run that ends leaves its room to nobody.
            () = self.queue.closed() => Err(Over),
        }
    }
}

impl Messages {
    /// The next message; none once every [`Inbox`] is gone. Cancel safe.
    pub async fn recv(&mut self) -> Option<FromAgent> {
        self.queue.recv().await.map(|held| held.message)
    }
}

impl AgentInput {
    /// Bytes on the wire, of what can be large.
    fn encoded_len(&self) -> usize {
        match self {
            Self::Batch(batch) => batch.encoded_len(),
            Self::Refused(refused) => refused.encoded_len(),
            Self::SetUpDone(done) => done.encoded_len(),
            Self::TearDownDone(done) => done.encoded_len(),
            Self::FaultState(state) => state.encoded_len(),
            Self::StageFirstPassed(first) => first.encoded_len(),
            Self::Heartbeat(_) | Self::Armed | Self::Drained(_) => 0,
        }
    }
}

/// One message of one agent.
#[derive(Debug)]
pub struct FromAgent {
    /// Who, by its number in the run.
    pub agent: AgentIndex,
    /// What.
    pub message: AgentInput,
}

/// What an agent says to its run.
#[derive(Debug)]
pub enum AgentInput {
    /// How it is.
    Heartbeat(Vitals),
    /// It cannot run the plan.
    Refused(v1::Refused),
    /// It is ready.
    Armed,
    /// Setup ended.
    SetUpDone(v1::SetUpDone),
    /// What it measured. Decoded where it is merged, because its buckets are borrowed, not copied.
    Batch(Box<v1::Batch>),
    /// No session is in flight and none will start.
    Drained(v1::Drained),
    /// Teardown ended.
    TearDownDone(v1::TearDownDone),
    /// How a fault is.
    FaultState(v1::FaultState),
    /// A session passed a stage that a fault waits for.
    StageFirstPassed(v1::StageFirstPassed),
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn set_up_done(kib: usize) -> FromAgent {
        let done = v1::SetUpDone {
            saves: "x".repeat(kib * 1024),
            ..v1::SetUpDone::default()
        };
        FromAgent {
            agent: 0,
            message: AgentInput::SetUpDone(done),
        }
    }

    #[tokio::test]
    async fn an_inbox_is_full_by_bytes_long_before_it_is_by_number() {
        let (inbox, mut messages) = Inbox::new(100, 10);
        assert_eq!(inbox.send(set_up_done(4)).now_or_never(), Some(Ok(())));
        assert_eq!(inbox.send(set_up_done(4)).now_or_never(), Some(Ok(())));
        assert_eq!(inbox.send(set_up_done(4)).now_or_never(), None);
        assert!(messages.recv().await.is_some());
        assert_eq!(inbox.send(set_up_done(4)).now_or_never(), Some(Ok(())));
        // A link that waits for a run that ends waits no longer.
        let waiting = inbox.send(set_up_done(4));
        tokio::pin!(waiting);
        assert_eq!(waiting.as_mut().now_or_never(), None);
        drop(messages);
        assert_eq!(waiting.await, Err(Over));
    }
}
