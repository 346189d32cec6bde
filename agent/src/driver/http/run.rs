//! Runs one request: renders it, sends it, reads the answer up to its limit.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use testmesh_shared::plan::ErrorKind;
use testmesh_shared::plan::expr::Scope;
use tokio::time::Instant;
use url::Url;

use super::client::Client;
use super::failure::failure;
use super::form::{Body as Sent, HttpStage};
use crate::driver::contract::{Attempt, Body, Driver, Evidence, Results, StageError};
use crate::driver::limits;
use crate::driver::transcript::Said;

impl Driver for HttpStage {
    fn results(&self) -> &'static [&'static str] {
        &["status", "headers", "body", "text"]
    }

    fn run<'a>(
        &'a self,
        attempt: &'a Attempt<'a>,
    ) -> LocalBoxFuture<'a, Result<Results, StageError>> {
        async move {
            match self.target().timeout {
                None => self.request(attempt).await,
                Some(limit) => match tokio::time::timeout(limit, self.request(attempt)).await {
                    Ok(result) => result,
                    Err(_) => {
                        let message =
                            format!("no whole answer within the target's time-out of {limit:?}");
                        Err(StageError::new(ErrorKind::Timeout, message))
                    }
                },
            }
        }
        .boxed_local()
    }
}

impl HttpStage {
    async fn request(&self, attempt: &Attempt<'_>) -> Result<Results, StageError> {
        let url = self.url(attempt.scope)?;
        let doing = format!("{} {}", self.method, without_credentials(&url));
        let request = self.build(attempt, url)?;
        let client = attempt
            .connections
            .open(self.target().connections, &self.pool_key, async || {
                Client::new(
                    self.target(),
                    self.version,
                    self.redirects,
                    attempt.connections.gate(),
                )
                .map(|client| client.shared(self.target().connections))
            })
            .await?;
        let _turn = client.turn().await;
        tell_request(attempt, &doing, &request);
        let asked = Instant::now();
        let answer = client.http.execute(request).await;
        if let Some(took) = client.connects() {
            attempt.meter.connect(took);
        }
        let answer = answer.map_err(|error| failure(&doing, &error))?;
        attempt.meter.first_byte(asked.elapsed());
        let version = answer.version();
        client.learn(version);
        let status = answer.status();
        attempt.meter.status(i64::from(status.as_u16()));
        let headers = shown(answer.headers());
        let body =
            read(answer, self.target().max_body, &doing)
                .await
                .map_err(|(error, body)| {
                    let headers = headers.clone();
                    let what = || format!("{version:?} {status}, and not all of its body");
                    tell_answer(attempt, what, &headers, &body);
                    let evidence = Evidence {
                        status: Some(i64::from(status.as_u16())),
                        headers,
                        body,
                    };
                    error
                        .with_status(i64::from(status.as_u16()))
                        .with_evidence(evidence)
                })?;
        let what = || format!("{version:?} {status} in {:.1?}", asked.elapsed());
        tell_answer(attempt, what, &headers, &body);
        let refused = status.is_client_error() || status.is_server_error();
        let failure = refused.then(|| {
            StageError::new(ErrorKind::Status, format!("{doing}: HTTP {status}"))
                .with_status(i64::from(status.as_u16()))
        });
        Ok(Results {
            status: Some(i64::from(status.as_u16())),
            headers,
            body: Body::Bytes(body),
            failure,
            ..Results::default()
        })
    }

    /// The target's URL with the stage's path behind its own. Parsing it is some 4 % of a small request, so it is kept if it
    /// is always the same.
    fn url(&self, scope: &Scope<'_>) -> Result<Url, StageError> {
        if let Some(url) = self.fixed_url.get() {
            return Ok(url.clone());
        }
        let url = self.render_url(scope)?;
        if self.is_url_fixed() {
            // Another worker may have been first, with the same.
            let _ = self.fixed_url.set(url.clone());
        }
        Ok(url)
    }

    fn render_url(&self, scope: &Scope<'_>) -> Result<Url, StageError> {
        let template = |error| StageError::template("the URL", &error);
        let base = self.target().url.text(scope).map_err(template)?;
        let path = self.path.text(scope).map_err(template)?;
        let slash = if path.is_empty() || path.starts_with(['/', '?']) {
            ""
        } else {
            "/"
        };
        let joined = format!("{}{slash}{path}", base.trim_end_matches('/'));
        let mut url = Url::parse(&joined).map_err(|error| {
            StageError::new(
                ErrorKind::Expectation,
                format!("`{joined}` is no URL: {error}"),
            )
            .with_code("bad_request")
        })?;
        if !self.query.is_empty() {
            let mut pairs = url.query_pairs_mut();
            for (name, value) in &self.query {
                pairs.append_pair(
                    name,
                    &value
                        .text(scope)
                        .map_err(|error| StageError::template(name, &error))?,
                );
            }
        }
        Ok(url)
    }

