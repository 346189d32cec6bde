//! Drivers against real servers on loopback: well-behaved ones, and one for each way of misbehaving.

#[cfg(feature = "amqp")]
mod amqp;
#[cfg(feature = "amqp")]
mod amqp_faults;
#[cfg(feature = "kubernetes")]
mod apiserver;
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
#[cfg(feature = "kubernetes")]
mod kubernetes;
#[cfg(feature = "mongodb")]
mod mongodb;
#[cfg(feature = "mongodb")]
mod mongodb_plan;
#[cfg(feature = "mongodb")]
mod mongodb_truth;
mod plan;
#[cfg(feature = "amqp")]
mod rabbitmq;
mod reflection;
mod servers;
mod streams;
mod talk;
mod tls;
