//! The wire types of `proto/pandadatastream.proto`, generated and checked in: building needs no `protoc`.
//!
//! `tests/it/bootstrap.rs` regenerates them and fails on any difference.

/// Package `pandadatastream`: what a job serves.
#[expect(
    missing_docs,
    clippy::allow_attributes_without_reason,
    clippy::missing_errors_doc,
    reason = "generated: the proto's comments are the documentation"
)]
pub mod pandadatastream {
    include!("pandadatastream.rs");
}
