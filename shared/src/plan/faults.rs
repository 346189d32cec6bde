//! What is broken while the plan runs: `faults: { away: { at: 5s, for: 10s, do: { proxy: { name: store, cut: true } } } }`.

use std::time::Duration;

use super::blocks::Blocks;
use super::expr::Names;
use super::fault_model::{Cut, Fault, FaultAction, FaultBegin, MAX_FAULTS, Proxy, ProxyEffect};
use super::item::{EntryItem, Item};
use super::keys::{Form, Group, Key, Keys};
use super::model::{Phase, Scenario, Stage};
use super::nearest::nearest;
use super::problem::ProblemCode;
use super::proxies::{self, ON};
use super::stage::{Place, StageList, StageNames};

/// How long a command may take, unless the plan says so.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest delay and jitter of a proxy: what it holds back stays in memory.
const MAX_DELAY: Duration = Duration::from_secs(60);
/// The least bandwidth: below it a single message would take minutes.
const MIN_BANDWIDTH: u64 = 1024;
/// Words of a command.
const MAX_WORDS: usize = 64;
/// Effects of a proxy that nothing can be added to.
const WHOLE: [&str; 3] = ["cut", "reset", "blackhole"];
/// Effects that go together.
const PARTS: [&str; 4] = ["delay", "jitter", "bandwidth", "corrupt"];

/// One fault.
pub(super) static FAULT: Keys = Keys {
    name: "fault",
    doc: "Something that is broken on purpose for a time, and then put right again. The time that it lasts is the phase `NAME`; from its end until the first session that started after it has passed is the phase `NAME.recovery` and the trend `fault_recovery`. It is put right at the latest when no session starts any more. One that cannot be injected makes the run inconclusive. With `--once` faults are left out.",
    groups: &[Group::ExactlyOne(&["at", "after"])],
    keys: &[
        Key::new(
            "at",
            Form::Duration,
            "When it begins, since the run's start.",
        ),
        Key::new(
            "after",
            Form::Object(&AFTER),
            "It begins when a session has passed a stage, anywhere, for the first time.",
        ),
        Key::new("for", Form::Duration, "How long it lasts.").required(),
        Key::new(
            "on",
            Form::Object(&ON),
            "Which agent does it, for what is no proxy; without it, the first one that can. If that one is lost, another one at the site puts it right.",
        ),
        Key::new(
            "recovery",
            Form::Name,
            "The scenario whose sessions tell that the fault is overcome; without it, any.",
        ),
        Key::new("do", Form::Object(&DO), "What is broken, and how.").required(),
    ],
};

static AFTER: Keys = Keys {
    name: "after of a fault",
    doc: "The stage that a fault waits for.",
    groups: &[],
    keys: &[
        Key::new("scenario", Form::Name, "The scenario.").required(),
        Key::new("stage", Form::Name, "The stage.").required(),
        Key::new("delay", Form::Duration, "How long after that.").default("0s"),
    ],
};

static DO: Keys = Keys {
    name: "do of a fault",
    doc: "What a fault does.",
    groups: &[Group::ExactlyOne(&[
        "proxy",
        "stage",
        "command",
        "kubernetes",
    ])],
    keys: &[
        Key::new(
            "proxy",
            Form::Object(&EFFECT),
            "Does something to the connections of a proxy.",
        ),
        Key::new(
            "stage",
            Form::Stage,
            "Runs a stage once, such as a call of the server's admin API. Its metrics have the scenario `faults`; it saves nothing.",
        ),
        Key::new(
            "command",
            Form::List(&Form::Text),
            "Runs a program with arguments, without a shell, on an agent that was started with `--allow-commands`. It fails unless it exits with 0.",
        ),
        Key::new(
            "revert",
            Form::Either(&[Form::Stage, Form::List(&Form::Text)]),
            "The stage or command that puts it right, run once, whatever became of the first; without it nothing is done at the end. It may come without the other having come, and twice: it must not mind.",
        ),
        Key::new(
            "timeout",
            Form::Duration,
            "Bounds a command; stages have their own.",
        )
        .default("30s"),
        Key::new("kubernetes", Form::Value, "Deletes or scales something.").not_yet(),
    ],
};

