//! What a browser tells of one page, kept for the session that has it: its console, its errors, when input came, and which
//! of its worlds is ours. Told by the browser's thread, read by the session's.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value as Json, json};
use tokio::sync::watch;

use super::cdp::Event;
use crate::driver::limits;

/// The name of the world that `page.js` runs in, apart from the page's own scripts.
pub(super) const WORLD: &str = "testmesh";

/// What `page.js` calls when input comes.
pub(super) const BINDING: &str = "testmeshInput";

/// What is known of one page.
#[derive(Debug)]
pub(super) struct Watched {
    /// The page's own frame; others in it are not ours.
    frame: String,
    state: Mutex<State>,
    /// The id of our world in the document that is there now.
    world: watch::Sender<Option<Arc<str>>>,
}

#[derive(Debug, Default)]
struct State {
    console: VecDeque<Message>,
    errors: VecDeque<PageError>,
    /// What there was no place for.
    dropped: u64,
    /// When the last input came, in milliseconds of the page's clock since 1970.
    input: Option<f64>,
    traceparent: String,
    closed: Option<Arc<str>>,
}

/// Something on the console of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    /// `log`, `warning`, `error`, …
    pub(super) level: String,
    pub(super) text: String,
}

/// Something wrong in a page, by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PageError {
    /// The code of its finding.
    pub(super) code: &'static str,
    pub(super) text: String,
}

/// What came since the last time.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) console: Vec<Message>,
    pub(super) errors: Vec<PageError>,
    pub(super) dropped: u64,
}

/// What must be said to the page at once, or it stands still.
#[derive(Debug, PartialEq)]
pub(super) struct Answer {
    pub(super) method: &'static str,
    pub(super) params: Json,
}

impl Watched {
    /// A page of which nothing is known yet.
    pub(super) fn new(frame: String) -> Self {
        Self {
            frame,
            state: Mutex::default(),
            world: watch::Sender::new(None),
        }
    }

    /// Follows the id of our world.
    pub(super) fn world(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.world.subscribe()
    }

    /// Why the page is gone, if it is.
    pub(super) fn closed(&self) -> Option<Arc<str>> {
        self.state().closed.clone()
    }

    /// The page is gone.
    pub(super) fn close(&self, reason: &str) {
        self.state().closed.get_or_insert_with(|| reason.into());
        // Who waits for a world looks again.
        self.world.send_replace(None);
    }

    /// The header that the page's requests carry from now on.
    pub(super) fn trace(&self, traceparent: &str) {
        traceparent.clone_into(&mut self.state().traceparent);
    }

    /// Forgets the last input: the next one is what is timed.
    pub(super) fn expect_input(&self) {
        self.state().input = None;
    }

    /// When the last input came, in milliseconds of the page's clock since 1970.
    pub(super) fn input(&self) -> Option<f64> {
        self.state().input
    }

    /// Takes what came since the last time.
    pub(super) fn news(&self) -> News {
        let mut state = self.state();
        News {
            console: std::mem::take(&mut state.console).into(),
            errors: std::mem::take(&mut state.errors).into(),
            dropped: std::mem::take(&mut state.dropped),
        }
    }

    /// Takes an event of the page in.
    pub(super) fn take(&self, event: &Event) -> Option<Answer> {
        let params = &event.params;
        match event.method.as_str() {
            "Runtime.executionContextCreated" => self.context_created(&params["context"]),
            "Runtime.executionContextDestroyed" => {
                let gone = params["executionContextUniqueId"].as_str();
                self.world.send_if_modified(|world| {
                    let is_ours = world.is_some() && world.as_deref() == gone;
                    if is_ours {
                        *world = None;
                    }
                    is_ours
                });
            }
            "Runtime.executionContextsCleared" => {
                self.world.send_replace(None);
            }
            "Runtime.consoleAPICalled" => self.console_called(params),
            "Runtime.exceptionThrown" => {
                self.error("page_exception", exception(&params["exceptionDetails"]));
            }
            "Log.entryAdded" => self.logged(&params["entry"]),
            "Runtime.bindingCalled" => self.input_came(params),
            "Inspector.targetCrashed" => self.close("the page's process crashed"),
            "Page.javascriptDialogOpening" => return Some(self.dialog(params)),
            "Fetch.requestPaused" => return Some(self.request(params)),
            _ => {}
        }
        None
    }

    fn context_created(&self, context: &Json) {
        let is_ours = context["name"] == WORLD && context["auxData"]["frameId"] == *self.frame;
        if let Some(id) = context["uniqueId"].as_str().filter(|_| is_ours) {
            self.world.send_replace(Some(id.into()));
        }
    }

