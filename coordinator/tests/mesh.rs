//! The coordinator over real sockets: what it says to those who speak its protocol badly, and that nobody else notices.
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
use tonic::{Code, Status, Streaming};

const PLAN: &str = "
testmesh: v1
name: naps
scenarios:
  s:
    load: { virtual_users: 1, for: 300ms }
    stages:
      - name: nap
        wait: { for: 10ms }
";

struct World {
    coordinator: Handle,
    channel: Channel,
}

struct Link {
    said: mpsc::Sender<AgentMessage>,
    heard: Streaming<CoordinatorMessage>,
}

fn hello(agent: &str) -> v1::Hello {
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
    async fn start() -> Self {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let coordinator = Coordinator::start(Config::local(listen)).await.unwrap();
        let url = format!("http://{}", coordinator.address());
        let channel = Channel::from_shared(url).unwrap().connect().await.unwrap();
        Self {
            coordinator,
            channel,
        }
    }

    fn control(&self) -> ControlClient<Channel> {
        ControlClient::new(self.channel.clone())
    }

    async fn link(&self, first: Said) -> Link {
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

    async fn agent(&self, name: &str) -> Link {
        let mut link = self.link(Said::Hello(hello(name))).await;
        assert!(matches!(link.hear().await, Ok(Some(Kind::Welcome(_)))));
        link
    }

    async fn put(&self, content: &[u8]) -> String {
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

    async fn submit(&self, plan: &str, agents: u32) -> v1::SubmitReply {
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

    /// Follows a run to its end, from after this event on.
    async fn follow(&self, run: &str, after: u64) -> (Vec<v1::RunEvent>, v1::RunEnded) {
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
    async fn hear(&mut self) -> Result<Option<Kind>, Status> {
        let message = tokio::time::timeout(Duration::from_secs(20), self.heard.message()).await;
        Ok(message
            .expect("the coordinator answers or hangs up")?
            .and_then(|message| message.kind))
    }

    async fn say(&self, kind: Said) {
        self.said
            .send(AgentMessage { kind: Some(kind) })
            .await
            .unwrap();
    }

    /// The status that ends the link.
    async fn end(&mut self) -> Status {
        loop {
            match self.hear().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("a link ends with a reason"),
                Err(status) => return status,
            }
        }
    }
}

#[tokio::test]
async fn another_protocol_is_refused_with_both_versions_named() {
    let world = World::start().await;
    let newer = v1::Hello {
        protocol_min: 7,
        protocol_max: 8,
        ..hello("new")
    };
    let status = world.link(Said::Hello(newer)).await.end().await;
    assert_eq!(status.code(), Code::FailedPrecondition);
    for part in [
        "9.9.9",
        "protocol 7 to 8",
        env!("CARGO_PKG_VERSION"),
        "protocol 1",
    ] {
        assert!(
            status.message().contains(part),
            "{part}: {}",
            status.message()
        );
    }
}

#[tokio::test]
async fn a_link_that_speaks_badly_is_cut_and_the_others_are_not() {
    let world = World::start().await;
    let mut good = world.agent("good").await;
    let heartbeat = || Said::Heartbeat(v1::Heartbeat::default());
    assert_eq!(
        world.link(heartbeat()).await.end().await.code(),
        Code::FailedPrecondition,
        "no Hello"
    );
    let path = v1::Hello {
        agent: "../../etc".into(),
        ..hello("x")
    };
    assert_eq!(
        world.link(Said::Hello(path)).await.end().await.code(),
        Code::FailedPrecondition,
        "no name"
    );
    let taken = v1::Hello {
        epoch: 2,
        ..hello("good")
    };
    let status = world.link(Said::Hello(taken)).await.end().await;
    assert!(
        status.message().contains("`good` is connected already"),
        "{status}"
    );
    let mut twice = world.agent("twice").await;
    twice.say(Said::Hello(hello("twice"))).await;
    assert_eq!(twice.end().await.code(), Code::Aborted);
    let mut large = world.agent("large").await;
    let saves = "x".repeat(20 * 1024 * 1024);
    large
        .say(Said::SetUpDone(v1::SetUpDone {
            run: "r".into(),
            error: String::new(),
            saves,
        }))
        .await;
    assert!(large.hear().await.is_err(), "a message above the limit");
    good.say(Said::ClockProbe(v1::ClockProbe { sent_ns: 7 }))
        .await;
    let Ok(Some(Kind::ClockReply(reply))) = good.hear().await else {
        panic!("the good link lives")
    };
    assert!(
        reply.probe_sent_ns == 7 && reply.received_ns > 0 && reply.replied_ns >= reply.received_ns
    );
    let listed = world
        .control()
        .list_agents(v1::ListAgentsRequest {})
        .await
        .unwrap()
        .into_inner();
    let alive: Vec<_> = listed
        .agents
        .iter()
        .filter(|agent| agent.status == "alive")
        .collect();
    assert_eq!(alive.len(), 1, "{listed:?}");
    assert_eq!(
        (alive[0].agent.as_str(), alive[0].version.as_str()),
        ("good", "9.9.9")
    );
}

#[tokio::test]
async fn bad_requests_are_answered_with_a_way_out() {
    let world = World::start().await;
    let mut control = world.control();
    let chunk = v1::BlobChunk {
        digest: "0".repeat(32),
        total: 1,
        offset: 0,
        content: vec![1],
    };
    let status = control
        .put_blob(tokio_stream::iter([chunk]))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let absent = v1::SubmitRequest {
        plan_digest: "0".repeat(32),
        ..v1::SubmitRequest::default()
    };
    assert_eq!(
        control.submit(absent).await.unwrap_err().code(),
        Code::FailedPrecondition
    );
    let refused = world
        .submit("testmesh: v1\nname: x\nscenarioz: {}\n", 0)
        .await;
    assert!(
        refused.run.is_empty() && !refused.problems.is_empty(),
        "{refused:?}"
    );
    assert!(
        refused
            .problems
            .iter()
            .all(|problem| problem.file == "plan.yaml" && problem.line > 0),
        "{refused:?}"
    );
    for run in ["nobody", "../x"] {
        let status = control
            .get_run(v1::GetRunRequest { run: run.into() })
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::NotFound, "{status}");
        let status = control
            .watch(v1::WatchRequest {
                run: run.into(),
                after: 0,
            })
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::NotFound, "{status}");
    }
    let status = control
        .drain_agent(v1::DrainAgentRequest { agent: "a".into() })
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}

#[tokio::test]
async fn a_run_is_followed_resumed_and_its_report_fetched() {
    let world = World::start().await;
    let mut agent = world.agent("a").await;
    let run = world.submit(PLAN, 1).await.run;
    let mut plan = Vec::new();
    loop {
        match agent.hear().await.unwrap() {
            Some(Kind::Blob(chunk)) => plan.extend(chunk.content),
            Some(Kind::Prepare(prepare)) => {
                assert_eq!(prepare.plan_digest, Digest::of(&plan).to_string());
                assert_eq!(
                    (
                        prepare.run.as_str(),
                        prepare.agent_count,
                        prepare.shares.len()
                    ),
                    (run.as_str(), 1, 1)
                );
                agent.say(Said::Armed(v1::Armed { run: run.clone() })).await;
            }
            Some(Kind::Start(start)) => {
                assert!(start.at_ns > 0);
                let drained = v1::Drained {
                    run: run.clone(),
                    epoch: 1,
                    last_seq: 0,
                    started_late_ns: 0,
                };
                agent.say(Said::Drained(drained)).await;
            }
            Some(Kind::Release(_)) => break,
            other => panic!("{other:?}"),
        }
    }
    let (events, ended) = world.follow(&run, 0).await;
    assert_eq!(
        (ended.verdict.as_str(), ended.exit_code),
        ("inconclusive", 10),
        "nothing was started"
    );
    let resumed = world.follow(&run, events[2].number).await.0;
    let numbers =
        |events: &[v1::RunEvent]| events.iter().map(|event| event.number).collect::<Vec<_>>();
    assert!(
        numbers(&events).ends_with(&numbers(&resumed)),
        "{:?} {:?}",
        numbers(&events),
        numbers(&resumed)
    );
    let request = v1::GetReportRequest {
        run: run.clone(),
        files: vec!["report.json".into()],
    };
    let mut chunks = world
        .control()
        .get_report(request)
        .await
        .unwrap()
        .into_inner();
    let mut json = Vec::new();
    while let Some(chunk) = chunks.message().await.unwrap() {
        json.extend(chunk.content);
    }
    let report: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(report["run"]["id"], run.as_str());
    let request = v1::GetReportRequest {
        run,
        files: vec!["nothing.txt".into()],
    };
    assert_eq!(
        world
            .control()
            .get_report(request)
            .await
            .unwrap_err()
            .code(),
        Code::NotFound
    );
}

#[tokio::test]
async fn a_coordinator_that_drains_lets_its_links_go() {
    let world = World::start().await;
    let mut agent = world.agent("a").await;
    world.coordinator.stop(Duration::from_secs(10)).await;
    assert_eq!(agent.end().await.code(), Code::Aborted);
}
