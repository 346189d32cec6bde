//! Loads that are cut at a number of sessions, as feeds cut them.

use std::time::Duration;

use proptest::prelude::*;

use super::super::testing::{load, parts, play, starts, workers};
use crate::load::Part;

const LOADS: [&str; 7] = [
    "once",
    "{ once: per_agent }",
    "{ virtual_users: 4, sessions: 11 }",
    "{ virtual_users: 4, for: 5s, pause: 100ms }",
    "{ virtual_users: [ { to: 4, over: 2s }, { hold: 3s } ] }",
    "{ arrivals: 7/s, for: 5s, max_sessions: 30 }",
    "{ arrivals: [ { to: 9/s, over: 5s } ], max_sessions: 30, spread: poisson }",
];

proptest! {
    /// Sessions keep their numbers, and those from the bound on are not there: in the schedule, in the promise, and in what
    /// workers start.
    #[test]
    fn no_session_has_a_number_from_the_bound_on(
        which in 0..LOADS.len(),
        most in 1..40_u64,
        weights in prop::collection::vec(1..4_u32, 1..5),
        of in 1..4_usize,
    ) {
        let agents = u32::try_from(weights.len()).unwrap();
        let whole = Part::whole(agents, 7, "s");
        let free = load(LOADS[which]);
        let cut = load(LOADS[which]).at_most(u64::MAX).at_most(most);
        let below = |start: &crate::load::Start| start.session.get() < most;
        let expected: Vec<_> = starts(free.as_ref(), &weights).into_iter().filter(below).collect();
        prop_assert_eq!(starts(cut.as_ref(), &weights), expected);
        let planned = free.planned(&whole).map(|planned| planned.min(most));
        prop_assert_eq!(cut.planned(&whole), planned);
        let (mut indices, mut promised) = (Vec::new(), Some(0));
        for part in parts(&weights) {
            for share in workers(part, cut.as_ref(), of) {
                let played = play(cut.as_ref(), share, Duration::from_millis(50), false);
                prop_assert_eq!(played.dropped, 0);
                promised = promised.zip(played.planned).map(|(sum, more)| sum + more);
                indices.extend(played.started.iter().map(|planned| planned.index));
            }
        }
        indices.sort_unstable();
        let every: Vec<u64> = (0..most.min(indices.len() as u64)).collect();
        prop_assert_eq!(&indices, &every, "each once, and none left out before the last");
        if let Some(promised) = promised {
            prop_assert_eq!(promised, indices.len() as u64);
        }
    }
}
