//! The page of one session: how it is opened, and how it is asked and told something.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use serde_json::{Value as Json, json};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::cdp::{CallError, Cdp};
use super::failure::Trouble;
use super::form::Viewport;
use super::watched::{BINDING, WORLD, Watched, exception};
use crate::driver::connections::Reusable;
use crate::driver::limits;

/// What runs in pages.
const SCRIPT: &str = include_str!("page.js");

/// Between two tries to reach a document that is just being replaced.
const REPLACED: Duration = Duration::from_millis(5);

/// What a page is like.
#[derive(Debug, Clone)]
pub(super) struct PageSpec {
    pub(super) viewport: Viewport,
    pub(super) insecure: bool,
    /// `https://HOST:PORT`: where requests carry the trace.
    pub(super) origin: Option<String>,
}

/// A page that was opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) cdp: Arc<Cdp>,
    /// The session of the protocol.
    pub(super) session: Arc<str>,
    /// The target of the protocol, and the page's own frame.
    pub(super) target: String,
    pub(super) watched: Arc<Watched>,
}

/// The page of one session. It closes when this is dropped.
#[derive(Debug)]
pub(super) struct Page {
    opened: Opened,
    /// Branches of a session take turns.
    pub(super) turn: Mutex<()>,
    /// A secret was put into it.
    pub(super) is_secret: Cell<bool>,
    /// Numbers what is waited for.
    waits: Cell<u64>,
    closes: CancellationToken,
}

impl Drop for Page {
    fn drop(&mut self) {
        self.closes.cancel();
    }
}

impl Reusable for Page {
    fn is_open(&self) -> bool {
        self.why_gone().is_none()
    }
}

/// Whose JavaScript runs beside ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum World {
    /// Nobody's: only the document is shared with the page.
    Own,
    /// The page's.
    Page,
}

impl World {
    /// What `page.js` is in this world.
    fn script(self) -> &'static str {
        match self {
            Self::Own => "window[Symbol.for(\"testmesh\")]",
            Self::Page => SCRIPT.trim_ascii_end(),
        }
    }

    /// A call of it; the arguments are JavaScript.
    pub(super) fn call(self, function: &str, arguments: &[&str]) -> String {
        format!("{}.{function}({})", self.script(), arguments.join(", "))
    }
}

/// Makes a page in a context and takes hold of it. Returns its session and its frame.
pub(super) async fn attach(
    cdp: &Cdp,
    spec: &PageSpec,
    context: &Json,
) -> Result<(String, String), CallError> {
    let soon = Instant::now() + limits::BROWSER_CALL;
    // In a window of its own a page is never in the background, where frames are not drawn and clicks hang.
    let params = json!({
        "url": "about:blank", "browserContextId": context, "newWindow": true,
        "width": spec.viewport.width, "height": spec.viewport.height,
    });
    let target = cdp.call(None, "Target.createTarget", params, soon).await?;
    let target = target["targetId"].as_str().unwrap_or_default().to_owned();
    let params = json!({ "targetId": target, "flatten": true });
    let attached = cdp
        .call(None, "Target.attachToTarget", params, soon)
        .await?;
    let session = attached["sessionId"].as_str().unwrap_or_default();
    Ok((session.to_owned(), target))
}

/// Makes a page tell what we want to hear, and be as the plan says.
pub(super) async fn prepare(cdp: &Cdp, spec: &PageSpec, session: &str) -> Result<(), CallError> {
    let mut calls = vec![
        ("Inspector.enable", json!({})),
        ("Page.enable", json!({})),
        (
            "Runtime.addBinding",
            json!({ "name": BINDING, "executionContextName": WORLD }),
        ),
        ("Runtime.enable", json!({})),
        ("Log.enable", json!({})),
        (
            "Page.addScriptToEvaluateOnNewDocument",
            json!({ "source": SCRIPT, "worldName": WORLD, "runImmediately": true }),
        ),
        (
            "Emulation.setDeviceMetricsOverride",
            json!({
                "width": spec.viewport.width, "height": spec.viewport.height,
                "deviceScaleFactor": 1, "mobile": false,
            }),
        ),
        (
            "Emulation.setFocusEmulationEnabled",
            json!({ "enabled": true }),
        ),
    ];
    if spec.insecure {
        let params = json!({ "ignore": true });
        calls.push(("Security.setIgnoreCertificateErrors", params));
    }
    if let Some(origin) = &spec.origin {
        // Each request that is held up costs it some time: only those that a server's trace is about.
        let pattern = |kind| json!({ "urlPattern": format!("{origin}/*"), "resourceType": kind });
        let patterns = ["Document", "XHR", "Fetch"].map(pattern);
        calls.push(("Fetch.enable", json!({ "patterns": patterns })));
    }
    let soon = Instant::now() + limits::BROWSER_CALL;
    let calls = calls
        .into_iter()
        .map(|(method, params)| cdp.call(Some(session), method, params, soon));
    try_join_all(calls).await.map(drop)
}

