//! The gRPC server of one job.

mod codec;
mod service;
mod stream;

pub(crate) use service::serve;
