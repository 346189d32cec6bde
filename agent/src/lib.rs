//! The agent: runs a segment of a plan close to the server under test, and reports what it measured.
//!
//! [`Agent`] is the whole of it as a component, for `testmesh-agent` and for `testmesh run` in its own process. Inside, the
//! [`link`] keeps one stream to the coordinator; the [`runner`] turns an assignment into sessions on worker threads, each a
//! single-threaded runtime with its own [`recorder`]; a load model of [`testmesh_shared::load`] says when sessions start, [`driver`]s do what their stages
//! say, [`integrity`] checks the data; the reporter ships what was measured, through the [`spool`].

pub mod app;
pub mod config;
pub mod driver;
pub mod fault;
pub mod integrity;
pub mod limits;
pub mod link;
pub mod recorder;
mod reporter;
pub mod runner;
pub mod spool;
pub mod telemetry;

pub use app::{Agent, AgentError};
pub use config::{Config, ConfigError};
pub use runner::Transcript;
