//! How stages of `browser` fail, what becomes of a browser that dies, hangs or is not there, and that nothing is left of it.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use testmesh_shared::plan::ErrorKind;
use tokio::time::{Instant, sleep, timeout};

use crate::browser_site::{bench, fails, has_browser, site, text};
use crate::harness::scope;

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "it is a table of cases")]
async fn failures_say_what_was_waited_for_and_what_the_page_shows() {
    if !has_browser() {
        return;
    }
    // A port that was free a moment ago; Chromium asks none of the well-known ones.
    let free =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let nobody = format!("{{ open: 'http://{}/' }}", free.expect("a free port"));
    let stages = [
        ("form", "60s", "{ open: /form }"),
        ("hide", "60s", "{ eval: 'void (live.hidden = true)' }"),
        ("missing", "3s", "{ click: '#nope' }"),
        ("hidden", "3s", "{ click: '#live' }"),
        ("locked", "3s", "{ fill: '#locked', with: x }"),
        (
            "no_field",
            "60s",
            "{ open: /form }, { fill: '#go', with: x }",
        ),
        ("no_option", "3s", "{ select: '#view', option: Other }"),
        ("no_css", "60s", "{ open: /form }, { click: '##' }"),
        ("throws", "60s", "{ eval: 'throw new Error(\"oh\")' }"),
        ("syntax", "60s", "{ eval: 'a b' }"),
        ("huge", "60s", "{ eval: '\"x\".repeat(1e6)' }"),
        (
            "bad_expr",
            "60s",
            "{ open: /delay }, { click: '#go' }, { wait: { expr: 'a b' } }",
        ),
        ("not_true", "3s", "{ wait: { expr: '1 === 2' } }"),
        (
            "status",
            "60s",
            "{ open: '/status?code=404' }, { click: '#never' }",
        ),
        ("refused", "60s", nobody.as_str()),
        ("dns", "60s", "{ open: 'http://no-such-host.invalid/' }"),
    ];
    let bench = bench(&site().await, "", &stages);
    bench.run("form").await.expect("a browser");
    let error = fails(&bench, "missing").await;
    assert_eq!(error.kind, ErrorKind::Timeout);
    for part in [
        "click `#nope`: no element matches, after 2.",
        "the page is \"Form\" at http://",
        "/form and shows \"User name",
    ] {
        assert!(error.message.contains(part), "{}", error.message);
    }
    let evidence = error.evidence.expect("what the page shows");
    assert!(String::from_utf8_lossy(&evidence.body).contains("far below"));
    let picture = error.screenshot.expect("a picture");
    assert!(picture.starts_with(b"\x89PNG") && picture.len() <= 512 * 1024);
    bench.run("hide").await.expect("hide");
    for (name, kind, code, part) in [
        ("hidden", ErrorKind::Timeout, None, "is not visible"),
        ("locked", ErrorKind::Timeout, None, "is read-only"),
        (
            "no_field",
            ErrorKind::Expectation,
            Some("unusable"),
            "is no field that takes text",
        ),
        (
            "no_option",
            ErrorKind::Timeout,
            None,
            "no such option; it has \"Multi channel\"",
        ),
        (
            "no_css",
            ErrorKind::Expectation,
            Some("unusable"),
            "is no selector",
        ),
        (
            "throws",
            ErrorKind::Expectation,
            Some("exception"),
            "eval: it throws Error: oh",
        ),
        (
            "syntax",
            ErrorKind::Expectation,
            Some("exception"),
            "SyntaxError",
        ),
        (
            "huge",
            ErrorKind::Expectation,
            Some("exception"),
            "1000002 characters",
        ),
        (
            "bad_expr",
            ErrorKind::Expectation,
            Some("exception"),
            "SyntaxError",
        ),
        ("not_true", ErrorKind::Timeout, None, "it is false"),
        ("status", ErrorKind::Status, None, "HTTP 404"),
        (
            "refused",
            ErrorKind::Refused,
            None,
            "net::ERR_CONNECTION_REFUSED",
        ),
        (
            "dns",
            ErrorKind::Unavailable,
            Some("dns"),
            "net::ERR_NAME_NOT_RESOLVED",
        ),
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
        (
            "secret",
            "60s",
            "{ open: /form }, { screenshot: before }, { fill: '#user', with: '${secrets.token}' }, { screenshot: after }",
        ),
        ("fails", "5s", "{ click: '#nope' }"),
    ];
    let bench = bench(&site().await, "", &stages);
    bench.run_in("secret", &scope()).await.expect("secret");
    let notes = bench.meter.notes.take();
    assert_eq!(notes[0].message, "screenshot before");
    assert!(
        notes[0]
            .screenshot
            .as_ref()
            .expect("a picture")
            .starts_with(b"\x89PNG")
    );
    assert!(
        notes[1].message.contains("a secret was put"),
        "{}",
        notes[1].message
    );
    assert_eq!(notes[1].screenshot, None);
    let error = fails(&bench, "fails").await;
    assert!(error.message.contains("a secret was put"), "{error}");
    assert_eq!(error.screenshot, None);
    bench.next_session();
    assert!(
        fails(&bench, "fails").await.screenshot.is_some(),
        "another session has put none"
    );
}

