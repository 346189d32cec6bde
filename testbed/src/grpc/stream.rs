//! The rows of one call: when each is due, what it contains, and what the faults make of it.
//!
//! A row that is late is sent late and never skipped; a client that reads slowly holds its own rows back, by HTTP/2.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::{BoxStream, StreamExt, unfold};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::Span;

use super::codec::OutRow;
use crate::behavior::{CallFaults, Hits, Kind};
use crate::generated::pandadatastream::DataStream;
use crate::grid::Grid;
use crate::history::History;
use crate::jobs::{CallGuard, Job};
use crate::profile::HistoricEnd;
use crate::server::Server;

/// What an unclean end says, word for word as observed.
const CANCELLING: &str = "Cancelling all calls";

/// The response stream of a call.
pub(crate) struct RowStream {
    rows: BoxStream<'static, Result<OutRow, Status>>,
    guard: CallGuard,
}

impl RowStream {
    pub(crate) fn new(call: Call, guard: CallGuard) -> Self {
        let rows = unfold(call, |mut call| async move {
            call.next().await.map(|row| (row, call))
        });
        Self {
            rows: rows.boxed(),
            guard,
        }
    }
}

impl Stream for RowStream {
    type Item = Result<OutRow, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.guard.asked();
        let row = ready!(self.rows.poll_next_unpin(cx));
        self.guard.handed_over();
        Poll::Ready(row)
    }
}

/// One call in progress.
pub(crate) struct Call {
    server: Arc<Server>,
    job: Arc<Job>,
    stream: usize,
    pace: Pace,
    faults: CallFaults,
    connection: CancellationToken,
    /// `slow-rows`: rows come at half their rate from here on.
    slow_since: Option<Instant>,
    /// Rows made so far, sent or not: the ordinal of the next.
    made: u64,
    /// Made, to be sent next.
    outgoing: VecDeque<OutRow>,
    /// Waits for its successor to be sent first.
    swapped: Option<OutRow>,
    ended: bool,
    sent: u64,
    span: Span,
}

/// When rows are due.
enum Pace {
    Live {
        grid: Grid,
        next: u64,
        delay_ns: u64,
    },
    Historic {
        history: History,
        next: u64,
        index: u64,
        started: Instant,
    },
}

/// A line whose time has come.
#[derive(Debug, Clone, Copy)]
struct Line {
    time_ns: u64,
    time_ms: u64,
    index: u64,
}

/// What comes next.
enum Next {
    Line(Line),
    EndOfData,
    Closing,
}

impl Call {
    pub(crate) fn new(
        server: Arc<Server>,
        job: Arc<Job>,
        stream: usize,
        faults: CallFaults,
        connection: CancellationToken,
        span: Span,
    ) -> Self {
        let shown = job.display.shown();
        let request = &shown.view.request;
        let pace = match History::new(request) {
            Some(history) => Pace::Historic {
                history,
                next: 0,
                index: 0,
                started: Instant::now(),
            },
            None => {
                let grid = request.grid;
                let stagger = u64::from(server.config.stagger);
                let delay_ns = grid.step_ns() / stagger * (u64::from(job.slot) % stagger);
                Pace::Live {
                    grid,
                    next: grid.line_after(server.clock.now_ns()),
                    delay_ns,
                }
            }
        };
        let (outgoing, swapped) = (VecDeque::new(), None);
        Self {
            server,
            job,
            stream,
            pace,
            slow_since: faults.whole(Kind::SlowRows).map(|_| Instant::now()),
            faults,
            connection,
            made: 0,
            outgoing,
            swapped,
            ended: false,
            sent: 0,
            span,
        }
    }

    /// The next message, or the end with status OK.
    async fn next(&mut self) -> Option<Result<OutRow, Status>> {
        loop {
            if let Some(row) = self.outgoing.pop_front() {
                self.sent += 1;
                return Some(Ok(row));
            }
            if self.ended {
                return None;
            }
            match self.next_line().await {
                Next::Line(line) => {
                    if let Err(status) = self.make(line).await {
                        return self.end_with(status);
                    }
                }
                Next::EndOfData => match self.swapped.take() {
                    Some(row) => self.outgoing.push_back(row),
                    None => return self.end_of_data().await,
                },
                Next::Closing => return self.end_with(Status::unavailable(CANCELLING)),
            }
        }
    }

    /// Makes a line's row, or what the faults leave of it.
    async fn make(&mut self, line: Line) -> Result<(), Status> {
        let ordinal = self.made;
        self.made += 1;
        let hits = self.faults.at(ordinal);
        if hits.disconnect {
            self.connection.cancel();
            return Err(Status::unavailable(CANCELLING));
        }
        if hits.early_end {
            self.outgoing.extend(self.swapped.take());
            self.ended = true;
            return Ok(());
        }
        if let Some(pause) = hits.stall
            && !self.sleep_until(Instant::now() + pause).await
        {
            return Err(Status::unavailable(CANCELLING));
        }
        if hits.drop_row {
            return Ok(());
        }
        let row = self.row(line, ordinal, hits);
        if let Some(before) = self.swapped.take() {
            self.outgoing.extend([row.clone(), before]);
        } else if hits.swap_rows {
            self.swapped = Some(row);
            return Ok(());
        } else {
            self.outgoing.push_back(row.clone());
        }
        if hits.repeat_row {
            self.outgoing.push_front(row);
        }
        Ok(())
    }

