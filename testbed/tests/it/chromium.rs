//! A real browser, driven over its debugging protocol.

use std::env;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// A browser starts, and a page does what it should, within this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// A browser with one tab.
pub(crate) struct Chromium {
    process: Child,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    session: Option<String>,
    last: u64,
    /// What the page reported as errors: uncaught, refused by its policy, or not found.
    pub(crate) complaints: Vec<String>,
    _profile: TempDir,
}

impl Chromium {
    /// Starts the browser that the environment names; none is a failure in CI.
    pub(crate) async fn start() -> Option<Self> {
        let program = program()?;
        let profile = TempDir::new().unwrap();
        let mut process = Command::new(program)
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--disable-dev-shm-usage",
                "--remote-debugging-port=0",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let url = async {
            loop {
                let line = lines.next_line().await.unwrap().expect("the browser runs");
                if let Some(url) = line.strip_prefix("DevTools listening on ") {
                    return url.to_owned();
                }
            }
        };
        let url = timeout(PATIENCE, url).await.unwrap();
        let socket = timeout(PATIENCE, connect_async(url)).await.unwrap();
        let mut browser = Self {
            process,
            socket: socket.unwrap().0,
            session: None,
            last: 0,
            complaints: Vec::new(),
            _profile: profile,
        };
        let target =
            json!({ "url": "about:blank", "newWindow": true, "width": 1440, "height": 900 });
        let target = browser.call("Target.createTarget", target).await;
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.call("Target.attachToTarget", attach).await;
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.call(domain, json!({})).await;
        }
        Some(browser)
    }

    /// Calls a method of the protocol, which must succeed.
    pub(crate) async fn call(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut request = json!({ "id": self.last, "method": method, "params": params });
        if let Some(session) = &self.session {
            request["sessionId"] = json!(session);
        }
        self.socket
            .send(Message::text(request.to_string()))
            .await
            .unwrap();
        loop {
            let frame = timeout(PATIENCE, self.socket.next()).await;
            let frame = frame.unwrap_or_else(|_| panic!("{method} got no answer"));
            let Message::Text(text) = frame.expect("the browser runs").unwrap() else {
                continue;
            };
            let mut message: Value = serde_json::from_str(&text).unwrap();
            if message["id"] == self.last {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].take();
            }
            let method = message["method"].as_str().unwrap_or_default();
            let is_error = message["params"]["entry"]["level"] == "error";
            if method == "Runtime.exceptionThrown" || (method == "Log.entryAdded" && is_error) {
                self.complaints.push(message["params"].to_string());
            }
        }
    }

    /// Opens an address and waits until the page is there.
    pub(crate) async fn open(&mut self, url: &str) {
        let answer = self.call("Page.navigate", json!({ "url": url })).await;
        assert!(
            answer["errorText"].is_null(),
            "{url}: {}",
            answer["errorText"]
        );
        self.until("document.readyState === 'complete'").await;
    }

    /// The value of an expression, awaited if it is a promise.
    pub(crate) async fn eval(&mut self, expression: &str) -> Value {
        let params =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut answer = self.call("Runtime.evaluate", params).await;
        assert!(
            answer["exceptionDetails"].is_null(),
            "{expression}: {}",
            answer["exceptionDetails"]
        );
        answer["result"]["value"].take()
    }

    /// Waits until an expression is true.
    pub(crate) async fn until(&mut self, expression: &str) {
        let start = Instant::now();
        while self.eval(expression).await != json!(true) {
            if start.elapsed() > PATIENCE {
                let seen = self.eval("document.body.innerText").await;
                panic!("never {expression}: {seen:#}");
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends the browser and all its processes.
    pub(crate) async fn close(mut self) {
        self.session = None;
        self.call("Browser.close", json!({})).await;
        timeout(PATIENCE, self.process.wait())
            .await
            .unwrap()
            .unwrap();
    }
}

/// The browser that the environment names.
fn program() -> Option<PathBuf> {
    let found = env::var_os("TESTMESH_CHROMIUM").map(PathBuf::from);
    assert!(
        found.is_some() || env::var_os("CI").is_none(),
        "TESTMESH_CHROMIUM is not set: `cargo xtask test` installs what it names"
    );
    if found.is_none() {
        eprintln!("not run: TESTMESH_CHROMIUM is not set");
    }
    found
}
