//! Proxies and faults: what is read of them, and what is refused.

use std::fmt::Write as _;
use std::time::Duration;

use super::fake::{plan, read};
use crate::plan::{Cut, FaultAction, FaultBegin, Narrowing, Plan, ProxyEffect};

/// A plan that ends after 10 s, with the stage `open` on line 9.
fn with(rest: &str) -> String {
    format!(
        "testmesh: v1\nname: t\ntargets:\n  web: {{ http: 'http://x' }}\nscenarios:\n  live:\n    load: {{ virtual_users: 1, for: 10s }}\n    stages:\n      - {{ name: open, http: {{ target: web, get: / }} }}\n  other:\n    load: once\n    stages: [ {{ name: one, http: {{ target: web, get: / }} }} ]\n{rest}\n"
    )
}

/// The same with a proxy, and a fault on line 15.
fn fault(fault: &str) -> String {
    with(&format!(
        "proxies: {{ front: {{ listen: '127.0.0.1:18080', to: 'x:80' }} }}\nfaults:\n  away: {fault}"
    ))
}

const GOOD: &str = "proxies:
  front: { listen: '127.0.0.1:18080', to: 'http://x/y' }
  store: { on: { site: haifa }, listen: '[::1]:27100', to: 'db:27017' }
faults:
  away: { at: 5s, for: 2s, recovery: live, do: { proxy: { name: front, reset: true } } }
  slow:
    after: { scenario: live, stage: open, delay: 1s }
    for: 1m
    do: { proxy: { name: store, delay: 100ms, jitter: 5ms, bandwidth: 1MiB, corrupt: 1% } }
  restart:
    at: 1s
    for: 3s
    on: { site: haifa }
    do: { stage: { name: stop, http: { target: web, post: /stop } }, revert: { name: start, http: { target: web, post: /start } } }
  script: { at: 1s, for: 3s, do: { command: [systemctl, stop, x], revert: [systemctl, start, x], timeout: 5s } }
