//! Scripts and laws of the run's state machine.
use super::*;
use proptest::prelude::*;

const TERMS: Terms = Terms {
    has_setup: true,
    has_teardown: true,
    planned: Some(Duration::from_secs(60)),
    wind_down: Duration::from_secs(30),
    faults: None,
};

struct Script {
    state: RunState,
    start: Instant,
    now: Instant,
}

impl Script {
    fn new(terms: Terms) -> Self {
        let start = clock();
        Self {
            state: RunState::new(terms),
            start,
            now: start,
        }
    }

    fn at(&mut self, seconds: f64) -> &mut Self {
        self.now = self.start + Duration::from_secs_f64(seconds);
        self
    }

    /// The actions in short, one word or two each.
    fn check(&mut self, event: Event, expect: &str) -> &mut Self {
        let actions = self.state.step(self.now, event.clone());
        let shown: Vec<_> = actions
            .iter()
            .map(|action| show(action, self.start))
            .collect();
        assert_eq!(shown.join("; "), expect, "after {event:?}");
        if let Event::Placed { agents } = event {
            self.all_clocks_are_known(agents);
        }
        self
    }

    fn all_clocks_are_known(&mut self, agents: usize) {
        for agent in 0..agents {
            let event = clock_heard(agent, Some(0));
            self.state.step(self.now, event);
        }
    }

    fn running(terms: Terms, agents: usize) -> Self {
        let mut script = Self::new(terms);
        script.state.step(script.now, Event::Placed { agents });
        script.all_clocks_are_known(agents);
        for agent in 0..agents {
            script.state.step(script.now, Event::Armed { agent });
        }
        script.state.step(
            script.now,
            Event::SetUpEnded {
                agent: 0,
                error: None,
            },
        );
        script.at(0.03).check(Event::Tick, "running");
        script
    }
}

fn clock() -> Instant {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async { Instant::now() })
}

fn clock_heard(agent: usize, ms: Option<u64>) -> Event {
    let uncertainty = ms.map(Duration::from_millis);
    Event::ClockHeard { agent, uncertainty }
}

fn lost(agent: usize) -> Event {
    let why = "silent".into();
    Event::Lost { agent, why }
}

fn merged(agent: usize, through: u64) -> Event {
    Event::Merged { agent, through }
}

fn drained(agent: usize, last_seq: u64) -> Event {
    Event::Drained { agent, last_seq }
}

fn show(action: &Action, start: Instant) -> String {
    match action {
        Action::Announce { state, reason } if reason.is_empty() => state.as_str().to_owned(),
        Action::Announce { state, reason } => format!("{} ({reason})", state.as_str()),
        Action::Prepare => "prepare".into(),
        Action::PrepareAgain { agent } => format!("prepare {agent} again"),
        Action::StartAgain { agent } => format!("start {agent} again"),
        Action::StopAgain { agent, mode } => format!("stop {agent} again {mode:?}"),
        Action::SetUp { agent } => format!("set up {agent}"),
        Action::Start { at } => format!("start at {:?}", *at - start),
        Action::Stop { mode } => format!("stop {mode:?}"),
        Action::TearDown { agent } => format!("tear down {agent}"),
        Action::WriteOff { agent, .. } => format!("write off {agent}"),
        Action::NoteTearDownFailed { error } => format!("note {error}"),
        Action::Release => "release".into(),
        Action::Seal(ending) => format!("seal {}", show_ending(ending)),
    }
}

fn show_ending(ending: &Ending) -> String {
    let mut words = Vec::new();
    if let Some(failure) = &ending.failure {
        words.push(format!("{failure:?}"));
    }
    words.extend(ending.stopped.map(|mode| format!("stopped {mode:?}")));
    words.extend(ending.lost.iter().map(|(agent, _)| format!("lost {agent}")));
    words.extend(
        ending
            .overran
            .iter()
            .map(|agent| format!("overran {agent}")),
    );
    if words.is_empty() {
        "clean".into()
    } else {
        words.join(", ")
    }
}

#[test]
fn the_usual_way() {
    Script::new(TERMS)
        .check(Event::Placed { agents: 2 }, "preparing; prepare")
        .check(Event::Armed { agent: 1 }, "")
        .check(Event::Armed { agent: 0 }, "setting_up; set up 0")
        .check(
            Event::SetUpEnded {
                agent: 0,
                error: None,
            },
            "starting; start at 30ms",
        )
        .check(Event::Tick, "")
        .at(0.03)
        .check(Event::Tick, "running")
        .check(merged(0, 3), "")
        .at(60.03)
        .check(Event::Tick, "draining")
        .check(merged(0, 7), "")
        .check(drained(0, 7), "")
        .check(drained(1, 2), "")
        .check(merged(1, 1), "")
        .check(merged(1, 2), "tearing_down; tear down 0")
        .check(
            Event::TearDownEnded {
                agent: 0,
                error: None,
            },
            "sealed; release; seal clean",
        )
        .check(
            Event::Lost {
                agent: 0,
                why: "late".into(),
            },
            "",
        );
}

