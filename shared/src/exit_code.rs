//! The exit codes of every testmesh binary, in one table. `docs/verdicts.md` explains them; scripts depend on them.

use std::fmt;
use std::process;

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ExitCode {
    /// The run passed, or the command did what it was asked.
    Passed = 0,
    /// Something that should not happen, panics included.
    Unexpected = 1,
    /// The command line or configuration cannot be meant.
    Usage = 2,
    /// The run could not be judged.
    Inconclusive = 10,
    /// Data was proven corrupt, or a threshold is broken.
    Failed = 100,
    /// No coordinator answers.
    CoordinatorUnreachable = 102,
    /// Fewer agents than the plan or its sites need.
    NotEnoughAgents = 103,
    /// The plan has problems; nothing was started.
    PlanInvalid = 104,
    /// Stopped by the user before anything was proven.
    Stopped = 105,
}

impl ExitCode {
    /// Every exit code, for documentation.
    pub const ALL: [Self; 9] = [
        Self::Passed,
        Self::Unexpected,
        Self::Usage,
        Self::Inconclusive,
        Self::Failed,
        Self::CoordinatorUnreachable,
        Self::NotEnoughAgents,
        Self::PlanInvalid,
        Self::Stopped,
    ];

    /// The number that the process returns.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The exit code with this number.
    #[must_use]
    pub fn from_code(code: i32) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|known| i32::from(known.code()) == code)
    }

    /// What it tells, in a few words.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Unexpected => "unexpected error",
            Self::Usage => "wrong usage",
            Self::Inconclusive => "inconclusive",
            Self::Failed => "failed",
            Self::CoordinatorUnreachable => "coordinator unreachable",
            Self::NotEnoughAgents => "not enough agents",
            Self::PlanInvalid => "plan invalid",
            Self::Stopped => "stopped by the user before anything was proven",
        }
    }
}

impl fmt::Display for ExitCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.code(), self.meaning())
    }
}

impl From<ExitCode> for process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_the_documented_ones() {
        let codes = ExitCode::ALL.map(ExitCode::code);
        assert_eq!(codes, [0, 1, 2, 10, 100, 102, 103, 104, 105]);
        for code in ExitCode::ALL {
            assert_eq!(ExitCode::from_code(i32::from(code.code())), Some(code));
        }
        assert_eq!(ExitCode::from_code(3), None);
    }
}
