//! What goes on beside the reading of an answer: messages that go out, and the stages of `during`.
//!
//! All of it shares the task of its session, so that a server may answer before it has read everything, and a message may
//! go out while others come in. What is read comes first; the rest gets its turn whenever there is nothing to read.

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use futures_util::future::LocalBoxFuture;
use tokio::time::Instant;

use super::connection::Reply;
use super::status::Status;
use super::told::Told;
use super::watching::Watching;
use crate::driver::contract::StageError;
use crate::driver::during::During;
use crate::driver::stream::Watch;

/// What goes on beside one call. For most calls it is nothing, and costs as much.
#[derive(Default)]
pub(super) struct Beside<'a> {
    sending: Option<LocalBoxFuture<'a, Result<(), StageError>>>,
    /// Begins with the first message.
    during: Option<&'a dyn During>,
    running: Option<LocalBoxFuture<'a, Result<(), StageError>>>,
    watching: Option<Watching<'a>>,
    told: Option<Told<'a>>,
    /// The stream goes on until the stages of `during` have run.
    waits: bool,
    cut: bool,
}

impl fmt::Debug for Beside<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beside")
            .field("sending", &self.sending.is_some())
            .field("running", &self.running.is_some())
            .field("watching", &self.watching)
            .finish_non_exhaustive()
    }
}

/// What came of waiting for more of an answer.
#[derive(Debug)]
pub(super) enum Came {
    /// A piece of it.
    More,
    /// Its end.
    Status(Status),
    /// The stages of `during` have run.
    DuringOver,
}

enum With<T> {
    Waited(T),
    DuringOver,
}

impl<'a> Beside<'a> {
    /// What goes on beside a call that is answered with one message.
    pub(super) fn unary(told: Option<Told<'a>>) -> Self {
        Self {
            told,
            ..Self::default()
        }
    }

    /// Who is told of the call, if anybody listens.
    pub(super) fn told(&mut self) -> Option<&mut Told<'a>> {
        self.told.as_mut()
    }

    /// What goes on beside a stream.
    pub(super) fn stream(
        told: Option<Told<'a>>,
        during: Option<&'a dyn During>,
        watching: Option<Watching<'a>>,
    ) -> Self {
        Self {
            told,
            during,
            watching,
            ..Self::default()
        }
    }

    /// The same, for a stream that goes on at least until the stages of `during` have run, if it `waits`.
    pub(super) fn with_after_during(self, waits: bool) -> Self {
        Self { waits, ..self }
    }

    /// Whether the stream goes on, however much has come of it.
    pub(super) const fn holds(&self) -> bool {
        self.waits && (self.during.is_some() || self.running.is_some())
    }

    /// Messages that go out from now on.
    pub(super) fn send(&mut self, sending: LocalBoxFuture<'a, Result<(), StageError>>) {
        self.sending = Some(sending);
    }

    /// The stream has had a message: the stages of `during` begin, unless they have.
    pub(super) fn begin(&mut self) {
        if let Some(during) = self.during.take() {
            self.running = Some(during.run());
        }
    }

    /// Whether a stage of `during` failed, which cuts the stream and is no fault of its own.
    pub(super) fn is_cut(&self) -> bool {
        self.cut
    }

    /// Holds a message, which `watch` has been told of, against the stage's expressions: whether it is enough.
    #[inline]
    pub(super) fn message(
        &mut self,
        at: Instant,
        message: &[u8],
        watch: &Watch<'_>,
    ) -> Result<bool, StageError> {
        if let Some(told) = &mut self.told {
            told.received(message);
        }
        match (&mut self.watching, watch.seen()) {
            (Some(watching), Some(seen)) => watching.message(at, message, seen),
            _ => Ok(false),
        }
    }

    /// Waits for the answer's beginning.
    pub(super) async fn answer(
        &mut self,
        reply: impl Future<Output = Result<Reply, StageError>>,
    ) -> Result<Reply, StageError> {
        let mut reply = pin!(reply);
        loop {
            if let With::Waited(reply) = self.with(&mut reply).await? {
                return reply;
            }
        }
    }

    /// Waits for more of the answer.
    ///
    /// # Errors
    ///
    /// Those of the reading, of a message that cannot be made, and that of `during`.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    pub(super) async fn more(&mut self, reply: &mut Reply) -> Result<Came, StageError> {
        Ok(match self.with(pin!(reply.more())).await? {
            With::Waited(more) => more?.map_or(Came::More, Came::Status),
            With::DuringOver => Came::DuringOver,
        })
    }

    async fn with<T, F>(&mut self, mut future: F) -> Result<With<T>, StageError>
    where
        F: Future<Output = T> + Unpin,
    {
        poll_fn(|cx| {
            if let Poll::Ready(output) = std::pin::Pin::new(&mut future).poll(cx) {
                return Poll::Ready(Ok(With::Waited(output)));
            }
            if let Some(sending) = &mut self.sending
                && let Poll::Ready(sent) = sending.as_mut().poll(cx)
            {
                self.sending = None;
                if let Err(error) = sent {
                    return Poll::Ready(Err(error));
                }
            }
            if let Some(running) = &mut self.running
                && let Poll::Ready(ran) = running.as_mut().poll(cx)
            {
                self.running = None;
                self.cut = ran.is_err();
                return Poll::Ready(ran.map(|()| With::DuringOver));
            }
            Poll::Pending
        })
        .await
    }
}
