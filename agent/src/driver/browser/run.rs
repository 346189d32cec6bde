//! Runs one stage on a session's page: gets the page, does the actions, and tells what the page itself had to complain of.

use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use serde_json::Value as Json;
use testmesh_shared::plan::ErrorKind;
use testmesh_shared::plan::Pool;
use testmesh_shared::plan::expr::Value;
use testmesh_shared::plan::form::STAGE_TIMEOUT;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::actions::{Acting, Time};
use super::failure::{Leaves, Trouble, call_failure};
use super::form::BrowserStage;
use super::host::Open;
use super::page::{Page, PageSpec, Whole, World};
use super::pool::Browsers;
use super::screenshot;
use super::watched::News;
use crate::driver::contract::{Attempt, Driver, Evidence, Note, Results, StageError};
use crate::driver::limits;
use crate::recorder::Severity;

impl Driver for BrowserStage {
    fn results(&self) -> &'static [&'static str] {
        &["page", "status"]
    }

    fn run<'a>(
        &'a self,
        attempt: &'a Attempt<'a>,
    ) -> LocalBoxFuture<'a, Result<Results, StageError>> {
        async move {
            let time = self.time(attempt);
            let base = self.target().url.text(attempt.scope);
            let base = base.map_err(|error| StageError::template("browser", &error))?;
            let page = self.page(attempt, &base, time).await?;
            let Ok(_turn) = timeout_at(time.give_up, page.turn.lock()).await else {
                let message = "another stage of the session was using the page all the time";
                return Err(StageError::new(ErrorKind::Timeout, message));
            };
            let whole = Whole::begin(&page);
            let result = self.on(&page, attempt, &base, time).await;
            whole.done();
            result
        }
        .boxed_local()
    }
}

impl BrowserStage {
    fn time(&self, attempt: &Attempt<'_>) -> Time {
        let now = Instant::now();
        let deadline = attempt.deadline.unwrap_or(now + STAGE_TIMEOUT);
        let left = deadline.saturating_duration_since(now);
        let (least, most) = limits::BROWSER_MARGIN;
        let margin = (left / 10).clamp(least, most).min(left / 2);
        Time {
            give_up: deadline - margin,
            margin,
            each: self.target().timeout,
        }
    }

    /// The session's page, opened by the first stage that needs it.
    async fn page(
        &self,
        attempt: &Attempt<'_>,
        base: &str,
        time: Time,
    ) -> Result<Rc<Page>, StageError> {
        let connections = attempt.connections;
        let open = async || self.open(attempt, base, time.give_up).await;
        connections.open(Pool::Session, &self.pool_key, open).await
    }

    async fn open(
        &self,
        attempt: &Attempt<'_>,
        base: &str,
        until: Instant,
    ) -> Result<Page, StageError> {
        let target = self.target();
        let browsers = attempt.connections.shared::<Browsers>();
        let late = |what: &str| StageError::new(ErrorKind::Timeout, what).with_code("no_browser");
        let spec = PageSpec {
            viewport: target.viewport,
            insecure: target.insecure,
            origin: origin(base),
        };
        loop {
            let permit = browsers.permit(self.site(), target, until).await?;
            let host = browsers.host(target.program.as_ref())?;
            let up = timeout_at(until, host.up()).await;
            up.map_err(|_| late("the browser was not ready in time"))??;
            let closes = CancellationToken::new();
            // Whoever is cut here wants no page any more.
            let unwanted = closes.clone().drop_guard();
            let (reply, replied) = oneshot::channel();
            let open = Open {
                spec: spec.clone(),
                permit,
                unwanted: closes.clone(),
                reply,
            };
            let opened = async {
                host.opens().send(open).await.ok()?;
                replied.await.ok()
            };
            match timeout_at(until, opened).await {
                Err(_) => return Err(late("the browser opened no page in time")),
                Ok(Some(Ok(opened))) => {
                    let page = Page::new(opened, unwanted.disarm());
                    page.is_secret.set(target.url.is_secret());
                    return Ok(page);
                }
                Ok(Some(Err(error))) => return Err(call_failure(&error)),
                // It ended just now: there will be another.
                Ok(None) if Instant::now() < until => {}
                Ok(None) => return Err(late("the browser ended before it opened a page")),
            }
        }
    }

    /// Does what the plan says, and tells what came of it.
    async fn on(
        &self,
        page: &Page,
        attempt: &Attempt<'_>,
        base: &str,
        time: Time,
    ) -> Result<Results, StageError> {
        page.watched().trace(attempt.traceparent);
        let mut acting = Acting::new(self, attempt, page, base, time);
        let acted = acting.run().await;
        if let Err((error, leaves)) = acted {
            let error = self.explained(error, leaves, page, time).await;
            tell(attempt, &page.watched().news());
            return Err(error);
        }
        let value = if attempt.stage.reads("page") {
            Some(
                shown(&acting)
                    .await
                    .map_err(|trouble| trouble.failure("look at the page", time.margin))?,
            )
        } else {
            None
        };
        let news = page.watched().news();
        tell(attempt, &news);
        if let Some(first) = news.errors.first().filter(|_| self.fail_on_console) {
            let count = news.errors.len();
            let message = format!("the page had {count} errors, the first: {}", first.text);
            let error = StageError::new(ErrorKind::Expectation, message).with_code("page_error");
            return Err(self.explained(error, Leaves::Page, page, time).await);
        }
        Ok(Results {
            status: acting.status,
            page: value.map(|value| whole_value(value, &acting, &news)),
            ..Results::default()
        })
    }

