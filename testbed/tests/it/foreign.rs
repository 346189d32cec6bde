//! The servers that the testbed uses: a MongoDB and a RabbitMQ, named in the environment, and a place of its own in each
//! for every test. Where one cannot be had its tests say so and, in CI, fail.

use std::env;
use std::process::{Command, Stdio};

use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};
use mongodb::bson::{Document, doc};
use mongodb::{Client, Collection, Database};
use serde_json::Value;
use testmesh_testbed::Config;
use tokio::time::timeout;

use crate::kit::PATIENCE;

/// The address that a variable names; none is a failure in CI.
fn address(variable: &str) -> Option<String> {
    let found = env::var(variable).ok().filter(|text| !text.is_empty());
    assert!(
        found.is_some() || env::var_os("CI").is_none(),
        "{variable} is not set: `cargo xtask test` starts what it names"
    );
    if found.is_none() {
        eprintln!("not run: {variable} is not set");
    }
    found
}

/// A name that no other test, process or run has.
fn unique(name: &str) -> String {
    format!("testbed-{name}-{}-{:x}", std::process::id(), rand_word())
}

fn rand_word() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

/// A database of its own.
pub(crate) struct Mongo {
    uri: String,
    pub(crate) database: Database,
}

impl Mongo {
    pub(crate) async fn fresh(name: &str) -> Option<Self> {
        let uri = address("TESTMESH_MONGODB_URI")?;
        let client = Client::with_uri_str(&uri).await.unwrap();
        let database = client.database(&unique(name));
        Some(Self { uri, database })
    }

    /// Host and port, for a proxy.
    pub(crate) fn host(&self) -> &str {
        let (_, rest) = self.uri.split_once("://").unwrap();
        let rest = rest.rsplit_once('@').map_or(rest, |(_, hosts)| hosts);
        rest.split(['/', '?', ',']).next().unwrap()
    }

    pub(crate) fn config(&self) -> Config {
        self.config_at(self.host())
    }

    /// A testbed whose MongoDB is at a proxy.
    pub(crate) fn config_at(&self, host: &str) -> Config {
        let uri = format!("mongodb://{host}");
        Config {
            mongodb: Some(uri.parse().unwrap()),
            mongodb_database: self.database.name().to_owned(),
            ..Config::quick()
        }
    }

    /// Runs `focus-server recordings load`.
    pub(crate) fn load(&self, args: &[&str]) -> Value {
        let output = Command::new(env!("CARGO_BIN_EXE_focus-server"))
            .args(["recordings", "load", "--mongodb", &self.uri])
            .args(["--mongodb-database", self.database.name()])
            .args(args)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub(crate) fn collection(&self, name: &str) -> Collection<Document> {
        self.database.collection(name)
    }

    /// The collection of the default storage path's recordings.
    pub(crate) async fn guid(&self) -> String {
        let path = doc! { "base_path": "/focus/root/recordings" };
        let found = self.collection("base_paths").find_one(path).await.unwrap();
        found.unwrap().get_str("guid").unwrap().to_owned()
    }

    pub(crate) async fn remove(self) {
        self.database.drop().await.unwrap();
    }
}

/// A virtual host of its own.
pub(crate) struct Rabbit {
    authority: String,
    vhost: String,
    api: String,
    http: reqwest::Client,
}

impl Rabbit {
    pub(crate) async fn fresh(name: &str) -> Option<Self> {
        let uri = address("TESTMESH_AMQP_URI")?;
        let api = address("TESTMESH_RABBITMQ_API")?;
        let _ = rustls::crypto::ring::default_provider().install_default();
        let authority = uri.trim_start_matches("amqp://");
        let authority = authority.split(['/', '?']).next().unwrap().to_owned();
        let rabbit = Self {
            authority,
            vhost: unique(name),
            api,
            http: reqwest::Client::new(),
        };
        let user = rabbit.authority.split([':', '@']).next().unwrap_or("guest");
        rabbit.put(&format!("vhosts/{}", rabbit.vhost), "{}").await;
        let all = r#"{"configure":".*","write":".*","read":".*"}"#;
        let permissions = format!("permissions/{}/{user}", rabbit.vhost);
        rabbit.put(&permissions, all).await;
        Some(rabbit)
    }

