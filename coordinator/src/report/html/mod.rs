//! `report.html`: the whole report as one file that works offline, in light and dark, on screen and on paper.
//!
//! `page` lays the sections out; `plot` draws anything with axes over the scales of `scale`; `over_time`, `stages`
//! and `tables` turn parts of the model into plots and tables. Plots are drawn here, as SVG that stretches with the page;
//! labels are text of the page, so that they never stretch. The script only reads values out under the pointer: without
//! it, everything is still there.
mod over_time;
mod page;
mod plot;
mod scale;
mod slowest;
mod stages;
mod tables;

pub use page::render;
