//! The actions of a stage, one after another, on the session's page.

use std::time::Duration;

use serde_json::{Value as Json, json};
use testmesh_shared::metric::MetricId;
use testmesh_shared::plan::ErrorKind;
use testmesh_shared::plan::expr::Value;
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::failure::{Leaves, Trouble, net_failure};
use super::form::{Action, BrowserStage, Wait};
use super::keyboard::Chord;
use super::page::{Page, World};
use super::ready::{Ready, join, shown};
use super::screenshot;
use super::watched::WORLD;
use crate::driver::contract::{Attempt, Note, StageError};
use crate::driver::limits;
use crate::driver::transcript::Said;
use crate::recorder::Severity;

/// How long a try may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Time {
    /// When it gives up.
    pub(super) give_up: Instant,
    /// What is left then, to see what the page shows.
    pub(super) margin: Duration,
    /// What bounds each action.
    pub(super) each: Option<Duration>,
}

impl Time {
    /// When an action that begins now gives up.
    fn action(&self) -> Instant {
        let each = self.each.map(|each| Instant::now() + each);
        each.map_or(self.give_up, |each| each.min(self.give_up))
    }

    /// What a page has to say that its time is over.
    pub(super) fn slack(&self) -> Duration {
        self.margin / 3
    }
}

/// A stage's actions under way, and what came of them.
#[derive(Debug)]
pub(super) struct Acting<'a> {
    pub(super) stage: &'a BrowserStage,
    pub(super) attempt: &'a Attempt<'a>,
    pub(super) page: &'a Page,
    pub(super) base: &'a str,
    pub(super) time: Time,
    /// What `eval` gave, by name.
    pub(super) values: Vec<(String, Value)>,
    /// The status of the document that was opened last.
    pub(super) status: Option<i64>,
    /// From the last input until what was waited for behind it was displayed.
    pub(super) display: Option<Duration>,
    input: Input,
}

/// The input that the next `wait` is timed from.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Input {
    None,
    /// What the page tells of it.
    Told,
    /// A navigation began then, by the page's clock.
    At(f64),
}

/// A `wait` that began before the input that it is timed from.
#[derive(Debug)]
struct Armed {
    id: u64,
    /// What does it in documents to come.
    script: Json,
}

/// A string as JavaScript.
fn quoted(text: &str) -> String {
    Json::from(text).to_string()
}

impl<'a> Acting<'a> {
    /// Nothing is done yet.
    pub(super) fn new(
        stage: &'a BrowserStage,
        attempt: &'a Attempt<'a>,
        page: &'a Page,
        base: &'a str,
        time: Time,
    ) -> Self {
        Self {
            stage,
            attempt,
            page,
            base,
            time,
            values: Vec::new(),
            status: None,
            display: None,
            input: Input::None,
        }
    }

    /// Does them all, until one fails: then with who can still say what the page shows.
    pub(super) async fn run(&mut self) -> Result<(), (StageError, Leaves)> {
        let mut armed = None;
        let stage = self.stage;
        for (place, action) in stage.actions.iter().enumerate() {
            let began = Instant::now();
            let ready =
                Ready::new(action, self.attempt.scope).map_err(|error| (error, Leaves::Page))?;
            let doing = ready.doing();
            self.asked(&doing, ready.more());
            if action.is_secret() {
                self.page.is_secret.set(true);
            }
            let next = stage.actions.get(place + 1);
            let behind = match next {
                Some(Action::Wait(wait)) if action.is_input() => Some(wait),
                _ => None,
            };
            let until = self.time.action();
            let done = self.act(&ready, behind, armed.take(), until).await;
            match done {
                Ok((came, arms)) => {
                    armed = arms;
                    self.answered(&format!("{doing}: {came} in {:.1?}", began.elapsed()));
                }
                Err(trouble) => {
                    let leaves = trouble.leaves();
                    return Err((trouble.failure(&doing, until - began), leaves));
                }
            }
        }
        Ok(())
    }

