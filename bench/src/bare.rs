//! The client to be measured against: tonic on one thread, every row decoded, nothing else done.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tonic_prost::ProstCodec;

use crate::programs::itself;
use crate::rows::{METHOD, Row, StreamRequest};

/// Between the openings of two paced streams: the queue of a server's listener is finite.
pub(crate) const OPEN_EVERY: Duration = Duration::from_millis(2);

/// What to receive.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The server, as HOST:PORT.
    #[arg(long)]
    address: String,
    /// Streams at once, each on a connection of its own.
    #[arg(long)]
    streams: u64,
    /// Rows in each stream.
    #[arg(long)]
    count: u64,
    /// Bytes of payload in each row.
    #[arg(long)]
    size: u32,
    /// Between two rows; 0 is as fast as they come.
    #[arg(long, default_value_t = 0)]
    interval_ms: u32,
}

/// The command that receives so many streams.
pub(crate) fn command(address: &str, streams: u64, each: StreamRequest) -> Result<Command> {
    let mut command = Command::new(itself()?);
    command.args(["bare", "--address", address]);
    let numbers = [
        ("--streams", streams),
        ("--count", each.count),
        ("--size", each.size.into()),
        ("--interval-ms", each.interval_ms.into()),
    ];
    for (name, value) in numbers {
        command.args([name, &value.to_string()]);
    }
    Ok(command)
}

/// Receives all streams on one thread.
pub(crate) fn run(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let request = StreamRequest {
        count: options.count,
        size: options.size,
        interval_ms: options.interval_ms,
    };
    let received = runtime.block_on(async {
        let mut streams = JoinSet::new();
        for _ in 0..options.streams {
            streams.spawn(receive(options.address.clone(), request));
            // Thousands of streams that are to stay open must not all knock at once.
            if request.interval_ms > 0 {
                tokio::time::sleep(OPEN_EVERY).await;
            }
        }
        let mut received = 0;
        while let Some(rows) = streams.join_next().await {
            received += rows??;
        }
        anyhow::Ok(received)
    })?;
    let expected = options.streams * options.count;
    anyhow::ensure!(
        received == expected,
        "received {received} of {expected} rows"
    );
    Ok(())
}

/// Receives one stream and counts its rows.
pub(crate) async fn receive(address: String, request: StreamRequest) -> Result<u64> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(8 << 20);
    let channel = endpoint
        .connect()
        .await
        .with_context(|| format!("failed to connect to {address}"))?;
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await?;
    let request = tonic::Request::new(request);
    let codec = ProstCodec::<StreamRequest, Row>::default();
    let response = client
        .server_streaming(request, PathAndQuery::from_static(METHOD), codec)
        .await?;
    let mut stream = response.into_inner();
    let mut received = 0;
    while stream.message().await?.is_some() {
        received += 1;
    }
    Ok(received)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::rows::serve;

    #[tokio::test]
    async fn the_bare_client_receives_every_row_of_the_server() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = serve(listener, async {
            let _stopped = stopped.await;
        });
        let client = async {
            let request = |count, interval_ms| StreamRequest {
                count,
                size: 186,
                interval_ms,
            };
            let received = receive(address.clone(), request(10_000, 0)).await;
            let paced = receive(address, request(3, 5)).await;
            stop.send(()).unwrap();
            (received, paced)
        };
        let (server, (received, paced)) = tokio::join!(server, client);
        server.unwrap();
        assert_eq!((received.unwrap(), paced.unwrap()), (10_000, 3));
    }
}
