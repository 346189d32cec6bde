//! Puts the server together: both services on one port, with bounds on messages, streams and silence.
use super::control::ControlService;
use super::mesh::MeshService;
use crate::limits;
use crate::registry::RegistryHandle;
use crate::registry::lease::Terms;
use crate::run::RunsHandle;
use crate::store::RunStore;
use crate::store::blobs::Blobs;
use std::sync::Arc;
use testmesh_proto::v1::control_server::ControlServer;
use testmesh_proto::v1::mesh_server::MeshServer;
use testmesh_shared::clock::TimeAnchor;
use testmesh_shared::id::Epoch;
use testmesh_shared::shutdown::{Shutdown, Tasks};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

/// What the services work with.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The agents.
    pub registry: RegistryHandle,
    /// The runs.
    pub runs: RunsHandle,
    /// The sealed runs.
    pub store: Arc<dyn RunStore>,
    /// Plans and their files on their way to a run.
    pub blobs: Arc<Blobs>,
    /// Coordinator time.
    pub anchor: TimeAnchor,
    /// One start of this process.
    pub epoch: Epoch,
    /// What agents are told of leases.
    pub terms: Terms,
    /// For links and watchers.
    pub tasks: Tasks,
    /// Links and watchers leave.
    pub closing: CancellationToken,
}

/// Serves until told to drain and every stream has ended.
///
/// # Errors
///
/// If the server fails.
pub async fn serve(
    listener: TcpListener,
    parts: Parts,
    serving: Shutdown,
) -> Result<(), tonic::transport::Error> {
    let mesh = MeshServer::new(MeshService::new(parts.clone()))
        .max_decoding_message_size(limits::MAX_AGENT_MESSAGE)
        .max_encoding_message_size(limits::MAX_AGENT_MESSAGE);
    let control = ControlServer::new(ControlService::new(parts))
        .max_decoding_message_size(limits::MAX_CONTROL_MESSAGE)
        .max_encoding_message_size(limits::MAX_AGENT_MESSAGE);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder()
        .http2_keepalive_interval(Some(limits::KEEP_ALIVE))
        .http2_keepalive_timeout(Some(limits::KEEP_ALIVE))
        .initial_stream_window_size(limits::STREAM_WINDOW)
        .initial_connection_window_size(limits::CONNECTION_WINDOW)
        .max_concurrent_streams(limits::MAX_STREAMS)
        .add_service(mesh)
        .add_service(control)
        .serve_with_incoming_shutdown(incoming, async move { serving.draining().await })
        .await
}
