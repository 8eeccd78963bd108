use std::fmt::Write as _;

use coderag_eval::report::markup::{Count, Escaped, Percent};

use super::bars::share;
use crate::config::Prices;
use crate::output::Manifest;

/// The figures that a reader looks for first, and what one must know before they are believed.
pub(super) fn headline(manifest: &Manifest) -> String {
    let count = |number: u64| Count(number as usize);
    let sum =
        |of: fn(&crate::output::TaskCounts) -> u64| manifest.tasks.iter().map(of).sum::<u64>();
    let (accepted, wanted) = (manifest.accepted(), sum(|task| task.wanted));
    let (candidates, failed) = (sum(|task| task.candidates), sum(|task| task.failed));
    let requests = &manifest.requests;
    let mut figures: Vec<(&str, String, String)> = vec![
        ("Rows", count(accepted).to_string(), format!("of {} wanted", count(wanted))),
        ("Candidates", count(candidates).to_string(), format!("{} not answered", count(failed))),
        (
            "Yield",
            Percent(share(accepted, candidates.saturating_sub(failed))).to_string(),
            "of the candidates that were answered".to_owned(),
        ),
    ];
    figures.push(match manifest.rows_per_hour() {
        Some(rate) => (
            "Rows an hour",
            Count(rate.round() as usize).to_string(),
            "of the calls that asked the model something".to_owned(),
        ),
        None => {
            ("Rows an hour", "\u{2013}".to_owned(), "no call asked the model anything".to_owned())
        }
    });
    figures.push((
        "Tokens",
        count(requests.tokens()).to_string(),
        format!(
            "{} of prompts, of which {} were not evaluated again, and {} of answers",
            count(requests.prompt_tokens),
            count(requests.cached_tokens),
            count(requests.completion_tokens)
        ),
    ));
    figures.push(if manifest.run.config.budget.prices == Prices::default() {
        ("Money", "\u{2013}".to_owned(), "the settings have no prices".to_owned())
    } else {
        let each = share_of_money(manifest.money, accepted);
        ("Money", format!("{:.2}", manifest.money), format!("in the currency of the prices{each}"))
    });
    let mut text = warnings(manifest);
    // Writing to a text cannot fail.
    let _ = writeln!(text, "<div class=\"scores\">");
    for (name, figure, remark) in figures {
        let _ = writeln!(
            text,
            "<div class=\"score\">\n<h3>{name}</h3>\n<p class=\"figure\">{figure}</p>\n<p class=\"muted\">{remark}</p>\n</div>"
        );
    }
    text.push_str("</div>\n");
    text
}

fn share_of_money(money: f64, rows: u64) -> String {
    if rows == 0 { String::new() } else { format!(", {:.4} a row", money / rows as f64) }
}

fn warnings(manifest: &Manifest) -> String {
    let mut text = String::new();
    let mut warn = |warning: String| {
        text.push_str(&format!("<p class=\"warning\">{warning}</p>\n"));
    };
    if !manifest.finished {
        warn("The run has not ended; the same command goes on.".to_owned());
    }
    for task in &manifest.tasks {
        if manifest.finished && task.accepted < task.wanted {
            warn(format!(
                "The task {} ended with {} of {} rows, after as many candidates as the settings allow.",
                Escaped(&task.name),
                Count(task.accepted as usize),
                Count(task.wanted as usize)
            ));
        }
        if task.failed > 0 {
            warn(format!(
                "The model did not answer {} candidates of the task {}; the next call asks again.",
                Count(task.failed as usize),
                Escaped(&task.name)
            ));
        }
    }
    if manifest.run.config.gates.contamination.sets.is_empty() {
        warn(
            "The rows were compared with no evaluation set; they may hold texts of one.".to_owned(),
        );
    }
    text
}
