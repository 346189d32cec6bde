//! A stand-in Focus Server: the REST API, one gRPC server per job, deterministic rows, and named misbehaviors.
//!
//! [`Testbed::start`] runs one on the caller's tokio runtime; several may run in one process. The binary `focus-server`
//! is the same behind a command line. What it imitates, and where it knowingly differs, is in `README.md`.
//!
//! ```text
//! http (REST) ── admits ──> jobs (slots, ports, lives) ── serves ──> grpc (one server per job)
//!     │                        └── commands <── broker (RabbitMQ, if there is one)
//!     └── view (what a job shows) ── fields ──> rows (what a row contains) <── history <── archive (by rule, or MongoDB)
//! ```

mod archive;
mod behavior;
mod broker;
mod clock;
mod flags;
mod generated;
mod grid;
mod grpc;
mod hash;
mod history;
mod http;
mod jobs;
mod limits;
mod link;
mod load_flags;
mod profile;
mod recordings;
mod rest;
mod rows;
mod serve;
mod server;
mod server_uri;
mod store;
mod task_flow;
mod testbed;
mod trace;
mod ui;
mod view;

pub use behavior::{Behavior, BehaviorError, Entry, Kind, Needs, Strength, TABLE, Takes};
pub use flags::Flags;
pub use generated::pandadatastream;
pub use load_flags::LoadFlags;
pub use profile::{Config, HistoricEnd, JobPorts, TaskFlow, Validation};
pub use recordings::{FIXED_END, FIXED_START};
pub use server_uri::ServerUri;
pub use store::{Before, Load, Loaded, Progress, load};
pub use testbed::Testbed;
