//! Runs one try: opens what it needs, does what the stage says, and says what it waited for if time runs out.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use testmesh_shared::plan::ErrorKind;
use testmesh_shared::plan::expr::Scope;

use super::connection::Connection;
use super::failure::failure;
use super::form::{AmqpStage, Target, Work};
use super::{consume, declare, management, publish};
use crate::driver::contract::{Attempt, Driver, Evidence, Results, StageError};
use crate::driver::limits;
use crate::driver::transcript::Said;
use crate::driver::tries::{Failure, Limit};

impl Driver for AmqpStage {
    fn results(&self) -> &'static [&'static str] {
        match self.work {
            Work::Consume(_) | Work::Queues(_) => &["status", "headers", "body", "text", "docs"],
            Work::Publish(_)
            | Work::Bind(_)
            | Work::Queue(_)
            | Work::Exchange(_)
            | Work::Delete(_) => &["status", "body", "text"],
        }
    }

    fn run<'a>(
        &'a self,
        attempt: &'a Attempt<'a>,
    ) -> LocalBoxFuture<'a, Result<Results, StageError>> {
        async move {
            let trial = Trial::new(self, attempt);
            let limit = Limit::of(attempt.stage, self.target().timeout);
            Limit::hold(limit, trial.run(), |limit| trial.timed_out(limit)).await
        }
        .boxed_local()
    }
}

/// One try.
pub(super) struct Trial<'a> {
    pub(super) stage: &'a AmqpStage,
    pub(super) attempt: &'a Attempt<'a>,
    /// What it waits for, for a time-out.
    step: Cell<&'static str>,
    connection: RefCell<Option<Rc<Connection>>>,
    /// What it has seen so far.
    pub(super) seen: consume::Seen,
}

/// A channel of a try's own, and its connection.
pub(super) struct Line {
    pub(super) connection: Rc<Connection>,
    pub(super) channel: lapin::Channel,
}

impl Line {
    /// What a failure of the channel means; `doing` says what was asked.
    pub(super) fn failed(&self, doing: &str) -> impl Fn(lapin::Error) -> Failure {
        let doing = format!("{doing} at {}", self.connection.at());
        move |error| failure(&doing, &error)
    }
}

impl<'a> Trial<'a> {
    fn new(stage: &'a AmqpStage, attempt: &'a Attempt<'a>) -> Self {
        Self {
            stage,
            attempt,
            step: Cell::new("its start"),
            connection: RefCell::default(),
            seen: consume::Seen::default(),
        }
    }

    async fn run(&self) -> Result<Results, StageError> {
        let result = match &self.stage.work {
            Work::Publish(publish) => publish::publish(self, publish).await,
            Work::Consume(consume) => consume::consume(self, consume).await,
            Work::Bind(bind) => declare::bind(self, bind).await,
            Work::Queue(queue) => declare::queue(self, queue).await,
            Work::Exchange(exchange) => declare::exchange(self, exchange).await,
            Work::Delete(queue) => declare::delete(self, queue).await,
            Work::Queues(pattern) => management::queues(self, pattern).await,
        };
        let result = result.or_else(Failure::into_results);
        let status = match &result {
            Ok(results) => results.status,
            Err(error) => error.status,
        };
        if let Some(status) = status {
            self.attempt.meter.status(status);
        }
        let failure = match &result {
            Ok(results) => results.failure.as_ref(),
            Err(_) => None,
        };
        if let Some(failure) = failure {
            self.answered(&failure.message, &[], "");
        }
        result
    }

    pub(super) fn target(&self) -> &'a Target {
        self.stage.target()
    }

    pub(super) fn scope(&self) -> &'a Scope<'a> {
        self.attempt.scope
    }

    /// Says what is waited for from now on.
    pub(super) fn waits_for(&self, step: &'static str) {
        self.step.set(step);
    }

    /// Opens a channel, on a connection that is there if it still works, or else on a new one.
    pub(super) async fn line(&self) -> Result<Line, Failure> {
        let (connection, is_new) = self.connection().await?;
        self.waits_for("a channel");
        match connection.channel().await {
            // Nothing was asked yet: what was found out is that the broker went away since the connection was last used.
            Err(_) if !is_new => {}
            result => {
                let channel = result?;
                return Ok(Line {
                    connection,
                    channel,
                });
            }
        }
        let (connection, _) = self.connection().await?;
        self.waits_for("a channel");
        let channel = connection.channel().await?;
        Ok(Line {
            connection,
            channel,
        })
    }

    /// The connection to use, and whether it was opened now.
    async fn connection(&self) -> Result<(Rc<Connection>, bool), StageError> {
        let target = self.target();
        let uri = target.uri(self.scope())?;
        self.waits_for("a connection to the broker");
        let is_new = Cell::new(false);
        let connections = self.attempt.connections;
        let connection = connections
            .open(target.connections, &self.stage.pool_key, async || {
                let opened = Connection::open(connections.gate(), uri, &target.tls).await;
                let (connection, took) = opened?;
                self.attempt.meter.connect(took);
                is_new.set(true);
                Ok::<_, StageError>(connection)
            })
            .await?;
        self.connection.replace(Some(Rc::clone(&connection)));
        Ok((connection, is_new.get()))
    }

    /// Tells what is asked.
    pub(super) fn asked(
        &self,
        what: impl FnOnce() -> String,
        headers: &[(Box<str>, Box<str>)],
        body: &[u8],
    ) {
        if let Some(listener) = self.attempt.listener {
            listener.asked(&Said {
                what: &what(),
                headers,
                body: &String::from_utf8_lossy(body),
            });
        }
    }

    /// Tells what is answered.
    pub(super) fn answered(&self, what: &str, headers: &[(Box<str>, Box<str>)], body: &str) {
        if let Some(listener) = self.attempt.listener {
            listener.answered(&Said {
                what,
                headers,
                body,
            });
        }
    }

    fn timed_out(&self, limit: &Limit) -> StageError {
        let blocked = match &*self.connection.borrow() {
            Some(connection) if connection.is_blocked() => {
                "; the broker takes no messages: it is short of memory or disk"
            }
            _ => "",
        };
        let message = format!(
            "not done within {}, waiting for {}{}{blocked}",
            limit.shown,
            self.step.get(),
            self.seen,
        );
        let error = StageError::new(ErrorKind::Timeout, message);
        match self.seen.evidence() {
            None => error,
            Some(evidence) => error.with_evidence(evidence),
        }
    }
}

/// An answer of AMQP's, in the broker's words for success.
pub(super) fn answer(body: &serde_json::Value) -> Results {
    Results {
        status: Some(i64::from(lapin::protocol::constants::REPLY_SUCCESS)),
        body: crate::driver::contract::Body::Bytes(body.to_string().into()),
        ..Results::default()
    }
}

/// What a finding shows of a message.
pub(super) fn evidence(headers: Vec<(Box<str>, Box<str>)>, data: &[u8]) -> Evidence {
    let end = data.len().min(limits::EVIDENCE_BYTES);
    Evidence {
        status: None,
        headers,
        body: bytes::Bytes::copy_from_slice(&data[..end]),
    }
}
