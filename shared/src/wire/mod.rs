//! The only door between protobuf and the domain. [`from_proto`] takes nothing that does not make sense: what came through it
//! needs no second check, and what is refused has changed nothing. [`to_proto`] is its other side.

pub mod batch;
pub mod from_proto;
pub mod to_proto;

pub use batch::{Batch, Delta, Origin, RowWitnesses, StreamWitness, WitnessedRow};
pub use from_proto::{BatchError, VALUE_MAX, batch, share};
pub use to_proto::{BatchBuilder, SeenRow};
