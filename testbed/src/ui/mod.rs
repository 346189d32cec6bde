//! The page that a user of the server sees, `/panda`, and the bridge that brings a job's rows to it.

mod assets;
mod bridge;
mod dial;
mod page_link;
mod routes;

pub(crate) use routes::routes;
