//! Scripts and laws of the timeline of faults.
use super::*;
use proptest::prelude::*;

fn clock() -> (TimeAnchor, Instant) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async { (TimeAnchor::now(), Instant::now()) })
}

fn spec(name: &str, begin: Begin, capable: &[AgentIndex], ends_with_lease: bool) -> Spec {
    Spec {
        name: name.to_owned(),
        begin,
        length: Duration::from_secs(10),
        capable: capable.to_vec(),
        ends_with_lease,
        inject_within: Duration::from_secs(20),
        revert_within: Duration::from_secs(30),
        by_hand: String::new(),
    }
}

fn at(seconds: u64) -> Begin {
    Begin::At(Duration::from_secs(seconds))
}

struct Script {
    timeline: Timeline,
    start: Instant,
    now: Instant,
}

impl Script {
    /// A run that has started, with one fault.
    fn one(begin: Begin, capable: &[AgentIndex], ends_with_lease: bool) -> Self {
        let (anchor, start) = clock();
        let spec = spec("f", begin, capable, ends_with_lease);
        let mut timeline = Timeline::new(vec![spec], anchor);
        assert_eq!(timeline.step(start, FaultEvent::Started { at: start }), []);
        Self {
            timeline,
            start,
            now: start,
        }
    }

    fn at(&mut self, seconds: f64) -> &mut Self {
        self.now = self.start + Duration::from_secs_f64(seconds);
        self
    }

    fn check(&mut self, event: FaultEvent, expect: &str) -> &mut Self {
        let actions = self.timeline.step(self.now, event.clone());
        let shown: Vec<_> = actions.iter().map(show).collect();
        assert_eq!(shown.join("; "), expect, "after {event:?}");
        self
    }

    fn due(&mut self, seconds: Option<f64>) -> &mut Self {
        let due = self.timeline.deadline();
        let due = due.map(|due| due.saturating_duration_since(self.start).as_secs_f64());
        assert_eq!(due, seconds);
        self
    }

    fn outcome(&self) -> &Outcome {
        &self.timeline.fault(0).unwrap().1.outcome
    }

    fn failure(&self) -> &str {
        match self.outcome() {
            Outcome::Failed(why) | Outcome::NeverBegan(why) | Outcome::NotReverted(why) => why,
            Outcome::Open | Outcome::Reverted => "",
        }
    }
}

fn show(action: &FaultAction) -> String {
    match action {
        FaultAction::Inject { fault, agent } => format!("inject {fault} on {agent}"),
        FaultAction::InjectAgain { fault, agent } => format!("inject {fault} on {agent} again"),
        FaultAction::Renew { fault, agent } => format!("renew {fault} on {agent}"),
        FaultAction::Revert { fault, agent } => format!("revert {fault} on {agent}"),
        FaultAction::Phases { .. } => "phases".into(),
        FaultAction::Over { fault } => format!("over {fault}"),
        FaultAction::Watch { agent: None, .. } => "watch".into(),
        FaultAction::Watch {
            agent: Some(agent), ..
        } => format!("watch on {agent}"),
        FaultAction::Recovered { .. } => "recovered".into(),
        FaultAction::Closed => "closed".into(),
    }
}

fn told(agent: AgentIndex, word: Word) -> FaultEvent {
    heard(agent, word, false)
}

fn heard(agent: AgentIndex, word: Word, unasked: bool) -> FaultEvent {
    FaultEvent::Told(Heard {
        agent,
        fault: 0,
        word,
        at_ns: 1_000,
        detail: "detail".into(),
        unasked,
    })
}

fn lost(agent: AgentIndex) -> FaultEvent {
    FaultEvent::Lost { agent }
}

fn recovered(agent: AgentIndex, at_ns: i64) -> FaultEvent {
    FaultEvent::Recovered {
        fault: 0,
        agent,
        scenario: "s".into(),
        at_ns,
    }
}

