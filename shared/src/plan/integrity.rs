//! How a stage's stream is verified.

use super::item::Item;
use super::model::{FieldPath, Integrity, SentAt, TimeUnit, Truth, TruthOf};
use super::problem::ProblemCode;

/// Reads `integrity`.
pub(super) fn read(item: Item<'_>) -> Option<Integrity> {
    let sequence = item.key("sequence").map(sequence);
    let key = item.key("key").map(Item::field_path);
    let payload = item.key("payload").map(Item::field_path);
    let sent_at = item.key("sent_at").map(sent_at);
    let truth = item.key("truth").map(truth);
    let (sequence, key) = (flat(sequence)?, flat(key)?);
    let (payload, sent_at, truth) = (flat(payload)?, flat(sent_at)?, flat(truth)?);
    let whole_streams = matches!(
        truth,
        Some(Truth::Agree {
            of: TruthOf::Stream,
            ..
        })
    );
    if sequence.is_none() && !whole_streams {
        let hint = "write the field that numbers the rows, or compare whole streams with `truth: { agree: { …, of: stream } }`";
        item.problem(
            ProblemCode::MissingKey,
            "`integrity` needs the key `sequence`",
            hint,
        );
        return None;
    }
    if sequence.is_none() && key.is_some() {
        let hint = "add `sequence`, or remove `key`: whole streams have no rows";
        item.problem(ProblemCode::Conflict, "`key` needs `sequence`", hint);
        return None;
    }
    let key = key.or_else(|| sequence.clone());
    Some(Integrity {
        position: item.position(),
        sequence,
        key,
        payload,
        sent_at,
        truth,
    })
}

/// A key that is not there is fine; one that could not be read is not.
#[expect(
    clippy::option_option,
    reason = "the outer level says whether the key is there, the inner whether it was read"
)]
fn flat<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    match read {
        None => Some(None),
        Some(None) => None,
        Some(some) => Some(some),
    }
}

fn sequence(item: Item<'_>) -> Option<FieldPath> {
    if !item.is_map() {
        return item.field_path();
    }
    if let Some(step) = item.key("step")
        && step.int(1..=i64::MAX)? != 1
    {
        step.problem(
            ProblemCode::NotYet,
            "this build does not run steps other than 1 yet",
            "remove `step`",
        );
    }
    item.key("field")?.field_path()
}

fn sent_at(item: Item<'_>) -> Option<SentAt> {
    let field = item.key("field").and_then(Item::field_path);
    let unit = match item.key("unit")?.word(&["s", "ms", "us", "ns"])? {
        "s" => TimeUnit::Seconds,
        "ms" => TimeUnit::Milliseconds,
        "us" => TimeUnit::Microseconds,
        _ => TimeUnit::Nanoseconds,
    };
    Some(SentAt {
        field: field?,
        unit,
    })
}

fn truth(item: Item<'_>) -> Option<Truth> {
    if let Some(agree) = item.key("agree") {
        let group = agree.key("group").and_then(Item::open_template);
        let of = match agree.key("of") {
            Some(of) => of.word(&["rows", "stream"])?,
            None => "rows",
        };
        let of = if of == "stream" {
            TruthOf::Stream
        } else {
            TruthOf::Rows
        };
        return Some(Truth::Agree { group: group?, of });
    }
    Some(Truth::Rows {
        list: item.key("rows")?.expr()?,
    })
}
