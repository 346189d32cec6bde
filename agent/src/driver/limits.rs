//! Every capacity and time-out of the drivers, with its reason.

use std::time::Duration;

/// Bodies and messages larger than this are refused, unless the target says otherwise. What gRPC libraries use.
pub(crate) const BODY_BYTES: usize = 4 * 1024 * 1024;

/// A stream without a time-out of its own must bring its first message within this time…
pub(crate) const FIRST_MESSAGE: Duration = Duration::from_secs(30);

/// … and each further one within this.
pub(crate) const NEXT_MESSAGE: Duration = Duration::from_secs(60);

/// Connects in flight to one address. Accept queues are as short as 128 on many servers; beyond them the kernel drops
/// SYNs, and the client tries again only a second later.
pub(crate) const CONNECTS_IN_FLIGHT: usize = 64;

/// Addresses that the gate remembers before it forgets those that nobody waits for.
pub(crate) const GATES: usize = 1_024;

/// Keys in one store of connections. A virtual user that talks to a new address in each session keeps the latest ones.
pub(crate) const POOLS: usize = 256;

/// HTTP/2 windows, unless the stage says otherwise: hyper's, and so tonic's, defaults. Recorded in the report, since a
/// stream is never faster than window ÷ round trip.
pub(crate) const STREAM_WINDOW: u32 = 2 * 1024 * 1024;
/// See [`STREAM_WINDOW`].
pub(crate) const CONNECTION_WINDOW: u32 = 5 * 1024 * 1024;

/// Bytes of small frames that may wait unread on one connection before `h2` closes it. A server that sends many small
/// messages is what is measured, not an attack; the windows bound what can wait.
pub(crate) const SMALL_FRAMES_BYTES: usize = 1 << 30;

/// Response headers larger than this are a protocol error.
pub(crate) const HEADER_LIST_BYTES: u32 = 64 * 1024;

/// Files that one server's reflection may answer with.
pub(crate) const REFLECTED_FILES: usize = 1_000;
/// And bytes of them: the descriptors of great services have a few hundred KiB.
pub(crate) const REFLECTED_BYTES: usize = 16 * 1024 * 1024;

/// Between two heartbeats of an AMQP connection, in seconds, unless its URI says otherwise: one whose peer is gone without a
/// word is found within twice that, where RabbitMQ's own 60 s would take two minutes.
#[cfg(feature = "amqp")]
pub(crate) const AMQP_HEARTBEAT: u16 = 10;

/// How long a closed AMQP connection may take to say goodbye before its socket is shut.
#[cfg(feature = "amqp")]
pub(crate) const AMQP_GOODBYE: Duration = Duration::from_secs(2);

/// Names, keys and short properties of AMQP have a length of one byte.
#[cfg(feature = "amqp")]
pub(crate) const AMQP_NAME_BYTES: usize = 255;

/// Messages of a queue that one stage may hold back or keep. While it holds them nobody else can have them.
#[cfg(feature = "amqp")]
pub(crate) const AMQP_HELD: i64 = 1_000;

/// Messages on their way to a stage that acknowledges each: enough to keep the line busy, at most so many times the
/// broker's largest message in memory.
#[cfg(feature = "amqp")]
pub(crate) const AMQP_PREFETCH: u16 = 64;

/// An own queue of a stage is deleted by the broker after so long without a consumer, should the stage be cut.
#[cfg(feature = "amqp")]
pub(crate) const AMQP_OWN_QUEUE: Duration = Duration::from_secs(60);

/// And a queue that a plan bound, unless it says otherwise…
#[cfg(feature = "amqp")]
pub(crate) const AMQP_EXPIRES: Duration = Duration::from_secs(300);

/// … which it can up to this.
#[cfg(feature = "amqp")]
pub(crate) const AMQP_EXPIRES_MOST: Duration = Duration::from_secs(86_400);

/// Queues on one page of the management API, which allows no more…
#[cfg(feature = "amqp")]
pub(crate) const AMQP_PAGE: usize = 500;

/// … and pages that are asked for: a list of more queues than that is no answer to a plan.
#[cfg(feature = "amqp")]
pub(crate) const AMQP_PAGES: u32 = 20;

/// Bytes of one page of the management API.
#[cfg(feature = "amqp")]
pub(crate) const AMQP_PAGE_BYTES: usize = 16 * 1024 * 1024;

/// Objects of Kubernetes in one answer, which is then asked on…
#[cfg(feature = "kubernetes")]
pub(crate) const KUBERNETES_PAGE: usize = 500;

/// … and in all: a stage that looks at more looks at the wrong ones.
#[cfg(feature = "kubernetes")]
pub(crate) const KUBERNETES_OBJECTS: usize = 5_000;

/// Bytes of one answer, unless the target says otherwise: a page of large objects has some megabytes.
#[cfg(feature = "kubernetes")]
pub(crate) const KUBERNETES_BODY: usize = 16 * 1024 * 1024;

/// A watch is ended by the server after so many seconds, and asked for again; what Kubernetes' own clients do.
#[cfg(feature = "kubernetes")]
pub(crate) const KUBERNETES_WATCH: u32 = 290;

/// From the start of one watch to that of the next, at least: a server that closes each at once is not to be flooded.
#[cfg(feature = "kubernetes")]
pub(crate) const KUBERNETES_WATCH_AGAIN: Duration = Duration::from_millis(250);

