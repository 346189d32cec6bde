//! The client to be measured against: tonic on one thread, every row decoded, nothing else done.

use anyhow::{Context as _, Result};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tonic_prost::ProstCodec;

use crate::rows::{METHOD, Row, StreamRequest};

/// What to receive.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The server, as HOST:PORT.
    #[arg(long)]
    pub(crate) address: String,
    /// Streams at once, each on a connection of its own.
    #[arg(long, default_value_t = 2)]
    pub(crate) streams: u64,
    /// Rows in each stream.
    #[arg(long)]
    pub(crate) count: u64,
    /// Bytes of payload in each row.
    #[arg(long, default_value_t = 186)]
    pub(crate) size: u32,
}

/// Receives all streams on one thread.
pub(crate) fn run(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let streams =
        (0..options.streams).map(|_| receive(&options.address, options.count, options.size));
    let received = runtime.block_on(async {
        let mut received = 0;
        let mut streams: Vec<_> = streams.map(Box::pin).collect();
        // A stream each, polled together by this one task: the least that a client can do.
        std::future::poll_fn(|context| {
            let mut error = None;
            streams.retain_mut(|stream| match stream.as_mut().poll(context) {
                std::task::Poll::Pending => true,
                std::task::Poll::Ready(Ok(rows)) => {
                    received += rows;
                    false
                }
                std::task::Poll::Ready(Err(failed)) => {
                    error = Some(failed);
                    false
                }
            });
            match error {
                Some(error) => std::task::Poll::Ready(Err(error)),
                None if streams.is_empty() => std::task::Poll::Ready(Ok(received)),
                None => std::task::Poll::Pending,
            }
        })
        .await
    })?;
    let expected = options.streams * options.count;
    anyhow::ensure!(
        received == expected,
        "received {received} of {expected} rows"
    );
    Ok(())
}

/// Receives one stream and counts its rows.
pub(crate) async fn receive(address: &str, count: u64, size: u32) -> Result<u64> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(8 << 20);
    let channel = endpoint
        .connect()
        .await
        .with_context(|| format!("failed to connect to {address}"))?;
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await?;
    let request = tonic::Request::new(StreamRequest { count, size });
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
    use crate::server::serve;

    #[tokio::test]
    async fn the_bare_client_receives_every_row_of_the_server() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let server = serve(listener, async {
            let _stopped = stopped.await;
        });
        let client = async {
            let received = receive(&address, 10_000, 186).await;
            stop.send(()).unwrap();
            received
        };
        let (server, received) = tokio::join!(server, client);
        server.unwrap();
        assert_eq!(received.unwrap(), 10_000);
    }
}
