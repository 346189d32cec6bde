//! The plans on real parts: a healthy testbed passes each, and misbehaviors are caught by their own sign.

use anyhow::Result;
use testmesh_e2e::Expected;
use testmesh_e2e::matrix::check_sign;
use testmesh_e2e::real::{Form, PAIRS};

async fn passes(plan: &str) -> Result<()> {
    if let Some(outcome) = Form::of(plan).run("").await? {
        Expected::passed().check(&outcome);
    }
    Ok(())
}

/// One test for each plan on a healthy testbed, and one for all misbehaviors that a plan is run with.
macro_rules! plans {
    ($($healthy:ident: $plan:literal,)*) => {
        const PLANS: &[&str] = &[$($plan),*];

        mod healthy {
            $(
                #[tokio::test]
                async fn $healthy() -> super::Result<()> {
                    super::passes($plan).await
                }
            )*
        }

        mod behaving_badly {
            $(
                #[tokio::test]
                async fn $healthy() -> super::Result<()> {
                    super::catches($plan).await
                }
            )*
        }
    };
}

plans! {
    data_flow: "data-flow",
    hostile_input: "hostile-input",
    infrastructure: "infrastructure",
    lifecycle: "lifecycle",
    mongo_outage: "mongo-outage",
    rabbitmq_outage: "rabbitmq-outage",
    roi_adjustment: "roi-adjustment",
    server_restart: "server-restart",
    ui_errors: "ui-errors",
    ui_historic: "ui-historic",
    ui_live: "ui-live",
}

#[expect(
    clippy::print_stderr,
    reason = "a test that fails must say with which of its pairs"
)]
async fn catches(plan: &str) -> Result<()> {
    for pair in PAIRS.iter().filter(|pair| pair.plan == plan) {
        eprintln!("{} × {plan}", pair.behavior);
        let Some(outcome) = Form::of(plan).run(pair.behavior).await? else {
            return Ok(());
        };
        check_sign(pair.sign, &outcome);
    }
    Ok(())
}

#[test]
fn every_form_has_its_tests() {
    let forms: Vec<_> = testmesh_e2e::real::FORMS
        .iter()
        .map(|form| form.plan)
        .collect();
    assert_eq!(PLANS, forms);
}
