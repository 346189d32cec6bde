//! What goes through the door comes out as it was; what makes no sense stays outside.

use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::digest::RowDigest;
use crate::integrity::Key;
use crate::metric::{Histogram, SeriesKey, Snapshot};
use crate::wire::BatchBuilder;
use crate::wire::to_proto::{SeenRow, SeenStream};

fn origin() -> Origin {
    Origin {
        agent: "haifa-1".parse().unwrap(),
        site: "haifa".parse().unwrap(),
    }
}

fn builder() -> BatchBuilder {
    let run = "20261122-171530-3fa9".parse().unwrap();
    BatchBuilder::new(&run, Epoch::new(7), BatchSeq::new(1), 60)
}

fn stage(name: &str) -> LabelSet<'_> {
    LabelSet::new(&[("scenario", "live"), ("stage", name)]).unwrap()
}

/// A batch with something of everything.
fn full() -> v1::Batch {
    let mut builder = builder();
    let mut histogram = Histogram::new();
    for ms in 1..100 {
        histogram.record(ms * 1_000_000).unwrap();
    }
    builder.counter(MetricId::StreamRows, &stage("stream"), 59, 4_000);
    builder.gauge(
        MetricId::StreamsOpen,
        &LabelSet::new(&[("scenario", "live")]).unwrap(),
        59,
        600.0,
    );
    builder.trend(MetricId::StreamGap, &stage("stream"), 59, &histogram);
    builder.trend(MetricId::AgentLoopLag, &LabelSet::EMPTY, 59, &histogram);
    builder.trend(MetricId::StreamGap, &stage("stream"), 58, &Histogram::new());
    let row = |number, sessions| SeenRow {
        key: Key::Number(number),
        digest: RowDigest::from_u64(number.cast_unsigned()),
        sessions,
        rows: u64::from(sessions),
        witness: SessionIndex::new(3),
    };
    builder.rows(
        "live",
        "stream",
        "live/1-50/0",
        [row(i64::MAX, 2), row(i64::MIN, 1), row(5, 20)],
    );
    builder.stream(
        ("live", "stream", "g"),
        SeenStream {
            digest: Digest::of(b"abc"),
            rows: 800,
            session: SessionIndex::new(4),
            again: true,
        },
    );
    builder.in_flight("live", 20);
    builder.loss("spans", 3);
    builder.loss("findings", 0);
    builder.build()
}

#[test]
fn values_beyond_all_measure_are_refused() {
    let refused = |change: fn(&mut v1::Batch)| {
        let mut proto = full();
        change(&mut proto);
        batch(&proto, &origin()).err()
    };
    for (name, change) in [
        (
            "counter",
            (|b| b.counters[0].value = VALUE_MAX + 1) as fn(&mut v1::Batch),
        ),
        ("stream", |b| b.streams[0].rows = u64::MAX),
        ("in flight", |b| b.in_flight[0].sessions = u64::MAX),
        ("loss", |b| b.losses[0].count = u64::MAX),
        ("finding", |b| {
            let count = u64::MAX;
            b.findings = vec![v1::Finding {
                count,
                ..v1::Finding::default()
            }];
        }),
    ] {
        let error = refused(change);
        assert!(
            matches!(error, Some(BatchError::Value { .. })),
            "{name}: {error:?}"
        );
    }
    let error = refused(|b| b.gauges[0].value = 1e300);
    assert!(matches!(error, Some(BatchError::Gauge { .. })), "{error:?}");
    assert_eq!(refused(|b| b.counters[0].value = VALUE_MAX), None);
}

