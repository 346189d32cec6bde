//! Reports: the model that a sealed run is told in, and one renderer per form.
pub mod model;
