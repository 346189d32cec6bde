//! Commands to copy, shown by `--help` and in `docs/cli.md`. A test runs them all, in this order, from a folder with `plans/`.

/// `testmesh run`.
pub(super) const RUN: &str = "\
Examples:
  testmesh run plans/focus/live-view.yaml --testbed --var users=6 --var for=5s
  testmesh run plans/focus/mixed-load.yaml --testbed --scenario channels --var for=2s
  testmesh run plans/focus/historic-playback.yaml --testbed --once --verbose";

/// `testmesh check`.
pub(super) const CHECK: &str = "\
Examples:
  testmesh check plans/focus/live-view.yaml
  testmesh check plans/focus/spike.yaml --schedule --agents 3 --output json";

/// `testmesh schema`.
pub(super) const SCHEMA: &str = "\
Examples:
  testmesh schema > plan.schema.json";

/// `testmesh submit`.
pub(super) const SUBMIT: &str = "\
Examples:
  testmesh submit plans/focus/historic-playback.yaml --agents 2 --seed 7";

/// `testmesh serve`.
pub(super) const SERVE: &str = "\
Examples:
  testmesh serve --listen 127.0.0.1:7412";

/// `testmesh agents list`.
pub(super) const AGENTS_LIST: &str = "\
Examples:
  testmesh agents list
  testmesh agents list --output json";

/// `testmesh runs list`.
pub(super) const RUNS_LIST: &str = "\
Examples:
  testmesh runs list";

/// `testmesh runs show`.
pub(super) const RUNS_SHOW: &str = "\
Examples:
  testmesh runs show latest --output json";

/// `testmesh runs watch`.
pub(super) const RUNS_WATCH: &str = "\
Examples:
  testmesh runs watch latest";

/// `testmesh runs stop`.
pub(super) const RUNS_STOP: &str = "\
Examples:
  testmesh runs stop latest --abort";

/// `testmesh runs report`.
pub(super) const RUNS_REPORT: &str = "\
Examples:
  testmesh runs report latest --output junit --out report";

/// `testmesh faults revert`.
pub(super) const FAULTS_REVERT: &str = "\
Examples:
  testmesh faults revert latest";
