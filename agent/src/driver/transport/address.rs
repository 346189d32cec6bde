//! Where to connect to: `host:port`, with or without a scheme, as servers and plans write it.

use std::fmt;

/// A host and a port, and whether the text said how to talk to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// Name or IP address, IPv6 without brackets.
    pub(crate) host: String,
    /// The TCP port.
    pub(crate) port: u16,
    /// `https://` (true), `http://` (false), or neither.
    pub(crate) tls: Option<bool>,
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    #[error("`{0}` has no port: write HOST:PORT")]
    NoPort(String),
    #[error("`{0}` is not an address: write HOST:PORT, http://HOST:PORT or https://HOST:PORT")]
    Malformed(String),
}

impl Address {
    /// Reads `HOST:PORT`, `http://HOST[:PORT]` or `https://HOST[:PORT]`; a path behind a scheme is ignored, because
    /// servers that answer with an address may append one.
    pub(crate) fn parse(text: &str) -> Result<Self, AddressError> {
        let malformed = || AddressError::Malformed(text.to_owned());
        let (tls, rest) = match text.split_once("://") {
            None => (None, text),
            Some(("http", rest)) => (Some(false), rest),
            Some(("https", rest)) => (Some(true), rest),
            Some(_) => return Err(malformed()),
        };
        let authority = match tls {
            Some(_) => rest.split(['/', '?', '#']).next().unwrap_or_default(),
            None => rest,
        };
        let parsed: http::uri::Authority = authority.parse().map_err(|_| malformed())?;
        let port = match (parsed.port_u16(), tls) {
            (Some(port), _) => port,
            (None, Some(true)) => 443,
            (None, Some(false)) => 80,
            (None, None) => return Err(AddressError::NoPort(text.to_owned())),
        };
        let host = parsed.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || authority.contains('@') {
            return Err(malformed());
        }
        Ok(Self {
            host: host.to_owned(),
            port,
            tls,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (String, Option<bool>) {
        let address = Address::parse(text).expect("an address");
        (address.to_string(), address.tls)
    }

    #[test]
    fn addresses_are_read_as_people_write_them() {
        assert_eq!(read("10.0.0.1:12300"), ("10.0.0.1:12300".into(), None));
        assert_eq!(
            read("http://10.0.0.1:12300"),
            ("10.0.0.1:12300".into(), Some(false))
        );
        assert_eq!(
            read("https://focus.example/"),
            ("focus.example:443".into(), Some(true))
        );
        assert_eq!(read("http://focus"), ("focus:80".into(), Some(false)));
        assert_eq!(read("[::1]:7"), ("[::1]:7".into(), None));
    }

    #[test]
    fn what_is_no_address_says_what_one_looks_like() {
        assert_eq!(
            Address::parse("focus"),
            Err(AddressError::NoPort("focus".into()))
        );
        for text in ["", ":80", "ftp://a:1", "a:b", "a b:1", "u@a:1", "a:70000"] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }
}
