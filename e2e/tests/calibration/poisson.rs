//! Poisson arrivals are as random as they should be: as planned, and as a server sees them.

use anyhow::{Context as _, Result};
use testmesh_e2e::{
    Cli, Expected,
    calibration::{Answers, exponential, goodness_of_fit, quantile, serial_correlation},
};

use crate::{plan, rate::schedule};

/// What the least probable of the seeds below must reach. They are fixed, so this is decided once.
const LIKELY: f64 = 0.005;
/// What no wrong distribution reaches.
const IMPOSSIBLE: f64 = 1e-6;

fn gaps(at: &[f64]) -> Vec<f64> {
    at.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[tokio::test]
async fn planned_gaps_are_exponential_and_independent() -> Result<()> {
    for seed in ["1", "2", "3", "4", "5"] {
        let at = schedule("poisson.yaml", &["--seed", seed]).await?;
        let shared = schedule("poisson.yaml", &["--seed", seed, "--agents", "5"]).await?;
        assert_eq!(at, shared, "five agents have the arrivals of one");
        let gaps = gaps(&at);
        let fit = goodness_of_fit(&gaps, exponential(200.0));
        assert!(fit > LIKELY, "seed {seed}: {fit}");
        // Given how many they are, arrivals of a Poisson process are anywhere with the same chance.
        let fit = goodness_of_fit(&at, |at| at / 100.0);
        assert!(fit > LIKELY, "seed {seed}: {fit}");
        let correlation = serial_correlation(&gaps);
        assert!(correlation.abs() < 3.0, "seed {seed}: {correlation}");
    }
    Ok(())
}

/// What the tests above would say of other arrivals.
#[tokio::test]
async fn other_arrivals_do_not_pass_for_poisson() -> Result<()> {
    let even = schedule("poisson.yaml", &["--seed", "1", "--var", "spread=constant"]).await?;
    let fit = goodness_of_fit(&gaps(&even), exponential(200.0));
    assert!(fit < IMPOSSIBLE, "evenly spread: {fit}");
    let faster = schedule("poisson.yaml", &["--seed", "1", "--var", "rate=212"]).await?;
    let fit = goodness_of_fit(&gaps(&faster), exponential(200.0));
    assert!(fit < IMPOSSIBLE, "6 % too fast: {fit}");
    Ok(())
}

#[tokio::test]
async fn alone_a_server_sees_them_as_they_were_planned() -> Result<()> {
    let server = Answers::start()?;
    let args = |cli: Cli| {
        cli.var("rate", "40")
            .var("for", "10s")
            .arg("--seed")
            .arg("5")
    };
    let run = args(Cli::run(&plan("poisson.yaml")).var("server", &server.url()));
    Expected::passed().check(&run.finish().await?);
    let log = server.log("/chance");
    let came: Vec<_> = log.iter().map(|one| one.came).collect();
    let planned = ["--seed", "5", "--var", "rate=40", "--var", "for=10s"];
    let planned = schedule("poisson.yaml", &planned).await?;
    assert_eq!(came.len(), planned.len());
    // Each by its number, against its own planned time; when the first was due the server does not know, but half of them
    // are as late as each other.
    let mut late = Vec::new();
    for one in &log {
        let index = one.path.rsplit('/').next().context("a path has parts")?;
        let at = planned.get(index.parse::<usize>()?);
        let since = one.came.saturating_duration_since(came[0]);
        late.push(since.as_secs_f64() - at.context("it was planned")?);
    }
    late.sort_unstable_by(f64::total_cmp);
    let spread = quantile(&late, 0.75) - quantile(&late, 0.25);
    assert!(
        spread < 0.01,
        "half of them are within {spread} s of their planned times"
    );
    let gaps: Vec<f64> = came
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).as_secs_f64())
        .collect();
    let fit = goodness_of_fit(&gaps, exponential(40.0));
    assert!(fit > LIKELY, "{fit}");
    Ok(())
}