#[test]
fn a_fault_is_injected_renewed_reverted_and_overcome() {
    let mut script = Script::one(at(5), &[0, 1], false);
    script.due(Some(5.0)).at(4.9).check(FaultEvent::Tick, "");
    script
        .at(5.0)
        .check(FaultEvent::Tick, "phases; inject 0 on 0")
        .due(Some(8.0))
        .at(5.5)
        .check(told(0, Word::Injected), "")
        .at(8.0)
        .check(FaultEvent::Tick, "renew 0 on 0")
        .due(Some(11.0))
        .at(11.0)
        .check(FaultEvent::Tick, "renew 0 on 0")
        .at(14.0)
        .check(FaultEvent::Tick, "renew 0 on 0")
        .due(Some(15.5))
        .at(15.5)
        .check(FaultEvent::Tick, "revert 0 on 0")
        .at(16.0)
        .check(told(0, Word::Reverted), "phases; over 0; watch")
        .due(None)
        .check(told(0, Word::Reverted), "")
        .at(16.3)
        .check(recovered(1, 500_001_000), "phases")
        .due(Some(17.3))
        .at(16.4)
        // Another agent's session was sooner, and is heard of later.
        .check(recovered(0, 250_001_000), "")
        .at(17.3)
        .check(FaultEvent::Tick, "recovered")
        .check(recovered(0, 2_000), "")
        .check(FaultEvent::RunEnds, "closed");
    let record = script.timeline.fault(0).unwrap().1;
    assert_eq!(record.outcome, Outcome::Reverted);
    let times = [record.ordered, record.over, record.recovered];
    let times = times.map(|time| time.unwrap().saturating_duration_since(script.start));
    assert_eq!(times.map(|time| time.as_secs_f64()), [5.0, 16.0, 16.3]);
    let recovery = record.recovery.as_ref().unwrap();
    assert_eq!(
        (recovery.after, recovery.agent),
        (Duration::from_millis(250), 0)
    );
}

#[test]
fn a_fault_waits_for_the_stage_that_it_names() {
    let after = Begin::After {
        scenario: "live".into(),
        stage: "stream".into(),
        delay: Duration::from_secs(2),
    };
    let passed = |scenario: &str, stage: &str| FaultEvent::StagePassed {
        scenario: scenario.into(),
        stage: stage.into(),
    };
    let mut script = Script::one(after.clone(), &[0], false);
    script
        .due(None)
        .at(3.0)
        .check(passed("live", "open"), "")
        .check(passed("other", "stream"), "")
        .due(None)
        .check(passed("live", "stream"), "")
        .due(Some(5.0))
        .at(4.0)
        .check(passed("live", "stream"), "")
        .due(Some(5.0))
        .at(5.0)
        .check(FaultEvent::Tick, "phases; inject 0 on 0");
    let mut never = Script::one(after, &[0], false);
    never.check(FaultEvent::RunEnds, "over 0; closed");
    assert!(
        never
            .failure()
            .contains("no session of `live` passed the stage `stream`")
    );
}

#[test]
fn the_end_of_the_run_ends_every_fault() {
    let mut waiting = Script::one(at(5), &[0], false);
    waiting
        .check(FaultEvent::RunEnds, "over 0; closed")
        .due(None);
    assert!(matches!(waiting.outcome(), Outcome::NeverBegan(_)));
    let mut active = Script::one(at(5), &[0], false);
    active
        .at(5.0)
        .check(FaultEvent::Tick, "phases; inject 0 on 0")
        .check(told(0, Word::Injected), "")
        .at(6.0)
        .check(FaultEvent::RunEnds, "revert 0 on 0")
        .due(Some(36.0))
        .check(told(0, Word::Reverted), "phases; over 0; watch; closed");
    assert_eq!(*active.outcome(), Outcome::Reverted);
    let mut injecting = Script::one(at(5), &[0], false);
    injecting
        .at(5.0)
        .check(FaultEvent::Tick, "phases; inject 0 on 0")
        .at(6.0)
        .check(FaultEvent::RunEnds, "revert 0 on 0")
        // What is left of the injection comes before it.
        .due(Some(55.0))
        .check(told(0, Word::Injected), "")
        .check(told(0, Word::Reverted), "phases; over 0; watch; closed");
    assert!(matches!(injecting.outcome(), Outcome::Failed(_)));
}

#[test]
fn what_could_not_be_injected_is_reverted_all_the_same() {
    let mut script = Script::one(at(5), &[0, 1], false);
    script
        .at(5.0)
        .check(FaultEvent::Tick, "phases; inject 0 on 0")
        .check(told(0, Word::InjectFailed), "revert 0 on 0")
        .check(told(0, Word::Reverted), "phases; over 0");
    assert_eq!(script.failure(), "detail");
    let mut silent = Script::one(at(5), &[0], false);
    silent
        .at(5.0)
        .check(FaultEvent::Tick, "phases; inject 0 on 0")
        .at(25.0)
        .check(FaultEvent::Tick, "revert 0 on 0")
        .check(told(0, Word::Reverted), "phases; over 0");
    assert!(silent.failure().contains("did not say within 20s"));
    let mut unstored = Script::one(at(5), &[0], false);
    let why = "full".to_owned();
    unstored
        .at(5.0)
        .check(FaultEvent::Tick, "phases; inject 0 on 0")
        .check(FaultEvent::NotStored { fault: 0, why }, "phases; over 0");
    assert!(unstored.failure().contains("could not be stored: full"));
    let mut nobody = Script::one(at(5), &[0], false);
    nobody
        .check(lost(0), "")
        .at(5.0)
        .check(FaultEvent::Tick, "over 0");
    assert!(nobody.failure().contains("no agent is left"));
}

