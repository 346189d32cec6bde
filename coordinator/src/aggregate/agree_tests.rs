//! Tables and laws of the witness table.
use super::*;
use proptest::prelude::*;

fn place(site: &str) -> Place {
    Place {
        scenario: "live".into(),
        stage: "stream".into(),
        site: site.into(),
    }
}

/// `(key, digest, sessions, agent)` per line; agents 0 and 1 are at haifa, 2 at tokyo.
fn settle(sightings: &[(i64, u128, u32, u16)]) -> (Counts, Vec<Disagreement>) {
    let mut agree = Agree::default();
    let group = agree.group("g");
    for &(key, digest, sessions, agent) in sightings {
        let site = agree.place(&place(if agent < 2 { "haifa" } else { "tokyo" }));
        let sighting = Sighting {
            digest,
            sessions,
            rows: sessions.into(),
            witness: 7,
            agent,
        };
        agree.see(group, Key::Number(key), 0, site, sighting);
    }
    agree.finish();
    let agents = [("a", "haifa"), ("b", "haifa"), ("c", "tokyo")]
        .map(|(id, site)| (id.to_owned(), site.to_owned()));
    (total(&mut agree), agree.disagreements(&agents))
}

fn total(agree: &mut Agree) -> Counts {
    let mut total = Counts::default();
    for counts in agree.take_settled().into_values() {
        total.verified += counts.verified;
        total.mismatched += counts.mismatched;
        total.unwitnessed += counts.unwitnessed;
        total.unverified += counts.unverified;
    }
    total
}

fn counts(verified: u64, mismatched: u64, unwitnessed: u64) -> Counts {
    Counts {
        verified,
        mismatched,
        unwitnessed,
        unverified: 0,
    }
}

#[test]
fn what_sessions_saw_decides_over_rows() {
    for (name, sightings, expect) in [
        ("one session alone", &[(1, 5, 1, 0)][..], counts(0, 0, 1)),
        (
            "two sessions of one agent",
            &[(1, 5, 2, 0)],
            counts(2, 0, 0),
        ),
        ("two agents", &[(1, 5, 1, 0), (1, 5, 1, 2)], counts(2, 0, 0)),
        (
            "the same agent twice",
            &[(1, 5, 1, 0), (1, 5, 1, 0)],
            counts(2, 0, 0),
        ),
        ("a minority", &[(1, 5, 2, 0), (1, 6, 1, 1)], counts(2, 1, 0)),
        ("a tie", &[(1, 5, 1, 0), (1, 6, 1, 1)], counts(0, 2, 0)),
        (
            "a tie of many",
            &[(1, 5, 2, 0), (1, 6, 2, 1), (1, 7, 1, 2)],
            counts(0, 5, 0),
        ),
        (
            "a majority over sites",
            &[(1, 5, 1, 0), (1, 5, 1, 2), (1, 6, 1, 1)],
            counts(2, 1, 0),
        ),
        ("other keys", &[(1, 5, 1, 0), (2, 6, 1, 0)], counts(0, 0, 2)),
    ] {
        assert_eq!(settle(sightings).0, expect, "{name}");
    }
}

