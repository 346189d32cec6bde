//! One row of the matrix, and by what a plan shows that it caught a behavior.

use testmesh_testbed::Behavior;

/// By what a plan shows that it caught a behavior: its own reason, where that reason comes from, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// Corrupt rows: the reason `rows_NAME`, with this counter of `integrity` above zero, and no threshold broken.
    Rows(&'static str),
    /// The same, and thresholds that are broken by the same rows elsewhere, where a page shows them.
    RowsAndBroken(&'static str, &'static [&'static str]),
    /// `ended_early`, which stands for the threshold on failed sessions; and, if any are named, `threshold_broken` by
    /// thresholds that miss those streams.
    EndedEarly(&'static [&'static str]),
    /// `threshold_broken`: these thresholds, each by the start of its expression, and no others.
    Broken(&'static [&'static str]),
    /// The same, and `no_data`, because what other thresholds measure never came about.
    BrokenWithoutData(&'static [&'static str]),
}

impl Sign {
    /// The reason that says which behavior it is.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Rows(counter) | Self::RowsAndBroken(counter, _) => format!("rows_{counter}"),
            Self::EndedEarly(_) => "ended_early".to_owned(),
            Self::Broken(_) | Self::BrokenWithoutData(_) => "threshold_broken".to_owned(),
        }
    }
}

/// A behavior and the plans that catch it; all others must pass.
#[derive(Debug)]
pub struct Row {
    /// As behind `--testbed=`, with the strength at which short forms can catch it.
    pub behavior: &'static str,
    /// The plans that CI runs with it: those that must catch it first, then one that must not.
    pub in_ci: &'static [&'static str],
    /// The plans that catch it, each with its sign.
    pub caught: &'static [(&'static [&'static str], Sign)],
}

impl Row {
    /// The sign that a plan must give; none: it must pass.
    #[must_use]
    pub fn sign(&self, plan: &str) -> Option<Sign> {
        self.caught
            .iter()
            .find(|(plans, _)| plans.contains(&plan))
            .map(|(_, sign)| *sign)
    }

    /// The behavior's name, without its strength.
    ///
    /// # Panics
    ///
    /// If the testbed does not know it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        name_of(self.behavior)
    }
}

/// A behavior's name, without its strength.
pub(crate) fn name_of(behavior: &str) -> &'static str {
    let behavior: Behavior = behavior
        .parse()
        .expect("the table names behaviors of the testbed");
    behavior.entry().name
}
