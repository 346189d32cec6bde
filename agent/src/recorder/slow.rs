//! The slowest sessions: a short list by duration.

/// A session that was among the slowest of its agent when it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowSession {
    /// `SCENARIO/INDEX`.
    pub session: String,
    /// 32 lowercase hex digits.
    pub trace_id: String,
    /// From its actual start to its end, in nanoseconds.
    pub duration_ns: u64,
    /// Its stages in the order in which they ended.
    pub stages: Vec<SlowStage>,
}

/// One stage of a slow session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowStage {
    /// The stage's name.
    pub stage: String,
    /// In nanoseconds.
    pub duration_ns: u64,
    /// `passed`, or an error kind.
    pub outcome: &'static str,
}

/// Keeps the longest durations seen and says which sessions are news.
#[derive(Debug)]
pub struct Slowest {
    places: usize,
    /// Ascending, at most `places`.
    durations: Vec<u64>,
    ready: Vec<SlowSession>,
}

impl Slowest {
    /// A list of so many places.
    pub fn new(places: usize) -> Self {
        Self {
            places,
            durations: Vec::new(),
            ready: Vec::new(),
        }
    }

    /// Whether a session of this duration would be among the slowest so far.
    pub fn would_enter(&self, duration_ns: u64) -> bool {
        self.durations.len() < self.places
            || self
                .durations
                .first()
                .is_some_and(|least| duration_ns > *least)
    }

    /// Enters a session if it is slow enough.
    pub fn enter(&mut self, session: SlowSession) {
        if !self.would_enter(session.duration_ns) {
            return;
        }
        let at = self
            .durations
            .partition_point(|known| *known < session.duration_ns);
        self.durations.insert(at, session.duration_ns);
        if self.durations.len() > self.places {
            self.durations.remove(0);
        }
        self.ready.push(session);
        // Sessions that others have pushed out since the last cut are no news any more.
        if let Some(&least) = self.durations.first() {
            self.ready.retain(|one| one.duration_ns >= least);
        }
    }

    /// Takes the sessions that entered since the last call.
    pub fn take(&mut self) -> Vec<SlowSession> {
        std::mem::take(&mut self.ready)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_among_the_slowest_of_the_run_is_news() {
        let session = |duration_ns| SlowSession {
            session: format!("s/{duration_ns}"),
            trace_id: String::new(),
            duration_ns,
            stages: Vec::new(),
        };
        let mut slowest = Slowest::new(2);
        for duration in [5, 1, 7, 3] {
            slowest.enter(session(duration));
        }
        let names: Vec<_> = slowest
            .take()
            .into_iter()
            .map(|one| one.duration_ns)
            .collect();
        assert_eq!(names, [5, 7]);
        assert!(!slowest.would_enter(5));
        slowest.enter(session(6));
        assert_eq!(slowest.take().len(), 1);
    }
}
