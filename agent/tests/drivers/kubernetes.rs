//! `kubernetes`, against an API server in memory, and against a cluster where `KUBECONFIG` names one.

use std::collections::BTreeMap;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value as Json, json};
use testmesh_agent::driver::{Body, Results, StageError};
use tokio::time::Instant;

use crate::apiserver::ApiServer;
use crate::harness::{Bench, Tree, load, read_example, scope, tree};
use crate::plan;
use crate::servers::{Raw, nobody, raw};

/// Stages of one target: their names, and what stands in `kubernetes`, with the keys of the stage after ` | `.
fn bench(target: &str, stages: &[(&str, &str)], files: &Tree) -> Bench {
    let targets = format!("cluster: {{ {target} }}");
    let lines = stages.iter().map(|(name, rest)| {
        let (form, keys) = rest
            .split_once(" | ")
            .unwrap_or((rest, "attempt_timeout: 10s"));
        format!("- {{ name: {name}, kubernetes: {{ target: cluster, {form} }}, {keys} }}")
    });
    Bench::with(&targets, &lines.collect::<Vec<_>>().join("\n"), files)
}

fn of(server: &ApiServer, stages: &[(&str, &str)]) -> Bench {
    let target = format!("kubernetes: 'http://{}', namespace: panda", server.address);
    bench(&target, stages, &tree())
}

fn json(results: &Results) -> Json {
    let Body::Bytes(bytes) = &results.body else {
        panic!("{results:?} has no body")
    };
    serde_json::from_slice(bytes).expect("JSON")
}

fn names(results: &Results) -> Vec<String> {
    let docs = results.docs.as_ref().expect("a list").to_json();
    let docs = docs.as_array().expect("a list").iter();
    let name = |doc: &Json| doc["metadata"]["name"].as_str().expect("a name").to_owned();
    docs.map(name).collect()
}

fn refused(results: &Results) -> (i64, StageError) {
    let failure = results.failure.clone().expect("a refusal");
    assert_eq!(failure.kind.as_str(), "status");
    assert_eq!(results.status, failure.status);
    (results.status.expect("a status"), failure)
}

#[tokio::test]
async fn objects_are_read_and_listed() {
    let server = ApiServer::start().await;
    for n in 0..3 {
        server.pod(
            &format!("a-{n}"),
            "a",
            if n == 1 { "Pending" } else { "Running" },
        );
    }
    server.pod("b", "b", "Running");
    server.put(
        "v1/nodes",
        "",
        "node-1",
        json!({ "status": { "capacity": { "pods": "110" } } }),
    );
    server.put("batch/v1/jobs", "other", "j", json!({}));
    server.kind("example.com/v1", "View", "views");
    server.put(
        "example.com/v1/views",
        "panda",
        "v",
        json!({ "spec": { "n": 5 } }),
    );
    let bench = of(
        &server,
        &[
            ("get", "get: { kind: Pod, name: 'a-${session.index - 6}' }"),
            ("node", "get: { kind: Node, name: node-1 }"),
            (
                "view",
                "get: { kind: View, api_version: example.com/v1, name: v }",
            ),
            ("views", "list: { kind: View, api_version: example.com/v1 }"),
            ("labels", "list: { kind: Pod, labels: 'app=a' }"),
            (
                "both",
                "list: { kind: Pod, labels: 'app=a', fields: 'status.phase=Running' }",
            ),
            ("jobs", "list: { kind: Job }"),
            ("all-jobs", "namespace: '*', list: { kind: Job }"),
            ("other-jobs", "namespace: other, list: { kind: Job }"),
        ],
    );
    let run = async |name: &str| bench.run(name).await.expect(name);
    let pod = json(&run("get").await);
    assert_eq!(pod["status"]["phase"], "Pending");
    assert!(pod["metadata"].get("managedFields").is_none());
    assert_eq!(
        json(&run("node").await)["status"]["capacity"]["pods"],
        "110"
    );
    assert_eq!(json(&run("view").await)["spec"]["n"], 5);
    let views = run("views").await;
    assert_eq!(
        views.docs.as_ref().expect("a list").to_json()[0]["kind"],
        "View"
    );
    assert_eq!(names(&run("labels").await), ["a-0", "a-1", "a-2"]);
    assert_eq!(names(&run("both").await), ["a-0", "a-2"]);
    assert!(names(&run("jobs").await).is_empty());
    assert_eq!(names(&run("all-jobs").await), ["j"]);
    assert_eq!(names(&run("other-jobs").await), ["j"]);
    // Discovery is asked once, and one connection was enough.
    let discoveries = server
        .asked()
        .iter()
        .filter(|asked| *asked == "/apis/example.com/v1")
        .count();
    assert_eq!((discoveries, bench.meter.connects.get()), (1, 1));
}

