//! The whole protocol, and what happens when it is broken off.

use std::num::NonZeroUsize;
use std::time::Duration;

use testmesh_agent::AgentError;
use testmesh_agent::link::LinkError;
use testmesh_proto::v1::agent_message::Kind as FromAgent;
use testmesh_proto::v1::coordinator_message::Kind as ToAgent;
use testmesh_proto::v1::{self, stop::Mode};
use tonic::Status;

use crate::coordinator::{Scene, count, numbers};

const RUN: &str = "20261122-000000-0000";

/// Setup, five short sessions of two users, teardown.
const PLAN: &str = "
testmesh: v1
name: short
setup:
  - { name: before, wait: { for: 10ms }, save: { answer: 40 + 2 } }
scenarios:
  s:
    load: { virtual_users: 2, sessions: 5 }
    stages:
      - { name: a, wait: { for: 20ms }, expect: [run.answer == 42] }
teardown:
  - { name: after, wait: { for: 10ms }, expect: [run.answer == 42] }
";

/// One user with a session that takes a minute, and cleans up after it.
const LONG: &str = "
testmesh: v1
name: long
scenarios:
  s:
    load: { virtual_users: 1, sessions: 10 }
    graceful_stop: 100ms
    stages:
      - { name: a, wait: { for: 60s } }
    cleanup:
      - { name: c, wait: { for: 10ms } }
";

