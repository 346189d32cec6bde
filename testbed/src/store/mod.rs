//! MongoDB: recordings as a real server has them, a document per configured job, and the loader that fills it.

mod client;
mod disorder;
mod load;
mod lookup;
mod schema;
mod tasks;
mod tend;

pub(crate) use client::{Store, StoreConfig, StoreError};
pub use load::{Before, Load, Loaded, Progress, load};
pub(crate) use tasks::{TaskId, TaskWrites, write};
pub(crate) use tend::tend;
