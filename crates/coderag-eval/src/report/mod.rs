//! The scores as one HTML file that a browser shows without a network: charts by hardness and by outcome,
//! the components, the databases, where the metrics disagree, and the questions themselves.
//!
//! The file is valid XML besides. Without JavaScript only the filters of the questions are missing.
//!
//! [`Page`], [`Definitions`] and [`markup`] are for reports of anything.

mod bird;
mod components;
mod computed;
mod databases;
mod definitions;
mod disagreements;
mod html;
mod interval;
mod level_chart;
pub mod markup;
mod outcomes;
mod page;
mod question;
mod question_table;
mod scores;

pub use bird::bird_html_report;
pub use definitions::Definitions;
pub use html::html_report;
pub use page::{About, Page, Section};
