//! Runs one call: connects, asks, and reads messages until the plan or the server says stop.

use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use http::HeaderMap;
use testmesh_shared::plan::expr::{Expr, Scope};
use testmesh_shared::plan::{ErrorKind, Integrity, Item, Pool, Position, ProblemCode, Span, Stage};
use tokio::time::{Instant, Sleep};

use super::beside::{Beside, Came};
use super::connection::{Connection, Reply};
use super::form::{Call, GrpcStage};
use super::send::Outgoing;
use super::stage::Schema;
use super::status::Status;
use super::stop::{Accepted, Stop};
use super::told::Told;
use super::watching::{WatchRule, Watching};
use super::{reflection, schema};
use crate::driver::contract::{Attempt, Body, Driver, Results, StageError, StreamResults};
use crate::driver::during::During;
use crate::driver::http::{header_value, shown};
use crate::driver::limits;
use crate::driver::message::Encoded;
use crate::driver::stream::{Watch, Watched};
use crate::driver::transport::Address;
use crate::integrity::{Checker, Ending, LayoutProblem};

impl Driver for GrpcStage {
    fn streams(&self) -> bool {
        match &self.call {
            Call::Known(schema) => schema.method.server_streaming,
            // Nobody knows yet. A stage that says how a stream ends is one.
            Call::Reflected(..) => self.says_that_it_streams(),
        }
    }

    fn results(&self) -> &'static [&'static str] {
        match &self.call {
            Call::Known(schema) if schema.method.server_streaming => {
                &["status", "headers", "stream"]
            }
            Call::Known(_) => &["status", "headers", "body", "text"],
            Call::Reflected(..) => &["status", "headers", "body", "text", "stream"],
        }
    }

    fn watches(&self) -> Vec<&str> {
        self.watch.iter().map(WatchRule::name).collect()
    }

    fn check_during(&self, during: &[Stage], item: Item<'_>) {
        self.watch.iter().for_each(|rule| rule.check(during, item));
    }

    fn check_integrity(&self, integrity: &Integrity, item: Item<'_>) {
        // A stream known by reflection is checked when it is first used.
        let Call::Known(schema) = &self.call else {
            return;
        };
        if !schema.method.server_streaming {
            let message = format!(
                "{} answers with one message, not with a stream",
                schema.method.path
            );
            item.problem(
                ProblemCode::Conflict,
                message,
                "remove `integrity`, or move it to a stage with a stream",
            );
            return;
        }
        for problem in schema.layout(integrity).err().unwrap_or_default() {
            let end = Position {
                column: problem.position.column + 1,
                ..problem.position
            };
            let span = Span {
                start: problem.position,
                end,
            };
            item.problem_at(span, ProblemCode::Proto, problem.message, problem.hint);
        }
    }

    fn run<'a>(
        &'a self,
        attempt: &'a Attempt<'a>,
    ) -> LocalBoxFuture<'a, Result<Results, StageError>> {
        async move {
            let opening = async {
                let (connection, address) = self.connect(attempt).await?;
                let schema = self.schema(&connection, &address).await?;
                Ok((connection, schema))
            };
            // Until the first message, a stream without a time-out of its own has the driver's.
            let limit = attempt
                .stage
                .timeout
                .map_or(limits::FIRST_MESSAGE, |_| Duration::MAX);
            let (connection, schema) = match tokio::time::timeout(limit, opening).await {
                Ok(opened) => opened?,
                Err(_) => {
                    let message = format!("no connection, or no reflection, within {limit:?}");
                    return Err(StageError::new(ErrorKind::Timeout, message));
                }
            };
            if schema.method.server_streaming {
                self.stream(attempt, &connection, &schema).await
            } else {
                // A stage that was taken for a stream and is none has no time-out of its own either.
                let answer = self.unary(attempt, &connection, &schema);
                match tokio::time::timeout(limit, answer).await {
                    Ok(answered) => answered,
                    Err(_) => {
                        let message = format!("no answer within {limit:?}");
                        Err(StageError::new(ErrorKind::Timeout, message))
                    }
                }
            }
        }
        .boxed_local()
    }
}

/// How a stream ended.
enum End {
    /// The stage's `stop` was met.
    Stopped,
    /// The server ended it.
    Status(Status),
}

impl End {
    fn status(&self) -> Option<&Status> {
        match self {
            Self::Stopped => None,
            Self::Status(status) => Some(status),
        }
    }
}

