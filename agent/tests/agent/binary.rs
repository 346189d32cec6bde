//! The binary as a user meets it.

use std::process::{Command, Output};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_testmesh-agent"))
        .args(args)
        .env_remove("TESTMESH_COORDINATOR")
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn its_help_says_what_it_does() {
    let output = run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    insta::assert_snapshot!(String::from_utf8(output.stdout).unwrap());
}

#[test]
fn wrong_usage_is_exit_code_2() {
    let coordinator = ["--coordinator", "http://127.0.0.1:1"];
    for (args, says) in [
        (&[][..], "--coordinator"),
        (&["--coordinator", "nowhere"], "--coordinator"),
        (&[&coordinator[..], &["--label", "x"]].concat(), "KEY=VALUE"),
        (
            &[&coordinator[..], &["--allow-target", "x"]].concat(),
            "not yet supported",
        ),
        (
            &["--coordinator", "https://127.0.0.1:1"],
            "not yet supported",
        ),
        (
            &[&coordinator[..], &["--runtimes", "0"]].concat(),
            "--runtimes",
        ),
    ] {
        let output = run(args);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{args:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(says),
            "{args:?}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn a_coordinator_that_is_not_there_is_exit_code_102() {
    let output = run(&["--coordinator", "http://127.0.0.1:1", "--give-up", "1"]);
    assert_eq!(output.status.code(), Some(102), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("could not be reached"),
        "{}",
        stderr(&output)
    );
    assert!(stderr(&output).contains("hint: "), "{}", stderr(&output));
}
