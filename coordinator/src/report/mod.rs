//! Reports: the model that a sealed run is told in, and one renderer per form.
//!
//! [`render::files`] makes every file of a report; [`terminal`] makes the summary that a run prints. Renderers compute
//! nothing: what a reader sees in one form stands in all.
pub mod format;
pub mod html;
pub mod json;
pub mod junit;
pub mod model;
pub mod render;
pub mod table;
pub mod terminal;
pub mod windows;
