//! The registry: which agents are there, since when, and which run has them.
mod actor;
pub mod lease;
mod member;

pub use actor::{
    MemberId, Registry, RegistryHandle, Reservation, ReserveError, Reserved, Roll, RollEntry,
};
pub use member::{
    AgentReport, Assignment, Hello, JoinError, Membership, Outbound, Outgoing, Vitals,
};
