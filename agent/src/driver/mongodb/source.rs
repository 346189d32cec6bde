//! Documents as the truth of a stream's rows: read in the order of their keys, of which only key and digest are kept.

use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use mongodb::Cursor;
use mongodb::bson::raw::{RawBsonRef, RawDocument};
use mongodb::bson::{Document, RawDocumentBuf, doc};
use testmesh_shared::digest::{Digest, RowDigest};
use testmesh_shared::integrity::Key;
use testmesh_shared::plan::expr::{JsonTemplate, Scope};
use testmesh_shared::plan::model::{Documents, Proof};
use testmesh_shared::plan::{FieldPath, Target as Named};

use super::client::Client;
use super::extended;
use super::failure::failure;
use super::form::target_of;
use super::operation::collection_name;
use crate::driver::connections::Connections;
use crate::integrity::{Entry, ListingWriter, Source};
use crate::limits;

/// One query, rendered.
pub(crate) struct Query {
    target: Arc<Named>,
    uri: String,
    collection: String,
    filter: Document,
    sort: Document,
    key: FieldPath,
    proof: Proof,
    /// A digest of all the above: sessions with the same one read the same documents.
    id: String,
}

/// Without the connection string and what the query may hold of secrets.
impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Query")
            .field("target", &self.target.name)
            .field("collection", &self.collection)
            .finish_non_exhaustive()
    }
}

impl Query {
    /// The query of one stream.
    ///
    /// # Errors
    ///
    /// What has no value in this scope, or is no extended JSON.
    pub(crate) fn render(truth: &Documents, scope: &Scope<'_>) -> Result<Self, String> {
        let target = target_of(&truth.target);
        let uri = target.uri.text(scope).map_err(|error| error.to_string())?;
        let collection =
            collection_name(&truth.collection, scope).map_err(|error| error.message)?;
        let part = |what: &str, template: &JsonTemplate| {
            let json = (template.json(scope)).map_err(|error| format!("{what}: {error}"))?;
            extended::document(&json).map_err(|error| format!("{what}: {error}"))
        };
        let filter = (truth.filter.as_ref()).map(|filter| part("filter", filter));
        let filter = filter.transpose()?.unwrap_or_default();
        let sort = truth.sort.as_ref().map(|sort| part("sort", sort));
        let sort = sort
            .transpose()?
            .unwrap_or_else(|| doc! { truth.key.to_string(): 1 });
        let id = format!(
            "{}\0{uri}\0{collection}\0{filter}\0{sort}\0{}\0{}\0{}",
            truth.target.name,
            truth.key,
            field_of(&truth.proof),
            matches!(truth.proof, Proof::Payload(_))
        );
        Ok(Self {
            uri: uri.into_owned(),
            target: Arc::clone(&truth.target),
            collection,
            filter,
            sort,
            key: truth.key.clone(),
            proof: truth.proof.clone(),
            id: Digest::of(id.as_bytes()).to_string(),
        })
    }

    async fn open(&self, client: &Client) -> Result<Cursor<RawDocumentBuf>, mongodb::error::Error> {
        let collection = client
            .database
            .collection::<RawDocumentBuf>(&self.collection);
        let field = field_of(&self.proof);
        let mut projection = doc! { self.key.to_string(): 1, field.to_string(): 1 };
        let has_id = [&self.key, field].iter().any(|path| path.names[0] == "_id");
        if !has_id {
            projection.insert("_id", 0);
        }
        collection
            .find(self.filter.clone())
            .sort(self.sort.clone())
            .projection(projection)
            .await
    }

