//! Proxies and faults: what is read of them, and what is refused.

use std::time::Duration;

use super::fake::plan;
use super::refuse::check_all;
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

#[test]
fn proxies_that_cannot_be() {
    check_all(&[
        (with(GOOD), &[], &[]),
        (
            with("proxies: { a: { listen: 'localhost:1', to: 'x' } }"),
            &[],
            &[
                "13:25: bad_value: `localhost:1` is no address to listen on (write an IP address and a port, like `127.0.0.1:27100`)",
                "13:44: bad_value: `x` names no host and port (write it like `10.0.0.7:27017` or `http://server:8080`)",
            ],
        ),
        (
            with("proxies: { a: { listen: '127.0.0.1:0', to: 'x:1' } }"),
            &[],
            &[
                "13:25: bad_value: `127.0.0.1:0` is no address to listen on (write an IP address and a port, like `127.0.0.1:27100`)",
            ],
        ),
        (
            with(
                "proxies: { a: { listen: '127.0.0.1:5', to: 'x:1' }, b: { listen: '127.0.0.1:5', to: 'y:1' } }",
            ),
            &[],
            &[
                "13:53: conflict: `a` and `b` both listen on 127.0.0.1:5 (give each proxy a port of its own)",
            ],
        ),
        (
            with("proxies: { a: { lisen: '127.0.0.1:5', to: 'x:1' } }"),
            &[],
            &[
                "13:15: missing_key: `proxy` needs the key `listen` (Where it listens on that agent: an IP address and a port.)",
                "13:17: unknown_key: `proxy` has no key `lisen` (did you mean `listen`?)",
            ],
        ),
    ]);
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is a table")]
fn faults_that_cannot_be() {
    check_all(&[
        (
            fault("{ at: 5s, for: 2s, do: { proxy: { name: front, cut: true } } }"),
            &[],
            &[],
        ),
        (
            fault("{ for: 2s, do: { proxy: { name: front, cut: true } } }"),
            &[],
            &["15:9: missing_key: `fault` needs one of `at`, `after` (write exactly one of them)"],
        ),
        (
            fault("{ at: 5s, for: 0s, do: { proxy: { name: frnt, cut: true } } }"),
            &[],
            &[
                "15:24: bad_value: a fault lasts longer than nothing (write how long, like `10s`)",
                "15:51: unknown_name: there is no proxy `frnt` (did you mean `front`?)",
            ],
        ),
        (
            fault("{ at: 5s, for: 2s, on: { site: x }, do: { proxy: { name: front } } }"),
            &[],
            &[
                "15:58: missing_key: the fault does nothing to the proxy (write one of cut, reset, blackhole, delay, jitter, bandwidth, corrupt)",
            ],
        ),
        (
            fault("{ at: 5s, for: 2s, do: { proxy: { name: front, cut: true, delay: 5ms } } }"),
            &[],
            &[
                "15:56: conflict: `cut` stands alone (remove the others, or make another fault of them)",
            ],
        ),
        (
            fault(
                "{ at: 5s, for: 2s, do: { proxy: { name: front, delay: 2m, bandwidth: 5, corrupt: 0% } } }",
            ),
            &[],
            &[
                "15:63: bad_value: `delay` is more than nothing, and at most 60s (write it like `100ms`)",
                "15:78: bad_value: `bandwidth` is at least 1024 bytes a second (write it like `1MiB`)",
                "15:90: bad_value: a fault that does nothing (write it like `1%`)",
            ],
        ),
        (
            fault("{ at: 5s, for: 2s, do: { proxy: { name: front, blackhole: false } } }"),
            &[],
            &["15:67: bad_value: a fault that does nothing (remove the key, or write `true`)"],
        ),
        (
            fault("{ after: { scenario: lve, stage: opn }, for: 2s, do: { command: [x] } }"),
            &[],
            &["15:30: unknown_name: there is no scenario `lve` (did you mean `live`?)"],
        ),
        (
            fault(
                "{ after: { scenario: live, stage: opn }, for: 2s, recovery: oter, do: { command: [x] } }",
            ),
            &[],
            &[
                "15:43: unknown_name: there is no stage `opn` (did you mean `open`?)",
                "15:69: unknown_name: there is no scenario `oter` (did you mean `other`?)",
            ],
        ),
        (
            fault("{ at: 5s, for: 2s, do: { proxy: { name: front, cut: true }, command: [x] } }"),
            &[],
            &["15:69: conflict: `proxy` and `command` exclude each other (remove one of them)"],
        ),
        (
            fault("{ at: 5s, for: 2s, do: { proxy: { name: front, cut: true }, revert: [x] } }"),
            &[],
            &[
                "15:77: conflict: a proxy needs no `revert` (remove it: the proxy passes everything on again at the end)",
            ],
        ),
        (
            fault("{ at: 5s, for: 2s, do: { command: [] } }"),
            &[],
            &[
                "15:43: bad_value: a command is a program and at most 63 arguments (write it like `[systemctl, stop, mongod]`)",
            ],
        ),
        (
            fault(
                "{ at: 5s, for: 2s, do: { stage: { name: s, http: { target: web, get: /, x: 1 } } } }",
            ),
            &[],
            &[
                "15:81: unknown_key: `http` has no key `x` (`http` has target, get, post, json, body, version)",
            ],
        ),
        (
            fault(
                "{ at: 5s, for: 2s, do: { stage: { name: s, http: { target: web, get: / }, save: { a: status } } } }",
            ),
            &[],
            &[
                "15:89: conflict: a stage of a fault saves nothing (remove it: the agent that reverts the fault may be another one)",
            ],
        ),
        (
            fault("{ at: 5s, for: 2s, do: { kubernetes: { delete: { kind: pod, name: x } } } }"),
            &[],
            &[
                "15:34: not_yet: this build knows `kubernetes`, but does not run it yet (remove it, or use a build that runs it)",
            ],
        ),
        (
            fault("{ at: 10s, for: 2s, do: { command: [x] } }"),
            &[],
            &[
                "15:15: conflict: no session starts after 10s, before the fault begins (let it begin sooner)",
            ],
        ),
        (
            fault(
                "{ at: 5s, for: 2s, do: { command: [x], timeout: 5 } }\nphases: { away: { from: 0s, to: 1s } }",
            ),
            &[],
            &[
                "15:3: duplicate_name: the fault `away` makes the phase `away`, and there is another one (choose another name)",
                "15:57: bad_value: `5` has no unit (a duration is written like `250ms`, `30s` or `1m30s`)",
            ],
        ),
        (
            fault(
                "{ at: 5s, for: 2s, do: { command: [x] } }\nthresholds:\n  - max(fault_recovery{fault=\"awy\"}) < 1s\n  - count(sessions_failed{phase=\"away.recovry\"}) == 0",
            ),
            &[],
            &[
                "17:5: unknown_name: there is no fault `awy` (did you mean `away`?)",
                "18:5: unknown_name: there is no phase `away.recovry` (did you mean `away.recovery`?)",
            ],
        ),
    ]);
}
