//! The driver `kubernetes`: reads objects of a cluster, and waits until they are as a plan wants them.

mod client;
mod form;
mod keys;
mod kinds;
mod logs;
mod objects;
mod request;
mod run;
mod wait;
mod watch;

pub(super) use form::FORM;
