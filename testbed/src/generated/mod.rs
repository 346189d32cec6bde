//! The wire types of `proto/pandadatastream.proto`, generated and checked in: building needs no `protoc`.

#[expect(
    missing_docs,
    reason = "generated; the proto's comments are the documentation"
)]
#[expect(clippy::all, reason = "generated")]
pub mod pandadatastream;
