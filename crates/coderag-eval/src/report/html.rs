use super::components::ComponentTable;
use super::computed::Computed;
use super::databases::DatabaseTable;
use super::definitions::{Definitions, INTERVAL};
use super::disagreements::Disagreements;
use super::level_chart::{Level, LevelChart, LevelTable, Mean};
use super::markup::{Count, share};
use super::outcomes::Outcomes;
use super::page::{About, Section, page};
use super::question_table::QuestionTable;
use super::scores::{Score, Scores};
use crate::scoring::QuestionScore;
use crate::summary::{LevelScores, Summary};

/// The scores of a file of predictions as one HTML file.
///
/// `summary` is that of `scores`. Metrics that were not computed are left out.
pub fn html_report(about: &About, summary: &Summary, scores: &[QuestionScore]) -> String {
    let mut sections = Vec::new();
    let mut add = |id, title, content| sections.push(Section { id, title, content });
    if scores.is_empty() {
        add("scores", "Scores", "<p>There are no questions.</p>\n".to_owned());
        return page(about, &sections);
    }
    let computed = Computed::of(summary);
    let metrics = computed.names();
    add("scores", "Scores", format!("{}{}", headline(summary), warnings(summary, scores)));
    let (joint, single): (Vec<_>, Vec<_>) =
        summary.levels.iter().partition(|(name, _)| name == "joint_all");
    let levels: Vec<Level> =
        single.iter().map(|(name, scores)| level(name, scores, computed)).collect();
    let chart = LevelChart { title: "hardness", metrics: &metrics, levels: &levels };
    let table = LevelTable { title: "hardness", metrics: &metrics, levels: &levels };
    add("hardness", "By hardness", format!("{chart}{table}{}", without_hardness(scores)));
    if !summary.turns.is_empty() {
        let turns = summary.turns.iter().map(|(name, scores)| level(name, scores, computed));
        let whole = joint.iter().map(|(_, scores)| level("whole interactions", scores, computed));
        let levels: Vec<Level> = turns.chain(whole).collect();
        let table = LevelTable { title: "turn", metrics: &metrics, levels: &levels };
        add("turns", "By turn", table.to_string());
    }
    let questions = computed.questions(scores);
    if let Some(outcomes) = Outcomes::of(&questions) {
        add("outcomes", "Outcomes of execution", outcomes.to_string());
    }
    if computed.exact_match {
        let levels = single.iter().map(|(name, scores)| (name.as_str(), scores)).collect();
        add("components", "Components of exact set match", ComponentTable(levels).to_string());
    }
    add("databases", "By database", DatabaseTable(&questions).to_string());
    if let Some(disagreements) = Disagreements::of(scores) {
        add("disagreements", "Where the metrics disagree", disagreements.to_string());
    }
    add("questions", "Questions", QuestionTable(&questions).to_string());
    add("definitions", "What the words mean", definitions(computed).to_string());
    page(about, &sections)
}

fn level(name: &str, scores: &LevelScores, computed: Computed) -> Level {
    let mean = |value: Option<f64>| {
        value.filter(|_| scores.count > 0).map(|value| Mean::of_share(value, scores.count))
    };
    let means = computed.select(mean(scores.execution), mean(scores.exact_match));
    Level { name: name.to_owned(), count: scores.count, means: means.collect() }
}

fn headline(summary: &Summary) -> Scores {
    let mut scores = Vec::new();
    let questions = summary.questions;
    let mut add = |name, value: Option<f64>, remark| {
        if let Some(value) = value {
            scores.push(Score { name, mean: Mean::of_share(value, questions), questions, remark });
        }
    };
    let all = summary.levels.iter().find(|(name, _)| name == "all").map(|(_, all)| all);
    add("Execution accuracy", all.and_then(|all| all.execution), None);
    add("Exact set match", all.and_then(|all| all.exact_match), None);
    add("Structural match", summary.structural_match, None);
    let outside = "predictions outside the official grammar";
    let remark = match summary.correct_unparsed_predictions {
        Some(correct) => format!("{outside}; {} of them returned the right result", Count(correct)),
        None => outside.to_owned(),
    };
    let unparsed = share(summary.unparsed_predictions, questions);
    add("Parse-failure rate", Some(unparsed), Some(remark));
    Scores(scores)
}

/// What a reader must know before the figures are believed.
fn warnings(summary: &Summary, scores: &[QuestionScore]) -> String {
    let mut warnings = String::new();
    if summary.failed_gold > 0 {
        warnings.push_str(&format!(
            "<p class=\"warning\">Gold queries that fail or are outside the official grammar: {}. No \
             prediction is right there by every metric.</p>\n",
            Count(summary.failed_gold)
        ));
    }
    let crashes = scores.iter().filter(|score| score.official_crash).count();
    if crashes > 0 {
        warnings.push_str(&format!(
            "<p class=\"warning\">Questions at which the official script ends with an exception: {}. They \
             are scored all the same, and marked.</p>\n",
            Count(crashes)
        ));
    }
    warnings
}

fn without_hardness(scores: &[QuestionScore]) -> String {
    match scores.iter().filter(|score| score.hardness.is_none()).count() {
        0 => String::new(),
        count => format!(
            "<p class=\"muted\">Questions without hardness, because the gold query is outside the \
             official grammar: {}. They count under \u{201c}all\u{201d} alone.</p>\n",
            Count(count)
        ),
    }
}

fn definitions(computed: Computed) -> Definitions {
    let mut words = Vec::new();
    if computed.execution {
        words.push((
            "Execution accuracy",
            "The prediction returns what the gold query does, on every database of the question.",
        ));
    }
    if computed.exact_match {
        words.push((
            "Exact set match",
            "The clauses of both queries are equal as sets, as the official script of Spider parses and \
             compares them: without values, and in its small grammar alone.",
        ));
        words.push((
            "Structural match",
            "The syntax trees of both queries are equal after rewrites that never change a result, with \
             values and in all of SQL that our parser knows.",
        ));
    }
    words.push((
        "Official grammar",
        "The part of SQL that the official parser knows. Queries outside it, such as those with LEFT JOIN \
         or &lt;&gt;, are wrong by exact set match whatever they return.",
    ));
    words.push((
        "Hardness",
        "By the clauses, the nested queries and the aggregations of the gold query, as the official script \
         counts them.",
    ));
    words.push(INTERVAL);
    Definitions(words)
}
