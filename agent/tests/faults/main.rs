//! Proxies against a real server, each effect measured; and proxies as processes of their own.
mod child;
mod effects;
mod kit;