    fn console_called(&self, params: &Json) {
        let level = params["type"].as_str().unwrap_or("log");
        let said = params["args"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let text = said.iter().map(argument).collect::<Vec<_>>().join(" ");
        self.say(level, &text);
        if matches!(level, "error" | "assert") {
            self.error("page_console", text);
        }
    }

    /// What Chromium itself writes on the console.
    fn logged(&self, entry: &Json) {
        let level = entry["level"].as_str().unwrap_or("info");
        let mut text = entry["text"].as_str().unwrap_or_default().to_owned();
        let url = entry["url"].as_str().unwrap_or_default();
        if !url.is_empty() {
            text = format!("{text} ({url})");
        }
        // Browsers look for it by themselves: it is nothing of the page's.
        if url.ends_with("/favicon.ico") {
            return;
        }
        self.say(level, &text);
        match (level, entry["source"].as_str()) {
            ("error", Some("network")) => self.error("page_request", text),
            ("error", _) => self.error("page_console", text),
            _ => {}
        }
    }

    fn input_came(&self, params: &Json) {
        let payload = params["payload"]
            .as_str()
            .filter(|_| params["name"] == BINDING);
        let input: Option<Json> = payload.and_then(|text| serde_json::from_str(text).ok());
        let at = input.and_then(|input| input["at"].as_f64());
        let mut state = self.state();
        // The first one is the action's own.
        state.input = state.input.or(at);
    }

    /// Nobody is there to answer, and until somebody does, nothing in the page goes on.
    fn dialog(&self, params: &Json) -> Answer {
        let kind = params["type"].as_str().unwrap_or_default();
        let text = params["message"].as_str().unwrap_or_default();
        self.say("dialog", &format!("{kind}: {text}"));
        Answer {
            method: "Page.handleJavaScriptDialog",
            // To leave a page is what the plan wants; everything else is not answered.
            params: json!({ "accept": kind == "beforeunload" }),
        }
    }

    /// A request to the target's own origin goes on with the stage's trace.
    fn request(&self, params: &Json) -> Answer {
        let traceparent = self.state().traceparent.clone();
        let mut answer = json!({ "requestId": params["requestId"] });
        let headers = params["request"]["headers"].as_object();
        if let Some(headers) = headers.filter(|_| !traceparent.is_empty()) {
            let mut list: Vec<_> = headers
                .iter()
                .filter(|(name, _)| !name.eq_ignore_ascii_case("traceparent"))
                .map(|(name, value)| json!({ "name": name, "value": value }))
                .collect();
            list.push(json!({ "name": "traceparent", "value": traceparent }));
            answer["headers"] = Json::from(list);
        }
        Answer {
            method: "Fetch.continueRequest",
            params: answer,
        }
    }

    fn say(&self, level: &str, text: &str) {
        let mut state = self.state();
        if state.console.len() >= limits::BROWSER_CONSOLE {
            state.dropped += 1;
            return;
        }
        state.console.push_back(Message {
            level: level.to_owned(),
            text: shortened(text),
        });
    }

    fn error(&self, code: &'static str, text: String) {
        let mut state = self.state();
        if state.errors.len() >= limits::BROWSER_CONSOLE {
            state.dropped += 1;
            return;
        }
        let text = shortened(&text);
        state.errors.push_back(PageError { code, text });
    }

    /// Nothing is left half-done under this lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An argument of `console.log`, as it would be printed.
fn argument(value: &Json) -> String {
    if let Some(text) = value["value"].as_str() {
        return text.to_owned();
    }
    if let Some(plain) = value.get("value").filter(|value| !value.is_null()) {
        return plain.to_string();
    }
    let described = value["unserializableValue"].as_str();
    let described = described.or_else(|| value["description"].as_str());
    described
        .or_else(|| value["type"].as_str())
        .unwrap_or("null")
        .to_owned()
}

/// What a script threw, without its stack.
pub(super) fn exception(details: &Json) -> String {
    let thrown = &details["exception"];
    let text = match thrown["description"].as_str() {
        // Frames stand on lines of their own.
        Some(description) => description
            .split("\n    at ")
            .next()
            .unwrap_or_default()
            .to_owned(),
        None if thrown.is_object() => argument(thrown),
        None => String::new(),
    };
    if text.is_empty() {
        return details["text"]
            .as_str()
            .unwrap_or("an exception")
            .to_owned();
    }
    text
}

/// A text of at most as many characters as are kept.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(limits::BROWSER_CONSOLE_CHARS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(page: &Watched, method: &str, params: Json) -> Option<Answer> {
        page.take(&Event {
            session: None,
            method: method.to_owned(),
            params,
        })
    }

