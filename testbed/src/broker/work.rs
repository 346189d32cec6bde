//! The loop that holds the connection: connects, declares the exchange, deletes the queues of gone jobs and publishes, and
//! begins anew when the connection is lost. Every wait has a time-out.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, bail};
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ExchangeKind};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::Instrument;

use super::connection::{Broker, Publish, Removal, properties, uri};
use super::trace::{inject, producer};
use crate::clock::Clock;
use crate::limits::{AMQP_ANSWER, AMQP_RETRY, SHUTDOWN_GRACE};
use crate::server::Server;

/// How often a connection is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// Persistent, as deployed.
const DELIVERY_PERSISTENT: u8 = 2;

/// What waits to be published.
#[derive(Debug)]
pub(crate) struct Work(pub(super) mpsc::Receiver<Publish>);

/// Why a connection is left.
#[derive(Debug)]
enum Left {
    Lost,
    Ended,
}

/// Runs until the testbed drains and the queues of its jobs are gone, but for no longer than a shutdown waits.
pub(crate) async fn run(server: Arc<Server>, broker: Broker, mut work: Work) {
    loop {
        let connected = tokio::select! {
            biased;
            () = server.tasks.shutdown().draining() => return end(&broker),
            connected = connect(&broker) => connected,
        };
        match connected {
            Ok((connection, channel)) => {
                let connection = Arc::new(connection);
                broker.inner.link.up();
                let shared = Some(Arc::clone(&connection));
                broker.inner.connection.send_replace(shared);
                let left = serve(&server, &broker, &mut work, (&connection, &channel)).await;
                broker.inner.connection.send_replace(None);
                if matches!(left, Left::Ended) {
                    let closed = connection.close(200, "the testbed ends".into());
                    // The broker notices that a client is gone by itself.
                    let _ = timeout(AMQP_ANSWER, closed).await;
                    return end(&broker);
                }
                down(&broker, &server.clock, "the connection was closed");
            }
            Err(error) => down(&broker, &server.clock, &format!("{error:#}")),
        }
        tokio::select! {
            biased;
            () = server.tasks.shutdown().draining() => return end(&broker),
            () = sleep(AMQP_RETRY) => {}
        }
    }
}

fn down(broker: &Broker, clock: &Clock, why: &str) {
    broker.inner.link.down(clock.now_s(), why);
}

/// What was not done will not be done.
fn end(broker: &Broker) {
    let left = broker.removals().len();
    if left > 0 {
        tracing::warn!(left, "queues of gone jobs stay in RabbitMQ");
    }
}

async fn connect(broker: &Broker) -> anyhow::Result<(Connection, Channel)> {
    let config = &broker.inner.config;
    let uri = uri(config)?;
    let connection = in_time("connect", Connection::connect_uri(uri, properties())).await?;
    let channel = in_time("open a channel", connection.create_channel()).await?;
    let confirms = channel.confirm_select(ConfirmSelectOptions::default());
    in_time("ask for confirms", confirms).await?;
    let options = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let declared = channel.exchange_declare(
        config.exchange.as_str().into(),
        ExchangeKind::Topic,
        options,
        FieldTable::default(),
    );
    in_time("declare the exchange", declared).await?;
    Ok((connection, channel))
}

/// Waits for an answer of RabbitMQ's for as long as one may take.
pub(super) async fn in_time<T>(
    operation: &'static str,
    answer: impl Future<Output = lapin::Result<T>>,
) -> anyhow::Result<T> {
    timeout(AMQP_ANSWER, answer)
        .await
        .with_context(|| format!("RabbitMQ took more than {AMQP_ANSWER:?} to {operation}"))?
        .with_context(|| format!("failed to {operation}"))
}

/// What comes next while there is a connection.
enum Next {
    Publish(Publish),
    Look,
    Deadline,
}

