//! A job's queue: declared before the job is accepted, consumed while it lives, declared again when RabbitMQ is back.

use std::sync::Arc;

use anyhow::ensure;
use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, BasicRejectOptions, QueueBindOptions,
    QueueDeclareOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Consumer};
use tokio::time::{sleep, timeout};
use tracing::Instrument;

use super::apply::apply;
use super::command;
use super::connection::{Broker, Living, Removal};
use super::trace::{consumer as consumer_span, extract};
use super::work::in_time;
use crate::jobs::Job;
use crate::limits::{AMQP_PATIENCE, AMQP_PREFETCH, AMQP_QUEUE_BYTES, AMQP_RETRY};
use crate::server::Server;

/// Every command of one kind, for all jobs: `baby_analyzer.commands.roi`.
const FOR_ALL: &str = "baby_analyzer.commands.*";

/// The queue of a job that is consumed.
pub(crate) struct Opened {
    /// Dropping it closes the channel.
    _channel: Channel,
    consumer: Consumer,
    _connection: Arc<lapin::Connection>,
}

/// The name of a job's queue.
pub(crate) fn queue_of(job: &str) -> String {
    format!("grpc-job-{job}-commands")
}

/// Whether messages of an earlier job of the same name may be left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Purge,
    Keep,
}

/// Declares and consumes a new job's queue.
///
/// # Errors
///
/// A text for the client: RabbitMQ did not answer within the time that a configure may take.
pub(crate) async fn open(broker: &Broker, job: &str) -> Result<Opened, String> {
    let queue = queue_of(job);
    let mut last = None;
    let opening = async {
        loop {
            match try_open(broker, &queue, job, Before::Purge).await {
                Ok(opened) => return opened,
                Err(error) => last = Some(error),
            }
            sleep(AMQP_RETRY).await;
        }
    };
    let opened = timeout(AMQP_PATIENCE, opening).await;
    opened.map_err(|_| {
        let why = last.map(|error| format!("{error:#}"));
        tracing::warn!(queue, why, "a job is refused: its queue was not declared");
        format!(
            "RabbitMQ is unavailable: the queue {queue} was not declared within {AMQP_PATIENCE:?}"
        )
    })
}

async fn try_open(
    broker: &Broker,
    queue: &str,
    job: &str,
    before: Before,
) -> anyhow::Result<Opened> {
    let connection = broker.connection().await;
    let channel = in_time("open a channel", connection.create_channel()).await?;
    let prefetch = channel.basic_qos(AMQP_PREFETCH, BasicQosOptions::default());
    in_time("limit deliveries", prefetch).await?;
    let mut arguments = FieldTable::default();
    let most = AMQPValue::LongLongInt(AMQP_QUEUE_BYTES);
    arguments.insert("x-max-length-bytes".into(), most);
    let durable = QueueDeclareOptions::durable();
    let declared = channel.queue_declare(queue.into(), durable, arguments);
    let declared = in_time("declare a queue", declared).await?;
    if before == Before::Purge {
        ensure!(
            declared.consumer_count() == 0,
            "the queue {queue} is in use: give each testbed a virtual host of its own"
        );
        let purged = channel.queue_purge(queue.into(), QueuePurgeOptions::default());
        in_time("purge a queue", purged).await?;
    }
    for key in [FOR_ALL.to_owned(), format!("{FOR_ALL}.{job}")] {
        let bound = channel.queue_bind(
            queue.into(),
            broker.exchange().into(),
            key.into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        in_time("bind a queue", bound).await?;
    }
    // Exclusive: two testbeds on one virtual host would take each other's commands.
    let options = BasicConsumeOptions {
        exclusive: true,
        ..BasicConsumeOptions::default()
    };
    let consumed = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default());
    let consumer = in_time("consume a queue", consumed).await?;
    Ok(Opened {
        _channel: channel,
        consumer,
        _connection: connection,
    })
}

/// Takes a job's commands for as long as it is polled, over losses of the connection.
pub(crate) async fn attend(server: &Server, broker: &Broker, job: &Job, mut opened: Opened) {
    let queue = queue_of(&job.id);
    loop {
        while let Some(Ok(delivery)) = opened.consumer.next().await {
            take(server, job, &queue, delivery).await;
        }
        tracing::debug!(queue, "the queue is lost: it is declared again");
        opened = loop {
            sleep(AMQP_RETRY).await;
            match try_open(broker, &queue, &job.id, Before::Keep).await {
                Ok(opened) => break opened,
                Err(error) => tracing::debug!(queue, error = format!("{error:#}"), "not yet"),
            }
        };
    }
}

/// Says that a job's queue is not needed any more.
pub(crate) fn close(broker: &Broker, job: &str, living: Living) {
    broker.remove(Removal {
        queue: queue_of(job),
        if_unused: false,
    });
    drop(living);
}

/// Says that the queue of a job that was refused is not needed, if it is that job's at all.
pub(crate) fn give_up(broker: &Broker, job: &str, living: Living) {
    broker.remove(Removal {
        queue: queue_of(job),
        if_unused: true,
    });
    drop(living);
}

async fn take(server: &Server, job: &Job, queue: &str, delivery: Delivery) {
    let routing_key = delivery.routing_key.as_str();
    let span = consumer_span(queue, routing_key);
    if let Some(trace) = extract(delivery.properties.headers().as_ref()) {
        trace.adopt(&span);
    }
    let taking = async {
        let kind = delivery.properties.content_type();
        let kind = kind.as_ref().map(|kind| kind.as_str());
        let (name, outcome) = match command::read(&delivery.data, kind) {
            Ok(command) => (Some(command.name()), apply(server, job, &command)),
            Err(error) => (None, Err(error.to_string())),
        };
        tracing::Span::current().record("command", name);
        if let Err(reason) = &outcome {
            tracing::Span::current().record("rejected", reason);
            tracing::warn!(
                job = job.id,
                command = name,
                reason,
                "a command is rejected"
            );
        }
        let is_applied = outcome.is_ok();
        let at_ms = server.clock.now_ns() / 1_000_000;
        job.journal.enter(at_ms, routing_key, name, outcome);
        let acker = &delivery.acker;
        let answered = if is_applied {
            in_time(
                "acknowledge a command",
                acker.ack(BasicAckOptions::default()),
            )
            .await
        } else {
            let options = BasicRejectOptions { requeue: false };
            in_time("reject a command", acker.reject(options)).await
        };
        if let Err(error) = answered {
            // It comes again, and does the same again.
            tracing::debug!(error = format!("{error:#}"), "a command was not answered");
        }
    };
    taking.instrument(span).await;
}
