//! Plans on real parts: a MongoDB, a RabbitMQ and a browser, each test with a database and a virtual host of its own.

mod form;
mod parts;
mod table;

pub use form::{FORMS, Form, Need};
pub use parts::{Parts, named, named_program};
pub use table::{PAIRS, Pair};
