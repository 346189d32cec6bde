//! A MongoDB server: a real `mongod` where there is one, else a compatible server from a Python package.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::run::{Service, Started};
use super::running::{Running, answer, free_port};
use crate::process::on_path;
use crate::tools;
use crate::workspace::Workspace;

pub(super) static MONGODB: Service = Service {
    name: "MongoDB",
    program: "TESTMESH_MONGODB_SERVER",
    addresses: &["TESTMESH_MONGODB_URI"],
    find,
    start,
};

/// It is a child process of tests, and never linked: it is GPL.
const COMPATIBLE: &str = "SecantusDB==0.7.0b3";

fn find(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(mongod) = on_path("mongod") {
        return Ok(mongod);
    }
    let directory = workspace.servers().join("mongodb");
    tools::python(&directory, &[COMPATIBLE])?;
    let program = directory.join("bin/secantusd-py");
    anyhow::ensure!(
        program.is_file(),
        "the package {COMPATIBLE} has no server for this machine"
    );
    Ok(program)
}

fn start(program: &Path, data: &Path) -> Result<Started> {
    let port = free_port()?;
    let mut command = Command::new(program);
    command.args(["--port", &port.to_string()]);
    if program.ends_with("mongod") {
        let files = data.join("data");
        std::fs::create_dir_all(&files)?;
        command
            .args(["--bind_ip", "127.0.0.1", "--dbpath"])
            .arg(files);
    } else {
        command.args(["--storage-path", ":memory:"]);
    }
    let mut running = Running::start(MONGODB.name, &command, &data.join("server.log"))?;
    running.wait_until(|| answer(port, &hello()).is_some())?;
    Ok(Started {
        processes: vec![running],
        addresses: vec![format!("mongodb://127.0.0.1:{port}")],
    })
}

/// `{ hello: 1, $db: "admin" }` as an `OP_MSG`.
fn hello() -> Vec<u8> {
    let document = [
        b"\x10hello\0\x01\0\0\0".as_slice(),
        b"\x02$db\0\x06\0\0\0admin\0",
        b"\0",
    ]
    .concat();
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
    let body = [&length(document.len() + 4), document.as_slice()].concat();
    let rest = [
        [1, 0, 0, 0].as_slice(),
        &[0; 4],
        &2013_u32.to_le_bytes(),
        &[0; 4],
        // One section, of the kind that is a document.
        &[0],
        &body,
    ]
    .concat();
    [&length(rest.len() + 4), rest.as_slice()].concat()
}
