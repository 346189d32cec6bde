//! The page's side of a bridge: what it may still be sent, and whether it is there.

use axum::extract::ws::{Message, WebSocket};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::limits::{PAGE_HEARD_WITHIN, PAGE_WRITE};

/// How many rows the page will take before it says that it has drawn some: a browser has no other way to push back.
#[derive(Debug)]
pub(crate) enum Credit {
    /// The connection alone pushes back.
    Unlimited,
    /// As many rows as this has permits.
    Window { permits: Semaphore, most: usize },
}

impl Credit {
    pub(crate) fn new(window: Option<usize>) -> Self {
        match window {
            None => Self::Unlimited,
            Some(most) => Self::Window {
                permits: Semaphore::new(most),
                most,
            },
        }
    }

    /// Waits until a row may be sent, and counts it.
    ///
    /// # Cancel safety
    ///
    /// A row is counted only when this returns.
    pub(crate) async fn take(&self) {
        if let Self::Window { permits, .. } = self
            && let Ok(permit) = permits.acquire().await
        {
            permit.forget();
        }
    }

    /// The page has drawn rows. It cannot have drawn more than it was sent.
    fn give(&self, drawn: usize) {
        if let Self::Window { permits, most } = self {
            permits.add_permits(drawn.min(most.saturating_sub(permits.available_permits())));
        }
    }
}

/// Reads what the page says, until it is gone: it closed, broke off, or was not heard of for [`PAGE_HEARD_WITHIN`].
///
/// A text frame is the count of rows that it has drawn since the last; all else, and what is no count, only shows that it
/// is there.
pub(crate) async fn listen(page: &mut SplitStream<WebSocket>, credit: &Credit) {
    loop {
        match timeout(PAGE_HEARD_WITHIN, page.next()).await {
            Ok(Some(Ok(Message::Text(drawn)))) => credit.give(drawn.parse().unwrap_or(0)),
            Ok(Some(Ok(Message::Close(_)) | Err(_)) | None) | Err(_) => return,
            Ok(Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_)))) => {}
        }
    }
}

/// The page took nothing for [`PAGE_WRITE`], or is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the page does not read")]
pub(crate) struct Unread;

/// Sends one frame, and waits until it is on its way.
pub(crate) async fn send(
    page: &mut SplitSink<WebSocket, Message>,
    frame: Message,
) -> Result<(), Unread> {
    match timeout(PAGE_WRITE, page.send(frame)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Unread),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_window_is_used_up_and_given_back_but_never_widened() {
        let credit = Credit::new(Some(2));
        assert!(credit.take().now_or_never().is_some());
        assert!(credit.take().now_or_never().is_some());
        assert!(credit.take().now_or_never().is_none(), "two were sent");
        credit.give(1_000);
        assert!(credit.take().now_or_never().is_some());
        assert!(credit.take().now_or_never().is_some());
        assert!(
            credit.take().now_or_never().is_none(),
            "two, not a thousand"
        );
    }
}