#[test]
fn a_plan_without_setup_and_teardown_goes_straight_through() {
    let terms = Terms {
        has_setup: false,
        has_teardown: false,
        planned: None,
        ..TERMS
    };
    Script::new(terms)
        .check(Event::Placed { agents: 1 }, "preparing; prepare")
        .check(Event::Armed { agent: 0 }, "starting; start at 30ms")
        .at(0.03)
        .check(Event::Tick, "running")
        .at(5_000.0)
        .check(Event::Tick, "")
        .check(merged(0, 1), "")
        .check(drained(0, 1), "draining; sealed; release; seal clean");
}

#[test]
fn a_slow_line_gets_a_longer_margin() {
    let terms = Terms {
        has_setup: false,
        ..TERMS
    };
    Script::new(terms)
        .check(Event::Placed { agents: 2 }, "preparing; prepare")
        .check(clock_heard(0, Some(50)), "")
        .check(clock_heard(1, Some(20)), "")
        .check(Event::Armed { agent: 0 }, "")
        .check(Event::Armed { agent: 1 }, "starting; start at 300ms");
}

#[test]
fn an_unknown_clock_gets_a_large_margin() {
    let terms = Terms {
        has_setup: false,
        ..TERMS
    };
    Script::new(terms)
        .check(Event::Placed { agents: 2 }, "preparing; prepare")
        .check(clock_heard(1, None), "")
        .check(Event::Armed { agent: 0 }, "")
        .check(Event::Armed { agent: 1 }, "starting; start at 2s");
}

#[test]
fn an_agent_that_comes_back_is_told_again_what_the_state_implies() {
    let back = |agent| Event::Returned { agent };
    Script::new(TERMS)
        .check(Event::Placed { agents: 2 }, "preparing; prepare")
        .check(back(0), "prepare 0 again")
        .check(Event::Armed { agent: 0 }, "")
        .check(back(0), "")
        .check(Event::Armed { agent: 1 }, "setting_up; set up 0")
        .check(back(1), "")
        .check(back(0), "set up 0")
        .check(
            Event::SetUpEnded {
                agent: 0,
                error: None,
            },
            "starting; start at 30ms",
        )
        .check(back(1), "start 1 again")
        .at(0.03)
        .check(Event::Tick, "running")
        .check(back(0), "start 0 again")
        .check(
            Event::StopAsked {
                mode: StopMode::Drain,
            },
            "stop Drain; draining (stopped)",
        )
        .check(back(1), "start 1 again; stop 1 again Drain")
        .check(
            Event::StopAsked {
                mode: StopMode::Abort,
            },
            "stop Abort",
        )
        .check(back(1), "start 1 again; stop 1 again Abort")
        .check(drained(0, 0), "")
        .check(back(0), "")
        .check(drained(1, 0), "tearing_down; tear down 0")
        .check(back(0), "tear down 0")
        .check(back(1), "");
}

#[test]
fn an_agent_that_drained_and_is_lost_does_not_tear_down() {
    // The one that would have torn down.
    Script::running(TERMS, 2)
        .at(61.0)
        .check(drained(0, 0), "draining")
        .check(lost(0), "")
        .check(drained(1, 0), "tearing_down; tear down 1")
        // The one that does: nobody waits for it.
        .check(
            lost(1),
            "note its agent was lost: silent; sealed; release; seal clean",
        );
}

#[test]
fn batches_that_do_not_follow_the_last_word_are_not_waited_for() {
    let terms = Terms {
        planned: None,
        has_teardown: false,
        ..TERMS
    };
    Script::running(terms, 2)
        .at(100.0)
        .check(drained(0, u64::MAX), "draining")
        // Saying so again wins no time.
        .at(130.0)
        .check(drained(0, u64::MAX), "")
        .check(drained(1, 5), "")
        .at(159.9)
        .check(Event::Tick, "")
        .at(160.0)
        .check(Event::Tick, "write off 0")
        .check(merged(1, 5), "sealed; release; seal lost 0");
}

