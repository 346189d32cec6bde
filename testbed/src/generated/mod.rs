//! The wire types of `proto/pandadatastream.proto`, generated and checked in: building needs no `protoc`.
//!
//! `tests/it/bootstrap.rs` regenerates them and fails on any difference.

/// Package `pandadatastream`: what a job serves.
#[expect(
    missing_docs,
    reason = "generated: the proto's comments are the documentation"
)]
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes,
    reason = "generated"
)]
pub mod pandadatastream {
    include!("pandadatastream.rs");
}