#[tokio::test]
async fn long_lists_come_in_pages_and_longer_ones_not_at_all() {
    let server = ApiServer::start().await;
    for n in 0..1_201 {
        server.put("v1/configmaps", "panda", &format!("c-{n:04}"), json!({}));
    }
    let bench = of(&server, &[("list", "list: { kind: ConfigMap }")]);
    assert_eq!(
        names(&bench.run("list").await.expect("a list")).len(),
        1_201
    );
    assert_eq!(server.asked().len(), 3);
    for n in 0..3_800 {
        server.put("v1/configmaps", "panda", &format!("d-{n:04}"), json!({}));
    }
    assert_eq!(bench.failure("list").await, ("protocol", Some("too_many")));
    let target = format!(
        "kubernetes: 'http://{}', namespace: panda, max_body: 1KiB",
        server.address
    );
    let small = self::bench(&target, &[("list", "list: { kind: ConfigMap }")], &tree());
    assert_eq!(small.failure("list").await, ("protocol", Some("too_large")));
}

#[tokio::test]
async fn what_the_server_refuses_is_an_answer() {
    let server = ApiServer::start().await;
    server.forbid("secrets");
    let bench = of(
        &server,
        &[
            ("none", "get: { kind: Pod, name: none }"),
            ("secrets", "list: { kind: Secret }"),
            ("kind", "list: { kind: View, api_version: example.com/v1 }"),
            ("wait", "wait: { kind: Secret, gone: true }"),
            ("broken", "get: { kind: Pod, name: x }"),
            ("bad", "get: { kind: Pod, name: 'a/b' }"),
            ("everywhere", "namespace: '*', get: { kind: Pod, name: x }"),
        ],
    );
    let status = async |name: &str| refused(&bench.run(name).await.expect("an answer"));
    let (code, failure) = status("none").await;
    assert_eq!(code, 404);
    let said = format!(
        "reading Pod `none` at http://{}: 404 NotFound: pods \"none\" not found",
        server.address
    );
    assert_eq!(failure.message, said);
    assert_eq!(status("secrets").await.0, 403);
    assert_eq!(status("kind").await.0, 404);
    server.kind("example.com/v1", "Other", "others");
    assert_eq!(status("kind").await.0, 404);
    assert_eq!(status("wait").await.0, 403);
    server.fail(Some(StatusCode::INTERNAL_SERVER_ERROR));
    assert_eq!(status("broken").await.0, 500);
    server.fail(None);
    server.demand("t0ken");
    assert_eq!(status("broken").await.0, 401);
    let target = format!("kubernetes: 'http://{}', token: 't0ken'", server.address);
    let known = self::bench(&target, &[("known", "list: { kind: Pod }")], &tree());
    assert_eq!(known.run("known").await.expect("a list").status, Some(200));
    assert_eq!(
        bench.failure("bad").await,
        ("expectation", Some("bad_request"))
    );
    assert_eq!(
        bench.failure("everywhere").await,
        ("expectation", Some("bad_request"))
    );
    assert_eq!(
        *bench.meter.statuses.borrow(),
        [404, 403, 404, 404, 403, 500, 401]
    );
}

