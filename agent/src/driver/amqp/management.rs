//! Lists queues through RabbitMQ's management API: AMQP itself knows of no list.

use bytes::BytesMut;
use percent_encoding::percent_decode_str;
use serde_json::Value as Json;
use testmesh_shared::plan::ErrorKind;
use testmesh_shared::plan::expr::{Template, Value};
use tokio::time::Instant;
use url::Url;

use super::form::Target;
use super::run::Trial;
use crate::driver::connections::Reusable;
use crate::driver::contract::{Body, Results, StageError};
use crate::driver::http;
use crate::driver::limits;
use crate::driver::tries::Failure;

/// Connections to one management API; reqwest pools them.
struct Api(reqwest::Client);

impl Reusable for Api {
    fn is_open(&self) -> bool {
        true
    }
}

/// One page of queues, or why there is none.
enum Page {
    Queues(Vec<Value>, u64),
    Refused(Box<Results>),
}

/// Lists the queues whose name matches.
pub(super) async fn queues(trial: &Trial<'_>, pattern: &Template) -> Result<Results, Failure> {
    let pattern = pattern
        .text(trial.scope())
        .map_err(|error| StageError::template("queues", &error))?;
    let asking = Asking::new(trial, &pattern)?;
    let target = trial.target();
    let key = format!("{} management", trial.stage.pool_key);
    let connections = trial.attempt.connections;
    let api = connections
        .open(target.connections, &key, async || api(target))
        .await?;
    let mut found = Vec::new();
    for page in 1..=limits::AMQP_PAGES {
        match asking.page(trial, &api.0, page).await? {
            Page::Refused(results) => return Ok(*results),
            Page::Queues(queues, pages) => {
                found.extend(queues);
                if u64::from(page) >= pages {
                    return Ok(listed(trial, found));
                }
            }
        }
    }
    let most = limits::AMQP_PAGE * usize::try_from(limits::AMQP_PAGES).unwrap_or(usize::MAX);
    let message = format!(
        "{}: there are more than {most} queues like that",
        asking.doing
    );
    Err(StageError::new(ErrorKind::Protocol, message)
        .with_code("too_large")
        .into())
}

fn listed(trial: &Trial<'_>, found: Vec<Value>) -> Results {
    let docs = Value::list(found);
    let body = docs.to_json().to_string();
    trial.answered("the queues", &[], &body);
    Results {
        status: Some(200),
        body: Body::Bytes(body.into()),
        docs: Some(docs),
        ..Results::default()
    }
}

fn api(target: &Target) -> Result<Api, StageError> {
    let mut tls = rustls::ClientConfig::clone(&target.tls);
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let client = reqwest::Client::builder()
        .user_agent(concat!("testmesh/", env!("CARGO_PKG_VERSION")))
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .tls_backend_preconfigured(tls)
        .build();
    client.map(Api).map_err(|error| {
        let message = format!("building an HTTP client failed: {error}");
        StageError::new(ErrorKind::Internal, message)
    })
}

/// What is asked for, page after page.
struct Asking<'p> {
    pattern: &'p str,
    url: Url,
    user: String,
    password: String,
    doing: String,
}

