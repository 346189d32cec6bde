//! From the last sign of life of an agent to its status. Pure: time comes in, a status goes out.
//!
//! | silence | status | meaning |
//! | --- | --- | --- |
//! | below `suspect_after` | `Alive` | counted on |
//! | below `lost_after` | `Suspect` | still in the run, and told to the user |
//! | longer, or its link ended | `Lost` | its sessions are lost; it must dial in again |
//!
//! `Lost` is final: an agent that comes back has a new membership, so that nobody counts on what was given up.
use std::time::Duration;
use tokio::time::Instant;

/// How long silence may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// After this an agent is suspect.
    pub suspect_after: Duration,
    /// After this an agent is lost.
    pub lost_after: Duration,
}

/// What is believed of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Liveness {
    /// Heard of lately.
    Alive,
    /// Silent for longer than it should be.
    Suspect,
    /// Given up.
    Lost,
}

impl Liveness {
    /// As lists and events print it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Lost => "lost",
        }
    }
}

/// One agent's lease: renewed by every sign of life.
#[derive(Clone, Copy, Debug)]
pub struct Lease {
    heard: Instant,
    over: bool,
}

impl Lease {
    /// A lease that begins now.
    pub fn new(now: Instant) -> Self {
        Self {
            heard: now,
            over: false,
        }
    }

    /// Any message renews it; a lease that is over stays over.
    pub fn renew(&mut self, now: Instant) {
        self.heard = self.heard.max(now);
    }

    /// Ends the lease: the link is gone.
    pub fn end(&mut self) {
        self.over = true;
    }

    /// What is believed at `now`. A lease seen as lost stays lost.
    pub fn check(&mut self, now: Instant, terms: Terms) -> Liveness {
        let liveness = self.look(now, terms);
        self.over |= liveness == Liveness::Lost;
        liveness
    }

    /// The same for whoever only wants to know: what follows from a loss is for [`Lease::check`] to begin.
    pub fn look(&self, now: Instant, terms: Terms) -> Liveness {
        let silence = now.saturating_duration_since(self.heard);
        if self.over || silence >= terms.lost_after {
            Liveness::Lost
        } else if silence >= terms.suspect_after {
            Liveness::Suspect
        } else {
            Liveness::Alive
        }
    }

    /// When the status can change next without a sign of life; `None` once it is over.
    pub fn next_change(&self, now: Instant, terms: Terms) -> Option<Instant> {
        if self.over {
            return None;
        }
        let suspect = self.heard + terms.suspect_after;
        Some(if now < suspect {
            suspect
        } else {
            self.heard + terms.lost_after
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms {
        suspect_after: Duration::from_secs(3),
        lost_after: Duration::from_secs(10),
    };

    #[tokio::test(start_paused = true)]
    async fn silence_becomes_suspicion_and_then_loss() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        for (ms, expect) in [
            (0, Liveness::Alive),
            (2_999, Liveness::Alive),
            (3_000, Liveness::Suspect),
            (9_999, Liveness::Suspect),
            (10_000, Liveness::Lost),
        ] {
            assert_eq!(
                Lease::new(start).check(at(ms), TERMS),
                expect,
                "after {ms} ms"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_sign_of_life_renews_but_never_revives() {
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        let mut lease = Lease::new(start);
        assert_eq!(lease.next_change(at(0), TERMS), Some(at(3)));
        assert_eq!(lease.check(at(5), TERMS), Liveness::Suspect);
        assert_eq!(lease.next_change(at(5), TERMS), Some(at(10)));
        lease.renew(at(6));
        assert_eq!(lease.check(at(8), TERMS), Liveness::Alive);
        assert_eq!(lease.check(at(16), TERMS), Liveness::Lost);
        lease.renew(at(16));
        assert_eq!(lease.check(at(16), TERMS), Liveness::Lost);
        assert_eq!(lease.next_change(at(16), TERMS), None);
    }

    #[tokio::test(start_paused = true)]
    async fn looking_at_a_lease_does_not_end_it() {
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        let lease = Lease::new(start);
        assert_eq!(lease.look(at(11), TERMS), Liveness::Lost);
        assert_eq!(lease.next_change(at(11), TERMS), Some(at(10)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_that_ended_is_lost_at_once() {
        let start = Instant::now();
        let mut lease = Lease::new(start);
        lease.end();
        assert_eq!(lease.check(start, TERMS), Liveness::Lost);
    }
}