static EFFECT: Keys = Keys {
    name: "proxy of a fault",
    doc: "What happens to the connections of a proxy. `cut`, `reset` and `blackhole` stand alone; the others go together. Faults that last at the same time add up.",
    groups: &[],
    keys: &[
        Key::new("name", Form::Name, "The proxy.").required(),
        Key::new(
            "cut",
            Form::Bool,
            "Closes open connections, and refuses new ones.",
        ),
        Key::new(
            "reset",
            Form::Bool,
            "The same with a reset instead of an orderly end.",
        ),
        Key::new(
            "blackhole",
            Form::Bool,
            "Takes new connections, and nothing gets through any more, either way; what was said meanwhile arrives when it is over, as after a broken cable.",
        ),
        Key::new(
            "delay",
            Form::Duration,
            "Everything arrives so much later, each way, in the same order. Opening a connection is not delayed, only what is said on it.",
        ),
        Key::new(
            "jitter",
            Form::Duration,
            "Everything arrives up to so much later still, by chance, in the same order.",
        ),
        Key::new(
            "bandwidth",
            Form::Size,
            "Bytes a second, each way, of all connections together.",
        ),
        Key::new(
            "corrupt",
            Form::Share,
            "The probability that a bit of a KiB is turned over, each way.",
        ),
    ],
};

/// What the rest of the plan says that faults may refer to.
pub(super) struct Around<'a> {
    pub(super) scenarios: &'a [Scenario],
    /// Also of those with problems.
    pub(super) scenario_names: &'a [String],
    pub(super) proxies: &'a [Proxy],
    /// Also of those with problems.
    pub(super) proxy_names: &'a [String],
    pub(super) phases: &'a [Phase],
    pub(super) sites: &'a [String],
}

/// Reads `faults`; their stages share names.
pub(super) fn read<'r>(
    item: Option<Item<'r>>,
    names: &Names,
    blocks: &Blocks<'r>,
    known: &mut StageNames,
    around: &Around<'_>,
) -> Vec<Fault> {
    let Some(item) = item else { return Vec::new() };
    let entries = item.entries();
    if entries.len() > MAX_FAULTS {
        let message = format!(
            "there are {} faults, and at most {MAX_FAULTS} may be",
            entries.len()
        );
        item.problem(ProblemCode::BadValue, message, "remove some of them");
        return Vec::new();
    }
    let mut stages = StageList::new(Place::Run, names.clone(), blocks);
    let taken = phase_names(Some(item));
    let faults = entries
        .into_iter()
        .filter_map(|entry| {
            check_name(entry, around, &taken);
            fault(entry, &mut stages, around)
        })
        .collect();
    stages.name_stages(known);
    faults
}

/// Names of the faults, also of those with problems.
pub(super) fn names(item: Option<Item<'_>>) -> Vec<String> {
    let entries = item.map(Item::entries).unwrap_or_default();
    entries.iter().map(|entry| entry.key.to_owned()).collect()
}

/// Names of the phases that faults make.
pub(super) fn phase_names(item: Option<Item<'_>>) -> Vec<String> {
    let names = names(item).into_iter();
    names
        .flat_map(|name| [recovery_phase(&name), name])
        .collect()
}

/// The phase from a fault's end to its recovery.
#[must_use]
pub fn recovery_phase(fault: &str) -> String {
    format!("{fault}.recovery")
}

/// Each fault makes two phases, whose names nothing else may have.
fn check_name(entry: EntryItem<'_>, around: &Around<'_>, taken: &[String]) {
    entry.check_name();
    let recovery = recovery_phase(entry.key);
    let mut others = around.phases.iter().map(|phase| phase.name.as_str());
    let twice = |name: &str| taken.iter().filter(|one| *one == name).count() > 1;
    let clash = if entry.key == "warm_up" || others.clone().any(|name| name == entry.key) {
        Some(entry.key)
    } else if others.any(|name| name == recovery) || twice(&recovery) {
        Some(recovery.as_str())
    } else {
        None
    };
    if let Some(name) = clash {
        entry.value.problem_at(
            entry.key_span,
            ProblemCode::DuplicateName,
            format!(
                "the fault `{}` makes the phase `{name}`, and there is another one",
                entry.key
            ),
            "choose another name",
        );
    }
}

fn fault<'r>(
    entry: EntryItem<'r>,
    stages: &mut StageList<'r, '_>,
    around: &Around<'_>,
) -> Option<Fault> {
    let item = entry.value;
    let begin = match item.key("after") {
        Some(after) => self::after(after, around),
        None => item.key("at").and_then(Item::duration).map(FaultBegin::At),
    };
    if let (Some(FaultBegin::At(at)), Some(key)) = (&begin, item.key("at")) {
        check_end(key, *at, around);
    }
    let length = item.key("for").and_then(Item::duration);
    if let (Some(key), Some(Duration::ZERO)) = (item.key("for"), length) {
        key.problem(
            ProblemCode::BadValue,
            "a fault lasts longer than nothing",
            "write how long, like `10s`",
        );
    }
    let site = item
        .key("on")
        .and_then(|on| proxies::site(on, around.sites));
    let recovery = match item.key("recovery") {
        Some(key) => Some(scenario(key, around)?),
        None => None,
    };
    let action = item.key("do").and_then(|key| action(key, stages, around));
    if let (Some(FaultAction::Proxy { .. }), Some(on)) = (&action, item.key("on")) {
        on.problem(
            ProblemCode::Conflict,
            "a proxy is where it is",
            "write `on` in `proxies`",
        );
    }
    Some(Fault {
        name: entry.key.to_owned(),
        position: entry.key_span.start,
        begin: begin?,
        length: length?,
        site,
        recovery,
        action: action?,
    })
}

