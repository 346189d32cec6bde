//! A gRPC server of streams: millions of rows as fast as they are taken, or few messages at the times of a script.

use std::{
    future::poll_fn,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use bytes::Bytes;
use h2::{SendStream, server::SendResponse};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
    time::Instant,
};

use super::{
    answers::sleep_until,
    quantile,
    rows::{Place, ROWS_PER_CHUNK, chunk, message, payload},
};

/// How late a server is that is not held up by anything.
const QUIET: f64 = 0.000_4;

/// When the messages of a stream are sent.
#[derive(Clone, Debug)]
pub struct Emission {
    /// Since the request came.
    pub at: Vec<Duration>,
    /// What follows the last message.
    pub then: Then,
}

/// What follows the last message of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It ends.
    End,
    /// Nothing, until the client leaves.
    Silence,
}

/// The server; it ends with the process.
///
/// `calibration.Rows/Stream` sends as many rows as it was started with, to the stream that the metadata `stream` numbers;
/// `calibration.Rows/Timed` follows the emission script.
#[derive(Debug)]
pub struct Streams {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clean: Vec<Bytes>,
    wrong: Vec<Place>,
    emission: Emission,
    /// How late each message of a script was sent, in seconds.
    late: Mutex<Vec<f64>>,
}

impl Streams {
    /// Streams of so many rows (a multiple of [`ROWS_PER_CHUNK`]), of which some are wrong.
    ///
    /// # Errors
    ///
    /// If it cannot listen.
    pub fn of_rows(rows: u64, wrong: &[Place]) -> Result<Self> {
        let chunks = 0..rows / ROWS_PER_CHUNK;
        let clean = chunks.map(|number| chunk(rows_of(number), &[]));
        let emission = Emission {
            at: Vec::new(),
            then: Then::End,
        };
        Self::start(clean.collect(), wrong, emission)
    }

    /// Streams that follow a script.
    ///
    /// # Errors
    ///
    /// If it cannot listen.
    pub fn timed(emission: Emission) -> Result<Self> {
        Self::start(Vec::new(), &[], emission)
    }

    fn start(clean: Vec<Bytes>, wrong: &[Place], emission: Emission) -> Result<Self> {
        let shared = Arc::new(Shared {
            clean,
            wrong: wrong.to_vec(),
            emission,
            late: Mutex::default(),
        });
        let listener = std::net::TcpListener::bind("127.0.0.1:0").context("failed to listen")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let serving = Arc::clone(&shared);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        thread::Builder::new()
            .name("streams".to_owned())
            .spawn(move || runtime.block_on(accept(listener, &serving)))?;
        Ok(Self { address, shared })
    }

    /// Its address as a plan takes it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How late the messages of its script were sent, nine of ten, in seconds; zero if nothing held it up.
    #[must_use]
    pub fn lateness(&self) -> f64 {
        let mut late = self.shared.late().clone();
        late.sort_unstable_by(f64::total_cmp);
        let most = quantile(&late, 0.9);
        if most <= QUIET { 0.0 } else { most }
    }
}

impl Shared {
    /// Nothing is left half-done under this lock.
    fn late(&self) -> MutexGuard<'_, Vec<f64>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn rows_of(chunk: u64) -> std::ops::Range<u64> {
    chunk * ROWS_PER_CHUNK..(chunk + 1) * ROWS_PER_CHUNK
}

async fn accept(listener: std::net::TcpListener, shared: &Arc<Shared>) -> Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut connections = JoinSet::new();
    while let Ok((connection, _)) = listener.accept().await {
        connections.spawn(serve(connection, Arc::clone(shared)));
    }
    Ok(())
}

/// Serves until the client leaves.
async fn serve(connection: TcpStream, shared: Arc<Shared>) -> Result<()> {
    connection.set_nodelay(true)?;
    let mut requests = h2::server::handshake(connection).await?;
    let mut answers = JoinSet::new();
    while let Some(request) = requests.accept().await {
        let (request, respond) = request?;
        answers.spawn(answer(request, respond, Arc::clone(&shared)));
    }
    Ok(())
}

async fn answer(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    shared: Arc<Shared>,
) -> Result<()> {
    let came = Instant::now();
    let head = Response::builder().header("content-type", "application/grpc");
    let mut body = respond.send_response(head.body(())?, false)?;
    match request.uri().path() {
        "/calibration.Rows/Timed" => timed(&mut body, came, &shared).await?,
        _ => {
            let number = request.headers().get("stream");
            let number = number.and_then(|number| number.to_str().ok()?.parse().ok());
            rows(&mut body, number.unwrap_or_default(), &shared).await?;
        }
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    body.send_trailers(trailers)?;
    Ok(())
}

async fn rows(body: &mut SendStream<Bytes>, stream: u64, shared: &Shared) -> Result<()> {
    for (number, clean) in (0..).zip(&shared.clean) {
        let range = rows_of(number);
        let ours = |place: &&Place| place.stream == stream && range.contains(&place.row);
        let wrong: Vec<Place> = shared.wrong.iter().filter(ours).copied().collect();
        let bytes = match wrong.is_empty() {
            true => clean.clone(),
            false => chunk(range, &wrong),
        };
        send(body, bytes).await?;
    }
    Ok(())
}

async fn timed(body: &mut SendStream<Bytes>, came: Instant, shared: &Shared) -> Result<()> {
    let Emission { at, then } = shared.emission.clone();
    let (due, mut messages) = mpsc::channel(1);
    // A thread wakes up more exactly than this runtime, whose clock ticks once a millisecond.
    let ticking = thread::spawn(move || {
        for (number, at) in (0..).zip(at) {
            sleep_until(came + at);
            if due.blocking_send((number, came + at)).is_err() {
                return;
            }
        }
    });
    while let Some((number, at)) = messages.recv().await {
        let mut bytes = Vec::new();
        message(number, &payload(number, 0), &mut bytes);
        shared.late().push((Instant::now() - at).as_secs_f64());
        send(body, bytes.into()).await?;
    }
    drop(ticking);
    if then == Then::Silence {
        poll_fn(|context| body.poll_reset(context)).await?;
    }
    Ok(())
}

/// Sends as the client's windows allow.
async fn send(body: &mut SendStream<Bytes>, mut bytes: Bytes) -> Result<()> {
    while !bytes.is_empty() {
        body.reserve_capacity(bytes.len());
        let granted = poll_fn(|context| body.poll_capacity(context)).await;
        let granted = granted.ok_or_else(|| anyhow!("the client left"))??;
        body.send_data(bytes.split_to(granted.min(bytes.len())), false)?;
    }
    Ok(())
}
