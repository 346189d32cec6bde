//! Pages for the tests of `browser`, and how their stages are run.

use std::env;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Html;
use axum::routing::get;
use testmesh_agent::driver::contract::{Results, StageError};
use testmesh_shared::plan::Span;
use testmesh_shared::plan::expr::{Expr, Scope, Value};

use crate::harness::Bench;
use crate::servers;

/// Whether there is a browser to test with.
#[expect(
    clippy::print_stderr,
    reason = "the lint knows tests by their attribute alone, and this is called by them"
)]
pub(crate) fn has_browser() -> bool {
    let found = env::var_os("TESTMESH_CHROMIUM").is_some();
    assert!(
        found || env::var_os("CI").is_none(),
        "TESTMESH_CHROMIUM is not set: `cargo xtask test` installs what it names"
    );
    if !found {
        eprintln!("not run: TESTMESH_CHROMIUM is not set");
    }
    found
}

const FORM: &str = r##"<!doctype html><title>Form</title>
<label for=user>User name</label><input id=user value=old>
<label>Note <textarea id=note></textarea></label>
<input id=day type=date aria-label=Day>
<input id=locked readonly value=fixed>
<select id=view><option value=0>Multi channel<option value=1>Single channel<option value=2>Waterfall</select>
<input type=checkbox id=live><div id=rich contenteditable>old text</div>
<button id=go onclick="out.textContent = [user.value, note.value, day.value, view.value, live.checked, rich.textContent].join('|')">Go <b>now</b></button>
<input type=submit value="Send it" onclick="out.textContent = 'sent'">
<p id=out></p><p id=keys></p>
<script>
  const seen = [];
  addEventListener("keydown", (event) => { seen.push((event.ctrlKey ? "^" : "") + event.key); keys.textContent = seen.join(" "); });
  const events = [];
  for (const type of ["input", "change"]) view.addEventListener(type, () => events.push(type));
  const bottom = document.createElement("button");
  bottom.id = "bottom"; bottom.textContent = "far below"; bottom.style.marginTop = "5000px"; bottom.onclick = () => (out.textContent = "bottom");
  document.body.append(bottom);
</script>"##;

/// A button that is there after 200 ms, visible after 400, enabled after 600, and uncovered after 800.
const LATE: &str = r##"<!doctype html><title>Late</title><div id=cover style="position:fixed;inset:0"></div><p id=out></p><script>
  const began = performance.now();
  const at = (ms, act) => setTimeout(act, ms);
  let button;
  at(200, () => { button = document.createElement("button"); button.id = "go"; button.textContent = "Go";
    button.style.visibility = "hidden"; button.disabled = true; button.onclick = () => (out.textContent = String(performance.now() - began));
    document.body.append(button); });
  at(400, () => (button.style.visibility = "visible"));
  at(600, () => (button.disabled = false));
  at(800, () => cover.remove());
</script>"##;

/// What is clicked shows something after so many milliseconds, by an element, by text, by a style, or in another document.
const DELAY: &str = r##"<!doctype html><title>Delay</title><style>.hidden { display: none }</style>
<button id=go>Go</button><button id=styled>Style</button><button id=away>Away</button><button id=at-once>At once</button>
<p id=quick class=hidden>quick</p><p id=shown class=hidden>there</p><p id=always>always</p>
<script>
  go.onclick = () => setTimeout(() => { shown.className = ""; window.ready = true; }, 200);
  styled.onclick = () => setTimeout(() => document.styleSheets[0].deleteRule(0), 200);
  away.onclick = () => (location.href = "/second");
  document.getElementById("at-once").onclick = () => (quick.className = "");
</script>"##;

const SECOND: &str = r##"<!doctype html><title>Second</title><p>second</p><script>
  setTimeout(() => document.body.insertAdjacentHTML("beforeend", "<p id=late>late</p>"), 200);
</script>"##;

