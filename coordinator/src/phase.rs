//! From seconds of the run to phases. Pure; the coordinator alone knows phases, agents only know seconds.
//!
//! Phases are spans of time that may overlap: each scenario's own `warm_up`, those that a plan names, two of each fault
//! (while it is there, and from its end until its first passing session), and one without a name for each time at which a
//! threshold begins to judge. Those of faults are not known beforehand: they are opened and closed while the run goes on,
//! each time with the moment at which that became known, which no measurement that is merged by then lies behind. A second that lies partly in a phase belongs to it. Setup comes
//! before the first second and teardown after the last, so they are in none.
use crate::report::model;
use std::collections::BTreeMap;
use std::time::Duration;
use testmesh_shared::plan::model::{MAX_AFTERS, MAX_PHASES};
use testmesh_shared::plan::{MAX_FAULTS, Plan, recovery_phase};

const SECOND: Duration = Duration::from_secs(1);

/// The set of phases that a second of a scenario belongs to. Totals are kept for each such set, of which there are few,
/// and not for each second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Class(u64);

impl Class {
    /// In no phase.
    pub const JUDGED: Self = Self(0);
    /// In the warm-up of its scenario: judged only by thresholds that ask for it.
    pub const WARM_UP: Self = Self(1);

    /// The plan's named phase with that number.
    fn named(number: usize) -> Self {
        Self(2 << number)
    }

    /// The time from which on some thresholds judge.
    fn from_time(number: usize) -> Self {
        Self(2 << (MAX_PHASES + number))
    }

    /// The phase of a fault with that number: two for each.
    fn of_fault(number: usize) -> Self {
        Self(2 << (MAX_PHASES + MAX_AFTERS + number))
    }

    /// In all phases of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

const _: () = assert!(
    1 + MAX_PHASES + MAX_AFTERS + 2 * MAX_FAULTS <= 64,
    "a set of phases has 64 bits"
);

/// Which seconds count: those in all of some phases, and in none of others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// In all of these.
    pub within: Class,
    /// In none of these.
    pub without: Class,
}

impl Span {
    /// All of them.
    pub const ALL: Self = Self {
        within: Class::JUDGED,
        without: Class::JUDGED,
    };
    /// All but the warm-up.
    pub const JUDGED: Self = Self {
        within: Class::JUDGED,
        without: Class::WARM_UP,
    };
    /// The warm-up alone.
    pub const WARM_UP: Self = Self {
        within: Class::WARM_UP,
        without: Class::JUDGED,
    };

    /// Whether a second in these phases counts.
    pub fn takes(self, class: Class) -> bool {
        class.0 & self.within.0 == self.within.0 && class.0 & self.without.0 == 0
    }

    /// Only what both take.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            within: self.within.and(other.within),
            without: self.without.and(other.without),
        }
    }
}

/// A phase that the plan names.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    name: String,
    from: Duration,
    to: Duration,
}

/// A phase of a fault, which is known once it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
struct OfFault {
    name: String,
    from: Option<Duration>,
    /// None: it is not over.
    to: Option<Duration>,
}

impl OfFault {
    fn span(&self) -> Option<(Duration, Duration)> {
        Some((self.from?, self.to.unwrap_or(Duration::MAX)))
    }
}

/// The phases of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    scenarios: BTreeMap<String, WarmUp>,
    named: Vec<Named>,
    /// Two for each fault of the plan.
    of_faults: Vec<OfFault>,
    /// When thresholds begin to judge, each once.
    afters: Vec<Duration>,
}

/// A scenario's warm-up, in time since the run's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WarmUp {
    /// When the scenario begins.
    pub from: Duration,
    /// When it is warm.
    pub to: Duration,
}

impl Phases {
    /// Reads them from a plan.
    pub fn of(plan: &Plan) -> Self {
        let scenarios = plan.scenarios.iter().map(|scenario| {
            // One that begins at a time that nobody knows beforehand has no warm-up.
            let begins = plan.begins(scenario);
            let warm_up = begins.map(|from| WarmUp {
                from,
                to: from + scenario.warm_up,
            });
            (scenario.name.as_str(), warm_up.unwrap_or_default())
        });
        let named = plan.phases.iter();
        let named = named.map(|phase| (phase.name.as_str(), phase.from, phase.to));
        let afters = plan.thresholds.iter().map(|threshold| threshold.after);
        let faults = plan.faults.iter().map(|fault| fault.name.as_str());
        Self::new(scenarios)
            .with_named(named)
            .with_faults(faults)
            .with_afters(afters.filter(|after| !after.is_zero()))
    }