/// A fault that begins when nothing runs any more would never be.
fn check_end(item: Item<'_>, at: Duration, around: &Around<'_>) {
    let all = around.scenarios.len() == around.scenario_names.len();
    let end = |scenario| {
        let begins = super::scenario::begins(around.scenarios, scenario)?;
        Some(begins + scenario.load.end()?)
    };
    let ends: Option<Vec<Duration>> = around.scenarios.iter().map(end).collect();
    let last = ends.and_then(|ends| ends.into_iter().max());
    if let Some(last) = last.filter(|last| all && at >= *last) {
        item.problem(
            ProblemCode::Conflict,
            format!("no session starts after {last:?}, before the fault begins"),
            "let it begin sooner",
        );
    }
}

fn scenario(item: Item<'_>, around: &Around<'_>) -> Option<String> {
    let name = item.name()?;
    known(item, "scenario", &name, around.scenario_names).then_some(name)
}

/// Whether there is one of that name, or a problem that says which there are.
fn known(item: Item<'_>, what: &str, name: &str, names: &[String]) -> bool {
    let there = names.iter().any(|one| one == name);
    if !there {
        let all = || names.iter().map(String::as_str);
        let hint = nearest(name, all()).map_or_else(
            || match names {
                [] => format!("the plan has no {what}"),
                _ => format!("there are {}", names.join(", ")),
            },
            |near| format!("did you mean `{near}`?"),
        );
        item.problem(
            ProblemCode::UnknownName,
            format!("there is no {what} `{name}`"),
            hint,
        );
    }
    there
}

fn after(item: Item<'_>, around: &Around<'_>) -> Option<FaultBegin> {
    let delay = item
        .key("delay")
        .map_or(Some(Duration::ZERO), Item::duration);
    let name = item.key("scenario").and_then(|key| scenario(key, around));
    let stage_key = item.key("stage")?;
    let stage = stage_key.name()?;
    let name = name?;
    // One with problems may have the stage all the same.
    if let Some(of) = around.scenarios.iter().find(|one| one.name == name) {
        let mut names = Vec::new();
        of.stages
            .iter()
            .for_each(|stage| collect_names(stage, &mut names));
        if !known(stage_key, "stage", &stage, &names) {
            return None;
        }
    }
    Some(FaultBegin::After {
        scenario: name,
        stage,
        delay: delay?,
    })
}

fn collect_names(stage: &Stage, into: &mut Vec<String>) {
    into.push(stage.name.clone());
    stage.inner().for_each(|stage| collect_names(stage, into));
}

fn action<'r>(
    item: Item<'r>,
    stages: &mut StageList<'r, '_>,
    around: &Around<'_>,
) -> Option<FaultAction> {
    let timeout = item.key("timeout");
    let within = timeout.map_or(Some(COMMAND_TIMEOUT), Item::duration);
    if let Some(key) = timeout.filter(|_| !item.has("command")) {
        let hint = "write it into the stage; a proxy acts at once";
        key.problem(
            ProblemCode::Conflict,
            "`timeout` bounds a command, and there is none",
            hint,
        );
    }
    if let Some(proxy) = item.key("proxy") {
        if let Some(revert) = item.key("revert") {
            let hint = "remove it: the proxy passes everything on again at the end";
            revert.problem(ProblemCode::Conflict, "a proxy needs no `revert`", hint);
        }
        return effect(proxy, around);
    }
    if let Some(stage) = item.key("stage") {
        let inject = one_stage(stage, stages);
        let revert = match item.key("revert") {
            Some(revert) => vec![one_stage(revert, stages)?],
            None => Vec::new(),
        };
        return Some(FaultAction::Stage {
            inject: vec![inject?],
            revert,
        });
    }
    let command = item.key("command")?;
    let inject = words(command);
    let revert = match item.key("revert") {
        Some(revert) => words(revert)?,
        None => Vec::new(),
    };
    Some(FaultAction::Command {
        inject: inject?,
        revert,
        within: within?,
    })
}

