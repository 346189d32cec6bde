//! Stages: what every stage has, groups of stages, and blocks put in place.

use std::collections::HashMap;
use std::time::Duration;

use super::blocks::Blocks;
use super::expr::{Expr, Names};
use super::form::{DriverForm, STAGE_TIMEOUT};
use super::item::{EntryItem, Item};
use super::keys::State;
use super::model::{Action, OnFailure, Repeat, Stage, Times, Until};
use super::problem::{Position, ProblemCode};
use super::vars::is_identifier;
use super::{integrity, retry};

/// The most stages of a scenario, blocks put in place: blocks may use blocks.
const MAX_STAGES: usize = 2_000;
/// The deepest nesting of stages, blocks put in place.
const MAX_NESTING: usize = 32;
const EVERY: Duration = Duration::from_millis(500);
const STALL: Duration = Duration::from_secs(1);

/// Every name that a driver's results may have, so that hints can tell them from mistakes.
pub(super) const RESULTS: [&str; 9] = [
    "status", "headers", "body", "text", "stream", "message", "docs", "page", "elapsed",
];

/// Where stages stand, which decides what they save into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// `setup` and `teardown`.
    Run,
    /// A scenario.
    Session,
}

impl Place {
    fn saves_into(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Session => "session",
        }
    }
}

/// Reads the lists of stages of one scenario, which share names and what they save.
pub(super) struct StageList<'r, 'b> {
    place: Place,
    names: Names,
    blocks: &'b Blocks<'r>,
    /// Names of stages so far, and where they stand.
    taken: HashMap<String, Position>,
    /// Blocks being put in place.
    using: Vec<String>,
    /// Whether blocks are put in place each time, or read once for their problems.
    expand: Expand,
    prefix: String,
    count: usize,
    depth: usize,
    /// Whether a stage could not be read so far that its name is known.
    nameless: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expand {
    Always,
    Once,
}

/// Names of stages, for what refers to them.
#[derive(Debug, Default)]
pub(super) struct StageNames {
    pub(super) names: Vec<String>,
    /// Whether there are more, of stages that could not be read.
    pub(super) incomplete: bool,
}

impl<'r, 'b> StageList<'r, 'b> {
    pub(super) fn new(place: Place, mut names: Names, blocks: &'b Blocks<'r>) -> Self {
        for result in RESULTS {
            names.explain(result, "results are for the stage's own `expect`, `until` and `save`; save what later stages need");
        }
        names.explain(
            "message",
            "a message is read by `stop: { when }` and `watch` of its stream; `expect` and `save` read `stream.last`",
        );
        if place == Place::Run {
            names.explain("feed", "only sessions of scenarios take rows");
            names.explain(
                "session",
                "there is no session here; `setup` saves into `run`",
            );
        }
        Self {
            place,
            names,
            blocks,
            taken: HashMap::new(),
            using: Vec::new(),
            expand: Expand::Always,
            prefix: String::new(),
            count: 0,
            depth: 0,
            nameless: false,
        }
    }

    /// Reads blocks that stand nowhere.
    pub(super) fn unused(mut names: Names, blocks: &'b Blocks<'r>) -> Self {
        names.add("session");
        names.add("run");
        names.add("feed");
        names.open();
        Self {
            expand: Expand::Once,
            ..Self::new(Place::Session, names, blocks)
        }
    }

    /// What stages saved, and may read, so far.
    pub(super) fn into_names(self) -> Names {
        self.names
    }

    /// Whether there was no stage so far, not even one that could not be read.
    pub(super) fn is_empty(&self) -> bool {
        self.taken.is_empty() && !self.nameless
    }

    /// Adds the names of the stages so far.
    pub(super) fn name_stages(&self, known: &mut StageNames) {
        let mut names: Vec<_> = self.taken.iter().map(|(name, at)| (at, name)).collect();
        names.sort_unstable();
        known
            .names
            .extend(names.into_iter().map(|(_, name)| name.clone()));
        known.incomplete |= self.nameless;
    }

    pub(super) fn read(&mut self, list: Item<'r>) -> Vec<Stage> {
        let mut stages = Vec::new();
        for item in list.items() {
            let Some(more) = self.step(item) else { break };
            stages.extend(more);
        }
        stages
    }

