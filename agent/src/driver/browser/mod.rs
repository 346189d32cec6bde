//! The driver `browser`: pages of a real Chromium, acted on with real mouse and key events, and timed by their own clock.
//!
//! Outside in: `run` does a stage's actions one after another (`actions`) on the session's `page`; pages are granted by
//! `pool`, which all workers of an agent share. Its browser is a process (`process`) behind one websocket (`cdp`), looked
//! after by a thread of its own (`host`), which also hears what happens in pages (`watched`). `page.js` runs in them.

mod actions;
mod cdp;
mod failure;
mod form;
mod host;
mod keyboard;
mod keys;
mod page;
mod pool;
mod process;
mod ready;
mod run;
mod screenshot;
mod watched;

pub(super) use form::FORM;
