//! One reading for all, in order, and no more than there is room for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use testmesh_shared::digest::RowDigest;
use testmesh_shared::integrity::Key;

use super::listing::{Entry, Listing, ListingWriter};
use super::truths::{Source, Truths};
use crate::driver::Connections;
use crate::limits;

/// Rows with these numbers, and how often they were read.
#[derive(Debug)]
struct Fake {
    id: String,
    rows: Vec<i64>,
    read: Arc<AtomicU64>,
    fails: bool,
}

impl Fake {
    fn new(id: &str, rows: impl IntoIterator<Item = i64>) -> Self {
        Self {
            id: id.to_owned(),
            rows: rows.into_iter().collect(),
            read: Arc::default(),
            fails: false,
        }
    }
}

impl Source for Fake {
    fn id(&self) -> &str {
        &self.id
    }

    fn read<'a>(
        &'a self,
        _: &'a Connections,
        into: &'a mut ListingWriter,
    ) -> LocalBoxFuture<'a, Result<(), String>> {
        async move {
            self.read.fetch_add(1, Ordering::Relaxed);
            for row in &self.rows {
                let digest = RowDigest::from_u64(row.unsigned_abs());
                into.push(Entry::new(&Key::Number(*row), digest)?)?;
            }
            if self.fails {
                return Err("it burns".to_owned());
            }
            Ok(())
        }
        .boxed_local()
    }
}

async fn ended(listing: &Listing) -> Result<usize, String> {
    let mut progress = listing.progress();
    let mut chunks = Vec::new();
    loop {
        if let Some(ended) = listing.refresh(&mut chunks) {
            let rows = chunks.iter().map(|chunk| chunk.rows.len()).sum();
            return ended.map(|()| rows).map_err(|reason| reason.to_string());
        }
        let more = tokio::time::timeout(Duration::from_secs(10), progress.changed());
        more.await.expect("in time").expect("it lives");
    }
}

#[tokio::test]
async fn a_source_is_read_once_and_one_that_failed_again() {
    let (truths, gate) = (Truths::default(), Arc::default());
    let read = Arc::new(AtomicU64::new(0));
    let source = |fails| Fake {
        read: Arc::clone(&read),
        fails,
        ..Fake::new("a", 0..1_000)
    };
    let failed = truths.listing(source(true), &gate).expect("room");
    assert_eq!(ended(&failed).await, Err("it burns".to_owned()));
    let first = truths.listing(source(false), &gate).expect("room");
    assert_eq!(ended(&first).await, Ok(1_000));
    let second = truths.listing(source(false), &gate).expect("room");
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!(read.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn rows_must_come_in_order_with_one_digest_each() {
    let (truths, gate) = (Truths::default(), Arc::default());
    let unordered = truths
        .listing(Fake::new("a", [1, 3, 2]), &gate)
        .expect("room");
    let reason = "the documents do not come in the order of their keys: 2 comes after 3";
    assert_eq!(ended(&unordered).await, Err(reason.to_owned()));
    let twice = truths
        .listing(Fake::new("b", [1, 1, 2]), &gate)
        .expect("room");
    assert_eq!(ended(&twice).await, Ok(2));
}

#[tokio::test]
async fn what_no_stream_uses_makes_room_for_others() {
    let (truths, gate) = (Truths::default(), Arc::default());
    let mut used = Vec::new();
    for id in 0..limits::TRUTHS {
        let listing = truths.listing(Fake::new(&id.to_string(), [1]), &gate);
        let listing = listing.expect("room");
        ended(&listing).await.expect("it is read");
        used.push(listing);
    }
    let more = truths.listing(Fake::new("more", [1]), &gate);
    assert!(more.is_err_and(|reason| reason.contains("1024 different truths")));
    used.truncate(1);
    // The thread lets go of a listing after it has ended it.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let more = truths.listing(Fake::new("more", [1]), &gate).expect("room");
    ended(&more).await.expect("it is read");
    let again = truths.listing(Fake::new("0", [1]), &gate).expect("room");
    assert!(Arc::ptr_eq(&again, &used[0]), "it is in use");
}

#[tokio::test]
async fn the_thread_ends_with_the_run() {
    #[derive(Debug)]
    struct Stuck(std::sync::mpsc::Sender<()>);
    impl Source for Stuck {
        fn id(&self) -> &str {
            "stuck"
        }

        fn read<'a>(
            &'a self,
            _: &'a Connections,
            _: &'a mut ListingWriter,
        ) -> LocalBoxFuture<'a, Result<(), String>> {
            self.0.send(()).expect("somebody listens");
            std::future::pending().boxed_local()
        }
    }
    let (begun, begins) = std::sync::mpsc::channel();
    let truths = Truths::default();
    let listing = truths.listing(Stuck(begun), &Arc::default()).expect("room");
    begins.recv().expect("it begins");
    drop(truths);
    assert_eq!(ended(&listing).await, Err("its reading was cut".to_owned()));
    // The source, and with it the sender, is gone.
    assert!(begins.recv().is_err());
}
