//! Tests of the load models: see `profile.rs`.

use proptest::prelude::*;

use super::*;

const PER_SECOND: u64 = 3_600_000_000;

fn piece(from: u64, to: u64, millis: u64) -> Piece {
    Piece {
        from,
        to,
        over: Duration::from_millis(millis),
    }
}

#[test]
fn arrivals_of_a_steady_rate_are_exact() {
    let rates = Rates::new(vec![piece(3 * PER_SECOND, 3 * PER_SECOND, 10_000)]);
    assert_eq!(rates.arrivals(), 30);
    assert_eq!(rates.even(0), Duration::ZERO);
    assert_eq!(rates.even(3), Duration::from_secs(1));
    assert_eq!(rates.even(1), Duration::from_nanos(333_333_333));
    let slow = Rates::new(vec![piece(PER_SECOND / 10, PER_SECOND / 10, 30_000)]);
    assert_eq!(slow.arrivals(), 3);
    assert_eq!(slow.even(2), Duration::from_secs(20));
}

#[test]
fn arrivals_of_a_ramp_grow_denser() {
    // From 0 to 10/s in 10 s: the n-th comes at the root of 2n.
    let rates = Rates::new(vec![piece(0, 10 * PER_SECOND, 10_000)]);
    assert_eq!(rates.arrivals(), 50);
    for (index, seconds) in [(0, 0.0), (2, 2.0), (8, 4.0), (32, 8.0)] {
        assert!(
            (rates.even(index).as_secs_f64() - seconds).abs() < 1e-9,
            "{index}"
        );
    }
    // And back down: symmetrical.
    let down = Rates::new(vec![piece(10 * PER_SECOND, 0, 10_000)]);
    assert_eq!(down.arrivals(), 50);
    assert!((down.even(18).as_secs_f64() - 2.0).abs() < 1e-9);
}

#[test]
fn nothing_arrives_while_the_rate_is_zero() {
    let rates = Rates::new(vec![
        piece(0, 0, 5_000),
        piece(0, PER_SECOND, 0),
        piece(PER_SECOND, PER_SECOND, 2_000),
        piece(PER_SECOND, 0, 0),
        piece(0, 0, 5_000),
    ]);
    assert_eq!(rates.arrivals(), 2);
    assert_eq!(
        [rates.even(0), rates.even(1)],
        [5, 6].map(Duration::from_secs)
    );
    assert_eq!(rates.length(), Duration::from_secs(12));
}

proptest! {
    #[test]
    fn arrivals_ascend_and_lie_within(
        values in prop::collection::vec((0_u64..50, 0_u64..3_000), 1..6),
    ) {
        let mut from = 0;
        let mut pieces = Vec::new();
        for (to, millis) in values {
            pieces.push(piece(from * PER_SECOND, to * PER_SECOND, millis));
            from = to;
        }
        let rates = Rates::new(pieces);
        let times: Vec<_> = (0..rates.arrivals()).map(|index| rates.even(index)).collect();
        prop_assert!(times.is_sorted());
        prop_assert!(times.iter().all(|at| *at <= rates.length()));
        let expected = rates.expected();
        prop_assert!((expected - rates.arrivals() as f64).abs() <= 1.0);
    }

    #[test]
    fn a_user_is_active_exactly_while_the_level_is_above_it(
        values in prop::collection::vec((0_u64..20, 1_u64..3_000), 1..6),
        user in 0_u64..20, at_ms in 0_u64..12_000,
    ) {
        let mut from = 0;
        let mut pieces = Vec::new();
        for (to, millis) in values {
            pieces.push(piece(from, to, millis));
            from = to;
        }
        let levels = Levels::new(pieces.clone());
        let at = Duration::from_millis(at_ms);
        let level = |at: Duration| {
            let mut begin = Duration::ZERO;
            for piece in &pieces {
                if at < begin + piece.over {
                    let share = (at - begin).as_secs_f64() / piece.over.as_secs_f64();
                    return piece.from as f64 + (piece.to as f64 - piece.from as f64) * share;
                }
                begin += piece.over;
            }
            0.0
        };
        // A hair aside of the border, where rounding decides.
        let above = level(at) - user as f64;
        prop_assume!(above.abs() > 1e-6);
        let found = levels.above(user, at);
        if above > 0.0 {
            prop_assert_eq!(found, Some(at));
        } else {
            prop_assert!(found.is_none_or(|found| found > at));
        }
    }
}
