use std::cmp::Reverse;
use std::collections::BTreeMap;

use coderag_eval::report::figures::Number;
use coderag_eval::report::markup::{Count, Percent};

use super::bars::{Bar, Bars, share};
use super::lengths::bounds;
use super::survey::Survey;
use super::table::{Column, Table};
use crate::config::Category;
use crate::output::Manifest;

/// What the accepted rows are like.
pub(super) fn distributions(manifest: &Manifest, survey: &Survey) -> String {
    let whole = manifest.accepted();
    if whole == 0 {
        return "<p>There are no rows.</p>\n".to_owned();
    }
    let mut text = String::from("<div class=\"distributions\">\n");
    let mut add = |title: &str, counts: Vec<(String, u64)>| {
        if !counts.is_empty() {
            let bars = Bars { title, counts, whole };
            text.push_str(&format!("<div>\n{bars}</div>\n"));
        }
    };
    add("task", manifest.tasks.iter().map(|task| (task.name.clone(), task.accepted)).collect());
    let of_category = |category: Category| {
        let tasks = manifest.tasks.iter().filter(|task| task.category == category);
        (category.id().replace('_', " "), tasks.map(|task| task.accepted).sum())
    };
    let categories = Category::ALL.map(of_category);
    add("category", categories.into_iter().filter(|(_, count)| *count > 0).collect());
    let languages = survey.languages.iter().map(|(language, count)| (language.to_string(), *count));
    add("language", most_frequent_first(languages.collect()));
    for (name, counts) in &survey.choices {
        let list = manifest.run.config.choices.get(name).map_or(&[][..], Vec::as_slice);
        if counts.is_empty() {
            continue;
        }
        let count = |name: &str| counts.get(name).copied().unwrap_or_default();
        add(name, list.iter().map(|choice| (choice.name.clone(), count(&choice.name))).collect());
    }
    for (title, counts) in [
        ("measured complexity", &survey.measured_complexity),
        ("licence of the code it began with", &survey.licences),
        ("the model\u{2019}s label", &survey.labels),
    ] {
        add(title, most_frequent_first(of_names(counts)));
    }
    text.push_str("</div>\n");
    text.push_str(&lengths(survey, whole));
    text
}

fn of_names(counts: &BTreeMap<String, u64>) -> Vec<(String, u64)> {
    counts.iter().map(|(name, count)| (name.clone(), *count)).collect()
}

fn most_frequent_first(mut counts: Vec<(String, u64)>) -> Vec<(String, u64)> {
    counts.sort_by_key(|(_, count)| Reverse(*count));
    counts
}

fn lengths(survey: &Survey, whole: u64) -> String {
    let Survey { anchors, positives, .. } = survey;
    let cell = |count: u64| {
        let share = share(count, whole);
        format!(
            "{} <span class=\"muted\">{}</span>{}",
            Count(count as usize),
            Percent(share),
            Bar(share)
        )
    };
    let row = |class: u32| {
        let (low, high) = bounds(class);
        let range = format!("{} to {}", Count(low as usize), Count(high as usize));
        vec![range, cell(anchors.of_class(class)), cell(positives.of_class(class))]
    };
    let rows = anchors.classes(positives).map(row).collect();
    let columns =
        [Column::Number("characters"), Column::Number("anchors"), Column::Number("positives")];
    let table = Table { label: "Lengths", columns: &columns, rows };
    let mean = |mean: Option<f64>| Number(mean.unwrap_or_default().round()).to_string();
    format!(
        "<h3 class=\"below\">Lengths</h3>\n<p>On average an anchor has {} characters, a positive {}.</p>\n{table}",
        mean(anchors.mean()),
        mean(positives.mean())
    )
}
