//! Drivers: what stages do. One file or folder per protocol holds its keys in the plan, its reading and its execution;
//! `table` lists them. What a driver is, and may ask of its session, is [`contract`].

pub mod connections;
pub mod contract;
mod grpc;
mod limits;
pub mod message;
mod transport;

pub use connections::Connections;
pub use contract::{Attempt, Body, Driver, Drives, Evidence, Results, StageError, StreamResults};
pub use transport::Gate;
