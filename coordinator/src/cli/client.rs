//! The client of `testmesh.v1.Control`: what every command speaks to a coordinator through, near or far.
//!
//! Calls have bounds of their own, so that a coordinator that hangs is an error and not a wait.
use super::error::CliError;
use super::package::Package;
use std::collections::BTreeMap;
use std::time::Duration;
use testmesh_proto::v1::control_client::ControlClient;
use testmesh_proto::v1::{
    BlobChunk, GetReportRequest, GetRunRequest, LeftFaultsReply, LeftFaultsRequest,
    ListAgentsReply, ListAgentsRequest, ListRunsReply, ListRunsRequest, RunEvent, RunSummary,
    StopRunRequest, SubmitReply, SubmitRequest, WatchRequest,
};
use testmesh_shared::plan::Narrowing;
use testmesh_shared::wire::to_proto;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};
use url::Url;

/// Time to connect.
const CONNECT: Duration = Duration::from_secs(5);
/// Time for a call that answers at once.
const CALL: Duration = Duration::from_secs(30);
/// Time to upload one blob or fetch one report.
const TRANSFER: Duration = Duration::from_secs(300);
/// How often an idle connection is asked whether it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Bytes of one chunk of a blob.
const CHUNK: usize = 512 * 1024;
/// Largest message taken from a coordinator.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;
/// Largest report taken from a coordinator, all files together.
const MAX_REPORT: usize = 512 * 1024 * 1024;

/// What a run is started with.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// Overrides of the plan's vars, a JSON object.
    pub vars: String,
    /// The seed; absent: from the plan.
    pub seed: Option<u64>,
    /// How many agents; absent: all that are free.
    pub agents: Option<u32>,
    /// Which part of the plan.
    pub narrowing: Narrowing,
}

