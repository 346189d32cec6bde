//! `amqp`, against a real broker, and what is wrong with its stages before any.

use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use testmesh_agent::driver::{Body, Results, StageError};
use testmesh_shared::plan::expr::Value;

use crate::harness::{Bench, Tree, read_example, scope, tree};
use crate::plan;
use crate::rabbitmq::{self, Tester};

/// Stages of one target: their names, and what stands in `amqp`, with the keys of the stage after ` | `.
pub(crate) fn bench(target: &str, stages: &[(&str, &str)]) -> Bench {
    with_files(target, stages, &tree())
}

pub(crate) fn with_files(target: &str, stages: &[(&str, &str)], files: &Tree) -> Bench {
    let targets = format!("broker: {{ {target} }}");
    let lines = stages.iter().map(|(name, rest)| {
        let (form, keys) = rest
            .split_once(" | ")
            .unwrap_or((rest, "attempt_timeout: 30s"));
        format!("- {{ name: {name}, amqp: {{ target: broker, {form} }}, {keys} }}")
    });
    let lines: Vec<_> = lines.collect();
    Bench::with(&targets, &lines.join("\n"), files)
}

pub(crate) fn json(results: &Results) -> serde_json::Value {
    let Body::Bytes(bytes) = &results.body else {
        panic!("{results:?} has no body")
    };
    serde_json::from_slice(bytes).expect("JSON")
}

fn text(results: &Results) -> String {
    let Body::Bytes(bytes) = &results.body else {
        panic!("{results:?} has no body")
    };
    String::from_utf8(bytes.to_vec()).expect("text")
}

fn docs(results: &Results) -> &[Value] {
    let docs = results.docs.as_ref().expect("a list");
    docs.as_list().expect("a list")
}

/// A refusal, as expressions and findings see it.
fn refused(results: &Results) -> (i64, StageError) {
    let failure = results.failure.clone().expect("a refusal");
    assert_eq!(results.status, failure.status);
    (results.status.expect("a status"), failure)
}

#[tokio::test]
async fn what_is_published_arrives_where_it_was_bound() {
    let Some(uri) = rabbitmq::uri() else { return };
    let bench = bench(
        &format!("amqp: '{uri}'"),
        &[
            (
                "bind",
                "bind: { exchange: amq.topic, keys: ['a.${session.id}.*', 'b.${session.id}'] } | save: { queue: body.queue }",
            ),
            (
                "publish",
                "publish: { exchange: amq.topic, key: 'a.${session.id}.x', json: { n: '${session.index}' }, \
                 headers: { deep: [1, '${session.id}'], n: 5 }, properties: { correlation_id: c1, type: Command }, mandatory: true }",
            ),
            (
                "other",
                "publish: { exchange: amq.topic, key: 'b.${session.id}', text: 'no json' }",
            ),
            (
                "consume",
                "consume: { queue: '${session.queue}', match: 'body.n == 7 && headers.n == \"5\" && key.endsWith(\".x\")', ack: all } | expect: size(docs) == 1",
            ),
            ("queue", "queue: '${session.queue}'"),
            ("exchange", "exchange: amq.topic"),
            ("delete", "delete: '${session.queue}'"),
        ],
    );
    let queue = json(&bench.run("bind").await.expect("a queue"));
    let mut scope = scope();
    scope.set_field("session", "queue", queue["queue"].as_str().expect("a name"));
    let run = async |name: &str| bench.run_in(name, &scope).await.expect(name);

    let sent = run("publish").await;
    assert_eq!(
        (sent.status, json(&sent)["confirmed"].as_bool()),
        (Some(200), Some(true))
    );
    run("other").await;
    let came = run("consume").await;
    assert_eq!(json(&came), serde_json::json!({ "n": 7 }));
    let header = |name: &str| {
        let mut headers = came.headers.iter();
        headers
            .find(|(known, _)| **known == *name)
            .map(|(_, value)| value.to_string())
    };
    assert_eq!(header("deep").as_deref(), Some("[1,\"abc\"]"));
    assert!(
        header("traceparent")
            .expect("the trace")
            .starts_with("00-0af7651916cd43dd")
    );
    let doc = docs(&came)[0].to_json();
    assert_eq!(doc["key"], "a.abc.x");
    assert_eq!(doc["correlation_id"], "c1");
    assert_eq!(doc["type"], "Command");
    assert_eq!(doc["content_type"], "application/json");
    assert_eq!(doc["persistent"], true);

    let queue = json(&run("queue").await);
    assert_eq!(queue["consumers"], 0);
    assert_eq!(run("exchange").await.status, Some(200));
    assert_eq!(run("delete").await.status, Some(200));
    let (status, _) = refused(&run("queue").await);
    assert_eq!(status, 404);
    // One connection for all of it, and the broker's own word for each.
    assert_eq!(bench.meter.connects.get(), 1);
    assert_eq!(
        bench.meter.statuses.borrow().as_slice(),
        [200, 200, 200, 200, 200, 200, 200, 404]
    );
}

