//! Where another server is. Such an address may hold a password, so it never shows more than its hosts.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// A connection string, such as `mongodb://user:secret@host/` or `amqp://guest:guest@host`.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerUri(String);

impl ServerUri {
    /// The whole text, for the client that connects to it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// Scheme and hosts: no user, no password, no options.
    fn shown(&self) -> String {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("?", ""));
        // A password may hold anything but `@`, which ends it; options may hold keys.
        let rest = rest.rsplit_once('@').map_or(rest, |(_, hosts)| hosts);
        let hosts = rest.split(['/', '?']).next().unwrap_or_default();
        format!("{scheme}://{hosts}")
    }
}

impl FromStr for ServerUri {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.trim().to_owned()))
    }
}

impl fmt::Display for ServerUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

impl fmt::Debug for ServerUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_never_shown() {
        for (text, shown) in [
            (
                "mongodb://u:secret@a:1,b:2/db?x=secret",
                "mongodb://a:1,b:2",
            ),
            (
                "amqp://guest:secret@127.0.0.1:5672/%2f",
                "amqp://127.0.0.1:5672",
            ),
            ("amqp://u:p@secret@host?x=secret", "amqp://host"),
            ("secret", "?://"),
        ] {
            let uri: ServerUri = text.parse().unwrap();
            assert_eq!(uri.to_string(), shown);
            assert!(!format!("{uri:?}").contains("secret"));
            assert_eq!(uri.expose(), text);
        }
    }
}
