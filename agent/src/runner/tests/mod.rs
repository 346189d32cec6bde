//! Sessions and scenario loops under paused time, with a driver that does what its stage says.

mod calibration;
mod during;
mod fake;
mod flow;
mod loops;
mod sessions;
