//! What a call tells whoever listens: its messages as JSON, the first of many, and how it ended.

use http::HeaderMap;
use prost_reflect::MessageDescriptor;

use super::schema::Method;
use super::status::{self, Status};
use crate::driver::contract::Attempt;
use crate::driver::http::shown;
use crate::driver::message::decode;
use crate::driver::transcript::{Listener, Said};

/// Messages of one stream that are told; the rest is counted.
const TOLD: u64 = 3;

/// Tells the listener of one call.
#[derive(Debug)]
pub(super) struct Told<'a> {
    listener: &'a dyn Listener,
    method: &'a Method,
    sent: u64,
    received: u64,
    bytes: u64,
}

impl<'a> Told<'a> {
    /// None if nobody listens.
    pub(super) fn of(attempt: &'a Attempt<'a>, method: &'a Method) -> Option<Self> {
        Some(Self {
            listener: attempt.listener?,
            method,
            sent: 0,
            received: 0,
            bytes: 0,
        })
    }

    /// The call goes out; `message` is the only one that it sends, if it sends one.
    pub(super) fn call(&self, address: &str, metadata: &HeaderMap, message: Option<&[u8]>) {
        let body = message.map(|message| json(&self.method.input, message));
        self.listener.asked(&Said {
            what: &format!(
                "{} at {address}",
                self.method.path.as_str().trim_start_matches('/')
            ),
            headers: &shown(metadata),
            body: body.as_deref().unwrap_or_default(),
        });
    }

    /// One of many messages goes out.
    pub(super) fn sent(&mut self, message: &[u8]) {
        self.sent += 1;
        if self.sent <= TOLD {
            self.listener.asked(&Said {
                what: &format!("message {}, {} bytes", self.sent, message.len()),
                body: &json(&self.method.input, message),
                ..Said::default()
            });
        }
    }

    /// The answer has begun.
    pub(super) fn answered(&self, headers: &[(Box<str>, Box<str>)]) {
        self.listener.answered(&Said {
            what: "the call is answered",
            headers,
            ..Said::default()
        });
    }

    /// A message came.
    pub(super) fn received(&mut self, message: &[u8]) {
        self.received += 1;
        self.bytes += message.len() as u64;
        if self.received <= TOLD {
            self.listener.answered(&Said {
                what: &format!("message {}, {} bytes", self.received, message.len()),
                body: &json(&self.method.output, message),
                ..Said::default()
            });
        }
    }

    /// The answer is over; without a status the plan had enough of it.
    pub(super) fn ended(&self, status: Option<&Status>) {
        let how = match status {
            None => "enough".to_owned(),
            Some(status) if status.code == status::OK => "status OK".to_owned(),
            Some(status) => format!("status {} ({})", status.name(), status.message),
        };
        let what = format!(
            "{how} after {} messages, {} bytes",
            self.received, self.bytes
        );
        self.listener.answered(&Said {
            what: &what,
            ..Said::default()
        });
    }
}

/// A message by proto field names; bytes are base64.
fn json(descriptor: &MessageDescriptor, message: &[u8]) -> String {
    match decode(descriptor, message) {
        Ok(value) => value.to_json().to_string(),
        Err(error) => format!("no {}: {error}", descriptor.full_name()),
    }
}
