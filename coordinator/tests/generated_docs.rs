//! The documents that are made from tables in the code: they must be what the code says.
//!
//! `TESTMESH_REGENERATE=1` writes them anew instead of comparing.
use std::path::Path;

#[track_caller]
fn check(file: &str, expect: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(file);
    if std::env::var_os("TESTMESH_REGENERATE").is_some() {
        let written = std::fs::write(&path, expect);
        assert!(
            written.is_ok(),
            "docs/{file} cannot be written: {written:?}"
        );
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let line = found
        .lines()
        .zip(expect.lines())
        .take_while(|(found, expect)| found == expect)
        .count()
        + 1;
    assert!(
        found == expect,
        "docs/{file} differs from the code in line {line}; `cargo xtask gen` writes it anew"
    );
}

#[test]
fn the_command_line() {
    check("cli.md", &testmesh_coordinator::cli::reference());
}

#[test]
fn the_plan_reference() {
    check(
        "plan-reference.md",
        &testmesh_shared::plan::reference(testmesh_agent::driver::DRIVERS),
    );
}

#[test]
fn the_metrics() {
    check("metrics.md", &testmesh_shared::metric::table::reference());
}
