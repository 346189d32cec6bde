//! The gRPC services: decode, call a handle, encode. Nothing below this folder knows tonic.
mod control;
mod encode;
mod hello;
mod mesh;
mod server;
mod status;

pub use server::{Parts, serve};
