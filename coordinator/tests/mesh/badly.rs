//! What the coordinator says to those who speak its protocol, well and badly.
use crate::kit::{PLAN, World, hello};
use std::time::Duration;
use testmesh_proto::v1;
use testmesh_proto::v1::agent_message::Kind as Said;
use testmesh_proto::v1::coordinator_message::Kind;
use testmesh_shared::digest::Digest;
use tonic::Code;

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
    let json = world.file(&run, "report.json").await.unwrap();
    let report: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(report["run"]["id"], run.as_str());
    assert_eq!(
        world.file(&run, "nothing.txt").await.unwrap_err().code(),
        Code::NotFound
    );
}

#[tokio::test]
async fn an_agent_that_missed_its_release_is_told_again() {
    let world = World::start().await;
    let mut agent = world.agent("a").await;
    // As it says after a reconnect, of a run that has been sealed meanwhile.
    let drained = v1::Drained {
        run: "gone".into(),
        epoch: 1,
        last_seq: 0,
        started_late_ns: 0,
    };
    agent.say(Said::Drained(drained)).await;
    let Ok(Some(Kind::Release(release))) = agent.hear().await else {
        panic!("a release")
    };
    assert_eq!(release.run, "gone");
}

#[tokio::test]
async fn a_coordinator_that_drains_lets_its_links_go() {
    let world = World::start().await;
    let mut agent = world.agent("a").await;
    world.coordinator.stop(Duration::from_secs(10)).await;
    assert_eq!(agent.end().await.code(), Code::Aborted);
}
