//! Proxies as processes: they serve, end with their handle, and survive their agent for a while.
use crate::kit::{LONG, Proxied, SOON, echo, free_port, opening, passes_again, takes};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use testmesh_agent::fault::proxy::{Effect, Ending, Order, ProxyProgram, Said};
use testmesh_shared::shutdown::{Shutdown, Tasks};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

const PROGRAM: &str = env!("CARGO_BIN_EXE_testmesh-agent");

#[tokio::test]
async fn a_proxy_process_serves_and_ends_with_its_run() {
    let program = ProxyProgram::Child(PathBuf::from(PROGRAM));
    let proxied = Proxied::start(&program).await;
    takes(&mut proxied.client().await).await;
    let effect = Effect {
        cut: Some(Ending::Close),
        ..Effect::default()
    };
    proxied.inject(effect).await;
    assert!(TcpStream::connect(proxied.listen).await.is_err());
    proxied.revert().await;
    takes(&mut proxied.client().await).await;
    let Proxied {
        handle,
        listen,
        tasks,
    } = proxied;
    drop(handle);
    gone(listen).await;
    drop(tasks);
}

/// The agent's end of the pipes is closed in the middle of a fault, as it is when the agent is killed.
#[tokio::test]
async fn a_proxy_whose_agent_died_passes_on_when_its_lease_ends_and_then_ends() {
    let tasks = Tasks::new(Shutdown::new());
    let to = echo(&tasks).await.to_string();
    let listen = free_port().await;
    let mut child = Command::new(PROGRAM)
        .arg("proxy")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut orders = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    let effect = Effect {
        cut: Some(Ending::Reset),
        ..Effect::default()
    };
    let inject = Order::Inject {
        fault: "f".to_owned(),
        effect,
        lease_ms: 700,
    };
    for order in [Order::Open(opening(listen, to)), inject] {
        let mut line = serde_json::to_vec(&order).unwrap();
        line.push(b'\n');
        orders.write_all(&line).await.unwrap();
        let answer = timeout(SOON, answers.next_line()).await.unwrap().unwrap();
        let said: Said = serde_json::from_str(&answer.unwrap()).unwrap();
        assert!(!matches!(said, Said::Failed { .. }), "{said:?}");
    }
    let died = Instant::now();
    drop((orders, answers));
    sleep(Duration::from_millis(200)).await;
    let refused = TcpStream::connect(listen).await.unwrap_err();
    assert_eq!(
        refused.kind(),
        ErrorKind::ConnectionRefused,
        "the fault outlives the agent"
    );
    passes_again(listen).await;
    assert!(
        died.elapsed() < Duration::from_millis(1_400),
        "{:?}",
        died.elapsed()
    );
    // After 1.5 s alone it ends by itself.
    let status = timeout(SOON, child.wait()).await.unwrap().unwrap();
    assert!(status.success(), "{status}");
    assert!(
        died.elapsed() >= Duration::from_millis(1_400),
        "{:?}",
        died.elapsed()
    );
    gone(listen).await;
}

#[tokio::test]
async fn nonsense_ends_a_proxy_with_a_word() {
    let mut child = Command::new(PROGRAM)
        .arg("proxy")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut orders = child.stdin.take().unwrap();
    orders.write_all(b"hello\n").await.unwrap();
    let output = timeout(SOON, child.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("error: the proxy ended"), "{said}");
}

async fn gone(listen: std::net::SocketAddr) {
    let ends = async {
        while TcpStream::connect(listen).await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, ends).await.expect("the proxy ends");
    let _ = LONG;
}