#[tokio::test]
async fn waiting_hears_of_changes_and_asks_once() {
    let server = ApiServer::start().await;
    server.pod("b", "b", "Running");
    let bench = of(
        &server,
        &[
            (
                "running",
                "wait: { kind: Pod, labels: 'app=a', until: 'object.status.phase == \"Running\"' }",
            ),
            (
                "two",
                "wait: { kind: Pod, labels: 'app=a', until: 'objects.filter(o, o.status.phase == \"Running\").size() == 2' }",
            ),
            (
                "named",
                "wait: { kind: Pod, name: a-1, until: 'object.status.ready' }",
            ),
            ("gone", "wait: { kind: Pod, labels: 'app=a', gone: true }"),
            ("never", "wait: { kind: Pod, name: never, gone: true }"),
        ],
    );
    let at_once = Instant::now();
    assert_eq!(
        bench.run("never").await.expect("it is not there").status,
        Some(200)
    );
    assert!(at_once.elapsed() < Duration::from_secs(1));
    assert_eq!(server.watches(), 0);

    let acting = async {
        server.until_watches(1).await;
        server.pod("a-1", "a", "Pending");
        server.pod("b", "b", "Succeeded");
        server.pod("a-1", "a", "Running");
    };
    let (found, ()) = tokio::join!(bench.run("running"), acting);
    let found = found.expect("it runs");
    assert_eq!(json(&found)["metadata"]["name"], "a-1");
    assert_eq!(names(&found), ["a-1"]);

    let acting = async {
        server.until_watches(2).await;
        server.pod("a-2", "a", "Running");
    };
    let (both, ()) = tokio::join!(bench.run("two"), acting);
    assert_eq!(names(&both.expect("both run")), ["a-1", "a-2"]);

    let acting = async {
        server.until_watches(3).await;
        server.put(
            "v1/pods",
            "panda",
            "a-1",
            json!({ "metadata": { "labels": { "app": "a" } }, "status": { "ready": true } }),
        );
    };
    let (named, ()) = tokio::join!(bench.run("named"), acting);
    assert_eq!(json(&named.expect("it is ready"))["status"]["ready"], true);

    let acting = async {
        server.until_watches(4).await;
        server.delete("v1/pods", "panda", "a-1");
        server.delete("v1/pods", "panda", "a-2");
    };
    let (gone, ()) = tokio::join!(bench.run("gone"), acting);
    assert!(names(&gone.expect("both are gone")).is_empty());
    // A list each, and a watch for the four that had to wait.
    assert_eq!((server.asked().len(), server.watches()), (9, 4));
}

#[tokio::test]
async fn watches_that_end_break_or_are_too_old_are_survived() {
    let server = ApiServer::start().await;
    let stages = [(
        "wait",
        "wait: { kind: Pod, name: a, until: 'object.status.phase == \"Done\"' }",
    )];
    let lists = || {
        let asked = server.asked();
        asked
            .iter()
            .filter(|asked| !asked.contains("watch=true"))
            .count()
    };
    server.pod("a", "a", "Pending");
    let bench = of(&server, &stages);
    let acting = async {
        // Ended: it goes on from where it was.
        server.until_watches(1).await;
        server.end_watches();
        server.until_watches(2).await;
        assert_eq!(lists(), 1);
        // Too old while nobody watched: all is read again.
        server.end_watches();
        server.compact();
        server.until_watches(4).await;
        assert_eq!(lists(), 2);
        // Too old, told within the watch.
        server.say_gone_in_watches();
        server.end_watches();
        server.compact();
        server.until_watches(6).await;
        assert_eq!(lists(), 3);
        // Broken.
        server.break_watches();
        server.until_watches(7).await;
        assert_eq!(lists(), 4);
        server.pod("a", "a", "Done");
    };
    let (done, ()) = tokio::join!(bench.run("wait"), acting);
    assert_eq!(json(&done.expect("done"))["status"]["phase"], "Done");
}