async fn serve(
    server: &Server,
    broker: &Broker,
    work: &mut Work,
    (connection, channel): (&Connection, &Channel),
) -> Left {
    let shutdown = server.tasks.shutdown();
    let mut deadline = None;
    loop {
        if !connection.status().connected() || !channel.status().connected() {
            return Left::Lost;
        }
        if !remove_queues(broker, connection).await {
            return Left::Lost;
        }
        if shutdown.is_draining() {
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + SHUTDOWN_GRACE);
            let is_done = broker.inner.living.load(Ordering::SeqCst) == 0
                && broker.removals().is_empty()
                && work.0.is_empty();
            if is_done || Instant::now() >= deadline {
                return Left::Ended;
            }
        }
        let next = tokio::select! {
            publish = work.0.recv() => publish.map_or(Next::Look, Next::Publish),
            () = broker.inner.removal.notified() => Next::Look,
            () = shutdown.draining(), if deadline.is_none() => Next::Look,
            () = wait_until(deadline), if deadline.is_some() => Next::Deadline,
            () = sleep(LOOK) => Next::Look,
        };
        match next {
            Next::Publish(message) => {
                if let Err(error) = publish(broker, channel, &message).await {
                    let lost = &broker.inner.counts.unpublished;
                    lost.fetch_add(1, Ordering::Relaxed);
                    let routing_key = &message.routing_key;
                    tracing::warn!(
                        routing_key,
                        error = format!("{error:#}"),
                        "a message is lost"
                    );
                    return Left::Lost;
                }
            }
            Next::Look => {}
            Next::Deadline => return Left::Ended,
        }
    }
}

async fn wait_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn publish(broker: &Broker, channel: &Channel, message: &Publish) -> anyhow::Result<()> {
    let exchange = broker.exchange();
    let span = producer(exchange, &message.routing_key);
    if let Some(trace) = message.trace {
        trace.adopt(&span);
    }
    let properties = BasicProperties::default()
        .with_delivery_mode(DELIVERY_PERSISTENT)
        .with_content_type("application/json".into())
        .with_headers(inject(&span));
    let body = message.body.to_string();
    let sent = async {
        let confirm = channel.basic_publish(
            exchange.into(),
            message.routing_key.as_str().into(),
            BasicPublishOptions::default(),
            body.as_bytes(),
            properties,
        );
        let confirm = in_time("publish", confirm).await?;
        match in_time("confirm a message", confirm).await? {
            Confirmation::Ack(_) => Ok(()),
            other => bail!("the message was not taken: {other:?}"),
        }
    };
    let sent = sent.instrument(span.clone()).await;
    if sent.is_err() {
        span.record("error.type", "publish");
    }
    sent
}

/// Deletes the queues of gone jobs. False: RabbitMQ does not answer.
async fn remove_queues(broker: &Broker, connection: &Connection) -> bool {
    if broker.removals().is_empty() {
        return true;
    }
    // A channel of its own: an error closes it.
    let channel = match in_time("open a channel", connection.create_channel()).await {
        Ok(channel) => channel,
        Err(error) => {
            tracing::debug!(error = format!("{error:#}"), "queues are not deleted yet");
            return false;
        }
    };
    loop {
        let Some(Removal { queue, if_unused }) = broker.removals().front().cloned() else {
            let closed = channel.close(200, "done".into());
            return in_time("close a channel", closed).await.is_ok();
        };
        let options = QueueDeleteOptions {
            if_unused,
            ..QueueDeleteOptions::default()
        };
        let deleted = channel.queue_delete(queue.as_str().into(), options);
        match in_time("delete a queue", deleted).await {
            Ok(_) => {}
            Err(error) if !connection.status().connected() => {
                tracing::debug!(
                    queue,
                    error = format!("{error:#}"),
                    "a queue is not deleted yet"
                );
                return false;
            }
            Err(error) if if_unused => {
                tracing::info!(queue, error = format!("{error:#}"), "a queue is another's");
                broker.removals().pop_front();
                return connection.status().connected();
            }
            Err(error) => {
                let left = &broker.inner.counts.queues_left;
                left.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(queue, error = format!("{error:#}"), "a queue stays");
                broker.removals().pop_front();
                // The refusal closed the channel: the rest is for the next round.
                return connection.status().connected();
            }
        }
        broker.removals().pop_front();
    }
}
