//! The driver `amqp`: publishes to an AMQP 0-9-1 broker, consumes from it, and looks at its queues and exchanges.

mod connection;
mod consume;
mod declare;
mod failure;
mod form;
mod keys;
mod kit;
mod management;
mod message;
mod publish;
mod run;

pub(super) use form::FORM;
