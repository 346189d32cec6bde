//! Publishes one message, and waits until the broker has it.

use bytes::Bytes;
use hyper::rt::Executor as _;
use hyper_util::rt::TokioExecutor;
use lapin::options::{BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Confirmation};
use testmesh_shared::plan::ErrorKind;
use testmesh_shared::plan::expr::{Scope, Template};
use tokio::time::{Instant, timeout};

use super::form::{Content, Properties, Publish};
use super::message::{header, headers, short, short_or_empty};
use super::run::{Trial, answer};
use crate::driver::contract::{Results, StageError};
use crate::driver::limits;
use crate::driver::tries::Failure;

/// The name under which the trace goes out, as in HTTP.
const TRACEPARENT: &str = "traceparent";

/// Values of `delivery-mode`.
const TRANSIENT: u8 = 1;
const PERSISTENT: u8 = 2;

/// Publishes, and waits for the confirmation unless the plan wants none.
///
/// # Cancel safety
///
/// Dropping the future closes the channel. Whether the broker has the message is then unknown.
pub(super) async fn publish(trial: &Trial<'_>, publish: &Publish) -> Result<Results, Failure> {
    let scope = trial.scope();
    let exchange = short_or_empty("exchange", publish.exchange.as_ref(), scope)?;
    let key = short_or_empty("key", publish.key.as_ref(), scope)?;
    let (content_type, content) = render(&publish.content, scope)?;
    let mut properties = properties(&publish.properties, content_type, scope)?;
    properties = properties
        .with_headers(headers_of(publish, trial.attempt.traceparent, scope)?)
        .with_delivery_mode(if publish.persistent {
            PERSISTENT
        } else {
            TRANSIENT
        });
    let line = trial.line().await?;
    let doing = format!("publishing to exchange `{exchange}` with key `{key}`");
    let failed = line.failed(&doing);
    if publish.confirm {
        trial.waits_for("the broker to confirm messages on this channel");
        let asked = line.channel.confirm_select(ConfirmSelectOptions::default());
        asked.await.map_err(&failed)?;
    }
    let what = || {
        let size = content.len();
        format!("{doing} at {}, {size} bytes", line.connection.at())
    };
    trial.asked(what, &headers(&properties), &content);
    let start = Instant::now();
    let options = BasicPublishOptions {
        mandatory: publish.mandatory,
        immediate: false,
    };
    trial.waits_for("the broker to take the message");
    let sent =
        line.channel
            .basic_publish(exchange.clone(), key.clone(), options, &content, properties);
    let confirm = sent.await.map_err(&failed)?;
    trial.waits_for("the broker's confirmation");
    let confirmation = confirm.await.map_err(&failed)?;
    if publish.confirm {
        trial.attempt.meter.first_byte(start.elapsed());
    } else {
        settle(line.channel.clone());
    }
    let confirmed = judge(&doing, confirmation)?;
    let how = if confirmed { "confirmed" } else { "sent" };
    trial.answered(&format!("{how} in {:.1?}", start.elapsed()), &[], "");
    Ok(answer(&serde_json::json!({
        "exchange": exchange.as_str(),
        "key": key.as_str(),
        "bytes": content.len(),
        "confirmed": confirmed,
    })))
}

/// Keeps a channel until the broker has dealt with what was sent. Were it closed at once, a refusal could cross with that,
/// which lapin takes for the end of the connection, and so of what others do on it.
fn settle(channel: lapin::Channel) {
    // It ends with the broker's answer, and by itself: nothing has to wait for it.
    TokioExecutor::new().execute(async move {
        let answered = channel.basic_qos(0, BasicQosOptions::default());
        // An answer, a refusal, or silence: the channel has done its work.
        let _ = timeout(limits::AMQP_GOODBYE, answered).await;
    });
}

/// Whether the broker has the message; a refusal is a failure.
fn judge(doing: &str, confirmation: Confirmation) -> Result<bool, Failure> {
    match confirmation {
        Confirmation::NotRequested => Ok(false),
        Confirmation::Ack(None) => Ok(true),
        Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned)) => {
            let (code, text) = (returned.reply_code, &returned.reply_text);
            let message = format!("{doing}: the broker returned the message: AMQP {code} {text}");
            let error = StageError::new(ErrorKind::Status, message)
                .with_code("unroutable")
                .with_status(i64::from(code));
            Err(Failure::Refused(error))
        }
        Confirmation::Nack(None) => {
            let message = format!(
                "{doing}: the broker refused the message: a queue of it is full, or lost it"
            );
            let error = StageError::new(ErrorKind::Status, message).with_code("nacked");
            Err(Failure::Failed(error))
        }
    }
}

fn render(
    content: &Content,
    scope: &Scope<'_>,
) -> Result<(Option<&'static str>, Bytes), StageError> {
    let template = |error| StageError::template("the message", &error);
    Ok(match content {
        Content::Nothing => (None, Bytes::new()),
        Content::Json(json) => {
            let json = json.json(scope).map_err(template)?;
            (Some("application/json"), json.to_string().into())
        }
        Content::Text(text) => {
            let text = text.text(scope).map_err(template)?;
            (Some("text/plain; charset=utf-8"), text.into_owned().into())
        }
        Content::File(bytes) => (None, bytes.clone()),
    })
}

fn headers_of(
    publish: &Publish,
    traceparent: &str,
    scope: &Scope<'_>,
) -> Result<FieldTable, StageError> {
    let mut table = FieldTable::default();
    table.insert(
        TRACEPARENT.into(),
        AMQPValue::LongString(traceparent.into()),
    );
    for (name, value) in &publish.headers {
        let json = value
            .json(scope)
            .map_err(|error| StageError::template(name, &error))?;
        // Names were measured when the plan was read.
        table.insert(name.as_str().into(), header(json));
    }
    Ok(table)
}

fn properties(
    written: &Properties,
    content_type: Option<&'static str>,
    scope: &Scope<'_>,
) -> Result<BasicProperties, StageError> {
    let text = |what, template: &Option<Template>| {
        let template = template.as_ref();
        template
            .map(|template| short(what, template, scope))
            .transpose()
    };
    let mut properties = BasicProperties::default();
    let known = content_type.map(Into::into);
    if let Some(value) = text("content_type", &written.content_type)?.or(known) {
        properties = properties.with_content_type(value);
    }
    if let Some(value) = text("correlation_id", &written.correlation_id)? {
        properties = properties.with_correlation_id(value);
    }
    if let Some(value) = text("reply_to", &written.reply_to)? {
        properties = properties.with_reply_to(value);
    }
    if let Some(value) = text("message_id", &written.message_id)? {
        properties = properties.with_message_id(value);
    }
    if let Some(value) = text("type", &written.kind)? {
        properties = properties.with_type(value);
    }
    if let Some(expiration) = written.expiration {
        properties = properties.with_expiration(expiration.as_millis().to_string().into());
    }
    Ok(properties)
}
