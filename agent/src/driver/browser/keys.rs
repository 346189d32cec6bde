//! The keys of `browser` in a plan.

use testmesh_shared::plan::keys::{Form, Group, Key, Keys};

pub(super) static TARGET: Keys = Keys {
    name: "browser target",
    doc: "A site that is used through a headless Chromium, which each agent starts when it first needs it. Sessions have isolated contexts: cookies, storage and cache of their own.",
    keys: &[
        Key::new(
            "browser",
            Form::Template,
            "The base URL; its path is kept.",
        )
        .required(),
        Key::new(
            "max_contexts",
            Form::Int(1, MOST_CONTEXTS),
            "Sessions of one agent that may have a page at the same time; others wait for one, within their stage's time-out. A page takes some 50 MiB.",
        )
        .default("10"),
        Key::new("viewport", Form::Object(&VIEWPORT), "The size of the page.")
            .default("{ width: 1280, height: 720 }"),
        Key::new(
            "program",
            Form::Text,
            "The Chromium to start, a path or a name. Without it, what TESTMESH_CHROMIUM names on the agent, else a Chromium or Chrome on its PATH.",
        ),
        Key::new(
            "timeout",
            Form::Duration,
            "Bounds each action, beside the stage's own time-outs.",
        ),
        Key::new("tls", Form::Object(&TLS), "How to trust the server."),
    ],
    groups: &[],
};

/// More than this no machine runs.
pub(super) const MOST_CONTEXTS: i64 = 1_000;

/// Sides of a page: beyond it Chromium draws no picture.
pub(super) const MOST_PIXELS: i64 = 8_192;

static VIEWPORT: Keys = Keys {
    name: "viewport",
    doc: "The size of a page.",
    keys: &[
        Key::new("width", Form::Int(1, MOST_PIXELS), "In CSS pixels.").required(),
        Key::new("height", Form::Int(1, MOST_PIXELS), "In CSS pixels.").required(),
    ],
    groups: &[],
};

static TLS: Keys = Keys {
    name: "browser tls",
    doc: "How to trust the server. Other certificates than the public ones are trusted where the agent's system trusts them.",
    keys: &[Key::new("insecure", Form::Bool, "Trust whatever certificate comes.").default("false")],
    groups: &[],
};

pub(super) static STAGE: Keys = Keys {
    name: "browser",
    doc: "Actions on the session's page, one after another. The page is opened by the session's first stage of this target and stays until the session ends. An action waits until its element is there, visible, enabled and, for a click, at rest and not covered. A selector is CSS, `text=…` (the smallest element with that text) or `label=…` (the accessible name); both take a part of the text in upper or lower case, or in double quotes all of it as it is. Of several visible elements the first is meant. Frames and shadow trees are not searched.",
    keys: &[
        Key::new("target", Form::Target("browser"), "Which site.").required(),
        Key::new("do", Form::List(&Form::Object(&ACTION)), "What to do, in this order.").required(),
        Key::new(
            "fail_on_console",
            Form::Bool,
            "Whether errors on the console, uncaught exceptions and requests that failed fail the stage (`expectation`, code `page_error`). They are findings in any case.",
        )
        .default("false"),
    ],
    groups: &[],
};

/// The keys of which an action has one.
pub(super) const ACTIONS: &[&str] = &[
    "open",
    "click",
    "fill",
    "select",
    "press",
    "wait",
    "eval",
    "screenshot",
];

pub(super) static ACTION: Keys = Keys {
    name: "action",
    doc: "One action on a page. A `wait` right behind an `open`, `click` or `press` measures `page_display`: from that input to the moment after the frame that shows what is waited for, by the page's own clock. Elsewhere it measures it only if what it waits for was not there when it began.",
    keys: &[
        Key::new(
            "open",
            Form::Template,
            "Open a page and wait until it is loaded: a path behind that of the target, or a URL. A status of 400 or more fails the stage unless an expression of it reads `status`.",
        ),
        Key::new("click", Form::Template, "Click on an element: a selector."),
        Key::new(
            "fill",
            Form::Template,
            "Put the text of `with` into a field, instead of what it holds: a selector.",
        ),
        Key::new("with", Form::Template, "The text for `fill`."),
        Key::new(
            "select",
            Form::Template,
            "Select the `option` of a list: a selector.",
        ),
        Key::new(
            "option",
            Form::Template,
            "The option for `select`, by its label, else by its value.",
        ),
        Key::new(
            "press",
            Form::Text,
            "Press a key in what has the focus: `Enter`, `Tab`, `ArrowDown`, `a`, `Control+a`.",
        ),
        Key::new(
            "on",
            Form::Template,
            "What `press` gives the focus to first: a selector.",
        ),
        Key::new("wait", Form::Object(&WAIT), "Wait until something is so."),
        Key::new(
            "eval",
            Form::Template,
            "JavaScript that is evaluated in the page; a promise is awaited. Write `$${` for the `${` of JavaScript. What it throws fails the stage (`expectation`, code `exception`).",
        ),
        Key::new(
            "as",
            Form::Name,
            "The name in `page.values` of what `eval` gives, as JSON.",
        ),
        Key::new(
            "screenshot",
            Form::Name,
            "Keep a picture of the page with the report, under this name.",
        ),
    ],
    groups: &[Group::ExactlyOne(ACTIONS)],
};

/// The keys of which a `wait` has one.
pub(super) const WAITS: &[&str] = &["selector", "text", "gone", "expr"];

static WAIT: Keys = Keys {
    name: "browser wait",
    doc: "What to wait for.",
    keys: &[
        Key::new(
            "selector",
            Form::Template,
            "An element is visible: a selector.",
        ),
        Key::new("text", Form::Template, "The page shows this text."),
        Key::new(
            "gone",
            Form::Template,
            "No such element is visible any more: a selector.",
        ),
        Key::new(
            "expr",
            Form::Template,
            "JavaScript that becomes true, looked at in every frame: keep it quick.",
        ),
    ],
    groups: &[Group::ExactlyOne(WAITS)],
};
