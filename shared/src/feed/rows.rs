//! A feed, in a plan and in a run.

use std::sync::Arc;

use super::order::{AtEnd, Order, Turns};
use super::table::Table;
use crate::plan::expr::Value;

/// A feed, read from a plan.
#[derive(Debug)]
pub struct Feed {
    /// Its name in `feeds`.
    pub name: String,
    /// Its rows; at least one.
    pub table: Table,
    /// Who takes which row.
    pub order: Order,
    /// No two sessions of the run take the same row.
    pub unique: bool,
    /// What follows when each row was taken.
    pub at_end: AtEnd,
}

impl Feed {
    /// The number of sessions that it has rows for; none: as many as there will be.
    #[must_use]
    pub fn sessions(&self) -> Option<u64> {
        match self.at_end {
            AtEnd::Stop => Some(u64::from(self.table.len())),
            AtEnd::Repeat => None,
        }
    }
}

/// A feed in a run.
#[derive(Debug, Clone)]
pub struct RunFeed {
    /// The feed.
    pub feed: Arc<Feed>,
    turns: Arc<Turns>,
}

impl RunFeed {
    /// A feed in the run of that seed.
    #[must_use]
    pub fn new(feed: &Arc<Feed>, seed: u64) -> Self {
        let turns = Turns::new(feed.order, feed.table.len(), seed, &feed.name);
        Self {
            feed: Arc::clone(feed),
            turns: Arc::new(turns),
        }
    }

    /// The row of a session, by its number in the scenario: a map from columns. None if the feed is at its end, so that there
    /// should be no such session.
    #[must_use]
    pub fn row(&self, session: u64) -> Option<Value> {
        if self.feed.sessions().is_some_and(|most| session >= most) {
            return None;
        }
        self.feed.table.row(self.turns.row(session))
    }
}
