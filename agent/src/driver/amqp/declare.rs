//! Looks at queues and exchanges, makes queues, and deletes them.

use std::time::Duration;

use lapin::options::{
    ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{ExchangeKind, Queue};
use testmesh_shared::plan::expr::Template;
use tokio::time::Instant;

use super::form::Bind;
use super::message::short;
use super::run::{Line, Trial, answer};
use crate::driver::contract::Results;
use crate::driver::tries::Failure;

/// Asks for a queue, which stays as it is.
pub(super) async fn queue(trial: &Trial<'_>, name: &Template) -> Result<Results, Failure> {
    let name = short("queue", name, trial.scope())?;
    let line = trial.line().await?;
    let doing = format!("asking for queue `{name}`");
    let options = QueueDeclareOptions::default().passive();
    let asked = line
        .channel
        .queue_declare(name, options, FieldTable::default());
    let start = begin(trial, &line, &doing, "the broker to tell of the queue");
    let queue = asked.await.map_err(line.failed(&doing))?;
    let body = serde_json::json!({
        "name": queue.name().as_str(),
        "messages": queue.message_count(),
        "consumers": queue.consumer_count(),
    });
    Ok(done(trial, start, &body))
}

/// Asks for an exchange, which stays as it is.
pub(super) async fn exchange(trial: &Trial<'_>, name: &Template) -> Result<Results, Failure> {
    let name = short("exchange", name, trial.scope())?;
    let line = trial.line().await?;
    let doing = format!("asking for exchange `{name}`");
    let options = ExchangeDeclareOptions {
        passive: true,
        ..ExchangeDeclareOptions::default()
    };
    // The broker does not look at the kind of an exchange that is only asked for.
    let asked = line.channel.exchange_declare(
        name.clone(),
        ExchangeKind::Direct,
        options,
        FieldTable::default(),
    );
    let start = begin(trial, &line, &doing, "the broker to tell of the exchange");
    asked.await.map_err(line.failed(&doing))?;
    let body = serde_json::json!({ "name": name.as_str() });
    Ok(done(trial, start, &body))
}

/// Deletes a queue.
pub(super) async fn delete(trial: &Trial<'_>, name: &Template) -> Result<Results, Failure> {
    let name = short("queue", name, trial.scope())?;
    let line = trial.line().await?;
    let doing = format!("deleting queue `{name}`");
    let asked = line
        .channel
        .queue_delete(name.clone(), QueueDeleteOptions::default());
    let start = begin(trial, &line, &doing, "the broker to delete the queue");
    let messages = asked.await.map_err(line.failed(&doing))?;
    let body = serde_json::json!({ "name": name.as_str(), "messages": messages });
    Ok(done(trial, start, &body))
}

/// Makes a queue that outlives the stage, and binds it.
pub(super) async fn bind(trial: &Trial<'_>, bind: &Bind) -> Result<Results, Failure> {
    let line = trial.line().await?;
    let start = Instant::now();
    // Durable: brokers are about to refuse queues that others can use and that do not survive a restart.
    let options = QueueDeclareOptions::durable();
    let queue = make(trial, &line, options, bind.expires).await?;
    bound(trial, &line, queue.name(), &bind.exchange, &bind.keys).await?;
    let body = serde_json::json!({ "queue": queue.name().as_str() });
    Ok(done(trial, start, &body))
}

/// Makes a queue of the stage's own, and binds it. It goes with the channel, and in any case with the connection.
pub(super) async fn own_queue(
    trial: &Trial<'_>,
    line: &Line,
    exchange: &Template,
    keys: &[Template],
) -> Result<ShortString, Failure> {
    let options = QueueDeclareOptions::exclusive().auto_delete();
    let expires = crate::driver::limits::AMQP_OWN_QUEUE;
    let queue = make(trial, line, options, expires).await?;
    bound(trial, line, queue.name(), exchange, keys).await?;
    Ok(queue.name().clone())
}

async fn make(
    trial: &Trial<'_>,
    line: &Line,
    options: QueueDeclareOptions,
    expires: Duration,
) -> Result<Queue, Failure> {
    let mut arguments = FieldTable::default();
    let millis = i64::try_from(expires.as_millis()).unwrap_or(i64::MAX);
    arguments.insert("x-expires".into(), AMQPValue::LongLongInt(millis));
    let doing = "making a queue";
    begin(trial, line, doing, "the broker to make a queue");
    // An empty name lets the broker choose one.
    let name = ShortString::default();
    let asked = line.channel.queue_declare(name, options, arguments);
    asked.await.map_err(line.failed(doing))
}

async fn bound(
    trial: &Trial<'_>,
    line: &Line,
    queue: &ShortString,
    exchange: &Template,
    keys: &[Template],
) -> Result<(), Failure> {
    let exchange = short("exchange", exchange, trial.scope())?;
    for key in keys {
        let key = short("a binding key", key, trial.scope())?;
        let doing = format!("binding queue `{queue}` to exchange `{exchange}` with key `{key}`");
        begin(trial, line, &doing, "the broker to bind the queue");
        let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
        let asked =
            line.channel
                .queue_bind(queue.clone(), exchange.clone(), key, options, arguments);
        asked.await.map_err(line.failed(&doing))?;
    }
    Ok(())
}

fn begin(trial: &Trial<'_>, line: &Line, doing: &str, waits_for: &'static str) -> Instant {
    trial.waits_for(waits_for);
    trial.asked(|| format!("{doing} at {}", line.connection.at()), &[], b"");
    Instant::now()
}

fn done(trial: &Trial<'_>, start: Instant, body: &serde_json::Value) -> Results {
    let took = start.elapsed();
    trial.attempt.meter.first_byte(took);
    trial.answered(&format!("done in {took:.1?}"), &[], &body.to_string());
    answer(body)
}
