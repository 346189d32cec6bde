//! The driver `grpc`: calls of any kind and of any service, known from its `.proto` files, a descriptor set, or the server's
//! own reflection.

mod beside;
mod connection;
mod form;
mod frames;
mod keys;
mod message;
mod reflection;
mod run;
mod schema;
mod send;
mod stage;
mod status;
mod stop;
mod told;
mod unary;
mod watching;

pub(super) use form::FORM;
pub(crate) use form::Target;
