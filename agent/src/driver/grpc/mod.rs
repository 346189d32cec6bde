//! The driver `grpc`: unary calls and server streams of any service, known from its `.proto` files, a descriptor set, or
//! the server's own reflection.

mod connection;
mod form;
mod frames;
mod message;
mod reflection;
mod run;
mod schema;
mod stage;
mod status;

pub(super) use form::FORM;
pub(crate) use form::Target;
