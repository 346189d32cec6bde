//! One watch: the changes of objects, as lines of JSON, until the server ends it.

use bytes::{Buf as _, BytesMut};
use kube::client::Body;
use serde::Deserialize;
use serde_json::Value as Json;

use super::client::Cluster;
use super::objects::Selected;
use super::request::{ask, chunk, garbage, refusal, too_large};
use super::run::Trial;
use crate::driver::limits;
use crate::driver::tries::Failure;

/// A change, or how the watch ended.
#[derive(Debug)]
pub(super) enum Change {
    /// An object is there, or is another than before.
    Now(Json),
    /// An object is not there any more.
    Gone(Json),
    /// Nothing changed up to this version.
    Upto(String),
    /// The server ended the watch, as it does now and then: it goes on from the last version.
    Closed,
    /// The last version is too old, or the connection broke: what is there must be read again.
    Lost,
}

/// A line of a watch.
#[derive(Debug, Deserialize)]
struct Line {
    r#type: String,
    object: Json,
}

/// HTTP's, and the API's, word for a version that is too old.
const GONE: i64 = 410;

/// An open watch.
pub(super) struct Watch<'w> {
    trial: &'w Trial<'w>,
    body: Body,
    buffer: BytesMut,
    /// How much of the buffer has no end of a line.
    searched: usize,
    doing: String,
}

impl<'w> Watch<'w> {
    /// Opens a watch from a version on; none if that is too old.
    pub(super) async fn open(
        trial: &'w Trial<'w>,
        cluster: &Cluster,
        selected: &Selected,
        version: &str,
    ) -> Result<Option<Self>, Failure> {
        let question = selected
            .question()
            .with("watch", "true")
            .with("allowWatchBookmarks", "true")
            .with("resourceVersion", version)
            .with("timeoutSeconds", &limits::KUBERNETES_WATCH.to_string());
        let doing = format!("watching, {} at {}", selected.doing, cluster.at);
        match ask(trial, cluster, question).await {
            Ok(answer) => Ok(Some(Self {
                trial,
                body: answer.into_body(),
                buffer: BytesMut::new(),
                searched: 0,
                doing,
            })),
            Err(Failure::Refused(error)) if error.status == Some(GONE) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Waits for the next change.
    pub(super) async fn next(&mut self) -> Result<Change, Failure> {
        loop {
            if let Some(line) = self.line() {
                return self.change(&line);
            }
            if self.buffer.len() > self.trial.target().max_body {
                return Err(too_large(self.trial, &self.doing).into());
            }
            match chunk(&mut self.body, &self.doing).await {
                Ok(Some(more)) => self.buffer.extend_from_slice(&more),
                Ok(None) => return Ok(Change::Closed),
                Err(error) => {
                    // Whether the server is there is found out by reading again.
                    self.trial
                        .answered(&format!("the watch broke: {}", error.message), "");
                    return Ok(Change::Lost);
                }
            }
        }
    }

    /// The next whole line of what came.
    fn line(&mut self) -> Option<BytesMut> {
        let new = &self.buffer[self.searched..];
        let Some(at) = new.iter().position(|byte| *byte == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let line = self.buffer.split_to(self.searched + at);
        self.buffer.advance(1);
        self.searched = 0;
        Some(line)
    }

    fn change(&self, line: &[u8]) -> Result<Change, Failure> {
        let line: Line = serde_json::from_slice(line)
            .map_err(|error| garbage(&self.doing, &error.to_string()))?;
        let object = line.object;
        let metadata = &object["metadata"];
        match line.r#type.as_str() {
            "ADDED" | "MODIFIED" => Ok(Change::Now(object)),
            "DELETED" => Ok(Change::Gone(object)),
            "BOOKMARK" => {
                let version = metadata["resourceVersion"].as_str().unwrap_or_default();
                Ok(Change::Upto(version.to_owned()))
            }
            "ERROR" => {
                let status = object["code"].as_i64().unwrap_or_default();
                if status == GONE {
                    return Ok(Change::Lost);
                }
                let body = object.to_string().into();
                Err(refusal(&self.doing, status, &object, body))
            }
            other => Err(garbage(&self.doing, &format!("`{other}` is no change")).into()),
        }
    }
}