#[test]
fn another_agent_reverts_what_a_lost_one_injected() {
    let mut script = Script::one(at(5), &[0, 1], false);
    script
        .at(5.0)
        .check(FaultEvent::Tick, "phases; inject 0 on 0")
        .check(told(0, Word::Injected), "")
        .at(7.0)
        .check(lost(0), "revert 0 on 1")
        .check(told(0, Word::Reverted), "")
        .check(told(1, Word::Reverted), "phases; over 0; watch");
    assert_eq!(script.failure(), "its agent was lost");
    assert_eq!(script.timeline.fault(0).unwrap().1.reverted_by, Some(1));
    let mut alone = Script::one(at(5), &[0], false);
    alone
        .at(5.0)
        .check(FaultEvent::Tick, "phases; inject 0 on 0")
        .check(told(0, Word::Injected), "")
        .check(lost(0), "phases; over 0");
    assert!(matches!(alone.outcome(), Outcome::NotReverted(_)));
    let mut unable = Script::one(at(5), &[0, 1], false);
    unable
        .at(5.0)
        .check(FaultEvent::Tick, "phases; inject 0 on 0")
        .check(told(0, Word::Injected), "")
        .at(15.0)
        .check(FaultEvent::Tick, "revert 0 on 0")
        .check(told(0, Word::RevertFailed), "revert 0 on 1")
        .at(45.0)
        .check(FaultEvent::Tick, "phases; over 0");
    assert!(unable.failure().contains("within 30s"));
}

#[test]
fn a_proxy_ends_with_its_lease() {
    let mut script = Script::one(at(5), &[0], true);
    script
        .at(5.0)
        .check(FaultEvent::Tick, "phases; inject 0 on 0")
        .check(told(0, Word::Injected), "")
        .at(8.0)
        .check(FaultEvent::Tick, "renew 0 on 0")
        .at(9.0)
        .check(lost(0), "")
        // Of the renewal at 8 s: 15 s, and what that was under way.
        .due(Some(25.0))
        .check(FaultEvent::RunEnds, "")
        .at(25.0)
        .check(FaultEvent::Tick, "phases; over 0; watch; closed");
    assert_eq!(script.failure(), "its agent was lost");
    assert_eq!(script.timeline.fault(0).unwrap().1.reverted_by, None);
    let mut cut_off = Script::one(at(5), &[0], true);
    cut_off
        .at(5.0)
        .check(FaultEvent::Tick, "phases; inject 0 on 0")
        .check(told(0, Word::Injected), "")
        .at(9.0)
        .check(heard(0, Word::Reverted, true), "phases; over 0; watch");
    assert!(cut_off.failure().contains("before it was time"));
}

#[test]
fn an_agent_that_comes_back_is_told_again() {
    let back = || FaultEvent::Returned { agent: 0 };
    let mut script = Script::one(at(5), &[0], false);
    script
        .check(back(), "")
        .at(5.0)
        .check(FaultEvent::Tick, "phases; inject 0 on 0")
        .check(back(), "inject 0 on 0 again")
        .check(FaultEvent::Returned { agent: 1 }, "")
        .check(told(0, Word::Injected), "")
        .check(back(), "renew 0 on 0")
        .at(15.0)
        .check(FaultEvent::Tick, "revert 0 on 0")
        .check(back(), "revert 0 on 0")
        .check(told(0, Word::Reverted), "phases; over 0; watch")
        .check(back(), "watch on 0");
}

/// What may happen to two faults on three agents.
#[derive(Clone, Debug)]
enum Chance {
    Tells(AgentIndex, FaultIndex, u8, bool),
    Lost(AgentIndex),
    Returned(AgentIndex),
    Stage,
    Recovered(AgentIndex, FaultIndex),
    NotStored(FaultIndex),
    RunEnds,
    Waits(u64),
}

fn chances() -> impl Strategy<Value = Vec<Chance>> {
    let one = prop_oneof![
        6 => (0..3_usize, 0..2_usize, 0..4_u8, any::<bool>()).prop_map(|(a, f, w, u)| Chance::Tells(a, f, w, u)),
        1 => (0..3_usize).prop_map(Chance::Lost),
        1 => (0..3_usize).prop_map(Chance::Returned),
        1 => Just(Chance::Stage),
        1 => (0..3_usize, 0..2_usize).prop_map(|(a, f)| Chance::Recovered(a, f)),
        1 => (0..2_usize).prop_map(Chance::NotStored),
        1 => Just(Chance::RunEnds),
        6 => (0..8_000_u64).prop_map(Chance::Waits),
    ];
    proptest::collection::vec(one, 0..60)
}

