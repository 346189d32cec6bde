//! The REST API's listener, which a behavior may restart while MongoDB is away, as the real server's pod does.
//!
//! Jobs have listeners of their own and go on, as their pods do.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use testmesh_shared::shutdown::Tasks;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tower::ServiceExt;

use crate::behavior::Kind;
use crate::http::router;
use crate::limits::{CONNECTION_GRACE, MONGODB_HEARTBEAT, RESTART, SHUTDOWN_ABORT, SHUTDOWN_GRACE};
use crate::serve::{Protocol, accept};
use crate::server::Server;
use crate::testbed::listen;

/// How often a taken port, or a behavior that is off, is looked at again.
const LOOK: Duration = Duration::from_millis(200);

/// Serves the API until the testbed drains and its connections are gone.
pub(crate) async fn serve_rest(
    mut listener: TcpListener,
    address: SocketAddr,
    server: Arc<Server>,
) {
    let router = router(Arc::clone(&server));
    loop {
        // Its own tasks, so that all of its connections can be ended without the testbed.
        let life = Tasks::new(server.tasks.shutdown().child());
        let service = |_| {
            let router = router.clone();
            service_fn(move |request: Request<Incoming>| {
                let answer = router.clone().oneshot(request.map(axum::body::Body::new));
                async move { Ok::<_, Infallible>(answer.await.unwrap_or_else(|never| match never {})) }
            })
        };
        let crashed = tokio::select! {
            () = accept(listener, Protocol::Http, life.clone(), service) => false,
            () = crash(&server) => true,
        };
        if crashed {
            tracing::warn!("the REST API restarts, as a behavior wants it while MongoDB is away");
            server.restarts.fetch_add(1, Ordering::Relaxed);
            life.shutdown().abort();
        }
        let patience = if crashed {
            CONNECTION_GRACE
        } else {
            SHUTDOWN_GRACE + SHUTDOWN_ABORT
        };
        let left = life.join(patience).await;
        assert!(
            life.panicked().is_none(),
            "a request is a defect: {:?}",
            life.panicked()
        );
        if let Err(left) = left {
            tracing::error!(%left, "connections did not end");
        }
        if !crashed {
            return;
        }
        let Some(again) = come_back(&server, address).await else {
            return;
        };
        listener = again;
    }
}

/// Listens again after a while; none: the testbed drains.
async fn come_back(server: &Server, address: SocketAddr) -> Option<TcpListener> {
    let mut wait = RESTART;
    loop {
        tokio::select! {
            biased;
            () = server.tasks.shutdown().draining() => return None,
            () = sleep(wait) => {}
        }
        match listen(address) {
            Ok(listener) => return Some(listener),
            Err(error) => tracing::warn!(%error, "the REST API's port is taken"),
        }
        wait = LOOK;
    }
}

/// Waits until MongoDB has been away for longer than a heartbeat and a behavior wants a crash for it.
async fn crash(server: &Server) {
    let Some(store) = server.archive.store() else {
        return std::future::pending().await;
    };
    loop {
        store.link().lost().await;
        sleep(MONGODB_HEARTBEAT).await;
        let is_away = !store.link().is_up();
        if is_away && server.struck(Kind::CrashWithoutMongodb).is_some() {
            return;
        }
        sleep(LOOK).await;
    }
}
