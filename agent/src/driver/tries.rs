//! What drivers that wait for what may never come have in common: refusals that are answers, and the time that a try has.

use std::time::Duration;

use testmesh_shared::plan::Stage;
use tokio::time::timeout;

use super::contract::{Results, StageError};
use super::limits;

/// How something that was asked did not come about.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server refused it: an answer, which expressions may read.
    Refused(StageError),
    /// There was no answer.
    Failed(StageError),
}

impl Failure {
    /// Whichever it is.
    pub(crate) fn into_error(self) -> StageError {
        match self {
            Self::Refused(error) | Self::Failed(error) => error,
        }
    }

    /// A refusal as the results of a stage.
    pub(crate) fn into_results(self) -> Result<Results, StageError> {
        match self {
            Self::Refused(error) => Ok(Results {
                status: error.status,
                failure: Some(error),
                ..Results::default()
            }),
            Self::Failed(error) => Err(error),
        }
    }
}

impl From<StageError> for Failure {
    fn from(error: StageError) -> Self {
        Self::Failed(error)
    }
}

/// What bounds a try.
#[derive(Debug)]
pub(crate) struct Limit {
    /// When the driver ends the try by itself.
    pub(crate) cut: Duration,
    /// The time-out, as the plan says it.
    pub(crate) shown: String,
}

impl Limit {
    /// The least of the time-outs that bound a try. The session's own would cut it without a word of what it waited for.
    pub(crate) fn of(stage: &Stage, target: Option<Duration>) -> Option<Self> {
        let own = |limit: Duration, name: &str| Self {
            cut: limit.saturating_sub(limits::LAST_WORDS),
            shown: format!("{limit:?} ({name})"),
        };
        let limits = [
            stage.timeout.map(|limit| own(limit, "timeout")),
            stage
                .attempt_timeout
                .map(|limit| own(limit, "attempt_timeout")),
            target.map(|limit| Self {
                cut: limit,
                shown: format!("{limit:?} (the target's timeout)"),
            }),
        ];
        limits.into_iter().flatten().min_by_key(|limit| limit.cut)
    }

    /// Does a try within its bound, if it has one; `late` says what was not done in it.
    ///
    /// # Cancel safety
    ///
    /// As `work`, which is dropped when the time is over.
    pub(crate) async fn hold<T>(
        limit: Option<Self>,
        work: impl Future<Output = Result<T, StageError>>,
        late: impl FnOnce(&Self) -> StageError,
    ) -> Result<T, StageError> {
        let Some(limit) = limit else {
            return work.await;
        };
        timeout(limit.cut, work)
            .await
            .unwrap_or_else(|_| Err(late(&limit)))
    }
}
