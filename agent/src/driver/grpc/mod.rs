//! The driver `grpc`: unary calls and server streams of any service, known from its `.proto` files, a descriptor set, or
//! the server's own reflection.

mod connection;
mod frames;
mod reflection;
mod schema;
mod status;
