//! The kit of these tests: a real coordinator, links that say what a test wants, and a command line's calls.
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use testmesh_coordinator::app::{Config, Coordinator, Handle};
use testmesh_proto::v1::agent_message::Kind as Said;
use testmesh_proto::v1::control_client::ControlClient;
use testmesh_proto::v1::coordinator_message::Kind;
use testmesh_proto::v1::mesh_client::MeshClient;
use testmesh_proto::v1::{self, AgentMessage, CoordinatorMessage};
use testmesh_shared::digest::Digest;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

pub(crate) const PLAN: &str = "
testmesh: v1
name: naps
scenarios:
  s:
    load: { virtual_users: 1, for: 300ms }
    stages:
      - name: nap
        wait: { for: 10ms }
";

pub(crate) struct World {
    pub(crate) coordinator: Handle,
    channel: Channel,
}

pub(crate) struct Link {
    said: mpsc::Sender<AgentMessage>,
    heard: Streaming<CoordinatorMessage>,
}

pub(crate) fn hello(agent: &str) -> v1::Hello {
    v1::Hello {
        agent: agent.into(),
        epoch: 1,
        site: "local".into(),
        version: "9.9.9".into(),
        protocol_min: 1,
        protocol_max: 1,
        capacity: Some(v1::Capacity {
            runtimes: 1,
            sessions: 0,
            drivers: vec!["wait".into()],
        }),
        ..v1::Hello::default()
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let coordinator = Coordinator::start(Config::local(listen)).await.unwrap();
        let url = format!("http://{}", coordinator.address());
        let channel = Channel::from_shared(url).unwrap().connect().await.unwrap();
        Self {
            coordinator,
            channel,
        }
    }

    pub(crate) fn control(&self) -> ControlClient<Channel> {
        ControlClient::new(self.channel.clone())
    }

    pub(crate) async fn link(&self, first: Said) -> Link {
        let (said, messages) = mpsc::channel(16);
        said.send(AgentMessage { kind: Some(first) }).await.unwrap();
        let heard = MeshClient::new(self.channel.clone())
            .link(ReceiverStream::new(messages))
            .await
            .unwrap();
        Link {
            said,
            heard: heard.into_inner(),
        }
    }

    pub(crate) async fn agent(&self, name: &str) -> Link {
        let mut link = self.link(Said::Hello(hello(name))).await;
        assert!(matches!(link.hear().await, Ok(Some(Kind::Welcome(_)))));
        link
    }

    pub(crate) async fn put(&self, content: &[u8]) -> String {
        let digest = Digest::of(content).to_string();
        let total = u64::try_from(content.len()).unwrap();
        let chunk = v1::BlobChunk {
            digest: digest.clone(),
            total,
            offset: 0,
            content: content.to_vec(),
        };
        self.control()
            .put_blob(tokio_stream::iter([chunk]))
            .await
            .unwrap();
        digest
    }

    pub(crate) async fn submit(&self, plan: &str, agents: u32) -> v1::SubmitReply {
        let plan_digest = self.put(plan.as_bytes()).await;
        let plan_file = "plan.yaml".to_owned();
        let request = v1::SubmitRequest {
            plan_file,
            plan_digest,
            agents,
            ..v1::SubmitRequest::default()
        };
        self.control().submit(request).await.unwrap().into_inner()
    }

    /// One file of a run's report.
    pub(crate) async fn file(&self, run: &str, file: &str) -> Result<Vec<u8>, Status> {
        let request = v1::GetReportRequest {
            run: run.to_owned(),
            files: vec![file.to_owned()],
        };
        let mut chunks = self.control().get_report(request).await?.into_inner();
        let mut content = Vec::new();
        while let Some(chunk) = chunks.message().await? {
            content.extend(chunk.content);
        }
        Ok(content)
    }

    /// Follows a run to its end, from after this event on.
    pub(crate) async fn follow(&self, run: &str, after: u64) -> (Vec<v1::RunEvent>, v1::RunEnded) {
        let request = v1::WatchRequest {
            run: run.to_owned(),
            after,
        };
        let mut stream = self.control().watch(request).await.unwrap().into_inner();
        let mut events: Vec<v1::RunEvent> = Vec::new();
        loop {
            let event = stream
                .message()
                .await
                .unwrap()
                .expect("the last event is the end");
            assert!(event.number > events.last().map_or(after, |last| last.number));
            if let Some(v1::run_event::Kind::Ended(ended)) = event.kind.clone() {
                return (events, ended);
            }
            events.push(event);
        }
    }
}

impl Link {
    pub(crate) async fn hear(&mut self) -> Result<Option<Kind>, Status> {
        let message = tokio::time::timeout(Duration::from_secs(20), self.heard.message()).await;
        Ok(message
            .expect("the coordinator answers or hangs up")?
            .and_then(|message| message.kind))
    }

    pub(crate) async fn say(&self, kind: Said) {
        self.said
            .send(AgentMessage { kind: Some(kind) })
            .await
            .unwrap();
    }

    /// The status that ends the link.
    pub(crate) async fn end(&mut self) -> Status {
        loop {
            match self.hear().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("a link ends with a reason"),
                Err(status) => return status,
            }
        }
    }
}