#[tokio::test]
async fn a_queue_keeps_what_a_stage_does_not_take() {
    let Some(uri) = rabbitmq::uri() else { return };
    let mut tester = Tester::connect(&uri).await;
    let queue = tester.queue("keeps", &[]).await;
    for n in 0..6 {
        tester.publish("", &queue, &format!("{{\"n\":{n}}}")).await;
    }
    tester.until_depth(&queue, 6).await;
    let consume = |rest: &str| format!("consume: {{ queue: {queue}, {rest} }}");
    let (look, both, take) = (
        consume("match: body.n == 3"),
        consume("match: 'body.n % 2 == 1', count: 2, ack: matched"),
        consume("match: body.n == 4, ack: all"),
    );
    let bench = bench(
        &format!("amqp: '{uri}'"),
        &[("look", look.as_str()), ("both", &both), ("take", &take)],
    );
    assert_eq!(json(&bench.run("look").await.expect("a match"))["n"], 3);
    tester.until_depth(&queue, 6).await;
    // The last of two: what was put back kept its place.
    assert_eq!(json(&bench.run("both").await.expect("matches"))["n"], 3);
    tester.until_depth(&queue, 4).await;
    assert_eq!(json(&bench.run("take").await.expect("a match"))["n"], 4);
    tester.until_depth(&queue, 1).await;
    tester.end().await;
}

