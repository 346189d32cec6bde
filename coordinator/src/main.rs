//! The binary `testmesh`: installs the TLS provider, runs the command line, returns its exit code.
use std::panic::catch_unwind;
use std::process;
use testmesh_agent::fault::proxy;
use testmesh_coordinator::cli;
use testmesh_shared::exit_code::ExitCode;

fn main() -> process::ExitCode {
    // One TLS provider for everything that this process links; it fails only if there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    if proxy::asked_for(std::env::args_os()) {
        return proxy::main().into();
    }
    // The panic hook has said what happened; a panic is an unexpected error, and no other exit code may stand for it.
    catch_unwind(|| cli::main(std::env::args_os()))
        .unwrap_or(ExitCode::Unexpected)
        .into()
}