/// Pods whose logs one stage reads, and lines of each unless it says otherwise.
#[cfg(feature = "kubernetes")]
pub(crate) const KUBERNETES_LOGS: usize = 100;
/// See [`KUBERNETES_LOGS`].
#[cfg(feature = "kubernetes")]
pub(crate) const KUBERNETES_LINES: i64 = 1_000;

/// A driver that has something to say about a time-out ends its try so long before the session cuts it.
#[cfg(any(feature = "amqp", feature = "kubernetes"))]
pub(crate) const LAST_WORDS: Duration = Duration::from_millis(10);

/// How much of a body is kept for a finding, which shows 2 KiB of it.
pub(crate) const EVIDENCE_BYTES: usize = 2 * 1024;

/// Between two looks whether the worker has taken the rows that wait to be compared.
pub(crate) const ROOM_TRY: Duration = Duration::from_millis(1);

/// Looks until a stream reads on all the same: a second, in which a worker that is alive hands over many times as much.
pub(crate) const ROOM_TRIES: u32 = 1_000;

/// Documents of one answer, unless the stage has a `limit`: a list that expressions look at, not an export.
#[cfg(feature = "mongodb")]
pub(crate) const DOCUMENTS: usize = 10_000;

/// Connections of a MongoDB client that one session or virtual user has, or all sessions of an agent where the target says
/// nothing: what MongoDB's own drivers begin with.
#[cfg(feature = "mongodb")]
pub(crate) const MONGODB_CONNECTIONS: u32 = 10;

/// Connects in flight of one MongoDB client; more than its default of two, which would make a burst of sessions wait.
#[cfg(feature = "mongodb")]
pub(crate) const MONGODB_CONNECTING: u32 = 16;

/// How long a MongoDB client waits for one connection, unless its connection string says otherwise: its default.
#[cfg(feature = "mongodb")]
pub(crate) const MONGODB_CONNECT: Duration = Duration::from_secs(10);

/// Actions of one browser stage.
#[cfg(feature = "browser")]
pub(crate) const BROWSER_ACTIONS: usize = 1_000;

/// From starting a Chromium until it can be connected to: a second on a quiet machine, ten on one that is full.
#[cfg(feature = "browser")]
pub(crate) const BROWSER_START: Duration = Duration::from_secs(30);

/// For a Chromium to end once it is killed, and for its folder to be removed.
#[cfg(feature = "browser")]
pub(crate) const BROWSER_END: Duration = Duration::from_secs(5);

/// For the end of a Chromium to be seen after its connection closed, before it is killed.
#[cfg(feature = "browser")]
pub(crate) const BROWSER_ENDED: Duration = Duration::from_millis(300);

/// How often a Chromium is asked whether it is there…
#[cfg(feature = "browser")]
pub(crate) const BROWSER_ASK: Duration = Duration::from_secs(5);

/// … and how long it may be silent before it is killed: pages may keep both cores busy, but not the browser itself.
#[cfg(feature = "browser")]
pub(crate) const BROWSER_SILENCE: Duration = Duration::from_secs(15);

/// For one call that no stage waits for, such as closing a page.
#[cfg(feature = "browser")]
pub(crate) const BROWSER_CALL: Duration = Duration::from_secs(10);

/// Calls that wait to be written to a browser, of all pages.
#[cfg(feature = "browser")]
pub(crate) const BROWSER_CALLS: usize = 1_024;

/// Sessions that wait for the browser's thread to take their wish for a page.
#[cfg(feature = "browser")]
pub(crate) const BROWSER_OPENS: usize = 1_024;

/// The largest message of a browser: a picture of the largest page, or what a script gives, which is bounded below it.
#[cfg(feature = "browser")]
pub(crate) const BROWSER_MESSAGE_BYTES: usize = 64 * 1024 * 1024;

/// What is kept of what a Chromium says while it starts: a few lines.
#[cfg(feature = "browser")]
pub(crate) const BROWSER_SAID: usize = 8 * 1024;

/// Messages of a page's console, and errors of a page, that are kept between two stages. The rest are counted.
#[cfg(feature = "browser")]
pub(crate) const BROWSER_CONSOLE: usize = 100;

/// The most characters of one of them.
#[cfg(feature = "browser")]
pub(crate) const BROWSER_CONSOLE_CHARS: usize = 500;

/// The most characters that `eval` may give, as JSON.
#[cfg(feature = "browser")]
pub(crate) const BROWSER_VALUE_CHARS: usize = 256 * 1024;

/// What a failure shows of the page's text in its message; its evidence has [`EVIDENCE_BYTES`].
#[cfg(feature = "browser")]
pub(crate) const BROWSER_EXCERPT_CHARS: usize = 200;

/// A stage on a page gives up this part of its time-out before it ends, to look at what the page shows: a tenth, at least
/// and at most this much.
#[cfg(feature = "browser")]
pub(crate) const BROWSER_MARGIN: (Duration, Duration) =
    (Duration::from_millis(100), Duration::from_millis(1_500));

/// For a look at what a page shows when its stage has failed.
#[cfg(feature = "browser")]
pub(crate) const BROWSER_LOOK: Duration = Duration::from_secs(3);

/// The largest picture that is kept; larger ones are taken again at half the size, twice at most.
#[cfg(feature = "browser")]
pub(crate) const SCREENSHOT_BYTES: usize = 512 * 1024;
