//! Drivers against real servers on loopback: well-behaved ones, and one for each way of misbehaving.

#[cfg(feature = "browser")]
mod browser;
#[cfg(feature = "browser")]
mod browser_failures;
#[cfg(feature = "browser")]
mod browser_site;
mod connect;
mod grpc;
mod harness;
mod http;
mod integrity;
mod plan;
mod reflection;
mod servers;
mod streams;
mod talk;
mod tls;
