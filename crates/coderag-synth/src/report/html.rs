use std::path::Path;

use coderag_core::{Error as CoreError, atomic};
use coderag_eval::report::{About, Page, Section};

use super::definitions::definitions;
use super::distributions::distributions;
use super::headline::headline;
use super::origin::origin;
use super::requests::requests;
use super::survey::Survey;
use super::{samples, yields};
use crate::Result;
use crate::output::Manifest;

/// Writes what a run made as one file of HTML that needs neither a network nor JavaScript.
///
/// # Errors
/// [`Error::Core`](crate::Error::Core) when the file cannot be written.
pub(crate) fn write_html(path: &Path, manifest: &Manifest, survey: &Survey) -> Result<()> {
    let html = html(manifest, survey);
    Ok(atomic::write_file(path, |file| {
        file.write_all(html.as_bytes()).map_err(CoreError::io("write", path))
    })?)
}

pub(super) fn html(manifest: &Manifest, survey: &Survey) -> String {
    let about =
        About { title: format!("Synthesis by {}", manifest.run.model), facts: facts(manifest) };
    let mut sections = Vec::new();
    let mut add = |id, title, content: String| sections.push(Section { id, title, content });
    add("figures", "Figures", headline(manifest));
    add("gates", "What the gates let through", yields::yields(manifest));
    if !survey.reasons.is_empty() {
        add("reasons", "Why candidates were turned away", yields::reasons(survey));
    }
    add("rows", "What the rows are like", distributions(manifest, survey));
    add("accepted", "Some accepted rows", samples::accepted(&survey.accepted));
    add("rejected", "Some rejected candidates", samples::rejected(&survey.rejected));
    add("requests", "Requests", requests(manifest));
    add("origin", "What it was made from", origin(manifest));
    add("definitions", "What the words mean", definitions().to_string());
    let style = include_str!("report.css");
    Page { about: &about, sections: &sections, style, script: "" }.to_string()
}

fn facts(manifest: &Manifest) -> Vec<(String, String)> {
    let run = &manifest.run;
    let mut facts = Vec::new();
    let mut add = |name: &str, value: String| facts.push((name.to_owned(), value));
    add("model", run.model.clone());
    add("seed", run.config.seed.to_string());
    add("begun", run.started.clone());
    if let Some(call) = manifest.calls.last() {
        add("last call ended", call.ended.clone());
    }
    add("state", if manifest.finished { "ended" } else { "can go on" }.to_owned());
    add("CodeRAG", run.coderag_version.clone());
    facts
}
