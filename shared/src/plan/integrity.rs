//! How a stage's stream is verified.

use std::num::NonZeroUsize;

use super::item::Item;
use super::model::{
    Allow, Documents, FieldPath, Integrity, Proof, SentAt, TimeUnit, Truth, TruthOf, Wrap,
};
use super::problem::ProblemCode;
use super::table::MOST_ELEMENT_BYTES;
use crate::integrity::Split;

/// Reads `integrity`.
pub(super) fn read(item: Item<'_>) -> Option<Integrity> {
    let sequence = item.key("sequence").map(sequence);
    let key = item.key("key").map(Item::field_path);
    let payload = item.key("payload").map(Item::field_path);
    let split = item.key("split").map(split);
    let sent_at = item.key("sent_at").map(sent_at);
    let truth = item.key("truth").map(truth);
    let allow = item
        .key("allow")
        .map_or_else(|| Some(Allow::default()), allow);
    let (sequence, key, split) = (flat(sequence)?, flat(key)?, flat(split)?);
    let (payload, sent_at, truth) = (flat(payload)?, flat(sent_at)?, flat(truth)?);
    let (sequence, step, wrap) = match sequence {
        Some(Sequence { field, step, wrap }) => (Some(field), step, wrap),
        None => (None, 1, None),
    };
    let integrity = Integrity {
        position: item.position(),
        key: key.or_else(|| sequence.clone()),
        sequence,
        step,
        wrap,
        payload,
        split,
        sent_at,
        truth,
        allow: allow?,
    };
    check(item, &integrity)?;
    Some(integrity)
}

/// Refuses what does not go together.
fn check(item: Item<'_>, integrity: &Integrity) -> Option<()> {
    let by_rows = match integrity.truth {
        None => false,
        Some(Truth::Agree { of, .. }) => of == TruthOf::Rows,
        Some(Truth::Rows { .. } | Truth::Mongodb(_)) => true,
        Some(Truth::Digest { .. }) => false,
    };
    if integrity.sequence.is_none() {
        if integrity.truth.is_none() || by_rows {
            let hint = "write the field that numbers the rows, or compare whole streams with `truth: { agree: { …, of: stream } }`";
            let message = "`integrity` needs the key `sequence`";
            item.problem(ProblemCode::MissingKey, message, hint);
            return None;
        }
        for key in ["key", "split"] {
            if item.has(key) {
                let hint = format!("add `sequence`, or remove `{key}`: whole streams have no rows");
                let message = format!("`{key}` needs `sequence`");
                item.problem(ProblemCode::Conflict, message, hint);
                return None;
            }
        }
    }
    if let Some(split) = item.key("split").filter(|_| integrity.payload.is_none()) {
        let message = "`split` needs `payload`";
        let hint = "write the field whose bytes the rows share";
        split.problem(ProblemCode::Conflict, message, hint);
        return None;
    }
    if integrity.wrap.is_some() && by_rows && !item.has("key") {
        let message = "numbers that start again do not tell rows apart, and the truth needs that";
        let hint = "write the `key` to compare rows by; the sequence itself, if no stream is so long that a number comes again";
        item.problem(ProblemCode::Conflict, message, hint);
        return None;
    }
    Some(())
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

struct Sequence {
    field: FieldPath,
    step: i64,
    wrap: Option<Wrap>,
}

fn sequence(item: Item<'_>) -> Option<Sequence> {
    if !item.is_map() {
        let (step, wrap) = (1, None);
        let field = item.field_path()?;
        return Some(Sequence { field, step, wrap });
    }
    let field = item.key("field").and_then(Item::field_path);
    let step = item
        .key("step")
        .map_or(Some(1), |step| step.int(1..=i64::MAX));
    let wrap = flat(item.key("wrap").map(wrap));
    let (step, wrap) = (step?, wrap?);
    if let (Some(Wrap::At(numbers)), Some(place)) = (wrap, item.key("wrap"))
        && numbers <= step
    {
        let message = format!("a `step` of {step} leads round all {numbers} numbers at once");
        let hint = "`wrap` is the first number that does not come any more, and more than `step`";
        place.problem(ProblemCode::Conflict, message, hint);
        return None;
    }
    let field = field?;
    Some(Sequence { field, step, wrap })
}

fn wrap(item: Item<'_>) -> Option<Wrap> {
    let text = item.text()?;
    if text == "type" {
        return Some(Wrap::Type);
    }
    let numbers = text.trim().parse().ok().filter(|numbers| *numbers >= 2);
    if numbers.is_none() {
        let message = format!("`{text}` says not where the number starts again");
        let hint = "write how many numbers there are, at least 2, or `type` for all of the field's";
        item.problem(ProblemCode::BadValue, message, hint);
    }
    numbers.map(Wrap::At)
}

fn split(item: Item<'_>) -> Option<Split> {
    if !item.is_map() {
        return item.word(&["rows"]).map(|_| Split::Rows);
    }
    let bytes = item.key("stride")?.int(1..=MOST_ELEMENT_BYTES)?;
    let bytes = usize::try_from(bytes).ok().and_then(NonZeroUsize::new)?;
    Some(Split::Stride(bytes))
}

fn allow(item: Item<'_>) -> Option<Allow> {
    let share = |key: &str| item.key(key).map_or(Some(0.0), Item::share);
    let (missing, repeated) = (share("missing"), share("repeated"));
    let (reordered, mismatched) = (share("reordered"), share("mismatched"));
    Some(Allow {
        missing: missing?,
        repeated: repeated?,
        reordered: reordered?,
        mismatched: mismatched?,
    })
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
    let complete = item.key("complete").map_or(Some(false), Item::bool);
    if let Some(rows) = item.key("rows") {
        let list = rows.expr();
        return Some(Truth::Rows {
            list: list?,
            complete: complete?,
        });
    }
    if let Some(documents) = item.key("mongodb") {
        return documents_of(documents, complete).map(|read| Truth::Mongodb(Box::new(read)));
    }
    if let Some(complete) = item.key("complete") {
        let message = "only a list of rows, or documents, can be complete";
        let hint = "remove `complete`, or compare with `rows` or `mongodb`";
        complete.problem(ProblemCode::Conflict, message, hint);
    }
    if let Some(digest) = item.key("digest") {
        let digest = digest.open_template()?;
        return Some(Truth::Digest { digest });
    }
    let agree = item.key("agree")?;
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
    Some(Truth::Agree { group: group?, of })
}

fn documents_of(item: Item<'_>, complete: Option<bool>) -> Option<Documents> {
    let target = item
        .key("target")
        .and_then(|target| target.target("mongodb"));
    let collection = item.key("collection").and_then(Item::template);
    let filter = flat(item.key("filter").map(Item::json));
    let sort = flat(item.key("sort").map(Item::json));
    let key = item.key("key").and_then(Item::field_path);
    let payload = flat(item.key("payload").map(Item::field_path));
    let digest = flat(item.key("digest").map(Item::field_path));
    let proof = match (payload?, digest?) {
        (Some(payload), None) => Proof::Payload(payload),
        (None, Some(digest)) => Proof::Digest(digest),
        // Neither or both: the table of keys has told it.
        _ => return None,
    };
    Some(Documents {
        target: target?,
        collection: collection?,
        filter: filter?,
        sort: sort?,
        key: key?,
        proof,
        complete: complete?,
    })
}