#[tokio::test]
async fn a_page_that_hangs_costs_its_session_only() {
    if !has_browser() {
        return;
    }
    let stages = [
        ("open", "60s", "{ open: /hanging }"),
        ("hang", "3s", "{ click: '#go' }"),
        ("form", "60s", "{ open: /form }"),
    ];
    let bench = bench(&site().await, ", max_contexts: 1", &stages);
    bench.run("form").await.expect("a browser that is warm");
    bench.next_session();
    bench.run("open").await.expect("a page");
    let began = Instant::now();
    let error = fails(&bench, "hang").await;
    assert_eq!(error.kind, ErrorKind::Timeout);
    assert!(error.message.contains("may run without end"), "{error}");
    assert!(error.message.contains("the page is \"Hanging\""), "{error}");
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
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
        (
            "hold",
            "60s",
            "{ open: /form }, { eval: 'new Promise((done) => setTimeout(done, 1500))' }",
        ),
        ("short", "400ms", "{ open: /form }"),
        ("long", "60s", "{ open: /form }"),
    ];
    let bench = bench(&site().await, ", max_contexts: 1", &stages);
    bench.run("long").await.expect("a browser that is warm");
    let others = async {
        sleep(Duration::from_millis(300)).await;
        bench.next_session();
        let error = fails(&bench, "short").await;
        assert_eq!(
            (error.kind, error.code),
            (ErrorKind::Timeout, Some("no_page")),
            "{error}"
        );
        let began = Instant::now();
        bench.run("long").await.expect("the place is given back");
        assert!(
            began.elapsed() >= Duration::from_millis(500),
            "{:?}",
            began.elapsed()
        );
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
    let entries = std::fs::read_dir(env::temp_dir())
        .expect("a folder")
        .flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(&mark))
        .map(|entry| entry.path())
        .collect()
}

/// Sends a signal to the browser.
fn signal(name: &str) {
    let (browser, is_browser) = processes()[0];
    assert!(is_browser, "a browser runs");
    kill(name, browser);
}

#[tokio::test]
async fn a_browser_that_is_killed_is_noticed_at_once_and_replaced() {
    if !has_browser() {
        return;
    }
    let stages = [
        ("long", "60s", "{ open: /form }, { wait: { text: never } }"),
        ("form", "60s", "{ open: /form }"),
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
    assert!(
        error.message.contains("the browser ended: signal 9"),
        "{error}"
    );
    assert!(took < Duration::from_secs(2), "noticed after {took:?}");
    bench.next_session();
    bench.run("form").await.expect("another browser");
    assert_eq!(folders().len(), 1, "the first one's folder is gone");
}

#[tokio::test]
async fn a_page_that_crashes_costs_its_session_only() {
    if !has_browser() {
        return;
    }
    let stages = [
        ("long", "60s", "{ open: /form }, { wait: { text: never } }"),
        ("form", "60s", "{ open: /form }"),
    ];
    let bench = bench(&site().await, "", &stages);
    bench.run("form").await.expect("a browser");
    let before = processes()[0];
    let crashing = async {
        sleep(Duration::from_millis(500)).await;
        for renderer in renderers() {
            kill("-KILL", renderer);
        }
        Instant::now()
    };
    let (result, killed) = tokio::join!(bench.run("long"), crashing);
    let error = result.expect_err("the page is gone");
    assert_eq!(error.kind, ErrorKind::Reset);
    assert!(
        error.message.contains("the page's process crashed"),
        "{error}"
    );
    assert!(killed.elapsed() < Duration::from_secs(2));
    bench.next_session();
    bench.run("form").await.expect("another page");
    assert_eq!(processes()[0], before, "of the same browser");
}

/// The processes of pages: they are children of the browser's, which has its folder in its arguments.
fn renderers() -> Vec<u32> {
    let (browser, _) = processes()[0];
    let group = |id: u32| {
        let status = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let (_, after) = status.rsplit_once(") ")?;
        after.split(' ').nth(2)?.parse::<u32>().ok()
    };
    let entries = std::fs::read_dir("/proc").expect("proc").flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_renderer = |id: &u32| {
        let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("--type=renderer") && group(*id) == group(browser)
    };
    ids.filter(is_renderer).collect()
}

fn kill(signal: &str, process: u32) {
    let status = std::process::Command::new("kill")
        .args([signal, &process.to_string()])
        .status();
    assert!(status.expect("kill").success());
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
        (
            "visit",
            "60s",
            "{ open: /cookies }, { eval: had.textContent, as: had }",
        ),
        ("wait", "60s", "{ wait: { text: never } }"),
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
    let bench = bench(&site().await, "", &[("form", "60s", "{ open: /form }")]);
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
    let bench = bench(
        "http://127.0.0.1:1",
        more,
        &[("form", "5s", "{ open: /form }")],
    );
    let error = fails(&bench, "form").await;
    assert_eq!(
        (error.kind, error.code),
        (ErrorKind::Refused, Some("no_browser"))
    );
    assert!(
        error.message.contains("apt-get install chromium"),
        "{error}"
    );
}
