//! Drivers: what stages do. One file or folder per protocol holds its keys in the plan, its reading and its execution;
//! `table` lists them. What a driver is, and may ask of its session, is [`contract`].

#[cfg(feature = "amqp")]
mod amqp;
#[cfg(feature = "browser")]
mod browser;
mod connect;
pub mod connections;
pub mod contract;
mod during;
mod forms;
mod grpc;
mod http;
#[cfg(feature = "kubernetes")]
mod kubernetes;
pub(crate) mod limits;
pub mod message;
#[cfg(feature = "mongodb")]
pub(crate) mod mongodb;
mod stream;
pub mod table;
pub mod transcript;
pub(crate) mod transport;
#[cfg(any(feature = "amqp", feature = "kubernetes"))]
mod tries;
mod wait;

pub use connections::Connections;
pub use contract::{
    Attempt, Body, DataFault, Driver, Drives, Evidence, Meter, Note, Results, RowCounts, RowKey,
    StageError, StreamResults,
};
pub use during::During;
pub use table::DRIVERS;
pub use transport::Gate;