    /// Phases of scenarios with these warm-ups.
    pub fn new<'a>(warm_ups: impl IntoIterator<Item = (&'a str, WarmUp)>) -> Self {
        let scenarios = warm_ups.into_iter();
        Self {
            scenarios: scenarios
                .map(|(scenario, warm_up)| (scenario.to_owned(), warm_up))
                .collect(),
            ..Self::default()
        }
    }

    /// The same with phases that a plan names; more than it may have are not known.
    #[must_use]
    pub fn with_named<'a>(
        mut self,
        named: impl IntoIterator<Item = (&'a str, Duration, Duration)>,
    ) -> Self {
        let named = named.into_iter().map(|(name, from, to)| Named {
            name: name.to_owned(),
            from,
            to,
        });
        self.named = named.take(MAX_PHASES).collect();
        self
    }

    /// The same with phases of faults that have not begun; more than a plan may have are not known.
    #[must_use]
    pub fn with_faults<'a>(mut self, faults: impl IntoIterator<Item = &'a str>) -> Self {
        let phases = faults
            .into_iter()
            .flat_map(|fault| [fault.to_owned(), recovery_phase(fault)]);
        let phase = |name| OfFault {
            name,
            from: None,
            to: None,
        };
        self.of_faults = phases.take(2 * MAX_FAULTS).map(phase).collect();
        self
    }

    /// The fault of that number begins, is over, is overcome: as far as that is known.
    pub fn set_fault(&mut self, fault: usize, times: [Option<Duration>; 3]) {
        let [began, over, overcome] = times;
        if let Some(phase) = self.of_faults.get_mut(2 * fault) {
            (phase.from, phase.to) = (began, over);
        }
        if let Some(phase) = self.of_faults.get_mut(2 * fault + 1) {
            // Of one that never was nothing is overcome.
            (phase.from, phase.to) = (over.filter(|_| began.is_some()), overcome);
        }
    }

    /// The same with times at which thresholds begin to judge.
    #[must_use]
    pub fn with_afters(mut self, afters: impl IntoIterator<Item = Duration>) -> Self {
        self.afters = afters.into_iter().collect();
        self.afters.sort_unstable();
        self.afters.dedup();
        self.afters.truncate(MAX_AFTERS);
        self
    }

    /// The phase of that name; none if there is none.
    pub fn phase(&self, name: &str) -> Option<Class> {
        if name == "warm_up" {
            return Some(Class::WARM_UP);
        }
        if let Some(number) = self.named.iter().position(|phase| phase.name == name) {
            return Some(Class::named(number));
        }
        let number = self.of_faults.iter().position(|phase| phase.name == name)?;
        Some(Class::of_fault(number))
    }

    /// The seconds from this time on; all of them from the run's start, or where no threshold begins then.
    pub fn after(&self, time: Duration) -> Span {
        let number = self.afters.iter().position(|after| *after == time);
        Span {
            within: number.map_or(Class::JUDGED, Class::from_time),
            without: Class::JUDGED,
        }
    }

    /// The class of one second of a scenario, or of what belongs to none.
    pub fn class(&self, scenario: Option<&str>, second: u32) -> Class {
        if matches!(scenario, Some("setup" | "teardown")) {
            return Class::JUDGED;
        }
        let (from, to) = (
            Duration::from_secs(second.into()),
            Duration::from_secs(u64::from(second) + 1),
        );
        let meets = |start: Duration, end: Duration| start < end && from < end && to > start;
        let warm_up = scenario.and_then(|scenario| self.scenarios.get(scenario));
        let mut class = match warm_up {
            Some(warm_up) if meets(warm_up.from, warm_up.to) => Class::WARM_UP,
            _ => Class::JUDGED,
        };
        for (number, phase) in self.named.iter().enumerate() {
            if meets(phase.from, phase.to) {
                class = class.and(Class::named(number));
            }
        }
        for (number, phase) in self.of_faults.iter().enumerate() {
            if phase.span().is_some_and(|(start, end)| meets(start, end)) {
                class = class.and(Class::of_fault(number));
            }
        }
        // Nothing of what came before such a time may be judged, so a second that it parts does not count.
        for (number, after) in self.afters.iter().enumerate() {
            if *after <= from {
                class = class.and(Class::from_time(number));
            }
        }
        class
    }

    /// How much of a run of this length counts for some of these scenarios, from when each begins.
    pub fn seconds(&self, scenarios: &[&str], span: Span, run: Duration) -> Duration {
        let whole = u32::try_from(run.as_secs()).unwrap_or(u32::MAX);
        let parts = (0..=whole).map(|second| self.part(scenarios, span, second, run));
        parts.sum()
    }

    /// Whether the whole second counts for some of these scenarios, in a run of this length.
    pub fn counts(&self, scenarios: &[&str], span: Span, second: u32, run: Duration) -> bool {
        self.part(scenarios, span, second, run) == SECOND
    }

    fn part(&self, scenarios: &[&str], span: Span, second: u32, run: Duration) -> Duration {
        let (from, to) = (
            Duration::from_secs(second.into()),
            Duration::from_secs(u64::from(second) + 1).min(run),
        );
        let of = |scenario: Option<&str>| {
            let known = scenario.and_then(|scenario| self.scenarios.get(scenario));
            let begins = known.copied().unwrap_or_default().from;
            if span.takes(self.class(scenario, second)) {
                to.saturating_sub(from.max(begins))
            } else {
                Duration::ZERO
            }
        };
        if scenarios.is_empty() {
            return of(None);
        }
        let parts = scenarios.iter().map(|scenario| of(Some(scenario)));
        parts.max().unwrap_or_default()
    }

    /// As the report lists them: those that the run came to.
    pub fn report(&self, run: Duration) -> Vec<model::Phase> {
        let phase = |name: &str, from: Duration, to: Duration, scenario| model::Phase {
            name: name.to_owned(),
            from: from.min(run).as_secs_f64(),
            to: to.min(run).as_secs_f64(),
            scenario,
        };
        let warm = self.scenarios.iter();
        let warm =
            warm.filter(|(_, warm_up)| warm_up.from < warm_up.to)
                .map(|(scenario, warm_up)| {
                    phase("warm_up", warm_up.from, warm_up.to, Some(scenario.clone()))
                });
        let named = self.named.iter().filter(|phase| phase.from < run);
        let of_faults = self.of_faults.iter().filter_map(|one| {
            let (from, to) = one.span().filter(|(from, _)| *from < run)?;
            Some(phase(&one.name, from, to, None))
        });
        warm.chain(named.map(|one| phase(&one.name, one.from, one.to, None)))
            .chain(of_faults)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn warm_up(from: u64, to: u64) -> WarmUp {
        let [from, to] = [from, to].map(Duration::from_millis);
        WarmUp { from, to }
    }

    fn named(phases: Phases, named: &[(&str, u64, u64)]) -> Phases {
        let ms = Duration::from_millis;
        phases.with_named(
            named
                .iter()
                .map(|(name, from, to)| (*name, ms(*from), ms(*to))),
        )
    }

    #[test]
    fn a_second_belongs_to_the_warm_up_as_soon_as_part_of_it_does() {
        let phases = Phases::new([
            ("live", warm_up(0, 4_500)),
            ("probe", warm_up(0, 0)),
            ("later", warm_up(30_500, 32_000)),
        ]);
        for (scenario, second, expect) in [
            (Some("live"), 0, Class::WARM_UP),
            (Some("live"), 4, Class::WARM_UP),
            (Some("live"), 5, Class::JUDGED),
            (Some("probe"), 0, Class::JUDGED),
            (Some("setup"), 0, Class::JUDGED),
            (None, 0, Class::JUDGED),
            (Some("later"), 29, Class::JUDGED),
            (Some("later"), 30, Class::WARM_UP),
            (Some("later"), 31, Class::WARM_UP),
            (Some("later"), 32, Class::JUDGED),
        ] {
            assert_eq!(
                phases.class(scenario, second),
                expect,
                "{scenario:?} {second}"
            );
        }
    }

    #[test]
    fn phases_overlap_and_belong_to_every_scenario_but_not_to_setup() {
        let phases = named(
            Phases::new([("live", warm_up(0, 2_000))]),
            &[("early", 0, 3_000), ("odd", 1_500, 2_500)],
        )
        .with_afters([Duration::from_millis(1_500)]);
        let of = |name| phases.phase(name).unwrap();
        let (early, odd) = (of("early"), of("odd"));
        let late = phases.after(Duration::from_millis(1_500)).within;
        for (scenario, second, expect) in [
            (Some("live"), 0, Class::WARM_UP.and(early)),
            (Some("live"), 1, Class::WARM_UP.and(early).and(odd)),
            (Some("live"), 2, early.and(odd).and(late)),
            (Some("live"), 3, late),
            (None, 2, early.and(odd).and(late)),
            (Some("setup"), 2, Class::JUDGED),
        ] {
            assert_eq!(
                phases.class(scenario, second),
                expect,
                "{scenario:?} {second}"
            );
        }
        assert_eq!(phases.phase("late"), None);
        assert_eq!(phases.after(Duration::ZERO), Span::ALL);
        let listed = phases.report(Duration::from_secs(2));
        let listed: Vec<_> = listed
            .iter()
            .map(|phase| (phase.name.as_str(), phase.from, phase.to))
            .collect();
        assert_eq!(
            listed,
            [
                ("warm_up", 0.0, 2.0),
                ("early", 0.0, 2.0),
                ("odd", 1.5, 2.0)
            ]
        );
    }

    #[test]
    fn judged_seconds_begin_with_the_first_scenario_that_is_warm() {
        let phases = named(
            Phases::new([
                ("a", warm_up(0, 4_500)),
                ("b", warm_up(0, 2_000)),
                ("later", warm_up(30_000, 32_000)),
                ("cold", warm_up(30_500, 30_500)),
            ]),
            &[("early", 0, 10_000)],
        );
        let early = Span {
            within: phases.phase("early").unwrap(),
            without: Class::JUDGED,
        };
        let not_early = Span {
            within: Class::JUDGED,
            without: early.within,
        };
        for (scenarios, span, expect) in [
            (&["a"][..], Span::JUDGED, 55_000),
            (&["b"], Span::JUDGED, 58_000),
            (&["a", "b"], Span::JUDGED, 58_000),
            (&["c"], Span::JUDGED, 60_000),
            (&["later"], Span::JUDGED, 28_000),
            (&["later"], Span::WARM_UP, 2_000),
            (&["later"], Span::ALL, 30_000),
            (&["cold"], Span::JUDGED, 29_500),
            (&[], Span::JUDGED, 60_000),
            (&["a"], early, 10_000),
            (&["a"], early.and(Span::JUDGED), 5_000),
            (&["a"], not_early, 50_000),
        ] {
            assert_eq!(
                phases.seconds(scenarios, span, Duration::from_secs(60)),
                Duration::from_millis(expect),
                "{scenarios:?} {span:?}"
            );
        }
        assert_eq!(
            phases.seconds(&["a"], Span::JUDGED, Duration::from_secs(1)),
            Duration::ZERO
        );
        assert!(!phases.counts(&["b"], Span::JUDGED, 1, Duration::from_secs(3)));
        assert!(phases.counts(&["b"], Span::JUDGED, 2, Duration::from_secs(3)));
        assert!(!phases.counts(&["b"], Span::JUDGED, 2, Duration::from_millis(2_500)));
    }

    #[test]
    fn a_fault_is_a_phase_as_far_as_it_is_known() {
        let mut phases = Phases::new([("live", warm_up(0, 0))]).with_faults(["cut", "slow"]);
        let of = |phases: &Phases, name: &str| phases.phase(name).unwrap();
        let (cut, recovery) = (of(&phases, "cut"), of(&phases, "cut.recovery"));
        let class = |phases: &Phases, second| phases.class(Some("live"), second);
        assert_eq!(class(&phases, 3), Class::JUDGED);
        let ms = |ms| Some(Duration::from_millis(ms));
        phases.set_fault(0, [ms(3_000), None, None]);
        assert_eq!((class(&phases, 2), class(&phases, 3)), (Class::JUDGED, cut));
        assert_eq!(class(&phases, 1_000), cut);
        phases.set_fault(0, [ms(3_000), ms(5_200), None]);
        assert_eq!(class(&phases, 5), cut.and(recovery));
        assert_eq!(class(&phases, 1_000), recovery);
        phases.set_fault(0, [ms(3_000), ms(5_200), ms(6_100)]);
        assert_eq!(
            (class(&phases, 6), class(&phases, 7)),
            (recovery, Class::JUDGED)
        );
        assert_ne!(of(&phases, "slow"), cut);
        let listed = phases.report(Duration::from_secs(6));
        let listed: Vec<_> = listed
            .iter()
            .map(|phase| (phase.name.as_str(), phase.from, phase.to))
            .collect();
        assert_eq!(listed, [("cut", 3.0, 5.2), ("cut.recovery", 5.2, 6.0)]);
    }

    proptest! {
        /// Every second is in a phase or not, so both sides of a matcher make up the whole run.
        #[test]
        fn a_phase_and_the_rest_are_the_whole_run(
            spans in proptest::collection::vec((0..20_000_u64, 1..20_000_u64), 1..MAX_PHASES),
            run in 0..40_000_u64,
            picked in any::<prop::sample::Index>(),
        ) {
            let names: Vec<String> = (0..spans.len()).map(|number| format!("p{number}")).collect();
            let list = names.iter().zip(&spans);
            let list: Vec<_> = list.map(|(name, (from, long))| (name.as_str(), *from, from + long)).collect();
            let phases = named(Phases::default(), &list);
            let one = phases.phase(&names[picked.index(names.len())]).unwrap();
            let run = Duration::from_millis(run);
            let within = phases.seconds(&[], Span { within: one, ..Span::ALL }, run);
            let without = phases.seconds(&[], Span { without: one, ..Span::ALL }, run);
            prop_assert_eq!(within + without, run);
        }
    }
}
