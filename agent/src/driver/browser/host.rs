//! The thread that looks after one Chromium: starts it, reads what it tells, opens and closes pages, and ends it.
//!
//! It owns the process, the websocket's two halves and the table of pages. Wishes for pages come through a bounded channel.
//! It ends when it is told to, when the browser ends, and when the browser does not answer any more; it never outlives its
//! [`Host`], which waits for it when dropped.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use testmesh_shared::error::Chain;
use testmesh_shared::plan::ErrorKind;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, interval_at, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};
use tokio_util::sync::CancellationToken;

use super::cdp::{CallError, Cdp, Event};
use super::failure::call_failure;
use super::page::{self, Opened, PageSpec};
use super::process::{Chromium, StartError};
use super::watched::Watched;
use crate::driver::contract::StageError;
use crate::driver::limits;

/// A Chromium with its thread. Dropping it ends both, and waits for it.
#[derive(Debug)]
pub(super) struct Host {
    condition: watch::Receiver<Condition>,
    opens: mpsc::Sender<Open>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

/// How far a browser is.
#[derive(Debug, Clone)]
enum Condition {
    Starting,
    Up,
    Over(StageError),
}

/// A wish for a page.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) spec: PageSpec,
    /// Given back when the page is gone for good.
    pub(super) permit: OwnedSemaphorePermit,
    /// Cancelled: nobody wants it any more.
    pub(super) unwanted: CancellationToken,
    pub(super) reply: oneshot::Sender<Result<Opened, CallError>>,
}

