//! The stages of `during`: they run beside the stream of their stage, on the same task, for as long as its driver reads.
//!
//! They have a layer of their own over the session's scope. What each saves is shown to the stream's expressions when the
//! stage has ended, and moves down with the stream's own saves when that has passed.

use std::cell::{Cell, RefCell};

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use opentelemetry::trace::SpanId;
use testmesh_shared::plan::expr::{Field, Scope};
use testmesh_shared::plan::{ErrorKind, Stage};
use tokio::time::Instant;

use super::session::Session;
use super::stage::applies;
use crate::driver::{During, StageError};

/// The stages beside one try of a stream.
#[derive(Debug)]
pub(super) struct DuringStages<'s> {
    session: &'s Session<'s>,
    stages: &'s [Stage],
    below: &'s Scope<'s>,
    parent: SpanId,
    /// Stages that began, in order; those that `when` passes over never do.
    began: RefCell<Vec<(&'s Stage, Instant)>>,
    /// How many of them are done with, passed over or not.
    done: Cell<usize>,
    saved: RefCell<Vec<Field>>,
    failure: RefCell<Option<StageError>>,
}

/// What is left of the stages beside a stream that is over.
#[derive(Debug)]
pub(super) struct Left {
    /// What they saved.
    pub(super) saved: Vec<Field>,
    /// Why they failed, if they did.
    pub(super) failure: Option<StageError>,
    /// What of them has not run, in words.
    pub(super) cut: Option<String>,
}

impl<'s> DuringStages<'s> {
    /// None if there are none.
    pub(super) fn new(
        session: &'s Session<'s>,
        stages: &'s [Stage],
        below: &'s Scope<'s>,
        parent: SpanId,
    ) -> Option<Self> {
        (!stages.is_empty()).then(|| Self {
            session,
            stages,
            below,
            parent,
            began: RefCell::default(),
            done: Cell::new(0),
            saved: RefCell::default(),
            failure: RefCell::default(),
        })
    }

    async fn stages(&self) -> Result<(), StageError> {
        let mut own = Scope::over(self.below);
        for stage in self.stages {
            let applies = applies(stage, &own);
            if applies != Ok(false) {
                self.began.borrow_mut().push((stage, Instant::now()));
                let runs = self
                    .session
                    .run_stage(stage, applies, &mut own, self.parent);
                Box::pin(runs).await?;
                self.saved.replace(own.fields().to_vec());
            }
            self.done.set(self.done.get() + 1);
        }
        Ok(())
    }

    /// The stream is over, and with it these.
    pub(super) fn end(self) -> Left {
        let cut = self.unfinished();
        Left {
            saved: self.saved.into_inner(),
            failure: self.failure.into_inner(),
            cut,
        }
    }

    fn unfinished(&self) -> Option<String> {
        let rest = &self.stages[self.done.get()..];
        let (next, after) = rest.split_first()?;
        let began = self.began.borrow();
        let was_cut = began
            .last()
            .is_some_and(|(stage, _)| std::ptr::eq(*stage, next));
        Some(match (was_cut, after.len()) {
            (true, 0) => format!("`{}` was cut", next.name),
            (true, more) => format!("`{}` was cut, and {more} more never began", next.name),
            (false, 0) => format!("`{}` never began", next.name),
            (false, more) => format!("`{}` and {more} more never began", next.name),
        })
    }
}

impl During for DuringStages<'_> {
    fn run(&self) -> LocalBoxFuture<'_, Result<(), StageError>> {
        async move {
            self.stages().await.map_err(|cause| {
                self.failure.replace(Some(cause));
                StageError::new(ErrorKind::Cancelled, "a stage of `during` failed").told()
            })
        }
        .boxed_local()
    }

    fn is_over(&self) -> bool {
        self.done.get() == self.stages.len()
    }

    fn began(&self, stage: &str) -> Option<Instant> {
        let began = self.began.borrow();
        let found = began.iter().find(|(began, _)| began.is_named(stage));
        found.map(|(_, at)| *at)
    }

    fn bind(&self, layer: &mut Scope<'_>) {
        layer.absorb(self.saved.borrow().iter().cloned());
    }
}
