//! Calls to a browser over its one websocket: the Chrome DevTools Protocol, as far as it is needed.
//!
//! A [`Cdp`] is shared by all threads. Calls go out through a bounded queue; the browser's own thread, in `host`, writes them
//! and hands every reply to the call that waits for it. Each call is bounded in time, and fails at once when the browser ends.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value as Json, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use crate::driver::limits;

/// The way to a browser that runs, or ran.
#[derive(Debug)]
pub(super) struct Cdp {
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Reply>>>,
    out: mpsc::Sender<String>,
    ended: watch::Sender<Option<Arc<str>>>,
}

/// What the browser says to a call: its result, or why there is none.
type Reply = Result<Json, String>;

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CallError {
    /// The browser is gone.
    #[error("{0}")]
    Ended(Arc<str>),
    /// There was no reply in time.
    #[error("the browser did not answer {0} in time")]
    TimedOut(&'static str),
    /// The browser will not.
    #[error("{method}: {message}")]
    Refused {
        /// What was asked.
        method: &'static str,
        /// What the browser says.
        message: String,
    },
}

/// Something that a browser tells of itself or of a page.
#[derive(Debug)]
pub(super) struct Event {
    /// Of which page; none: of the browser.
    pub(super) session: Option<String>,
    pub(super) method: String,
    pub(super) params: Json,
}

impl Cdp {
    /// A way to a browser, and what its thread must write.
    pub(super) fn new() -> (Arc<Self>, mpsc::Receiver<String>) {
        let (out, written) = mpsc::channel(limits::BROWSER_CALLS);
        let cdp = Self {
            next: AtomicU64::new(1),
            waiting: Mutex::default(),
            out,
            ended: watch::Sender::new(None),
        };
        (Arc::new(cdp), written)
    }

    /// Asks the browser, or the page of that session.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future forgets the call; the browser may have done it all the same.
    pub(super) async fn call(
        &self,
        session: Option<&str>,
        method: &'static str,
        params: Json,
        until: Instant,
    ) -> Result<Json, CallError> {
        let (reply, replied) = oneshot::channel();
        let call = Waiting {
            cdp: self,
            id: self.next.fetch_add(1, Ordering::Relaxed),
        };
        self.waiting().insert(call.id, reply);
        let text = message(call.id, session, method, params);
        let mut ended = self.ended.subscribe();
        let answered = async {
            // A queue that is closed means an end, which is told below.
            let _ = self.out.send(text).await;
            tokio::select! {
                biased;
                Ok(reply) = replied => reply.map_err(|message| CallError::Refused { method, message }),
                reason = gone(&mut ended) => Err(CallError::Ended(reason)),
            }
        };
        timeout_at(until, answered)
            .await
            .unwrap_or(Err(CallError::TimedOut(method)))
    }

    /// Asks for something whose result nobody needs; false: there is no room for it.
    pub(super) fn post(&self, session: Option<&str>, method: &'static str, params: Json) -> bool {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let text = message(id, session, method, params);
        self.out.try_send(text).is_ok()
    }

    /// Takes one message of the browser: replies find their calls, events are returned.
    pub(super) fn take(&self, text: &str) -> Result<Option<Event>, serde_json::Error> {
        let mut message: Json = serde_json::from_str(text)?;
        if let Some(id) = message["id"].as_u64() {
            let waiting = self.waiting().remove(&id);
            if let Some(waiting) = waiting {
                let reply = match message.get("error") {
                    Some(error) => Err(error["message"].as_str().unwrap_or("no reason").to_owned()),
                    None => Ok(message["result"].take()),
                };
                // Who asked may be gone.
                let _ = waiting.send(reply);
            }
            return Ok(None);
        }
        let text = |value: &Json| value.as_str().map(str::to_owned);
        Ok(text(&message["method"]).map(|method| Event {
            session: text(&message["sessionId"]),
            method,
            params: message["params"].take(),
        }))
    }

    /// The browser is gone: every call, now and later, fails with that reason.
    pub(super) fn end(&self, reason: &Arc<str>) {
        self.ended.send_replace(Some(Arc::clone(reason)));
    }

    /// Why the browser is gone, if it is.
    pub(super) fn ended(&self) -> Option<Arc<str>> {
        self.ended.borrow().clone()
    }

    /// Nothing is left half-done under this lock.
    fn waiting(&self) -> MutexGuard<'_, HashMap<u64, oneshot::Sender<Reply>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that waits for its reply, and is forgotten when nobody does any more.
struct Waiting<'c> {
    cdp: &'c Cdp,
    id: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.cdp.waiting().remove(&self.id);
    }
}

async fn gone(ended: &mut watch::Receiver<Option<Arc<str>>>) -> Arc<str> {
    let reason = ended.wait_for(Option::is_some).await;
    reason
        .ok()
        .and_then(|reason| reason.clone())
        .unwrap_or_else(|| "the browser is gone".into())
}

fn message(id: u64, session: Option<&str>, method: &str, params: Json) -> String {
    let mut message = json!({ "id": id, "method": method, "params": params });
    if let Some(session) = session {
        message["sessionId"] = Json::from(session);
    }
    message.to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    #[tokio::test(start_paused = true)]
    async fn replies_find_their_calls_whatever_their_order() {
        let (cdp, mut out) = Cdp::new();
        let one = cdp.call(None, "A.a", json!({}), soon());
        let two = cdp.call(Some("S"), "B.b", json!({ "x": 1 }), soon());
        let browser = async {
            let first: Json = serde_json::from_str(&out.recv().await.unwrap()).unwrap();
            let second: Json = serde_json::from_str(&out.recv().await.unwrap()).unwrap();
            assert_eq!(
                (&second["sessionId"], &second["params"]["x"]),
                (&json!("S"), &json!(1))
            );
            let refused = json!({ "id": second["id"], "error": { "message": "no" } });
            cdp.take(&refused.to_string()).unwrap();
            let done = json!({ "id": first["id"], "result": { "y": 2 } });
            cdp.take(&done.to_string()).unwrap();
        };
        let (one, two, ()) = tokio::join!(one, two, browser);
        assert_eq!(one.unwrap()["y"], 2);
        assert_eq!(two.unwrap_err().to_string(), "B.b: no");
        assert!(cdp.waiting().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn calls_end_with_their_time_or_with_the_browser() {
        let (cdp, _out) = Cdp::new();
        let error = cdp.call(None, "A.a", json!({}), soon()).await.unwrap_err();
        assert_eq!(error, CallError::TimedOut("A.a"));
        let call = cdp.call(None, "A.a", json!({}), soon());
        let (result, ()) = tokio::join!(call, async { cdp.end(&"signal 9".into()) });
        assert_eq!(result.unwrap_err(), CallError::Ended("signal 9".into()));
        let late = cdp.call(None, "A.a", json!({}), soon()).await;
        assert_eq!(late.unwrap_err(), CallError::Ended("signal 9".into()));
        assert!(cdp.waiting().is_empty());
    }

    #[test]
    fn events_are_told_from_replies() {
        let (cdp, _out) = Cdp::new();
        let event = cdp
            .take(r#"{"method":"Page.x","sessionId":"S","params":{"a":1}}"#)
            .unwrap()
            .unwrap();
        assert_eq!(
            (event.session.as_deref(), event.method.as_str()),
            (Some("S"), "Page.x")
        );
        assert!(cdp.take(r#"{"id":77,"result":{}}"#).unwrap().is_none());
        assert!(cdp.take("{").is_err());
    }
}
