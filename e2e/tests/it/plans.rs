//! Every shipped plan is a plan: `testmesh check` has nothing to say against any of them.

use std::path::{Path, PathBuf};
use std::process::Command;

use testmesh_e2e::binary;

/// Plans below a directory of the workspace.
fn plans(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("the directory is there") {
        let path = entry.expect("its entries can be read").path();
        if path.is_dir() {
            found.extend(plans(&path));
        } else if path.extension().is_some_and(|ending| ending == "yaml") {
            found.push(path);
        }
    }
    found
}

#[test]
fn every_shipped_plan_checks_without_a_problem() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let shipped = [plans(&root.join("plans")), plans(&root.join("bench/plans"))].concat();
    assert!(
        shipped.len() >= 8,
        "only {} plans were found",
        shipped.len()
    );
    let mut wrong = Vec::new();
    for plan in &shipped {
        let output = Command::new(binary("testmesh"))
            .arg("check")
            .arg(plan)
            .output()
            .unwrap();
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            wrong.push(format!(
                "{}: {}\n{}",
                plan.display(),
                output.status,
                String::from_utf8_lossy(&said)
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
