//! Servers that run while tests do, each one file: installed by need, on free loopback ports, with everything they write under
//! `target/services`, and ended with all their children.

mod mongodb;
mod rabbitmq;
mod run;
mod running;

pub use run::{SERVICES, Service, Services, Started, keep};
pub use running::Running;
