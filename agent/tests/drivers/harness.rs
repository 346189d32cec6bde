//! Runs single stages of a plan, without the session runner, and keeps what they measured.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::{Arc, Once};
use std::time::Duration;

use testmesh_agent::driver::contract::{
    Attempt, DataFault, Drives, Meter, Note, Results, RowCounts, RowKey, StageError,
};
use testmesh_agent::driver::transcript::Listener;
use testmesh_agent::driver::{Connections, DRIVERS, During};
use testmesh_agent::integrity::{MeshClock, Truths};
use testmesh_shared::metric::MetricId;
use testmesh_shared::plan::expr::Scope;
use testmesh_shared::plan::{self, Action, Files, Plan, Problem, Source, Stage, VarOverrides};
use tokio::time::Instant;

/// Files that a plan may name.
#[derive(Default)]
pub(crate) struct Tree(pub(crate) BTreeMap<String, Vec<u8>>);

impl Files for Tree {
    fn read(&self, path: &str) -> Result<Arc<[u8]>, String> {
        self.0
            .get(path)
            .map(|bytes| Arc::from(bytes.as_slice()))
            .ok_or_else(|| "no such file".to_owned())
    }
}

/// The service that the scripted servers stand for.
pub(crate) const PROTO: &str = r#"
syntax = "proto3";
package t;
message Ask { int32 id = 1; string text = 2; bytes raw = 3; Ask inner = 4; Colour colour = 5; }
message Row {
    repeated int32 number = 1; repeated int64 key = 2; repeated bytes data = 3; int64 sent_ms = 4; Head head = 5;
    string name = 6;
}
message Head { sint64 number = 1; string id = 2; }
message Answer { int64 value = 1; repeated string words = 2; uint64 big = 3; }
enum Colour { NONE = 0; RED = 1; }
service S {
    rpc Rows(Ask) returns (stream Row);
    rpc Get(Ask) returns (Answer);
    rpc Upload(stream Ask) returns (Answer);
    rpc Chat(stream Ask) returns (stream Row);
}
"#;

pub(crate) fn tree() -> Tree {
    Tree(BTreeMap::from([(
        "protos/t.proto".to_owned(),
        PROTO.as_bytes().to_vec(),
    )]))
}

/// Loads a plan with these targets and stages.
pub(crate) fn load(
    targets: &str,
    stages: &str,
    tree: &Tree,
) -> Result<(Plan, Vec<Problem>), Vec<Problem>> {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    let mut text = "testmesh: v1\nname: test\nsecrets: [token]\ntargets:\n".to_owned();
    indent(&mut text, targets, 2);
    text.push_str("scenarios:\n  s:\n    load: once\n    stages:\n");
    indent(&mut text, stages, 6);
    let source = Source {
        name: "test.yaml",
        text: &text,
        files: tree,
    };
    plan::load(source, &VarOverrides::default(), DRIVERS)
}

/// Reads an example of the reference, which must have no problem.
#[cfg(any(feature = "amqp", feature = "kubernetes"))]
pub(crate) fn read_example(text: &str) {
    let source = Source {
        name: "example.yaml",
        text,
        files: &Tree::default(),
    };
    let read = plan::load(source, &VarOverrides::default(), DRIVERS);
    let (_, notes) = read.unwrap_or_else(|problems| panic!("{problems:#?}"));
    assert!(notes.is_empty(), "{notes:#?}");
}

fn indent(text: &mut String, lines: &str, by: usize) {
    for line in lines.lines() {
        writeln!(text, "{:by$}{line}", "").expect("writing to a string");
    }
}

/// Stages of a plan, ready to run, as one virtual user has them.
pub(crate) struct Bench {
    plan: Plan,
    root: Connections,
    user: RefCell<Connections>,
    session: RefCell<Connections>,
    pub(crate) clock: MeshClock,
    truths: Truths,
    pub(crate) meter: Recorded,
}

impl Bench {
    pub(crate) fn new(targets: &str, stages: &str) -> Self {
        Self::with(targets, stages, &tree())
    }