    /// One item of a list: a stage, or the stages of a block. `None`: there are too many.
    fn step(&mut self, item: Item<'r>) -> Option<Vec<Stage>> {
        self.count += 1;
        if self.count > MAX_STAGES {
            if self.count == MAX_STAGES + 1 {
                let message =
                    format!("there are more than {MAX_STAGES} stages, blocks put in place");
                let hint = "use `repeat`, or fewer blocks in blocks";
                item.problem(ProblemCode::TooLarge, message, hint);
            }
            self.nameless = true;
            return None;
        }
        if self.depth >= MAX_NESTING {
            let message =
                format!("stages are nested more than {MAX_NESTING} deep, blocks put in place");
            let hint = "put fewer stages and blocks into each other";
            item.problem(ProblemCode::TooLarge, message, hint);
            self.nameless = true;
            return Some(Vec::new());
        }
        self.depth += 1;
        let stages = match item.key("use") {
            Some(block) => self.block(item, block),
            None => self.stage(item).into_iter().collect(),
        };
        self.depth -= 1;
        Some(stages)
    }

    fn block(&mut self, item: Item<'r>, block: Item<'r>) -> Vec<Stage> {
        for entry in item
            .entries()
            .into_iter()
            .filter(|entry| !matches!(entry.key, "use" | "as"))
        {
            let message = format!("`{}` does not go with `use`", entry.key);
            item.problem_at(
                entry.key_span,
                ProblemCode::Conflict,
                message,
                "write it into the block's stages; `as` prefixes their names",
            );
        }
        let found = block
            .text()
            .and_then(|name| Some((self.blocks.find(&name, block)?, name)));
        let Some(((list, first), name)) = found else {
            self.nameless = true;
            return Vec::new();
        };
        if self.using.iter().any(|used| *used == name) {
            let message = format!("blocks use each other: {} → {name}", self.using.join(" → "));
            block.problem(
                ProblemCode::Cycle,
                message,
                "a block may not come back to itself",
            );
            self.nameless = true;
            return Vec::new();
        }
        if self.expand == Expand::Once && !first {
            return Vec::new();
        }
        let outer = self.prefix.clone();
        if let Some(prefix) = item.key("as").and_then(Item::name) {
            self.prefix = format!("{outer}{prefix}.");
        }
        let stages = self.read_block(&name, list);
        self.prefix = outer;
        stages
    }

    pub(super) fn read_block(&mut self, name: &str, list: Item<'r>) -> Vec<Stage> {
        self.using.push(name.to_owned());
        let stages = self.read(list);
        self.using.pop();
        stages
    }

    fn stage(&mut self, item: Item<'r>) -> Option<Stage> {
        if !item.is_map() {
            self.nameless = true;
            return None;
        }
        let name = self.name(item);
        let names = self.names.clone();
        let (raw, item) = (
            item,
            Item {
                names: &names,
                ..item
            },
        );
        let when = item.key("when").and_then(Item::expr);
        let action = self.action(raw, item);
        let (streams, default_timeout, results) = match &action {
            Some(Action::Drive { stage, .. }) => (
                stage.streams(),
                stage.default_timeout(),
                stage.results().to_vec(),
            ),
            Some(Action::Repeat(_) | Action::Parallel(_)) => (false, None, Vec::new()),
            // What could not be read has every result, or each of its expressions would be a problem.
            None => (true, Some(STAGE_TIMEOUT), RESULTS.to_vec()),
        };
        let after = self.names_after(&results);
        let outcome = Outcome::read(
            Item {
                names: &after,
                ..item
            },
            &results,
        );
        self.save(item);
        check_stream_keys(item, streams);
        check_group_keys(item);
        let integrity = item.key("integrity").and_then(|key| {
            let integrity = integrity::read(key)?;
            if let Some(Action::Drive { stage, .. }) = &action {
                stage.check_integrity(&integrity, key);
            }
            Some(integrity)
        });
        let timeout = item.key("timeout").map_or(default_timeout, Item::duration);
        let attempt_timeout = item.key("attempt_timeout").and_then(Item::duration);
        check_timeouts(item, timeout, attempt_timeout);
        Some(Stage {
            name: name?,
            position: item.position(),
            action: action?,
            expect: outcome.expect,
            save: outcome.save,
            until: outcome.until,
            when,
            timeout,
            attempt_timeout,
            retry: item.key("retry").and_then(retry::read),
            on_failure: if item.has("on_failure") {
                OnFailure::Continue
            } else {
                OnFailure::End
            },
            integrity,
            stall: item.key("stall").map_or(Some(STALL), Item::duration)?,
            reads_status: outcome.reads.contains(&"status"),
            reads: outcome.reads,
        })
    }