impl GrpcStage {
    async fn connect(&self, attempt: &Attempt<'_>) -> Result<(Rc<Connection>, String), StageError> {
        let template = self.address();
        let text = template
            .text(attempt.scope)
            .map_err(|error| StageError::template("address", &error))?;
        let address = Address::parse(&text).map_err(|error| {
            StageError::new(ErrorKind::Expectation, error.to_string()).with_code("bad_address")
        })?;
        let tls = address.tls.unwrap_or_default().then(|| &self.target().tls);
        let scheme = if tls.is_some() { "https" } else { "http" };
        let key = format!("{}{scheme}://{address}", self.pool_key);
        let open = async || {
            let gate = attempt.connections.gate();
            let (connection, took) = Connection::open(gate, &address, tls, self.windows).await?;
            attempt.meter.connect(took);
            Ok(connection)
        };
        let sharing: Pool = self.target().connections;
        let connection = attempt.connections.open(sharing, &key, open).await?;
        Ok((connection, address.to_string()))
    }

    /// What the call needs to know of its service; asks the server if the plan does not say.
    async fn schema(
        &self,
        connection: &Connection,
        address: &str,
    ) -> Result<Arc<Schema>, StageError> {
        let (name, known) = match &self.call {
            Call::Known(schema) => return Ok(Arc::clone(schema)),
            Call::Reflected(name, known) => (name, known),
        };
        if let Some(schema) = known.get(address) {
            return Ok(schema);
        }
        let service = name.split('/').next().unwrap_or_default();
        let pool = reflection::ask(connection, service).await?;
        let method = schema::find(&pool, name).map_err(|unknown| {
            let message = format!("{address}: {unknown} ({})", unknown.hint);
            StageError::new(ErrorKind::Protocol, message).with_code("unknown_method")
        })?;
        self.check_method(&method)?;
        let schema = Arc::new(Schema::new(method));
        known.insert(address, &schema);
        Ok(schema)
    }

    fn metadata(&self, attempt: &Attempt<'_>) -> Result<HeaderMap, StageError> {
        let mut metadata = HeaderMap::with_capacity(self.metadata.len() + 4);
        metadata.insert(
            "traceparent",
            header_value("traceparent", attempt.traceparent)?,
        );
        for (name, value) in &self.metadata {
            let text = value
                .text(attempt.scope)
                .map_err(|error| StageError::template(name.as_str(), &error))?;
            let mut sent = header_value(name.as_str(), &text)?;
            sent.set_sensitive(value.is_secret());
            metadata.append(name, sent);
        }
        Ok(metadata)
    }

