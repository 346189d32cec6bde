//! What a coordinator is told by whoever starts it. Nothing binds before it is complete.
use crate::limits;
use crate::registry::lease::Terms;
use crate::report::model::{Extras, Report};
use crate::report::render;
use crate::run::Renderer;
use crate::store::{MemoryStore, RunStore};
use crate::verdict::Process;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use testmesh_shared::error::Chain;

/// Everything a coordinator needs to know.
#[derive(Clone)]
pub struct Config {
    /// Where agents and command lines dial; port 0 takes a free one.
    pub listen: SocketAddr,
    /// When silent agents are suspect, and lost.
    pub terms: Terms,
    /// Whether agents and coordinator share one process.
    pub process: Process,
    /// Where sealed runs go.
    pub store: Arc<dyn RunStore>,
    /// How they are rendered.
    pub render: Renderer,
}

impl Config {
    /// The coordinator of a local run: its agents are in the same process.
    pub fn local(listen: SocketAddr) -> Self {
        Self {
            process: Process::Shared,
            ..Self::mesh(listen)
        }
    }

    /// The coordinator of a mesh whose agents dial in from elsewhere.
    pub fn mesh(listen: SocketAddr) -> Self {
        Self {
            listen,
            terms: Terms {
                suspect_after: limits::SUSPECT_AFTER,
                lost_after: limits::LOST_AFTER,
            },
            process: Process::Apart,
            store: Arc::new(MemoryStore::new(limits::MAX_STORED_RUNS)),
            render: render_all,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("listen", &self.listen)
            .field("terms", &self.terms)
            .field("process", &self.process)
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

/// A file that cannot be rendered is worse than none only if nobody hears of it.
fn render_all(report: &Report, extras: &Extras) -> Vec<(String, Vec<u8>)> {
    let rendered = render::each(report, extras).filter_map(|(name, rendered)| match rendered {
        Ok(content) => Some((name.to_owned(), content)),
        Err(error) => {
            tracing::error!(error = %Chain(&error), "a file of the report cannot be rendered");
            None
        }
    });
    rendered.chain(extras.screenshots.iter().cloned()).collect()
}