/// A connection to a coordinator. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    control: ControlClient<Channel>,
    url: String,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// [`CliError::Unreachable`] if nobody answers within seconds; a usage error if the address is no http address.
    pub async fn connect(url: &Url) -> Result<Self, CliError> {
        if url.scheme() != "http" || url.host_str().is_none() {
            return Err(CliError::usage(
                format!("`{url}` is no address of a coordinator"),
                "an address looks like http://127.0.0.1:7411; TLS is not there yet",
            ));
        }
        let unreachable = |source: tonic::transport::Error| CliError::Unreachable {
            url: url.to_string(),
            source: source.into(),
        };
        let endpoint = Endpoint::from_shared(url.to_string())
            .map_err(unreachable)?
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true);
        let channel = endpoint.connect().await.map_err(unreachable)?;
        let control = ControlClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
        Ok(Self {
            control,
            url: url.to_string(),
        })
    }

    /// Uploads the plan with its files, and submits it. Problems of the plan come back in the reply.
    ///
    /// # Errors
    /// If the coordinator refuses for another reason than the plan, or goes away.
    pub async fn submit(
        &mut self,
        package: &Package,
        order: Order,
    ) -> Result<SubmitReply, CliError> {
        for (digest, content) in package.blobs() {
            self.put_blob(digest, content).await?;
        }
        let request = SubmitRequest {
            plan_file: package.plan_file(),
            plan_digest: package.plan_digest(),
            files: package.files(),
            vars: order.vars,
            seed: order.seed,
            agents: order.agents.unwrap_or(0),
            narrowing: to_proto::narrowing(&order.narrowing),
        };
        let reply = bounded(CALL, self.control.submit(request)).await;
        Ok(reply
            .map_err(|status| self.refused("submit the plan", &status))?
            .into_inner())
    }

    async fn put_blob(&mut self, digest: String, content: &[u8]) -> Result<(), CliError> {
        let total = content.len() as u64;
        let mut chunks: Vec<BlobChunk> = Vec::new();
        let mut offset = 0;
        // An empty file is a blob too: one chunk without content.
        for part in content
            .chunks(CHUNK)
            .chain(content.is_empty().then_some(content))
        {
            chunks.push(BlobChunk {
                digest: digest.clone(),
                total,
                offset,
                content: part.to_vec(),
            });
            offset += part.len() as u64;
        }
        let reply = bounded(TRANSFER, self.control.put_blob(tokio_stream::iter(chunks))).await;
        reply
            .map(drop)
            .map_err(|status| self.refused("upload the plan", &status))
    }

    /// Events of a run from `after` on, then live until the run is sealed.
    ///
    /// # Errors
    /// If there is no such run, or the coordinator goes away.
    pub async fn watch(&mut self, run: &str, after: u64) -> Result<Streaming<RunEvent>, CliError> {
        let request = WatchRequest {
            run: run.to_owned(),
            after,
        };
        let reply = bounded(CALL, self.control.watch(request)).await;
        Ok(reply
            .map_err(|status| self.refused("follow the run", &status))?
            .into_inner())
    }

    /// Faults of a sealed run that may still be there.
    ///
    /// # Errors
    /// If there is no such run, it is not over, or the coordinator goes away.
    pub async fn left_faults(&mut self, run: &str) -> Result<LeftFaultsReply, CliError> {
        let request = LeftFaultsRequest {
            run: run.to_owned(),
        };
        let reply = bounded(CALL, self.control.left_faults(request)).await;
        Ok(reply
            .map_err(|status| self.refused("ask for the run's faults", &status))?
            .into_inner())
    }

    /// Every run that the coordinator knows.
    ///
    /// # Errors
    /// If the coordinator goes away.
    pub async fn list_runs(&mut self) -> Result<ListRunsReply, CliError> {
        let reply = bounded(CALL, self.control.list_runs(ListRunsRequest {})).await;
        Ok(reply
            .map_err(|status| self.refused("list runs", &status))?
            .into_inner())
    }

    /// The id that the user means: `latest` is the run that was submitted last.
    ///
    /// # Errors
    /// If there is no run at all, or the coordinator goes away.
    pub async fn resolve(&mut self, run: &str) -> Result<String, CliError> {
        if run != "latest" {
            return Ok(run.to_owned());
        }
        let runs = self.list_runs().await?.runs;
        let latest = runs
            .into_iter()
            .max_by_key(|run| run.submitted_ns)
            .map(|run| run.run);
        latest.ok_or_else(|| CliError::Refused {
            operation: "find the latest run",
            message: "the coordinator has no runs".to_owned(),
            hint: None,
        })
    }

    /// Where a run stands.
    ///
    /// # Errors
    /// If there is no such run, or the coordinator goes away.
    pub async fn run(&mut self, run: &str) -> Result<RunSummary, CliError> {
        let reply = bounded(
            CALL,
            self.control.get_run(GetRunRequest {
                run: run.to_owned(),
            }),
        )
        .await;
        Ok(reply
            .map_err(|status| self.refused("show the run", &status))?
            .into_inner())
    }

    /// Stops a run; returns the state that it is in then.
    ///
    /// # Errors
    /// If there is no such run, or the coordinator goes away.
    pub async fn stop(&mut self, run: &str, abort: bool) -> Result<String, CliError> {
        let request = StopRunRequest {
            run: run.to_owned(),
            abort,
        };
        let reply = bounded(CALL, self.control.stop_run(request)).await;
        Ok(reply
            .map_err(|status| self.refused("stop the run", &status))?
            .into_inner()
            .state)
    }

    /// The files of a sealed run's report; none named: all.
    ///
    /// # Errors
    /// If the run is not sealed, or the coordinator goes away, or the report is beyond all measure.
    pub async fn report(
        &mut self,
        run: &str,
        files: &[&str],
    ) -> Result<BTreeMap<String, Vec<u8>>, CliError> {
        let files = files.iter().map(|file| (*file).to_owned()).collect();
        let request = GetReportRequest {
            run: run.to_owned(),
            files,
        };
        let fetched = bounded(TRANSFER, async {
            let mut chunks = self.control.get_report(request).await?.into_inner();
            let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
            let mut size = 0;
            while let Some(chunk) = chunks.message().await? {
                size += chunk.content.len();
                if size > MAX_REPORT {
                    return Err(Status::out_of_range("the report is larger than 512 MiB"));
                }
                files.entry(chunk.file).or_default().extend(chunk.content);
            }
            Ok(files)
        });
        fetched
            .await
            .map_err(|status| self.refused("fetch the report", &status))
    }

    /// The agents of the mesh.
    ///
    /// # Errors
    /// If the coordinator goes away.
    pub async fn list_agents(&mut self) -> Result<ListAgentsReply, CliError> {
        let reply = bounded(CALL, self.control.list_agents(ListAgentsRequest {})).await;
        Ok(reply
            .map_err(|status| self.refused("list agents", &status))?
            .into_inner())
    }

    fn refused(&self, operation: &'static str, status: &Status) -> CliError {
        let message = status.message().to_owned();
        match status.code() {
            Code::Unavailable | Code::DeadlineExceeded => CliError::Unreachable {
                url: self.url.clone(),
                source: message.into(),
            },
            Code::Unimplemented => {
                let hint = format!("is {} a testmesh coordinator of this version?", self.url);
                CliError::Refused {
                    operation,
                    message: "the server does not know the call".to_owned(),
                    hint: Some(hint),
                }
            }
            _ => CliError::Refused {
                operation,
                message,
                hint: None,
            },
        }
    }
}

/// A call with a bound; beyond it, the coordinator counts as gone.
async fn bounded<T>(
    within: Duration,
    call: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    match tokio::time::timeout(within, call).await {
        Ok(result) => result,
        Err(_) => Err(Status::deadline_exceeded(format!(
            "no answer within {} s",
            within.as_secs()
        ))),
    }
}
