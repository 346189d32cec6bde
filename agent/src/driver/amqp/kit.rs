//! What lapin runs on: tasks and timers of the worker's runtime, and a line that was dialled as every driver dials, and that
//! can be cut from outside.
//!
//! lapin reads and writes on a thread of its own, one for each connection. That thread sleeps for as long as the peer is
//! silent, even if nobody waits for the connection any more; cutting the line ends it for certain.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_rs::Tokio;
use async_rs::traits::{Executor, Reactor, RuntimeKit};
use async_rs::util::{DummyIO, Task};
use futures_util::Stream;
use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio_util::sync::CancellationToken;

use crate::driver::transport::Io;

/// The worker's runtime, as lapin wants it.
#[derive(Debug, Clone)]
pub(super) struct Kit(Tokio);

impl Kit {
    /// Of the runtime that the caller runs on.
    pub(super) fn current() -> Self {
        Self(Tokio::current())
    }
}

impl RuntimeKit for Kit {}

impl Executor for Kit {
    type Task<T: Send + 'static> = <Tokio as Executor>::Task<T>;

    fn block_on<T, F: Future<Output = T>>(&self, future: F) -> T {
        self.0.block_on(future)
    }

    fn spawn<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        future: F,
    ) -> Task<Self::Task<T>> {
        self.0.spawn(future)
    }

    fn spawn_blocking<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        &self,
        work: F,
    ) -> Task<Self::Task<T>> {
        self.0.spawn_blocking(work)
    }
}

impl Reactor for Kit {
    type TcpStream = Line;
    type Sleep = tokio::time::Sleep;

    /// lapin registers nothing: it gets an open line.
    fn register<H: io::Read + io::Write + Send + 'static>(
        &self,
        _: H,
    ) -> io::Result<impl futures_io::AsyncRead + futures_io::AsyncWrite + Send + Unpin + 'static>
    {
        Err::<DummyIO, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    #[expect(
        clippy::disallowed_types,
        reason = "the trait says so, and nothing of ours reads it"
    )]
    fn interval(
        &self,
        duration: Duration,
    ) -> impl Stream<Item = std::time::Instant> + Send + 'static {
        self.0.interval(duration)
    }

    /// Nor does it connect.
    fn tcp_connect_addr(
        &self,
        _: std::net::SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        std::future::ready(Err(io::ErrorKind::Unsupported.into()))
    }
}

/// A dialled connection in lapin's hands.
#[derive(Debug)]
pub(super) struct Line {
    io: Io,
    ends: Arc<Ends>,
}

#[derive(Debug, Default)]
struct Ends {
    cut: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
    /// lapin has let go of the line.
    closed: CancellationToken,
}

/// Cuts a line when it is dropped.
#[derive(Debug)]
pub(super) struct Cutter(Arc<Ends>);

impl Line {
    /// A line, and what cuts it.
    pub(super) fn new(io: Io) -> (Self, Cutter) {
        let ends = Arc::new(Ends::default());
        let cutter = Cutter(Arc::clone(&ends));
        (Self { io, ends }, cutter)
    }

    fn check(&self) -> io::Result<()> {
        if self.ends.cut.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.ends.closed.cancel();
    }
}

impl Cutter {
    /// Waits until lapin has let go of the line by itself.
    pub(super) async fn closed(&self) {
        self.0.closed.cancelled().await;
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.0.cut.store(true, Ordering::SeqCst);
        self.0.reader.wake();
        self.0.writer.wake();
    }
}

impl futures_io::AsyncRead for Line {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let line = self.get_mut();
        line.ends.reader.register(cx.waker());
        line.check()?;
        let mut buf = ReadBuf::new(buf);
        ready!(Pin::new(&mut line.io).poll_read(cx, &mut buf))?;
        Poll::Ready(Ok(buf.filled().len()))
    }
}

impl futures_io::AsyncWrite for Line {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let line = self.get_mut();
        line.ends.writer.register(cx.waker());
        line.check()?;
        Pin::new(&mut line.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let line = self.get_mut();
        line.ends.writer.register(cx.waker());
        line.check()?;
        Pin::new(&mut line.io).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let line = self.get_mut();
        line.ends.writer.register(cx.waker());
        line.check()?;
        Pin::new(&mut line.io).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let line = self.get_mut();
        line.ends.writer.register(cx.waker());
        line.check()?;
        Pin::new(&mut line.io).poll_shutdown(cx)
    }
}
