//! CPU per HTTP request with one expectation and one save, connections kept alive.

use anyhow::Result;

use crate::figures::{Figures, Must, Quantity, TESTMESH};
use crate::programs::{K6, Oha, Testmesh};
use crate::server::process::{Kind, Server};
use crate::slope::{Client, Effort, Need, Preparation, cpu_us, in_turn};

const K6_HTTP: &str = "k6 1.1 `http.get`";
/// The same where k6 begins an iteration for each request.
const K6_ITERATIONS: &str = "k6 1.1, an iteration each";
const OHA: &str = "oha 1.16";
/// A session for each request is what testmesh costs at its dearest.
const TESTMESH_SESSIONS: &str = "testmesh, a session each";
/// Users at once, each with a connection, in every client.
const USERS: u64 = 50;
/// Requests of a session, or of an iteration.
const REQUESTS: u64 = 20;

/// Runs the benchmark.
pub(crate) fn run(effort: &Effort) -> Result<Figures> {
    let fast = effort.amounts((100_000, 500_000), 50);
    let slow = effort.amounts((20_000, 100_000), 20);
    let clients = effort.prepare(&[
        Preparation {
            name: TESTMESH,
            need: Need::Must,
            prepare: &|| testmesh(TESTMESH, REQUESTS, fast),
        },
        Preparation {
            name: TESTMESH_SESSIONS,
            need: Need::Must,
            prepare: &|| testmesh(TESTMESH_SESSIONS, 1, fast),
        },
        Preparation {
            name: K6_HTTP,
            need: Need::Must,
            prepare: &|| k6(K6_HTTP, REQUESTS, slow),
        },
        Preparation {
            name: K6_ITERATIONS,
            need: Need::Nice,
            prepare: &|| k6(K6_ITERATIONS, 1, slow),
        },
        Preparation {
            name: OHA,
            need: Need::Nice,
            prepare: &|| oha(fast),
        },
    ])?;
    let server = Server::start(Kind::Http)?.unheard();
    let lines = in_turn(&clients, effort, |client, requests| {
        cpu_us(client, &server.address, requests)
    })?;
    Ok(Figures {
        title: "HTTP requests".to_owned(),
        quantity: Quantity {
            what: "CPU per request",
            unit: "µs",
            work: "requests",
            digits: 1,
        },
        lines,
        musts: vec![
            Must::Times {
                ours: TESTMESH,
                client: K6_HTTP,
                at_most: 1.0 / 3.0,
                said: "1/3",
            },
            Must::Times {
                ours: TESTMESH,
                client: OHA,
                at_most: 2.5,
                said: "2.5",
            },
            Must::Times {
                ours: TESTMESH_SESSIONS,
                client: K6_ITERATIONS,
                at_most: 1.0 / 3.0,
                said: "1/3",
            },
        ],
    })
}

fn testmesh(name: &'static str, each: u64, amounts: (u64, u64)) -> Result<Client> {
    let testmesh = Testmesh::build()?;
    let command = move |address: &str, requests: u64| {
        let vars = [
            ("server", format!("http://{address}")),
            ("users", USERS.to_string()),
            ("sessions", (requests / each).to_string()),
            ("requests", each.to_string()),
        ];
        Ok(testmesh.run("http.yaml", &vars))
    };
    Ok(Client {
        name,
        does: "an expectation, a save and all timing",
        amounts,
        command: Box::new(command),
    })
}

fn k6(name: &'static str, each: u64, amounts: (u64, u64)) -> Result<Client> {
    let k6 = K6::install()?;
    let command = move |address: &str, requests: u64| {
        let environment = [
            ("ADDRESS", address.to_owned()),
            ("USERS", USERS.to_string()),
            ("ITERATIONS", (requests / each).to_string()),
            ("REQUESTS", each.to_string()),
        ];
        Ok(k6.run("http.js", &environment))
    };
    Ok(Client {
        name,
        does: "a check, and reads the same value",
        amounts,
        command: Box::new(command),
    })
}

fn oha(amounts: (u64, u64)) -> Result<Client> {
    let oha = Oha::install()?;
    let command = move |address: &str, requests: u64| {
        let mut command = oha.run();
        command.args(["-n", &requests.to_string(), "-c", &USERS.to_string()]);
        command.arg(format!("http://{address}/jobs/1"));
        Ok(command)
    };
    Ok(Client {
        name: OHA,
        does: "checks nothing",
        amounts,
        command: Box::new(command),
    })
}
