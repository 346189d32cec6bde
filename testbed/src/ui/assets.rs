//! The page's files, as they are in this folder: no build step, nothing from elsewhere.

use axum::extract::Path;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Only the page's own files, its own server, and no inline script or style.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PAGE: Asset = Asset {
    name: "page.html",
    kind: "text/html; charset=utf-8",
    text: include_str!("page.html"),
};

const FILES: &[Asset] = &[
    Asset::style("style.css", include_str!("style.css")),
    Asset {
        name: "icon.svg",
        kind: "image/svg+xml",
        text: include_str!("icon.svg"),
    },
    Asset::script("colormap.js", include_str!("colormap.js")),
    Asset::script("fields.js", include_str!("fields.js")),
    Asset::script("main.js", include_str!("main.js")),
    Asset::script("picture.js", include_str!("picture.js")),
    Asset::script("problem.js", include_str!("problem.js")),
    Asset::script("row.js", include_str!("row.js")),
    Asset::script("session.js", include_str!("session.js")),
    Asset::script("tally.js", include_str!("tally.js")),
    Asset::script("xxh3.js", include_str!("xxh3.js")),
];

/// One file.
#[derive(Debug, Clone, Copy)]
struct Asset {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

impl Asset {
    const fn script(name: &'static str, text: &'static str) -> Self {
        let kind = "text/javascript; charset=utf-8";
        Self { name, kind, text }
    }

    const fn style(name: &'static str, text: &'static str) -> Self {
        let kind = "text/css; charset=utf-8";
        Self { name, kind, text }
    }
}

impl IntoResponse for Asset {
    fn into_response(self) -> Response {
        let headers: [(HeaderName, &'static str); 5] = [
            (header::CONTENT_TYPE, self.kind),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            // A page of yesterday's server must not talk to today's.
            (header::CACHE_CONTROL, "no-cache"),
        ];
        (headers, self.text).into_response()
    }
}

/// `GET /panda`.
pub(crate) async fn page() -> Response {
    PAGE.into_response()
}

/// `GET /panda/{file}`.
pub(crate) async fn file(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|file| file.name == name) {
        Some(file) => file.into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
