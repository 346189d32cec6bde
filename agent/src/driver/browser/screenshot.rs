//! Pictures of a page, bounded in size.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::json;
use tokio::time::Instant;

use super::failure::Trouble;
use super::form::Viewport;
use super::page::Page;
use crate::driver::limits;

/// Why a page that holds a secret has no picture.
pub(super) const SECRET: &str =
    "no screenshot is taken of a page into which a secret was put, for pictures cannot be masked";

/// Takes a PNG of what the page shows, at a smaller size if it would be too large.
pub(super) async fn take(
    page: &Page,
    viewport: Viewport,
    until: Instant,
) -> Result<Bytes, Trouble> {
    for scale in [1.0, 0.5, 0.25] {
        let params = json!({
            "format": "png",
            "clip": { "x": 0, "y": 0, "width": viewport.width, "height": viewport.height, "scale": scale },
        });
        let reply = page.call("Page.captureScreenshot", params, until).await?;
        let picture = reply["data"]
            .as_str()
            .and_then(|data| STANDARD.decode(data).ok())
            .ok_or_else(|| Trouble::Refused("the browser's picture is no base64".to_owned()))?;
        if picture.len() <= limits::SCREENSHOT_BYTES {
            return Ok(picture.into());
        }
    }
    let limit = limits::SCREENSHOT_BYTES;
    Err(Trouble::Refused(format!(
        "the picture of the page is larger than {limit} bytes even at a quarter of its size"
    )))
}
