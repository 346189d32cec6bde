//! A server that stalls one second in ten shows it in `session_response`, as computed.

use std::time::Duration;

use anyhow::{Context as _, Result};
use testmesh_e2e::{
    Cli, Expected,
    calibration::{Answered, Answers, Freeze, loop_lateness, quantile, reading},
};

use crate::plan;

/// How far the measured value may be from the computed one.
const BOUND: f64 = 0.02;
/// How late a server is that is not held up by anything.
const QUIET: f64 = 0.002;

const FREEZE: Freeze = Freeze {
    every: Duration::from_secs(10),
    first: Duration::from_secs(4),
    lasts: Duration::from_secs(1),
    catch_up: 0.4,
};

#[tokio::test]
async fn alone_a_second_in_ten_is_seen_as_computed() -> Result<()> {
    let server = Answers::freezing(FREEZE)?;
    let run = Cli::run(&plan("stall.yaml")).var("server", &server.url());
    let outcome = run.finish().await?;
    Expected::passed()
        .with("/sessions/planned", 20_000.0, 20_000.0)
        .with("/sessions/passed", 20_000.0, 20_000.0)
        .check(&outcome);

    let log = server.log("/freezing");
    let asked = asked(&log)?;
    let waits = sorted(asked.iter().map(|one| one.waited));
    let response = reading(&outcome, "session_response", &[("scenario", "even")]);
    // A session passes the agent's loop when it asks, and when its answer is there.
    let widened = 2.0 * loop_lateness(&outcome);
    let check = |what: &str, measured: f64, computed: f64| {
        let bound = computed * BOUND + widened;
        assert!(
            (measured - computed).abs() <= bound,
            "{what} is {measured}, computed {computed}, widened by {widened}: {response:?}"
        );
    };
    // By its script the server lets each request wait for so long, from when it was there; what it came late is added.
    let scripted = sorted(asked.iter().map(|one| {
        let since = Duration::from_secs_f64(one.came.max(0.0));
        FREEZE.wait(since).as_secs_f64() + one.late
    }));
    let was_held_up = lateness(&log) > QUIET;
    let came_late = quantile(&sorted(asked.iter().map(|one| one.late)), 0.95) > QUIET;
    let columns = [("p95", 0.95), ("p99", 0.99), ("p999", 0.999)];
    for (column, share) in &columns[..2] {
        check(column, response.get(column), quantile(&waits, *share));
    }
    // A server that was held up itself was not what the script says.
    if !was_held_up {
        for (column, share) in columns {
            check(column, response.get(column), quantile(&scripted, share));
        }
    }
    // And what is computed on paper holds for requests that are evenly spread.
    if !was_held_up && !came_late {
        for (column, share) in columns {
            check(column, response.get(column), FREEZE.quantile(share));
        }
    }
    let count = f64::from(u32::try_from(waits.len())?);
    check(
        "mean",
        response.get("mean"),
        waits.iter().sum::<f64>() / count,
    );
    if !was_held_up && !came_late {
        // Everything takes what nothing waits for, too.
        check(
            "mean",
            response.get("mean"),
            FREEZE.mean() + response.get("p50"),
        );
    }
    assert!(
        response.get("p50") < 0.02,
        "half of all never waited: {response:?}"
    );
    Ok(())
}

/// One request as the server saw it, in seconds: no clock of testmesh's is in it.
struct Asked {
    /// When it was there, since the first one.
    came: f64,
    /// How much later than planned that was.
    late: f64,
    /// From its planned start until the server had answered.
    waited: f64,
}

fn asked(log: &[Answered]) -> Result<Vec<Asked>> {
    let mut requests = Vec::new();
    for one in log {
        let index = one.path.rsplit('/').next().context("a path has parts")?;
        let planned = Duration::from_millis(index.parse()?);
        let went = one.went.context("every request was answered")?;
        requests.push((one.came - log[0].came, went - log[0].came, planned));
    }
    // The one that came soonest after its planned start tells when the first was planned, which may be before it came.
    let ahead = |(came, _, planned): &(Duration, Duration, Duration)| {
        came.as_secs_f64() - planned.as_secs_f64()
    };
    let start = requests.iter().map(ahead).fold(f64::INFINITY, f64::min);
    let seen = |(came, went, planned): &(Duration, Duration, Duration)| Asked {
        came: came.as_secs_f64(),
        late: came.as_secs_f64() - planned.as_secs_f64() - start,
        waited: went.as_secs_f64() - planned.as_secs_f64() - start,
    };
    Ok(requests.iter().map(seen).collect())
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}

/// How late the server gave 95 of 100 answers that had to wait.
fn lateness(log: &[Answered]) -> f64 {
    let waited = log.iter().filter(|one| one.due > one.came);
    let late = waited.filter_map(|one| Some((one.went? - one.due).as_secs_f64()));
    quantile(&sorted(late), 0.95)
}
