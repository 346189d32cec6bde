//! Plan text to a plan, or to everything that is wrong with it.

use std::sync::Arc;
use std::time::Duration;

use super::blocks::Blocks;
use super::context::{Context, Files};
use super::expr::Names;
use super::form::DriverForm;
use super::item::{EntryItem, Item};
use super::keys::Form;
use super::model::{OnAgentLoss, Plan, Scenario, TraceRules, Validity};
use super::problem::{MAX_PROBLEMS, Problem, ProblemCode, Span};
use super::stage::{Place, StageList, StageNames};
use super::table::PLAN;
use super::threshold::{self, Known};
use super::vars::{self, VarOverrides, is_identifier};
use super::walk::walk;
use super::yaml::{self, Node};
use super::{faults, feeds, phases, proxies, scenario, target};
use crate::digest::Hasher;
use crate::feed::Feed;

/// A plan's text and what belongs to it.
#[derive(Clone, Copy)]
pub struct Source<'s> {
    /// The plan's name in problems: its path.
    pub name: &'s str,
    /// The text.
    pub text: &'s str,
    /// Where the files come from that it names.
    pub files: &'s dyn Files,
}

impl std::fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Reads a plan with the drivers that `forms` knows.
///
/// With the plan come notes: what could not be checked before the run.
///
/// # Errors
///
/// Every problem of the plan, in the order of their places; at least one.
pub fn load(
    source: Source<'_>,
    overrides: &VarOverrides,
    forms: &[&'static DriverForm],
) -> Result<(Plan, Vec<Problem>), Vec<Problem>> {
    let (root, mut problems) = yaml::parse(source.text);
    let Some(root) = root else {
        return Err(finished(source, problems));
    };
    let vars = vars::resolve(&root, overrides, &mut problems);
    let context = Context::new(source.text, source.files, forms, vars, problems);
    let names = base_names(&context, &root);
    let item = Item {
        context: &context,
        node: &root,
        names: &names,
    };
    walk(item, &Form::Object(&PLAN));
    let plan = read_plan(item, source);
    let vars = context.vars.clone();
    let (problems, notes, files) = context.finish();
    match plan {
        Some(plan) if problems.is_empty() => {
            let digest = digest(source, &files);
            Ok((
                Plan {
                    digest,
                    vars,
                    files,
                    ..plan
                },
                finished(source, notes),
            ))
        }
        _ => {
            let mut problems = finished(source, problems);
            if problems.is_empty() {
                // A reader gave up without a word: a defect, but never an accepted plan.
                let message = "the plan could not be read";
                problems.push(Problem {
                    file: source.name.to_owned(),
                    ..Problem::new(Span::START, ProblemCode::BadValue, message)
                });
            }
            Err(problems)
        }
    }
}

/// The problem of a plan file of that many bytes, if it is too large; ask before reading the file.
#[must_use]
pub fn refuse_size(name: &str, bytes: u64) -> Option<Problem> {
    let problem = yaml::too_large(usize::try_from(bytes).unwrap_or(usize::MAX))?;
    Some(Problem {
        file: name.to_owned(),
        ..problem
    })
}

/// Sorted by place, each once, bounded in number.
fn finished(source: Source<'_>, mut problems: Vec<Problem>) -> Vec<Problem> {
    for problem in &mut problems {
        source.name.clone_into(&mut problem.file);
    }
    problems.sort_by(|a, b| a.span.start.cmp(&b.span.start).then_with(|| a.cmp(b)));
    problems.dedup_by(|a, b| a.span == b.span && a.message == b.message);
    // What is not YAML as it was meant needs no other problem in its place.
    let broken: Vec<_> = problems
        .iter()
        .filter(|p| p.code == ProblemCode::Yaml)
        .map(|p| p.span.start)
        .collect();
    problems.retain(|p| p.code == ProblemCode::Yaml || !broken.contains(&p.span.start));
    problems.truncate(MAX_PROBLEMS);
    problems
}

/// Of the text and of the files that it names, not of what overrides its variables: an override may be a free port, or
/// come from the environment, and the default seed follows from the digest.
fn digest(source: Source<'_>, files: &[super::PlanFile]) -> crate::digest::Digest {
    let mut hasher = Hasher::new();
    // Each part with its length, so that no two plans give the same bytes.
    let mut part = |bytes: &[u8]| {
        hasher.update(&u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_le_bytes());
        hasher.update(bytes);
    };
    part(source.text.as_bytes());
    for file in files {
        part(file.path.as_bytes());
        part(&file.digest.to_bytes());
    }
    hasher.digest()
}

/// What every expression may read.
fn base_names(context: &Context<'_>, root: &Node) -> Names {
    let mut names = Names::default();
    names.add_fields("vars", context.vars.keys());
    let secrets = root.get("secrets").map(Node::items).unwrap_or_default();
    names.add_fields("secrets", secrets.iter().filter_map(Node::text));
    names.add_fields("run", ["id", "seed"]);
    names.add_fields("agent", ["id", "site"]);
    names
}

fn read_plan(item: Item<'_>, source: Source<'_>) -> Option<Plan> {
    let secrets = secrets(item);
    if let Some(targets) = item.key("targets") {
        target::read(targets);
    }
    let blocks = Blocks::new(item.key("blocks"));
    let mut known = StageNames::default();
    let mut once = StageList::new(Place::Run, item.names.clone(), &blocks);
    let setup = item
        .key("setup")
        .map(|list| once.read(list))
        .unwrap_or_default();
    once.name_stages(&mut known);
    // Sessions and teardown read what setup saved; sessions have names of their own besides.
    let after_setup = once.into_names();
    let mut last = StageList::new(Place::Run, after_setup.clone(), &blocks);
    let teardown = item
        .key("teardown")
        .map(|list| last.read(list))
        .unwrap_or_default();
    last.name_stages(&mut known);
    let mut session_names = after_setup.clone();
    session_names.add_fields("session", ["id", "index", "virtual_user"]);
    let feeds = feeds::read(item.key("feeds"));
    feeds::name(item.key("feeds"), &feeds, &mut session_names);
    let scenarios = scenarios(item, &session_names, &blocks, &feeds, &mut known);
    feeds::check_readers(item.key("feeds"), &feeds, &scenarios);
    let phases = phases::read(item.key("phases"));
    let (proxies, faults) = broken(item, &after_setup, &blocks, &mut known, &scenarios, &phases);
    blocks.read_unused(item.names);
    let thresholds = threshold::read(item.key("thresholds"), &known_names(item, known));
    let min_agents = item
        .key("min_agents")
        .map_or(Some(1), |key| key.int(1..=100_000));
    Some(Plan {
        name: item.key("name")?.name()?,
        description: item
            .key("description")
            .and_then(Item::text)
            .map(std::borrow::Cow::into_owned),
        file: source.name.to_owned(),
        source: Arc::from(source.text),
        // Set when reading ends.
        digest: crate::digest::Digest::from_u128(0),
        vars: serde_json::Map::new(),
        files: Vec::new(),
        secrets,
        targets: item.context.targets.borrow().clone(),
        setup,
        teardown,
        feeds,
        scenarios,
        phases,
        proxies,
        faults,
        thresholds,
        validity: validity(item.key("validity")),
        trace: trace(item.key("trace")),
        min_agents: u32::try_from(min_agents?).ok()?,
        on_agent_loss: on_agent_loss(item.key("on_agent_loss")),
    })
}

fn scenarios<'r>(
    item: Item<'r>,
    names: &Names,
    blocks: &Blocks<'r>,
    feeds: &[Arc<Feed>],
    known: &mut StageNames,
) -> Vec<Scenario> {
    let Some(key) = item.key("scenarios") else {
        return Vec::new();
    };
    if (key.is_map() || key.node.is_null()) && key.entries().is_empty() {
        let message = "there are no scenarios";
        key.problem(ProblemCode::BadValue, message, "write at least one");
    }
    known.incomplete |= !key.is_map();
    let entries = key.entries();
    let read = |entry: &EntryItem<'r>| scenario::read(*entry, names, blocks, feeds, known);
    let scenarios: Vec<Scenario> = entries.iter().filter_map(read).collect();
    scenario::check_order(&scenarios, &entries);
    scenarios
}

