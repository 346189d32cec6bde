//! RabbitMQ: a queue of commands for each job, and what the commands do to it.

mod apply;
mod attend;
mod command;
mod connection;
mod journal;
mod region;
mod trace;
mod work;

pub(crate) use attend::{Opened, attend, close, give_up, open};
pub(crate) use command::Colormap;
pub(crate) use connection::{Broker, BrokerConfig, Living, check};
pub(crate) use journal::Journal;
pub(crate) use work::{Work, run};
