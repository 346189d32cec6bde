//! `testmesh.v1.Control`: what the command line asks.
use super::server::Parts;
use super::{encode, status};
use crate::limits;
use crate::run::{EventLog, Lifecycle, RunOverview, StopMode, Submission};
use crate::store::StoredRun;
use crate::store::blobs::Incoming;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;
use testmesh_agent::driver::DRIVERS;
use testmesh_proto::v1;
use testmesh_proto::v1::control_server::Control;
use testmesh_shared::id::RunId;
use testmesh_shared::plan::{self, Files, Plan, Source, VarOverrides};
use testmesh_shared::rng::default_seed;
use testmesh_shared::telemetry::Traceparent;
use testmesh_shared::wire::from_proto;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

type Reply<T> = Result<Response<T>, Status>;
type ReplyStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The service.
#[derive(Debug)]
pub(super) struct ControlService {
    parts: Parts,
}

impl ControlService {
    pub(super) fn new(parts: Parts) -> Self {
        Self { parts }
    }

    /// Reads the plan again, as every agent will: whatever the command line said of it.
    async fn load(
        &self,
        request: v1::SubmitRequest,
    ) -> Result<Result<Plan, Vec<v1::Problem>>, Status> {
        if request.files.len() > limits::MAX_PLAN_FILES {
            let message = format!("a plan names at most {} files", limits::MAX_PLAN_FILES);
            return Err(Status::invalid_argument(message));
        }
        let text = self.blob(&request.plan_digest, &request.plan_file)?;
        let mut files = BlobFiles::default();
        for file in &request.files {
            files
                .content
                .insert(file.path.clone(), self.blob(&file.digest, &file.path)?);
        }
        let overrides = VarOverrides::from_json(&request.vars).map_err(|error| {
            Status::invalid_argument(format!("the variables are no JSON object: {error}"))
        })?;
        let narrowing = from_proto::narrowing(request.narrowing.as_ref());
        let name = request.plan_file;
        let work = move || {
            let text = std::str::from_utf8(&text).map_err(|error| vec![not_text(&name, &error)])?;
            let source = Source {
                name: &name,
                text,
                files: &files,
            };
            let loaded = plan::load(source, &overrides, DRIVERS);
            loaded
                .map(|(plan, _)| plan.narrowed(&narrowing))
                .map_err(|problems| problems.iter().map(encode::problem).collect())
        };
        let loaded = self.parts.tasks.spawn_blocking("load", work).await;
        let loaded = loaded.map_err(|_| {
            Status::internal("the plan could not be read; the coordinator's log says why")
        })?;
        loaded
            .map(|narrowed| narrowed.map_err(|error| Status::invalid_argument(error.to_string())))
            .map_or_else(|problems| Ok(Err(problems)), |plan| plan.map(Ok))
    }

    fn blob(&self, digest: &str, path: &str) -> Result<Arc<[u8]>, Status> {
        let missing = || {
            Status::failed_precondition(format!(
                "`{path}` was not uploaded, or too long ago: upload it again"
            ))
        };
        self.parts.blobs.find(digest).ok_or_else(missing)
    }

    async fn stored(&self, run: &str) -> Result<Option<StoredRun>, Status> {
        let Ok(id) = run.parse::<RunId>() else {
            return Err(status::no_run(run));
        };
        self.parts
            .store
            .find(&id)
            .await
            .map_err(|error| status::of_store(&error))
    }

    async fn live(&self, run: &str) -> Result<Option<crate::run::RunHandle>, Status> {
        let Ok(id) = run.parse::<RunId>() else {
            return Err(status::no_run(run));
        };
        Ok(self.parts.runs.find(id).await)
    }

    async fn overview(&self, run: &str) -> Result<RunOverview, Status> {
        if let Some(handle) = self.live(run).await? {
            return Ok(handle.overview());
        }
        match self.stored(run).await? {
            Some(stored) => Ok(stored.overview),
            None => Err(status::no_run(run)),
        }
    }
}

#[tonic::async_trait]
impl Control for ControlService {
    type WatchStream = ReplyStream<v1::RunEvent>;
    type GetReportStream = ReplyStream<v1::ReportChunk>;

