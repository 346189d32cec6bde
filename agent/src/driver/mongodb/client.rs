//! A client of one target: its connection string read, its connects counted and timed, nothing tried again behind the plan's
//! back.

use std::fmt::Write as _;
use std::io::Write as _;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mongodb::event::EventHandler;
use mongodb::event::cmap::CmapEvent;
use mongodb::options::{
    ClientOptions, ConnectionString, HostInfo, ServerAddress, ServerMonitoringMode, Tls, TlsOptions,
};
use mongodb::{Client as Driver, Database};
use tempfile::NamedTempFile;
use testmesh_shared::digest::Digest;
use testmesh_shared::plan::{ErrorKind, Pool};

use super::failure::failure;
use super::form::Target;
use super::health::Health;
use crate::driver::connections::{Connections, Reusable};
use crate::driver::contract::StageError;
use crate::driver::limits;
use crate::driver::transport;

/// A client of one database, for the sessions that may share it. Its tasks live on this thread's runtime, and end with it.
#[derive(Debug)]
pub(crate) struct Client {
    pub(super) database: Database,
    pub(super) health: Arc<Health>,
    /// Database and servers, as messages show them.
    pub(super) shown: String,
    connects: Arc<AtomicU64>,
}

impl Reusable for Client {
    /// It finds and replaces connections, and servers, by itself.
    fn is_open(&self) -> bool {
        true
    }
}

impl Client {
    /// The client that the target's `connections` grant for this connection string, once one of its servers has answered.
    ///
    /// # Errors
    ///
    /// If the connection string is none, or no server of it answers.
    pub(super) async fn open(
        target: &Target,
        name: &str,
        uri: &str,
        connections: &Connections,
    ) -> Result<Rc<Self>, StageError> {
        // What is behind the name may differ from session to session, and holds passwords.
        let key = format!("mongodb {name} {}", Digest::of(uri.as_bytes()));
        let (sharing, pool) = match target.connections {
            Pool::Shared(count) => (Pool::Shared(1), connections.share(count)),
            own => (own, limits::MONGODB_CONNECTIONS),
        };
        let open = async || Self::connect(target, name, uri, pool, connections).await;
        connections.open(sharing, &key, open).await
    }

    async fn connect(
        target: &Target,
        name: &str,
        uri: &str,
        pool: u32,
        connections: &Connections,
    ) -> Result<Self, StageError> {
        let doing = format!("opening `{name}`");
        let parsed = parse(uri).map_err(|reason| {
            let message = format!("the connection string of `{name}` {reason}");
            StageError::new(ErrorKind::Expectation, message).with_code("bad_address")
        })?;
        let mut options = ClientOptions::parse(parsed)
            .await
            .map_err(|error| failure(&doing, &error))?;
        let health = Arc::new(Health::default());
        let connects = Arc::new(AtomicU64::new(0));
        plain(&mut options, target.timeout);
        options.max_pool_size = Some(pool);
        options.max_connecting = Some(pool.min(limits::MONGODB_CONNECTING));
        options.sdam_event_handler = Some(listen_health(&health));
        options.cmap_event_handler = Some(listen_connects(&connects));
        // The files are read while the client is made, and not needed any more.
        let files = target.tls.as_ref().map(|tls| TlsFiles::of(tls, &options));
        let _files = match files {
            None => None,
            Some(Ok((files, tls))) => {
                options.tls = Some(Tls::Enabled(tls));
                Some(files)
            }
            Some(Err(message)) => {
                let message = format!("{doing}: {message}");
                return Err(StageError::new(ErrorKind::Expectation, message).with_code("tls"));
            }
        };
        let balanced = options.load_balanced == Some(true);
        let address = options.hosts.first().map(ServerAddress::to_string);
        let _pass = connections
            .gate()
            .pass(address.as_deref().unwrap_or_default())
            .await;
        let shown = shown(&target.database, &options.hosts);
        let driver = Driver::with_options(options).map_err(|error| failure(&doing, &error))?;
        // A load balancer is not watched.
        if !balanced {
            let limit = target.timeout;
            let known = tokio::time::timeout(limit, health.known()).await;
            known.unwrap_or_else(|_| {
                let message = format!("{doing}: no server answered within {limit:?}");
                Err(StageError::new(ErrorKind::Unavailable, message))
            })?;
        }
        Ok(Self {
            database: driver.database(&target.database),
            health,
            shown,
            connects,
        })
    }

    /// The time that connects took since the last call, if there were any.
    pub(super) fn connects(&self) -> Option<Duration> {
        match self.connects.swap(0, Ordering::Relaxed) {
            0 => None,
            nanos => Some(Duration::from_nanos(nanos)),
        }
    }
}

