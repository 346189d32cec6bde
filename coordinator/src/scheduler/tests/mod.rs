//! Scripted tests of the scheduler: `scripts/*.txt` are read like code, and reviewed like code.
mod laws;
mod script;