    fn build(&self, attempt: &Attempt<'_>, mut url: Url) -> Result<reqwest::Request, StageError> {
        let credentials = credentials(&mut url)?;
        let mut request = reqwest::Request::new(self.method.clone(), url);
        let mut typed = None;
        if let Some(body) = &self.body {
            let (content_type, bytes) = render(body, attempt.scope)?;
            typed = content_type;
            *request.body_mut() = Some(bytes.into());
        }
        let headers = request.headers_mut();
        if let Some(content_type) = typed {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        if let Some(credentials) = credentials {
            headers.insert(AUTHORIZATION, credentials);
        }
        headers.insert(
            TRACEPARENT,
            header_value("traceparent", attempt.traceparent)?,
        );
        for (name, value) in &self.headers {
            let text = value
                .text(attempt.scope)
                .map_err(|error| StageError::template(name.as_str(), &error))?;
            let mut value_of = header_value(name.as_str(), &text)?;
            value_of.set_sensitive(value.is_secret());
            headers.insert(name, value_of);
        }
        Ok(request)
    }
}

fn tell_request(attempt: &Attempt<'_>, doing: &str, request: &reqwest::Request) {
    let Some(listener) = attempt.listener else {
        return;
    };
    let body = request.body().and_then(reqwest::Body::as_bytes);
    listener.asked(&Said {
        what: doing,
        headers: &shown(request.headers()),
        body: &String::from_utf8_lossy(body.unwrap_or_default()),
    });
}

fn tell_answer(
    attempt: &Attempt<'_>,
    what: impl FnOnce() -> String,
    headers: &[(Box<str>, Box<str>)],
    body: &[u8],
) {
    let Some(listener) = attempt.listener else {
        return;
    };
    listener.answered(&Said {
        what: &what(),
        headers,
        body: &String::from_utf8_lossy(body),
    });
}

/// Takes `USER:PASSWORD@` out of a URL and makes the header of it, as browsers and curl do.
fn credentials(url: &mut Url) -> Result<Option<HeaderValue>, StageError> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(None);
    }
    let decoded = |text: &str| percent_decode_str(text).collect::<Vec<u8>>();
    let mut pair = decoded(url.username());
    pair.push(b':');
    pair.extend(decoded(url.password().unwrap_or_default()));
    // Only URLs without a host refuse this, and these cannot be asked.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    let mut value = header_value("authorization", &format!("Basic {}", STANDARD.encode(pair)))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// A URL as messages show it.
fn without_credentials(url: &Url) -> Cow<'_, str> {
    if url.username().is_empty() && url.password().is_none() {
        return Cow::Borrowed(url.as_str());
    }
    let mut shown = url.clone();
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    Cow::Owned(shown.into())
}

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A header's value, if it may be one.
pub(crate) fn header_value(name: &str, value: &str) -> Result<HeaderValue, StageError> {
    HeaderValue::from_str(value).map_err(|_| {
        let message = format!("the value of header `{name}` holds characters that headers cannot");
        StageError::new(ErrorKind::Expectation, message).with_code("bad_request")
    })
}

fn render(body: &Sent, scope: &Scope<'_>) -> Result<(Option<&'static str>, Bytes), StageError> {
    let template = |error| StageError::template("the body", &error);
    Ok(match body {
        Sent::Fixed {
            content_type,
            bytes,
        } => (*content_type, bytes.clone()),
        Sent::Json(json) => {
            let json = json.json(scope).map_err(template)?;
            (Some("application/json"), json.to_string().into())
        }
        Sent::Text(text) => (
            Some("text/plain; charset=utf-8"),
            text.text(scope).map_err(template)?.into_owned().into(),
        ),
        Sent::Form(fields) => {
            let mut form = url::form_urlencoded::Serializer::new(String::new());
            for (name, value) in fields {
                form.append_pair(name, &value.text(scope).map_err(template)?);
            }
            (
                Some("application/x-www-form-urlencoded"),
                form.finish().into(),
            )
        }
    })
}

/// Reads a body up to the limit; what came before a failure is its evidence.
async fn read(
    mut answer: reqwest::Response,
    limit: usize,
    doing: &str,
) -> Result<Bytes, (StageError, Bytes)> {
    let too_large = || {
        let message =
            format!("{doing}: the body is larger than the limit of {limit} bytes (max_body)");
        StageError::new(ErrorKind::Protocol, message).with_code("too_large")
    };
    let evidence =
        |body: &[u8]| Bytes::copy_from_slice(&body[..body.len().min(limits::EVIDENCE_BYTES)]);
    if answer
        .content_length()
        .is_some_and(|announced| announced > limit as u64)
    {
        return Err((too_large(), Bytes::new()));
    }
    let mut first = Bytes::new();
    let mut body = BytesMut::new();
    loop {
        match answer.chunk().await {
            Ok(None) if body.is_empty() => return Ok(first),
            Ok(None) => return Ok(body.freeze()),
            Ok(Some(chunk)) if first.len() + body.len() + chunk.len() > limit => {
                let so_far = if body.is_empty() {
                    &first[..]
                } else {
                    &body[..]
                };
                return Err((too_large(), evidence(so_far)));
            }
            // Most bodies come in one piece: it is kept as it is.
            Ok(Some(chunk)) if first.is_empty() && body.is_empty() => first = chunk,
            Ok(Some(chunk)) => {
                if body.is_empty() {
                    body.extend_from_slice(&first);
                    first = Bytes::new();
                }
                body.extend_from_slice(&chunk);
            }
            Err(error) => {
                let so_far = if body.is_empty() {
                    &first[..]
                } else {
                    &body[..]
                };
                return Err((failure(doing, &error), evidence(so_far)));
            }
        }
    }
}

/// Headers as results: names are lower-case already, values that are no text are shown escaped.
pub(crate) fn shown(headers: &HeaderMap) -> Vec<(Box<str>, Box<str>)> {
    let text = |value: &HeaderValue| match value.to_str() {
        // Such as credentials that stood in a URL.
        _ if value.is_sensitive() => Box::from("***"),
        Ok(text) => Box::from(text),
        Err(_) => value.as_bytes().escape_ascii().to_string().into_boxed_str(),
    };
    headers
        .iter()
        .map(|(name, value)| (Box::from(name.as_str()), text(value)))
        .collect()
}
