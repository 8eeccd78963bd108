//! What a run made, for people: `report.html` in its folder.

mod bars;
mod definitions;
mod distributions;
mod headline;
mod html;
mod lengths;
mod origin;
mod reasons;
mod requests;
mod samples;
mod survey;
mod table;
mod yields;

pub(crate) use self::html::write_html;
pub(crate) use self::survey::Survey;

#[cfg(test)]
mod tests;