/// A stage of a fault saves nothing: the agent that puts the fault right may be another one.
fn one_stage<'r>(item: Item<'r>, stages: &mut StageList<'r, '_>) -> Option<Stage> {
    if !item.is_map() {
        item.wrong_type("a stage");
        return None;
    }
    if item.has("use") {
        let hint = "write the stage here";
        item.problem(
            ProblemCode::Conflict,
            "a fault is one stage, no block",
            hint,
        );
        return None;
    }
    let stage = stages.read(item).into_iter().next()?;
    if let Some(save) = item.key("save") {
        let hint = "remove it: the agent that reverts the fault may be another one";
        save.problem(
            ProblemCode::Conflict,
            "a stage of a fault saves nothing",
            hint,
        );
    }
    Some(stage)
}

fn words(item: Item<'_>) -> Option<Vec<String>> {
    if !item.is_list() {
        item.wrong_type("a list: a program and its arguments");
        return None;
    }
    let words: Option<Vec<String>> = item
        .items()
        .into_iter()
        .map(|word| word.text().map(std::borrow::Cow::into_owned))
        .collect();
    let words = words?;
    if words.len() > MAX_WORDS || words.first().is_none_or(String::is_empty) {
        item.problem(
            ProblemCode::BadValue,
            format!(
                "a command is a program and at most {} arguments",
                MAX_WORDS - 1
            ),
            "write it like `[systemctl, stop, mongod]`",
        );
        return None;
    }
    Some(words)
}

fn effect(item: Item<'_>, around: &Around<'_>) -> Option<FaultAction> {
    let name_key = item.key("name")?;
    let proxy = name_key.name()?;
    let there = known(name_key, "proxy", &proxy, around.proxy_names);
    let written: Vec<_> = item
        .entries()
        .into_iter()
        .filter(|entry| WHOLE.contains(&entry.key) || PARTS.contains(&entry.key))
        .collect();
    if written.is_empty() {
        item.problem(
            ProblemCode::MissingKey,
            "the fault does nothing to the proxy",
            format!("write one of {}, {}", WHOLE.join(", "), PARTS.join(", ")),
        );
        return None;
    }
    let whole = written.iter().find(|entry| WHOLE.contains(&entry.key));
    if let (Some(whole), true) = (whole, written.len() > 1) {
        item.problem_at(
            whole.key_span,
            ProblemCode::Conflict,
            format!("`{}` stands alone", whole.key),
            "remove the others, or make another fault of them",
        );
    }
    let effect = read_effect(item)?;
    (there && around.proxies.iter().any(|one| one.name == proxy))
        .then_some(FaultAction::Proxy { proxy, effect })
}

fn read_effect(item: Item<'_>) -> Option<ProxyEffect> {
    // One that is written and off would be a fault that does nothing.
    let switch = |key: &str| match item.key(key) {
        None => Some(false),
        Some(item) => {
            let on = item.bool()?;
            if !on {
                let hint = "remove the key, or write `true`";
                item.problem(ProblemCode::BadValue, "a fault that does nothing", hint);
            }
            Some(on)
        }
    };
    let time = |key: &str| match item.key(key) {
        None => Some(Duration::ZERO),
        Some(item) => {
            let time = item.duration()?;
            if time.is_zero() || time > MAX_DELAY {
                let message = format!("`{key}` is more than nothing, and at most {MAX_DELAY:?}");
                item.problem(ProblemCode::BadValue, message, "write it like `100ms`");
            }
            Some(time)
        }
    };
    let bandwidth = match item.key("bandwidth") {
        None => None,
        Some(item) => {
            let bytes = item.size()?;
            if bytes < MIN_BANDWIDTH {
                let message = format!("`bandwidth` is at least {MIN_BANDWIDTH} bytes a second");
                item.problem(ProblemCode::BadValue, message, "write it like `1MiB`");
            }
            Some(bytes)
        }
    };
    let corrupt = match item.key("corrupt") {
        None => 0.0,
        Some(item) => {
            let share = item.share()?;
            if share <= 0.0 {
                let hint = "write it like `1%`";
                item.problem(ProblemCode::BadValue, "a fault that does nothing", hint);
            }
            share
        }
    };
    let cut = match (switch("cut")?, switch("reset")?) {
        (_, true) => Some(Cut::Reset),
        (true, false) => Some(Cut::Close),
        (false, false) => None,
    };
    Some(ProxyEffect {
        cut,
        blackhole: switch("blackhole")?,
        delay: time("delay")?,
        jitter: time("jitter")?,
        bandwidth,
        corrupt,
    })
}
