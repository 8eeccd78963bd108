//! How a run went, for people.

mod axis;
mod bins;
mod charts;
mod data_table;
mod html;
mod line_chart;
mod scores_table;
mod summary;

pub use html::write_html;
pub use summary::RunSummary;