    /// Sends the call, and waits for the beginning of its answer. Messages that follow go out beside what comes in.
    pub(super) async fn call<'a>(
        &'a self,
        attempt: &'a Attempt<'a>,
        connection: &Connection,
        schema: &'a Schema,
        beside: &mut Beside<'a>,
    ) -> Result<Reply, StageError> {
        let (scope, method) = (attempt.scope, &schema.method);
        let (path, limit) = (&method.path, self.target().max_message);
        let metadata = self.metadata(attempt)?;
        let address = match beside.told() {
            None => Cow::Borrowed(""),
            Some(_) => self.address().text(scope).unwrap_or_default(),
        };
        let reply = match &self.outgoing {
            Outgoing::One(message) => {
                let message = message.render(scope, method)?;
                if let Some(told) = beside.told() {
                    told.call(&address, &metadata, Some(&message));
                }
                connection.call(path, metadata, &message, limit).await?
            }
            Outgoing::Stream(messages) => {
                if let Some(told) = beside.told() {
                    told.call(&address, &metadata, None);
                }
                let (answer, body) = connection.begin(path, metadata, limit).await?;
                let told = Told::of(attempt, method);
                beside.send(messages.send(scope, method, body, told).boxed_local());
                beside.answer(answer.reply()).await?
            }
        };
        if let Some(told) = beside.told() {
            told.answered(&shown(&reply.headers));
        }
        Ok(reply)
    }

    async fn stream<'a>(
        &'a self,
        attempt: &'a Attempt<'a>,
        connection: &Connection,
        schema: &'a Schema,
    ) -> Result<Results, StageError> {
        let keep = attempt.stage.reads("stream") || self.end_reads_stream();
        let checker = match &attempt.stage.integrity {
            Some(integrity) => {
                let layout = schema
                    .layout(integrity)
                    .map_err(|problems| unknown_fields(&problems))?;
                let clock = self.target().clock;
                Some(Checker::new(integrity, layout, clock, attempt, keep)?)
            }
            None => None,
        };
        let stop = self.stop(attempt.scope)?;
        let mut alarm = Alarm::new(attempt.stage.timeout.is_none(), stop.is_silence());
        let mut watch = Watch::new(attempt.meter, attempt.stage.stall, checker, keep);
        let watching = Watching::new(attempt, &schema.method.output, &self.watch, stop.when());
        let mut beside =
            Beside::stream(Told::of(attempt, &schema.method), attempt.during, watching)
                .with_after_during(self.after_during);
        let call = self.call(attempt, connection, schema, &mut beside);
        let Some(reply) = alarm.wait(call, None, &watch).await else {
            return Err(silent(&watch));
        };
        let mut reply = match reply {
            Ok(reply) => reply,
            Err(error) => {
                watch.end(Instant::now(), Ending::Broken);
                return Err(error);
            }
        };
        attempt.meter.first_byte(reply.first_byte);
        let unchecked = attempt.stage.integrity.is_none();
        let end = self
            .read(
                stop,
                &mut reply,
                &mut watch,
                &mut alarm,
                &mut beside,
                unchecked.then_some(schema),
            )
            .await;
        let at = Instant::now();
        watch.settle().await;
        if let (Some(told), Ok(end)) = (beside.told(), &end) {
            told.ended(end.status());
        }
        match end {
            Ok(End::Stopped) => {
                if stop.is_silence() {
                    watch.owes_nothing();
                }
                let watched = watch.end(at, Ending::Stopped);
                Ok(results(&reply, schema, watched, at, None))
            }
            Ok(End::Status(status)) => {
                self.ended(attempt, &reply, schema, (watch, at), (stop, status))
            }
            Err(error) => {
                let cut = beside.is_cut();
                watch.end(at, if cut { Ending::Cut } else { Ending::Broken });
                Err(error)
            }
        }
    }

    /// Reads messages until `stop` is met, the server ends the stream, or something breaks.
    async fn read(
        &self,
        stop: Stop<'_>,
        reply: &mut Reply,
        watch: &mut Watch<'_>,
        alarm: &mut Alarm,
        beside: &mut Beside<'_>,
        unchecked: Option<&Schema>,
    ) -> Result<End, StageError> {
        let wanted = if let Stop::Messages(count) = stop {
            count
        } else {
            u64::MAX
        };
        let mut enough = matches!(stop, Stop::Nothing);
        loop {
            // Once per wake-up: messages that are found together came together.
            let at = Instant::now();
            while let Some(message) = reply.message()? {
                // With `integrity` the message is read anyway; without it, garbage must not pass as data.
                if let Some(schema) = unchecked.filter(|schema| !schema.shape.fits(message)) {
                    watch.flush(at);
                    return Err(schema.unfit(message));
                }
                if let Err(error) = watch.message(at, message) {
                    watch.flush(at);
                    return Err(*error);
                }
                let counted = || watch.seen().is_some_and(|seen| seen.messages >= wanted);
                enough = beside.message(at, message, watch)? || enough || counted();
                if enough && !beside.holds() {
                    watch.flush(at);
                    return Ok(End::Stopped);
                }
            }
            watch.flush(at);
            watch.make_room().await;
            if watch.seen().is_some() {
                beside.begin();
            }
            let stop_at = stop.due(watch).filter(|_| !beside.holds());
            if stop_at.is_some_and(|stop_at| at >= stop_at) {
                return Ok(End::Stopped);
            }
            match alarm.wait(beside.more(reply), stop_at, watch).await {
                Some(Ok(Came::More)) => {}
                Some(Ok(Came::Status(status))) => return Ok(End::Status(status)),
                Some(Ok(Came::DuringOver)) if enough => return Ok(End::Stopped),
                Some(Ok(Came::DuringOver)) => {}
                Some(Err(error)) => return Err(error),
                None if stop_at.is_some_and(|stop_at| Instant::now() >= stop_at) => {
                    return Ok(End::Stopped);
                }
                None => return Err(silent(watch)),
            }
        }
    }

    /// What a stream that ended has not come to, in words.
    fn missed(&self, stop: Stop<'_>, during: Option<&dyn During>) -> String {
        let unfinished = during.is_some_and(|during| !during.is_over());
        match self.after_during && unfinished {
            true => Stop::Nothing.to_string(),
            false => stop.to_string(),
        }
    }

    /// The server ended the stream: whether that is as the plan wants.
    fn ended(
        &self,
        attempt: &Attempt<'_>,
        reply: &Reply,
        schema: &Schema,
        (watch, at): (Watch<'_>, Instant),
        (stop, status): (Stop<'_>, Status),
    ) -> Result<Results, StageError> {
        attempt.meter.status(i64::from(status.code));
        let idle = watch.seen().map_or(Duration::ZERO, |seen| {
            at.saturating_duration_since(seen.last)
        });
        let accepted = self.accepts(stop, status.code, idle);
        let failure = match accepted {
            Accepted::No => status.failure(),
            Accepted::Yes | Accepted::When(_) => None,
        };
        // A status that is no failure is the server's own word that this was all.
        let ending = if failure.is_none() {
            Ending::Whole
        } else {
            Ending::Broken
        };
        let messages = watch.seen().map_or(0, |seen| seen.messages);
        let watched = watch.end(at, ending);
        let mut results = results(reply, schema, watched, at, Some(status.code));
        let early = match accepted {
            Accepted::Yes => None,
            Accepted::When(when) => holds_not(when, attempt, &results)?,
            Accepted::No if failure.is_none() => Some(self.missed(stop, attempt.during)),
            Accepted::No => None,
        };
        if let Some(missed) = early {
            let message =
                format!("the server ended the stream after {messages} messages, before {missed}");
            return Err(StageError::new(ErrorKind::Protocol, message).with_code("ended_early"));
        }
        results.failure = failure;
        Ok(results)
    }
}

/// What a stream that ended has not come to: the expression, unless it holds.
fn holds_not(
    when: &Expr,
    attempt: &Attempt<'_>,
    results: &Results,
) -> Result<Option<String>, StageError> {
    let mut layer = Scope::over(attempt.scope);
    if let Some(during) = attempt.during {
        during.bind(&mut layer);
    }
    if let Some(stream) = results.stream.clone() {
        layer.set_lazy("stream", move || stream.value());
    }
    // A stream without a message has no last one, and has ended early for sure.
    match when.holds(&layer) {
        Ok(true) => Ok(None),
        Ok(false) => Ok(Some(format!("`{}` was true", when.source()))),
        Err(_)
            if results
                .stream
                .as_ref()
                .is_some_and(|stream| stream.messages == 0) =>
        {
            Ok(Some(format!("`{}` was true", when.source())))
        }
        Err(error) => Err(StageError::template("end.when", &error)),
    }
}

fn results(
    reply: &Reply,
    schema: &Schema,
    watched: Watched,
    at: Instant,
    status: Option<i32>,
) -> Results {
    let encoded = |bytes: Option<Bytes>| {
        bytes.map_or(Body::None, |bytes| {
            Body::Message(Encoded::new(schema.method.output.clone(), bytes))
        })
    };
    let seen = watched.seen;
    let stream = StreamResults {
        messages: seen.map_or(0, |seen| seen.messages),
        rows: seen.map_or(0, |seen| seen.rows),
        bytes: seen.map_or(0, |seen| seen.bytes),
        first: encoded(watched.first),
        last: encoded(watched.last),
        status: status.map(i64::from),
        digest: watched.digest,
        duration: seen.map_or(Duration::ZERO, |seen| {
            at.saturating_duration_since(seen.first)
        }),
    };
    Results {
        // A stream that the plan stopped is fine, and the server never said how it would have ended.
        status: Some(status.map_or(0, i64::from)),
        headers: shown(&reply.headers),
        stream: Some(stream),
        ..Results::default()
    }
}

/// Fields that only a server with reflection could have told not to be there.
fn unknown_fields(problems: &[LayoutProblem]) -> StageError {
    let reasons: Vec<_> = problems
        .iter()
        .map(|problem| problem.message.as_str())
        .collect();
    StageError::new(
        ErrorKind::Protocol,
        format!("integrity: {}", reasons.join("; ")),
    )
    .with_code("unknown_field")
}

/// The server said nothing for too long.
fn silent(watch: &Watch<'_>) -> StageError {
    let message = match watch.seen() {
        None => format!("no message within {:?}", limits::FIRST_MESSAGE),
        Some(seen) => format!(
            "no further message within {:?}, after {}",
            limits::NEXT_MESSAGE,
            seen.messages
        ),
    };
    StageError::new(ErrorKind::Timeout, message)
}

/// Ends waiting for a server that is silent, or for a stop that is due. One timer per stream: it is moved only when it fires
/// too early, not for every message.
struct Alarm {
    limited: bool,
    /// The stream is to fall silent: nothing limits the time between two messages but its `stop`.
    silence: bool,
    asked: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// With `limited`, the driver's own time-outs to the first message and between two hold.
    fn new(limited: bool, silence: bool) -> Self {
        Self {
            limited,
            silence,
            asked: Instant::now(),
            sleep: None,
        }
    }

    /// The future's output, or `None` if the alarm rang first.
    async fn wait<T>(
        &mut self,
        future: impl Future<Output = T>,
        stop_at: Option<Instant>,
        watch: &Watch<'_>,
    ) -> Option<T> {
        let idle = match watch.seen() {
            _ if !self.limited => None,
            None => Some(self.asked + limits::FIRST_MESSAGE),
            Some(seen) => (!self.silence).then(|| seen.last + limits::NEXT_MESSAGE),
        };
        let due = match (stop_at, idle) {
            (Some(stop_at), Some(idle)) => stop_at.min(idle),
            (Some(only), None) | (None, Some(only)) => only,
            (None, None) => return Some(future.await),
        };
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        let mut future = pin!(future);
        poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            if due < sleep.deadline() {
                sleep.as_mut().reset(due);
            }
            while sleep.as_mut().poll(cx).is_ready() {
                if Instant::now() >= due {
                    return Poll::Ready(None);
                }
                sleep.as_mut().reset(due);
            }
            Poll::Pending
        })
        .await
    }
}
