//! What is read from a plan about `browser`.

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use testmesh_shared::plan::expr::Template;
use testmesh_shared::plan::keys::{Form, State};
use testmesh_shared::plan::{DriverForm, DriverStage, Item, ProblemCode, Target as Named};
use url::Url;

use super::keyboard::Chord;
use super::keys::{ACTIONS, MOST_CONTEXTS, MOST_PIXELS, STAGE, TARGET, WAITS};
use crate::driver::contract::Drives;
use crate::driver::forms;
use crate::driver::limits;

/// The driver `browser`.
pub(crate) static FORM: DriverForm = DriverForm {
    name: "browser",
    doc: "Drives a page that stays for the session.",
    state: State::Built,
    stage: Form::Object(&STAGE),
    target: Some(&TARGET),
    read,
    read_target,
};

/// A site that is used through a browser.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) url: Template,
    pub(super) max_contexts: usize,
    pub(super) viewport: Viewport,
    pub(super) program: Option<PathBuf>,
    pub(super) timeout: Option<Duration>,
    pub(super) insecure: bool,
}

/// The size of a page, in CSS pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Viewport {
    pub(super) width: i64,
    pub(super) height: i64,
}

/// What a target without them has.
const VIEWPORT: Viewport = Viewport {
    width: 1280,
    height: 720,
};
const MAX_CONTEXTS: i64 = 10;

/// A stage on a page.
#[derive(Debug)]
pub(super) struct BrowserStage {
    target: Arc<Named>,
    pub(super) actions: Vec<Action>,
    pub(super) fail_on_console: bool,
    /// Sessions have one page under each key.
    pub(super) pool_key: Box<str>,
}

/// One action.
#[derive(Debug)]
pub(super) enum Action {
    Open(Template),
    Click(Template),
    Fill {
        field: Template,
        with: Template,
    },
    Select {
        list: Template,
        option: Template,
    },
    Press {
        chord: Chord,
        on: Option<Template>,
    },
    Wait(Wait),
    Eval {
        script: Template,
        name: Option<String>,
    },
    Screenshot(String),
}

/// What a `wait` waits for.
#[derive(Debug)]
pub(super) struct Wait {
    /// One of [`WAITS`].
    pub(super) kind: &'static str,
    pub(super) what: Template,
}

impl Action {
    /// Whether a secret gets into the page by it, so that pictures may show it.
    pub(super) fn is_secret(&self) -> bool {
        match self {
            Self::Open(one) | Self::Click(one) => one.is_secret(),
            Self::Fill {
                field: one,
                with: other,
            }
            | Self::Select {
                list: one,
                option: other,
            } => one.is_secret() || other.is_secret(),
            Self::Press { on, .. } => on.as_ref().is_some_and(Template::is_secret),
            Self::Wait(wait) => wait.what.is_secret(),
            Self::Eval { script, .. } => script.is_secret(),
            Self::Screenshot(_) => false,
        }
    }

    /// Whether it is the input that a `wait` right behind it is timed from.
    pub(super) fn is_input(&self) -> bool {
        matches!(self, Self::Open(_) | Self::Click(_) | Self::Press { .. })
    }
}

impl BrowserStage {
    pub(super) fn target(&self) -> &Target {
        self.target
            .value()
            .expect("a target of `browser` was read by `browser`")
    }

    /// The target's name.
    pub(super) fn site(&self) -> &str {
        &self.target.name
    }
}

fn read_target(item: Item<'_>) -> Option<Arc<dyn Any + Send + Sync>> {
    let url = item.key("browser").and_then(base);
    let contexts = forms::optional(item, "max_contexts", |value| value.int(1..=MOST_CONTEXTS));
    let viewport = forms::optional(item, "viewport", viewport);
    let program = forms::optional(item, "program", |value| {
        Some(PathBuf::from(&*value.text()?))
    });
    let timeout = forms::optional(item, "timeout", Item::duration);
    let insecure = forms::optional(item, "tls", |tls| {
        forms::optional(tls, "insecure", Item::bool)
    });
    Some(Arc::new(Target {
        url: url?,
        max_contexts: usize::try_from(contexts?.unwrap_or(MAX_CONTEXTS)).ok()?,
        viewport: viewport?.unwrap_or(VIEWPORT),
        program: program?,
        timeout: timeout?,
        insecure: insecure?.flatten().unwrap_or_default(),
    }))
}

