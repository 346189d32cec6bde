//! `browser` with a real Chromium, against small pages: what it does, what it measures, and how it fails.
//!
//! The Chromium is the one that TESTMESH_CHROMIUM names; without it these tests say so and pass, and in CI they fail.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use axum::extract::Query;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Html;
use axum::routing::get;
use testmesh_agent::driver::contract::{Results, StageError};
use testmesh_shared::plan::ErrorKind;
use testmesh_shared::plan::expr::{Expr, Scope, Value};
use tokio::time::{Instant, sleep, timeout};

use crate::harness::{Bench, load, scope, tree};
use crate::servers;

/// Whether there is a browser to test with.
#[expect(
    clippy::print_stderr,
    reason = "the lint knows tests by their attribute alone, and this is called by them"
)]
fn has_browser() -> bool {
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

async fn status(Query(query): Query<std::collections::HashMap<String, u16>>) -> (StatusCode, Html<&'static str>) {
    let code = query.get("code").copied().unwrap_or(200);
    let code = StatusCode::from_u16(code).expect("a status");
    (code, Html("<title>Status</title><p>a page</p>"))
}

async fn trace(headers: HeaderMap) -> ([(&'static str, &'static str); 1], String) {
    let trace = headers.get("traceparent").and_then(|value| value.to_str().ok());
    let open = [("access-control-allow-origin", "*")];
    (open, trace.unwrap_or("none").to_owned())
}

/// The pages. Returns their address.
async fn site() -> String {
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
fn bench(site: &str, more: &str, stages: &[(&str, &str, &str)]) -> Bench {
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
fn read(results: &Results, expression: &str) -> Value {
    let expr = Expr::compile(expression, testmesh_shared::plan::Position::START).expect(expression);
    let mut scope = Scope::root();
    scope.set("page", results.page.clone().expect("a page"));
    expr.evaluate(&scope).expect(expression)
}

fn text(results: &Results, expression: &str) -> String {
    read(results, expression).as_str().expect(expression).to_owned()
}

async fn fails(bench: &Bench, name: &str) -> StageError {
    bench.run(name).await.expect_err(name)
}

#[tokio::test]
async fn every_action_does_what_it_says() {
    if !has_browser() {
        return;
    }
    let actions = "{ open: /form }, { fill: '#user', with: Ada }, { fill: label=note, with: 'a \"b\"' }, { fill: label=Day, with: '2026-11-27' }, \
        { fill: '#rich', with: new }, { select: '#view', option: Waterfall }, { click: '#live' }, { click: 'text=\"Go now\"' }, { wait: { text: Ada } }, \
        { eval: 'out.textContent', as: out }, { eval: '[events, location.pathname]', as: more }, { eval: 'Promise.resolve({ a: [1, null] })', as: promised }";
    let keys = "{ click: '#user' }, { press: Enter }, { press: Control+a }, { press: x }, { press: Tab }, { press: End, on: '#user' }, { press: y }, \
        { eval: 'user.value', as: user }, { eval: 'keys.textContent', as: keys }";
    let more = "{ click: 'text=send IT' }, { wait: { text: '\"sent\"' } }, { click: '#bottom' }, { wait: { expr: 'out.textContent === \"bottom\" // really' } }, \
        { fill: '#user', with: '' }, { select: '#view', option: '1' }, { eval: 'user.value + view.value', as: last }";
    let bench = bench(
        &site().await,
        ", viewport: { width: 800, height: 600 }",
        &[
            ("form", "20s", actions),
            ("keys", "20s", keys),
            ("more", "20s", more),
            ("size", "20s", "{ eval: '[innerWidth, innerHeight]', as: size }"),
        ],
    );
    let results = bench.run("form").await.expect("form");
    assert_eq!(text(&results, "page.values.out"), "Ada|a \"b\"|2026-11-27|2|true|new");
    assert_eq!(read(&results, "page.values.more"), read(&results, "[['input', 'change'], '/form']"));
    assert_eq!(read(&results, "page.values.promised"), read(&results, "{'a': [1, null]}"));
    assert_eq!(text(&results, "page.title"), "Form");
    assert!(text(&results, "page.url").ends_with("/form"));
    assert!(text(&results, "page.text").contains("User name"));
    assert_eq!(results.status, Some(200));
    assert_eq!(*bench.meter.statuses.borrow(), [200]);
    assert_eq!(bench.meter.first_bytes.get(), 1);
    for key in ["first_byte", "dom_ready", "load"] {
        let seconds = read(&results, &format!("page.{key}")).as_f64().expect(key);
        assert!(seconds > 0.0 && seconds < 20.0, "{key}: {seconds}");
    }
    let results = bench.run("keys").await.expect("keys");
    assert_eq!(text(&results, "page.values.user"), "xy");
    assert_eq!(text(&results, "page.values.keys"), "Enter Control ^a x Tab End y");
    let results = bench.run("more").await.expect("more");
    assert_eq!(text(&results, "page.values.last"), "1");
    let results = bench.run("size").await.expect("size");
    assert_eq!(read(&results, "page.values.size"), read(&results, "[800, 600]"));
    assert!(bench.meter.notes.borrow().is_empty(), "{:?}", bench.meter.notes);
}

#[tokio::test]
async fn actions_wait_until_their_element_can_be_used() {
    if !has_browser() {
        return;
    }
    let actions = "{ open: /late }, { click: '#go' }, { wait: { expr: out.textContent } }, { eval: 'Number(out.textContent)', as: at }";
    let bench = bench(&site().await, "", &[("late", "20s", actions)]);
    let results = bench.run("late").await.expect("late");
    let at = read(&results, "page.values.at").as_f64().expect("a number");
    assert!(at >= 800.0, "clicked at {at} ms, when it was still covered");
    assert!(at < 5_000.0, "clicked at {at} ms only");
}

#[tokio::test]
async fn alone_displays_are_timed_from_the_input() {
    if !has_browser() {
        return;
    }
    let stages = [
        ("open", "20s", "{ open: /delay }, { wait: { text: always } }"),
        ("element", "20s", "{ open: /delay }, { click: '#go' }, { wait: { selector: '#shown' } }"),
        ("key", "20s", "{ open: /delay }, { press: Enter, on: '#go' }, { wait: { text: there } }"),
        ("expr", "20s", "{ open: /delay }, { click: '#go' }, { wait: { expr: window.ready } }"),
        ("style", "20s", "{ open: /delay }, { click: '#styled' }, { wait: { selector: '#shown' } }"),
        ("away", "20s", "{ open: /delay }, { click: '#away' }, { wait: { selector: '#late' } }"),
        ("later", "20s", "{ open: /second }, { wait: { selector: '#late' } }"),
        ("quick", "20s", "{ open: /delay }, { click: '#at-once' }, { wait: { selector: '#quick' } }"),
    ];
    let bench = bench(&site().await, "", &stages);
    bench.run("open").await.expect("a browser that is warm");
    for _ in 0..3 {
        for (name, least, most) in [
            ("open", 0.0, 1_000.0),
            ("element", 200.0, 260.0),
            ("key", 200.0, 360.0),
            ("expr", 200.0, 260.0),
            ("style", 200.0, 260.0),
            ("away", 200.0, 1_000.0),
            ("later", 200.0, 1_000.0),
            ("quick", 0.0, 60.0),
        ] {
            bench.meter.displays.borrow_mut().clear();
            let results = bench.run(name).await.expect(name);
            let took = read(&results, "page.display").as_f64().expect(name) * 1e3;
            let recorded: Vec<_> = bench.meter.displays.borrow().iter().map(Duration::as_secs_f64).collect();
            assert_eq!(recorded.len(), 1, "{name}");
            assert!((recorded[0] * 1e3 - took).abs() < 0.001, "{name}");
            assert!(took >= least && took < most, "{name} was displayed after {took} ms");
        }
    }
}

#[tokio::test]
async fn what_was_there_before_is_not_timed() {
    if !has_browser() {
        return;
    }
    let stages = [
        ("before", "20s", "{ open: /delay }, { wait: { selector: '#always' } }, { click: '#go' }, { wait: { selector: '#always' } }"),
        ("apart", "20s", "{ open: /delay }, { click: '#at-once' }, { eval: 'new Promise((done) => setTimeout(done, 300))' }, { wait: { selector: '#quick' } }"),
        ("gone", "20s", "{ open: /delay }, { eval: 'setTimeout(() => always.remove(), 300)' }, { wait: { gone: '#always' } }"),
    ];
    let bench = bench(&site().await, "", &stages);
    let results = bench.run("before").await.expect("before");
    assert_eq!(bench.meter.displays.borrow().len(), 1, "the click shows nothing new");
    assert!(read(&results, "page.display").as_f64().is_some());
    bench.meter.displays.borrow_mut().clear();
    let results = bench.run("apart").await.expect("apart");
    assert!(bench.meter.displays.borrow().is_empty());
    assert_eq!(read(&results, "has(page.display)"), Value::from(false));
    let began = Instant::now();
    bench.run("gone").await.expect("gone");
    assert!(began.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_page_stays_for_its_session_and_others_do_not_see_it() {
    if !has_browser() {
        return;
    }
    let stages = [
        ("visit", "20s", "{ open: /cookies }, { eval: had.textContent, as: had }"),
        ("look", "20s", "{ eval: had.textContent, as: had }"),
    ];
    let bench = bench(&site().await, "", &stages);
    let had = |results: Results| text(&results, "page.values.had");
    assert_eq!(had(bench.run("visit").await.expect("visit")), "had::");
    assert_eq!(had(bench.run("visit").await.expect("visit")), "had:who=me:me");
    assert_eq!(had(bench.run("look").await.expect("look")), "had:who=me:me");
    bench.next_session();
    assert_eq!(had(bench.run("visit").await.expect("visit")), "had::");
}

#[tokio::test]
async fn what_a_page_complains_of_is_told() {
    if !has_browser() {
        return;
    }
    let actions = "{ open: /noisy }, { click: '#go' }, { wait: { expr: window.asked } }";
    let site = site().await;
    let quiet = bench(&site, "", &[("noisy", "20s", actions)]);
    let results = quiet.run("noisy").await.expect("noisy");
    let notes = quiet.meter.notes.take();
    let mut told: Vec<_> = notes.iter().map(|note| (note.code, note.message.as_str())).collect();
    told.sort_unstable();
    assert_eq!(told[0], ("page_console", "bad 42"));
    assert_eq!(told[1], ("page_exception", "Error: oh no"));
    assert_eq!(told[2].0, "page_request");
    assert!(told[2].1.contains("503") && told[2].1.contains("/status"), "{}", told[2].1);
    assert_eq!(told.len(), 3);
    assert_eq!(read(&results, "size(page.errors)"), Value::from(3_i64));
    assert_eq!(text(&results, "page.console[0].text"), "hello 7 Object");
    assert_eq!(text(&results, "page.console[1].level"), "warning");
    let targets = format!("ui: {{ browser: '{site}' }}");
    let stages = format!("- {{ name: noisy, browser: {{ target: ui, fail_on_console: true, do: [ {actions} ] }} }}");
    let strict = Bench::new(&targets, &stages);
    let error = fails(&strict, "noisy").await;
    assert_eq!((error.kind, error.code), (ErrorKind::Expectation, Some("page_error")));
    assert!(error.message.contains("3 errors"), "{}", error.message);
    assert_eq!(strict.meter.notes.borrow().len(), 3);
}

#[tokio::test]
async fn dialogs_hold_nothing_up() {
    if !has_browser() {
        return;
    }
    let actions = "{ open: /dialog }, { click: '#go' }, { wait: { text: 'false' } }";
    let bench = bench(&site().await, "", &[("dialog", "20s", actions)]);
    let results = bench.run("dialog").await.expect("dialog");
    assert_eq!(text(&results, "page.console[0].text"), "alert: look");
    assert_eq!(text(&results, "page.console[1].text"), "confirm: sure?");
}

#[tokio::test]
async fn requests_to_the_target_carry_the_trace_and_no_others() {
    if !has_browser() {
        return;
    }
    let other = site().await;
    let actions = format!(
        "{{ open: '/traced?other={other}' }}, {{ wait: {{ text: 'own:' }} }}, {{ wait: {{ text: 'other:' }} }}, {{ open: /trace }}, {{ eval: document.body.innerText, as: document }}, \
         {{ open: '/traced?other={other}' }}, {{ wait: {{ text: 'own:' }} }}, {{ wait: {{ text: 'other:' }} }}"
    );
    let bench = bench(&site().await, "", &[("traced", "20s", &actions)]);
    let results = bench.run("traced").await.expect("traced");
    let shown = text(&results, "page.text");
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    assert!(shown.contains(&format!("own:{trace}")), "{shown}");
    assert!(shown.contains("other:none"), "{shown}");
    assert_eq!(text(&results, "page.values.document"), trace);
}

#[tokio::test]
async fn failures_say_what_was_waited_for_and_what_the_page_shows() {
    if !has_browser() {
        return;
    }
    let stages = [
        ("missing", "2s", "{ open: /form }, { click: '#nope' }"),
        ("hidden", "2s", "{ open: /late }, { eval: 'setTimeout(() => go.hidden = true, 300)' }, { click: '#go' }"),
        ("covered", "600ms", "{ click: 'text=never' }"),
        ("locked", "2s", "{ open: /form }, { fill: '#locked', with: x }"),
        ("no_field", "20s", "{ open: /form }, { fill: '#go', with: x }"),
        ("no_option", "2s", "{ open: /form }, { select: '#view', option: Other }"),
        ("no_css", "20s", "{ open: /form }, { click: '##' }"),
        ("throws", "20s", "{ eval: 'throw new Error(\"oh\")' }"),
        ("syntax", "20s", "{ eval: 'a b' }"),
        ("huge", "20s", "{ eval: '\"x\".repeat(1e6)' }"),
        ("bad_expr", "20s", "{ open: /delay }, { click: '#go' }, { wait: { expr: 'a b' } }"),
        ("not_true", "1s", "{ wait: { expr: '1 === 2' } }"),
        ("status", "20s", "{ open: '/status?code=404' }, { click: '#never' }"),
        ("refused", "20s", "{ open: 'http://127.0.0.1:9/' }"),
        ("dns", "20s", "{ open: 'http://no-such-host.invalid/' }"),
    ];
    let bench = bench(&site().await, "", &stages);
    bench.run("throws").await.expect_err("a browser that is warm");
    let error = fails(&bench, "missing").await;
    assert_eq!(error.kind, ErrorKind::Timeout);
    for part in ["click `#nope`: no element matches, after 1.", "the page is \"Form\" at http://", "/form and shows \"User name"] {
        assert!(error.message.contains(part), "{}", error.message);
    }
    let evidence = error.evidence.expect("what the page shows");
    assert!(String::from_utf8_lossy(&evidence.body).contains("far below"));
    let picture = error.screenshot.expect("a picture");
    assert!(picture.starts_with(b"\x89PNG") && picture.len() <= 512 * 1024);
    for (name, kind, code, part) in [
        ("hidden", ErrorKind::Timeout, None, "is not visible"),
        ("locked", ErrorKind::Timeout, None, "is read-only"),
        ("no_field", ErrorKind::Expectation, Some("unusable"), "is no field that takes text"),
        ("no_option", ErrorKind::Timeout, None, "no such option; it has \"Multi channel\""),
        ("no_css", ErrorKind::Expectation, Some("unusable"), "is no selector"),
        ("throws", ErrorKind::Expectation, Some("exception"), "eval: it throws Error: oh"),
        ("syntax", ErrorKind::Expectation, Some("exception"), "SyntaxError"),
        ("huge", ErrorKind::Expectation, Some("exception"), "1000002 characters"),
        ("bad_expr", ErrorKind::Expectation, Some("exception"), "SyntaxError"),
        ("not_true", ErrorKind::Timeout, None, "it is false"),
        ("status", ErrorKind::Status, None, "HTTP 404"),
        ("refused", ErrorKind::Refused, None, "net::ERR_CONNECTION_REFUSED"),
        ("dns", ErrorKind::Unavailable, Some("dns"), "net::ERR_NAME_NOT_RESOLVED"),
    ] {
        let error = fails(&bench, name).await;
        assert_eq!((error.kind, error.code), (kind, code), "{name}: {error}");
        assert!(error.message.contains(part), "{name}: {error}");
        assert!(error.screenshot.is_some(), "{name}");
    }
}

#[tokio::test]
async fn no_picture_is_taken_of_a_page_with_a_secret() {
    if !has_browser() {
        return;
    }
    let stages = [
        ("secret", "20s", "{ open: /form }, { screenshot: before }, { fill: '#user', with: '${secrets.token}' }, { screenshot: after }"),
        ("fails", "1s", "{ click: '#nope' }"),
    ];
    let bench = bench(&site().await, "", &stages);
    bench.run_in("secret", &scope()).await.expect("secret");
    let notes = bench.meter.notes.take();
    assert_eq!(notes[0].message, "screenshot before");
    assert!(notes[0].screenshot.as_ref().expect("a picture").starts_with(b"\x89PNG"));
    assert!(notes[1].message.contains("a secret was put"), "{}", notes[1].message);
    assert_eq!(notes[1].screenshot, None);
    let error = fails(&bench, "fails").await;
    assert!(error.message.contains("a secret was put"), "{error}");
    assert_eq!(error.screenshot, None);
    bench.next_session();
    assert!(fails(&bench, "fails").await.screenshot.is_some(), "another session has put none");
}

#[tokio::test]
async fn a_page_that_hangs_costs_its_session_only() {
    if !has_browser() {
        return;
    }
    let stages = [
        ("hang", "2s", "{ open: /hanging }, { click: '#go' }"),
        ("form", "20s", "{ open: /form }"),
    ];
    let bench = bench(&site().await, ", max_contexts: 1", &stages);
    bench.run("form").await.expect("a browser that is warm");
    bench.next_session();
    let began = Instant::now();
    let error = fails(&bench, "hang").await;
    assert_eq!(error.kind, ErrorKind::Timeout);
    assert!(error.message.contains("may run without end"), "{error}");
    assert!(error.message.contains("the page is \"Hanging\""), "{error}");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    // There is one place only: the page that hangs has left it.
    bench.next_session();
    bench.run("form").await.expect("another page");
}

#[tokio::test]
async fn places_are_bounded_and_waited_for() {
    if !has_browser() {
        return;
    }
    let stages = [
        ("hold", "20s", "{ open: /form }, { eval: 'new Promise((done) => setTimeout(done, 1500))' }"),
        ("short", "400ms", "{ open: /form }"),
        ("long", "20s", "{ open: /form }"),
    ];
    let bench = bench(&site().await, ", max_contexts: 1", &stages);
    bench.run("long").await.expect("a browser that is warm");
    let others = async {
        sleep(Duration::from_millis(300)).await;
        bench.next_session();
        let error = fails(&bench, "short").await;
        assert_eq!((error.kind, error.code), (ErrorKind::Timeout, Some("no_page")), "{error}");
        let began = Instant::now();
        bench.run("long").await.expect("the place is given back");
        assert!(began.elapsed() >= Duration::from_millis(500), "{:?}", began.elapsed());
    };
    let (held, ()) = tokio::join!(bench.run("hold"), others);
    held.expect("hold");
}

/// Processes that belong to browsers of this test, the browser itself first: tests run in a process each.
fn processes() -> Vec<(u32, bool)> {
    let mark = format!("testmesh-browser-{}-", std::process::id());
    let entries = std::fs::read_dir("/proc").expect("proc").flatten();
    let mut found: Vec<_> = entries
        .filter_map(|entry| {
            let id: u32 = entry.file_name().to_str()?.parse().ok()?;
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).into_owned();
            let is_browser = line.contains("--remote-debugging-port") && !line.contains("--type=");
            line.contains(&mark).then_some((id, is_browser))
        })
        .collect();
    found.sort_by_key(|(_, is_browser)| !is_browser);
    found
}

fn folders() -> Vec<PathBuf> {
    let mark = format!("testmesh-browser-{}-", std::process::id());
    let entries = std::fs::read_dir(env::temp_dir()).expect("a folder").flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&mark))
        .map(|entry| entry.path())
        .collect()
}

/// Sends a signal to the browser.
fn signal(name: &str) {
    let (browser, is_browser) = processes()[0];
    assert!(is_browser, "a browser runs");
    let status = std::process::Command::new("kill")
        .args([name, &browser.to_string()])
        .status();
    assert!(status.expect("kill").success());
}

#[tokio::test]
async fn a_browser_that_is_killed_is_noticed_at_once_and_replaced() {
    if !has_browser() {
        return;
    }
    let stages = [
        ("long", "30s", "{ open: /form }, { wait: { text: never } }"),
        ("form", "20s", "{ open: /form }"),
    ];
    let bench = bench(&site().await, "", &stages);
    bench.run("form").await.expect("a browser");
    let killing = async {
        sleep(Duration::from_millis(500)).await;
        signal("-KILL");
        Instant::now()
    };
    let (result, killed) = tokio::join!(bench.run("long"), killing);
    let took = killed.elapsed();
    let error = result.expect_err("the browser is gone");
    assert_eq!(error.kind, ErrorKind::Reset);
    assert!(error.message.contains("the browser ended: signal 9"), "{error}");
    assert!(took < Duration::from_secs(2), "noticed after {took:?}");
    bench.next_session();
    bench.run("form").await.expect("another browser");
    assert_eq!(folders().len(), 1, "the first one's folder is gone");
}

#[tokio::test]
async fn a_browser_that_stands_still_is_ended() {
    if !has_browser() {
        return;
    }
    let stages = [
        ("form", "60s", "{ open: /form }"),
        ("stuck", "2s", "{ open: /form }"),
        ("long", "60s", "{ wait: { text: never } }"),
    ];
    let bench = bench(&site().await, "", &stages);
    bench.run("form").await.expect("a browser");
    signal("-STOP");
    assert_eq!(fails(&bench, "stuck").await.kind, ErrorKind::Timeout);
    let error = fails(&bench, "long").await;
    assert_eq!(error.kind, ErrorKind::Reset);
    assert!(error.message.contains("did not answer for 15s"), "{error}");
    bench.next_session();
    bench.run("form").await.expect("another browser");
}

#[tokio::test]
async fn a_stage_that_is_cut_closes_its_page() {
    if !has_browser() {
        return;
    }
    let stages = [
        ("visit", "20s", "{ open: /cookies }, { eval: had.textContent, as: had }"),
        ("wait", "20s", "{ wait: { text: never } }"),
    ];
    let bench = bench(&site().await, ", max_contexts: 1", &stages);
    bench.run("visit").await.expect("visit");
    timeout(Duration::from_millis(300), bench.run("wait"))
        .await
        .expect_err("it is cut");
    let results = bench.run("visit").await.expect("a page anew");
    assert_eq!(text(&results, "page.values.had"), "had::");
}

#[tokio::test]
async fn nothing_is_left_behind() {
    if !has_browser() {
        return;
    }
    let bench = bench(&site().await, "", &[("form", "20s", "{ open: /form }")]);
    bench.run("form").await.expect("a browser");
    assert!(processes().len() > 3, "a browser has several processes");
    assert_eq!(folders().len(), 1);
    drop(bench);
    assert_eq!(folders(), [] as [PathBuf; 0]);
    // What was killed may need a moment to be seen dead.
    let gone = async {
        while !processes().is_empty() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let gone = timeout(Duration::from_secs(2), gone).await;
    assert!(gone.is_ok(), "{:?} are left", processes());
}

#[tokio::test]
async fn an_agent_without_a_browser_is_told_how_to_get_one() {
    let more = ", program: /no/such/chromium";
    let bench = bench("http://127.0.0.1:1", more, &[("form", "5s", "{ open: /form }")]);
    let error = fails(&bench, "form").await;
    assert_eq!((error.kind, error.code), (ErrorKind::Refused, Some("no_browser")));
    assert!(error.message.contains("apt-get install chromium"), "{error}");
}

#[test]
fn what_is_wrong_with_a_plan_is_told() {
    let problems = |target: &str, stage: &str| {
        let stages = format!("- {{ name: x, browser: {{ target: ui, {stage} }} }}");
        let problems = load(&format!("ui: {{ {target} }}"), &stages, &tree()).expect_err("refused");
        let shown = problems.iter().map(|problem| {
            let hint = problem.hint.as_deref().unwrap_or_default();
            format!("{} {}: {} ({hint})", problem.span.start, problem.code, problem.message)
        });
        shown.collect::<Vec<_>>().join("\n")
    };
    let stage = |stage: &str| problems("browser: 'http://x'", stage);
    let target = |target: &str| problems(target, "do: [ { open: / } ]");
    insta::assert_snapshot!(
        [
            target("browser: 'ftp://x'"),
            target("browser: 'http://x?a=1'"),
            target("browser: 'http://x', max_contexts: 0"),
            target("browser: 'http://x', viewport: { width: 0 }"),
            stage("do: []"),
            stage("do: [ {} ]"),
            stage("do: [ { open: /, click: '#a' } ]"),
            stage("do: [ { fill: '#a' } ]"),
            stage("do: [ { click: '#a', with: x } ]"),
            stage("do: [ { press: Entr }, { press: Ctrl+a } ]"),
            stage("do: [ { wait: {} }, { wait: { text: a, gone: b } } ]"),
            stage("do: [ { eval: '1', as: 'a b' } ]"),
            stage("do: [ { hover: '#a' } ]"),
            stage("do: [ { click: '${session.x}' } ]"),
        ]
        .join("\n")
    );
}
