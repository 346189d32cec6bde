//! A proxy as a process of its own: the same program, asked for by its first argument, orders on stdin, answers on stdout.
use super::serve::serve;
use std::ffi::OsStr;
use std::io::Write as _;
use testmesh_shared::exit_code::ExitCode;

/// The argument that makes a proxy of a program.
pub const SUBCOMMAND: &str = "proxy";

/// Whether the arguments of a program ask for a proxy.
pub fn asked_for<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> bool {
    let mut arguments = arguments.into_iter();
    arguments
        .nth(1)
        .is_some_and(|first| first.as_ref() == SUBCOMMAND)
}

/// Serves a proxy on stdin and stdout until it is over. For the `main` of a program that starts agents.
pub fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let result = runtime.and_then(|runtime| {
        let served = runtime.block_on(serve(tokio::io::stdin(), tokio::io::stdout()));
        // Whoever waits on stdin must not hold the process.
        runtime.shutdown_background();
        served
    });
    match result {
        Ok(()) => ExitCode::Passed,
        Err(error) => {
            let hint = "agents start it by themselves; it is of no use otherwise";
            let _ = writeln!(
                std::io::stderr().lock(),
                "error: the proxy ended: {error}\nhint: {hint}"
            );
            ExitCode::Unexpected
        }
    }
}