    pub(crate) fn host(&self) -> &str {
        self.authority
            .rsplit_once('@')
            .map_or(&*self.authority, |(_, host)| host)
    }

    fn uri_at(&self, host: &str) -> String {
        let user = self.authority.rsplit_once('@').map(|(user, _)| user);
        let user = user.map(|user| format!("{user}@")).unwrap_or_default();
        format!("amqp://{user}{host}/{}", self.vhost)
    }

    pub(crate) fn config(&self) -> Config {
        self.config_at(self.host())
    }

    /// A testbed whose RabbitMQ is at a proxy.
    pub(crate) fn config_at(&self, host: &str) -> Config {
        Config {
            amqp: Some(self.uri_at(host).parse().unwrap()),
            ..Config::quick()
        }
    }

    pub(crate) async fn client(&self) -> Commander {
        let uri = self.uri_at(self.host());
        let connection = Connection::connect(&uri, ConnectionProperties::default());
        let connection = timeout(PATIENCE, connection).await.unwrap().unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .unwrap();
        Commander {
            channel,
            _connection: connection,
        }
    }

    /// What the management API says of a queue; none if there is no such queue.
    pub(crate) async fn queue(&self, name: &str) -> Option<Value> {
        let url = format!("{}/api/queues/{}/{name}", self.api, self.vhost);
        let response = self.request("GET", &url, None).await;
        (response.status() != 404).then_some(())?;
        let text = response.text().await.unwrap();
        Some(serde_json::from_str(&text).unwrap())
    }

    async fn put(&self, path: &str, body: &str) {
        let url = format!("{}/api/{path}", self.api);
        let response = self.request("PUT", &url, Some(body)).await;
        assert!(response.status().is_success(), "{url}: {response:?}");
    }

    /// The credentials are in the URL, which the client takes as basic authentication.
    async fn request(&self, method: &str, url: &str, body: Option<&str>) -> reqwest::Response {
        let mut request = self
            .http
            .request(method.parse().unwrap(), url)
            .header("content-type", "application/json");
        if let Some(body) = body {
            request = request.body(body.to_owned());
        }
        timeout(PATIENCE, request.send()).await.unwrap().unwrap()
    }

    pub(crate) async fn remove(self) {
        let url = format!("{}/api/vhosts/{}", self.api, self.vhost);
        let response = self.request("DELETE", &url, None).await;
        assert!(response.status().is_success(), "{response:?}");
    }
}

/// Publishes commands, as another part of the system would.
pub(crate) struct Commander {
    channel: Channel,
    _connection: Connection,
}

impl Commander {
    pub(crate) async fn send(&self, key: &str, body: &Value) {
        self.send_with(key, &body.to_string(), FieldTable::default())
            .await;
    }

    pub(crate) async fn send_with(&self, key: &str, body: &str, headers: FieldTable) {
        let properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_delivery_mode(2)
            .with_headers(headers);
        let confirm = self.channel.basic_publish(
            "focus".into(),
            key.into(),
            BasicPublishOptions::default(),
            body.as_bytes(),
            properties,
        );
        let confirm = timeout(PATIENCE, confirm).await.unwrap().unwrap();
        timeout(PATIENCE, confirm).await.unwrap().unwrap();
    }

    /// Everything that is published to the exchange from now on.
    pub(crate) async fn listen(&self) -> Consumer {
        let name = unique("listener");
        let exclusive = QueueDeclareOptions::exclusive();
        self.channel
            .queue_declare(name.as_str().into(), exclusive, FieldTable::default())
            .await
            .unwrap();
        self.channel
            .queue_bind(
                name.as_str().into(),
                "focus".into(),
                "#".into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await
            .unwrap();
        let options = BasicConsumeOptions {
            no_ack: true,
            ..BasicConsumeOptions::default()
        };
        self.channel
            .basic_consume(
                name.as_str().into(),
                "".into(),
                options,
                FieldTable::default(),
            )
            .await
            .unwrap()
    }
}