#[test]
fn a_batch_comes_out_as_it_went_in() {
    let proto = full();
    let origin = origin();
    let batch = batch(&proto, &origin).unwrap();
    assert_eq!(
        (batch.epoch.get(), batch.seq.get(), batch.second),
        (7, 1, 60)
    );
    let series: Vec<String> = batch
        .deltas
        .iter()
        .map(|delta| SeriesKey::new(delta.metric, &delta.labels).to_string())
        .collect();
    assert_eq!(
        series,
        [
            r#"stream_rows{scenario="live",site="haifa",stage="stream"}"#,
            r#"streams_open{scenario="live",site="haifa"}"#,
            r#"stream_gap{scenario="live",site="haifa",stage="stream"}"#,
            r#"agent_loop_lag{agent="haifa-1",site="haifa"}"#,
        ]
    );
    let mut snapshot = Snapshot::new();
    for delta in &batch.deltas {
        snapshot.apply(&SeriesKey::new(delta.metric, &delta.labels), &delta.change);
    }
    let gap = SeriesKey::new(MetricId::StreamGap, &batch.deltas[2].labels);
    assert_eq!(
        snapshot
            .value(&gap)
            .and_then(|value| value.as_trend())
            .map(Histogram::count),
        Some(99)
    );
    let keys: Vec<(Key<'_>, u32)> = batch.rows[0]
        .iter()
        .map(|row| (row.key, row.sessions))
        .collect();
    assert_eq!(
        keys,
        [
            (Key::Number(i64::MIN), 1),
            (Key::Number(5), 20),
            (Key::Number(i64::MAX), 2)
        ]
    );
    assert_eq!(batch.streams[0].digest, Digest::of(b"abc"));
    assert!(batch.streams[0].again);
    assert_eq!(batch.in_flight, [("live", 20)]);
    assert_eq!(batch.losses, [("spans", 3)]);
}

#[test]
fn text_keys_make_all_keys_text() {
    let mut builder = builder();
    let keys = [Key::Number(5), Key::Text("b".into())];
    let row = |key| SeenRow {
        key,
        digest: RowDigest::of(b""),
        sessions: 1,
        rows: 1,
        witness: SessionIndex::new(0),
    };
    builder.rows("live", "stream", "g", keys.map(row));
    let (proto, origin) = (builder.build(), origin());
    let batch = batch(&proto, &origin).unwrap();
    let keys: Vec<Key<'_>> = batch.rows[0].iter().map(|row| row.key).collect();
    assert_eq!(keys, [Key::Text("5".into()), Key::Text("b".into())]);
}

/// Spoils a full batch and expects it to be refused with these words.
#[track_caller]
fn refused(spoil: impl FnOnce(&mut v1::Batch), expect: &str) {
    let mut proto = full();
    spoil(&mut proto);
    let error = batch(&proto, &origin()).unwrap_err().to_string();
    assert!(error.contains(expect), "{error}");
}

fn rename(batch: &mut v1::Batch, from: &str, to: &str) {
    let place = batch.strings.iter().position(|text| text == from).unwrap();
    to.clone_into(&mut batch.strings[place]);
}

#[test]
fn what_makes_no_sense_is_refused() {
    refused(|batch| batch.run.clear(), "no run");
    refused(|batch| batch.seq = 0, "number 0");
    refused(|batch| batch.second = u32::MAX, "second 4294967295");
    refused(
        |batch| batch.counters[0].second = u32::MAX,
        "second 4294967295",
    );
    refused(|batch| batch.counters[0].labels = None, "no metric ``");
    refused(
        |batch| rename(batch, "stream_rows", "stream_cows"),
        "no metric `stream_cows`",
    );
    refused(
        |batch| rename(batch, "stream_rows", "stream_gap"),
        "`stream_gap` is a trend",
    );
    refused(|batch| rename(batch, "stage", "site"), "no label `site`");
    refused(|batch| rename(batch, "stage", "agent"), "no label `agent`");
    refused(
        |batch| rename(batch, "stage", "colour"),
        "no label `colour`",
    );
    refused(|batch| rename(batch, "stage", "scenario"), "no set");
    refused(
        |batch| batch.counters[0].labels.as_mut().unwrap().pairs[0] = 99,
        "string 99",
    );
    refused(
        |batch| batch.counters[0].labels.as_mut().unwrap().pairs.push(0),
        "string 0",
    );
    refused(|batch| batch.gauges[0].value = f64::NAN, "no number");
    refused(|batch| batch.trends[0].sum_ns = 1, "makes no sense");
    refused(|batch| batch.rows[0].keys.push(1), "group `live/1-50/0`");
    refused(
        |batch| batch.rows[0].text_keys.push("a".to_owned()),
        "group `live/1-50/0`",
    );
    refused(|batch| batch.rows[0].sessions[0] = 0, "group `live/1-50/0`");
    refused(|batch| batch.rows[0].rows = vec![9], "group `live/1-50/0`");
    refused(
        |batch| batch.rows[0].rows = vec![1; batch.rows[0].sessions.len()],
        "group `live/1-50/0`",
    );
    refused(|batch| batch.streams[0].digest.clear(), "group `g`");
    refused(|batch| batch.in_flight[0].scenario = 99, "string 99");
    refused(
        |batch| batch.strings.push("x".repeat(STRING_BYTES_MAX + 1)),
        "bytes in one string",
    );
    refused(
        |batch| batch.losses = vec![v1::Loss::default(); ENTRIES_MAX + 1],
        "losses",
    );
}

proptest! {
    /// Whatever bytes an agent sends, they are taken or refused.
    #[test]
    fn hostile_batches_never_panic(cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = full().encode_to_vec();
        for (place, byte) in cuts {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let origin = origin();
        if let Ok(proto) = v1::Batch::decode(bytes.as_slice()) && let Ok(batch) = batch(&proto, &origin) {
            batch.rows.iter().for_each(|rows| rows.iter().for_each(drop));
        }
    }
}

#[test]
fn shares_go_both_ways() {
    let part = Share::new(vec![0, 2], 3).unwrap();
    assert_eq!(
        share(&crate::wire::to_proto::share("live", &part)),
        Ok(part)
    );
    assert!(
        share(&v1::Share {
            scenario: String::new(),
            offsets: vec![5],
            cycle: 5
        })
        .is_err()
    );
}

#[test]
fn rows_that_were_told_of_before_are_counted_without_a_witness() {
    let mut builder = BatchBuilder::new(
        &"run-1".parse().unwrap(),
        Epoch::new(1),
        BatchSeq::new(1),
        0,
    );
    let row = |key, sessions, rows| SeenRow {
        key: Key::Number(key),
        digest: RowDigest::of(b"x"),
        sessions,
        rows,
        witness: SessionIndex::new(1),
    };
    builder.rows("live", "stream", "g", [row(1, 0, 2), row(2, 3, 4)]);
    let message = builder.build();
    let origin = Origin {
        agent: "a".parse().unwrap(),
        site: "haifa".parse().unwrap(),
    };
    let taken = batch(&message, &origin).unwrap();
    let rows: Vec<_> = taken.rows[0]
        .iter()
        .map(|row| (row.sessions, row.rows))
        .collect();
    assert_eq!(rows, [(0, 2), (3, 4)]);
}
