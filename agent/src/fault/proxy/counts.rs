//! What a proxy did, in numbers.
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a proxy did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Connections that it took.
    pub connections: u64,
    /// Of those, more than it may have; they were ended at once.
    pub too_many: u64,
    /// Of those, for which the other side could not be reached; they were reset.
    pub unreachable: u64,
    /// Open ones that a fault ended.
    pub cut: u64,
    /// Bytes from those who connect.
    pub bytes_up: u64,
    /// Bytes to them.
    pub bytes_down: u64,
    /// Bits that were turned over.
    pub corrupted: u64,
}

impl Counts {
    /// What was done since then.
    #[must_use]
    pub fn since(self, then: Self) -> Self {
        Self {
            connections: self.connections.saturating_sub(then.connections),
            too_many: self.too_many.saturating_sub(then.too_many),
            unreachable: self.unreachable.saturating_sub(then.unreachable),
            cut: self.cut.saturating_sub(then.cut),
            bytes_up: self.bytes_up.saturating_sub(then.bytes_up),
            bytes_down: self.bytes_down.saturating_sub(then.bytes_down),
            corrupted: self.corrupted.saturating_sub(then.corrupted),
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "connections taken {}, cut {}; bytes up {}, down {}; bits turned over {}",
            self.connections, self.cut, self.bytes_up, self.bytes_down, self.corrupted
        )?;
        if self.unreachable > 0 {
            write!(f, "; {} could not be passed on", self.unreachable)?;
        }
        if self.too_many > 0 {
            write!(f, "; {} were too many at once", self.too_many)?;
        }
        Ok(())
    }
}

/// The same while it counts.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) connections: AtomicU64,
    pub(super) too_many: AtomicU64,
    pub(super) unreachable: AtomicU64,
    pub(super) cut: AtomicU64,
    pub(super) bytes_up: AtomicU64,
    pub(super) bytes_down: AtomicU64,
    pub(super) corrupted: AtomicU64,
}

impl Counters {
    pub(super) fn now(&self) -> Counts {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            connections: value(&self.connections),
            too_many: value(&self.too_many),
            unreachable: value(&self.unreachable),
            cut: value(&self.cut),
            bytes_up: value(&self.bytes_up),
            bytes_down: value(&self.bytes_down),
            corrupted: value(&self.corrupted),
        }
    }
}

/// Counts one more.
pub(super) fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}
