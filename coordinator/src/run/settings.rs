//! What a report says of how it was measured: settings that change what its numbers mean.
use super::result::Facts;
use crate::verdict::Process;
use serde_json::json;
use std::collections::BTreeMap;
use testmesh_agent::limits::LINK_KEEP_ALIVE;

/// The agents' HTTP/2 windows towards targets, in bytes, unless a stage's `windows` says otherwise: `STREAM_WINDOW` and
/// `CONNECTION_WINDOW` of the agent's drivers, which a test here reads.
const WINDOWS: (u32, u32) = (2 * 1024 * 1024, 5 * 1024 * 1024);

/// Every setting by its name in `report.json`.
pub(super) fn settings(facts: &Facts, resolution: u32) -> BTreeMap<String, serde_json::Value> {
    let process = match facts.process {
        Process::Shared => "shared",
        Process::Apart => "apart",
    };
    let (stream, connection) = WINDOWS;
    // Targets are sent no pings: a quiet stream is as quiet as its server makes it.
    let keep_alive = json!({ "targets": null, "mesh": LINK_KEEP_ALIVE.as_secs_f64() });
    BTreeMap::from([
        ("agents".to_owned(), facts.agents.len().into()),
        (
            "http2_windows".to_owned(),
            json!({ "stream": stream, "connection": connection }),
        ),
        ("keep_alive".to_owned(), keep_alive),
        ("process".to_owned(), process.into()),
        ("runtimes".to_owned(), facts.runtimes.clone().into()),
        ("window_resolution_s".to_owned(), resolution.into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The constants are the drivers' own; what is reported of them must not grow old.
    #[test]
    fn windows_and_pings_are_those_of_the_agents_drivers() {
        let drivers = concat!(env!("CARGO_MANIFEST_DIR"), "/../agent/src/driver");
        let read = |file: &str| std::fs::read_to_string(format!("{drivers}/{file}")).unwrap();
        let limits = read("limits.rs");
        let (stream, connection) = WINDOWS;
        for (name, bytes) in [("STREAM_WINDOW", stream), ("CONNECTION_WINDOW", connection)] {
            let line = format!("const {name}: u32 = {} * 1024 * 1024;", bytes / 1024 / 1024);
            assert!(limits.contains(&line), "{line}");
        }
        let connections = read("grpc/connection.rs");
        assert!(!connections.contains("ping_pong") && !connections.contains("keep_alive"));
    }
}
