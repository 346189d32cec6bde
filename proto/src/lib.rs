//! Wire types of the testmesh protocol: what agents, coordinator and command line say to each other.
//!
//! The code under `generated/` is made from `testmesh/v1/*.proto` by `cargo xtask gen` and checked in, so that building
//! needs no `protoc`; `tests/bootstrap.rs` regenerates it and fails on any difference. There is no logic here: the only
//! door between these types and the domain is `testmesh_shared::wire`.
#![allow(
    clippy::all,
    clippy::pedantic,
    reason = "generated code: what it says is decided in the .proto files"
)]

/// Version 1 of the protocol.
pub mod v1 {
    include!("generated/testmesh.v1.rs");
}

/// The protocol version that this build speaks; Hello and Welcome carry it.
pub const PROTOCOL: u32 = 1;
