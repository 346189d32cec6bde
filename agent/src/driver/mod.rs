//! Drivers: what stages do. One folder or file per protocol holds its keys in the plan, its reading and its execution;
//! [`table`] lists them. What a driver is, and may ask of its session, is [`contract`].

pub mod connections;
pub mod contract;
pub mod limits;
pub mod message;
pub mod transport;

pub use connections::Connections;
pub use contract::{Attempt, Body, Driver, Drives, Evidence, Results, StageError, StreamResults};
pub use transport::Gate;