/// What a measuring client does not do: try again, and keep the reasons of a failure for itself.
fn plain(options: &mut ClientOptions, timeout: Duration) {
    options.retry_reads = Some(false);
    options.retry_writes = Some(false);
    options.max_adaptive_retries = Some(0);
    let own = options.server_selection_timeout.unwrap_or(timeout);
    options.server_selection_timeout = Some(own.min(timeout));
    options.connect_timeout = Some(
        options
            .connect_timeout
            .unwrap_or(limits::MONGODB_CONNECT)
            .min(timeout),
    );
    // One watching connection to each server, and not two.
    options
        .server_monitoring_mode
        .get_or_insert(ServerMonitoringMode::Poll);
    options
        .app_name
        .get_or_insert_with(|| "testmesh".to_owned());
}

fn listen_health(health: &Arc<Health>) -> EventHandler<mongodb::event::sdam::SdamEvent> {
    let health = Arc::clone(health);
    EventHandler::callback(move |event| health.hear(event))
}

fn listen_connects(connects: &Arc<AtomicU64>) -> EventHandler<CmapEvent> {
    let connects = Arc::clone(connects);
    EventHandler::callback(move |event| {
        if let CmapEvent::ConnectionReady(ready) = event {
            let nanos = u64::try_from(ready.duration.as_nanos()).unwrap_or(u64::MAX);
            connects.fetch_add(nanos.max(1), Ordering::Relaxed);
        }
    })
}

/// Reads a connection string.
///
/// # Errors
///
/// What is wrong with it, as the rest of a sentence; without what may be a user or a password.
pub(super) fn parse(uri: &str) -> Result<ConnectionString, String> {
    let wrong = match ConnectionString::parse(uri) {
        Ok(parsed) => return Ok(parsed),
        Err(error) => error,
    };
    let reason = |error: &mongodb::error::Error| match &*error.kind {
        mongodb::error::ErrorKind::InvalidArgument { message, .. } => message.clone(),
        other => other.to_string(),
    };
    // With credentials in it the driver's words may hold a part of them: so it is asked again, without.
    let Some((scheme, rest)) = uri.split_once("://") else {
        return Err("has no scheme: write mongodb://HOST:PORT".to_owned());
    };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let Some((_, behind)) = rest.rsplit_once('@').or_else(|| authority.rsplit_once('@')) else {
        return Err(format!("cannot be used: {}", reason(&wrong)));
    };
    match ConnectionString::parse(format!("{scheme}://{behind}")) {
        Ok(_) => Err(
            "cannot be used: percent-encode its user and password, and say how they are checked"
                .to_owned(),
        ),
        Err(error) => Err(format!("cannot be used: {}", reason(&error))),
    }
}

/// Whether servers of that connection string speak TLS.
pub(super) fn speaks_tls(parsed: &ConnectionString) -> bool {
    match (&parsed.tls, &parsed.host_info) {
        (Some(Tls::Enabled(_)), _) => true,
        (Some(Tls::Disabled), _) => false,
        // Names that are looked up mean TLS unless they say otherwise.
        (None, HostInfo::DnsRecord(_)) => true,
        (None, _) => false,
    }
}

/// The plan's certificates and keys as files, which is the only way that the client takes them. Only their owner may read
/// them, and they are removed when this is dropped.
struct TlsFiles {
    _ca: Option<NamedTempFile>,
    _client: Option<NamedTempFile>,
}

impl TlsFiles {
    fn of(tls: &transport::Tls, options: &ClientOptions) -> Result<(Self, TlsOptions), String> {
        let Some(Tls::Enabled(said)) = &options.tls else {
            let message = "the target has `tls`, and its connection string does not ask for TLS (write `tls=true` in it)";
            return Err(message.to_owned());
        };
        let mut said = said.clone();
        if tls.insecure {
            said.allow_invalid_certificates = Some(true);
        }
        let ca = tls.ca.as_deref().map(|ca| file(&[ca])).transpose()?;
        if let Some(ca) = &ca {
            said.ca_file_path = Some(ca.path().to_owned());
        }
        let client = tls.client.as_ref();
        let client = client
            .map(|client| file(&[&client.cert, b"\n", &client.key]))
            .transpose()?;
        if let Some(client) = &client {
            said.cert_key_file_path = Some(client.path().to_owned());
        }
        let files = Self {
            _ca: ca,
            _client: client,
        };
        Ok((files, said))
    }
}

fn file(parts: &[&[u8]]) -> Result<NamedTempFile, String> {
    let write = || {
        let mut file = tempfile::Builder::new().prefix("testmesh-").tempfile()?;
        parts.iter().try_for_each(|part| file.write_all(part))?;
        file.flush()?;
        Ok(file)
    };
    write().map_err(|error: std::io::Error| {
        format!("its certificates cannot be written to a file of their own: {error}")
    })
}

fn shown(database: &str, servers: &[ServerAddress]) -> String {
    let mut text = format!("{database} at ");
    for (at, server) in servers.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma}{server}");
    }
    text
}
