//! What a job shows now: the view that it was configured with, until commands change it. A row takes all of it at once.

use std::sync::{Arc, PoisonError, RwLock};

use crate::broker::Colormap;
use crate::view::View;

/// What rows are made from.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub(crate) view: Arc<View>,
    /// Minimum and maximum that rows announce; none: the extrema so far.
    pub(crate) axis: Option<(f32, f32)>,
    /// For viewers only.
    pub(crate) colormap: Colormap,
}

/// What a job shows. Changes come one at a time, from the job's own queue.
#[derive(Debug)]
pub(crate) struct Display {
    shown: RwLock<Arc<Shown>>,
}

impl Display {
    pub(crate) fn new(view: View) -> Self {
        let shown = Shown {
            view: Arc::new(view),
            axis: None,
            colormap: Colormap::default(),
        };
        Self {
            shown: RwLock::new(Arc::new(shown)),
        }
    }

    /// What is shown now.
    pub(crate) fn shown(&self) -> Arc<Shown> {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&shown)
    }

    /// Shows another view with as many streams.
    pub(crate) fn show(&self, view: View) {
        self.change(|shown| shown.view = Arc::new(view));
    }

    pub(crate) fn set_axis(&self, min: f32, max: f32) {
        self.change(|shown| shown.axis = Some((min, max)));
    }

    pub(crate) fn paint(&self, colormap: Colormap) {
        self.change(|shown| shown.colormap = colormap);
    }

    fn change(&self, change: impl FnOnce(&mut Shown)) {
        let mut shown = self.shown.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = Shown::clone(&shown);
        change(&mut next);
        *shown = Arc::new(next);
    }
}
