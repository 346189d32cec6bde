//! Time from the start of the process to the first byte of the first request at the server.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::Instant;
use xtask::process::say;

use crate::figures::{Figures, Line, Must, Quantity, TESTMESH};
use crate::programs::{K6, Testmesh};
use crate::server::http::BODY;
use crate::slope::{Effort, Need, Preparation};

const K6_START: &str = "k6 1.1";

struct Client {
    name: &'static str,
    does: &'static str,
    command: Box<dyn Fn(&str) -> Command>,
}

/// Runs the benchmark. A start is short, so each round has several.
pub(crate) fn run(effort: &Effort) -> Result<Figures> {
    let starts = effort.rounds * if effort.quick { 1 } else { 4 };
    let clients = effort.prepare(&[
        Preparation {
            name: TESTMESH,
            need: Need::Must,
            prepare: &testmesh,
        },
        Preparation {
            name: K6_START,
            need: Need::Must,
            prepare: &k6,
        },
    ])?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut lines: Vec<_> = clients
        .iter()
        .map(|client| Line {
            client: client.name.to_owned(),
            does: client.does.to_owned(),
            work: starts.to_string(),
            values: Vec::new(),
        })
        .collect();
    for start in 1..=starts {
        for (client, line) in clients.iter().zip(&mut lines) {
            let ms = runtime
                .block_on(first_request(&client.command))
                .with_context(|| format!("{} gave no figure", client.name))?;
            say(&format!("start {start}, {}: {ms:.0} ms", client.name));
            line.values.push(ms);
        }
    }
    Ok(Figures {
        title: "Start to first request".to_owned(),
        quantity: Quantity {
            what: "time to the first request",
            unit: "ms",
            work: "starts",
            digits: 0,
        },
        lines,
        musts: vec![Must::AtMost(500.0)],
    })
}

/// Milliseconds from starting a command to its first request, which is answered, and after which it must succeed.
async fn first_request(command: &dyn Fn(&str) -> Command) -> Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let mut command = tokio::process::Command::from(command(&listener.local_addr()?.to_string()));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let started = Instant::now();
    let process = command.spawn()?;
    let mut ended = Box::pin(process.wait_with_output());
    let asked = async {
        let (mut socket, _) = listener.accept().await?;
        let mut request = [0; 4_096];
        let read = socket.read(&mut request).await?;
        let elapsed = started.elapsed();
        anyhow::ensure!(read > 0, "a connection without a request came");
        let length = BODY.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
             connection: close\r\n\r\n{BODY}"
        );
        socket.write_all(answer.as_bytes()).await?;
        anyhow::Ok(elapsed)
    };
    let elapsed = tokio::select! {
        elapsed = asked => elapsed?,
        output = &mut ended => anyhow::bail!("it sent no request: {}", shown(&output?)),
    };
    let output = ended.await?;
    anyhow::ensure!(output.status.success(), "it failed: {}", shown(&output));
    Ok(elapsed.as_secs_f64() * 1e3)
}

fn shown(output: &std::process::Output) -> String {
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    format!("{}\n{stdout}{stderr}", output.status)
}

fn testmesh() -> Result<Client> {
    let testmesh = Testmesh::build()?;
    let command = move |address: &str| {
        let vars = [
            ("server", format!("http://{address}")),
            ("users", "1".to_owned()),
            ("sessions", "1".to_owned()),
            ("requests", "1".to_owned()),
        ];
        testmesh.run("http.yaml", &vars)
    };
    Ok(Client {
        name: TESTMESH,
        does: "coordinator and agent in one process",
        command: Box::new(command),
    })
}

fn k6() -> Result<Client> {
    let k6 = K6::install()?;
    let command = move |address: &str| {
        let environment = [
            ("ADDRESS", address.to_owned()),
            ("USERS", "1".to_owned()),
            ("ITERATIONS", "1".to_owned()),
            ("REQUESTS", "1".to_owned()),
        ];
        k6.run("http.js", &environment)
    };
    Ok(Client {
        name: K6_START,
        does: "one process",
        command: Box::new(command),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client of a few words: bash opens the connection by itself.
    fn says(words: &str) -> impl Fn(&str) -> Command {
        move |address| {
            let place = address.replace(':', "/");
            let mut command = Command::new("bash");
            command.args(["-c", &format!("exec 3<>/dev/tcp/{place}; {words}")]);
            command
        }
    }

    #[tokio::test]
    async fn the_first_request_is_timed_and_answered() {
        let asks = says("printf 'GET / HTTP/1.1\\r\\n\\r\\n' >&3; grep -q job-0042 <&3");
        let ms = first_request(&asks).await.unwrap();
        assert!((0.0..60_000.0).contains(&ms), "{ms}");
        let fails = says("printf 'GET / HTTP/1.1\\r\\n\\r\\n' >&3; echo broken >&2; exit 3");
        let error = first_request(&fails).await.unwrap_err();
        assert!(error.to_string().contains("broken"), "{error}");
        let ends = |_: &str| Command::new("true");
        assert!(first_request(&ends).await.is_err());
    }
}
