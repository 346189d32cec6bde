//! Every internal event of the coordinator that a log or a trace should show, in one place.
use crate::run::Submission;
use crate::verdict::VerdictKind;
use testmesh_proto::v1;

/// The span of a run: a child of whoever submitted it, and the parent of everything its agents do.
pub fn run_span(submission: &Submission) -> tracing::Span {
    let span = tracing::info_span!(
        "run",
        run.id = %submission.id,
        plan = submission.plan.name,
        seed = submission.seed,
        verdict = tracing::field::Empty,
    );
    if let Some(parent) = &submission.parent {
        parent.adopt(&span);
    }
    span
}

/// A batch is merged.
pub fn merged(batch: &v1::Batch) {
    tracing::trace!(
        run = batch.run,
        epoch = batch.epoch,
        seq = batch.seq,
        second = batch.second,
        trends = batch.trends.len(),
        rows = batch.rows.len(),
        "batch merged"
    );
}

/// A run has its verdict.
pub fn sealed(span: &tracing::Span, run: &str, verdict: VerdictKind, exit_code: i32) {
    span.record("verdict", verdict.as_str());
    tracing::info!(parent: span, run, verdict = verdict.as_str(), exit_code, "run sealed");
}

/// A link was refused or cut.
pub fn link_refused(agent: &str, reason: &str) {
    tracing::warn!(agent, reason, "link refused");
}

/// An agent sent measurements of a run that is sealed or unknown.
pub fn late_batch(agent: &str, run: &str) {
    tracing::warn!(
        agent,
        run,
        "measurements came after the run was sealed; they are not counted"
    );
}
