//! CPU per stream message: one server, several clients in turn.

use anyhow::Result;

use crate::bare;
use crate::figures::{Figures, Must, Quantity, TESTMESH};
use crate::programs::{K6, Testmesh};
use crate::rows::StreamRequest;
use crate::server::process::{Kind, Server};
use crate::slope::{Client, Effort, Need, Preparation, cpu_us, in_turn};

pub(crate) const BARE: &str = "bare tonic";
pub(crate) const GRPC_STREAM: &str = "k6 1.1 `grpc.Stream`";
/// The payload that makes messages of 200 bytes.
pub(crate) const SMALL: u32 = 186;
/// The payload of large messages.
pub(crate) const LARGE: u32 = 50_000;
/// Streams at once, in every client.
const STREAMS: u64 = 2;

/// What to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    effort: Effort,
    /// Bytes of payload in each row; 186 make messages of 200.
    #[arg(long, default_value_t = SMALL)]
    size: u32,
}

impl Options {
    pub(crate) fn new(effort: &Effort, size: u32) -> Self {
        let effort = effort.clone();
        Self { effort, size }
    }
}

/// Runs the benchmark.
pub(crate) fn run(options: &Options) -> Result<Figures> {
    let size = options.size;
    let effort = &options.effort;
    // Large rows cost more, so fewer of them give as straight a slope.
    let heavier = u64::from(size / 500).max(1);
    let fast = effort.amounts((2_000_000 / heavier, 10_000_000 / heavier), 50);
    let slow = effort.amounts((200_000 / heavier, 1_000_000 / heavier), 50);
    let clients = effort.prepare(&[
        Preparation {
            name: TESTMESH,
            need: Need::Must,
            prepare: &|| testmesh(fast, size),
        },
        Preparation {
            name: BARE,
            need: Need::Must,
            prepare: &|| bare(fast, size),
        },
        Preparation {
            name: GRPC_STREAM,
            need: Need::Must,
            prepare: &|| k6(slow, size),
        },
    ])?;
    let server = Server::start(Kind::Rows)?.unheard();
    let lines = in_turn(&clients, effort, |client, rows| {
        cpu_us(client, &server.address, rows)
    })?;
    Ok(Figures {
        title: format!("Stream messages with {size} bytes of payload"),
        quantity: Quantity {
            what: "CPU per message",
            unit: "µs",
            work: "messages",
            digits: 3,
        },
        lines,
        musts: musts(size),
    })
}

fn musts(size: u32) -> Vec<Must> {
    let times = |client, at_most, said| Must::Times {
        ours: TESTMESH,
        client,
        at_most,
        said,
    };
    match size {
        SMALL => vec![
            times(GRPC_STREAM, 1.0 / 40.0, "1/40"),
            times(BARE, 1.25, "1.25"),
        ],
        LARGE => vec![
            times(GRPC_STREAM, 1.0 / 18.0, "1/18"),
            times(BARE, 1.2, "1.2"),
        ],
        _ => Vec::new(),
    }
}

fn testmesh(amounts: (u64, u64), size: u32) -> Result<Client> {
    let testmesh = Testmesh::build()?;
    let command = move |address: &str, rows: u64| {
        let vars = [
            ("server", format!("http://{address}")),
            ("streams", STREAMS.to_string()),
            ("rows", (rows / STREAMS).to_string()),
            ("size", size.to_string()),
        ];
        Ok(testmesh.run("stream.yaml", &vars))
    };
    Ok(Client {
        name: TESTMESH,
        does: "sequence, checksum and timing of every row",
        amounts,
        command: Box::new(command),
    })
}

fn bare(amounts: (u64, u64), size: u32) -> Result<Client> {
    let command = move |address: &str, rows: u64| {
        let each = StreamRequest {
            count: rows / STREAMS,
            size,
            interval_ms: 0,
        };
        bare::command(address, STREAMS, each)
    };
    Ok(Client {
        name: BARE,
        does: "decodes",
        amounts,
        command: Box::new(command),
    })
}

fn k6(amounts: (u64, u64), size: u32) -> Result<Client> {
    let k6 = K6::install()?;
    let command = move |address: &str, rows: u64| {
        let environment = [
            ("ADDRESS", address.to_owned()),
            ("STREAMS", STREAMS.to_string()),
            ("COUNT", (rows / STREAMS).to_string()),
            ("SIZE", size.to_string()),
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