    pub(crate) fn with(targets: &str, stages: &str, tree: &Tree) -> Self {
        let (plan, _) =
            load(targets, stages, tree).unwrap_or_else(|problems| panic!("{problems:#?}"));
        let root = Connections::worker(0, 1, &Arc::default());
        let user = root.for_virtual_user();
        let session = user.for_session();
        Self {
            plan,
            root,
            user: user.into(),
            session: session.into(),
            clock: MeshClock::default(),
            truths: Truths::default(),
            meter: Recorded::default(),
        }
    }

    pub(crate) fn next_session(&self) {
        let next = self.user.borrow().for_session();
        self.session.replace(next);
    }

    pub(crate) fn next_user(&self) {
        self.user.replace(self.root.for_virtual_user());
        self.next_session();
    }

    fn stage(&self, name: &str) -> &Stage {
        self.plan.scenarios[0]
            .stages
            .iter()
            .find(|stage| stage.name == name)
            .expect("a stage of the plan")
    }

    /// One try of a stage.
    pub(crate) async fn run(&self, name: &str) -> Result<Results, StageError> {
        self.run_in(name, &scope()).await
    }

    pub(crate) async fn run_in(
        &self,
        name: &str,
        scope: &Scope<'_>,
    ) -> Result<Results, StageError> {
        self.run_beside(name, scope, None).await
    }

    /// One try of a stage, with something beside its stream.
    pub(crate) async fn run_beside(
        &self,
        name: &str,
        scope: &Scope<'_>,
        during: Option<&dyn During>,
    ) -> Result<Results, StageError> {
        self.run_with(name, scope, during, None).await
    }

    /// One try of a stage to which somebody listens.
    pub(crate) async fn run_heard(
        &self,
        name: &str,
        scope: &Scope<'_>,
        listener: &dyn Listener,
    ) -> Result<Results, StageError> {
        self.run_with(name, scope, None, Some(listener)).await
    }

    /// The connections of the session; they are open for as long as this lives.
    pub(crate) fn connections(&self) -> Connections {
        self.session.borrow().clone()
    }

    async fn run_with(
        &self,
        name: &str,
        scope: &Scope<'_>,
        during: Option<&dyn During>,
        listener: Option<&dyn Listener>,
    ) -> Result<Results, StageError> {
        let stage = self.stage(name);
        let Action::Drive { stage: drives, .. } = &stage.action else {
            panic!("{name} is no driver's stage")
        };
        let drives: &Drives = drives
            .as_any()
            .downcast_ref()
            .expect("every driver's stage is one that it drives");
        let connections = self.session.borrow().clone();
        let attempt = Attempt {
            listener,
            deadline: stage.timeout.map(|limit| Instant::now() + limit),
            stage,
            scope,
            connections: &connections,
            meter: &self.meter,
            traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            session: 7,
            run_started: Instant::now(),
            clock: &self.clock,
            truths: &self.truths,
            during,
        };
        drives.0.run(&attempt).await
    }

    /// One try that must fail: its kind and its code.
    pub(crate) async fn failure(&self, name: &str) -> (&'static str, Option<&'static str>) {
        let error = self.run(name).await.expect_err("the stage fails");
        assert!(!error.message.is_empty());
        (error.kind.as_str(), error.code)
    }
}

pub(crate) fn scope() -> Scope<'static> {
    use testmesh_shared::plan::expr::Value;
    let mut scope = Scope::root();
    scope.set("secrets", Value::map([("token", Value::from("s3cret"))]));
    scope.set_field("session", "id", "abc");
    scope.set_field("session", "index", 7_i64);
    scope
}

