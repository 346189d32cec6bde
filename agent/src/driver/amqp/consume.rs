//! Waits for messages that match, and leaves the others where they were.

use std::cell::{Cell, RefCell};
use std::fmt;

use bytes::Bytes;
use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::protocol::constants::REPLY_SUCCESS;
use lapin::types::{FieldTable, ShortString};
use lapin::{Acker, Consumer};
use testmesh_shared::plan::ErrorKind;
use testmesh_shared::plan::expr::{EvalError, Expr, Scope, Value};

use super::declare::own_queue;
use super::form::{Ack, Consume, Source};
use super::message::{doc, headers, headers_value, short};
use super::run::{Line, Trial, evidence};
use crate::driver::contract::{Body, Evidence, Results, StageError};
use crate::driver::limits;
use crate::driver::tries::Failure;

/// Messages that did not match and are told all the same; the rest is counted.
const TOLD: u64 = 3;

/// Consumes until enough messages have matched.
///
/// # Cancel safety
///
/// Dropping the future closes the channel: the broker puts back what was not acknowledged.
pub(super) async fn consume(trial: &Trial<'_>, consume: &Consume) -> Result<Results, Failure> {
    let count = consume.count.resolve(trial.scope())?;
    let line = trial.line().await?;
    let queue = match &consume.from {
        Source::Queue(queue) => short("queue", queue, trial.scope())?,
        Source::Exchange(exchange, keys) => own_queue(trial, &line, exchange, keys).await?,
    };
    let mut consumer = subscribe(trial, &line, &queue, consume.ack).await?;
    let mut found = Found::new(trial, count);
    while found.acks.len() < count {
        trial.waits_for(if consume.matches.is_some() {
            "messages that match"
        } else {
            "messages"
        });
        let delivery = next(&line, &mut consumer, &queue).await?;
        trial.seen.look();
        let fits = found.fits(&delivery)?;
        let matches = fits.matches(consume.matches.as_ref(), trial.scope());
        if consume.ack == Ack::All {
            acknowledge(&line, &delivery.acker).await?;
        }
        match matches {
            Ok(true) => found.keep(trial, delivery)?,
            Ok(false) => trial.seen.passes_over(trial, delivery, None),
            Err(why) => trial.seen.passes_over(trial, delivery, Some(&why)),
        }
        let full = trial.seen.looked.get() >= limits::AMQP_HELD.unsigned_abs();
        if full && consume.ack != Ack::All && found.acks.len() < count {
            return Err(too_many(&queue, found.acks.len(), count).into());
        }
    }
    trial.waits_for("the broker to put back what was not taken");
    if consume.ack == Ack::Matched {
        for acker in &found.acks {
            acknowledge(&line, acker).await?;
        }
    }
    // Only when this has been answered, others can have what was held.
    let closed = line.channel.close(REPLY_SUCCESS, "OK".into());
    closed.await.map_err(line.failed("closing the channel"))?;
    found.results()
}

async fn subscribe(
    trial: &Trial<'_>,
    line: &Line,
    queue: &ShortString,
    ack: Ack,
) -> Result<Consumer, Failure> {
    // What is not acknowledged before the end must all fit: the broker sends no more than that.
    let prefetch = match ack {
        Ack::All => limits::AMQP_PREFETCH,
        Ack::None | Ack::Matched => u16::try_from(limits::AMQP_HELD).unwrap_or(u16::MAX),
    };
    let doing = format!("consuming from queue `{queue}`");
    trial.waits_for("the broker to let it consume");
    trial.asked(|| format!("{doing} at {}", line.connection.at()), &[], b"");
    let qos = line.channel.basic_qos(prefetch, BasicQosOptions::default());
    qos.await.map_err(line.failed(&doing))?;
    // An empty tag lets the broker choose one.
    let consumer = line.channel.basic_consume(
        queue.clone(),
        ShortString::default(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    consumer.await.map_err(line.failed(&doing))
}

async fn next(
    line: &Line,
    consumer: &mut Consumer,
    queue: &ShortString,
) -> Result<Delivery, Failure> {
    match consumer.next().await {
        Some(Ok(delivery)) => Ok(delivery),
        Some(Err(error)) => Err(line.failed(&format!("consuming from queue `{queue}`"))(
            error,
        )),
        None => {
            let at = line.connection.at();
            let message = format!(
                "consuming from queue `{queue}` at {at}: the broker ended it, because the queue was deleted or moved"
            );
            let error = StageError::new(ErrorKind::Unavailable, message).with_code("queue_gone");
            Err(Failure::Failed(error))
        }
    }
}

async fn acknowledge(line: &Line, acker: &Acker) -> Result<(), Failure> {
    let done = acker.ack(BasicAckOptions::default());
    match done.await {
        Ok(_) => Ok(()),
        Err(error) => Err(line.failed("acknowledging a message")(error)),
    }
}

fn too_many(queue: &ShortString, matched: usize, count: usize) -> StageError {
    let most = limits::AMQP_HELD;
    let message = format!(
        "{matched} of {count} messages matched among the first {most} of queue `{queue}`, and no more can be held back: write `ack: all` to take what does not match, or bind a queue of your own"
    );
    StageError::new(ErrorKind::Protocol, message).with_code("too_many")
}

/// A message that is not too large.
struct Fitting<'d>(&'d Delivery);

impl Fitting<'_> {
    fn matches(&self, expr: Option<&Expr>, scope: &Scope<'_>) -> Result<bool, EvalError> {
        let Some(expr) = expr else { return Ok(true) };
        let delivery = self.0;
        let data = &delivery.data;
        let mut layer = Scope::over(scope);
        layer.set("key", delivery.routing_key.as_str());
        layer.set("exchange", delivery.exchange.as_str());
        if expr.reads("headers") {
            layer.set("headers", headers_value(&delivery.properties));
        }
        layer.set_lazy("body", || {
            Value::from_json_slice(data).map_err(|error| format!("is not JSON: {error}"))
        });
        layer.set_lazy("text", || {
            Ok(Value::from(String::from_utf8_lossy(data).into_owned()))
        });
        expr.holds(&layer)
    }
}

