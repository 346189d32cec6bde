//! One way of one connection: what is read on one side arrives on the other, as late, as slow and as wrong as the effect
//! says, and in order.
use super::connection::Shared;
use super::corrupt::{Corrupter, Dice};
use super::counts::count;
use super::effect::Effect;
use super::link::{Link, piece};
use crate::limits;
use std::io;
use std::sync::atomic::AtomicU64;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{SemaphorePermit, mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// One way of a connection.
pub(super) struct Way<'c> {
    pub(super) shared: &'c Shared,
    pub(super) effects: watch::Receiver<Effect>,
    pub(super) link: &'c Link,
    pub(super) bytes: &'c AtomicU64,
    pub(super) seed: u64,
}

/// What is under way.
struct Chunk<'c> {
    /// Empty: the end.
    data: Vec<u8>,
    due: Instant,
    /// Of the memory for what is under way.
    _room: Option<SemaphorePermit<'c>>,
}

/// Moves everything until the end, which is passed on too.
///
/// # Errors
///
/// If either side broke the connection.
///
/// # Cancel safety
///
/// Dropping it loses what is under way.
pub(super) async fn pump(from: ReadHalf<'_>, to: WriteHalf<'_>, way: Way<'_>) -> io::Result<()> {
    let (chunks, arriving) = mpsc::channel(limits::PROXY_CHUNKS);
    let effects = way.effects.clone();
    tokio::try_join!(
        read(from, chunks, &way, effects.clone()),
        write(to, arriving, &way, effects)
    )?;
    Ok(())
}

async fn read<'c>(
    from: ReadHalf<'_>,
    chunks: mpsc::Sender<Chunk<'c>>,
    way: &Way<'c>,
    mut effects: watch::Receiver<Effect>,
) -> io::Result<()> {
    let mut corrupter = Corrupter::new(way.seed);
    let mut dice = Dice::new(!way.seed);
    let mut last = Instant::now();
    let mut buffer = vec![0; limits::PROXY_CHUNK];
    loop {
        from.readable().await?;
        open(&mut effects).await;
        let most = u32::try_from(limits::PROXY_CHUNK / 1024).unwrap_or(u32::MAX);
        let room = way.shared.room.acquire_many(most).await;
        let mut room = room.map_err(io::Error::other)?;
        let read = match from.try_read(&mut buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        let effect = *effects.borrow();
        let now = Instant::now();
        let late = effect.delay + effect.jitter.mul_f64(dice.share());
        last = last.max(now + late);
        let mut data = buffer[..read].to_vec();
        let turned = corrupter.pass(&mut data, effect.corrupt);
        count(&way.shared.counters.corrupted, turned);
        let chunk = Chunk {
            data,
            due: last,
            // The rest of the room is free again.
            _room: room.split(read.div_ceil(1024)),
        };
        drop(room);
        if chunks.send(chunk).await.is_err() || read == 0 {
            return Ok(());
        }
    }
}

async fn write(
    mut to: WriteHalf<'_>,
    mut arriving: mpsc::Receiver<Chunk<'_>>,
    way: &Way<'_>,
    mut effects: watch::Receiver<Effect>,
) -> io::Result<()> {
    while let Some(chunk) = arriving.recv().await {
        if chunk.due > Instant::now() {
            sleep_until(chunk.due).await;
        }
        let mut data = chunk.data.as_slice();
        while !data.is_empty() {
            let now_part = match effects.borrow().bandwidth {
                Some(per_second) => data.len().min(piece(per_second)),
                None => data.len(),
            };
            let (now, rest) = data.split_at(now_part);
            narrow(way.link, now.len(), &mut effects).await;
            open(&mut effects).await;
            to.write_all(now).await?;
            count(way.bytes, u64::try_from(now.len()).unwrap_or(0));
            data = rest;
        }
        if chunk.data.is_empty() {
            open(&mut effects).await;
            return to.shutdown().await;
        }
    }
    Ok(())
}

/// Waits until something gets through at all.
pub(super) async fn open(effects: &mut watch::Receiver<Effect>) {
    if effects.wait_for(|effect| !effect.blackhole).await.is_err() {
        // The proxy is gone, and ends this connection.
        std::future::pending().await
    }
}

/// Waits until so many bytes are through the line, as long as it is narrow.
async fn narrow(link: &Link, bytes: usize, effects: &mut watch::Receiver<Effect>) {
    let Some(per_second) = effects.borrow().bandwidth else {
        return;
    };
    let through = link.take(bytes, per_second, Instant::now());
    tokio::select! {
        () = sleep_until(through) => {}
        _ = effects.wait_for(|effect| effect.bandwidth.is_none()) => {}
    }
}
