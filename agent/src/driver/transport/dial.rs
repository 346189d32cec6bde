//! Opens connections: name look-up, TCP and TLS, timed, and never too many at once to one address.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls_pki_types::ServerName;
use testmesh_shared::plan::ErrorKind;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::address::Address;
use super::gate::Gate;
use crate::driver::contract::StageError;

/// An open connection, and what it took.
#[derive(Debug)]
pub(crate) struct Dialled {
    pub(crate) io: Io,
    /// Name look-up, TCP and TLS; not the wait at the gate.
    pub(crate) took: Duration,
    /// The protocol that TLS agreed on.
    pub(crate) alpn: Option<Vec<u8>>,
}

/// Connects to `address`, over TLS if there is a configuration.
///
/// # Errors
///
/// `refused`, `reset`, `timeout`, `unavailable` (code `dns` for a name that has no address), `protocol` (code `tls`).
///
/// # Cancel safety
///
/// Dropping the future closes what was opened.
pub(crate) async fn dial(
    gate: &Gate,
    address: &Address,
    tls: Option<&Arc<rustls::ClientConfig>>,
) -> Result<Dialled, StageError> {
    let shown = address.to_string();
    let _pass = gate.pass(&shown).await;
    let start = Instant::now();
    let found: Vec<_> = tokio::net::lookup_host((address.host.as_str(), address.port))
        .await
        .map_err(|error| unknown_host(&shown, &error))?
        .collect();
    let tcp = TcpStream::connect(found.as_slice())
        .await
        .map_err(|error| StageError::io(&format!("connecting to {shown}"), &error))?;
    // Requests are small and wait for their answers: a delay of 40 ms would be ours, not the server's.
    tcp.set_nodelay(true)
        .map_err(|error| StageError::io(&format!("connecting to {shown}"), &error))?;
    let Some(config) = tls else {
        return Ok(Dialled {
            io: Io::Plain(tcp),
            took: start.elapsed(),
            alpn: None,
        });
    };
    let name = ServerName::try_from(address.host.clone()).map_err(|_| {
        StageError::new(ErrorKind::Protocol, format!("`{shown}` is no name for TLS"))
            .with_code("tls")
    })?;
    let stream = TlsConnector::from(Arc::clone(config))
        .connect(name, tcp)
        .await
        .map_err(|error| StageError::io(&format!("TLS handshake with {shown}"), &error))?;
    let alpn = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    Ok(Dialled {
        io: Io::Tls(Box::new(stream)),
        took: start.elapsed(),
        alpn,
    })
}

fn unknown_host(address: &str, error: &io::Error) -> StageError {
    StageError::new(
        ErrorKind::Unavailable,
        format!("looking up {address}: {error}"),
    )
    .with_code("dns")
}

/// A plain or encrypted connection.
#[derive(Debug)]
pub(crate) enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Self::Tls(io) => Pin::new(io).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_write(cx, buf),
            Self::Tls(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Self::Tls(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(io) => io.is_write_vectored(),
            Self::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_flush(cx),
            Self::Tls(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Self::Tls(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
