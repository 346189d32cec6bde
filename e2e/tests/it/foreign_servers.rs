//! The examples, against servers that were not written here: etcd, and Python's grpcio with reflection.
//!
//! `cargo xtask test` installs both and names them in the environment. Where one cannot be had its test says so and, in CI,
//! fails.

use std::{env, path::PathBuf};

use anyhow::Result;
use tempfile::TempDir;
use testmesh_e2e::{Cli, Expected, Process, plan};
use tokio::net::TcpListener;

/// The program that a variable names; none is a failure in CI.
#[expect(
    clippy::print_stderr,
    reason = "the lint knows tests by their attribute alone, and this is called by them"
)]
fn program(variable: &str) -> Option<PathBuf> {
    let found = env::var_os(variable).map(PathBuf::from);
    assert!(
        found.is_some() || env::var_os("CI").is_none(),
        "{variable} is not set: `cargo xtask test` installs what it names"
    );
    if found.is_none() {
        eprintln!("not run: {variable} is not set");
    }
    found
}

async fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port())
}

async fn etcd(data: &TempDir) -> Result<Option<(Process, String)>> {
    let Some(program) = program("TESTMESH_ETCD") else {
        return Ok(None);
    };
    let (client, peer) = (free_port().await?, free_port().await?);
    let client = format!("http://127.0.0.1:{client}");
    let peer = format!("http://127.0.0.1:{peer}");
    let data = data.path().display().to_string();
    let args = [
        ("--data-dir", data.as_str()),
        ("--listen-client-urls", &client),
        ("--advertise-client-urls", &client),
        ("--listen-peer-urls", &peer),
        ("--initial-advertise-peer-urls", &peer),
        ("--initial-cluster", &format!("default={peer}")),
    ]
    .map(|(flag, value)| format!("{flag}={value}"));
    let mut process = Process::start(&program, &args, &[])?;
    process.line_with("ready to serve client requests").await?;
    Ok(Some((process, client)))
}

#[tokio::test]
async fn etcd_answers_over_http_streams_equal_snapshots_and_tells_of_changes() -> Result<()> {
    let data = TempDir::new()?;
    let Some((_etcd, url)) = etcd(&data).await? else {
        return Ok(());
    };
    let http = Cli::run(&plan("examples/http.yaml")).var("etcd", &url);
    Expected::passed().check(&http.finish().await?);

    let feed = Cli::run(&plan("examples/feed.yaml")).var("etcd", &url);
    let outcome = feed.arg("--agents").arg("3").finish().await?;
    Expected::passed()
        .with("/sessions/planned", 12.0, 12.0)
        .with("/sessions/passed", 12.0, 12.0)
        .check(&outcome);

    let address = url.trim_start_matches("http://");
    let stream = Cli::run(&plan("examples/grpc-stream.yaml")).var("etcd", address);
    let outcome = stream.finish().await?;
    Expected::passed()
        .with("/integrity/verified", 1.0, 1e9)
        .check(&outcome);

    let watch = Cli::run(&plan("examples/grpc-watch.yaml")).var("etcd", address);
    Expected::passed().check(&watch.finish().await?);
    Ok(())
}

#[tokio::test]
async fn a_python_server_is_called_by_reflection() -> Result<()> {
    let Some(python) = program("TESTMESH_PYTHON_GRPC") else {
        return Ok(());
    };
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("servers/greeter.py");
    let args = [
        script.display().to_string(),
        "--port".to_owned(),
        "0".to_owned(),
    ];
    let mut server = Process::start(&python, &args, &[])?;
    let line = server.line_with("listening on").await?;
    let address = line
        .split_whitespace()
        .last()
        .unwrap_or_default()
        .to_owned();
    let run = Cli::run(&plan("examples/grpc-unary-reflection.yaml")).var("greeter", &address);
    Expected::passed().check(&run.finish().await?);
    Ok(())
}