    fn row(&self, line: Line, ordinal: u64, hits: Hits) -> OutRow {
        // Commands may have changed it since the last row; it always has as many streams.
        let shown = self.job.display.shown();
        let stream = &shown.view.streams[self.stream];
        let row = self.server.rows.row(&stream.field, line.time_ns);
        let extrema = self.job.extrema.take_in(&row);
        let (mut least, greatest) = shown.axis.unwrap_or(extrema);
        if self.faults.whole(Kind::NegativeMinimum).is_some() {
            least = -1.0;
        }
        let mut payload = row.payload;
        if hits.wrong_stream {
            let wrong = &stream.wrong[self.faults.wrong(stream.wrong.len())];
            payload = self.server.rows.row(wrong, line.time_ns).payload;
        }
        if hits.flip_bit {
            payload = self.flip(&payload, ordinal);
        }
        if hits.truncate_row {
            payload = payload.slice(..payload.len() - payload.len().div_ceil(4));
        }
        let head = DataStream {
            start_channel: wire(stream.channels.0.into()),
            end_channel: wire(stream.channels.1.into()),
            timestamp_in_milis: vec![i64::try_from(line.time_ms).unwrap_or(i64::MAX)],
            row_index: vec![wire(line.index)],
            data_shape_x: wire(u64::try_from(stream.field.values()).unwrap_or(u64::MAX)),
            data_shape_y: 1,
            global_maximum: greatest,
            global_minimum: least,
            ..DataStream::default()
        };
        OutRow {
            head,
            payload,
            stream: wire(u64::try_from(self.stream).unwrap_or(u64::MAX)),
        }
    }

    fn flip(&self, payload: &Bytes, ordinal: u64) -> Bytes {
        let mut bytes = payload.to_vec();
        let bit = self.faults.bit(
            ordinal,
            u64::try_from(bytes.len())
                .unwrap_or(u64::MAX)
                .saturating_mul(8),
        );
        if let Some(byte) = usize::try_from(bit / 8)
            .ok()
            .and_then(|at| bytes.get_mut(at))
        {
            *byte ^= 1 << (bit % 8);
        }
        Bytes::from(bytes)
    }

    /// Waits until the next line is due.
    async fn next_line(&mut self) -> Next {
        let (line, due) = match &mut self.pace {
            Pace::Live {
                grid,
                next,
                delay_ns,
            } => {
                let time_ns = grid.time_ns(*next);
                let index = next.saturating_sub(self.job.first_line);
                let line = Line {
                    time_ns,
                    time_ms: grid.time_ms(*next),
                    index,
                };
                *next += 1;
                (line, self.server.clock.instant_of(time_ns + *delay_ns))
            }
            Pace::Historic {
                history,
                next,
                index,
                started,
            } => {
                let Some(at) = history.next_recorded(*next, &self.job.recorded) else {
                    return Next::EndOfData;
                };
                let burst = u64::from(self.server.config.historic_burst);
                let data_time =
                    Duration::from_nanos(history.step_ns().saturating_mul(*index - *index % burst));
                let due = *started + data_time.div_f64(self.server.config.historic_rate);
                let line = Line {
                    time_ns: history.time_ns(at),
                    time_ms: history.time_ms(at),
                    index: *index,
                };
                (*next, *index) = (at + 1, *index + 1);
                (line, due)
            }
        };
        // Half the rate: twice as long since the call.
        let due = self
            .slow_since
            .map_or(due, |since| due + due.saturating_duration_since(since));
        if self.sleep_until(due).await {
            Next::Line(line)
        } else {
            Next::Closing
        }
    }

    /// Sleeps, if the time is not past. False: the job closes.
    async fn sleep_until(&self, due: Instant) -> bool {
        if due <= Instant::now() {
            return !self.job.life.is_draining();
        }
        tokio::select! {
            biased;
            () = self.job.life.draining() => false,
            () = tokio::time::sleep_until(due) => true,
        }
    }

    async fn end_of_data(&mut self) -> Option<Result<OutRow, Status>> {
        self.ended = true;
        if let Some(late) = self.faults.whole(Kind::UnavailableEnd) {
            let silence = late.lasts();
            self.sleep_until(Instant::now() + silence).await;
            return self.end_with(Status::unavailable(CANCELLING));
        }
        match self.server.config.historic_end {
            HistoricEnd::Clean => None,
            HistoricEnd::Unavailable => {
                self.sleep_until(Instant::now() + self.server.config.historic_silence)
                    .await;
                self.end_with(Status::unavailable(CANCELLING))
            }
        }
    }

    fn end_with(&mut self, status: Status) -> Option<Result<OutRow, Status>> {
        self.ended = true;
        self.span
            .record("rpc.grpc.status_code", i32::from(status.code()));
        Some(Err(status))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.span
            .record("rows", i64::try_from(self.sent).unwrap_or(i64::MAX));
    }
}

/// A number for an int32 field; the protocol has no more room.
fn wire(value: u64) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}
