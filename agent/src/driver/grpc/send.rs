//! The messages of a client stream: as the plan lists them, or made for each item of a list.
//!
//! Each is made when its turn comes, so that a long stream costs one message of memory, and goes out as fast as the server's
//! windows let it.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use h2::SendStream;
use prost_reflect::MessageDescriptor;
use testmesh_shared::plan::expr::{Expr, JsonTemplate, Scope, Value};
use testmesh_shared::plan::keys::{Form, Key, Keys};
use testmesh_shared::plan::{ErrorKind, Item};
use tokio::time::{Instant, sleep_until};

use super::frames::framed;
use super::message::{self, Message};
use super::schema::Method;
use super::told::Told;
use crate::driver::contract::StageError;
use crate::driver::forms;

/// `messages` of a stage.
pub(super) const FORM: Form = Form::Either(&[Form::List(&Form::Json), Form::Object(&MESSAGES)]);

static MESSAGES: Keys = Keys {
    name: "messages",
    doc: "One message for each item of a list.",
    keys: &[
        Key::new("each", Form::Expr, "The list.").required(),
        Key::new("as", Form::Name, "The name of the item, for `message`."),
        Key::new("message", Form::Json, "The message, by proto field names.").default("{}"),
        Key::new(
            "every",
            Form::Duration,
            "From the start of one message to that of the next. Without it they go out as fast as the server takes them.",
        ),
    ],
    groups: &[],
};

/// What a call sends.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// One message, and that is all.
    One(Message),
    /// A stream of them.
    Stream(Messages),
}

/// The messages of a client stream.
#[derive(Debug)]
pub(super) enum Messages {
    Listed(Vec<Message>),
    Each(Box<Each>),
}

/// One message for each item of a list.
#[derive(Debug)]
pub(super) struct Each {
    list: Expr,
    variable: Option<String>,
    message: Message,
    every: Option<Duration>,
}

impl Outgoing {
    /// Reads `message` or `messages`; `input` is what the method takes, as far as that is known.
    pub(super) fn read(item: Item<'_>, input: Option<&MessageDescriptor>) -> Option<Self> {
        match item.key("messages") {
            Some(messages) => Messages::read(messages, input).map(Self::Stream),
            None => one(item, input).map(Self::One),
        }
    }
}

impl Messages {
    fn read(item: Item<'_>, input: Option<&MessageDescriptor>) -> Option<Self> {
        if item.is_map() {
            return Each::read(item, input).map(Box::new).map(Self::Each);
        }
        let messages: Vec<_> = item
            .items()
            .into_iter()
            .map(|item| read_message(item, input))
            .collect();
        let messages = messages.into_iter().collect::<Option<_>>();
        messages.map(Self::Listed)
    }

    /// Sends all of them, and then the end.
    ///
    /// # Errors
    ///
    /// A message that cannot be made. A server that takes no more is no error here: its answer says why.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future resets the call, unless the end has been sent.
    pub(super) async fn send(
        &self,
        scope: &Scope<'_>,
        method: &Method,
        body: SendStream<Bytes>,
        told: Option<Told<'_>>,
    ) -> Result<(), StageError> {
        let mut out = Out {
            body,
            open: true,
            told,
        };
        match self {
            Self::Listed(messages) => {
                for message in messages {
                    if !out.is_taken().await {
                        break;
                    }
                    out.message(&message.render(scope, method)?).await;
                }
            }
            Self::Each(each) => each.send(scope, method, &mut out).await?,
        }
        out.end();
        Ok(())
    }
}

impl Each {
    fn read(item: Item<'_>, input: Option<&MessageDescriptor>) -> Option<Self> {
        let list = item.key("each").and_then(Item::expr);
        let variable = forms::optional(item, "as", Item::variable);
        let name = variable.as_ref().and_then(Option::as_deref);
        let message = item.with_name(name, |item| one(item, input));
        let every = forms::optional(item, "every", Item::duration);
        Some(Self {
            list: list?,
            variable: variable?,
            message: message?,
            every: every?,
        })
    }

    async fn send(
        &self,
        scope: &Scope<'_>,
        method: &Method,
        out: &mut Out<'_>,
    ) -> Result<(), StageError> {
        let mut due = Instant::now();
        for item in items(&self.list, scope)? {
            let mut layer = Scope::over(scope);
            if let Some(variable) = &self.variable {
                layer.set(variable.clone(), item);
            }
            if let Some(every) = self.every {
                sleep_until(due).await;
                // After a stall messages do not come in a burst.
                let now = Instant::now();
                due = if due + every > now {
                    due + every
                } else {
                    now + every
                };
            }
            if !out.is_taken().await {
                break;
            }
            out.message(&self.message.render(&layer, method)?).await;
        }
        Ok(())
    }
}

/// The one message that stands behind `message`; nothing is a message without fields.
fn one(item: Item<'_>, input: Option<&MessageDescriptor>) -> Option<Message> {
    match item.key("message") {
        Some(message) => read_message(message, input),
        None => Some(match input {
            Some(_) => Message::Encoded(Bytes::new()),
            None => Message::of(JsonTemplate::literal_value(serde_json::json!({}))),
        }),
    }
}

fn read_message(item: Item<'_>, input: Option<&MessageDescriptor>) -> Option<Message> {
    let json = item.json()?;
    match input {
        Some(input) => message::read(Some(item), Some(json), input),
        None => Some(Message::of(json)),
    }
}

fn items(list: &Expr, scope: &Scope<'_>) -> Result<Vec<Value>, StageError> {
    let value = list
        .evaluate(scope)
        .map_err(|error| StageError::template("messages.each", &error))?;
    value.as_list().map(<[Value]>::to_vec).ok_or_else(|| {
        let kind = value.type_name();
        let message = format!(
            "messages.each `{}` gave a {kind}, not a list",
            list.source()
        );
        StageError::new(ErrorKind::Expectation, message).with_code("template")
    })
}

/// The way out of one call.
struct Out<'a> {
    body: SendStream<Bytes>,
    /// The server still takes messages.
    open: bool,
    told: Option<Told<'a>>,
}

impl Out<'_> {
    /// Waits until the server has room for the beginning of a message, which is made only then. Whether it ever will.
    async fn is_taken(&mut self) -> bool {
        self.open = self.open && self.room(1).await > 0;
        self.open
    }

    /// Sends one message, in pieces as large as the server's windows allow. Nothing goes to a server that takes no more.
    async fn message(&mut self, message: &[u8]) {
        if let Some(told) = &mut self.told {
            told.sent(message);
        }
        let mut rest = framed(message);
        while self.open && !rest.is_empty() {
            let room = self.room(rest.len()).await.min(rest.len());
            self.open = room > 0 && self.body.send_data(rest.split_to(room), false).is_ok();
        }
    }

    /// Waits until some of these bytes may go out; 0: none ever will.
    async fn room(&mut self, wanted: usize) -> usize {
        self.body.reserve_capacity(wanted);
        while self.body.capacity() == 0 {
            match poll_fn(|cx| self.body.poll_capacity(cx)).await {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return 0,
            }
        }
        self.body.capacity()
    }

    fn end(&mut self) {
        if self.open {
            // A call that the server resets meanwhile needs no end.
            let _ = self.body.send_data(Bytes::new(), true);
        }
    }
}