    /// The failure with what the page shows, in words and as a picture.
    async fn explained(
        &self,
        error: StageError,
        leaves: Leaves,
        page: &Page,
        time: Time,
    ) -> StageError {
        let now = Instant::now();
        let until = (now + limits::BROWSER_LOOK).min(time.give_up + time.margin * 7 / 8);
        let half = now + until.saturating_duration_since(now) / 2;
        let mut seen = None;
        if leaves == Leaves::Page {
            let call = |_| World::Own.call("seen", &[]);
            seen = page
                .evaluate(World::Own, half, Duration::ZERO, call)
                .await
                .ok();
        }
        let text = |key: &str| seen.as_ref().and_then(|seen| seen[key].as_str());
        let mut message = error.message.clone();
        if let (Some(title), Some(url), Some(text)) = (text("title"), text("url"), text("text")) {
            message.push_str(&shows(title, url, text));
        } else if leaves != Leaves::Nobody
            && let Ok((title, url)) = page.info(until).await
        {
            // The browser knows a little of a page that does not answer.
            let _ = write!(message, "; the page is \"{title}\" at {url}");
        }
        let mut picture = None;
        if page.is_secret.get() {
            let _ = write!(message, " ({})", screenshot::SECRET);
        } else if leaves == Leaves::Page {
            let viewport = self.target().viewport;
            picture = screenshot::take(page, viewport, until).await.ok();
        }
        let body = text("text").unwrap_or_default();
        let body = &body[..body.floor_char_boundary(limits::EVIDENCE_BYTES)];
        let evidence = Evidence {
            status: error.status,
            body: Bytes::copy_from_slice(body.as_bytes()),
            ..Evidence::default()
        };
        StageError { message, ..error }
            .with_evidence(evidence)
            .with_screenshot(picture)
    }
}

/// What a page shows, as the end of a sentence.
fn shows(title: &str, url: &str, text: &str) -> String {
    let plain = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let excerpt: String = plain.chars().take(limits::BROWSER_EXCERPT_CHARS).collect();
    let more = if excerpt.len() < plain.len() {
        "…"
    } else {
        ""
    };
    let text = match excerpt.as_str() {
        "" => "no text".to_owned(),
        excerpt => format!("\"{excerpt}{more}\""),
    };
    format!("; the page is \"{title}\" at {url} and shows {text}")
}

/// What a page itself complains of becomes findings of the session, whatever becomes of the stage.
fn tell(attempt: &Attempt<'_>, news: &News) {
    for error in &news.errors {
        attempt.meter.note(Note {
            severity: Severity::Warning,
            code: error.code,
            message: error.text.clone(),
            screenshot: None,
        });
    }
    if news.dropped > 0 {
        attempt.meter.loss("console", news.dropped);
    }
}

/// What the page shows now, with the times of its document.
async fn shown(acting: &Acting<'_>) -> Result<(Json, Json), Trouble> {
    let (until, slack) = (acting.time.give_up, acting.time.slack());
    let call = |_| World::Own.call("seen", &[]);
    let seen = acting.page.evaluate(World::Own, until, slack, call).await?;
    Ok((seen, acting.timing().await?))
}

/// `page` in expressions.
fn whole_value((seen, timing): (Json, Json), acting: &Acting<'_>, news: &News) -> Value {
    let text = |key: &str| Value::from(seen[key].as_str().unwrap_or_default().to_owned());
    let console = news.console.iter().map(|message| {
        Value::map([
            ("level", Value::from(message.level.clone())),
            ("text", Value::from(message.text.clone())),
        ])
    });
    let errors = news
        .errors
        .iter()
        .map(|error| Value::from(error.text.clone()));
    let values = acting.values.iter();
    let mut entries = vec![
        ("url", text("url")),
        ("title", text("title")),
        ("text", text("text")),
        ("console", Value::list(console.collect())),
        ("errors", Value::list(errors.collect())),
        (
            "values",
            Value::map(values.map(|(name, value)| (name.clone(), value.clone()))),
        ),
    ];
    if let Some(took) = acting.display {
        entries.push(("display", Value::from(took.as_secs_f64())));
    }
    for key in ["first_byte", "dom_ready", "load"] {
        if let Some(seconds) = timing[key].as_f64() {
            entries.push((key, Value::from(seconds)));
        }
    }
    Value::map(entries)
}

/// `https://HOST:PORT` of a base URL, without credentials.
fn origin(base: &str) -> Option<String> {
    let origin = Url::parse(base).ok()?.origin();
    origin.is_tuple().then(|| origin.ascii_serialization())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_is_what_requests_are_matched_by() {
        let of = |base| origin(base);
        assert_eq!(of("http://me:x@h:80/ui").as_deref(), Some("http://h"));
        assert_eq!(of("https://h:8443/").as_deref(), Some("https://h:8443"));
    }

    #[test]
    fn a_page_is_described_briefly() {
        let text = "a\n  b ".to_owned() + &"x".repeat(1_000);
        let shown = shows("T", "http://x/", &text);
        assert!(shown.starts_with("; the page is \"T\" at http://x/ and shows \"a b xxx"));
        assert!(shown.ends_with("…\"") && shown.len() < 300);
        assert!(shows("", "about:blank", " ").ends_with("shows no text"));
    }
}
