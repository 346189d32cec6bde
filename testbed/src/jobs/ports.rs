//! Which ports jobs listen on, and how one is held before it answers.
//!
//! A port is bound when its job is accepted and listens only when its pod is ready: a bound port refuses connections,
//! as a service without a ready pod does, and a port that another process has is noticed at once.

use std::io;
use std::net::{IpAddr, SocketAddr};

use anyhow::Context;
use tokio::net::{TcpListener, TcpSocket};

use crate::profile::JobPorts;

/// The base of production.
const BASE: u16 = 12_300;
/// Free blocks are sought below this, where Linux begins to give out ports by itself.
const END: u16 = 32_768;
/// Size of a block; its last port is never a job's but the mark that the block is taken.
const BLOCK: u16 = 256;

/// The ports of jobs. Holds its block while it lives.
#[derive(Debug)]
pub(crate) struct Ports {
    pub(crate) base: u16,
    /// Not read, but open: see [`Ports::free_block`].
    _mark: Option<TcpListener>,
}

impl Ports {
    /// Takes the ports that a configuration asks for.
    pub(crate) fn take(wanted: JobPorts, ip: IpAddr, jobs: u16) -> anyhow::Result<Self> {
        match wanted {
            JobPorts::Base(base) => Ok(Self { base, _mark: None }),
            JobPorts::FreeBlock => Self::free_block(ip, jobs),
        }
    }

    /// The first block in which every port can be bound. Its last port then listens and is never answered: that marks the
    /// block as taken for other testbeds, in this process or another, because a job's port shows only once it listens.
    fn free_block(ip: IpAddr, jobs: u16) -> anyhow::Result<Self> {
        let size = (u32::from(jobs) + 1).next_multiple_of(u32::from(BLOCK));
        let size = u16::try_from(size).context("too many jobs for one block of ports")?;
        let mut base = BASE;
        while base.checked_add(size).is_some_and(|end| end <= END) {
            let mark =
                bind(SocketAddr::new(ip, base + size - 1)).and_then(|socket| socket.listen(1));
            if let Ok(mark) = mark
                && (base..base + size - 1).all(|port| bind(SocketAddr::new(ip, port)).is_ok())
            {
                return Ok(Self {
                    base,
                    _mark: Some(mark),
                });
            }
            base += BLOCK;
        }
        anyhow::bail!(
            "no free block of {size} ports from {BASE} to {END} on {ip}: name one with --job-ports"
        )
    }
}

/// Binds a port without listening: connections to it are refused.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // Else the connections of a slot's last job would keep its port for a minute.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const IP: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[tokio::test]
    async fn blocks_are_taken_once_and_given_back() {
        let first = Ports::take(JobPorts::FreeBlock, IP, 250).unwrap();
        let second = Ports::take(JobPorts::FreeBlock, IP, 250).unwrap();
        assert!(second.base >= first.base + BLOCK);
        assert_eq!((first.base - BASE) % BLOCK, 0);
    }

    #[tokio::test]
    async fn a_bound_port_refuses_connections_until_it_listens() {
        let ports = Ports::take(JobPorts::FreeBlock, IP, 250).unwrap();
        let address = SocketAddr::new(IP, ports.base);
        let socket = bind(address).unwrap();
        let refused = tokio::net::TcpStream::connect(address).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let _listener = socket.listen(1).unwrap();
        tokio::net::TcpStream::connect(address).await.unwrap();
    }
}
