//! The driver `http`: one request, one answer, over pooled connections of a virtual user, a session or an agent.

mod client;
mod failure;
mod form;
mod run;

#[cfg(feature = "amqp")]
pub(super) use failure::failure;
pub(super) use form::FORM;
pub(crate) use form::Target;
pub(crate) use run::{header_value, shown};