    fn created(page: &Watched, name: &str, frame: &str, id: &str) {
        let aux = json!({ "frameId": frame });
        let context = json!({ "name": name, "uniqueId": id, "auxData": aux });
        take(
            page,
            "Runtime.executionContextCreated",
            json!({ "context": context }),
        );
    }

    #[test]
    fn our_world_is_followed_from_document_to_document() {
        let page = Watched::new("F".into());
        let world = page.world();
        let now = || world.borrow().as_deref().map(str::to_owned);
        created(&page, "", "F", "1");
        created(&page, WORLD, "iframe", "2");
        assert_eq!(now(), None);
        created(&page, WORLD, "F", "3");
        assert_eq!(now().as_deref(), Some("3"));
        let other = json!({ "executionContextUniqueId": "1" });
        take(&page, "Runtime.executionContextDestroyed", other);
        assert_eq!(now().as_deref(), Some("3"));
        take(&page, "Runtime.executionContextsCleared", json!({}));
        assert_eq!(now(), None);
    }

    #[test]
    fn console_and_errors_are_kept_bounded_and_taken_once() {
        let page = Watched::new("F".into());
        let args = json!([{ "type": "string", "value": "a" }, { "type": "number", "value": 2 }]);
        take(
            &page,
            "Runtime.consoleAPICalled",
            json!({ "type": "error", "args": args }),
        );
        let thrown =
            json!({ "text": "Uncaught", "exception": { "description": "Error: x\n    at f (y)" } });
        take(
            &page,
            "Runtime.exceptionThrown",
            json!({ "exceptionDetails": thrown }),
        );
        let entry =
            json!({ "level": "error", "source": "network", "text": "404", "url": "http://x/y" });
        take(&page, "Log.entryAdded", json!({ "entry": entry }));
        let icon = json!({ "level": "error", "source": "network", "text": "404", "url": "http://x/favicon.ico" });
        take(&page, "Log.entryAdded", json!({ "entry": icon }));
        let news = page.news();
        let errors: Vec<_> = news
            .errors
            .iter()
            .map(|error| (error.code, error.text.as_str()))
            .collect();
        let expect = [
            ("page_console", "a 2"),
            ("page_exception", "Error: x"),
            ("page_request", "404 (http://x/y)"),
        ];
        assert_eq!(errors, expect);
        assert_eq!(news.console[0].text, "a 2");
        assert!(page.news().errors.is_empty());
        for _ in 0..limits::BROWSER_CONSOLE + 7 {
            let args = json!([{ "type": "string", "value": "ä".repeat(10_000) }]);
            take(
                &page,
                "Runtime.consoleAPICalled",
                json!({ "type": "log", "args": args }),
            );
        }
        let news = page.news();
        assert_eq!(
            (news.console.len(), news.dropped),
            (limits::BROWSER_CONSOLE, 7)
        );
        assert_eq!(
            news.console[0].text.chars().count(),
            limits::BROWSER_CONSOLE_CHARS + 1
        );
    }

    #[test]
    fn the_first_input_is_the_one_that_counts() {
        let page = Watched::new("F".into());
        let input = |at: f64| {
            let payload = json!({ "type": "pointerup", "at": at }).to_string();
            take(
                &page,
                "Runtime.bindingCalled",
                json!({ "name": BINDING, "payload": payload }),
            );
        };
        input(1.0);
        page.expect_input();
        input(2.5);
        input(3.0);
        assert_eq!(page.input(), Some(2.5));
    }

    #[test]
    fn what_would_stand_still_is_answered() {
        let page = Watched::new("F".into());
        let alert = json!({ "type": "confirm", "message": "sure?" });
        let answer = take(&page, "Page.javascriptDialogOpening", alert).unwrap();
        assert_eq!(answer.params, json!({ "accept": false }));
        assert_eq!(page.news().console[0].text, "confirm: sure?");
        page.trace("00-1-2-01");
        let paused = json!({ "requestId": "R", "request": { "headers": { "Accept": "*/*" } } });
        let answer = take(&page, "Fetch.requestPaused", paused).unwrap();
        let headers = json!([
            { "name": "Accept", "value": "*/*" },
            { "name": "traceparent", "value": "00-1-2-01" },
        ]);
        assert_eq!(
            answer.params,
            json!({ "requestId": "R", "headers": headers })
        );
    }
}
