use super::databases::DatabaseTable;
use super::definitions::{Definitions, INTERVAL};
use super::level_chart::{Level, LevelChart, LevelTable, Mean};
use super::outcomes::Outcomes;
use super::page::{About, Section, page};
use super::question::{Metric, Question, Questions};
use super::question_table::QuestionTable;
use super::scores::{Score, Scores};
use crate::bird::{BirdScore, BirdSummary, Difficulty};

const METRICS: [Metric; 2] = [
    Metric { name: "execution accuracy", short: "EX", is_binary: true },
    Metric { name: "Soft-F1", short: "Soft-F1", is_binary: false },
];
const DIFFICULTIES: [(Difficulty, &str); 3] = [
    (Difficulty::Simple, "simple"),
    (Difficulty::Moderate, "moderate"),
    (Difficulty::Challenging, "challenging"),
];

/// The scores of predictions for BIRD as one HTML file.
///
/// `summary` is that of `scores`. R-VES is left out where it was not measured.
pub fn bird_html_report(about: &About, summary: &BirdSummary, scores: &[BirdScore]) -> String {
    let mut sections = Vec::new();
    let mut add = |id, title, content| sections.push(Section { id, title, content });
    if scores.is_empty() {
        add("scores", "Scores", "<p>There are no questions.</p>\n".to_owned());
        return page(about, &sections);
    }
    let with_efficiency = summary.levels.iter().any(|(_, level)| level.r_ves.is_some());
    let levels: Vec<Level> = (summary.levels.iter())
        .map(|(name, level)| {
            let known = |mean: Option<Mean>| mean.filter(|_| level.count > 0);
            let mut means = vec![
                known(Some(Mean::of_share(level.ex / 100.0, level.count))),
                known(Some(of_mean(level.soft_f1))),
            ];
            if with_efficiency {
                means.push(known(level.r_ves.map(of_mean)));
            }
            Level { name: (*name).to_owned(), count: level.count, means }
        })
        .collect();
    let names: Vec<&'static str> = METRICS
        .iter()
        .map(|metric| metric.name)
        .chain(with_efficiency.then_some("R-VES"))
        .collect();
    let headline = (levels.iter().filter(|level| level.name == "total"))
        .flat_map(|total| {
            names.iter().zip(&total.means).map(|(name, mean)| (*name, *mean, total.count))
        })
        .filter_map(|(name, mean, questions)| {
            Some(Score { name, mean: mean?, questions, remark: None })
        });
    add("scores", "Scores", Scores(headline.collect()).to_string());
    // R-VES may be over 100 %, which the chart has no room for.
    let charted = METRICS.map(|metric| metric.name);
    let chart = LevelChart { title: "difficulty", metrics: &charted, levels: &levels };
    let table = LevelTable { title: "difficulty", metrics: &names, levels: &levels };
    add("difficulty", "By difficulty", format!("{chart}{table}"));
    let questions = Questions {
        level: "difficulty",
        levels: DIFFICULTIES.iter().map(|(_, name)| (*name).to_owned()).collect(),
        metrics: METRICS.to_vec(),
        questions: scores.iter().map(question).collect(),
    };
    if let Some(outcomes) = Outcomes::of(&questions) {
        add("outcomes", "Outcomes of execution", outcomes.to_string());
    }
    add("databases", "By database", DatabaseTable(&questions).to_string());
    add("questions", "Questions", QuestionTable(&questions).to_string());
    add("definitions", "What the words mean", definitions(with_efficiency).to_string());
    page(about, &sections)
}

fn of_mean(percent: f64) -> Mean {
    Mean { value: percent / 100.0, sample: None }
}

fn question(score: &BirdScore) -> Question<'_> {
    let level = score.difficulty.and_then(|difficulty| {
        DIFFICULTIES.iter().position(|(candidate, _)| *candidate == difficulty)
    });
    Question {
        index: score.index,
        database: &score.db_id,
        level,
        values: vec![f64::from(score.ex), score.soft_f1],
        outcome: Some(score.outcome),
        error: score.error.as_deref(),
        remarks: (score.reward.iter()).map(|reward| format!("reward {reward:.2}")).collect(),
        gold: &score.gold,
        prediction: &score.prediction,
    }
}

fn definitions(with_efficiency: bool) -> Definitions {
    let mut words = vec![
        (
            "Execution accuracy",
            "The prediction returns the same rows as the gold query, however often and in whatever order.",
        ),
        (
            "Soft-F1",
            "How far the values of each row are those of the gold query\u{2019}s row in the same place.",
        ),
    ];
    if with_efficiency {
        words.push((
            "R-VES",
            "The reward-based valid efficiency score: the square root of a reward from 0 to 1.25 for each \
             right prediction by how fast it is against the gold query, so that over 100% is possible.",
        ));
    }
    words.push(INTERVAL);
    Definitions(words)
}
