//! What a driver says of its exchanges, for somebody who looks at a single session.

use std::fmt;

/// Hears what is asked and answered. Drivers make nothing to hear where there is no listener.
pub trait Listener: fmt::Debug {
    /// Something was sent.
    fn asked(&self, said: &Said<'_>);
    /// Something came.
    fn answered(&self, said: &Said<'_>);
}

/// One request, reply or message.
#[derive(Debug, Clone, Copy, Default)]
pub struct Said<'a> {
    /// The first line: `POST http://…`, `HTTP 200 OK`, `message 3 of 1,234 bytes`.
    pub what: &'a str,
    /// Headers or metadata.
    pub headers: &'a [(Box<str>, Box<str>)],
    /// The content, as text.
    pub body: &'a str,
}
