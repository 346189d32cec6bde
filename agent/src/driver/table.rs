//! The drivers of this build. Adding one is one new file or folder beside this one, and one line here.

use testmesh_shared::plan::DriverForm;

use super::{connect, grpc, http, wait};

/// Every driver that stages may name, in the order of the reference. Those that this build lacks are known to the plan's reader
/// by name only.
pub static DRIVERS: &[&DriverForm] = &[
    &http::FORM,
    &grpc::FORM,
    &connect::FORM,
    &wait::FORM,
    #[cfg(feature = "mongodb")]
    &super::mongodb::FORM,
    #[cfg(feature = "amqp")]
    &super::amqp::FORM,
    #[cfg(feature = "kubernetes")]
    &super::kubernetes::FORM,
    #[cfg(feature = "browser")]
    &super::browser::FORM,
];
