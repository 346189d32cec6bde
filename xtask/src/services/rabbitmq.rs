//! RabbitMQ with its management API, as a node of its own that touches nothing of the machine's.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::run::{Service, Started};
use super::running::{Running, answer, free_port};
use crate::process::on_path;
use crate::tools;
use crate::workspace::Workspace;

pub(super) static RABBITMQ: Service = Service {
    name: "RabbitMQ",
    program: "TESTMESH_RABBITMQ_SERVER",
    addresses: &["TESTMESH_AMQP_URI", "TESTMESH_RABBITMQ_API"],
    find,
    start,
};

/// Not the one on `PATH`, which wants to be another user.
const DEBIAN: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

fn find(_: &Workspace) -> Result<PathBuf> {
    let debian = PathBuf::from(DEBIAN);
    if debian.is_file() {
        return Ok(debian);
    }
    if on_path("apt-get").is_none() {
        return on_path("rabbitmq-server").context("there is no `rabbitmq-server` on PATH");
    }
    tools::apt(&["rabbitmq-server"])?;
    anyhow::ensure!(
        debian.is_file(),
        "the package rabbitmq-server brought no `{DEBIAN}`"
    );
    Ok(debian)
}

fn start(program: &Path, data: &Path) -> Result<Started> {
    let [amqp, management, node, mapper] = [free_port()?, free_port()?, free_port()?, free_port()?];
    // Erlang's port mapper would be started by the node as a daemon, and stay behind.
    let mut epmd = Command::new("epmd");
    epmd.args(["-port", &mapper.to_string(), "-address", "127.0.0.1"]);
    let mut epmd = Running::start("epmd", &epmd, &data.join("epmd.log"))?;
    epmd.wait_until(|| answer(mapper, &[0, 1, b'n']).is_some())?;
    let mut server = Running::start(
        RABBITMQ.name,
        &command(program, data, [amqp, management, node, mapper])?,
        &data.join("server.log"),
    )?;
    server.wait_until(|| answer(amqp, b"AMQP\0\0\x09\x01").is_some())?;
    let login = "Authorization: Basic Z3Vlc3Q6Z3Vlc3Q=";
    let overview = format!("GET /api/overview HTTP/1.0\r\nHost: localhost\r\n{login}\r\n\r\n");
    server.wait_until(|| {
        let said = answer(management, overview.as_bytes()).unwrap_or_default();
        String::from_utf8_lossy(&said).contains(" 200 ")
    })?;
    Ok(Started {
        // The mapper goes last.
        processes: vec![server, epmd],
        addresses: vec![
            format!("amqp://guest:guest@127.0.0.1:{amqp}"),
            format!("http://guest:guest@127.0.0.1:{management}"),
        ],
    })
}

fn command(program: &Path, data: &Path, ports: [u16; 4]) -> Result<Command> {
    let [amqp, management, node, mapper] = ports;
    let write = |name: &str, text: &str| {
        let path = data.join(name);
        std::fs::write(&path, text)
            .with_context(|| format!("failed to write `{}`", path.display()))?;
        Ok::<_, anyhow::Error>(path)
    };
    let configuration = format!(
        "listeners.tcp.1 = 127.0.0.1:{amqp}\n\
         management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {management}\n\
         disk_free_limit.absolute = 50MB\nlog.console = true\n"
    );
    let configuration = write("rabbitmq.conf", &configuration)?;
    let plugins = write("enabled_plugins", "[rabbitmq_management].\n")?;
    let mut command = Command::new(program);
    command
        .env("HOME", data)
        .env("RABBITMQ_NODENAME", format!("testmesh-{node}@localhost"))
        .env("RABBITMQ_CONFIG_FILE", configuration)
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", plugins)
        .env("RABBITMQ_MNESIA_BASE", data.join("mnesia"))
        .env("RABBITMQ_LOG_BASE", data.join("log"))
        .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
        .env("RABBITMQ_DIST_PORT", node.to_string())
        .env("ERL_EPMD_PORT", mapper.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env(
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
            "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none",
        );
    Ok(command)
}