    async fn read_all(
        &self,
        connections: &Connections,
        into: &mut ListingWriter,
    ) -> Result<(), String> {
        let target = target_of(&self.target);
        let limit = target.timeout;
        let late = |_| format!("no documents within the target's time-out of {limit:?}");
        let client = Client::open(target, &self.target.name, &self.uri, connections)
            .await
            .map_err(|error| error.message)?;
        let doing = format!("find {} in {}", self.collection, client.shown);
        let failed = |error| failure(&doing, &error).message;
        let mut cursor = tokio::time::timeout(limit, self.open(&client))
            .await
            .map_err(late)?
            .map_err(failed)?;
        let mut read: u64 = 0;
        while tokio::time::timeout(limit, cursor.advance())
            .await
            .map_err(late)?
            .map_err(failed)?
        {
            read += 1;
            let entry = self
                .entry(cursor.current())
                .map_err(|reason| format!("document {read} of `{}`: {reason}", self.collection))?;
            into.push(entry)?;
            if read.is_multiple_of(limits::TRUTH_WITHOUT_YIELD) {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    fn entry(&self, document: &RawDocument) -> Result<Entry, String> {
        let key = field(document, &self.key)?;
        let key = row_key(&key).ok_or_else(|| {
            format!(
                "`{}` is neither a number, a date, a text, an object id nor binary",
                self.key
            )
        })?;
        let digest = match &self.proof {
            Proof::Payload(path) => match field(document, path)? {
                RawBsonRef::Binary(binary) => RowDigest::of(binary.bytes),
                RawBsonRef::String(text) => RowDigest::of(text.as_bytes()),
                _ => return Err(format!("`{path}` is neither binary nor a text")),
            },
            Proof::Digest(path) => {
                let field = field(document, path)?;
                let digest = field.as_str().and_then(|text| text.parse().ok());
                digest.ok_or_else(|| format!("`{path}` is no digest of 16 lowercase hex digits"))?
            }
        };
        Entry::new(&key, digest)
    }
}

fn field_of(proof: &Proof) -> &FieldPath {
    let (Proof::Payload(field) | Proof::Digest(field)) = proof;
    field
}

fn field<'d>(document: &'d RawDocument, path: &FieldPath) -> Result<RawBsonRef<'d>, String> {
    let mut within = document;
    let (last, outer) = path.names.split_last().unwrap_or_else(|| {
        unreachable!("a path has at least one name");
    });
    let missing = || format!("it has no `{path}`");
    for name in outer {
        let inner = within.get_document(name).map_err(|_| missing())?;
        within = inner;
    }
    let found = within.get(last);
    found
        .map_err(|error| format!("it is no BSON: {error}"))?
        .ok_or_else(missing)
}

/// The key as a row has it: whole numbers, and texts for everything else.
fn row_key<'d>(raw: &RawBsonRef<'d>) -> Option<Key<'d>> {
    Some(match raw {
        RawBsonRef::Int32(number) => Key::Number(i64::from(*number)),
        RawBsonRef::Int64(number) => Key::Number(*number),
        RawBsonRef::DateTime(date) => Key::Number(date.timestamp_millis()),
        RawBsonRef::Double(number) => Key::Number(whole(*number)?),
        RawBsonRef::String(text) => Key::Text((*text).into()),
        RawBsonRef::ObjectId(id) => Key::Text(id.to_hex().into()),
        RawBsonRef::Binary(binary) => {
            use std::fmt::Write as _;
            let mut hex = String::with_capacity(2 * binary.bytes.len());
            for byte in binary.bytes {
                // Writing to a string cannot fail.
                let _ = write!(hex, "{byte:02x}");
            }
            Key::Text(hex.into())
        }
        _ => return None,
    })
}

/// Shells write whole numbers as doubles.
fn whole(number: f64) -> Option<i64> {
    /// 2^53: up to here every whole number has a double of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "it is whole and small")]
    let whole = (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64);
    whole
}

impl Source for Query {
    fn id(&self) -> &str {
        &self.id
    }

    fn read<'a>(
        &'a self,
        connections: &'a Connections,
        into: &'a mut ListingWriter,
    ) -> LocalBoxFuture<'a, Result<(), String>> {
        self.read_all(connections, into).boxed_local()
    }
}