    fn name(&mut self, item: Item<'_>) -> Option<String> {
        let Some(name) = item.key("name").and_then(Item::name) else {
            self.nameless = true;
            return None;
        };
        let key = item.key("name")?;
        let full = format!("{}{name}", self.prefix);
        if let Some(first) = self.taken.get(&full) {
            let message = format!("there is another stage `{full}`");
            let hint = format!(
                "the first one is on line {}; names label metrics: rename one, or use `as` with `use`",
                first.line
            );
            key.problem(ProblemCode::DuplicateName, message, hint);
            return None;
        }
        self.taken.insert(full.clone(), key.position());
        Some(full)
    }

    fn names_after(&self, results: &[&'static str]) -> Names {
        let mut names = self.names.clone();
        names.add("elapsed");
        for result in results {
            names.add(*result);
        }
        names
    }

    fn save(&mut self, item: Item<'_>) {
        let into = self.place.saves_into();
        for entry in item.key("save").map(Item::entries).unwrap_or_default() {
            let own = match self.place {
                Place::Run => &["id", "seed"][..],
                Place::Session => &["id", "index", "virtual_user"][..],
            };
            if own.contains(&entry.key) || !is_identifier(entry.key) {
                let message = format!("`{}` cannot be saved as `{into}.{}`", entry.key, entry.key);
                item.problem_at(
                    entry.key_span,
                    ProblemCode::BadValue,
                    message,
                    "choose another name of letters, digits and `_`",
                );
            }
        }
        let saved = item.key("save").map(Item::entries).unwrap_or_default();
        self.names
            .add_fields(into, saved.iter().map(|entry| entry.key));
    }

    /// What the stage does; `raw` outlives the names that `item` may read.
    fn action(&mut self, raw: Item<'r>, item: Item<'_>) -> Option<Action> {
        if let Some(parallel) = raw.key("parallel") {
            return Some(Action::Parallel(self.branches(parallel)));
        }
        if let Some(repeat) = item.key("repeat") {
            return self.repeat(raw, repeat);
        }
        let entry = raw
            .entries()
            .into_iter()
            .find(|entry| item.context.form(entry.key).is_some())?;
        let form = item
            .context
            .form(entry.key)
            .filter(|form| form.state == State::Built)?;
        self.drive(form, entry, item.names)
    }

    fn drive(
        &mut self,
        form: &'static DriverForm,
        entry: EntryItem<'r>,
        names: &Names,
    ) -> Option<Action> {
        let mut names = names.clone();
        let list = form.during().and_then(|key| entry.value.key(key));
        let during = list.map(|list| self.during(list)).unwrap_or_default();
        if !during.is_empty() {
            let into = self.place.saves_into();
            names.add_inside(into, self.names.fields(into));
        }
        let value = Item {
            names: &names,
            ..entry.value
        };
        let stage = (form.read)(value)?;
        stage.check_during(&during, value);
        Some(Action::Drive {
            form: form.name,
            stage,
            during,
        })
    }

    /// Stages beside a stream. What they save is there for what follows the stream's stage, and for its own expressions
    /// over the stream.
    fn during(&mut self, list: Item<'r>) -> Vec<Stage> {
        if list.items().is_empty() {
            list.problem(
                ProblemCode::BadValue,
                "there is nothing to run beside the stream",
                "write at least one stage, or remove the key",
            );
        }
        self.read(list)
    }

    /// Side by side, none sees what another saves; what follows sees what all saved. The stages of a block are one branch.
    fn branches(&mut self, list: Item<'r>) -> Vec<Vec<Stage>> {
        let before = self.names.clone();
        let mut after = before.clone();
        let mut branches = Vec::new();
        let into = self.place.saves_into();
        for item in list.items() {
            self.names = before.clone();
            let Some(branch) = self.step(item) else { break };
            branches.push(branch);
            after.add_fields(into, self.names.fields(into));
        }
        self.names = after;
        if list.items().is_empty() {
            list.problem(
                ProblemCode::BadValue,
                "there is nothing to run in parallel",
                "write at least one stage",
            );
        }
        branches
    }

    fn repeat(&mut self, raw: Item<'r>, repeat: Item<'_>) -> Option<Action> {
        let times = match (repeat.key("times"), repeat.key("each")) {
            (Some(times), _) => times.expr().map(Times::Count),
            (None, Some(each)) => each.expr().map(Times::Each),
            (None, None) => None,
        };
        let variable = repeat.key("as").and_then(Item::variable);
        let parallel = repeat.key("parallel").map_or(Some(false), Item::bool);
        let Some(list) = raw.key("stages").filter(|list| !list.items().is_empty()) else {
            repeat.problem(
                ProblemCode::MissingKey,
                "`repeat` needs `stages` beside it",
                "write what is repeated under `stages`",
            );
            return None;
        };
        if let Some(variable) = &variable {
            self.names.add(variable.as_str());
        }
        let stages = self.read(list);
        if let Some(variable) = &variable {
            self.names.remove(variable);
        }
        Some(Action::Repeat(Repeat {
            times: times?,
            variable,
            parallel: parallel?,
            stages,
        }))
    }
}

/// What is read from a stage's results.
struct Outcome {
    expect: Vec<Expr>,
    save: Vec<(String, Expr)>,
    until: Option<Until>,
    reads: Vec<&'static str>,
}

impl Outcome {
    fn read(item: Item<'_>, results: &[&'static str]) -> Self {
        let expect: Vec<Expr> = item
            .key("expect")
            .map(Item::items)
            .unwrap_or_default()
            .into_iter()
            .filter_map(Item::expr)
            .collect();
        let save: Vec<(String, Expr)> = item
            .key("save")
            .map(Item::entries)
            .unwrap_or_default()
            .into_iter()
            .filter_map(|entry| Some((entry.key.to_owned(), entry.value.expr()?)))
            .collect();
        let every = item.key("every").map_or(Some(EVERY), Item::duration);
        let until = item
            .key("until")
            .and_then(Item::expr)
            .zip(every)
            .map(|(expr, every)| Until { expr, every });
        if let (Some(every), None) = (item.key("every"), item.key("until")) {
            every.problem(
                ProblemCode::Conflict,
                "`every` needs `until`",
                "write what to wait for, or remove `every`",
            );
        }
        let exprs: Vec<&Expr> = expect
            .iter()
            .chain(save.iter().map(|(_, expr)| expr))
            .chain(until.iter().map(|until| &until.expr))
            .collect();
        let known = results.iter().copied().chain(["elapsed"]);
        let reads = known
            .filter(|name| exprs.iter().any(|expr| expr.reads(name)))
            .collect();
        Self {
            expect,
            save,
            until,
            reads,
        }
    }
}

fn check_stream_keys(item: Item<'_>, streams: bool) {
    if let Some(stall) = item.key("stall").filter(|_| !streams) {
        stall.problem(
            ProblemCode::Conflict,
            "this stage has no stream that could stall",
            "remove `stall`",
        );
    }
}

/// Keys that belong to a group of stages, or to a stage that is none.
fn check_group_keys(item: Item<'_>) {
    let group = ["repeat", "parallel"].into_iter().find(|key| item.has(key));
    let conflict = |key: &str, message: String, hint: &str| {
        if let Some(entry) = item.entry(key) {
            item.problem_at(entry.key_span, ProblemCode::Conflict, message, hint);
        }
    };
    match group {
        Some("parallel") => conflict(
            "stages",
            "`stages` does not go with `parallel`".to_owned(),
            "list the stages under `parallel`, or write `repeat: { …, parallel: true }`",
        ),
        Some(_) => {}
        None => conflict(
            "stages",
            "`stages` needs `repeat`".to_owned(),
            "write `repeat: { times: … }` beside it, or `parallel`",
        ),
    }
    if let Some(group) = group {
        let message = format!("`integrity` does not go with `{group}`, which has no stream");
        let hint = "write it on the inner stage whose stream it verifies";
        conflict("integrity", message, hint);
    }
    conflict(
        "as",
        "`as` needs `use`".to_owned(),
        "remove it; it prefixes the names of a block's stages, and a loop's variable is `repeat: { as: … }`",
    );
}

fn check_timeouts(item: Item<'_>, timeout: Option<Duration>, attempt: Option<Duration>) {
    if let (Some(key), Some(timeout), Some(attempt)) =
        (item.key("attempt_timeout"), timeout, attempt)
        && attempt > timeout
    {
        key.problem(
            ProblemCode::Conflict,
            "one try may take longer than the whole stage",
            "shorten it, or lengthen `timeout`",
        );
    }
    for key in ["timeout", "attempt_timeout", "every"] {
        if let Some(item) = item.key(key)
            && item.node.text() != Some("")
            && item.duration() == Some(Duration::ZERO)
        {
            item.problem(
                ProblemCode::BadValue,
                format!("`{key}` is no time at all"),
                "write a duration above 0s",
            );
        }
    }
}