thresholds:
  - rate(sessions_failed{phase=\"away\"}) > 50%
  - count(sessions_failed{phase!=\"away.recovery\"}) == 0
  - max(fault_recovery{fault=\"away\"}) < 10s
  - count(stage_errors{scenario=\"faults\",stage=\"stop\"}) == 0";

#[test]
fn faults_are_read_to_the_letter() {
    let plan = plan(&with(GOOD));
    let [front, store] = plan.proxies.as_slice() else {
        panic!("two proxies")
    };
    assert_eq!((front.to.as_str(), front.listen.port()), ("x:80", 18080));
    assert_eq!(
        (store.site.as_deref(), store.to.as_str()),
        (Some("haifa"), "db:27017")
    );
    let [away, slow, restart, script] = plan.faults.as_slice() else {
        panic!("four faults")
    };
    assert_eq!(away.begin, FaultBegin::At(Duration::from_secs(5)));
    assert_eq!(
        (away.length, away.recovery.as_deref()),
        (Duration::from_secs(2), Some("live"))
    );
    let FaultAction::Proxy { proxy, effect } = &away.action else {
        panic!("a proxy")
    };
    let reset = ProxyEffect {
        cut: Some(Cut::Reset),
        ..ProxyEffect::default()
    };
    assert_eq!((proxy.as_str(), *effect), ("front", reset));
    assert_eq!(
        slow.begin,
        FaultBegin::After {
            scenario: "live".into(),
            stage: "open".into(),
            delay: Duration::from_secs(1)
        }
    );
    let FaultAction::Proxy { effect, .. } = &slow.action else {
        panic!("a proxy")
    };
    let narrow = ProxyEffect {
        delay: Duration::from_millis(100),
        jitter: Duration::from_millis(5),
        bandwidth: Some(1 << 20),
        corrupt: 0.01,
        ..ProxyEffect::default()
    };
    assert_eq!(*effect, narrow);
    let FaultAction::Stage { inject, revert } = &restart.action else {
        panic!("a stage")
    };
    assert_eq!(
        (inject[0].name.as_str(), revert[0].name.as_str()),
        ("stop", "start")
    );
    assert_eq!(restart.site.as_deref(), Some("haifa"));
    let FaultAction::Command { inject, within, .. } = &script.action else {
        panic!("a command")
    };
    assert_eq!(
        (inject.join(" ").as_str(), *within),
        ("systemctl stop x", Duration::from_secs(5))
    );
}

#[test]
fn a_part_of_a_plan_keeps_the_faults_that_it_can_have() {
    let narrowed = |scenario: Option<&str>, once| {
        let scenario = scenario.map(str::to_owned);
        plan(&with(GOOD))
            .narrowed(&Narrowing { scenario, once })
            .unwrap()
    };
    let faults =
        |plan: &Plan| -> Vec<_> { plan.faults.iter().map(|one| one.name.clone()).collect() };
    let live = narrowed(Some("live"), false);
    assert_eq!(faults(&live), ["away", "slow", "restart", "script"]);
    let other = narrowed(Some("other"), false);
    assert_eq!(faults(&other), ["restart", "script"]);
    assert!(!other.thresholds.iter().any(|one| one.text.contains("away")));
    let once = narrowed(None, true);
    assert_eq!((once.faults.len(), once.proxies.len()), (0, 2));
}

/// The last lines of each plan, and what is told of it.
fn told(plans: &[String]) -> String {
    let mut told = String::new();
    for text in plans {
        let own = text.lines().skip(12).collect::<Vec<_>>().join("\n");
        let problems = read(text, &[]).err().unwrap_or_default();
        let _infallible = writeln!(told, "{own}");
        for problem in problems {
            let problem = problem.to_string();
            let _infallible = writeln!(told, "    {}", problem.replacen("plan.yaml:", "", 1));
        }
        let _infallible = writeln!(told);
    }
    told
}

#[test]
fn proxies_that_cannot_be() {
    insta::assert_snapshot!(told(&[
        with(GOOD),
        with("proxies: { a: { listen: 'localhost:1', to: 'x' } }"),
        with("proxies: { a: { listen: '127.0.0.1:0', to: 'x:1' } }"),
        with(
            "proxies: { a: { listen: '127.0.0.1:5', to: 'x:1' }, b: { listen: '127.0.0.1:5', to: 'y:1' } }",
        ),
        with("proxies: { a: { lisen: '127.0.0.1:5', to: 'x:1' } }"),
    ]));
}

#[test]
fn faults_that_cannot_be() {
    insta::assert_snapshot!(told(&[
        fault("{ at: 5s, for: 2s, do: { proxy: { name: front, cut: true } } }"),
        fault("{ for: 2s, do: { proxy: { name: front, cut: true } } }"),
        fault("{ at: 5s, for: 0s, do: { proxy: { name: frnt, cut: true } } }"),
        fault("{ at: 5s, for: 2s, on: { site: x }, do: { proxy: { name: front } } }"),
        fault("{ at: 5s, for: 2s, do: { proxy: { name: front, cut: true, delay: 5ms } } }"),
        fault(
            "{ at: 5s, for: 2s, do: { proxy: { name: front, delay: 2m, bandwidth: 5, corrupt: 0% } } }",
        ),
        fault("{ at: 5s, for: 2s, do: { proxy: { name: front, blackhole: false } } }"),
        fault("{ after: { scenario: lve, stage: opn }, for: 2s, do: { command: [x] } }"),
        fault(
            "{ after: { scenario: live, stage: opn }, for: 2s, recovery: oter, do: { command: [x] } }",
        ),
        fault("{ at: 5s, for: 2s, do: { proxy: { name: front, cut: true }, command: [x] } }"),
        fault("{ at: 5s, for: 2s, do: { proxy: { name: front, cut: true }, revert: [x] } }"),
        fault("{ at: 5s, for: 2s, do: { command: [] } }"),
        fault(
            "{ at: 5s, for: 2s, do: { stage: { name: s, http: { target: web, get: /, x: 1 } } } }",
        ),
        fault(
            "{ at: 5s, for: 2s, do: { stage: { name: s, http: { target: web, get: / }, save: { a: status } } } }",
        ),
        fault("{ at: 5s, for: 2s, do: { kubernetes: { delete: { kind: pod, name: x } } } }"),
        fault("{ at: 10s, for: 2s, do: { command: [x] } }"),
        fault(
            "{ at: 5s, for: 2s, do: { command: [x], timeout: 5 } }\nphases: { away: { from: 0s, to: 1s } }",
        ),
        fault(
            "{ at: 5s, for: 2s, do: { command: [x] } }\nthresholds:\n  - max(fault_recovery{fault=\"awy\"}) < 1s\n  - count(sessions_failed{phase=\"away.recovry\"}) == 0",
        ),
    ]));
}