/// A base URL: checked when the plan is loaded, unless a secret is in it.
fn base(item: Item<'_>) -> Option<Template> {
    let template = item.template()?;
    if template.is_secret() {
        return Some(template);
    }
    let text = item.text()?;
    let reason = match Url::parse(&text) {
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            format!("has the scheme `{}`", url.scheme())
        }
        Ok(url) if url.query().is_some() || url.fragment().is_some() => {
            "has a query or a fragment".to_owned()
        }
        Ok(_) => return Some(template),
        Err(error) => format!("is no URL: {error}"),
    };
    let hint = "write http://HOST[:PORT][/PATH] or https://…";
    item.problem(ProblemCode::BadValue, format!("`{text}` {reason}"), hint);
    None
}

fn viewport(item: Item<'_>) -> Option<Viewport> {
    let side = |name| item.key(name).and_then(|side| side.int(1..=MOST_PIXELS));
    let (width, height) = (side("width"), side("height"));
    Some(Viewport {
        width: width?,
        height: height?,
    })
}

fn read(item: Item<'_>) -> Option<Box<dyn DriverStage>> {
    let target = item
        .key("target")
        .and_then(|target| target.target("browser"));
    let fail_on_console = forms::optional(item, "fail_on_console", Item::bool);
    let list = item.key("do")?;
    // All are read before any is missed, so that all problems are found.
    let actions: Vec<_> = list.items().into_iter().map(action).collect();
    let actions: Option<Vec<_>> = actions.into_iter().collect();
    let actions = actions?;
    if actions.is_empty() || actions.len() > limits::BROWSER_ACTIONS {
        let message = format!("`do` has {} actions", actions.len());
        let hint = format!("write 1 to {}", limits::BROWSER_ACTIONS);
        list.problem(ProblemCode::BadValue, message, hint);
        return None;
    }
    let target = target?;
    Some(Drives::stage(BrowserStage {
        pool_key: format!("browser {}", target.name).into(),
        target,
        actions,
        fail_on_console: fail_on_console?.unwrap_or_default(),
    }))
}

/// The keys that belong to an action of some kind only.
const COMPANIONS: [(&str, &str); 4] = [
    ("with", "fill"),
    ("option", "select"),
    ("on", "press"),
    ("as", "eval"),
];

fn action(item: Item<'_>) -> Option<Action> {
    let kind = *ACTIONS.iter().find(|name| item.has(name))?;
    let mut misplaced = false;
    for (companion, of) in COMPANIONS {
        if of != kind
            && let Some(value) = item.key(companion)
        {
            let message = format!("`{companion}` belongs to `{of}`, not to `{kind}`");
            value.problem(ProblemCode::Conflict, message, "remove it");
            misplaced = true;
        }
    }
    let value = item.key(kind)?;
    let companion = |name| match item.key(name) {
        Some(value) => value.template(),
        None => {
            let message = format!("`{kind}` needs `{name}`");
            let hint = format!("write {{ {kind}: SELECTOR, {name}: TEXT }}");
            item.problem(ProblemCode::MissingKey, message, hint);
            None
        }
    };
    let action = match kind {
        "open" => Action::Open(value.template()?),
        "click" => Action::Click(value.template()?),
        "fill" => {
            let (field, with) = (value.template(), companion("with"));
            Action::Fill {
                field: field?,
                with: with?,
            }
        }
        "select" => {
            let (list, option) = (value.template(), companion("option"));
            Action::Select {
                list: list?,
                option: option?,
            }
        }
        "press" => {
            let (chord, on) = (chord(value), forms::optional(item, "on", Item::template));
            Action::Press {
                chord: chord?,
                on: on?,
            }
        }
        "wait" => Action::Wait(wait(value)?),
        "eval" => {
            let name = forms::optional(item, "as", Item::name);
            Action::Eval {
                script: value.template()?,
                name: name?,
            }
        }
        _ => Action::Screenshot(value.name()?),
    };
    (!misplaced).then_some(action)
}

fn chord(item: Item<'_>) -> Option<Chord> {
    let text = item.text()?;
    match Chord::parse(&text) {
        Ok(chord) => Some(chord),
        Err(reason) => {
            let hint = "write a key like `Enter`, `Escape`, `ArrowDown`, `F5` or `a`, behind `Control+`, `Shift+`, `Alt+` or `Meta+`";
            item.problem(ProblemCode::BadValue, reason, hint);
            None
        }
    }
}

fn wait(item: Item<'_>) -> Option<Wait> {
    let kind = *WAITS.iter().find(|kind| item.has(kind))?;
    Some(Wait {
        kind,
        what: item.key(kind)?.template()?,
    })
}