#[test]
fn a_disagreement_names_who_saw_what() {
    let (_, disagreements) = settle(&[(42, 0xab, 1, 1), (42, 0xcd, 2, 0), (42, 0xcd, 1, 2)]);
    assert_eq!(disagreements.len(), 1);
    let one = &disagreements[0];
    assert_eq!((one.group.as_str(), one.key.as_str()), ("g", "42"));
    let shown: Vec<_> = one
        .digests
        .iter()
        .map(|seen| {
            (
                seen.digest.as_str(),
                seen.sessions,
                seen.agents.join(","),
                seen.sites.join(","),
                seen.minority,
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            (
                "00000000000000cd",
                3,
                "a,c".into(),
                "haifa,tokyo".into(),
                false
            ),
            ("00000000000000ab", 1, "b".into(), "haifa".into(), true),
        ]
    );
    assert_eq!(one.digests[0].witness, "live/7");
}

#[test]
fn whole_streams_count_their_rows_and_never_grow_too_old_to_meet() {
    let mut agree = Agree::default();
    let (group, here) = (agree.group("snapshot"), agree.place(&place("haifa")));
    for (second, digest) in [(0, 1), (5_000, 1), (9_000, 2)] {
        let sighting = Sighting {
            digest,
            sessions: 1,
            rows: 100,
            witness: 0,
            agent: 0,
        };
        agree.see(group, Key::Stream, second, here, sighting);
    }
    assert_eq!(agree.disagreeing(), 1);
    agree.finish();
    assert_eq!(total(&mut agree), counts(200, 100, 0));
    assert_eq!(agree.disagreements(&[])[0].digests[0].digest.len(), 32);
}

#[test]
fn rows_are_settled_when_the_horizon_has_passed() {
    let mut agree = Agree::default();
    let (group, here) = (agree.group("g"), agree.place(&place("haifa")));
    let sighting = Sighting {
        digest: 1,
        sessions: 1,
        rows: 1,
        witness: 0,
        agent: 0,
    };
    agree.see(group, Key::Number(1), 0, here, sighting);
    agree.see(
        group,
        Key::Number(2),
        limits::AGREE_HORIZON_S,
        here,
        sighting,
    );
    assert!(agree.take_settled().is_empty());
    agree.see(
        group,
        Key::Number(3),
        limits::AGREE_HORIZON_S + 1,
        here,
        sighting,
    );
    assert_eq!(total(&mut agree), counts(0, 0, 1));
}

fn one(digest: u128) -> Sighting {
    Sighting {
        digest,
        sessions: 1,
        rows: 1,
        witness: 0,
        agent: 0,
    }
}

#[test]
fn equal_rows_at_many_places_are_not_mismatched() {
    let mut agree = Agree::default();
    let group = agree.group("g");
    for site in 0..2 * limits::MAX_DIGESTS_PER_KEY {
        let here = agree.place(&place(&site.to_string()));
        agree.see(group, Key::Number(1), 0, here, one(5));
    }
    // Other contents are bounded all the same.
    let here = agree.place(&place("haifa"));
    for digest in 0..200 {
        agree.see(group, Key::Number(2), 0, here, one(digest));
    }
    agree.finish();
    assert_eq!(total(&mut agree), counts(128, 200, 0));
}

#[test]
fn a_row_that_comes_after_its_key_was_settled_is_unverified() {
    let mut agree = Agree::default();
    let (group, here) = (agree.group("g"), agree.place(&place("haifa")));
    let later = limits::AGREE_HORIZON_S + 1;
    agree.see(group, Key::Number(1), 0, here, one(5));
    // Both agree with the first one, which nobody remembers; they must not be right among themselves either.
    agree.see(group, Key::Number(1), later, here, one(5));
    agree.see(group, Key::Number(1), later, here, one(5));
    agree.see(group, Key::Number(2), later, here, one(5));
    agree.finish();
    let expect = Counts {
        unverified: 2,
        ..counts(0, 0, 2)
    };
    assert_eq!((total(&mut agree), agree.late()), (expect, 2));
}

#[test]
fn a_recording_that_is_played_again_after_the_horizon_stays_verified() {
    let mut agree = Agree::default();
    let (group, here) = (agree.group("g"), agree.place(&place("haifa")));
    for round in 0..5 {
        let second = round * (limits::AGREE_HORIZON_S + 1);
        for key in 0..10 {
            let mut sighting = one(5);
            sighting.sessions = 2;
            agree.see(group, Key::Number(key), second, here, sighting);
        }
    }
    // One row of the last round differs, and is told with what it should have been.
    let last = 5 * (limits::AGREE_HORIZON_S + 1);
    agree.see(group, Key::Number(3), last, here, one(6));
    agree.see(group, Key::Number(3), last, here, one(6));
    agree.finish();
    assert_eq!((total(&mut agree), agree.late()), (counts(50, 2, 0), 0));
    let disagreements = agree.disagreements(&[("a".to_owned(), "haifa".to_owned())]);
    let shown: Vec<_> = disagreements[0]
        .digests
        .iter()
        .map(|seen| (seen.digest.as_str(), seen.sessions, seen.minority))
        .collect();
    assert_eq!(
        shown,
        [
            ("0000000000000006", 2, true),
            ("0000000000000005", 0, false)
        ]
    );
}

#[test]
fn a_key_that_was_settled_in_a_tie_leaves_later_rows_unverified() {
    let mut agree = Agree::default();
    let (group, here) = (agree.group("g"), agree.place(&place("haifa")));
    agree.see(group, Key::Number(1), 0, here, one(5));
    agree.see(group, Key::Number(1), 0, here, one(6));
    let later = limits::AGREE_HORIZON_S + 1;
    agree.see(group, Key::Number(1), later, here, one(5));
    agree.finish();
    let expect = Counts {
        unverified: 1,
        ..counts(0, 2, 0)
    };
    assert_eq!((total(&mut agree), agree.late()), (expect, 1));
}

#[test]
fn hostile_groups_places_and_streams_take_no_more_than_their_memory() {
    const MOST: usize = 64 * 1024;
    let mut agree = Agree::new(MOST);
    let here = agree.place(&place("haifa"));
    for number in 0..2_000 {
        let group = agree.group(&format!("group {number}"));
        agree.see(group, Key::Stream, 0, here, one(5));
    }
    // Streams are never settled early, so contents of one at many places must not grow without end either.
    let group = agree.group("group 0");
    for site in 0..2 * limits::MAX_PLACES {
        let there = agree.place(&place(&site.to_string()));
        agree.see(group, Key::Stream, 0, there, one(5));
    }
    assert!(agree.bytes <= MOST, "{}", agree.bytes);
    assert!(agree.places.len() <= limits::MAX_PLACES);
    assert!(agree.groups.len() < 200, "{}", agree.groups.len());
    agree.finish();
    let all = total(&mut agree);
    let rows = 2_000 + 2 * u64::try_from(limits::MAX_PLACES).unwrap();
    assert_eq!(
        all.unverified + all.unwitnessed + all.verified,
        rows,
        "{all:?}"
    );
    assert_eq!(all.unverified, agree.evicted());
}

#[test]
fn when_memory_is_short_lonely_rows_are_unverified_and_counted() {
    let mut agree = Agree::new(64 * 1024);
    let (group, here) = (agree.group("g"), agree.place(&place("haifa")));
    let sighting = Sighting {
        digest: 1,
        sessions: 1,
        rows: 1,
        witness: 0,
        agent: 0,
    };
    for key in 0..10_000 {
        agree.see(group, Key::Number(key), 0, here, sighting);
    }
    assert!(agree.bytes <= 64 * 1024);
    agree.finish();
    let all = total(&mut agree);
    assert_eq!(all.unverified + all.unwitnessed, 10_000);
    assert_eq!(all.unverified, agree.evicted());
    assert!(all.unwitnessed > 100, "{all:?}");
}

proptest! {
    /// Every row is counted exactly once, in whatever order agents report, and the order changes nothing.
    #[test]
    fn every_row_is_counted_once_in_any_order(
        mut sightings in proptest::collection::vec((0..5_i64, 0..3_u128, 1..4_u32, 0..3_u16), 0..40),
        seed in any::<u64>(),
    ) {
        let (first, disagreements) = settle(&sightings);
        let rows: u64 = sightings.iter().map(|(_, _, sessions, _)| u64::from(*sessions)).sum();
        prop_assert_eq!(first.verified + first.mismatched + first.unwitnessed + first.unverified, rows);
        let by = usize::try_from(seed % 41).unwrap().min(sightings.len());
        sightings.rotate_left(by);
        sightings.reverse();
        let (second, again) = settle(&sightings);
        prop_assert_eq!(first, second);
        prop_assert_eq!(disagreements.len(), again.len());
        prop_assert_eq!(first.mismatched > 0, !disagreements.is_empty());
    }
}

#[test]
fn a_session_alone_verifies_nothing_and_may_contradict_itself() {
    let mut agree = Agree::default();
    let here = agree.place(&place("live"));
    let group = agree.group("g");
    let mut see = |key, digest, sessions| {
        let sighting = Sighting {
            digest,
            sessions,
            rows: 1,
            witness: 5,
            agent: 0,
        };
        agree.see(group, Key::Number(key), 0, here, sighting);
    };
    // Seen by one session, and by the same one again.
    see(1, 10, 1);
    see(1, 10, 0);
    // Seen by one session, which saw other bytes the second time.
    see(2, 10, 1);
    see(2, 11, 0);
    // Two sessions agree, and one of them saw other bytes the second time.
    see(3, 10, 2);
    see(3, 11, 0);
    agree.finish();
    assert_eq!(
        total(&mut agree),
        Counts {
            verified: 1,
            mismatched: 3,
            unwitnessed: 2,
            unverified: 0,
        }
    );
}
