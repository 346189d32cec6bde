//! The agent against a coordinator that does what its test says: the whole protocol, over a real connection.

#![cfg(test)]

mod binary;
mod coordinator;
mod protocol;
