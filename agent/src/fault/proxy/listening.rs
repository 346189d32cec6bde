//! The port of a proxy: it stays the proxy's own even while connections to it are refused.
use std::io;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpSocket};

/// Connections that wait to be taken.
const BACKLOG: u32 = 1024;

/// A port that is bound, whether or not anybody listens on it. Somebody who connects while nobody does is refused.
#[derive(Debug)]
pub(super) struct Port {
    address: SocketAddr,
    /// Bound and never listening.
    _held: TcpSocket,
}

impl Port {
    /// Takes the port.
    ///
    /// # Errors
    ///
    /// If somebody has it, or the address is not here.
    pub(super) fn take(address: SocketAddr) -> io::Result<Self> {
        // Sockets that share a port would also share it with another proxy of the same user: that one is found out here.
        let alone = socket(address)?;
        alone.bind(address)?;
        drop(alone.listen(1)?);
        let held = shared(address)?;
        held.bind(address)?;
        Ok(Self {
            address,
            _held: held,
        })
    }

    /// Listens on it; dropping the listener refuses connections again.
    pub(super) fn listen(&self) -> io::Result<TcpListener> {
        let socket = shared(self.address)?;
        socket.bind(self.address)?;
        socket.listen(BACKLOG)
    }
}

fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // Connections that ended a moment ago do not hold the port.
    socket.set_reuseaddr(true)?;
    Ok(socket)
}

fn shared(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = socket(address)?;
    socket.set_reuseport(true)?;
    Ok(socket)
}