#[test]
fn what_keeps_a_run_from_starting() {
    Script::new(TERMS).check(
        Event::NotPlaced {
            message: "none".into(),
            plan_at_fault: PlanAtFault::No,
        },
        "sealed; release; seal NotEnoughAgents(\"none\")",
    );
    Script::new(TERMS).check(
        Event::NotPlaced {
            message: "places".into(),
            plan_at_fault: PlanAtFault::Yes,
        },
        "sealed; release; seal PlanRefused(\"places\", Yes)",
    );
    Script::new(TERMS)
        .check(Event::Placed { agents: 2 }, "preparing; prepare")
        .check(
            Event::Refused {
                agent: 1,
                reason: "no secret".into(),
                plan_at_fault: PlanAtFault::No,
            },
            "sealed; release; seal PlanRefused(\"no secret\", No)",
        );
    Script::new(TERMS)
        .check(Event::Placed { agents: 2 }, "preparing; prepare")
        .check(Event::Armed { agent: 1 }, "")
        .at(60.0)
        .check(
            Event::Tick,
            "sealed; release; seal StartFailed(\"agents 0 were not ready in time\")",
        );
    Script::new(TERMS)
        .check(Event::Placed { agents: 2 }, "preparing; prepare")
        .check(
            Event::Lost { agent: 0, why: "link".into() },
            "write off 0; sealed; release; seal StartFailed(\"agent 0 was lost before the start: link\"), lost 0",
        );
}

#[test]
fn a_failed_setup_still_tears_down() {
    Script::new(TERMS)
        .check(Event::Placed { agents: 1 }, "preparing; prepare")
        .check(Event::Armed { agent: 0 }, "setting_up; set up 0")
        .check(
            Event::SetUpEnded {
                agent: 0,
                error: Some("503".into()),
            },
            "tearing_down (503); tear down 0",
        )
        .check(
            Event::TearDownEnded {
                agent: 0,
                error: Some("503 too".into()),
            },
            "note 503 too; sealed; release; seal SetupFailed(\"503\")",
        );
}

#[test]
fn an_abort_has_a_bound_that_the_state_machine_keeps() {
    let terms = Terms {
        has_setup: false,
        has_teardown: false,
        ..TERMS
    };
    assert_eq!(terms.longest_abort(), Duration::from_secs(90));
    let mut script = Script::running(terms, 1);
    let mode = StopMode::Abort;
    script.check(Event::StopAsked { mode }, "stop Abort; draining (stopped)");
    let aborted = script.now;
    while let Some(deadline) = script.state.deadline() {
        script.now = deadline;
        script.state.step(deadline, Event::Tick);
    }
    assert!(script.now - aborted <= terms.longest_abort());
    // Teardown may take its own time after that.
    assert_eq!(TERMS.longest_abort(), Duration::from_secs(690));
}

#[test]
fn a_stop_drains_and_a_second_one_aborts() {
    Script::running(TERMS, 1)
        .check(
            Event::StopAsked {
                mode: StopMode::Drain,
            },
            "stop Drain; draining (stopped)",
        )
        .check(
            Event::StopAsked {
                mode: StopMode::Drain,
            },
            "",
        )
        .check(
            Event::StopAsked {
                mode: StopMode::Abort,
            },
            "stop Abort",
        )
        .check(drained(0, 0), "tearing_down; tear down 0")
        .check(
            Event::StopAsked {
                mode: StopMode::Abort,
            },
            "",
        )
        .check(
            Event::TearDownEnded {
                agent: 0,
                error: None,
            },
            "sealed; release; seal stopped Abort",
        );
}

#[test]
fn a_stop_while_setting_up_waits_for_it_and_tears_down() {
    Script::new(TERMS)
        .check(Event::Placed { agents: 1 }, "preparing; prepare")
        .check(Event::Armed { agent: 0 }, "setting_up; set up 0")
        .check(
            Event::StopAsked {
                mode: StopMode::Drain,
            },
            "stop Drain",
        )
        .check(
            Event::SetUpEnded {
                agent: 0,
                error: None,
            },
            "tearing_down (stopped); tear down 0",
        )
        .check(
            Event::StopAsked {
                mode: StopMode::Abort,
            },
            "sealed; release; seal stopped Drain",
        );
}

#[test]
fn a_lost_agent_costs_its_share_only() {
    Script::running(TERMS, 2)
        .check(
            Event::Lost {
                agent: 0,
                why: "silent".into(),
            },
            "write off 0",
        )
        .check(
            Event::Lost {
                agent: 0,
                why: "silent".into(),
            },
            "",
        )
        .at(61.0)
        .check(drained(1, 0), "draining; tearing_down; tear down 1")
        .check(
            Event::TearDownEnded {
                agent: 1,
                error: None,
            },
            "sealed; release; seal lost 0",
        );
    Script::running(TERMS, 1).check(
        Event::Lost {
            agent: 0,
            why: "silent".into(),
        },
        "write off 0; sealed; release; seal lost 0",
    );
}