    async fn put_blob(
        &self,
        request: Request<Streaming<v1::BlobChunk>>,
    ) -> Reply<v1::PutBlobReply> {
        let mut chunks = request.into_inner();
        let mut incoming = Incoming::default();
        while let Some(chunk) = chunks.message().await? {
            let taken = incoming.take(&chunk.digest, chunk.total, chunk.offset, &chunk.content);
            taken.map_err(|error| status::of_blob(&error))?;
        }
        let (digest, content) = incoming.finish().map_err(|error| status::of_blob(&error))?;
        self.parts.blobs.put(digest.clone(), content);
        Ok(Response::new(v1::PutBlobReply { digest }))
    }

    async fn submit(&self, request: Request<v1::SubmitRequest>) -> Reply<v1::SubmitReply> {
        let parent = Traceparent::extract_metadata(request.metadata());
        let request = request.into_inner();
        let (vars, seed, agents) = (request.vars.clone(), request.seed, request.agents);
        let narrowing = from_proto::narrowing(request.narrowing.as_ref());
        let plan = match self.load(request).await? {
            Ok(plan) => plan,
            Err(problems) => {
                return Ok(Response::new(v1::SubmitReply {
                    run: String::new(),
                    problems,
                }));
            }
        };
        let id = RunId::generate(self.parts.anchor.unix_ns_now());
        let seed = seed.unwrap_or_else(|| default_seed(plan.digest));
        let submission = Submission {
            id: id.clone(),
            plan: Arc::new(plan),
            vars,
            narrowing,
            seed,
            agents,
            parent,
        };
        self.parts
            .runs
            .submit(submission)
            .await
            .map_err(|error| status::of_submit(&error))?;
        Ok(Response::new(v1::SubmitReply {
            run: id.to_string(),
            problems: Vec::new(),
        }))
    }

