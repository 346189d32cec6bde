//! What drivers over TCP have in common: addresses, connects that are bounded and timed, TLS, and what went wrong in the
//! words of [`testmesh_shared::plan::ErrorKind`].

mod address;
mod dial;
mod failure;
mod gate;
mod tls;

pub use gate::Gate;

pub(crate) use address::Address;
pub(crate) use dial::{Io, dial};
pub(crate) use failure::{chain, find, http2_failure};
pub(crate) use tls::{ClientFiles, Tls};