fn event(chance: Chance) -> Option<FaultEvent> {
    let words = [
        Word::Injected,
        Word::InjectFailed,
        Word::Reverted,
        Word::RevertFailed,
    ];
    Some(match chance {
        Chance::Tells(agent, fault, word, unasked) => FaultEvent::Told(Heard {
            agent,
            fault,
            word: words[usize::from(word)],
            at_ns: 5,
            detail: String::new(),
            unasked,
        }),
        Chance::Lost(agent) => FaultEvent::Lost { agent },
        Chance::Returned(agent) => FaultEvent::Returned { agent },
        Chance::Stage => FaultEvent::StagePassed {
            scenario: "s".into(),
            stage: "x".into(),
        },
        Chance::Recovered(agent, fault) => FaultEvent::Recovered {
            fault,
            agent,
            scenario: "s".into(),
            at_ns: 9,
        },
        Chance::NotStored(fault) => FaultEvent::NotStored {
            fault,
            why: String::new(),
        },
        Chance::RunEnds => FaultEvent::RunEnds,
        Chance::Waits(_) => return None,
    })
}

proptest! {
    /// Whatever happens: each fault that was injected ends in one of these ways, once: an agent says that it is reverted,
    /// its lease has ended, or it is told as not reverted after every living agent that can was asked; and the end of the
    /// run closes all within a bounded time.
    #[test]
    fn every_injected_fault_is_reverted_in_every_history(history in chances(), lease in any::<bool>()) {
        let (anchor, start) = clock();
        let after = Begin::After { scenario: "s".into(), stage: "x".into(), delay: Duration::ZERO };
        let specs = vec![spec("a", at(3), &[0], lease), spec("b", after, &[1, 2, 0], false)];
        let mut timeline = Timeline::new(specs, anchor);
        timeline.step(start, FaultEvent::Started { at: start });
        let mut now = start;
        let (mut injected, mut over, mut closed) = ([0; 2], [0; 2], 0);
        let mut gone = Vec::new();
        let mut asked: [Vec<AgentIndex>; 2] = Default::default();
        let mut run = |timeline: &mut Timeline, now: Instant, event: FaultEvent| -> Result<(), TestCaseError> {
            if let FaultEvent::Lost { agent } = event {
                gone.push(agent);
            }
            // By its lease, and in vain: it need not be asked again.
            if let FaultEvent::Told(Heard { agent, fault, word: Word::RevertFailed, .. }) = &event {
                asked[*fault].push(*agent);
            }
            for action in timeline.step(now, event) {
                match action {
                    FaultAction::Inject { fault, agent } => {
                        injected[fault] += 1;
                        prop_assert!(!gone.contains(&agent));
                    }
                    FaultAction::Revert { fault, agent } => {
                        prop_assert!(!gone.contains(&agent));
                        asked[fault].push(agent);
                    }
                    FaultAction::Over { fault } => {
                        over[fault] += 1;
                        let (spec, record) = timeline.fault(fault).unwrap();
                        prop_assert!(record.outcome != Outcome::Open);
                        if let Outcome::NotReverted(_) = record.outcome {
                            let all = spec.capable.iter().all(|one| gone.contains(one) || asked[fault].contains(one));
                            prop_assert!(all && !spec.ends_with_lease, "{:?} {:?}", gone, asked);
                        }
                    }
                    FaultAction::Closed => closed += 1,
                    _ => {}
                }
            }
            Ok(())
        };
        for chance in history {
            if let Chance::Waits(ms) = chance {
                let until = now + Duration::from_millis(ms);
                while let Some(due) = timeline.deadline().filter(|due| *due <= until) {
                    now = now.max(due);
                    run(&mut timeline, now, FaultEvent::Tick)?;
                }
                now = until;
            } else if let Some(event) = event(chance) {
                run(&mut timeline, now, event)?;
            }
        }
        run(&mut timeline, now, FaultEvent::RunEnds)?;
        let ended = now;
        while let Some(due) = timeline.deadline() {
            now = now.max(due);
            run(&mut timeline, now, FaultEvent::Tick)?;
            prop_assert!(now < ended + Duration::from_secs(180), "it does not end");
        }
        timeline.finish();
        prop_assert_eq!(closed, 1);
        for fault in 0..2 {
            prop_assert_eq!(over[fault], 1);
            prop_assert!(injected[fault] <= 1);
            let (_, record) = timeline.fault(fault).unwrap();
            prop_assert_eq!(record.ordered.is_some(), injected[fault] == 1);
            let done = record.ended_ns.is_some();
            match &record.outcome {
                Outcome::Reverted => prop_assert!(done && injected[fault] == 1),
                Outcome::NeverBegan(_) => prop_assert_eq!(injected[fault], 0),
                Outcome::Failed(_) => prop_assert!(done || injected[fault] == 0),
                Outcome::NotReverted(_) => prop_assert!(injected[fault] == 1),
                Outcome::Open => prop_assert!(false, "it is open"),
            }
        }
    }
}
