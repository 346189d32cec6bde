//! The consumers of configured tasks: which of their rows are due, and which were fetched.
//!
//! A consumer is kept by polls; one that nobody polls for the idle time is gone, as a job without a stream is.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use half::f16;
use tokio::time::Instant;

use crate::archive::Recorded;
use crate::history::History;
use crate::rows::RowCache;
use crate::view::View;

/// All tasks of one testbed, by name.
#[derive(Debug, Default)]
pub(crate) struct Consumers {
    table: Mutex<HashMap<String, Consumer>>,
}

#[derive(Debug)]
struct Consumer {
    view: View,
    /// What it plays, settled when it is configured.
    recorded: Recorded,
    ready: Instant,
    /// Polls move it.
    gone_at: Instant,
    next: u64,
    fetched: u64,
    stuck: bool,
}

/// One line of a task.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TaskRow {
    pub(crate) start_ms: u64,
    pub(crate) end_ms: u64,
    /// Per sensor, beginning with the view's first: one value for each frequency.
    pub(crate) sensors: Vec<Vec<f32>>,
    pub(crate) least: f32,
    pub(crate) greatest: f32,
}

/// What a poll finds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Polled {
    /// 404.
    Unknown,
    /// 200.
    NothingYet,
    /// 201: the number of the first sensor, and at least one row.
    Rows(u32, Vec<TaskRow>),
    /// 208: every recorded row was fetched.
    Complete,
}

/// What of the server's configuration tasks depend on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Habits {
    pub(crate) ready_after: Duration,
    pub(crate) idle: Duration,
    pub(crate) limit: usize,
}

/// The values that one answer may hold: about as many megabytes of JSON as a client reads by default.
const VALUES_PER_POLL: usize = 200_000;

impl Consumers {
    /// Configures a task; one of the same name begins anew. False: there are too many.
    pub(crate) fn configure(
        &self,
        id: &str,
        (view, recorded): (View, Recorded),
        habits: Habits,
        stuck: bool,
    ) -> bool {
        let now = Instant::now();
        let mut table = self.table();
        table.retain(|_, consumer| consumer.gone_at > now);
        if table.len() >= habits.limit && !table.contains_key(id) {
            return false;
        }
        let ready = now + habits.ready_after;
        let consumer = Consumer {
            view,
            recorded,
            ready,
            gone_at: ready + habits.idle,
            next: 0,
            fetched: 0,
            stuck,
        };
        table.insert(id.to_owned(), consumer);
        true
    }

    /// Whether a task's consumer runs; none if there is no such task.
    pub(crate) fn runs(&self, id: &str) -> Option<bool> {
        let now = Instant::now();
        let table = self.table();
        let consumer = table.get(id).filter(|consumer| consumer.gone_at > now)?;
        Some(consumer.ready <= now)
    }

    /// Fetches the next rows that are due, at most `count`, and keeps the consumer alive.
    pub(crate) fn poll(
        &self,
        id: &str,
        count: u64,
        rate: f64,
        habits: Habits,
        (clock_ns, rows): (u64, &RowCache),
    ) -> Polled {
        let now = Instant::now();
        let mut table = self.table();
        let Some(consumer) = table.get_mut(id).filter(|consumer| consumer.gone_at > now) else {
            return Polled::Unknown;
        };
        consumer.gone_at = now.max(consumer.ready) + habits.idle;
        if consumer.ready > now {
            return Polled::NothingYet;
        }
        let of_answer = VALUES_PER_POLL / consumer.view.streams[0].field.values().max(1);
        let count = count.min(u64::try_from(of_answer.max(1)).unwrap_or(1));
        match History::new(&consumer.view.request) {
            Some(history) => consumer.play(history, count, now, rate, rows),
            None => consumer.live(count, clock_ns, now, rows),
        }
    }

    fn table(&self) -> MutexGuard<'_, HashMap<String, Consumer>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Consumer {
    /// Recorded rows, faster than they were recorded.
    fn play(
        &mut self,
        history: History,
        count: u64,
        now: Instant,
        rate: f64,
        rows: &RowCache,
    ) -> Polled {
        let mut found = Vec::new();
        let data_time = now.duration_since(self.ready).mul_f64(rate);
        while u64::try_from(found.len()).unwrap_or(u64::MAX) < count {
            let Some(line) = history.next_recorded(self.next, &self.recorded) else {
                break;
            };
            if Duration::from_nanos(history.step_ns().saturating_mul(self.fetched)) > data_time {
                return self.answer(found);
            }
            let step_ms = history.step_ns() / 1_000_000;
            let start_ms = history.time_ms(line);
            found.push(self.row(history.time_ns(line), start_ms, start_ms + step_ms, rows));
            (self.next, self.fetched) = (line + 1, self.fetched + 1);
        }
        if found.is_empty() && !self.stuck {
            return Polled::Complete;
        }
        self.answer(found)
    }

    /// Live rows since the last poll.
    fn live(&mut self, count: u64, clock_ns: u64, now: Instant, rows: &RowCache) -> Polled {
        let grid = self.view.request.grid;
        if self.next == 0 {
            let running = u64::try_from(now.duration_since(self.ready).as_nanos()).unwrap_or(0);
            self.next = grid.line_after(clock_ns.saturating_sub(running));
        }
        let due = grid.line_after(clock_ns).saturating_sub(self.next);
        let lines = self.next..self.next + due.min(count);
        self.next = lines.end;
        let row = |line| {
            let (start, end) = (grid.time_ms(line), grid.time_ms(line + 1));
            self.row(grid.time_ns(line), start, end, rows)
        };
        let found = lines.map(row).collect();
        self.answer(found)
    }

    fn answer(&self, rows: Vec<TaskRow>) -> Polled {
        if rows.is_empty() {
            Polled::NothingYet
        } else {
            Polled::Rows(self.view.request.channels.0 - 1, rows)
        }
    }

    fn row(&self, time_ns: u64, start_ms: u64, end_ms: u64, rows: &RowCache) -> TaskRow {
        let stream = &self.view.streams[0];
        let row = rows.row(&stream.field, time_ns);
        let values: Vec<f32> = row
            .payload
            .chunks_exact(2)
            .map(|pair| f16::from_le_bytes([pair[0], pair[1]]).to_f32())
            .collect();
        let frequencies = self.view.frequencies.len().max(1);
        TaskRow {
            start_ms,
            end_ms,
            sensors: values.chunks(frequencies).map(<[f32]>::to_vec).collect(),
            least: row.least,
            greatest: row.greatest,
        }
    }
}