const NOISY: &str = r##"<!doctype html><title>Noisy</title><button id=go>Go</button><script>
  console.log("hello", 7, { a: 1 }); console.warn("careful");
  go.onclick = () => { console.error("bad", 42); fetch("/status?code=503").then(() => setTimeout(() => (window.asked = true), 300)); setTimeout(() => { throw new Error("oh no") }); };
</script>"##;

const HANGING: &str = r##"<!doctype html><title>Hanging</title><p>before</p><button id=go onclick="while (true) {}">Go</button>"##;

const COOKIES: &str = r##"<!doctype html><title>Cookies</title><p id=had></p><script>
  had.textContent = `had:${document.cookie}:${localStorage.who || ""}`; document.cookie = "who=me"; localStorage.who = "me";
</script>"##;

const DIALOG: &str = r##"<!doctype html><title>Dialog</title><button id=go onclick="alert('look'); out.textContent = confirm('sure?')">Go</button><p id=out></p>"##;

/// Asks the server for the trace that its requests carry, here and at another origin.
const TRACED: &str = r##"<!doctype html><title>Traced</title><p id=own></p><p id=other></p><script>
  const other = new URLSearchParams(location.search).get("other");
  fetch("/trace").then((answer) => answer.text()).then((text) => (own.textContent = `own:${text}`));
  fetch(other + "/trace").then((answer) => answer.text()).then((text) => (document.getElementById("other").textContent = `other:${text}`));
</script>"##;

/// Answers with the status behind `code=`.
async fn status(uri: Uri) -> (StatusCode, Html<&'static str>) {
    let code = uri.query().and_then(|query| query.strip_prefix("code="));
    let code = code.and_then(|code| code.parse().ok()).unwrap_or(200);
    let code = StatusCode::from_u16(code).expect("a status");
    (code, Html("<title>Status</title><p>a page</p>"))
}

async fn trace(headers: HeaderMap) -> ([(&'static str, &'static str); 1], String) {
    let trace = headers
        .get("traceparent")
        .and_then(|value| value.to_str().ok());
    let open = [("access-control-allow-origin", "*")];
    (open, trace.unwrap_or("none").to_owned())
}

/// The pages. Returns their address.
pub(crate) async fn site() -> String {
    let page = |text: &'static str| get(async move || Html(text));
    let app = Router::new()
        .route("/form", page(FORM))
        .route("/late", page(LATE))
        .route("/delay", page(DELAY))
        .route("/second", page(SECOND))
        .route("/noisy", page(NOISY))
        .route("/hanging", page(HANGING))
        .route("/cookies", page(COOKIES))
        .route("/dialog", page(DIALOG))
        .route("/traced", page(TRACED))
        .route("/status", get(status))
        .route("/trace", get(trace));
    let (listener, address) = servers::listen().await;
    servers::spawn(async move { axum::serve(listener, app).await.expect("serves") });
    format!("http://{address}")
}

/// Stages on a target `ui`, each written `NAME: TIMEOUT: ACTIONS`.
pub(crate) fn bench(site: &str, more: &str, stages: &[(&str, &str, &str)]) -> Bench {
    let targets = format!("ui: {{ browser: '{site}'{more} }}");
    let stages: Vec<_> = stages
        .iter()
        .map(|(name, limit, actions)| {
            format!("- {{ name: {name}, timeout: {limit}, browser: {{ target: ui, do: [ {actions} ] }}, expect: size(page.text) >= 0 }}")
        })
        .collect();
    Bench::new(&targets, &stages.join("\n"))
}

/// The value of an expression over a stage's results.
pub(crate) fn read(results: &Results, expression: &str) -> Value {
    let expr = Expr::compile(expression, Span::START.start).expect(expression);
    let mut scope = Scope::root();
    scope.set("page", results.page.clone().expect("a page"));
    expr.evaluate(&scope).expect(expression)
}

pub(crate) fn text(results: &Results, expression: &str) -> String {
    read(results, expression)
        .as_str()
        .expect(expression)
        .to_owned()
}

pub(crate) async fn fails(bench: &Bench, name: &str) -> StageError {
    bench.run(name).await.expect_err(name)
}
