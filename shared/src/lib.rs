//! What both sides of the mesh must agree on: ids, plan, metrics, integrity, schedule, clock, and telemetry.
//!
//! Everything here is pure and synchronous except [`shutdown`], [`telemetry`] and [`clock`]. Only [`wire`] knows protobuf.

pub mod backoff;
pub mod clock;
pub mod digest;
pub mod error;
pub mod exit_code;
pub mod feed;
pub mod grpc_status;
pub mod id;
pub mod integrity;
pub mod load;
pub mod metric;
pub mod plan;
pub mod rng;
pub mod segment;
pub mod shutdown;
pub mod telemetry;
mod varint;
pub mod wire;

pub use plan::ErrorKind;
