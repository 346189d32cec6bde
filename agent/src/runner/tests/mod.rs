//! Sessions and scenario loops under paused time, with a driver that does what its stage says.

mod calibration;
mod fake;
mod loops;
mod sessions;