#[tokio::test]
async fn a_run_goes_from_hello_to_release() {
    let scene = Scene::start(|config| config.runtimes = NonZeroUsize::new(2).unwrap()).await;
    let mut link = scene.connection().await;
    let FromAgent::Hello(hello) = link.next().await else {
        panic!("Hello comes first")
    };
    assert_eq!(
        (hello.agent.as_str(), hello.site.as_str()),
        ("a-1", "haifa")
    );
    assert_eq!(hello.labels["disk"], "fast");
    assert!(hello.capacity.unwrap().drivers.contains(&"grpc".to_owned()));
    let welcome = v1::Welcome {
        protocol: 1,
        heartbeat_ms: 200,
        lease_ms: 60_000,
        ..v1::Welcome::default()
    };
    link.say(ToAgent::Welcome(welcome)).await;

    link.prepare(RUN, PLAN).await;
    let mut batches = Vec::new();
    let armed = link.next_but_batches(&mut batches).await;
    assert!(matches!(armed, FromAgent::Armed(_)), "{armed:?}");
    link.say(ToAgent::SetUp(v1::SetUp { run: RUN.into() }))
        .await;
    let FromAgent::SetUpDone(done) = link.next_but_batches(&mut batches).await else {
        panic!("setup ends")
    };
    assert_eq!(
        (done.error.as_str(), done.saves.as_str()),
        ("", r#"{"answer":42}"#)
    );

    link.start(RUN, &done.saves).await;
    let FromAgent::Drained(drained) = link.next_but_batches(&mut batches).await else {
        panic!("it drains")
    };
    assert_eq!(drained.last_seq, *numbers(&batches).last().unwrap());
    assert_eq!(
        numbers(&batches),
        (1..=drained.last_seq).collect::<Vec<_>>()
    );
    for (metric, expected) in [
        ("sessions_planned", 5),
        ("sessions_started", 5),
        ("sessions_passed", 5),
    ] {
        assert_eq!(count(&batches, metric), expected, "{metric}");
    }

    link.say(ToAgent::TearDown(v1::TearDown {
        run: RUN.into(),
        saves: done.saves,
    }))
    .await;
    let FromAgent::TearDownDone(done) = link.next_but_batches(&mut batches).await else {
        panic!("teardown ends")
    };
    assert_eq!(done.error, "");
    let seq = *numbers(&batches).last().unwrap();
    link.say(ToAgent::Ack(v1::Ack {
        run: RUN.into(),
        epoch: hello.epoch,
        seq,
    }))
    .await;
    link.say(ToAgent::Release(v1::Release { run: RUN.into() }))
        .await;
    scene.shutdown.drain();
    scene.ended().await.unwrap();
}

#[tokio::test]
async fn what_was_not_acknowledged_is_repeated_on_the_next_connection() {
    let scene = Scene::start(|_| ()).await;
    let mut link = scene.welcomed().await;
    link.prepare(RUN, PLAN).await;
    let (mut before, mut after) = (Vec::new(), Vec::new());
    link.next_but_batches(&mut before).await;
    link.start(RUN, r#"{"answer": 42}"#).await;
    let FromAgent::Drained(drained) = link.next_but_batches(&mut before).await else {
        panic!("it drains")
    };
    drop(link);

    let mut link = scene.welcomed().await;
    let armed = link.next_but_batches(&mut after).await;
    assert!(matches!(armed, FromAgent::Armed(_)), "{armed:?}");
    let FromAgent::Drained(again) = link.next_but_batches(&mut after).await else {
        panic!("it is drained still")
    };
    assert_eq!(again, drained);
    assert_eq!(after, before, "the same batches, byte for byte");
    // It leaves once everything is acknowledged, and not before.
    scene.shutdown.drain();
    link.say(ToAgent::Ack(v1::Ack {
        run: RUN.into(),
        epoch: drained.epoch,
        seq: drained.last_seq,
    }))
    .await;
    scene.ended().await.unwrap();
}

#[tokio::test]
async fn a_stop_drains_and_an_abort_cuts() {
    let scene = Scene::start(|_| ()).await;
    let mut link = scene.welcomed().await;
    link.prepare(RUN, LONG).await;
    let mut batches = Vec::new();
    link.next_but_batches(&mut batches).await;
    link.start(RUN, "").await;
    let FromAgent::Batch(batch) = link.next().await else {
        panic!("a running session is reported")
    };
    assert_eq!(
        batch
            .in_flight
            .iter()
            .map(|entry| entry.sessions)
            .sum::<u64>(),
        1
    );
    batches.push(batch);
    link.stop(RUN, Mode::Abort).await;
    let drained = link.next_but_batches(&mut batches).await;
    assert!(matches!(drained, FromAgent::Drained(_)), "{drained:?}");
    let ledger = ["planned", "started", "passed", "interrupted", "unstarted"]
        .map(|what| count(&batches, &format!("sessions_{what}")));
    assert_eq!(ledger, [10, 1, 0, 1, 9]);
    link.say(ToAgent::Release(v1::Release { run: RUN.into() }))
        .await;
    scene.shutdown.drain();
    scene.ended().await.unwrap();
}

#[tokio::test]
async fn an_agent_that_is_told_to_leave_drains_its_runs_first() {
    let scene = Scene::start(|_| ()).await;
    let mut link = scene.welcomed().await;
    link.prepare(RUN, LONG).await;
    let mut batches = Vec::new();
    link.next_but_batches(&mut batches).await;
    link.start(RUN, "").await;
    link.next().await;
    scene.shutdown.drain();
    let FromAgent::Drained(drained) = link.next_but_batches(&mut batches).await else {
        panic!("it drains")
    };
    link.say(ToAgent::Ack(v1::Ack {
        run: RUN.into(),
        epoch: drained.epoch,
        seq: drained.last_seq,
    }))
    .await;
    scene.ended().await.unwrap();
}

#[tokio::test]
async fn a_run_without_a_coordinator_drains_when_the_lease_ends() {
    let scene = Scene::start(|_| ()).await;
    let mut link = scene.connection().await;
    link.next().await;
    let welcome = v1::Welcome {
        protocol: 1,
        heartbeat_ms: 200,
        lease_ms: 1_000,
        ..v1::Welcome::default()
    };
    link.say(ToAgent::Welcome(welcome)).await;
    link.prepare(RUN, LONG).await;
    let mut batches = Vec::new();
    link.next_but_batches(&mut batches).await;
    link.start(RUN, "").await;
    link.next().await;
    // The coordinator falls silent: connections are taken and never answered, for more than a lease.
    let silent = scene.connection().await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    drop((link, silent));
    let mut link = scene.welcomed().await;
    let armed = link.next_but_batches(&mut batches).await;
    assert!(matches!(armed, FromAgent::Armed(_)), "{armed:?}");
    let drained = link.next_but_batches(&mut batches).await;
    assert!(matches!(drained, FromAgent::Drained(_)), "{drained:?}");
    assert_eq!(count(&batches, "sessions_interrupted"), 1);
    scene.shutdown.abort();
    link.say(ToAgent::Release(v1::Release { run: RUN.into() }))
        .await;
    scene.ended().await.unwrap();
}

#[tokio::test]
async fn plans_that_cannot_be_run_here_are_refused_with_everything_that_is_wrong() {
    let scene = Scene::start(|_| ()).await;
    let mut link = scene.welcomed().await;
    link.prepare(RUN, "testmesh: v1\nname: x\nscenarios:\n  s:\n    load: once\n    stages: [{ name: a, wiat: 1s }]\n").await;
    let FromAgent::Refused(refused) = link.next().await else {
        panic!("it is refused")
    };
    assert_eq!(
        (refused.run.as_str(), refused.problems.is_empty()),
        (RUN, false)
    );
    assert_eq!(
        (refused.problems[0].file.as_str(), refused.problems[0].line),
        ("plan.yaml", 6)
    );
    link.prepare(RUN, "testmesh: v1\nname: x\nsecrets: [nowhere]\nscenarios:\n  s:\n    load: once\n    stages: [{ name: a, wait: { for: 1s } }]\n").await;
    let FromAgent::Refused(refused) = link.next().await else {
        panic!("it is refused")
    };
    assert!(
        refused.reason.contains("TESTMESH_SECRET_NOWHERE"),
        "{}",
        refused.reason
    );
    let prepare = v1::Prepare {
        run: RUN.into(),
        plan_digest: "00".into(),
        ..v1::Prepare::default()
    };
    link.say(ToAgent::Prepare(prepare)).await;
    let FromAgent::Refused(refused) = link.next().await else {
        panic!("it is refused")
    };
    assert!(
        refused.reason.contains("did not arrive"),
        "{}",
        refused.reason
    );
    scene.shutdown.drain();
    scene.ended().await.unwrap();
}

#[tokio::test]
async fn an_agent_that_is_refused_says_why_and_ends() {
    let scene = Scene::start(|_| ()).await;
    let mut link = scene.connection().await;
    link.next().await;
    link.refuse(Status::failed_precondition(
        "this coordinator speaks protocol 9",
    ))
    .await;
    let error = scene.ended().await.unwrap_err();
    assert!(
        matches!(&error, AgentError::Link(LinkError::Refused { reason, .. }) if reason.contains("protocol 9")),
        "{error:?}"
    );
    let scene = Scene::start(|_| ()).await;
    let mut link = scene.connection().await;
    link.next().await;
    link.say(ToAgent::Welcome(v1::Welcome {
        protocol: 9,
        ..v1::Welcome::default()
    }))
    .await;
    let error = scene.ended().await.unwrap_err();
    assert!(
        matches!(&error, AgentError::Link(LinkError::Refused { reason, .. }) if reason.contains("protocol 9")),
        "{error:?}"
    );
}
