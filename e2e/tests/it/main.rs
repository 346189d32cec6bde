//! End-to-end tests: the real binaries, real sockets, and the plans that the repository ships.
//!
//! Each test states an [`testmesh_e2e::Expected`] outcome; what differs is reported whole, with everything the run printed.

mod apart;
#[path = "../../../agent/tests/drivers/apiserver.rs"]
#[expect(
    dead_code,
    reason = "it is the driver's test server, of which little is needed here"
)]
mod apiserver;
mod bad_plans;
mod data_faults;
mod documented;
mod faults;
mod foreign_servers;
mod healthy;
mod matrix;
mod parts;
mod plans;
mod real;
mod signals;
mod traces;
