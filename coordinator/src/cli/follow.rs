//! Follows one run to its end: shows what happens, passes Ctrl-C on, and says how it ended.
use super::client::Client;
use super::error::CliError;
use super::output::Output;
use super::progress::View;
use crate::report::terminal::clean;
use std::time::Duration;
use testmesh_proto::v1::run_event::Kind;
use testmesh_proto::v1::{RunEnded, RunEvent, Severity};
use testmesh_shared::shutdown::Shutdown;
use tonic::{Status, Streaming};

/// Times that a broken watch is taken up again where it ended.
const RESUMES: u32 = 5;
/// Between two of them.
const RESUME_AFTER: Duration = Duration::from_secs(1);
/// Beyond the run's own bound: time for the coordinator to judge it and to render its report.
const REPORT_GRACE: Duration = Duration::from_secs(30);

/// What Ctrl-C does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnSignal {
    /// The first drains the run, the second aborts it, and the third leaves it alone.
    StopRun {
        /// From the abort until the run is sealed, whatever its agents do.
        within: Duration,
    },
    /// The watching ends, the run does not.
    Leave,
}

/// What one turn of the loop is about.
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time lives, on the stack of one loop"
)]
enum Turn {
    Event(Result<Option<RunEvent>, Status>),
    FirstSignal,
    SecondSignal,
    ThirdSignal,
    GaveUp,
}

/// How often the user has asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Never,
    Once,
    Twice,
}

/// Follows `run` until it has ended.
///
/// # Errors
/// [`CliError::LostCoordinator`] if the coordinator stays away; [`CliError::Stopped`] if the user left, or if an aborted run
/// does not end within its own bound.
pub(super) async fn follow(
    client: &mut Client,
    run: &str,
    view: &mut View<'_>,
    shutdown: &Shutdown,
    on_signal: OnSignal,
) -> Result<RunEnded, CliError> {
    let mut events = client.watch(run, 0).await?;
    let mut last = 0;
    let mut resumes = 0;
    let mut asked = Asked::Never;
    let give_up = tokio::time::sleep(Duration::ZERO);
    tokio::pin!(give_up);
    let third = another_signal();
    tokio::pin!(third);
    loop {
        let turn = tokio::select! {
            event = events.message() => Turn::Event(event),
            () = shutdown.draining(), if asked == Asked::Never => Turn::FirstSignal,
            () = shutdown.aborting(), if asked == Asked::Once => Turn::SecondSignal,
            () = &mut third, if asked == Asked::Twice => Turn::ThirdSignal,
            () = &mut give_up, if asked == Asked::Twice => Turn::GaveUp,
        };
        match turn {
            Turn::Event(Ok(Some(event))) => {
                last = event.number.max(last);
                resumes = 0;
                if let Some(ended) = show(view, event) {
                    view.clear();
                    return Ok(ended);
                }
            }
            Turn::Event(broken) => {
                events = resume(client, run, last, &mut resumes, broken, view).await?
            }
            Turn::FirstSignal if on_signal == OnSignal::Leave => return Err(CliError::Stopped),
            Turn::FirstSignal => {
                asked = Asked::Once;
                view.say("stopping: sessions in flight are finished first; Ctrl-C again aborts");
                client.stop(run, false).await?;
            }
            Turn::SecondSignal => {
                asked = Asked::Twice;
                let OnSignal::StopRun { within } = on_signal else {
                    return Err(CliError::Stopped);
                };
                let within = within + REPORT_GRACE;
                give_up.as_mut().reset(tokio::time::Instant::now() + within);
                view.say(&format!(
                    "aborting: cleanup still runs, and the report may take up to {} s; Ctrl-C again leaves at once",
                    within.as_secs()
                ));
                client.stop(run, true).await?;
            }
            Turn::ThirdSignal | Turn::GaveUp => return Err(CliError::Stopped),
        }
    }
}

/// The next Ctrl-C, or whatever else ends processes, from now on: those before were told by the shutdown.
async fn another_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    // Without a handler there is nothing to wait for.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Takes the watch up again behind the last event that was seen.
async fn resume(
    client: &mut Client,
    run: &str,
    last: u64,
    resumes: &mut u32,
    broken: Result<Option<RunEvent>, Status>,
    view: &View<'_>,
) -> Result<Streaming<RunEvent>, CliError> {
    let mut message = match broken {
        Err(status) => status.message().to_owned(),
        Ok(_) => "the coordinator ended the watch before the run's end".to_owned(),
    };
    while *resumes < RESUMES {
        *resumes += 1;
        view.say(&format!(
            "lost the coordinator ({}); trying again",
            clean(&message)
        ));
        tokio::time::sleep(RESUME_AFTER).await;
        match client.watch(run, last).await {
            Ok(events) => return Ok(events),
            Err(error) => message = error.to_string(),
        }
    }
    Err(CliError::LostCoordinator {
        run: run.to_owned(),
        message,
    })
}

/// Shows one event; returns how the run ended, if this is its end.
fn show(view: &mut View<'_>, event: RunEvent) -> Option<RunEnded> {
    match event.kind? {
        Kind::State(state) => view.state(&state.state, &state.reason),
        Kind::Progress(progress) => view.progress(&progress),
        Kind::Finding(finding) if finding.severity() != Severity::Info => {
            view.say(&format!(
                "finding {}: {}",
                clean(&finding.code),
                clean(&finding.message)
            ));
        }
        Kind::Finding(_) => {}
        Kind::Agent(agent) => {
            if matches!(agent.status.as_str(), "suspect" | "lost") {
                view.say(&format!(
                    "agent {} at {} is {}",
                    clean(&agent.agent),
                    clean(&agent.site),
                    clean(&agent.status)
                ));
            }
        }
        Kind::Ended(ended) => return Some(ended),
    }
    None
}

/// Follows a run whose report is not wanted, and prints its verdict line.
pub(super) async fn follow_to_verdict(
    client: &mut Client,
    run: &str,
    plan: &str,
    output: &Output,
    shutdown: &Shutdown,
) -> Result<RunEnded, CliError> {
    let mut view = View::new(output, plan, output.live());
    let ended = follow(client, run, &mut view, shutdown, OnSignal::Leave).await?;
    drop(view);
    output.text(&verdict_line(&ended))?;
    Ok(ended)
}

/// How a run ended, for whoever has no report of it.
pub(super) fn verdict_line(ended: &RunEnded) -> String {
    let reasons: Vec<_> = ended.reasons.iter().map(|reason| clean(reason)).collect();
    let line = format!("{} (exit code {})", clean(&ended.verdict), ended.exit_code);
    if reasons.is_empty() {
        return line;
    }
    format!("{line}: {}", reasons.join("; "))
}
