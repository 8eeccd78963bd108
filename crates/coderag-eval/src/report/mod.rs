//! The scores as one HTML file that a browser shows without a network: charts by hardness and by outcome,
//! the components, the databases, where the metrics disagree, and the questions themselves.
//!
//! The file is valid XML besides. Without JavaScript only the filters of the questions are missing.
//!
//! [`Page`], [`Definitions`], [`markup`] and [`figures`] are for reports of anything, [`quoting`] for cards.

mod bird;
mod components;
mod computed;
mod databases;
mod definitions;
mod disagreements;
pub mod figures;
mod html;
mod interval;
mod level_chart;
pub mod markup;
mod outcomes;
mod page;
mod question;
mod question_table;
pub mod quoting;
mod scores;

pub use bird::bird_html_report;
pub use definitions::Definitions;
pub use html::html_report;
pub use page::{About, Page, Section};
