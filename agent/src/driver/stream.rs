//! What every stream is watched for, whatever its protocol: messages, gaps, stalls, and the data itself.
//!
//! A [`Watch`] is told of every message, and of the end. If it is dropped instead, because the session was stopped or a
//! time-out elapsed, it ends the stream itself, so that what was measured is kept.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::contract::{Meter, StageError};
use super::limits;
use crate::integrity::{Checker, Ending};

/// Watches one stream.
#[derive(Debug)]
pub(crate) struct Watch<'a> {
    meter: &'a dyn Meter,
    /// Gaps over this are stalls.
    stall: Duration,
    asked: Instant,
    checker: Option<Checker<'a>>,
    kept: Option<Kept>,
    seen: Option<Seen>,
    /// What came since the meter was last told.
    news: News,
    /// Silence at its end is none of the server's.
    quiet: bool,
    ended: bool,
}

/// Totals of a stream that had a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) first: Instant,
    pub(crate) last: Instant,
    pub(crate) messages: u64,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
}

/// The first and the last message, for stages that read them. Their memory is used again.
#[derive(Debug, Default)]
struct Kept {
    first: Option<Vec<u8>>,
    last: Vec<u8>,
}

#[derive(Debug, Default)]
struct News {
    messages: u64,
    rows: u64,
    bytes: u64,
    /// Messages that came with the one before.
    together: u64,
}

/// What is left of a stream that ended.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) seen: Option<Seen>,
    pub(crate) first: Option<Bytes>,
    pub(crate) last: Option<Bytes>,
    /// XXH3-128 of the payload, if the stage has one.
    pub(crate) digest: Option<u128>,
}

impl<'a> Watch<'a> {
    /// Watches a stream that is asked for now. With `keep`, the first and last messages are kept.
    pub(crate) fn new(
        meter: &'a dyn Meter,
        stall: Duration,
        checker: Option<Checker<'a>>,
        keep: bool,
    ) -> Self {
        Self {
            meter,
            stall,
            asked: Instant::now(),
            checker,
            kept: keep.then(Kept::default),
            seen: None,
            news: News::default(),
            quiet: false,
            ended: false,
        }
    }

    /// Totals up to now; `None` before the first message.
    #[inline]
    pub(crate) fn seen(&self) -> Option<&Seen> {
        self.seen.as_ref()
    }

    /// A message came. All that are found at the same time have the same `at`.
    ///
    /// # Errors
    ///
    /// If its data cannot be what the plan says; the stream is then over.
    #[inline]
    pub(crate) fn message(&mut self, at: Instant, message: &[u8]) -> Result<(), Box<StageError>> {
        let bytes = message.len() as u64;
        let (known, checked) = match &mut self.checker {
            Some(checker) => checker.message(at, message),
            None => (1, Ok(())),
        };
        match &mut self.seen {
            Some(seen) => {
                if at == seen.last {
                    self.news.together += 1;
                } else {
                    let gap = at.saturating_duration_since(seen.last);
                    self.meter.gap(at, gap, 1);
                    if gap > self.stall {
                        self.meter.stall(at, gap);
                    }
                    seen.last = at;
                }
                seen.messages += 1;
                seen.rows += known;
                seen.bytes += bytes;
            }
            None => self.first(at, known, bytes),
        }
        self.news.messages += 1;
        self.news.rows += known;
        self.news.bytes += bytes;
        if let Some(kept) = &mut self.kept {
            kept.keep(message);
        }
        checked
    }

    /// Tells the meter what came; to be called once per wake-up, before waiting.
    #[inline]
    pub(crate) fn flush(&mut self, at: Instant) {
        let news = std::mem::take(&mut self.news);
        if news.messages > 0 {
            self.meter
                .messages(at, news.messages, news.rows, news.bytes);
        }
        if news.together > 0 {
            self.meter.gap(at, Duration::ZERO, news.together);
        }
        if let Some(checker) = &mut self.checker {
            checker.flush();
        }
    }

    /// Lets the worker take the rows that wait to be compared, if they leave little room for more: a server that sends faster
    /// than an agent can compare is read as fast as it can. Not for ever: what is stuck loses rows, and says so.
    #[inline]
    pub(crate) async fn make_room(&mut self) {
        if let Some(checker) = self.checker.as_mut().filter(|checker| checker.is_behind()) {
            let since = Instant::now();
            checker.catch_up().await;
            self.meter.held_up(since.elapsed());
        }
        if !self.meter.is_short_of_room() {
            return;
        }
        let since = Instant::now();
        for waited in 0..limits::ROOM_TRIES {
            match waited {
                0 => tokio::task::yield_now().await,
                _ => tokio::time::sleep(limits::ROOM_TRY).await,
            }
            if !self.meter.is_short_of_room() {
                break;
            }
        }
        self.meter.held_up(since.elapsed());
    }

    /// The stream is over: its truth may have to be read on, which the server has no part in.
    pub(crate) async fn settle(&mut self) {
        if let Some(checker) = &mut self.checker {
            checker.settle().await;
        }
    }

    /// The stream was to fall silent, and did: that is no stall.
    pub(crate) fn owes_nothing(&mut self) {
        self.quiet = true;
    }

    /// The stream is over.
    pub(crate) fn end(mut self, at: Instant, ending: Ending) -> Watched {
        let digest = self.finish(at, ending);
        let kept = self.kept.take().filter(|_| self.seen.is_some());
        let (first, last) = kept
            .map(|kept| {
                (
                    Bytes::from(kept.first.unwrap_or_default()),
                    Bytes::from(kept.last),
                )
            })
            .unzip();
        Watched {
            seen: self.seen,
            first,
            last,
            digest,
        }
    }

    #[cold]
    fn first(&mut self, at: Instant, rows: u64, bytes: u64) {
        self.seen = Some(Seen {
            first: at,
            last: at,
            messages: 1,
            rows,
            bytes,
        });
        self.meter
            .first_message(at, at.saturating_duration_since(self.asked));
        self.meter.stream_opened(at);
    }

    fn finish(&mut self, at: Instant, ending: Ending) -> Option<u128> {
        self.ended = true;
        self.flush(at);
        if let Some(seen) = self.seen {
            self.meter.stream_closed(at);
            self.meter
                .stream_duration(at.saturating_duration_since(seen.first));
            let silence = at.saturating_duration_since(seen.last);
            // A stream that the server ended owed nothing any more; one that was cut or stopped was still waited for.
            if ending != Ending::Whole && !self.quiet && silence > self.stall {
                self.meter.stall(at, silence);
            }
        }
        self.checker.take().and_then(|checker| checker.end(ending))
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.finish(Instant::now(), Ending::Cut);
        }
    }
}

impl Kept {
    fn keep(&mut self, message: &[u8]) {
        if self.first.is_none() {
            self.first = Some(message.to_vec());
        }
        self.last.clear();
        self.last.extend_from_slice(message);
    }
}