    async fn watch(&self, request: Request<v1::WatchRequest>) -> Reply<Self::WatchStream> {
        let v1::WatchRequest { run, after } = request.into_inner();
        let (events, stream) = mpsc::channel(limits::WATCH_QUEUE);
        if let Some(handle) = self.live(&run).await? {
            let closing = self.parts.closing.clone();
            let watching = follow(handle.log(), after, events);
            self.parts.tasks.spawn("watch", async move {
                tokio::select! {
                    () = closing.cancelled() => {}
                    () = watching => {}
                }
            });
        } else {
            // Its other events are in its report.
            let overview = self.overview(&run).await?;
            let _ = events
                .send(Ok(encode::ended(&overview, after.saturating_add(1))))
                .await;
        }
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn list_runs(&self, _: Request<v1::ListRunsRequest>) -> Reply<v1::ListRunsReply> {
        let stored = self
            .parts
            .store
            .list()
            .await
            .map_err(|error| status::of_store(&error))?;
        let mut runs: BTreeMap<RunId, RunOverview> = stored
            .into_iter()
            .map(|run| (run.id.clone(), run))
            .collect();
        runs.extend(
            self.parts
                .runs
                .list()
                .await
                .into_iter()
                .map(|run| (run.id.clone(), run)),
        );
        let runs = runs.into_values().rev().map(encode::overview).collect();
        Ok(Response::new(v1::ListRunsReply { runs }))
    }

    async fn get_run(&self, request: Request<v1::GetRunRequest>) -> Reply<v1::RunSummary> {
        let overview = self.overview(&request.into_inner().run).await?;
        Ok(Response::new(encode::overview(overview)))
    }

    async fn stop_run(&self, request: Request<v1::StopRunRequest>) -> Reply<v1::StopRunReply> {
        let v1::StopRunRequest { run, abort } = request.into_inner();
        if let Some(handle) = self.live(&run).await? {
            handle
                .stop(if abort {
                    StopMode::Abort
                } else {
                    StopMode::Drain
                })
                .await;
        }
        let overview = self.overview(&run).await?;
        Ok(Response::new(v1::StopRunReply {
            state: overview.state.as_str().to_owned(),
        }))
    }

    async fn left_faults(
        &self,
        request: Request<v1::LeftFaultsRequest>,
    ) -> Reply<v1::LeftFaultsReply> {
        let run = request.into_inner().run;
        // What a run has not reverted yet, it will when it ends.
        if self.overview(&run).await?.state != Lifecycle::Sealed {
            return Err(Status::failed_precondition(format!(
                "run {run} is not over; `testmesh runs stop {run}` ends it, and its faults with it"
            )));
        }
        let id: RunId = run.parse().map_err(|_| status::no_run(&run))?;
        let reverts = self.parts.store.reverts(&id).await;
        let reverts = reverts.map_err(|error| status::of_store(&error))?;
        let left = reverts.into_iter().map(|revert| v1::LeftFault {
            fault: revert.fault,
            by_hand: revert.by_hand,
        });
        let left = left.collect();
        Ok(Response::new(v1::LeftFaultsReply { left }))
    }

    async fn get_report(
        &self,
        request: Request<v1::GetReportRequest>,
    ) -> Reply<Self::GetReportStream> {
        let v1::GetReportRequest { run, files } = request.into_inner();
        let Some(stored) = self.stored(&run).await? else {
            let overview = self.overview(&run).await?;
            let state = overview.state.as_str();
            let message = match overview.state {
                Lifecycle::Sealed => format!("the report of run {run} is no longer kept"),
                _ => format!("run {run} is {state}; its report is made when it is sealed"),
            };
            return Err(Status::failed_precondition(message));
        };
        let known: HashSet<&str> = stored.files.iter().map(|(name, _)| name.as_str()).collect();
        if let Some(unknown) = files.iter().find(|name| !known.contains(name.as_str())) {
            let names: Vec<_> = stored.files.iter().map(|(name, _)| name.as_str()).collect();
            let message = format!(
                "the report has no file `{unknown}`; it has {}",
                names.join(", ")
            );
            return Err(Status::not_found(message));
        }
        let wanted: HashSet<String> = files.into_iter().collect();
        let (chunks, stream) = mpsc::channel(limits::WATCH_QUEUE / 8);
        self.parts.tasks.spawn("report", async move {
            for (name, content) in stored
                .files
                .iter()
                .filter(|(name, _)| wanted.is_empty() || wanted.contains(name))
            {
                // An empty file is a chunk too, or nobody would know of it.
                for chunk in content
                    .chunks(limits::CHUNK)
                    .chain(content.is_empty().then_some(&[][..]))
                {
                    let chunk = v1::ReportChunk {
                        file: name.clone(),
                        content: chunk.to_vec(),
                    };
                    if chunks.send(Ok(chunk)).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn list_agents(&self, _: Request<v1::ListAgentsRequest>) -> Reply<v1::ListAgentsReply> {
        let agents = self.parts.registry.list().await;
        let agents = agents
            .into_iter()
            .map(|report| encode::agent(report, &self.parts.anchor))
            .collect();
        Ok(Response::new(v1::ListAgentsReply { agents }))
    }

    async fn drain_agent(&self, _: Request<v1::DrainAgentRequest>) -> Reply<v1::DrainAgentReply> {
        let message = "agents cannot be drained from here in this build: stop the agent's process, which drains it";
        Err(Status::unimplemented(message))
    }
}

/// Sends what was told after a number, and what follows, until the end or until nobody listens.
async fn follow(log: EventLog, mut after: u64, events: mpsc::Sender<Result<v1::RunEvent, Status>>) {
    let mut latest = log.watch();
    loop {
        // Before reading, so that what comes meanwhile wakes the loop again.
        latest.mark_unchanged();
        let (told, ended) = log.after(after);
        for one in told {
            after = one.number();
            if events.send(Ok(encode::told(&one))).await.is_err() {
                return;
            }
        }
        if ended {
            return;
        }
        tokio::select! {
            () = events.closed() => return,
            changed = latest.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

fn not_text(name: &str, error: &std::str::Utf8Error) -> v1::Problem {
    v1::Problem {
        file: name.to_owned(),
        line: 1,
        column: 1,
        code: "yaml".to_owned(),
        message: format!("the plan is not UTF-8 text: {error}"),
        hint: String::new(),
    }
}

/// The files that came with a plan.
#[derive(Debug, Default)]
struct BlobFiles {
    content: HashMap<String, Arc<[u8]>>,
}

impl Files for BlobFiles {
    fn read(&self, path: &str) -> Result<Arc<[u8]>, String> {
        self.content
            .get(path)
            .cloned()
            .ok_or_else(|| "it did not come with the plan".to_owned())
    }
}
