//! Where the real binaries and the shipped plans are.

use std::path::{Path, PathBuf};

/// The path of one of the workspace's binaries, built in the same profile as the running test.
///
/// # Panics
///
/// If the binary is not there: `cargo xtask test` builds all of them before it runs the tests.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let folder = test
        .parent()
        .and_then(Path::parent)
        .expect("tests live in target/PROFILE/deps");
    let path = folder.join(name);
    assert!(
        path.exists(),
        "`{}` is not built: run `cargo xtask test`, or `cargo build --workspace --bins` once",
        path.display()
    );
    path
}

/// A file below `plans/`.
#[must_use]
pub fn plan(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace is above this crate")
        .join("plans")
        .join(path)
}