#[test]
fn an_agent_that_never_drains_does_not_hold_the_run() {
    let terms = Terms {
        has_teardown: false,
        ..TERMS
    };
    Script::running(terms, 2)
        .at(60.03)
        .check(Event::Tick, "draining")
        .check(drained(1, 0), "")
        .at(150.02)
        .check(Event::Tick, "")
        .at(150.03)
        .check(Event::Tick, "write off 0; sealed; release; seal overran 0");
}

#[test]
fn a_broken_threshold_drains_the_run_and_nobody_stopped_it() {
    let terms = Terms {
        has_setup: false,
        has_teardown: false,
        ..TERMS
    };
    let mut script = Script::running(terms, 2);
    script
        .at(10.0)
        .check(
            Event::ThresholdBroken,
            "stop Drain; draining (threshold_broken)",
        )
        .check(Event::ThresholdBroken, "")
        // One that comes back has not heard of it.
        .check(
            Event::Returned { agent: 1 },
            "start 1 again; stop 1 again Drain",
        )
        // A user in a hurry changes how it ends, not why.
        .check(
            Event::StopAsked {
                mode: StopMode::Drain,
            },
            "",
        )
        .check(
            Event::StopAsked {
                mode: StopMode::Abort,
            },
            "stop Abort",
        )
        .check(drained(0, 0), "")
        .check(drained(1, 0), "sealed; release; seal clean");
    // What is over by itself needs no end.
    let mut script = Script::running(terms, 1);
    script
        .at(61.0)
        .check(Event::Tick, "draining")
        .check(Event::ThresholdBroken, "");
}

fn any_event() -> impl Strategy<Value = Event> {
    let agent = 0..4_usize;
    let error = proptest::option::of(Just("error".to_owned()));
    prop_oneof![
        Just(Event::Placed { agents: 3 }),
        Just(Event::NotPlaced {
            message: String::new(),
            plan_at_fault: PlanAtFault::No
        }),
        agent.clone().prop_map(|agent| Event::Refused {
            agent,
            reason: String::new(),
            plan_at_fault: PlanAtFault::Yes
        }),
        agent.clone().prop_map(|agent| Event::Armed { agent }),
        agent.clone().prop_map(|agent| Event::Returned { agent }),
        (agent.clone(), error.clone())
            .prop_map(|(agent, error)| Event::SetUpEnded { agent, error }),
        (agent.clone(), 0..4_u64).prop_map(|(agent, last_seq)| Event::Drained { agent, last_seq }),
        (agent.clone(), 0..4_u64).prop_map(|(agent, through)| Event::Merged { agent, through }),
        agent.clone().prop_map(|agent| Event::Lost {
            agent,
            why: String::new()
        }),
        (agent, error).prop_map(|(agent, error)| Event::TearDownEnded { agent, error }),
        Just(Event::StopAsked {
            mode: StopMode::Drain
        }),
        Just(Event::StopAsked {
            mode: StopMode::Abort
        }),
        Just(Event::ThresholdBroken),
        Just(Event::Tick),
    ]
}

proptest! {
    /// Whatever happens in whatever order: states only go forward, an agent is written off once, the run is sealed once,
    /// and time alone brings every run that was placed to its end.
    #[test]
    fn every_run_ends_exactly_once(
        events in proptest::collection::vec((any_event(), 0..100_000_u64), 0..60),
        has_setup: bool,
        has_teardown: bool,
        planned in proptest::option::of(1..100_u64),
    ) {
        let terms = Terms { has_setup, has_teardown, planned: planned.map(Duration::from_secs), ..TERMS };
        let mut script = Script::new(terms);
        let (mut seals, mut written_off, mut last) = (0, Vec::new(), Lifecycle::Queued);
        let mut feed = |script: &mut Script, event: Event| {
            for action in script.state.step(script.now, event) {
                match action {
                    Action::Seal(_) => seals += 1,
                    Action::WriteOff { agent, .. } => {
                        assert!(!written_off.contains(&agent), "{agent} was written off twice");
                        written_off.push(agent);
                    }
                    Action::Announce { state, .. } => {
                        assert!(state > last, "{state:?} after {last:?}");
                        last = state;
                    }
                    _ => {}
                }
            }
        };
        feed(&mut script, Event::Placed { agents: 3 });
        for (event, ms) in events {
            script.now += Duration::from_millis(ms);
            feed(&mut script, event);
        }
        while let Some(deadline) = script.state.deadline() {
            script.now = deadline;
            feed(&mut script, Event::Tick);
        }
        prop_assert_eq!(seals, 1);
        prop_assert_eq!(script.state.lifecycle(), Lifecycle::Sealed);
    }
}
