//! The coordinator over real sockets: what it says to those who speak its protocol badly, and that nobody else notices.
#[cfg(test)]
mod badly;
#[cfg(test)]
mod kit;