impl Page {
    /// A page that closes when `closes` is cancelled.
    pub(super) fn new(opened: Opened, closes: CancellationToken) -> Self {
        Self {
            opened,
            turn: Mutex::default(),
            is_secret: Cell::new(false),
            waits: Cell::new(0),
            closes,
        }
    }

    /// What is known of it.
    pub(super) fn watched(&self) -> &Watched {
        &self.opened.watched
    }

    /// A number that no other wait on it has.
    pub(super) fn next_wait(&self) -> u64 {
        self.waits.set(self.waits.get() + 1);
        self.waits.get()
    }

    /// Calls a method of the protocol on it.
    pub(super) async fn call(
        &self,
        method: &'static str,
        params: Json,
        until: Instant,
    ) -> Result<Json, Trouble> {
        let call = self
            .opened
            .cdp
            .call(Some(&self.opened.session), method, params, until);
        tokio::select! {
            biased;
            result = call => Ok(result?),
            reason = self.gone() => Err(Trouble::Gone(reason)),
        }
    }

    /// Its title and URL as the browser knows them, which needs no answer of the page.
    pub(super) async fn info(&self, until: Instant) -> Result<(String, String), Trouble> {
        let params = json!({ "targetId": self.opened.target });
        let cdp = &self.opened.cdp;
        let info = cdp
            .call(None, "Target.getTargetInfo", params, until)
            .await?;
        let text = |key: &str| {
            info["targetInfo"][key]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        Ok((text("title"), text("url")))
    }

    /// Evaluates JavaScript until it has a value in a document that stays. `script` makes it from the milliseconds that are
    /// left until `until`; the page has `slack` more to answer.
    pub(super) async fn evaluate(
        &self,
        world: World,
        until: Instant,
        slack: Duration,
        script: impl Fn(u128) -> String,
    ) -> Result<Json, Trouble> {
        loop {
            let left = until.saturating_duration_since(Instant::now()).as_millis();
            let mut params = json!({
                "expression": script(left), "awaitPromise": true, "returnByValue": true, "userGesture": true,
            });
            if world == World::Own {
                params["uniqueContextId"] = Json::from(&*self.own_world(until + slack).await?);
            }
            match self.call("Runtime.evaluate", params, until + slack).await {
                Ok(reply) => return value(&reply),
                Err(Trouble::Refused(text)) if is_replaced(&text) && Instant::now() < until => {
                    sleep(REPLACED).await;
                }
                Err(trouble) => return Err(trouble),
            }
        }
    }

    /// Our world in the document that is there now.
    async fn own_world(&self, until: Instant) -> Result<Arc<str>, Trouble> {
        let mut worlds = self.opened.watched.world();
        let there = async {
            loop {
                if let Some(world) = &*worlds.borrow_and_update() {
                    return Ok(Arc::clone(world));
                }
                if let Some(reason) = self.why_gone() {
                    return Err(Trouble::Gone(reason));
                }
                // The page's state is ours too, so that its sender is there.
                let _ = worlds.changed().await;
            }
        };
        timeout_at(until, there).await.unwrap_or(Err(Trouble::Hung))
    }

    fn why_gone(&self) -> Option<Arc<str>> {
        let closed = self.opened.watched.closed();
        closed.or_else(|| self.opened.cdp.ended())
    }

    async fn gone(&self) -> Arc<str> {
        let mut worlds = self.opened.watched.world();
        loop {
            if let Some(reason) = self.why_gone() {
                return reason;
            }
            let _ = worlds.changed().await;
        }
    }
}

/// Closes a page whose stage is cut: what became of the action, nobody knows.
#[derive(Debug)]
pub(super) struct Whole<'p>(Option<&'p Page>);

impl<'p> Whole<'p> {
    /// Begins something that must not be cut.
    pub(super) fn begin(page: &'p Page) -> Self {
        Self(Some(page))
    }

    /// It is done.
    pub(super) fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for Whole<'_> {
    fn drop(&mut self) {
        if let Some(page) = self.0 {
            page.opened.watched.close("its stage was cut");
            page.closes.cancel();
        }
    }
}

/// The value of an evaluation.
fn value(reply: &Json) -> Result<Json, Trouble> {
    match reply.get("exceptionDetails") {
        Some(details) => Err(Trouble::Thrown(exception(details))),
        None => Ok(reply["result"]["value"].clone()),
    }
}

/// Whether a document was replaced by another meanwhile.
fn is_replaced(text: &str) -> bool {
    const SAID: [&str; 6] = [
        "Cannot find context",
        "Cannot find default execution context",
        "Execution context was destroyed",
        "Inspected target navigated or closed",
        "Promise was collected",
        "uniqueContextId not found",
    ];
    SAID.iter().any(|said| text.contains(said))
}
