//! Real RabbitMQ brokers for tests: the shared one that the environment names, and own ones that may be killed.

use std::env;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lapin::options::{BasicPublishOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

/// What a variable says; not being set is a failure in CI.
#[expect(
    clippy::print_stderr,
    reason = "the lint knows tests by their attribute alone, and this is called by them"
)]
fn variable(name: &str) -> Option<String> {
    let found = env::var(name).ok();
    assert!(
        found.is_some() || env::var_os("CI").is_none(),
        "{name} is not set: `cargo xtask test` starts what it names"
    );
    if found.is_none() {
        eprintln!("not run: {name} is not set");
    }
    found
}

/// The URI of the broker that tests share: each uses names of its own there.
pub(crate) fn uri() -> Option<String> {
    variable("TESTMESH_AMQP_URI")
}

/// The URL of its management API.
pub(crate) fn api() -> Option<String> {
    variable("TESTMESH_RABBITMQ_API")
}

/// The other side of what is tested: what it makes is gone with it.
pub(crate) struct Tester {
    pub(crate) channel: Channel,
    _connection: Connection,
    queues: Vec<String>,
}

impl Tester {
    pub(crate) async fn connect(uri: &str) -> Self {
        let connection = Connection::connect(uri, ConnectionProperties::default())
            .await
            .expect("the broker that the environment names is there");
        let channel = connection.create_channel().await.expect("a channel");
        Self {
            channel,
            _connection: connection,
            queues: Vec::new(),
        }
    }

    /// A queue with a name of this test's own, and these arguments.
    pub(crate) async fn queue(&mut self, name: &str, arguments: &[(&str, AMQPValue)]) -> String {
        let name = format!("testmesh-{}-{name}", std::process::id());
        let mut table = FieldTable::default();
        // Should the test be killed, the broker tidies up.
        table.insert("x-expires".into(), AMQPValue::LongLongInt(120_000));
        for (key, value) in arguments {
            table.insert((*key).into(), value.clone());
        }
        let options = QueueDeclareOptions::durable();
        self.delete(&name).await;
        let made = self
            .channel
            .queue_declare(name.as_str().into(), options, table);
        made.await.expect("a queue");
        self.queues.push(name.clone());
        name
    }

    pub(crate) async fn delete(&self, name: &str) {
        let deleted = self
            .channel
            .queue_delete(name.into(), QueueDeleteOptions::default());
        deleted.await.expect("a queue that may not be there");
    }

    pub(crate) async fn publish(&self, exchange: &str, key: &str, text: &str) {
        let published = self.channel.basic_publish(
            exchange.into(),
            key.into(),
            BasicPublishOptions::default(),
            text.as_bytes(),
            BasicProperties::default(),
        );
        published.await.expect("a message is sent");
    }

    /// How many messages wait in a queue.
    pub(crate) async fn depth(&self, queue: &str) -> u32 {
        let options = QueueDeclareOptions::default().passive();
        let asked = self
            .channel
            .queue_declare(queue.into(), options, FieldTable::default());
        asked.await.expect("the queue is there").message_count()
    }

    /// Waits until so many messages wait in a queue: publishing without confirmation takes its time.
    pub(crate) async fn until_depth(&self, queue: &str, depth: u32) {
        let start = Instant::now();
        loop {
            let now = self.depth(queue).await;
            if now == depth {
                return;
            }
            let late = start.elapsed() > Duration::from_secs(10);
            assert!(!late, "{queue} has {now} messages, not {depth}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn end(self) {
        for queue in &self.queues {
            self.delete(queue).await;
        }
    }
}

/// A broker of a test's own, with nothing in it.
pub(crate) struct Rabbit {
    child: Child,
    folder: TempDir,
    port: u16,
    names_port: u16,
}

/// Ports that nobody has, each another.
async fn free_ports<const N: usize>() -> [u16; N] {
    let mut held = Vec::new();
    for _ in 0..N {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        held.push(listener.expect("a free port"));
    }
    std::array::from_fn(|at| held[at].local_addr().expect("an address").port())
}

impl Rabbit {
    /// Starts one, if the environment names the program, and waits until it answers.
    pub(crate) async fn start() -> Option<Self> {
        let program = PathBuf::from(variable("TESTMESH_RABBITMQ_SERVER")?);
        // Between looking for a free port and listening on it, somebody else may take it.
        for _ in 0..3 {
            let mut rabbit = Self::spawn(&program).await;
            if rabbit.is_ready().await {
                return Some(rabbit);
            }
        }
        panic!("no broker starts: see {}", program.display())
    }

    async fn spawn(program: &Path) -> Self {
        let folder = TempDir::new().expect("a folder");
        let [port, names_port, between_nodes] = free_ports().await;
        let path = |name: &str| folder.path().join(name).display().to_string();
        let config = format!("listeners.tcp.1 = 127.0.0.1:{port}\n");
        std::fs::write(folder.path().join("rabbitmq.conf"), config).expect("written");
        std::fs::write(folder.path().join("plugins"), "[].\n").expect("written");
        let child = Command::new(program)
            .env("HOME", folder.path())
            .env("RABBITMQ_NODENAME", format!("t{port}@localhost"))
            .env("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf"))
            .env("RABBITMQ_MNESIA_BASE", path("data"))
            .env("RABBITMQ_LOG_BASE", path("log"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", path("plugins"))
            .env("RABBITMQ_DIST_PORT", between_nodes.to_string())
            .env("ERL_EPMD_PORT", names_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            // So that it may be ended before it has seen that the broker is gone.
            .env("ERL_EPMD_RELAXED_COMMAND_CHECK", "1")
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("ERL_CRASH_DUMP", path("crash"))
            .current_dir(folder.path())
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none",
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Of its own: the program is a script whose children are the broker.
            .process_group(0)
            .spawn()
            .expect("the program that the environment names starts");
        Self {
            child,
            folder,
            port,
            names_port,
        }
    }

    /// Waits until it answers; not if it has ended.
    async fn is_ready(&mut self) -> bool {
        let start = Instant::now();
        while let Err(error) =
            Connection::connect(&self.uri(), ConnectionProperties::default()).await
        {
            if let Ok(Some(_)) = self.child.try_wait() {
                return false;
            }
            let late = start.elapsed() > Duration::from_secs(90);
            let folder = self.folder.path().display();
            assert!(!late, "the broker in {folder} does not answer: {error}");
            sleep(Duration::from_millis(250)).await;
        }
        true
    }

    pub(crate) fn uri(&self) -> String {
        format!("amqp://127.0.0.1:{}", self.port)
    }

    /// Kills it, as a crash of its machine would.
    pub(crate) fn kill(&mut self) {
        let group = format!("-{}", self.child.id());
        let killed = Command::new("kill").args(["-KILL", "--", &group]).status();
        killed.expect("`kill` runs");
        self.child.wait().expect("it was ours");
    }
}

impl Drop for Rabbit {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.kill();
        }
        // The name server goes its own way otherwise.
        let _ = Command::new("epmd")
            .args(["-port", &self.names_port.to_string(), "-kill"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}