#[tokio::test]
async fn an_exchange_is_listened_to_over_a_queue_of_the_stages_own() {
    let Some(uri) = rabbitmq::uri() else { return };
    let tester = Tester::connect(&uri).await;
    let key = format!("own.{}.x", std::process::id());
    let consume = format!(
        "consume: {{ exchange: amq.topic, keys: ['own.{}.*'], count: 3 }} | expect: size(docs) == 3",
        std::process::id()
    );
    let bench = bench(&format!("amqp: '{uri}'"), &[("consume", consume.as_str())]);
    let publishing = async {
        loop {
            tester.publish("amq.topic", &key, "hello").await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let came = tokio::select! {
        came = bench.run("consume") => came.expect("matches"),
        () = publishing => unreachable!("it goes on for ever"),
    };
    assert_eq!((text(&came), docs(&came).len()), ("hello".to_owned(), 3));
}

#[tokio::test]
async fn the_brokers_refusals_are_answers() {
    let Some(uri) = rabbitmq::uri() else { return };
    let mut tester = Tester::connect(&uri).await;
    let full = [
        ("x-max-length", AMQPValue::LongInt(1)),
        ("x-overflow", AMQPValue::LongString("reject-publish".into())),
    ];
    let full = tester.queue("full", &full).await;
    // Only its own connection may use it.
    let options = QueueDeclareOptions::exclusive();
    let locked = tester
        .channel
        .queue_declare("".into(), options, FieldTable::default());
    let locked = locked.await.expect("a queue").name().to_string();
    let bench = bench(
        &format!("amqp: '{uri}'"),
        &[
            ("queue", "queue: testmesh-none"),
            ("exchange", "exchange: testmesh-none"),
            ("consume", "consume: { queue: testmesh-none }"),
            ("bind", "bind: { exchange: testmesh-none }"),
            ("locked", &format!("queue: {locked}")),
            ("publish", "publish: { exchange: testmesh-none, key: x }"),
            (
                "unroutable",
                "publish: { exchange: amq.topic, key: testmesh-nowhere, mandatory: true }",
            ),
            (
                "nowhere",
                "publish: { exchange: amq.topic, key: testmesh-nowhere }",
            ),
            (
                "unseen",
                "publish: { exchange: testmesh-none, key: x, confirm: false }",
            ),
            ("reserved", "delete: amq.none"),
            ("full", &format!("publish: {{ key: {full} }}")),
        ],
    );
    for name in ["queue", "exchange", "consume", "bind", "publish"] {
        let (status, failure) = refused(&bench.run(name).await.expect("an answer"));
        assert_eq!(
            (status, failure.kind.as_str()),
            (404, "status"),
            "{failure}"
        );
        assert!(failure.message.contains("testmesh-none"), "{failure}");
    }
    assert_eq!(
        refused(&bench.run("locked").await.expect("an answer")).0,
        405
    );
    let (status, failure) = refused(&bench.run("unroutable").await.expect("an answer"));
    assert_eq!((status, failure.code), (312, Some("unroutable")));
    bench
        .run("nowhere")
        .await
        .expect("nobody asked for a queue");
    bench.run("unseen").await.expect("nobody looks");
    bench.run("full").await.expect("the first fits");
    assert_eq!(bench.failure("full").await, ("status", Some("nacked")));
    // A channel that the broker closed has not taken the connection with it.
    assert_eq!(bench.meter.connects.get(), 1);
    tester.end().await;
}

#[tokio::test]
async fn a_match_that_never_comes_says_what_came() {
    let Some(uri) = rabbitmq::uri() else { return };
    let mut tester = Tester::connect(&uri).await;
    let queue = tester.queue("never", &[]).await;
    for text in ["{\"n\":1}", "{}", "no json"] {
        tester.publish("", &queue, text).await;
    }
    let bench = bench(
        &format!("amqp: '{uri}'"),
        &[
            (
                "never",
                &format!("consume: {{ queue: {queue}, match: body.n == 5 }} | timeout: 500ms"),
            ),
            (
                "few",
                &format!(
                    "consume: {{ queue: {queue}, match: body.n == 1, count: 2 }} | attempt_timeout: 500ms"
                ),
            ),
            (
                "nothing",
                "consume: { exchange: amq.topic, keys: [testmesh-none] } | timeout: 300ms",
            ),
        ],
    );
    let error = bench.run("never").await.expect_err("nothing matches");
    assert_eq!(error.kind.as_str(), "timeout");
    let said = format!(
        "not done within 500ms (timeout), waiting for messages that match; 0 of 3 that came matched; \
         the last that did not had the key `{queue}` (`body.n == 5`: `body` is not JSON"
    );
    assert!(error.message.starts_with(&said), "{error}");
    assert_eq!(error.evidence.expect("the last message").body, "no json");
    let error = bench.run("few").await.expect_err("one matches");
    assert!(error.message.contains("(attempt_timeout)"), "{error}");
    assert!(
        error.message.contains("1 of 3 that came matched"),
        "{error}"
    );
    let error = bench.run("nothing").await.expect_err("nothing comes");
    assert!(error.message.ends_with("waiting for messages"), "{error}");
    // What was held went back when the tries were cut.
    tester.until_depth(&queue, 3).await;
    tester.end().await;
}

#[tokio::test]
async fn what_is_kept_and_held_is_bounded() {
    let Some(uri) = rabbitmq::uri() else { return };
    let mut tester = Tester::connect(&uri).await;
    let large = tester.queue("large", &[]).await;
    tester.publish("", &large, &"x".repeat(101)).await;
    let together = tester.queue("together", &[]).await;
    for _ in 0..3 {
        tester.publish("", &together, &"x".repeat(40)).await;
    }
    let many = tester.queue("many", &[]).await;
    for _ in 0..1_001 {
        tester.publish("", &many, "x").await;
    }
    tester.until_depth(&many, 1_001).await;
    let bench = bench(
        &format!("amqp: '{uri}', max_message: 100"),
        &[
            ("large", &format!("consume: {{ queue: {large} }}")),
            (
                "together",
                &format!("consume: {{ queue: {together}, count: 3 }} | expect: size(docs) == 3"),
            ),
            (
                "many",
                &format!("consume: {{ queue: {many}, match: text == 'y' }}"),
            ),
        ],
    );
    assert_eq!(
        bench.failure("large").await,
        ("protocol", Some("too_large"))
    );
    assert_eq!(
        bench.failure("together").await,
        ("protocol", Some("too_large"))
    );
    assert_eq!(bench.failure("many").await, ("protocol", Some("too_many")));
    tester.until_depth(&many, 1_001).await;
    tester.end().await;
}

#[tokio::test]
async fn a_queue_that_goes_away_ends_the_wait() {
    let Some(uri) = rabbitmq::uri() else { return };
    let mut tester = Tester::connect(&uri).await;
    let queue = tester.queue("goes", &[]).await;
    let bench = bench(
        &format!("amqp: '{uri}'"),
        &[("wait", &format!("consume: {{ queue: {queue} }}"))],
    );
    let deleting = async {
        let asked = || {
            let options = QueueDeclareOptions::default().passive();
            tester
                .channel
                .queue_declare(queue.as_str().into(), options, FieldTable::default())
        };
        while asked().await.expect("the queue is there").consumer_count() == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tester.delete(&queue).await;
    };
    let (failure, ()) = tokio::join!(bench.failure("wait"), deleting);
    assert_eq!(failure, ("unavailable", Some("queue_gone")));
}

#[tokio::test]
async fn queues_are_listed_through_the_management_api() {
    let (Some(uri), Some(api)) = (rabbitmq::uri(), rabbitmq::api()) else {
        return;
    };
    let mut tester = Tester::connect(&uri).await;
    let one = tester.queue("listed-1", &[]).await;
    tester.queue("listed-2", &[]).await;
    let prefix = one.trim_end_matches('1');
    let wrong = api.replace("guest:guest@", "guest:wrong@");
    let list = |pattern: &str| format!("queues: '{pattern}' | expect: size(docs) >= 0");
    let stages = [
        list(&format!("{prefix}*")),
        list(&one),
        list(&format!("{prefix}3*")),
    ];
    let stages = [
        ("both", stages[0].as_str()),
        ("one", &stages[1]),
        ("none", &stages[2]),
    ];
    let right = bench(&format!("amqp: '{uri}', management: '{api}'"), &stages);
    let names = async |name: &str| {
        let found = right.run(name).await.expect("a list");
        let mut names: Vec<_> = docs(&found)
            .iter()
            .map(|doc| {
                doc.get("name")
                    .and_then(Value::as_str)
                    .expect("a name")
                    .to_owned()
            })
            .collect();
        names.sort();
        names
    };
    assert_eq!(names("both").await, [one.clone(), format!("{prefix}2")]);
    assert_eq!(names("one").await, std::slice::from_ref(&one));
    assert!(names("none").await.is_empty());
    let wrong = bench(&format!("amqp: '{uri}', management: '{wrong}'"), &stages);
    let (status, failure) = refused(&wrong.run("one").await.expect("an answer"));
    assert_eq!((status, failure.kind.as_str()), (401, "status"));
    assert!(!failure.message.contains("wrong"), "{failure}");
    tester.end().await;
}

#[tokio::test]
async fn messages_of_a_plan_look_like_those_of_any_client() {
    let Some(uri) = rabbitmq::uri() else { return };
    let mut tester = Tester::connect(&uri).await;
    let queue = tester.queue("plain", &[]).await;
    let bench = bench(
        &format!("amqp: '{uri}'"),
        &[(
            "publish",
            &format!(
                "publish: {{ key: {queue}, text: 'a ${{session.id}}', persistent: false, headers: {{ n: 5, b: true, traceparent: mine }}, properties: {{ expiration: 60s }} }}"
            ),
        )],
    );
    bench.run("publish").await.expect("a confirmation");
    let options = BasicConsumeOptions::default();
    let consumed = tester.channel.basic_consume(
        queue.as_str().into(),
        "".into(),
        options,
        FieldTable::default(),
    );
    let delivery = consumed.await.expect("a consumer").next().await;
    let delivery = delivery.expect("a message").expect("a message");
    assert_eq!(delivery.data, b"a abc");
    let properties = &delivery.properties;
    assert_eq!(properties.delivery_mode(), &Some(1));
    assert_eq!(
        properties
            .expiration()
            .as_ref()
            .map(ToString::to_string)
            .as_deref(),
        Some("60000")
    );
    assert_eq!(
        properties
            .content_type()
            .as_ref()
            .map(ToString::to_string)
            .as_deref(),
        Some("text/plain; charset=utf-8")
    );
    let headers = properties.headers().as_ref().expect("headers").inner();
    assert_eq!(headers["n"], AMQPValue::LongLongInt(5));
    assert_eq!(headers["b"], AMQPValue::Boolean(true));
    assert_eq!(headers["traceparent"], AMQPValue::LongString("mine".into()));
    tester.end().await;
}

#[test]
fn the_example_of_the_reference_is_read() {
    read_example(include_str!("../../../shared/src/plan/examples/amqp.yaml"));
}

#[test]
fn stages_and_targets_are_checked() {
    let problems = |targets: &str, stage: &str| {
        plan::problems(targets, &format!("- {{ name: x, {stage} }}"), &tree())
    };
    let stage = |stage: &str| {
        problems(
            "b: { amqp: 'amqp://h' }",
            &format!("amqp: {{ target: b, {stage} }}"),
        )
    };
    let target = |target: &str| problems(&format!("b: {{ {target} }}"), "wait: { for: 1s }");
    insta::assert_snapshot!(
        [
            stage("queue: a, exchange: b"),
            stage("publish: { key: x, json: {}, text: y }"),
            stage("publish: { key: x, confirm: false, mandatory: true }"),
            stage("publish: { key: x, headers: [a] }"),
            stage("consume: {}"),
            stage("consume: { queue: a, exchange: b }"),
            stage("consume: { queue: a, keys: [b] }"),
            stage("consume: { exchange: a, keys: [] }"),
            stage("consume: { exchange: a, ack: none }"),
            stage("consume: { queue: a, ack: some }"),
            stage("consume: { queue: a, count: 1001 }"),
            stage("consume: { queue: a, match: bod.n == 1 }"),
            stage("consume: { queue: a, match: body.n == secrets.token }"),
            stage("bind: { exchange: a, expires: 1ms }"),
            stage("queues: a*"),
            target("amqp: 'http://h'"),
            target("amqp: 'amqp://h', management: 'amqp://h'"),
            target("amqp: 'amqp://h', connections: some"),
        ]
        .join("\n")
    );
}
