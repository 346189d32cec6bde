//! The drivers of this build. Adding one is one new file or folder beside this one, and one line here.

use testmesh_shared::plan::DriverForm;

#[cfg(feature = "amqp")]
use super::amqp;
#[cfg(feature = "browser")]
use super::browser;
#[cfg(feature = "kubernetes")]
use super::kubernetes;
#[cfg(feature = "mongodb")]
use super::mongodb;
use super::{connect, grpc, http, wait};

/// Every driver that stages may name, in the order of the reference. Those that this build lacks are known to the plan's reader
/// by name only.
pub static DRIVERS: &[&DriverForm] = &[
    &http::FORM,
    &grpc::FORM,
    &connect::FORM,
    &wait::FORM,
    #[cfg(feature = "mongodb")]
    &mongodb::FORM,
    #[cfg(feature = "amqp")]
    &amqp::FORM,
    #[cfg(feature = "kubernetes")]
    &kubernetes::FORM,
    #[cfg(feature = "browser")]
    &browser::FORM,
];
