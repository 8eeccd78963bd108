use std::path::Path;

use coderag_core::{Error as CoreError, atomic};
use coderag_eval::report::figures::{Bytes, Duration, Number};
use coderag_eval::report::markup::{Count, Escaped, Percent};
use coderag_eval::report::{About, Definitions, Page, Section};

use super::RunSummary;
use super::charts::charts;
use super::data_table::DataTable;
use super::scores_table::ScoresTable;
use crate::Result;
use crate::record::Record;

/// Writes how a run went as one file of HTML that needs nothing else, neither a network nor JavaScript (which
/// adds the values under the pointer).
///
/// # Errors
/// [`Error::Core`](crate::Error::Core) when the file cannot be written.
pub fn write_html(path: &Path, summary: &RunSummary, records: &[Record]) -> Result<()> {
    let html = html(summary, records);
    atomic::write_file(path, |file| {
        file.write_all(html.as_bytes()).map_err(CoreError::io("write", path))
    })?;
    Ok(())
}

fn html(summary: &RunSummary, records: &[Record]) -> String {
    let about =
        About { title: format!("Training of {}", summary.config.model), facts: facts(summary) };
    let mut sections = Vec::new();
    let mut add = |id, title, content: String| sections.push(Section { id, title, content });
    let warnings = summary.warnings.iter();
    let warnings: String = warnings
        .map(|warning| format!("<p class=\"warning\">{}</p>\n", Escaped(warning)))
        .collect();
    add("scores", "Scores", format!("{warnings}{}", ScoresTable(summary)));
    let charts = charts(summary, records);
    if !charts.is_empty() {
        add("course", "Course of training", charts);
    }
    add("data", "Data", DataTable(summary).to_string());
    let config = summary.config_toml();
    add("settings", "Settings", format!("<pre><code>{}</code></pre>\n", Escaped(&config)));
    add("definitions", "What the words mean", Definitions(WORDS.to_vec()).to_string());
    let (style, script) = (include_str!("report.css"), include_str!("report.js"));
    Page { about: &about, sections: &sections, style, script }.to_string()
}

fn facts(summary: &RunSummary) -> Vec<(String, String)> {
    let mut facts = Vec::new();
    let mut add = |name: &str, value: String| facts.push((name.to_owned(), value));
    let config = &summary.config;
    add("model", config.model.clone());
    add("its fingerprint", summary.model_fingerprint.to_string());
    let names: Vec<&str> = config.stages.iter().map(|stage| stage.name.as_str()).collect();
    add("stages", names.join(", "));
    add("begun", summary.started.clone());
    add("duration", Duration(summary.seconds).to_string());
    let (steps, planned) = (Count(summary.steps as usize), Count(summary.planned_steps as usize));
    add("steps", format!("{steps} of {planned}"));
    let a_second = |count: u64| Number(count as f64 / summary.seconds.max(1e-9));
    let count = |count: u64| Count(count as usize);
    add("pairs", format!("{}, {} a second", count(summary.pairs), a_second(summary.pairs)));
    add("tokens", format!("{}, {} a second", count(summary.tokens), a_second(summary.tokens)));
    let share = summary.trained_parameters as f64 / summary.total_parameters.max(1) as f64;
    let (trained, total) = (count(summary.trained_parameters), count(summary.total_parameters));
    add("trained parameters", format!("{trained} of {total} ({})", Percent(share)));
    if let Some(bytes) = summary.peak_memory {
        add("most memory", Bytes(bytes).to_string());
    }
    add("CodeRAG", summary.coderag_version.clone());
    facts
}

const WORDS: [(&str, &str); 6] = [
    (
        "recall@k",
        "The share of a query\u{2019}s positives among the k most similar documents, on average over the \
         queries.",
    ),
    (
        "MRR@10",
        "1 / the place of the first positive among the 10 most similar documents, 0 without one, on average.",
    ),
    (
        "nDCG@10",
        "The gain of positives among the 10 most similar documents, discounted by the logarithm of their \
         places, as a share of the best possible. The best measurement is the one with the highest.",
    ),
    (
        "Margin",
        "The cosine of a query and its most similar positive, less that of the most similar document that is \
         none.",
    ),
    (
        "Hardest negative",
        "The most similar document that is no positive: of the development set in the table of scores, of the \
         batch in the charts.",
    ),
    (
        "Repeated texts",
        "Examples with a text that an earlier example has, differences in white space aside.",
    ),
];
