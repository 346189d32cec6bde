//! One connection to a broker, and channels on it.
//!
//! It does not recover by itself: a confirmation that was awaited while the broker went away would never come. A connection
//! that is gone is replaced by a new one, which the next stage opens.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_rs::Runtime;
use hyper::rt::Executor as _;
use hyper_util::rt::TokioExecutor;
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{AsyncTcpStream, ConnectionProperties};
use tokio::time::{Instant, timeout};

use super::failure::failure;
use super::kit::{Cutter, Kit, Line};
use crate::driver::connections::Reusable;
use crate::driver::contract::StageError;
use crate::driver::limits;
use crate::driver::transport::{Address, Gate, dial};
use crate::driver::tries::Failure;

/// An open connection. Dropping it closes it: politely if the broker answers, and at the latest after two seconds.
pub(super) struct Connection {
    lapin: Option<lapin::Connection>,
    cutter: Option<Cutter>,
    /// The broker, as messages name it.
    at: Arc<str>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl Reusable for Connection {
    fn is_open(&self) -> bool {
        self.lapin
            .as_ref()
            .is_some_and(|lapin| lapin.status().connected())
    }
}

/// A broker, as messages name it: without its user.
pub(super) fn shown(uri: &AMQPUri) -> String {
    let address = address(uri);
    match uri.vhost.as_str() {
        "/" => address.to_string(),
        vhost => format!("{address}/{vhost}"),
    }
}

fn address(uri: &AMQPUri) -> Address {
    let host = &uri.authority.host;
    Address {
        host: host.trim_matches(['[', ']']).to_owned(),
        port: uri.authority.port,
        tls: Some(uri.scheme == AMQPScheme::AMQPS),
    }
}

impl Connection {
    /// Connects and logs in, and says how long that took, without the wait at the gate.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub(super) async fn open(
        gate: &Gate,
        uri: AMQPUri,
        tls: &Arc<rustls::ClientConfig>,
    ) -> Result<(Self, Duration), StageError> {
        let address = address(&uri);
        let at: Arc<str> = shown(&uri).into();
        let tls = (address.tls == Some(true)).then_some(tls);
        let dialled = dial(gate, &address, tls).await?;
        let start = Instant::now();
        let (line, cutter) = Line::new(dialled.io);
        let line = Mutex::new(Some(line));
        let take = async move |_: AMQPUri, _: Runtime<Kit>| {
            let line = line.lock().unwrap_or_else(PoisonError::into_inner).take();
            // There is one line, and no other connection is made from here.
            let line = line.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
            Ok(AsyncTcpStream::Plain(line))
        };
        let properties = ConnectionProperties::default()
            .with_connection_name("testmesh".into())
            .with_client_property("product".into(), "testmesh".into())
            .with_client_property("version".into(), env!("CARGO_PKG_VERSION").into());
        let runtime = Runtime::new(Kit::current());
        let lapin = lapin::Connection::connector(uri, runtime, take, properties)
            .await
            .map_err(|error| failure(&format!("logging in at {at}"), &error).into_error())?;
        let connection = Self {
            lapin: Some(lapin),
            cutter: Some(cutter),
            at,
        };
        Ok((connection, dialled.took + start.elapsed()))
    }

    /// The broker, as messages name it.
    pub(super) fn at(&self) -> &str {
        &self.at
    }

    /// Opens a channel: a round trip, so that a connection whose peer is gone is found out before anything is asked.
    ///
    /// # Cancel safety
    ///
    /// A channel whose future was dropped is closed when the broker has opened it.
    pub(super) async fn channel(&self) -> Result<lapin::Channel, Failure> {
        let lapin = self
            .lapin
            .as_ref()
            .expect("it is taken by dropping it alone");
        lapin
            .create_channel()
            .await
            .map_err(|error| failure(&format!("opening a channel at {}", self.at), &error))
    }

    /// Whether the broker takes no messages at present: it is short of memory or of disk.
    pub(super) fn is_blocked(&self) -> bool {
        self.lapin
            .as_ref()
            .is_some_and(|lapin| lapin.status().blocked())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Says goodbye, in a task of lapin's.
        drop(self.lapin.take());
        let Some(cutter) = self.cutter.take() else {
            return;
        };
        // Without a runtime nobody can say anything: the line is cut at once.
        if tokio::runtime::Handle::try_current().is_ok() {
            // It ends with the connection, and by itself: nothing has to wait for it.
            TokioExecutor::new().execute(async move {
                if timeout(limits::AMQP_GOODBYE, cutter.closed())
                    .await
                    .is_err()
                {
                    tracing::debug!("an AMQP connection was cut: its broker did not say goodbye");
                }
            });
        }
    }
}
