//! Tests of the plan format, from text to a plan or its problems.
//!
//! Drivers live in the agent; here stand two that are as small as a driver can be.

mod accept;
mod defects;
mod during;
pub(crate) mod fake;
mod faults;
mod feeds;
mod laws;
mod refuse;
mod refuse_integrity;
mod refuse_stages;
mod refuse_texts;
mod render;
