//! The REST API, as deployed, and the admin API that a real server does not have.

mod admin;
mod archive;
mod body;
mod configure;
mod manifests;
mod pages;
mod reads;
mod refusal;
mod router;
mod rules;
mod schema;
mod task_flow;

pub(crate) use configure::view_of;
pub(crate) use manifests::Manifests;
pub(crate) use router::router;
pub(crate) use rules::fibre;
