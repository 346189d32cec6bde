//! `testmesh agents list`.
use super::args::{Agents, Listing};
use super::client::Client;
use super::error::CliError;
use super::output::Output;
use crate::report::format;
use crate::report::table::{Align, Table};
use crate::report::terminal::clean;
use serde_json::json;
use testmesh_proto::v1::AgentSummary;
use testmesh_shared::exit_code::ExitCode;

/// Runs the command.
pub(super) async fn execute(command: Agents, output: &Output) -> Result<ExitCode, CliError> {
    let Agents::List {
        mesh,
        output: listing,
    } = command
    else {
        return Err(CliError::NotYet("agents drain"));
    };
    let mut agents = Client::connect(&mesh.coordinator)
        .await?
        .list_agents()
        .await?
        .agents;
    agents.sort_by(|a, b| (&a.site, &a.agent).cmp(&(&b.site, &b.agent)));
    match listing {
        Listing::Json => {
            output.json(&json!({ "agents": agents.iter().map(as_json).collect::<Vec<_>>() }))?
        }
        Listing::Terminal if agents.is_empty() => {
            output.talk("no agents; `testmesh-agent --coordinator URL --site NAME` starts one");
        }
        Listing::Terminal => output.text(&table(&agents))?,
    }
    Ok(ExitCode::Passed)
}

fn nanoseconds(value: i64) -> f64 {
    let size = format::as_f64(value.unsigned_abs()) / 1e9;
    if value < 0 { -size } else { size }
}

fn table(agents: &[AgentSummary]) -> String {
    let mut table = Table::new(&[
        ("agent", Align::Left),
        ("site", Align::Left),
        ("status", Align::Left),
        ("version", Align::Left),
    ]);
    for name in ["runs", "CPU", "memory", "clock offset"] {
        table.column(name, Align::Right);
    }
    for agent in agents {
        table.row(vec![
            format::shorten(&clean(&agent.agent), 40),
            format::shorten(&clean(&agent.site), 24),
            clean(&agent.status),
            clean(&agent.version),
            format::count(agent.runs.len() as u64),
            format::percent(agent.cpu),
            format::bytes(format::as_f64(agent.memory)),
            format::clock(
                clock(agent).map(|known| known.0),
                clock(agent).map(|known| known.1),
            ),
        ]);
    }
    table.render(0)
}

/// Offset and uncertainty of an agent's clock in seconds, unless it does not know them.
fn clock(agent: &AgentSummary) -> Option<(f64, f64)> {
    const HOPELESS: f64 = 3_600.0;
    let uncertainty = format::as_f64(agent.clock_uncertainty_ns) / 1e9;
    (uncertainty < HOPELESS).then(|| (nanoseconds(agent.clock_offset_ns), uncertainty))
}

fn as_json(agent: &AgentSummary) -> serde_json::Value {
    let labels: std::collections::BTreeMap<_, _> = agent.labels.iter().collect();
    json!({
        "id": agent.agent,
        "site": agent.site,
        "labels": labels,
        "version": agent.version,
        "status": agent.status,
        "runs": agent.runs,
        "cpu": agent.cpu,
        "memory": agent.memory,
        "clock_offset": clock(agent).map(|known| known.0),
        "clock_uncertainty": clock(agent).map(|known| known.1),
        "connected": nanoseconds(agent.connected_ns),
    })
}