impl Host {
    /// Starts a thread that starts a browser.
    pub(super) fn start(program: Option<PathBuf>) -> Result<Self, StageError> {
        let (tell, condition) = watch::channel(Condition::Starting);
        let (opens, wishes) = mpsc::channel(limits::BROWSER_OPENS);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let failed = |source: std::io::Error| {
            let message = format!("failed to start the browser's thread: {source}");
            StageError::new(ErrorKind::Internal, message)
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let thread = std::thread::Builder::new()
            .name("browser".to_owned())
            .spawn(move || {
                let look_after = look_after(program, wishes, &tell, stopped);
                let over = LocalSet::new().block_on(&runtime, look_after);
                tell.send_replace(Condition::Over(over));
            })
            .map_err(failed)?;
        Ok(Self {
            condition,
            opens,
            stop,
            thread: Some(thread),
        })
    }

    /// Whether a further page may be tried on it.
    pub(super) fn is_usable(&self) -> bool {
        let over = matches!(*self.condition.borrow(), Condition::Over(_));
        // A thread that panicked has told nothing.
        !over && self.condition.has_changed().is_ok()
    }

    /// Waits until it can be used.
    ///
    /// # Errors
    ///
    /// Why there is no browser.
    pub(super) async fn up(&self) -> Result<(), StageError> {
        let mut condition = self.condition.clone();
        let settled = condition
            .wait_for(|condition| !matches!(condition, Condition::Starting))
            .await;
        match settled.as_deref() {
            Ok(Condition::Over(error)) => Err(error.clone()),
            Ok(_) => Ok(()),
            Err(_) => {
                let message = "the browser's thread panicked";
                Err(StageError::new(ErrorKind::Internal, message))
            }
        }
    }

    /// Where wishes for pages go.
    pub(super) fn opens(&self) -> &mpsc::Sender<Open> {
        &self.opens
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a browser's thread panicked");
        }
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Pages by the session of the protocol.
type Pages = Rc<RefCell<HashMap<String, Arc<Watched>>>>;

/// A browser's whole life. Returns what further sessions are told.
async fn look_after(
    program: Option<PathBuf>,
    wishes: mpsc::Receiver<Open>,
    tell: &watch::Sender<Condition>,
    stop: CancellationToken,
) -> StageError {
    let stopped = || StageError::new(ErrorKind::Reset, "the browser was stopped");
    let started = tokio::select! {
        biased;
        () = stop.cancelled() => return stopped(),
        started = Chromium::start(program.as_deref()) => started,
    };
    let mut chromium = match started {
        Ok(chromium) => chromium,
        Err(error) => return not_started(&error),
    };
    let config = WebSocketConfig::default()
        .max_message_size(Some(limits::BROWSER_MESSAGE_BYTES))
        .max_frame_size(Some(limits::BROWSER_MESSAGE_BYTES));
    let connect = connect_async_with_config(&chromium.endpoint, Some(config), true);
    let socket = match timeout(limits::BROWSER_CALL, connect).await {
        Ok(Ok((socket, _))) => socket,
        Ok(Err(error)) => {
            chromium.end().await;
            let message = format!("failed to connect to the browser: {}", Chain(&error));
            return StageError::new(ErrorKind::Reset, message);
        }
        Err(_) => {
            chromium.end().await;
            let message = "the browser did not answer when connected to";
            return StageError::new(ErrorKind::Timeout, message);
        }
    };
    let (sink, stream) = socket.split();
    let (cdp, calls) = Cdp::new();
    let mut serving = Serving {
        cdp: Arc::clone(&cdp),
        pages: Rc::default(),
        wishes,
        heard: Instant::now(),
    };
    tell.send_replace(Condition::Up);
    let why = tokio::select! {
        biased;
        () = stop.cancelled() => Why::Stopped,
        why = serving.serve(stream) => why,
        why = write(sink, calls) => why,
        never = chromium.drain() => match never {},
    };
    let reason = match why {
        Why::Stopped => "the browser was stopped".to_owned(),
        Why::Silent => format!(
            "the browser did not answer for {:?} and was killed",
            limits::BROWSER_SILENCE
        ),
        Why::Closed(why) => match chromium.ended().await {
            Some(how) => format!("the browser ended: {how}"),
            None => format!("the browser closed its connection: {why}"),
        },
    };
    chromium.end().await;
    let reason: Arc<str> = reason.into();
    for page in serving.pages.borrow().values() {
        page.close(&reason);
    }
    cdp.end(&reason);
    call_failure(&CallError::Ended(reason))
}

fn not_started(error: &StartError) -> StageError {
    let text = Chain(error).to_string();
    match error {
        StartError::NotFound(_) => {
            StageError::new(ErrorKind::Refused, text).with_code("no_browser")
        }
        StartError::Io { .. } | StartError::Ended { .. } => {
            StageError::new(ErrorKind::Refused, text).with_code("no_browser")
        }
        StartError::Late { .. } => {
            StageError::new(ErrorKind::Timeout, text).with_code("no_browser")
        }
    }
}

/// Why a browser is no more.
enum Why {
    Stopped,
    Silent,
    Closed(String),
}

/// Writes calls in their order.
async fn write(mut sink: SplitSink<Socket, Message>, mut calls: mpsc::Receiver<String>) -> Why {
    while let Some(call) = calls.recv().await {
        if let Err(error) = sink.send(Message::text(call)).await {
            return Why::Closed(error.to_string());
        }
    }
    Why::Stopped
}

struct Serving {
    cdp: Arc<Cdp>,
    pages: Pages,
    wishes: mpsc::Receiver<Open>,
    /// When the browser last said anything.
    heard: Instant,
}

/// What the loop woke up for.
enum Woken {
    Told(Option<Result<Message, tokio_tungstenite::tungstenite::Error>>),
    Wished(Open),
    Closed,
    Ask,
}

impl Serving {
    async fn serve(&mut self, mut stream: SplitStream<Socket>) -> Why {
        let mut keepers = JoinSet::new();
        let mut asks = interval_at(Instant::now() + limits::BROWSER_ASK, limits::BROWSER_ASK);
        loop {
            let woken = tokio::select! {
                told = stream.next() => Woken::Told(told),
                Some(open) = self.wishes.recv() => Woken::Wished(open),
                Some(_) = keepers.join_next() => Woken::Closed,
                _ = asks.tick() => Woken::Ask,
            };
            match woken {
                Woken::Told(Some(Ok(message))) => {
                    self.heard = Instant::now();
                    if let Err(why) = self.take(&message) {
                        return Why::Closed(why);
                    }
                }
                Woken::Told(Some(Err(error))) => return Why::Closed(error.to_string()),
                Woken::Told(None) => return Why::Closed("it has ended".to_owned()),
                Woken::Wished(open) => {
                    let keep = keep(Arc::clone(&self.cdp), Rc::clone(&self.pages), open);
                    keepers.spawn_local(keep);
                }
                Woken::Closed => {}
                Woken::Ask if self.heard.elapsed() > limits::BROWSER_SILENCE => return Why::Silent,
                Woken::Ask => {
                    // Its answer is a word like any other.
                    self.cdp.post(None, "Browser.getVersion", json!({}));
                }
            }
        }
    }

    fn take(&self, message: &Message) -> Result<(), String> {
        let Message::Text(text) = message else {
            return Ok(());
        };
        let event = self.cdp.take(text.as_str());
        let event = event.map_err(|error| format!("it says what is no JSON: {error}"))?;
        if let Some(event) = event {
            self.tell(&event)?;
        }
        Ok(())
    }

    fn tell(&self, event: &Event) -> Result<(), String> {
        let pages = self.pages.borrow();
        if event.method == "Target.detachedFromTarget" {
            let session = event.params["sessionId"].as_str().unwrap_or_default();
            if let Some(page) = pages.get(session) {
                page.close("the page was closed");
            }
            return Ok(());
        }
        let Some(session) = &event.session else {
            return Ok(());
        };
        let Some(answer) = pages.get(session).and_then(|page| page.take(event)) else {
            return Ok(());
        };
        if self.cdp.post(Some(session), answer.method, answer.params) {
            return Ok(());
        }
        Err("it does not read what it is told".to_owned())
    }
}

/// A page's place in the table.
struct Registered {
    pages: Pages,
    session: String,
}

impl Registered {
    fn new(pages: &Pages, session: &str, watched: &Arc<Watched>) -> Self {
        let session = session.to_owned();
        pages
            .borrow_mut()
            .insert(session.clone(), Arc::clone(watched));
        Self {
            pages: Rc::clone(pages),
            session,
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.pages.borrow_mut().remove(&self.session);
    }
}

/// Opens a page, and closes it when it is not wanted any more. Only then another may take its place.
async fn keep(cdp: Arc<Cdp>, pages: Pages, open: Open) {
    let Open {
        spec,
        permit,
        unwanted,
        reply,
    } = open;
    let soon = || Instant::now() + limits::BROWSER_CALL;
    let params = json!({ "disposeOnDetach": true });
    let context = cdp.call(None, "Target.createBrowserContext", params, soon());
    let context = match context.await {
        Ok(context) => context["browserContextId"].clone(),
        Err(error) => {
            // Who wished it may be gone.
            let _ = reply.send(Err(error));
            return;
        }
    };
    let opening = async {
        let (session, frame) = page::attach(&cdp, &spec, &context).await?;
        let watched = Arc::new(Watched::new(frame.clone()));
        let registered = Registered::new(&pages, &session, &watched);
        page::prepare(&cdp, &spec, &session).await?;
        let opened = Opened {
            cdp: Arc::clone(&cdp),
            session: session.into(),
            target: frame,
            watched,
        };
        Ok((opened, registered))
    };
    let opened = tokio::select! {
        biased;
        () = unwanted.cancelled() => None,
        opened = opening => Some(opened),
    };
    match opened {
        None => {}
        Some(Err(error)) => drop(reply.send(Err(error))),
        Some(Ok((opened, _registered))) => {
            let wanted = reply.send(Ok(opened)).is_ok();
            if wanted {
                unwanted.cancelled().await;
            }
        }
    }
    let params = json!({ "browserContextId": context });
    let disposed = cdp.call(None, "Target.disposeBrowserContext", params, soon());
    if let Err(error) = disposed.await
        && cdp.ended().is_none()
    {
        tracing::warn!(%error, "a page could not be closed");
    }
    drop(permit);
}