    /// Does one, and begins the `wait` that stands behind it. Returns what came of it, in words.
    async fn act(
        &mut self,
        ready: &Ready<'_>,
        behind: Option<&Wait>,
        armed: Option<Armed>,
        until: Instant,
    ) -> Result<(String, Option<Armed>), Trouble> {
        let first = ready.first.as_str();
        let mut arms = None;
        let came = match ready.action {
            Action::Open(_) => {
                arms = self.arm(behind).await?;
                self.open(first, until).await?
            }
            Action::Click(_) => {
                let at = self.use_element("click", &[quoted(first)], until).await?;
                arms = self.arm(behind).await?;
                self.click(&at, until).await?
            }
            Action::Press { chord, on } => {
                if on.is_some() {
                    self.use_element("focus", &[quoted(first)], until).await?;
                }
                arms = self.arm(behind).await?;
                self.press(chord, until).await?;
                "pressed".to_owned()
            }
            Action::Fill { .. } => self.fill(first, &ready.second, until).await?,
            Action::Select { .. } => {
                let arguments = [quoted(first), quoted(&ready.second)];
                self.use_element("select", &arguments, until).await?;
                "selected".to_owned()
            }
            Action::Wait(wait) => self.wait(wait, first, armed, until).await?,
            Action::Eval { name, .. } => self.eval(first, name.as_deref(), until).await?,
            Action::Screenshot(name) => self.screenshot(name, until).await?,
        };
        Ok((came, arms))
    }

    /// Waits for an element and uses it, in the page.
    async fn use_element(
        &self,
        function: &str,
        arguments: &[String],
        until: Instant,
    ) -> Result<Json, Trouble> {
        let answer = self
            .page
            .evaluate(World::Own, until, self.time.slack(), |left| {
                let left = left.to_string();
                let mut all: Vec<&str> = arguments.iter().map(String::as_str).collect();
                all.push(&left);
                World::Own.call(function, &all)
            });
        settled(answer.await?)
    }

    async fn open(&mut self, path: &str, until: Instant) -> Result<String, Trouble> {
        let url = join(self.base, path)?;
        let mut worlds = self.page.watched().world();
        let before = worlds.borrow().clone();
        self.input = Input::None;
        let hard = until + self.time.slack();
        let params = json!({ "url": url.as_str() });
        let reply = self.page.call("Page.navigate", params, until).await;
        let reply = match reply {
            Err(Trouble::Hung) => {
                return Err(Trouble::NotYet("no answer came from the server".to_owned()));
            }
            reply => reply?,
        };
        if let Some(text) = reply["errorText"].as_str().filter(|text| !text.is_empty()) {
            return Err(net_failure(text).into());
        }
        // Without a loader, only the part behind the # has changed.
        if reply["loaderId"].is_string() {
            let replaced = worlds.wait_for(|world| world.is_some() && *world != before);
            match timeout_at(hard, replaced).await {
                Ok(_) => {}
                Err(_) => return Err(Trouble::Hung),
            }
        }
        self.use_element("loaded", &[], until).await?;
        let timing = self.timing().await?;
        self.input = timing["started"].as_f64().map_or(Input::None, Input::At);
        if !reply["loaderId"].is_string() {
            self.input = Input::None;
            return Ok("moved within the page".to_owned());
        }
        self.opened(&url, &timing)
    }

    /// Records how the document came.
    fn opened(&mut self, url: &Url, timing: &Json) -> Result<String, Trouble> {
        let seconds = |key: &str| timing[key].as_f64().map(Duration::from_secs_f64);
        if let Some(took) = seconds("connect") {
            self.attempt.meter.connect(took);
        }
        if let Some(took) = seconds("answered") {
            self.attempt.meter.first_byte(took);
        }
        self.status = timing["status"].as_i64();
        let Some(status) = self.status else {
            return Ok("opened".to_owned());
        };
        self.attempt.meter.status(status);
        if status >= 400 && !self.attempt.stage.reads_status {
            let message = format!("{}: HTTP {status}", shown(url));
            return Err(StageError::new(ErrorKind::Status, message)
                .with_status(status)
                .into());
        }
        Ok(format!("HTTP {status}"))
    }

    /// When the document was there, by its own clock.
    pub(super) async fn timing(&self) -> Result<Json, Trouble> {
        let until = self.time.give_up;
        let call = |_| World::Own.call("timing", &[]);
        self.page
            .evaluate(World::Own, until, self.time.slack(), call)
            .await
    }