/// Headers as results have them.
type Headers = Vec<(Box<str>, Box<str>)>;

/// The messages that matched.
struct Found {
    acks: Vec<Acker>,
    docs: Option<Vec<Value>>,
    last: Option<(Headers, Bytes)>,
    bytes: usize,
    limit: usize,
}

impl Found {
    fn new(trial: &Trial<'_>, count: usize) -> Self {
        Self {
            acks: Vec::with_capacity(count),
            docs: trial.attempt.stage.reads("docs").then(Vec::new),
            last: None,
            bytes: 0,
            limit: trial.target().max_message,
        }
    }

    /// A message may be as large as the target says, and all that are kept together.
    fn fits<'d>(&self, delivery: &'d Delivery) -> Result<Fitting<'d>, StageError> {
        let size = delivery.data.len();
        if size <= self.limit {
            return Ok(Fitting(delivery));
        }
        let (key, limit) = (&delivery.routing_key, self.limit);
        let message = format!(
            "a message with key `{key}` has {size} bytes, more than the limit of {limit} (max_message)"
        );
        let headers = headers(&delivery.properties);
        Err(StageError::new(ErrorKind::Protocol, message)
            .with_code("too_large")
            .with_evidence(evidence(headers, &delivery.data)))
    }

    fn keep(&mut self, trial: &Trial<'_>, delivery: Delivery) -> Result<(), StageError> {
        let headers = headers(&delivery.properties);
        if trial.attempt.listener.is_some() {
            let (key, size) = (&delivery.routing_key, delivery.data.len());
            let what = format!("a match with key `{key}`, {size} bytes");
            trial.answered(&what, &headers, &String::from_utf8_lossy(&delivery.data));
        }
        if let Some(docs) = &mut self.docs {
            self.bytes += delivery.data.len();
            if self.bytes > self.limit {
                let message = format!(
                    "the messages that matched are larger together than the limit of {} bytes (max_message)",
                    self.limit
                );
                return Err(StageError::new(ErrorKind::Protocol, message).with_code("too_large"));
            }
            docs.push(doc(&delivery));
        }
        trial.seen.matched.set(trial.seen.matched.get() + 1);
        self.last = Some((headers, delivery.data.into()));
        self.acks.push(delivery.acker);
        Ok(())
    }

    fn results(self) -> Result<Results, Failure> {
        let (headers, data) = self.last.unwrap_or_default();
        Ok(Results {
            status: Some(i64::from(REPLY_SUCCESS)),
            headers,
            body: Body::Bytes(data),
            docs: self.docs.map(Value::list),
            ..Results::default()
        })
    }
}

/// What a try has seen so far, for a time-out.
#[derive(Debug, Default)]
pub(super) struct Seen {
    looked: Cell<u64>,
    matched: Cell<usize>,
    /// The last message that did not match.
    last: RefCell<Option<(ShortString, Evidence)>>,
    /// Why there was no telling whether it does.
    why: RefCell<Option<String>>,
}

impl Seen {
    fn look(&self) {
        self.looked.set(self.looked.get() + 1);
    }

    fn passes_over(&self, trial: &Trial<'_>, delivery: Delivery, why: Option<&EvalError>) {
        let headers = headers(&delivery.properties);
        let told = self.looked.get() - self.matched.get() as u64;
        if trial.attempt.listener.is_some() && told <= TOLD {
            let (key, size) = (&delivery.routing_key, delivery.data.len());
            let what = format!("no match, with key `{key}`, {size} bytes");
            trial.answered(&what, &headers, &String::from_utf8_lossy(&delivery.data));
        }
        let seen = evidence(headers, &delivery.data);
        self.last.replace(Some((delivery.routing_key, seen)));
        self.why.replace(why.map(ToString::to_string));
    }

    /// The last message that did not match.
    pub(super) fn evidence(&self) -> Option<Evidence> {
        let last = self.last.borrow();
        last.as_ref().map(|(_, evidence)| evidence.clone())
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (looked, matched) = (self.looked.get(), self.matched.get());
        if looked == 0 {
            return Ok(());
        }
        write!(f, "; {matched} of {looked} that came matched")?;
        if let Some((key, _)) = &*self.last.borrow() {
            write!(f, "; the last that did not had the key `{key}`")?;
        }
        if let Some(why) = &*self.why.borrow() {
            write!(f, " ({why})")?;
        }
        Ok(())
    }
}
