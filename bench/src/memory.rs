//! Memory per open stream, each on a connection of its own: the slope of resident memory between two numbers of streams
//! that all are open and carry a row now and then.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::ChildStdout;

use crate::bare;
use crate::cpu::resident_kib;
use crate::figures::{Figures, Must, Quantity, TESTMESH};
use crate::programs::{K6, Testmesh};
use crate::rows::StreamRequest;
use crate::server::process::{Kind, Server};
use crate::slope::{Client, Effort, Need, Preparation, as_f64, in_turn};
use crate::stream::{BARE, GRPC_STREAM, SMALL};

/// Between two rows of a stream.
const INTERVAL: Duration = Duration::from_secs(3);
/// Two rows have come on each stream by then, and what opening it took has been let go.
const SETTLE: Duration = Duration::from_secs(7);
/// All streams are open within this time.
const PATIENCE: Duration = Duration::from_secs(180);
/// More rows than the benchmark waits for.
const ENDLESS: u64 = 1_000_000;

/// Runs the benchmark.
pub(crate) fn run(effort: &Effort) -> Result<Figures> {
    let many = effort.amounts((1_000, 8_000), 20);
    let few = effort.amounts((100, 1_000), 10);
    let clients = effort.prepare(&[
        Preparation {
            name: TESTMESH,
            need: Need::Must,
            prepare: &|| testmesh(many),
        },
        Preparation {
            name: BARE,
            need: Need::Must,
            prepare: &|| bare(many),
        },
        Preparation {
            name: GRPC_STREAM,
            need: Need::Must,
            prepare: &|| k6(few),
        },
    ])?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let lines = in_turn(&clients, effort, |client, streams| {
        runtime.block_on(memory_of(client, streams))
    })?;
    Ok(Figures {
        title: "Memory per open stream".to_owned(),
        quantity: Quantity {
            what: "resident memory per stream",
            unit: "KiB",
            work: "streams",
            digits: 1,
        },
        lines,
        musts: vec![Must::AtMost(40.0)],
    })
}

/// Resident memory of a client that holds so many streams open, in KiB.
async fn memory_of(client: &Client, streams: u64) -> Result<f64> {
    // A server for each client: what it tells is of this client alone, and its port has no connections that linger.
    let mut server = Server::start(Kind::Rows)?;
    let told = BufReader::new(ChildStdout::from_std(server.told()?.into_inner())?);
    let mut command = tokio::process::Command::from((client.command)(&server.address, streams)?);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut process = command.kill_on_drop(true).spawn()?;
    let id = process.id().context("the client has just been started")?;
    tokio::select! {
        open = all_open(told, streams) => open?,
        ended = process.wait() => anyhow::bail!("it ended while it should hold streams: {}", ended?),
        () = tokio::time::sleep(PATIENCE) => anyhow::bail!("{streams} streams did not open in {PATIENCE:?}"),
    }
    let kib = resident_kib(id)?;
    process.kill().await?;
    Ok(as_f64(kib))
}

/// Waits until so many streams are open, and sees that they stay so for a while.
async fn all_open(mut told: BufReader<ChildStdout>, streams: u64) -> Result<()> {
    let mut open = 0;
    let mut line = String::new();
    let mut next = async |open: &mut u64| {
        line.clear();
        told.read_line(&mut line).await?;
        *open = line.trim().parse().context("the server ended")?;
        anyhow::Ok(())
    };
    while open < streams {
        next(&mut open).await?;
    }
    // Nothing opens any more, so whatever is told is a stream that ended.
    match tokio::time::timeout(SETTLE, next(&mut open)).await {
        Err(_) => Ok(()),
        Ok(told) => told.and_then(|()| anyhow::bail!("{open} of {streams} streams stayed open")),
    }
}

fn request() -> StreamRequest {
    StreamRequest {
        count: ENDLESS,
        size: SMALL,
        interval_ms: u32::try_from(INTERVAL.as_millis()).unwrap_or(u32::MAX),
    }
}

fn testmesh(amounts: (u64, u64)) -> Result<Client> {
    let testmesh = Testmesh::build()?;
    let command = move |address: &str, streams: u64| {
        let open_for = bare::OPEN_EVERY * u32::try_from(streams)?;
        let vars = [
            ("server", format!("http://{address}")),
            ("streams", streams.to_string()),
            ("open_for", format!("{}ms", open_for.as_millis())),
            ("rows", ENDLESS.to_string()),
            ("size", SMALL.to_string()),
            ("interval_ms", INTERVAL.as_millis().to_string()),
        ];
        let mut command = testmesh.run("memory.yaml", &vars);
        // Spans are made only for someone who may want them; they would go out when sessions end, which none does.
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}"));
        Ok(command)
    };
    Ok(Client {
        name: TESTMESH,
        does: "all checks, tracing 1 %; coordinator in the same process",
        amounts,
        command: Box::new(command),
    })
}

fn bare(amounts: (u64, u64)) -> Result<Client> {
    Ok(Client {
        name: BARE,
        does: "decodes",
        amounts,
        command: Box::new(|address, streams| bare::command(address, streams, request())),
    })
}

fn k6(amounts: (u64, u64)) -> Result<Client> {
    let k6 = K6::install()?;
    let command = move |address: &str, streams: u64| {
        let environment = [
            ("ADDRESS", address.to_owned()),
            ("STREAMS", streams.to_string()),
            ("COUNT", ENDLESS.to_string()),
            ("SIZE", SMALL.to_string()),
            ("INTERVAL_MS", INTERVAL.as_millis().to_string()),
        ];
        Ok(k6.run("stream.js", &environment))
    };
    Ok(Client {
        name: GRPC_STREAM,
        does: "decodes and counts",
        amounts,
        command: Box::new(command),
    })
}
