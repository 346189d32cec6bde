//! Stages in rounds and side by side.
//!
//! Branches of a session run on its own task: they share its thread, and dropping the group drops them. A round or branch
//! has a layer of its own over the session's scope; what it saves moves down when it ends, in the plan's order.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use opentelemetry::trace::SpanId;
use testmesh_shared::plan::expr::{Field, Scope, Value};
use testmesh_shared::plan::{ErrorKind, Repeat, Stage, Times};

use super::session::Session;
use crate::driver::StageError;
use crate::limits;

/// What rounds iterate over.
enum Rounds {
    Count(u64),
    Items(Vec<Value>),
}

impl Rounds {
    fn len(&self) -> u64 {
        match self {
            Self::Count(count) => *count,
            Self::Items(items) => items.len() as u64,
        }
    }

    fn item(&self, round: u64) -> Value {
        match self {
            Self::Count(_) => Value::from(i64::try_from(round).unwrap_or(i64::MAX)),
            Self::Items(items) => {
                let at =
                    usize::try_from(round).expect("a round's number is below the number of items");
                items[at].clone()
            }
        }
    }
}

impl Rounds {
    /// The layer of one round, with the loop's variable.
    fn layer<'s>(&self, round: u64, variable: Option<&String>, below: &'s Scope<'s>) -> Scope<'s> {
        let mut layer = Scope::over(below);
        if let Some(variable) = variable {
            layer.set(variable.clone(), self.item(round));
        }
        layer
    }
}

impl Session<'_> {
    /// Runs stages once for each time or item.
    pub(super) async fn repeat(
        &self,
        repeat: &Repeat,
        scope: &mut Scope<'_>,
        parent: SpanId,
    ) -> Result<(), StageError> {
        let rounds = rounds(repeat, scope)?;
        if !repeat.parallel {
            for round in 0..rounds.len() {
                let mut own = rounds.layer(round, repeat.variable.as_ref(), scope);
                self.stages(&repeat.stages, &mut own, parent).await?;
                let saved = own.into_fields();
                scope.absorb(saved);
                if round % limits::ROUNDS_WITHOUT_YIELD == limits::ROUNDS_WITHOUT_YIELD - 1 {
                    tokio::task::yield_now().await;
                }
            }
            return Ok(());
        }
        if rounds.len() > limits::BRANCHES {
            let message = format!(
                "{} branches are more than the {} that run at once",
                rounds.len(),
                limits::BRANCHES
            );
            return Err(StageError::new(ErrorKind::Expectation, message));
        }
        let (below, rounds) = (&*scope, &rounds);
        let saved = all_or_first_error((0..rounds.len()).map(|round| async move {
            let mut own = rounds.layer(round, repeat.variable.as_ref(), below);
            self.stages(&repeat.stages, &mut own, parent).await?;
            Ok(own.into_fields())
        }))
        .await?;
        scope.absorb(saved);
        Ok(())
    }

    /// Runs branches side by side, the stages of each one after another.
    pub(super) async fn parallel(
        &self,
        branches: &[Vec<Stage>],
        scope: &mut Scope<'_>,
        parent: SpanId,
    ) -> Result<(), StageError> {
        let below = &*scope;
        let saved = all_or_first_error(branches.iter().map(|stages| async move {
            let mut own = Scope::over(below);
            self.stages(stages, &mut own, parent).await?;
            Ok(own.into_fields())
        }))
        .await?;
        scope.absorb(saved);
        Ok(())
    }
}

/// Waits for all branches, or for the first that fails: the others are dropped with it.
async fn all_or_first_error<B>(branches: impl Iterator<Item = B>) -> Result<Vec<Field>, StageError>
where
    B: Future<Output = Result<Vec<Field>, StageError>>,
{
    let numbered = branches
        .enumerate()
        .map(|(at, branch)| async move { (at, branch.await) });
    let mut running: FuturesUnordered<_> = numbered.collect();
    let mut saved = Vec::new();
    while let Some((at, ended)) = running.next().await {
        saved.push((at, ended?));
    }
    saved.sort_unstable_by_key(|(at, _)| *at);
    Ok(saved.into_iter().flat_map(|(_, fields)| fields).collect())
}

fn rounds(repeat: &Repeat, scope: &Scope<'_>) -> Result<Rounds, StageError> {
    let failed = |message: String| StageError::new(ErrorKind::Expectation, message);
    match &repeat.times {
        Times::Count(times) => {
            let value = times
                .evaluate(scope)
                .map_err(|error| failed(format!("times {error}")))?;
            let count = value.as_u64();
            count.map(Rounds::Count).ok_or_else(|| {
                failed(format!(
                    "times `{}` gave {value}, not a number of 0 or more",
                    times.source()
                ))
            })
        }
        Times::Each(each) => {
            let value = each
                .evaluate(scope)
                .map_err(|error| failed(format!("each {error}")))?;
            let items = value.as_list().map(<[Value]>::to_vec);
            items.map(Rounds::Items).ok_or_else(|| {
                failed(format!(
                    "each `{}` gave a {}, not a list",
                    each.source(),
                    value.type_name()
                ))
            })
        }
        other => Err(super::session::defect(format!(
            "this build cannot repeat by {other:?}"
        ))),
    }
}
