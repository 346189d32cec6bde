//! Holds this checkout to the rules of the house.

use xtask::tidy;
use xtask::workspace::Workspace;

#[test]
fn the_checkout_keeps_the_rules_of_the_house() {
    let workspace = Workspace::find().unwrap();
    let complaints = tidy::check(workspace.root()).unwrap();
    let lines: Vec<_> = complaints.iter().map(ToString::to_string).collect();
    assert!(
        lines.is_empty(),
        "{} complaints:\n{}",
        lines.len(),
        lines.join("\n")
    );
}
