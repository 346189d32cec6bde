//! Asks a server what it serves: gRPC reflection, v1 and then v1alpha.
//!
//! Both versions have the same messages on the wire. One question is one call, so that servers that answer with a file but
//! not with what it imports are asked again.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use http::HeaderMap;
use http::uri::PathAndQuery;
use prost::Message as _;
use prost_reflect::DescriptorPool;
use prost_types::FileDescriptorProto;
use testmesh_shared::plan::ErrorKind;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use super::connection::Connection;
use crate::driver::contract::StageError;
use crate::driver::limits;

const VERSIONS: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// gRPC's status for a method that a server does not have.
const UNIMPLEMENTED: i64 = 12;

/// The descriptors of the file that declares `symbol`, and of all that it imports.
///
/// # Errors
///
/// Those of the connection; `protocol` with code `no_reflection` if the server has none, or does not know the symbol.
pub(crate) async fn ask(
    connection: &Connection,
    symbol: &str,
) -> Result<DescriptorPool, StageError> {
    let mut last = None;
    for version in VERSIONS {
        let server = Server {
            connection,
            path: PathAndQuery::from_static(version),
            bytes: Cell::new(0),
        };
        match server.files(symbol).await {
            Ok(files) => return link(files, symbol),
            Err(error) if error.status == Some(UNIMPLEMENTED) => last = Some(error),
            Err(error) => return Err(error),
        }
    }
    let reason = last.map_or_else(String::new, |error| error.message);
    let message = format!(
        "the server has no reflection ({reason}): give the target `protos` or `descriptors`"
    );
    Err(StageError::new(ErrorKind::Protocol, message).with_code("no_reflection"))
}

fn link(
    files: BTreeMap<String, FileDescriptorProto>,
    symbol: &str,
) -> Result<DescriptorPool, StageError> {
    let mut pool = DescriptorPool::new();
    pool.add_file_descriptor_protos(files.into_values())
        .map_err(|error| {
            let message = format!(
                "reflection of `{symbol}` gave descriptors that do not fit together: {error}"
            );
            StageError::new(ErrorKind::Protocol, message).with_code("no_reflection")
        })?;
    Ok(pool)
}

struct Server<'a> {
    connection: &'a Connection,
    path: PathAndQuery,
    /// Of all descriptors so far.
    bytes: Cell<usize>,
}

impl Server<'_> {
    async fn files(
        &self,
        symbol: &str,
    ) -> Result<BTreeMap<String, FileDescriptorProto>, StageError> {
        let mut files = BTreeMap::new();
        self.add(
            &mut files,
            MessageRequest::FileContainingSymbol(symbol.to_owned()),
        )
        .await?;
        loop {
            let imports: BTreeSet<&String> =
                files.values().flat_map(|file| &file.dependency).collect();
            let Some(missing) = imports
                .into_iter()
                .find(|import| !files.contains_key(*import))
                .cloned()
            else {
                return Ok(files);
            };
            self.add(&mut files, MessageRequest::FileByFilename(missing.clone()))
                .await?;
            if !files.contains_key(&missing) || files.len() > limits::REFLECTED_FILES {
                return Err(self.broken(&format!("it does not give `{missing}`")));
            }
        }
    }

    async fn add(
        &self,
        files: &mut BTreeMap<String, FileDescriptorProto>,
        question: MessageRequest,
    ) -> Result<(), StageError> {
        let asked = format!("{question:?}");
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(question),
        };
        let answer = self.call(&request.encode_to_vec()).await?;
        match answer.message_response {
            Some(MessageResponse::FileDescriptorResponse(answer)) => {
                for bytes in answer.file_descriptor_proto {
                    let total = self.bytes.get() + bytes.len();
                    self.bytes.set(total);
                    if total > limits::REFLECTED_BYTES {
                        let most = limits::REFLECTED_BYTES;
                        return Err(self.broken(&format!("it answers with more than {most} bytes")));
                    }
                    let file = FileDescriptorProto::decode(bytes.as_slice());
                    let file = file.map_err(|error| {
                        self.broken(&format!("its descriptor does not decode: {error}"))
                    })?;
                    files.insert(file.name().to_owned(), file);
                }
                Ok(())
            }
            Some(MessageResponse::ErrorResponse(error)) => Err(self.broken(&format!(
                "it answers {asked} with {}: {}",
                error.error_code, error.error_message
            ))),
            _ => Err(self.broken("its answer is of another kind than asked for")),
        }
    }

    /// One question and its answer.
    async fn call(&self, question: &[u8]) -> Result<ServerReflectionResponse, StageError> {
        let mut reply = self
            .connection
            .call(&self.path, HeaderMap::new(), question, limits::BODY_BYTES)
            .await?;
        let mut answer = None;
        loop {
            while let Some(message) = reply.message()? {
                answer = Some(ServerReflectionResponse::decode(message));
            }
            if let Some(status) = reply.more().await? {
                match status.failure() {
                    None => break,
                    Some(failure)
                        if failure.kind == ErrorKind::Status
                            && failure.status != Some(UNIMPLEMENTED) =>
                    {
                        return Err(self.broken(&failure.message));
                    }
                    Some(failure) => return Err(failure),
                }
            }
        }
        match answer {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(error)) => Err(self.broken(&format!("its answer does not decode: {error}"))),
            None => Err(self.broken("it answers nothing")),
        }
    }

    fn broken(&self, what: &str) -> StageError {
        StageError::new(
            ErrorKind::Protocol,
            format!("reflection ({}) failed: {what}", self.path),
        )
        .with_code("no_reflection")
    }
}