#[tokio::test]
async fn a_server_that_closes_each_watch_at_once_is_not_flooded() {
    let server = ApiServer::start().await;
    server.pod("a", "a", "Pending");
    let wait =
        "wait: { kind: Pod, name: a, until: 'object.status.phase == \"Done\"' } | timeout: 1s";
    let bench = of(&server, &[("wait", wait)]);
    let ending = async {
        loop {
            server.end_watches();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let failure = tokio::select! {
        failure = bench.run("wait") => failure.expect_err("it is never done"),
        () = ending => unreachable!("it goes on for ever"),
    };
    assert_eq!(failure.kind.as_str(), "timeout");
    assert!(server.watches() <= 6, "{:?}", server.asked());
}

#[tokio::test]
async fn a_wait_that_takes_too_long_says_what_is_there() {
    let server = ApiServer::start().await;
    server.pod("a", "a", "Pending");
    let bench = of(
        &server,
        &[
            (
                "wait",
                "wait: { kind: Pod, name: a, until: 'object.status.podIP != \"\"' } | timeout: 300ms",
            ),
            (
                "none",
                "wait: { kind: Pod, name: b, until: 'object.status.phase == \"Running\"' } | timeout: 300ms",
            ),
        ],
    );
    let start = Instant::now();
    let error = bench.run("wait").await.expect_err("it has no address");
    assert!(start.elapsed() < Duration::from_secs(1));
    assert_eq!(error.kind.as_str(), "timeout");
    let said = "not done within 300ms (timeout), waiting for a change; there are 1 pods, after 0 changes; until `object.status.podIP != \"\"`: there is no `podIP`";
    assert_eq!(error.message, said);
    let evidence: Json =
        serde_json::from_slice(&error.evidence.expect("the pod").body).expect("JSON");
    assert_eq!(evidence["status"]["phase"], "Pending");
    let error = bench.run("none").await.expect_err("it is not there");
    assert!(
        error.message.ends_with("there are 0 pods, after 0 changes"),
        "{error}"
    );
}

#[tokio::test]
async fn logs_and_events_are_read() {
    let server = ApiServer::start().await;
    server.pod("a-1", "a", "Running");
    server.pod("a-2", "a", "Running");
    server.log("a-1", "main", "one\ntwo\nthree\n");
    server.log("a-2", "main", "four\n");
    server.log("a-1", "side", "five\n");
    for (name, kind, of, at) in [
        ("e1", "Pod", "a-1", "2026-01-01T00:00:02Z"),
        ("e2", "Pod", "a-1", "2026-01-01T00:00:01Z"),
        ("e3", "Job", "a-1", "2026-01-01T00:00:00Z"),
        ("e4", "Pod", "a-2", "2026-01-01T00:00:00Z"),
    ] {
        let event = json!({ "involvedObject": { "kind": kind, "name": of }, "type": "Normal", "lastTimestamp": at });
        server.put("v1/events", "panda", name, event);
    }
    let bench = of(
        &server,
        &[
            ("one", "logs: { pod: a-1 }"),
            ("tail", "logs: { pod: a-1, tail: 1 }"),
            (
                "match",
                "logs: { labels: 'app=a', match: line.contains('o') }",
            ),
            ("side", "logs: { pod: a-1, container: side }"),
            ("not-yet", "logs: { pod: a-2, container: side }"),
            ("events", "events: { kind: Pod, name: a-1 }"),
            ("all", "events: { kind: Pod }"),
        ],
    );
    let text = async |name: &str| {
        let results = bench.run(name).await.expect(name);
        let Body::Bytes(bytes) = results.body else {
            panic!("no text")
        };
        String::from_utf8(bytes.to_vec()).expect("text")
    };
    assert_eq!(text("one").await, "one\ntwo\nthree\n");
    assert_eq!(text("tail").await, "three\n");
    assert_eq!(text("match").await, "one\ntwo\nfour\n");
    assert_eq!(text("side").await, "five\n");
    let (code, failure) = refused(&bench.run("not-yet").await.expect("an answer"));
    assert_eq!(code, 400);
    assert!(failure.message.contains("ContainerCreating"), "{failure}");
    assert_eq!(
        names(&bench.run("events").await.expect("events")),
        ["e2", "e1"]
    );
    assert_eq!(
        names(&bench.run("all").await.expect("events")),
        ["e4", "e2", "e1"]
    );
}

#[tokio::test]
async fn who_is_no_api_server_is_told() {
    for (address, kind) in [
        (nobody().await, "refused"),
        (raw(Raw::Silence(b"")).await, "timeout"),
        (raw(Raw::Answer(b"220 smtp\r\n")).await, "protocol"),
        (raw(Raw::Answer(b"")).await, "reset"),
        (
            raw(Raw::Reset(
                b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{",
            ))
            .await,
            "reset",
        ),
        (
            raw(Raw::Answer(
                b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            ))
            .await,
            "protocol",
        ),
    ] {
        let target = format!("kubernetes: 'http://{address}'");
        let bench = bench(
            &target,
            &[("x", "list: { kind: Pod } | timeout: 300ms")],
            &tree(),
        );
        let error = bench.run("x").await.expect_err("no API server");
        assert_eq!(error.kind.as_str(), kind, "{error}");
    }
}

const KUBECONFIG: &str = r"
apiVersion: v1
kind: Config
current-context: one
contexts:
- { name: one, context: { cluster: c, user: u, namespace: panda } }
- { name: two, context: { cluster: c, user: u, namespace: other } }
clusters:
- { name: c, cluster: { server: 'http://ADDRESS' } }
users:
- { name: u, user: { token: t0ken } }
";

#[tokio::test]
async fn a_kubeconfig_of_the_plan_is_followed_if_it_is_whole() {
    let server = ApiServer::start().await;
    server.demand("t0ken");
    server.pod("a", "a", "Running");
    let config = KUBECONFIG.replace("ADDRESS", &server.address.to_string());
    let files = |text: &str| {
        Tree(BTreeMap::from([(
            "cluster.yaml".to_owned(),
            text.as_bytes().to_vec(),
        )]))
    };
    let pods = async |target: &str| {
        let bench = bench(target, &[("x", "list: { kind: Pod }")], &files(&config));
        bench.run("x").await.map(|results| names(&results).len())
    };
    assert_eq!(pods("kubernetes: cluster.yaml").await, Ok(1));
    assert_eq!(pods("kubernetes: cluster.yaml, context: two").await, Ok(0));
    assert_eq!(
        pods("kubernetes: cluster.yaml, namespace: other").await,
        Ok(0)
    );
    let error = pods("kubernetes: cluster.yaml, context: three")
        .await
        .expect_err("no such context");
    assert_eq!(
        (error.kind.as_str(), error.code),
        ("unavailable", Some("no_cluster"))
    );
    for outside in [
        "exec: { command: sh, apiVersion: client.authentication.k8s.io/v1 }",
        "tokenFile: /etc/passwd",
        "client-key: /etc/key",
    ] {
        let config = config.replace("token: t0ken", outside);
        let targets = "cluster: { kubernetes: cluster.yaml }";
        let stages = "- { name: x, kubernetes: { target: cluster, list: { kind: Pod } } }";
        let problems = load(targets, stages, &files(&config)).expect_err("refused");
        assert!(
            problems[0].message.contains("which agents do not follow"),
            "{problems:?}"
        );
    }
}

#[test]
fn the_example_of_the_reference_is_read() {
    read_example(include_str!(
        "../../../shared/src/plan/examples/kubernetes.yaml"
    ));
}

#[test]
fn stages_and_targets_are_checked() {
    let problems = |targets: &str, stage: &str| {
        plan::problems(targets, &format!("- {{ name: x, {stage} }}"), &tree())
    };
    let stage = |stage: &str| {
        problems(
            "c: { kubernetes: default }",
            &format!("kubernetes: {{ target: c, {stage} }}"),
        )
    };
    let target = |target: &str| problems(&format!("c: {{ {target} }}"), "wait: { for: 1s }");
    insta::assert_snapshot!(
        [
            stage("get: { kind: Pod }"),
            stage("get: { kind: pods, name: x }"),
            stage("get: { kind: View, name: x }"),
            stage("get: { kind: View, api_version: a/b/c, name: x }"),
            stage("wait: { kind: Pod, name: x }"),
            stage("wait: { kind: Pod, name: x, until: 'object.status', gone: true }"),
            stage("wait: { kind: Pod, name: x, labels: a=b, gone: true }"),
            stage("wait: { kind: Pod, name: x, gone: false }"),
            stage("wait: { kind: Pod, until: objct.status }"),
            stage("wait: { kind: Pod, until: object.x == secrets.token }"),
            stage("logs: {}"),
            stage("logs: { pod: a, tail: 0 }"),
            stage("list: { kind: Pod }, events: { kind: Pod }"),
            target("kubernetes: 'ftp://x'"),
            target("kubernetes: 'http://u:p@x'"),
            target("kubernetes: default, token: x"),
            target("kubernetes: 'http://x', context: x"),
            target("kubernetes: gone.yaml"),
            target("kubernetes: protos/t.proto"),
        ]
        .join("\n")
    );
}

/// A real cluster, where there is one.
#[tokio::test]
async fn a_cluster_that_the_environment_names_is_read() {
    if std::env::var_os("KUBECONFIG").is_none() {
        return;
    }
    let stages = [
        ("nodes", "list: { kind: Node }"),
        (
            "wait",
            "wait: { kind: Namespace, name: default, until: 'object.status.phase == \"Active\"' }",
        ),
        ("none", "get: { kind: Pod, name: testmesh-none }"),
    ];
    let bench = bench("kubernetes: default", &stages, &tree());
    let nodes = bench.run_in("nodes", &scope()).await.expect("nodes");
    assert!(!names(&nodes).is_empty());
    bench.run("wait").await.expect("it is there");
    assert_eq!(refused(&bench.run("none").await.expect("an answer")).0, 404);
}
