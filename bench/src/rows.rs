//! The messages of `protos/rows.proto`, by hand: two structs need no code generation.

/// Asks for rows.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct StreamRequest {
    /// Rows to send before the stream ends.
    #[prost(uint64, tag = "1")]
    pub(crate) count: u64,
    /// Bytes of payload in each.
    #[prost(uint32, tag = "2")]
    pub(crate) size: u32,
    /// Milliseconds between two rows; 0 is as fast as they are taken.
    #[prost(uint32, tag = "3")]
    pub(crate) interval_ms: u32,
}

/// One row.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Row {
    /// Counts the rows of one stream from 0.
    #[prost(uint64, tag = "1")]
    pub(crate) index: u64,
    /// Milliseconds since the epoch.
    #[prost(int64, tag = "2")]
    pub(crate) sent_at_ms: i64,
    /// The payload: a function of the index, so that two streams can be compared.
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) data: bytes::Bytes,
}

/// The method's path.
pub(crate) const METHOD: &str = "/bench.Rows/Stream";
/// The service's name.
pub(crate) const SERVICE: &str = "bench.Rows";