/// What a stage measured.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    pub(crate) connects: Cell<u64>,
    pub(crate) first_bytes: Cell<u64>,
    pub(crate) statuses: RefCell<Vec<i64>>,
    pub(crate) first_messages: Cell<u64>,
    pub(crate) messages: Cell<u64>,
    pub(crate) rows: Cell<u64>,
    pub(crate) bytes: Cell<u64>,
    pub(crate) gaps: Cell<u64>,
    pub(crate) stalls: RefCell<Vec<Duration>>,
    pub(crate) latencies: RefCell<Vec<Duration>>,
    pub(crate) durations: Cell<u64>,
    pub(crate) watched: RefCell<Vec<(String, Duration)>>,
    pub(crate) open: Cell<i64>,
    pub(crate) counts: RefCell<RowCounts>,
    pub(crate) agreed: RefCell<Vec<(String, RowKey, u64)>>,
    pub(crate) agreed_streams: RefCell<Vec<(String, u128, u64)>>,
    pub(crate) losses: RefCell<Vec<(&'static str, u64)>>,
    pub(crate) faults: RefCell<Vec<DataFault>>,
    pub(crate) notes: RefCell<Vec<Note>>,
    pub(crate) displays: RefCell<Vec<Duration>>,
}

fn add(cell: &Cell<u64>, more: u64) {
    cell.set(cell.get() + more);
}

impl Meter for Recorded {
    fn connect(&self, _: Duration) {
        add(&self.connects, 1);
    }

    fn first_byte(&self, _: Duration) {
        add(&self.first_bytes, 1);
    }

    fn status(&self, status: i64) {
        self.statuses.borrow_mut().push(status);
    }

    fn first_message(&self, _: Instant, _: Duration) {
        add(&self.first_messages, 1);
    }

    fn messages(&self, _: Instant, messages: u64, rows: u64, bytes: u64) {
        add(&self.messages, messages);
        add(&self.rows, rows);
        add(&self.bytes, bytes);
    }

    fn gap(&self, _: Instant, _: Duration, times: u64) {
        add(&self.gaps, times);
    }

    fn stall(&self, _: Instant, gap: Duration) {
        self.stalls.borrow_mut().push(gap);
    }

    fn latency(&self, _: Instant, latency: Duration) {
        self.latencies.borrow_mut().push(latency);
    }

    fn stream_duration(&self, _: Duration) {
        add(&self.durations, 1);
    }

    fn watch(&self, name: &str, _: Instant, took: Duration) {
        self.watched.borrow_mut().push((name.to_owned(), took));
    }

    fn stream_opened(&self, _: Instant) {
        self.open.set(self.open.get() + 1);
    }

    fn stream_closed(&self, _: Instant) {
        self.open.set(self.open.get() - 1);
    }

    fn integrity(&self, rows: &RowCounts) {
        let mut counts = self.counts.borrow_mut();
        counts.verified += rows.verified;
        counts.missing += rows.missing;
        counts.repeated += rows.repeated;
        counts.reordered += rows.reordered;
        counts.mismatched += rows.mismatched;
        counts.unwitnessed += rows.unwitnessed;
        counts.unverified += rows.unverified;
    }

    fn agree_row(&self, group: &Rc<str>, key: &RowKey, digest: u64, session: u64) {
        assert_eq!(session, 7);
        self.agreed
            .borrow_mut()
            .push((group.to_string(), key.clone(), digest));
    }

    fn agree_stream(&self, group: &Rc<str>, digest: u128, rows: u64, session: u64) {
        assert_eq!(session, 7);
        self.agreed_streams
            .borrow_mut()
            .push((group.to_string(), digest, rows));
    }

    fn observe(&self, metric: MetricId, _: Instant, took: Duration) {
        assert_eq!(
            metric,
            MetricId::PageDisplay,
            "{metric} has a method of its own"
        );
        self.displays.borrow_mut().push(took);
    }

    fn count(&self, metric: MetricId, _: Instant, _: u64) {
        panic!("{metric} has a method of its own");
    }

    fn data_fault(&self, fault: DataFault) {
        self.faults.borrow_mut().push(fault);
    }

    fn note(&self, note: Note) {
        self.notes.borrow_mut().push(note);
    }

    fn loss(&self, what: &'static str, count: u64) {
        self.losses.borrow_mut().push((what, count));
    }
}
