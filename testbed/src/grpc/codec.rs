//! The codec of `StreamData`: a row's payload is shared between calls, so only its small head is encoded per call.
//!
//! The bytes are those that the generated `DataStream` would encode; a test compares them.

use bytes::{Buf, BufMut, Bytes};
use prost::Message;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use crate::generated::pandadatastream::{DataStream, StreamDataRequest};

/// Field 9, `main_data`, length-delimited.
const MAIN_DATA: u8 = 9 << 3 | 2;

/// One row on its way out.
#[derive(Debug, Clone)]
pub(crate) struct OutRow {
    /// Fields 1 to 8.
    pub(crate) head: DataStream,
    /// Field 9.
    pub(crate) payload: Bytes,
    /// Field 10, which holds the stream's id.
    pub(crate) stream: i32,
}

impl OutRow {
    fn encode(&self, out: &mut impl BufMut) -> Result<(), prost::EncodeError> {
        self.head.encode(out)?;
        out.put_u8(MAIN_DATA);
        prost::encode_length_delimiter(self.payload.len(), out)?;
        out.put_slice(&self.payload);
        // Concatenated messages are one message: this adds field 10.
        DataStream {
            job_id: Some(self.stream),
            ..DataStream::default()
        }
        .encode(out)
    }
}

/// Encodes rows, decodes requests.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RowCodec;

impl Codec for RowCodec {
    type Encode = OutRow;
    type Decode = StreamDataRequest;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RowCodec {
    type Item = OutRow;
    type Error = Status;

    fn encode(&mut self, row: OutRow, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.reserve(row.payload.len() + 96);
        row.encode(out)
            .map_err(|error| Status::internal(format!("failed to encode a row: {error}")))
    }
}

impl Decoder for RowCodec {
    type Item = StreamDataRequest;
    type Error = Status;

    fn decode(&mut self, request: &mut DecodeBuf<'_>) -> Result<Option<StreamDataRequest>, Status> {
        let bytes = request.copy_to_bytes(request.remaining());
        StreamDataRequest::decode(bytes)
            .map(Some)
            .map_err(|error| Status::internal(format!("failed to decode the request: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_what_the_generated_code_encodes() {
        for (payload, stream) in [(vec![1_u8; 300], 2), (Vec::new(), 0)] {
            let head = DataStream {
                start_channel: 1,
                end_channel: 17,
                timestamp_in_milis: vec![1_790_000_000_150],
                row_index: vec![0],
                data_shape_x: 4_352,
                data_shape_y: 1,
                global_maximum: 350.5,
                ..DataStream::default()
            };
            let whole = DataStream {
                main_data: vec![payload.clone()],
                job_id: Some(stream),
                ..head.clone()
            };
            let mut out = Vec::new();
            OutRow {
                head,
                payload: Bytes::from(payload),
                stream,
            }
            .encode(&mut out)
            .unwrap();
            assert_eq!(out, whole.encode_to_vec());
        }
    }
}