impl<'p> Asking<'p> {
    fn new(trial: &Trial<'_>, pattern: &'p str) -> Result<Self, StageError> {
        let (target, scope) = (trial.target(), trial.scope());
        let broker = target.uri(scope)?;
        let mut url = target.management(scope)?.ok_or_else(|| {
            // The reader has seen to it.
            StageError::new(ErrorKind::Internal, "the target has no `management`")
        })?;
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let (user, password) = match url.password() {
            Some(password) => (decoded(url.username()), decoded(password)),
            None => (
                broker.authority.userinfo.username.clone(),
                broker.authority.userinfo.password.clone(),
            ),
        };
        // Only URLs without a host refuse this, and the reader takes none of these.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty()
                .extend(["api", "queues", broker.vhost.as_str()]);
        }
        let doing = format!("asking for queues `{pattern}` at {url}");
        Ok(Self {
            pattern,
            url,
            user,
            password,
            doing,
        })
    }

    async fn page(
        &self,
        trial: &Trial<'_>,
        client: &reqwest::Client,
        page: u32,
    ) -> Result<Page, StageError> {
        trial.waits_for("the management API");
        trial.asked(|| format!("{}, page {page}", self.doing), &[], b"");
        let (page, size) = (page.to_string(), limits::AMQP_PAGE.to_string());
        // The API looks for a part of the name; what stands between two stars is one.
        let part = self.pattern.split('*').max_by_key(|part| part.len());
        let query = [
            ("page", page.as_str()),
            ("page_size", size.as_str()),
            ("name", part.unwrap_or_default()),
            ("use_regex", "false"),
        ];
        let request = client
            .get(self.url.clone())
            .query(&query)
            .basic_auth(&self.user, Some(&self.password));
        let asked = Instant::now();
        let answer = request
            .send()
            .await
            .map_err(|error| http::failure(&self.doing, &error))?;
        trial.attempt.meter.first_byte(asked.elapsed());
        let status = answer.status();
        let headers = http::shown(answer.headers());
        let body = read(answer, &self.doing).await?;
        if !status.is_success() {
            let code = i64::from(status.as_u16());
            let message = format!("{}: HTTP {status}", self.doing);
            let failure = StageError::new(ErrorKind::Status, message).with_status(code);
            return Ok(Page::Refused(Box::new(Results {
                status: Some(code),
                headers,
                body: Body::Bytes(body.freeze()),
                failure: Some(failure),
                ..Results::default()
            })));
        }
        let garbage = |reason: String| {
            let message = format!("{}: no page of queues: {reason}", self.doing);
            StageError::new(ErrorKind::Protocol, message).with_code("garbage")
        };
        let json: Json =
            serde_json::from_slice(&body).map_err(|error| garbage(error.to_string()))?;
        let items = json["items"].as_array();
        let items = items.ok_or_else(|| garbage("it has no `items`".to_owned()))?;
        let pages = json["page_count"].as_u64().unwrap_or(1);
        let fitting = items
            .iter()
            .filter(|item| is_like(self.pattern, item["name"].as_str().unwrap_or_default()));
        Ok(Page::Queues(fitting.map(queue).collect(), pages))
    }
}

/// A queue as expressions see it. What the API has not counted yet is absent there, and 0 here.
fn queue(item: &Json) -> Value {
    let count = |key: &str| Value::from(item[key].as_u64().unwrap_or(0));
    Value::map([
        ("name", Value::from_json(&item["name"])),
        ("messages", count("messages")),
        ("ready", count("messages_ready")),
        ("unacknowledged", count("messages_unacknowledged")),
        ("consumers", count("consumers")),
        ("state", Value::from_json(&item["state"])),
    ])
}

async fn read(mut answer: reqwest::Response, doing: &str) -> Result<BytesMut, StageError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = answer
        .chunk()
        .await
        .map_err(|error| http::failure(doing, &error))?
    {
        if body.len() + chunk.len() > limits::AMQP_PAGE_BYTES {
            let message = format!(
                "{doing}: the answer is larger than {}",
                limits::AMQP_PAGE_BYTES
            );
            return Err(StageError::new(ErrorKind::Protocol, message).with_code("too_large"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Whether a whole name is like a pattern, in which `*` stands for anything.
fn is_like(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut name) = name.strip_prefix(first) else {
        return false;
    };
    let Some((middle, last)) = rest.rsplit_once('*') else {
        return name.ends_with(rest);
    };
    for part in middle.split('*') {
        let Some(at) = name.find(part) else {
            return false;
        };
        name = &name[at + part.len()..];
    }
    name.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, name) in [
            ("a", "a"),
            ("*", ""),
            ("a*", "a"),
            ("a*", "abc"),
            ("*c", "abc"),
            ("a*c", "ac"),
            ("a*b*c", "a.b.b.c"),
            ("**", "x"),
        ] {
            assert!(is_like(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("a", "ab"),
            ("a*", "ba"),
            ("a*a", "a"),
            ("a*b*c", "a.c"),
            ("*b", "ba"),
        ] {
            assert!(!is_like(pattern, name), "{pattern} {name}");
        }
    }
}
