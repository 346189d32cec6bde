//! The short forms of the shipped plans: a few users, a few seconds.

use crate::{Cli, plan};

/// A plan of `plans/focus/` in its short form.
#[derive(Debug)]
pub struct Form {
    /// The file's name without its ending.
    pub plan: &'static str,
    vars: &'static [(&'static str, &'static str)],
}

/// So quickly a pod of the testbed is ready.
pub(crate) const READY: (&str, &str) = ("ready", "4s");
/// So quickly a job is gone.
pub(crate) const GONE: (&str, &str) = ("gone", "8s");

/// Every shipped plan for a Focus Server.
pub const FORMS: &[Form] = &[
    Form {
        plan: "api-contract",
        vars: &[],
    },
    Form {
        plan: "api-latency",
        vars: &[("for", "3s")],
    },
    Form {
        plan: "degradation",
        vars: &[
            ("edge", "2"),
            ("between", "4"),
            ("quick", "300ms"),
            READY,
            GONE,
        ],
    },
    Form {
        plan: "historic-playback",
        vars: &[("sessions", "2"), READY, GONE],
    },
    Form {
        plan: "historic-task",
        vars: &[
            ("users", "3"),
            ("sessions", "6"),
            ("first_data", "2s"),
            ("complete", "8s"),
        ],
    },
    Form {
        plan: "jobs-200",
        vars: &[
            ("users", "6"),
            ("ramp_up", "1s"),
            ("for", "6s"),
            READY,
            GONE,
        ],
    },
    Form {
        plan: "live-view",
        vars: &[
            ("users", "4"),
            ("for", "2s"),
            ("messages", "60"),
            READY,
            GONE,
        ],
    },
    Form {
        plan: "mixed-load",
        vars: &[("for", "3s"), ("messages", "60"), READY, GONE],
    },
    Form {
        plan: "single-channel",
        vars: &[
            ("users", "3"),
            ("for", "2s"),
            ("messages", "60"),
            READY,
            GONE,
        ],
    },
    Form {
        plan: "soak",
        vars: &[
            ("viewers", "4"),
            ("for", "5s"),
            ("playbacks", "60/m"),
            READY,
            GONE,
        ],
    },
    Form {
        plan: "spike",
        vars: &[
            ("calm", "2/s"),
            ("rush", "10/s"),
            ("calm_for", "1s"),
            ("rush_for", "1s"),
            ("messages", "60"),
            READY,
            GONE,
        ],
    },
    Form {
        plan: "waterfall",
        vars: &[
            ("users", "3"),
            ("for", "2s"),
            ("messages", "50"),
            READY,
            GONE,
        ],
    },
];

impl Form {
    /// The short form of a plan.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn of(plan: &str) -> &'static Self {
        FORMS
            .iter()
            .find(|form| form.plan == plan)
            .unwrap_or_else(|| panic!("`{plan}` has no short form"))
    }

    /// `testmesh run` of it, against a testbed with these behaviors.
    #[must_use]
    pub fn run(&self, behaviors: &str) -> Cli {
        let cli = Cli::run(&plan(&format!("focus/{}.yaml", self.plan))).testbed(behaviors);
        self.vars
            .iter()
            .fold(cli, |cli, (name, value)| cli.var(name, value))
    }
}
