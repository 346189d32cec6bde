//! Jobs, ports and the testbed itself: coming up, being cleaned up, ending.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use testmesh_testbed::{Config, JobPorts, Testbed};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tonic::Code;

use crate::kit::{Bed, PATIENCE, live, next};

fn brisk() -> Config {
    let moment = Duration::from_millis(100);
    Config {
        idle_cleanup: moment,
        startup_grace: moment,
        ..Config::quick()
    }
}

#[tokio::test]
async fn a_jobs_port_refuses_until_its_pod_is_ready() {
    let ready = Duration::from_millis(400);
    let bed = Bed::start(Config {
        ready_min: ready,
        ready_max: ready,
        ..Config::quick()
    })
    .await;
    let start = Instant::now();
    let job = bed.job(&live()).await;
    let port = u16::try_from(job["stream_port"].as_u64().unwrap()).unwrap();
    let refused = TcpStream::connect(("127.0.0.1", port)).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(
        bed.get("/metadata/0-1").await.0,
        200,
        "the job is known before"
    );
    bed.rows(&job, 0, 1).await;
    assert!(start.elapsed() >= ready);
}

#[tokio::test]
async fn an_idle_job_is_cleaned_up_and_its_slot_recycled() {
    let bed = Bed::start(brisk()).await;
    let (first, second) = (bed.job(&live()).await, bed.job(&live()).await);
    assert_eq!(
        (&first["job_id"], &second["job_id"]),
        (&"0-1".into(), &"1-2".into())
    );
    let mut kept = bed.stream(&second, 0).await.unwrap();
    next(&mut kept).await.unwrap();
    bed.until("/metadata/0-1", 404).await;
    // The slot is free once the port is closed, a moment after the job is gone.
    let mut again = bed.job(&live()).await;
    if again["job_id"] == "2-3" {
        bed.until("/metadata/2-3", 404).await;
        again = bed.job(&live()).await;
    }
    assert!(
        again["job_id"].as_str().unwrap().starts_with("0-"),
        "the lowest free slot: {again}"
    );
    assert_eq!(again["stream_port"], first["stream_port"]);
    bed.rows(&again, 0, 1).await;
    assert_eq!(
        bed.get("/metadata/1-2").await.0,
        200,
        "a job with an open call is not idle"
    );
    assert!(next(&mut kept).await.unwrap().is_some());
}

#[tokio::test]
async fn clean_up_closes_connections_without_a_call() {
    let bed = Bed::start(brisk()).await;
    let job = bed.job(&live()).await;
    let port = u16::try_from(job["stream_port"].as_u64().unwrap()).unwrap();
    bed.rows(&job, 0, 1).await;
    let idle = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    bed.until("/metadata/0-1", 404).await;
    let closed = async {
        let mut bytes = [0; 1024];
        loop {
            idle.readable().await.unwrap();
            match idle.try_read(&mut bytes) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    };
    timeout(PATIENCE, closed)
        .await
        .expect("the connection is closed");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_let_go() {
    // Rows of 740 channels at 1,000 lines a second fill any window at once.
    let bed = Bed::start(Config {
        stream_idle: Duration::from_millis(400),
        ..brisk()
    })
    .await;
    let mut body = live();
    body["displayTimeAxisDuration"] = 1.into();
    body["displayInfo"]["height"] = 1_000.into();
    body["channels"]["max"] = 2_000.into();
    let job = bed.job(&body).await;
    let _unread = bed.stream(&job, 0).await.unwrap();
    bed.until("/metadata/0-1", 404).await;
}

#[tokio::test]
async fn shutdown_ends_streams_and_leaves_no_port_behind() {
    let bed = Bed::quick().await;
    let job = bed.job(&live()).await;
    let port = u16::try_from(job["stream_port"].as_u64().unwrap()).unwrap();
    let mut stream = bed.stream(&job, 0).await.unwrap();
    next(&mut stream).await.unwrap();
    let address = bed.testbed.address();
    let start = Instant::now();
    bed.testbed.shutdown().await.unwrap();
    assert!(
        start.elapsed() < Duration::from_secs(3),
        "{:?}",
        start.elapsed()
    );
    let end = loop {
        if let Err(status) = next(&mut stream).await {
            break status;
        }
    };
    assert_eq!(end.code(), Code::Unavailable);
    for port in [port, address.port()] {
        let refused = TcpStream::connect(("127.0.0.1", port)).await.unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    }
}

#[tokio::test]
async fn two_testbeds_in_one_process_do_not_meet() {
    let (one, two) = (Bed::quick().await, Bed::quick().await);
    assert_ne!(one.testbed.job_ports(), two.testbed.job_ports());
    let (a, b) = (one.job(&live()).await, two.job(&live()).await);
    assert_eq!(a["job_id"], b["job_id"]);
    assert_ne!(a["stream_port"], b["stream_port"]);
    one.testbed.shutdown().await.unwrap();
    two.rows(&b, 0, 2).await;
}

#[tokio::test]
async fn a_taken_port_is_skipped_or_reported() {
    for (config, skips) in [(Config::quick(), true), (Config::as_observed(), false)] {
        // A base whose first port another process has.
        let free = Testbed::start(Config::quick()).await.unwrap();
        let base = free.job_ports();
        let _other = std::net::TcpListener::bind(("127.0.0.1", base)).unwrap();
        let config = Config {
            configure_delay: Duration::ZERO,
            job_ports: JobPorts::Base(base),
            ..config
        };
        let bed = Bed::start(config).await;
        let (status, body) = bed.post("/configure", &live()).await;
        if skips {
            assert_eq!((status, &body["job_id"]), (200, &"1-1".into()));
        } else {
            assert_eq!(status, 500);
            assert_eq!(
                body["error"],
                format!("Service creation failed: NodePort {base} already allocated")
            );
        }
    }
}

#[tokio::test]
async fn impossible_configurations_are_refused() {
    for (config, expect) in [
        (
            Config {
                historic_rate: 0.0,
                ..Config::quick()
            },
            "--historic-rate",
        ),
        (
            Config {
                streams: 0,
                ..Config::quick()
            },
            "--streams",
        ),
        (
            Config {
                job_ports: JobPorts::Base(65_500),
                ..Config::quick()
            },
            "--job-ports",
        ),
    ] {
        assert!(
            Testbed::start(config)
                .await
                .unwrap_err()
                .to_string()
                .contains(expect)
        );
    }
    let taken = Testbed::start(Config::quick()).await.unwrap();
    let error = Testbed::start(Config::quick().listen(taken.address()))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("failed to listen on"), "{error}");
}

#[test]
fn the_binary_says_where_it_listens_and_ends_on_a_signal() {
    for signal in ["-TERM", "-INT"] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_focus-server"))
            .args([
                "--listen",
                "127.0.0.1:0",
                "--job-ports",
                "auto",
                "--behavior",
                "flip-bit:1e-6",
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert!(
            line.starts_with("focus-server listens on http://127.0.0.1:"),
            "{line}"
        );
        let kill = Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status()
            .unwrap();
        assert!(kill.success());
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn the_binary_refuses_what_it_does_not_know() {
    for (args, code, expect) in [
        (
            ["--behavior", "flip"],
            2,
            "there is no behavior `flip`; known are flip-bit",
        ),
        (["--ready-min", "soon"], 2, "`soon` is not a time"),
        (["--streams", "0"], 1, "--streams must be at least 1"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_focus-server"))
            .args(args)
            .output()
            .unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.code() == Some(code) && error.contains(expect),
            "{error}"
        );
    }
}