    async fn click(&mut self, at: &Json, until: Instant) -> Result<String, Trouble> {
        self.expect_input();
        for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
            let held = kind != "mouseMoved";
            let params = json!({
                "type": kind, "x": at["x"], "y": at["y"],
                "button": if held { "left" } else { "none" },
                "buttons": u8::from(kind == "mousePressed"), "clickCount": u8::from(held),
            });
            self.page
                .call("Input.dispatchMouseEvent", params, until)
                .await?;
        }
        let name = at["name"].as_str().unwrap_or("element");
        Ok(format!("{name} was clicked"))
    }

    async fn press(&mut self, chord: &Chord, until: Instant) -> Result<(), Trouble> {
        self.expect_input();
        for params in chord.events() {
            self.page
                .call("Input.dispatchKeyEvent", params, until)
                .await?;
        }
        Ok(())
    }

    fn expect_input(&mut self) {
        self.page.watched().expect_input();
        self.input = Input::Told;
    }

    async fn fill(&self, field: &str, text: &str, until: Instant) -> Result<String, Trouble> {
        let arguments = [quoted(field), quoted(text)];
        let ready = self.use_element("fill", &arguments, until).await?;
        if ready["done"] == true {
            return Ok("filled".to_owned());
        }
        match (text.is_empty(), ready["empty"] == true) {
            (true, true) => return Ok("it was empty".to_owned()),
            (true, false) => {
                let delete = Chord::parse("Delete").expect("it is a key");
                for params in delete.events() {
                    self.page
                        .call("Input.dispatchKeyEvent", params, until)
                        .await?;
                }
            }
            (false, _) => {
                let params = json!({ "text": text });
                self.page.call("Input.insertText", params, until).await?;
            }
        }
        let answer = self
            .page
            .evaluate(World::Own, until, self.time.slack(), |_| {
                World::Own.call("filled", &[&quoted(text)])
            });
        match answer.await {
            Ok(answer) => settled(answer).map(|_| "filled".to_owned()),
            // The text has led to another document.
            Err(Trouble::Thrown(_)) => Ok("filled".to_owned()),
            Err(trouble) => Err(trouble),
        }
    }

    /// Begins to wait, here and in documents to come, so that what follows the input at once is not missed.
    async fn arm(&self, wait: Option<&Wait>) -> Result<Option<Armed>, Trouble> {
        let Some(wait) = wait else {
            return Ok(None);
        };
        let what = wait.what.text(self.attempt.scope);
        let what = what.map_err(|error| StageError::template(wait.kind, &error))?;
        let id = self.page.next_wait();
        let until = self.time.give_up;
        let world = world_of(wait);
        let script = |left: u128| call_of(wait, "arm", id, &what, left);
        // It tells first whether the expression can be read at all.
        let slack = self.time.slack();
        self.page.evaluate(world, until, slack, script).await?;
        let left = until.saturating_duration_since(Instant::now()).as_millis();
        let mut params = json!({ "source": script(left) });
        if world == World::Own {
            params["worldName"] = Json::from(WORLD);
        }
        let method = "Page.addScriptToEvaluateOnNewDocument";
        let reply = self.page.call(method, params, until + slack).await?;
        Ok(Some(Armed {
            id,
            script: reply["identifier"].clone(),
        }))
    }

    async fn wait(
        &mut self,
        wait: &Wait,
        what: &str,
        armed: Option<Armed>,
        until: Instant,
    ) -> Result<String, Trouble> {
        let id = armed.as_ref().map(|armed| armed.id);
        let mut answer = self.wait_once(wait, what, id, until).await;
        let input = self.input_at();
        if let Some(armed) = armed {
            let params = json!({ "identifier": armed.script });
            let method = "Page.removeScriptToEvaluateOnNewDocument";
            let hard = until + self.time.slack();
            self.page.call(method, params, hard).await?;
            // It was so before the input: is it still?
            let early = |at: &Json| at["at"].as_f64() < input;
            if answer
                .as_ref()
                .is_ok_and(|at| at["already"] == true || early(at))
            {
                answer = self.wait_once(wait, what, None, until).await.map(|mut at| {
                    at["already"] = Json::from(true);
                    at
                });
            }
        }
        let answer = answer?;
        let shown = answer["at"].as_f64().filter(|_| answer["already"] != true);
        self.input = Input::None;
        let (Some(shown), Some(input)) = (shown, input) else {
            return Ok("it is so".to_owned());
        };
        // Both are milliseconds of one clock, and the input came first.
        let took = Duration::from_secs_f64((shown - input).max(0.0) / 1000.0);
        let now = Instant::now();
        self.attempt.meter.observe(MetricId::PageDisplay, now, took);
        self.display = Some(took);
        Ok(format!("displayed {took:.1?} after the input,"))
    }

    /// When the input came that a `wait` is timed from, by the page's clock.
    fn input_at(&self) -> Option<f64> {
        match self.input {
            Input::None => None,
            Input::Told => self.page.watched().input(),
            Input::At(at) => Some(at),
        }
    }

    async fn wait_once(
        &self,
        wait: &Wait,
        what: &str,
        id: Option<u64>,
        until: Instant,
    ) -> Result<Json, Trouble> {
        let id = id.unwrap_or_else(|| self.page.next_wait());
        let script = |left: u128| call_of(wait, "wait", id, what, left);
        let slack = self.time.slack();
        settled(
            self.page
                .evaluate(world_of(wait), until, slack, script)
                .await?,
        )
    }

    async fn eval(
        &mut self,
        script: &str,
        name: Option<&str>,
        until: Instant,
    ) -> Result<String, Trouble> {
        let limit = limits::BROWSER_VALUE_CHARS;
        let source = quoted(script);
        let script = format!(
            "(async () => {{ const value = await (0, eval)({source}); const text = JSON.stringify(value); \
             if (text !== undefined && text.length > {limit}) \
             throw new RangeError(`a value of ${{text.length}} characters as JSON, more than {limit}`); \
             return text; }})()"
        );
        let slack = self.time.slack();
        let value = self
            .page
            .evaluate(World::Page, until, slack, |_| script.clone());
        let value = match value.await? {
            Json::String(text) => text,
            _ => "null".to_owned(),
        };
        let parsed = Value::from_json_slice(value.as_bytes())
            .map_err(|error| Trouble::Thrown(format!("what is no JSON: {error}")))?;
        if let Some(name) = name {
            self.values.retain(|(known, _)| known != name);
            self.values.push((name.to_owned(), parsed));
        }
        let shown: String = value.chars().take(limits::BROWSER_EXCERPT_CHARS).collect();
        Ok(format!("gave {shown}"))
    }

    async fn screenshot(&self, name: &str, until: Instant) -> Result<String, Trouble> {
        let note = |message, screenshot| Note {
            severity: Severity::Info,
            code: "screenshot",
            message,
            screenshot,
        };
        if self.page.is_secret.get() {
            let message = format!("screenshot {name}: {}", screenshot::SECRET);
            self.attempt.meter.note(note(message, None));
            return Ok(screenshot::SECRET.to_owned());
        }
        let viewport = self.stage.target().viewport;
        let picture = screenshot::take(self.page, viewport, until).await?;
        let came = format!("{} bytes", picture.len());
        self.attempt
            .meter
            .note(note(format!("screenshot {name}"), Some(picture)));
        Ok(came)
    }

    fn asked(&self, what: &str, body: &str) {
        if let Some(listener) = self.attempt.listener {
            listener.asked(&Said {
                what,
                body,
                ..Said::default()
            });
        }
    }

    fn answered(&self, what: &str) {
        if let Some(listener) = self.attempt.listener {
            listener.answered(&Said {
                what,
                ..Said::default()
            });
        }
    }
}

/// An answer of `page.js`.
fn settled(answer: Json) -> Result<Json, Trouble> {
    if answer["ok"] == true {
        return Ok(answer);
    }
    let text = |key: &str| answer[key].as_str().map(str::to_owned);
    Err(match text("broken") {
        Some(broken) => Trouble::Broken(broken),
        None => Trouble::NotYet(text("why").unwrap_or_else(|| "it did not happen".to_owned())),
    })
}

fn world_of(wait: &Wait) -> World {
    if wait.kind == "expr" {
        World::Page
    } else {
        World::Own
    }
}

/// `arm` or `wait` of `page.js`.
fn call_of(wait: &Wait, function: &str, id: u64, what: &str, left: u128) -> String {
    let what = match wait.kind {
        // On lines of its own, for it may end in a comment.
        "expr" => format!("() => (\n{what}\n)"),
        _ => quoted(what),
    };
    let (id, kind, left) = (id.to_string(), quoted(wait.kind), left.to_string());
    world_of(wait).call(function, &[&id, &kind, &what, &left])
}
