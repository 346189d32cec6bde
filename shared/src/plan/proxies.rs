//! Proxies that faults act on: `proxies: { store: { listen: "127.0.0.1:27100", to: "10.0.0.7:27017" } }`.

use std::net::SocketAddr;

use super::fault_model::{MAX_PROXIES, Proxy};
use super::item::{EntryItem, Item};
use super::keys::{Form, Key, Keys};
use super::problem::ProblemCode;

/// Which agent.
pub(super) static ON: Keys = Keys {
    name: "agent of a fault",
    doc: "Which agent does it: the first one of the run at a site.",
    groups: &[],
    keys: &[Key::new("site", Form::Name, "The site.").required()],
};

/// One proxy.
pub(super) static PROXY: Keys = Keys {
    name: "proxy",
    doc: "A TCP proxy beside an agent, through which the traffic of the server under test is routed. It passes everything on unless a fault acts on it, is ready before the first session, and ends with the run. If its agent dies it stays for a minute and passes everything on as soon as the fault's lease ends.",
    groups: &[],
    keys: &[
        Key::new(
            "on",
            Form::Object(&ON),
            "Which agent runs it; without it, the first one of the run.",
        ),
        Key::new(
            "listen",
            Form::Text,
            "Where it listens on that agent: an IP address and a port.",
        )
        .required(),
        Key::new(
            "to",
            Form::Text,
            "Where it passes connections on to: `HOST:PORT`, or a URL, of which host and port count.",
        )
        .required(),
    ],
};

/// Reads `proxies`. `sites` are those that the plan names; empty: any.
pub(super) fn read(item: Option<Item<'_>>, sites: &[String]) -> Vec<Proxy> {
    let Some(item) = item else { return Vec::new() };
    let entries = item.entries();
    if entries.len() > MAX_PROXIES {
        let message = format!(
            "there are {} proxies, and at most {MAX_PROXIES} may be",
            entries.len()
        );
        item.problem(ProblemCode::BadValue, message, "remove some of them");
        return Vec::new();
    }
    let mut proxies: Vec<Proxy> = Vec::new();
    for entry in entries {
        let Some(proxy) = proxy(entry, sites) else {
            continue;
        };
        let same = |one: &&Proxy| one.listen == proxy.listen && one.site == proxy.site;
        if let Some(other) = proxies.iter().find(same) {
            entry.value.problem_at(
                entry.key_span,
                ProblemCode::Conflict,
                format!(
                    "`{}` and `{}` both listen on {}",
                    other.name, proxy.name, proxy.listen
                ),
                "give each proxy a port of its own",
            );
        }
        proxies.push(proxy);
    }
    proxies
}

fn proxy(entry: EntryItem<'_>, sites: &[String]) -> Option<Proxy> {
    entry.check_name();
    let site = entry.value.key("on").and_then(|on| site(on, sites));
    let listen = entry.value.key("listen").and_then(listen);
    let to = entry.value.key("to").and_then(to);
    Some(Proxy {
        name: entry.key.to_owned(),
        position: entry.key_span.start,
        site,
        listen: listen?,
        to: to?,
    })
}

/// The site of `on`, if the plan may have agents there.
pub(super) fn site(on: Item<'_>, sites: &[String]) -> Option<String> {
    let item = on.key("site")?;
    let site = item.name()?;
    if !sites.is_empty() && !sites.contains(&site) {
        item.problem(
            ProblemCode::UnknownName,
            format!("no scenario runs at the site `{site}`"),
            format!("there are {}", sites.join(", ")),
        );
        return None;
    }
    Some(site)
}

fn listen(item: Item<'_>) -> Option<SocketAddr> {
    let text = item.text()?;
    let address: Option<SocketAddr> = text.parse().ok();
    let address = address.filter(|address| address.port() != 0);
    if address.is_none() {
        item.problem(
            ProblemCode::BadValue,
            format!("`{text}` is no address to listen on"),
            "write an IP address and a port, like `127.0.0.1:27100`",
        );
    }
    address
}

fn to(item: Item<'_>) -> Option<String> {
    let text = item.text()?;
    let address = host_and_port(&text);
    if address.is_none() {
        item.problem(
            ProblemCode::BadValue,
            format!("`{text}` names no host and port"),
            "write it like `10.0.0.7:27017` or `http://server:8080`",
        );
    }
    address
}

/// `HOST:PORT` of an address or a URL; a URL of `http` or `https` needs no port.
fn host_and_port(text: &str) -> Option<String> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest.split(['/', '?', '#']).next()?),
        None => (None, text),
    };
    let authority = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    // The port of `[::1]` would be found within its brackets.
    let port_from = authority.rfind(']').unwrap_or(0);
    let (host, port) = match authority[port_from..].rfind(':') {
        Some(at) => {
            let (host, port) = authority.split_at(port_from + at);
            (host, port[1..].parse().ok()?)
        }
        None => match scheme {
            Some("http") => (authority, 80),
            Some("https") => (authority, 443),
            _ => return None,
        },
    };
    let plain = |c: char| !c.is_whitespace() && !matches!(c, '/' | '?' | '#');
    let fine = !host.is_empty() && port != 0_u16 && host.chars().all(plain);
    fine.then(|| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::host_and_port;

    #[test]
    fn an_address_may_be_written_as_a_url() {
        for (text, expected) in [
            ("10.0.0.7:27017", Some("10.0.0.7:27017")),
            ("server:80", Some("server:80")),
            ("[::1]:80", Some("[::1]:80")),
            ("http://server:8080/path?x#y", Some("server:8080")),
            ("http://server", Some("server:80")),
            ("https://[::1]/x", Some("[::1]:443")),
            ("mongodb://user:secret@db:27017/x", Some("db:27017")),
            ("mongodb://db/x", None),
            ("server", None),
            ("server:0", None),
            ("server:99999", None),
            (":80", None),
            ("a b:80", None),
            ("", None),
        ] {
            assert_eq!(host_and_port(text).as_deref(), expected, "{text}");
        }
    }
}
