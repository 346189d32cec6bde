//! A coordinator that does what its test says.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use testmesh_agent::{Agent, AgentError, Config};
use testmesh_proto::v1::agent_message::Kind as FromAgent;
use testmesh_proto::v1::coordinator_message::Kind as ToAgent;
use testmesh_proto::v1::mesh_server::{Mesh, MeshServer};
use testmesh_proto::v1::{self, AgentMessage, CoordinatorMessage};
use testmesh_shared::digest::Digest;
use testmesh_shared::shutdown::{Shutdown, Tasks};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};
use url::Url;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// One connection of an agent, as the coordinator sees it.
pub(crate) struct Connection {
    from: Streaming<AgentMessage>,
    to: mpsc::Sender<Result<CoordinatorMessage, Status>>,
}

struct Service {
    connections: mpsc::Sender<Connection>,
}

#[tonic::async_trait]
impl Mesh for Service {
    type LinkStream = ReceiverStream<Result<CoordinatorMessage, Status>>;

    async fn link(
        &self,
        request: Request<Streaming<AgentMessage>>,
    ) -> Result<Response<Self::LinkStream>, Status> {
        let (to, messages) = mpsc::channel(64);
        let connection = Connection {
            from: request.into_inner(),
            to,
        };
        let taken = self.connections.send(connection).await;
        taken.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

/// A coordinator and one agent.
pub(crate) struct Scene {
    connections: Mutex<mpsc::Receiver<Connection>>,
    pub(crate) shutdown: Shutdown,
    pub(crate) agent: JoinHandle<Result<(), AgentError>>,
    _tasks: Tasks,
}

impl Scene {
    /// Starts both.
    pub(crate) async fn start(configure: impl FnOnce(&mut Config)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let (connected, connections) = mpsc::channel(4);
        let shutdown = Shutdown::new();
        let tasks = Tasks::new(shutdown.clone());
        let server = tonic::transport::Server::builder()
            .add_service(MeshServer::new(Service {
                connections: connected,
            }))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tasks.spawn_detached("coordinator", async move {
            server.await.unwrap();
        });
        let url = Url::parse(&format!("http://{address}")).unwrap();
        let mut config = Config::new(url, "a-1".parse().unwrap(), "haifa".parse().unwrap(), 1);
        config.labels = BTreeMap::from([("disk".to_owned(), "fast".to_owned())]);
        configure(&mut config);
        let agent = Agent::new(config, None).unwrap();
        let agent = tasks.spawn("agent", agent.run(shutdown.clone()));
        Self {
            connections: Mutex::new(connections),
            shutdown,
            agent,
            _tasks: tasks,
        }
    }

    /// The agent's next connection, before its Hello.
    pub(crate) async fn connection(&self) -> Connection {
        let mut connections = self.connections.lock().await;
        let next = tokio::time::timeout(PATIENCE, connections.recv()).await;
        next.expect("the agent dials in").expect("the server lives")
    }

    /// The agent's next connection, welcomed.
    pub(crate) async fn welcomed(&self) -> Connection {
        let mut connection = self.connection().await;
        let hello = connection.next().await;
        assert!(matches!(hello, FromAgent::Hello(_)), "{hello:?}");
        let welcome = v1::Welcome {
            protocol: 1,
            version: "test".into(),
            epoch: 1,
            heartbeat_ms: 200,
            lease_ms: 60_000,
        };
        connection.say(ToAgent::Welcome(welcome)).await;
        connection
    }

    /// Waits for the agent's end.
    pub(crate) async fn ended(self) -> Result<(), AgentError> {
        let ended = tokio::time::timeout(PATIENCE, self.agent).await;
        ended
            .expect("the agent ends")
            .expect("the agent does not panic")
    }
}

impl Connection {
    pub(crate) async fn say(&self, kind: ToAgent) {
        let message = CoordinatorMessage { kind: Some(kind) };
        self.to.send(Ok(message)).await.expect("the agent listens");
    }

    pub(crate) async fn refuse(&self, status: Status) {
        self.to.send(Err(status)).await.expect("the agent listens");
    }

    /// The agent's next message that is neither a heartbeat nor a clock probe; probes are answered.
    pub(crate) async fn next(&mut self) -> FromAgent {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.from.message()).await;
            let message = message
                .expect("the agent says something")
                .expect("the link holds");
            match message
                .expect("the link is open")
                .kind
                .expect("a known kind")
            {
                FromAgent::Heartbeat(_) => {}
                FromAgent::ClockProbe(probe) => {
                    let reply = v1::ClockReply {
                        probe_sent_ns: probe.sent_ns,
                        received_ns: probe.sent_ns,
                        replied_ns: probe.sent_ns,
                    };
                    self.say(ToAgent::ClockReply(reply)).await;
                }
                kind => return kind,
            }
        }
    }

    /// As [`Connection::next`], with batches collected and not acknowledged.
    pub(crate) async fn next_but_batches(&mut self, batches: &mut Vec<v1::Batch>) -> FromAgent {
        loop {
            match self.next().await {
                FromAgent::Batch(batch) => batches.push(batch),
                other => return other,
            }
        }
    }

    /// Sends a plan, in chunks, and asks the agent to prepare it alone.
    pub(crate) async fn prepare(&self, run: &str, plan: &str) {
        let digest = Digest::of(plan.as_bytes()).to_string();
        let total = plan.len() as u64;
        for (at, part) in plan.as_bytes().chunks(40).enumerate() {
            let offset = at as u64 * 40;
            let chunk = v1::BlobChunk {
                digest: digest.clone(),
                total,
                offset,
                content: part.to_vec(),
            };
            self.say(ToAgent::Blob(chunk)).await;
        }
        let share = v1::Share {
            scenario: "s".into(),
            offsets: vec![0],
            cycle: 1,
        };
        let prepare = v1::Prepare {
            run: run.into(),
            plan_file: "plan.yaml".into(),
            plan_digest: digest,
            vars: "{}".into(),
            seed: 7,
            agent_count: 1,
            shares: vec![share],
            ..v1::Prepare::default()
        };
        self.say(ToAgent::Prepare(prepare)).await;
    }

    pub(crate) async fn start(&self, run: &str, saves: &str) {
        let start = v1::Start {
            run: run.into(),
            at_ns: 0,
            saves: saves.into(),
        };
        self.say(ToAgent::Start(start)).await;
    }

    pub(crate) async fn stop(&self, run: &str, mode: v1::stop::Mode) {
        self.say(ToAgent::Stop(v1::Stop {
            run: run.into(),
            mode: mode.into(),
        }))
        .await;
    }
}

/// The sum of a counter over batches, each number once.
pub(crate) fn count(batches: &[v1::Batch], metric: &str) -> u64 {
    let unique: BTreeMap<u64, &v1::Batch> =
        batches.iter().map(|batch| (batch.seq, batch)).collect();
    let deltas = unique
        .values()
        .flat_map(|batch| batch.counters.iter().map(move |delta| (batch, delta)));
    let named = deltas.filter(|(batch, delta)| {
        let labels = delta.labels.as_ref().unwrap();
        batch.strings[labels.metric as usize] == metric
    });
    named.map(|(_, delta)| delta.value).sum()
}

/// Numbers of batches, in the order of arrival.
pub(crate) fn numbers(batches: &[v1::Batch]) -> Vec<u64> {
    batches.iter().map(|batch| batch.seq).collect()
}