/// Proxies, and the faults that act on them and on others.
fn broken<'r>(
    item: Item<'r>,
    names: &Names,
    blocks: &Blocks<'r>,
    known: &mut StageNames,
    scenarios: &[Scenario],
    phases: &[super::Phase],
) -> (Vec<super::Proxy>, Vec<super::Fault>) {
    let sites = sites(item);
    let proxies = proxies::read(item.key("proxies"), &sites);
    let named = |key: &str| faults::names(item.key(key));
    let faults = faults::read(
        item.key("faults"),
        names,
        blocks,
        known,
        &faults::Around {
            scenarios,
            scenario_names: &named("scenarios"),
            proxies: &proxies,
            proxy_names: &named("proxies"),
            phases,
            sites: &sites,
        },
    );
    (proxies, faults)
}

fn secrets(item: Item<'_>) -> Vec<String> {
    let mut secrets: Vec<String> = Vec::new();
    for item in item.key("secrets").map(Item::items).unwrap_or_default() {
        let Some(name) = item.name() else { continue };
        if !is_identifier(&name) {
            let message = format!("`{name}` cannot be read as `secrets.…`");
            item.problem(
                ProblemCode::BadValue,
                message,
                "names of secrets are made of letters, digits and `_`",
            );
        } else if secrets.contains(&name) {
            item.problem(
                ProblemCode::DuplicateName,
                format!("`{name}` is named twice"),
                "remove one of them",
            );
        } else {
            secrets.push(name);
        }
    }
    secrets
}

