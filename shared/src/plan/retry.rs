//! Which failures of a stage are tried again.

use std::time::Duration;

use super::error_kind::ErrorKind;
use super::item::Item;
use super::model::{Retry, RetryOn};
use super::nearest::nearest;
use super::problem::ProblemCode;
use crate::grpc_status::{NAMES, code_of};

const BACKOFF: Duration = Duration::from_millis(250);

/// `retry` of a stage.
pub(super) fn read(item: Item<'_>) -> Option<Retry> {
    let attempts = item.key("attempts").and_then(|key| key.int(1..=100_000));
    let backoff = item.key("backoff").map_or(Some(BACKOFF), Item::duration);
    let on = match item.key("on") {
        Some(list) => {
            let items: Vec<_> = list.items().into_iter().map(on).collect();
            items.into_iter().collect::<Option<Vec<_>>>()
        }
        None => {
            let transport = [
                ErrorKind::Refused,
                ErrorKind::Unavailable,
                ErrorKind::Reset,
                ErrorKind::Timeout,
            ];
            Some(transport.map(RetryOn::Error).to_vec())
        }
    };
    let attempts = u32::try_from(attempts?).ok()?;
    Some(Retry {
        attempts,
        on: on?,
        backoff: backoff?,
    })
}

fn on(item: Item<'_>) -> Option<RetryOn> {
    let text = item.text()?;
    if let Ok(kind) = text.parse::<ErrorKind>() {
        return Some(RetryOn::Error(kind));
    }
    if let Ok(status) = text.parse::<i64>() {
        return Some(RetryOn::Status(status));
    }
    let name = text.to_lowercase();
    if code_of(&name).is_some() {
        return Some(RetryOn::StatusName(name));
    }
    let kinds = ErrorKind::ALL.iter().map(|kind| kind.as_str());
    let hint = nearest(&name, kinds.clone().chain(NAMES)).map_or_else(
        || format!("error kinds are {}", kinds.collect::<Vec<_>>().join(", ")),
        |near| format!("did you mean `{near}`?"),
    );
    item.problem(
        ProblemCode::BadValue,
        format!("`{text}` is neither an error kind nor a status"),
        hint,
    );
    None
}
