//! What a test has of the services that run beside all tests: a database, and a virtual host of the broker.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{env, process};

use anyhow::{Context as _, Result, ensure};
use mongodb::Client;
use reqwest::{Method, Url};

use crate::{Process, binary};

/// The address that a variable names; none is a failure in CI.
///
/// # Panics
///
/// In CI, if it is not set.
#[must_use]
#[expect(
    clippy::print_stderr,
    reason = "a test that is not run must say so, and why"
)]
pub fn named(variable: &str) -> Option<String> {
    let found = env::var(variable).ok().filter(|value| !value.is_empty());
    assert!(
        found.is_some() || env::var_os("CI").is_none(),
        "{variable} is not set: `cargo xtask test` starts what it names"
    );
    if found.is_none() {
        eprintln!("not run: {variable} is not set; `cargo xtask services` starts what it names");
    }
    found
}

/// The program that a variable names; none is a failure in CI.
///
/// # Panics
///
/// As [`named`].
#[must_use]
pub fn named_program(variable: &str) -> Option<PathBuf> {
    named(variable).map(PathBuf::from)
}

/// How long `focus-server recordings load` may take for what a test needs.
const LOADED_WITHIN: Duration = Duration::from_secs(60);

/// A database with recordings, and a virtual host, which nobody else has.
#[derive(Debug)]
pub struct Parts {
    /// The MongoDB server, `mongodb://HOST:PORT`.
    pub mongodb: Url,
    /// The database.
    pub database: String,
    /// The broker with the virtual host, `amqp://USER:PASSWORD@HOST:PORT/VHOST`.
    pub amqp: Url,
    management: Url,
}

impl Parts {
    /// Takes a database and a virtual host; none if a service is not there.
    ///
    /// # Errors
    ///
    /// If a service is named, and does not do what it is asked for.
    pub async fn take() -> Result<Option<Self>> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let named = [
            "TESTMESH_MONGODB_URI",
            "TESTMESH_AMQP_URI",
            "TESTMESH_RABBITMQ_API",
        ]
        .map(named);
        let [Some(mongodb), Some(amqp), Some(management)] = named else {
            return Ok(None);
        };
        // Another test of the process may have done so.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("testmesh-e2e-{}-{number}", process::id());
        let mut amqp = Url::parse(&amqp)?;
        amqp.set_path(&name);
        let parts = Self {
            mongodb: Url::parse(&mongodb)?,
            database: name,
            amqp,
            management: Url::parse(&management)?,
        };
        parts.manage(Method::PUT, "vhosts/{}", None).await?;
        let all = r#"{"configure":".*","write":".*","read":".*"}"#;
        let user = parts.management.username().to_owned();
        parts
            .manage(Method::PUT, &format!("permissions/{{}}/{user}"), Some(all))
            .await?;
        parts.load().await?;
        Ok(Some(parts))
    }

    /// Removes the database and the virtual host.
    ///
    /// # Errors
    ///
    /// If a service does not do so.
    pub async fn give_back(self) -> Result<()> {
        let client = Client::with_uri_str(self.mongodb.as_str()).await?;
        client.database(&self.database).drop().await?;
        self.manage(Method::DELETE, "vhosts/{}", None).await
    }

    /// How many queues are left in the virtual host.
    ///
    /// # Errors
    ///
    /// If the broker does not say.
    pub async fn queues(&self) -> Result<Vec<String>> {
        let response = self.request(Method::GET, "queues/{}").send().await?;
        let queues: serde_json::Value = serde_json::from_slice(&response.bytes().await?)?;
        let names = queues.as_array().into_iter().flatten();
        Ok(names
            .filter_map(|queue| queue["name"].as_str().map(str::to_owned))
            .collect())
    }

    /// Host and port of one of the services.
    ///
    /// # Errors
    ///
    /// If its address has none.
    pub fn host_and_port(url: &Url) -> Result<String> {
        let host = url.host_str().context("the address has a host")?;
        let port = url.port().context("the address has a port")?;
        Ok(format!("{host}:{port}"))
    }

    async fn load(&self) -> Result<()> {
        let (from, to, rows_to) = ("1700000000", "1700003600", "1700000060");
        let args = [
            ["recordings", "load"],
            ["--mongodb", self.mongodb.as_str()],
            ["--mongodb-database", &self.database],
            ["--from", from],
            ["--to", to],
            ["--view", "data-flow"],
            ["--rows-from", from],
            ["--rows-to", rows_to],
        ];
        let args = args.concat().into_iter().map(str::to_owned);
        let args: Vec<_> = args.collect();
        let mut load = Process::start(&binary("focus-server"), &args, &[])?;
        let status = load.ended(LOADED_WITHIN).await?;
        ensure!(status.success(), "{status}: {}", load.stderr());
        Ok(())
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let mut url = self.management.clone();
        url.set_path(&format!("api/{}", path.replace("{}", &self.database)));
        reqwest::Client::new().request(method, url)
    }

    async fn manage(&self, method: Method, path: &str, body: Option<&'static str>) -> Result<()> {
        let request = self
            .request(method, path)
            .header("content-type", "application/json");
        let request = match body {
            Some(body) => request.body(body),
            None => request,
        };
        let status = request.send().await?.status();
        ensure!(
            status.is_success(),
            "the broker answered {status} to {path}"
        );
        Ok(())
    }
}