fn on_agent_loss(item: Option<Item<'_>>) -> OnAgentLoss {
    if let Some(item) = item
        && item.word(&["inconclusive", "replace"]) == Some("replace")
    {
        let message = "this build does not replace lost agents yet";
        item.problem(
            ProblemCode::NotYet,
            message,
            "write `inconclusive`, or remove the key",
        );
    }
    OnAgentLoss::Inconclusive
}

fn validity(item: Option<Item<'_>>) -> Validity {
    let key = |name: &str| item.and_then(|item| item.key(name));
    let agents_lost = key("agents_lost").and_then(|item| item.int(0..=1_000_000));
    Validity {
        agents_lost: agents_lost
            .and_then(|lost| u32::try_from(lost).ok())
            .unwrap_or(0),
        dropped_sessions: key("dropped_sessions")
            .and_then(Item::share)
            .unwrap_or(0.01),
        schedule_lag_p99: key("schedule_lag_p99")
            .and_then(Item::duration)
            .unwrap_or(Duration::from_millis(100)),
        agent_loop_lag_p99: key("agent_loop_lag_p99").and_then(Item::duration),
        agent_cpu: key("agent_cpu").and_then(Item::share).unwrap_or(0.9),
    }
}

fn trace(item: Option<Item<'_>>) -> TraceRules {
    let keep = item.and_then(|item| item.key("keep")).map(|keep| {
        let words = keep.items().into_iter();
        words
            .filter_map(|item| item.word(&["failed", "slowest"]))
            .collect::<Vec<_>>()
    });
    let keeps = |word: &str| keep.as_ref().is_none_or(|keep| keep.contains(&word));
    TraceRules {
        sample: item
            .and_then(|item| item.key("sample"))
            .and_then(Item::share)
            .unwrap_or(0.01),
        keep_failed: keeps("failed"),
        keep_slowest: keeps("slowest"),
    }
}

/// Names that thresholds may match: those that the plan writes, also where something else about them is wrong. Stages
/// that could not be read have names too, so that a threshold may mean one of them.
fn known_names(item: Item<'_>, stages: StageNames) -> Known {
    let mut phases = phases::names(item.key("phases"));
    phases.extend(faults::phase_names(item.key("faults")));
    Known {
        scenarios: faults::names(item.key("scenarios")),
        stages: if stages.incomplete {
            Vec::new()
        } else {
            stages.names
        },
        sites: sites(item),
        phases,
        faults: faults::names(item.key("faults")),
    }
}

/// Every site that a scenario names, also where something else about it is wrong; none if agents may be at any site.
fn sites(item: Item<'_>) -> Vec<String> {
    let scenarios = item.key("scenarios").map(Item::entries).unwrap_or_default();
    let sites = scenarios
        .iter()
        .map(|scenario| scenario.value.key("sites").map(Item::entries));
    // With one scenario everywhere, agents may be at any site.
    let sites: Option<Vec<_>> = sites
        .map(|sites| sites.filter(|sites| !sites.is_empty()))
        .collect();
    let sites = sites.into_iter().flatten().flatten();
    sites.map(|site| site.key.to_owned()).collect()
}
