//! The HTML report: it is read back with an XML parser, which is stricter than any browser.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashSet};

use coderag_eval::Outcome;
use coderag_eval::bird::{BirdScore, BirdSummary, Difficulty};
use coderag_eval::execution::Shape;
use coderag_eval::report::{About, bird_html_report, html_report};
use coderag_eval::scoring::QuestionScore;
use coderag_eval::spider::{Component, ComponentScore, Hardness, PartialScores};
use coderag_eval::summary::Summary;
use proptest::prelude::*;
use roxmltree::{Document, Node, ParsingOptions};

const HOSTILE: [&str; 10] = [
    "</script><img src=x onerror=alert(1)>",
    "\"><script>alert(1)</script>",
    "' onmouseover='alert(1)",
    "]]><!-- <![CDATA[ -->",
    "&lt;b&gt; &amp; &#0; &bogus;",
    "</code></td></tr></table></style>",
    "a\0b\u{1}\u{7f}\u{85}\u{fffe}\u{ffff}",
    "line\r\nline\rline\ttab",
    "\u{202e}right to left\u{2066}",
    "<?xml version='1.0'?><!DOCTYPE x>",
];

/// Scores of every kind: all levels and none, all outcomes, every agreement and disagreement.
fn scores(count: usize) -> Vec<QuestionScore> {
    (0..count)
        .map(|index| {
            let outcome = match index % 3 {
                0 => Outcome::Correct,
                _ => Outcome::ALL[(index / 3 + index / 17) % Outcome::ALL.len()],
            };
            let gold_parses = index % 23 != 7;
            let prediction_parses = index % 7 != 3;
            let exact = gold_parses && prediction_parses && index % 4 < 2;
            let part = |component: usize| ComponentScore {
                score: u8::from(exact || (index + component).is_multiple_of(3)),
                label_total: (index + component) % 4,
                prediction_total: (index + 2 * component) % 3,
            };
            let shape = |rows| Some(Shape { rows, columns: 2 });
            QuestionScore {
                index,
                interaction: 0,
                turn: 0,
                db_id: format!("database_{}", index * index % 5),
                hardness: gold_parses.then(|| Hardness::ALL[index / 2 % 4]),
                exact_match: Some(exact),
                partial: Some(PartialScores(std::array::from_fn(part))),
                gold_parses,
                prediction_parses,
                structural_match: (outcome != Outcome::SyntaxError).then_some(index % 5 < 2),
                execution: Some(outcome == Outcome::Correct),
                outcome: Some(outcome),
                error: (outcome == Outcome::UnknownTable).then(|| "no such table: t".to_owned()),
                gold_shape: shape(index % 9),
                prediction_shape: shape(index % 11),
                official_crash: !gold_parses,
                gold: format!("SELECT gold FROM t WHERE n < {index} LIMIT 1"),
                prediction: format!("SELECT prediction FROM t WHERE n < {index} LIMIT 1"),
            }
        })
        .collect()
}

fn about() -> About {
    let fact = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    About {
        title: "Scores of a test".to_owned(),
        facts: vec![fact("gold file", "gold.sql"), fact("metric", "test-suite")],
    }
}

fn report(scores: &[QuestionScore]) -> String {
    html_report(&about(), &Summary::of(scores), scores)
}

/// The report as a tree, after what every report must hold was checked.
fn parse(html: &str) -> Document<'_> {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    let document = Document::parse_with_options(html, options).unwrap();
    assert!(html.starts_with("<!DOCTYPE html>\n<html lang=\"en\">"));
    let elements: Vec<Node<'_, '_>> = document.descendants().filter(Node::is_element).collect();
    let named = |name: &str| elements.iter().filter(|it| it.has_tag_name(name)).count();
    assert_eq!((named("h1"), named("title"), named("main")), (1, 1 + titles(&document), 1));
    assert_eq!((named("script"), named("style")), (1, 1));
    for name in
        ["img", "link", "iframe", "object", "embed", "base", "use", "image", "audio", "video"]
    {
        assert_eq!(named(name), 0, "{name}");
    }
    let mut ids = HashSet::new();
    for element in &elements {
        for attribute in element.attributes() {
            assert!(!attribute.name().starts_with("on"), "{attribute:?}");
            assert_ne!(attribute.name(), "src");
            assert!(!attribute.value().contains("//"), "{attribute:?}");
            if attribute.name() == "id" {
                assert!(ids.insert(attribute.value()), "{attribute:?} twice");
            }
        }
        // HTML has no such elements without content, and would leave them open.
        let is_void = ["meta", "br", "input"].contains(&element.tag_name().name());
        let source = &html[element.range()];
        let in_svg = element.ancestors().any(|it| it.has_tag_name("svg"));
        assert!(in_svg || is_void == source.ends_with("/>"), "{source}");
        if element.has_tag_name("svg") {
            let is_named = element.attribute("role") == Some("img")
                && element.attribute("aria-label").is_some_and(|label| !label.is_empty());
            assert!(is_named || element.attribute("aria-hidden") == Some("true"));
        }
        if element.has_tag_name("table") {
            let rows = element.descendants().filter(|it| it.has_tag_name("tr"));
            let widths: HashSet<usize> =
                rows.map(|row| row.children().filter(Node::is_element).count()).collect();
            assert_eq!(widths.len(), 1, "rows of different lengths: {widths:?}");
            assert!(element.descendants().any(|it| it.attribute("scope") == Some("col")));
        }
    }
    for element in &elements {
        let refers = ["aria-labelledby", "href"].into_iter().filter_map(|it| element.attribute(it));
        for reference in refers {
            assert!(ids.contains(reference.trim_start_matches('#')), "{reference}");
        }
    }
    for source in ["style", "script"].map(|name| text(find(&document, name))) {
        for resource in
            ["url(", "@import", "http:", "https:", "fetch", "XMLHttpRequest", "gradient"]
        {
            assert!(!source.contains(resource), "{resource}");
        }
    }
    document
}

/// How many parts of charts have a title of their own.
fn titles(document: &Document<'_>) -> usize {
    let titles = document.descendants().filter(|it| it.has_tag_name("title"));
    titles.filter(|it| it.parent().is_some_and(|parent| parent.has_tag_name("rect"))).count()
}

fn find<'d>(document: &'d Document<'_>, name: &str) -> Node<'d, 'd> {
    document.descendants().find(|node| node.has_tag_name(name)).unwrap()
}

fn section<'d>(document: &'d Document<'_>, id: &str) -> Option<Node<'d, 'd>> {
    document.descendants().find(|it| it.has_tag_name("section") && it.attribute("id") == Some(id))
}

fn text(node: Node<'_, '_>) -> String {
    node.descendants().filter(Node::is_text).filter_map(|it| it.text()).collect()
}

fn of_class<'d>(node: Node<'d, 'd>, class: &str) -> Vec<Node<'d, 'd>> {
    let has = |it: &Node<'_, '_>| {
        it.attribute("class").is_some_and(|classes| classes.split(' ').any(|it| it == class))
    };
    node.descendants().filter(has).collect()
}

/// The cells of a table's body by row.
fn rows<'d>(node: Node<'d, 'd>) -> Vec<Vec<String>> {
    let body = node.descendants().find(|it| it.has_tag_name("tbody")).unwrap();
    let row = |row: Node<'d, 'd>| row.children().filter(Node::is_element).map(text).collect();
    body.children().filter(Node::is_element).map(row).collect()
}

fn number(node: Node<'_, '_>, attribute: &str) -> f64 {
    node.attribute(attribute).unwrap().parse().unwrap()
}

fn percent(value: f64) -> String {
    format!("{:.1}%", 100.0 * value)
}

/// How text shows that cannot be in XML: written down here once more.
fn shown(text: &str) -> String {
    let picture = |character: char| match character {
        '\n' | '\t' => character,
        '\0'..='\x1f' => char::from_u32(u32::from(character) + 0x2400).unwrap(),
        '\x7f' => '␡',
        '\u{80}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => char::REPLACEMENT_CHARACTER,
        character => character,
    };
    text.replace("\r\n", "\n").chars().map(picture).collect()
}

#[test]
fn a_report_has_its_facts_and_sections_and_names_them() {
    let html = report(&scores(300));
    let document = parse(&html);
    assert_eq!(text(find(&document, "h1")), "Scores of a test");
    let facts = of_class(document.root(), "facts");
    assert_eq!(text(facts[0]).replace('\n', " ").trim(), "gold filegold.sql metrictest-suite");
    let sections = document.descendants().filter(|it| it.has_tag_name("section"));
    let sections: Vec<&str> = sections.map(|it| it.attribute("id").unwrap()).collect();
    assert_eq!(
        sections,
        [
            "scores",
            "hardness",
            "outcomes",
            "components",
            "databases",
            "disagreements",
            "questions",
            "definitions"
        ]
    );
    let links = find(&document, "nav").descendants().filter(|it| it.has_tag_name("a"));
    let links: Vec<String> =
        links.map(|it| it.attribute("href").unwrap()[1..].to_owned()).collect();
    assert_eq!(links, sections);
}

#[test]
fn the_headline_figures_are_those_of_the_summary() {
    let scores = scores(300);
    let summary = Summary::of(&scores);
    let html = report(&scores);
    let document = parse(&html);
    let count = |select: fn(&QuestionScore) -> bool| scores.iter().filter(|it| select(it)).count();
    let (_, all) = summary.levels.iter().find(|(name, _)| name == "all").unwrap();
    let expected = [
        ("Execution accuracy", all.execution.unwrap(), count(|it| it.execution == Some(true))),
        ("Exact set match", all.exact_match.unwrap(), count(|it| it.exact_match == Some(true))),
        (
            "Structural match",
            summary.structural_match.unwrap(),
            count(|it| it.structural_match == Some(true)),
        ),
        (
            "Parse-failure rate",
            summary.unparsed_predictions as f64 / 300.0,
            count(|it| !it.prediction_parses),
        ),
    ];
    let figures = of_class(section(&document, "scores").unwrap(), "score");
    assert_eq!(figures.len(), expected.len());
    for (figure, (name, value, count)) in figures.into_iter().zip(expected) {
        let words = text(figure);
        assert!(words.contains(name), "{words}");
        assert_eq!(text(of_class(figure, "figure")[0]), percent(value), "{words}");
        assert!(words.contains(&format!("{count} of 300")), "{words}");
        let point = of_class(figure, "point")[0];
        assert!((number(point, "cx") - (4.0 + 192.0 * value)).abs() < 0.01, "{words}");
        let interval = of_class(figure, "interval")[0];
        assert!(number(interval, "x1") < number(point, "cx"), "{words}");
        assert!(number(interval, "x2") > number(point, "cx"), "{words}");
    }
    let remark = format!("{} of them", summary.correct_unparsed_predictions.unwrap());
    assert!(text(section(&document, "scores").unwrap()).contains(&remark));
    // The interval of 8 of 10, as statsmodels' `proportion_confint` gives it.
    let mut few = self::scores(10);
    few.iter_mut().for_each(|score| score.execution = Some(score.index > 1));
    let html = report(&few);
    let words = text(section(&parse(&html), "scores").unwrap());
    assert!(words.contains("8 of 1095% interval 49.0 to 94.3"), "{words}");
}

#[test]
fn the_columns_by_hardness_are_as_high_as_the_summary_says() {
    let scores = scores(300);
    let summary = Summary::of(&scores);
    let html = report(&scores);
    let document = parse(&html);
    let section = section(&document, "hardness").unwrap();
    let chart = of_class(section, "level-chart")[0];
    let columns = |metric: &str| -> Vec<Node<'_, '_>> {
        of_class(chart, metric).into_iter().filter(|it| it.has_tag_name("rect")).collect()
    };
    let (execution, exact_match) = (columns("metric-0"), columns("metric-1"));
    assert_eq!((execution.len(), exact_match.len()), (5, 5));
    let labels: Vec<String> = of_class(chart, "value").into_iter().map(text).collect();
    let rows = rows(section);
    for (place, (name, level)) in summary.levels.iter().enumerate() {
        let values = [level.execution.unwrap(), level.exact_match.unwrap()];
        for (column, value) in [execution[place], exact_match[place]].into_iter().zip(values) {
            assert!((number(column, "height") - 200.0 * value).abs() < 0.01, "{name}");
            // All columns stand on the same line.
            assert!(
                (number(column, "y") + number(column, "height") - 224.0).abs() < 0.02,
                "{name}"
            );
            assert!(text(column).starts_with(&format!("{name}: ")));
            assert!(text(column).ends_with(&percent(value)));
        }
        assert_eq!(labels[2 * place..2 * place + 2], values.map(|it| format!("{:.1}", 100.0 * it)));
        assert_eq!(rows[place][..2], [name.clone(), level.count.to_string()]);
        for (cell, value) in rows[place][2..].iter().zip(values) {
            let right = (value * level.count as f64).round();
            assert!(cell.starts_with(&format!("{} {right} right,", percent(value))), "{cell}");
        }
    }
    let without = scores.iter().filter(|it| it.hardness.is_none()).count();
    assert!(text(section).contains(&format!("outside the official grammar: {without}.")));
}

#[test]
fn the_bars_of_outcomes_are_sorted_and_as_long_as_the_summary_says() {
    let scores = scores(400);
    let summary = Summary::of(&scores);
    let html = report(&scores);
    let document = parse(&html);
    let section = section(&document, "outcomes").unwrap();
    let chart = of_class(section, "outcome-chart")[0];
    let names: Vec<String> = of_class(chart, "name").into_iter().map(text).collect();
    let counts: Vec<String> = of_class(chart, "count").into_iter().map(text).collect();
    let mut expected: BTreeMap<String, usize> =
        summary.outcomes.iter().map(|(outcome, count)| (outcome.to_string(), *count)).collect();
    let table: BTreeMap<String, usize> = rows(section)
        .into_iter()
        .map(|row| (row[0].clone(), row[row.len() - 2].parse().unwrap()))
        .collect();
    assert_eq!(table, expected);
    for row in rows(section) {
        // Four levels, and the questions without one.
        let levels: usize = row[1..6].iter().map(|it| it.parse::<usize>().unwrap()).sum();
        assert_eq!(levels, row[6].parse::<usize>().unwrap());
    }
    expected.remove("correct");
    assert_eq!(names.len(), expected.len());
    let most = *expected.values().max().unwrap();
    let mut before = most;
    for (name, figures) in names.iter().zip(counts) {
        let count = expected[name];
        assert!(count <= before, "not sorted: {names:?}");
        before = count;
        assert_eq!(figures, format!("{count} {}", percent(count as f64 / 400.0)));
        let bars = chart.descendants().filter(|it| it.has_tag_name("rect"));
        let bars: Vec<Node<'_, '_>> =
            bars.filter(|it| text(*it).starts_with(&format!("{name}, "))).collect();
        let width: f64 = bars.iter().map(|it| number(*it, "width")).sum();
        assert!((width - 430.0 * count as f64 / most as f64).abs() < 0.05, "{name}: {width}");
        let titled: usize = bars
            .iter()
            .map(|it| text(*it).rsplit(' ').next().unwrap().parse::<usize>().unwrap())
            .sum();
        assert_eq!(titled, count);
        for pair in bars.windows(2) {
            let end = number(pair[0], "x") + number(pair[0], "width");
            assert!((end - number(pair[1], "x")).abs() < 0.02, "{name}");
        }
    }
    let wrong: usize = expected.values().sum();
    assert!(text(section).contains(&format!("{wrong} of 400 predictions")));
}

#[test]
fn only_right_predictions_have_no_bars() {
    let mut scores = scores(20);
    for score in &mut scores {
        (score.execution, score.outcome) = (Some(true), Some(Outcome::Correct));
    }
    let html = report(&scores);
    let document = parse(&html);
    let section = section(&document, "outcomes").unwrap();
    assert!(text(section).contains("Every prediction returned what the gold query does."));
    assert!(of_class(section, "outcome-chart").is_empty());
}

#[test]
fn the_components_have_the_f1_of_the_summary_and_mark_where_it_means_nothing() {
    let mut scores = scores(300);
    for score in &mut scores {
        // No query has a set operation.
        if let Some(partial) = &mut score.partial {
            partial.0[8] = ComponentScore { score: 1, label_total: 0, prediction_total: 0 };
        }
    }
    let summary = Summary::of(&scores);
    let html = report(&scores);
    let document = parse(&html);
    let section = section(&document, "components").unwrap();
    let rows = rows(section);
    assert_eq!(rows.len(), 10);
    for (index, (row, component)) in rows.iter().zip(Component::ALL).enumerate() {
        assert_eq!(row[0], component.name());
        for (cell, (_, level)) in row[1..].iter().zip(&summary.levels) {
            let mark = if index == 8 { "*" } else { "" };
            assert_eq!(*cell, format!("{:.3}{mark}", level.partial[index].1.f1));
        }
    }
    assert!(text(section).contains("counts as an F1 of 1"));
}

#[test]
fn the_worst_database_is_first() {
    let scores = scores(300);
    let html = report(&scores);
    let document = parse(&html);
    let rows = rows(section(&document, "databases").unwrap());
    let means: Vec<f64> =
        rows.iter().map(|row| row[2].trim_end_matches('%').parse().unwrap()).collect();
    assert!(means.is_sorted(), "{means:?}");
    let databases: HashSet<&str> = scores.iter().map(|score| score.db_id.as_str()).collect();
    assert_eq!(rows.len(), databases.len());
    for row in rows {
        let of_database: Vec<&QuestionScore> =
            scores.iter().filter(|it| it.db_id == row[0]).collect();
        let share = |select: fn(&QuestionScore) -> Option<bool>| {
            let right = of_database.iter().filter(|score| select(score) == Some(true)).count();
            percent(right as f64 / of_database.len() as f64)
        };
        assert_eq!(
            row[1..],
            [
                of_database.len().to_string(),
                share(|score| score.execution),
                share(|score| score.exact_match),
                share(|score| score.structural_match)
            ]
        );
    }
}

#[test]
fn disagreements_are_counted_and_shown() {
    let scores = scores(300);
    let html = report(&scores);
    let document = parse(&html);
    let section = section(&document, "disagreements").unwrap();
    let execution = |score: &QuestionScore| score.execution == Some(true);
    let exact = |score: &QuestionScore| score.exact_match == Some(true);
    let structural = |score: &QuestionScore| score.structural_match == Some(true);
    let kinds: [&dyn Fn(&QuestionScore) -> bool; 5] = [
        &|score| execution(score) && !exact(score),
        &|score| exact(score) && !execution(score),
        &|score| structural(score) && !exact(score),
        &|score| exact(score) && !structural(score),
        &|score| structural(score) && !execution(score),
    ];
    let rows = rows(section);
    assert_eq!(rows.len(), kinds.len());
    let details: Vec<Node<'_, '_>> =
        section.children().filter(|it| it.has_tag_name("details")).collect();
    assert_eq!(details.len(), kinds.len());
    for ((row, kind), details) in rows.iter().zip(kinds).zip(details) {
        let of_kind: Vec<&QuestionScore> = scores.iter().filter(|score| kind(score)).collect();
        let outside = of_kind.iter().filter(|it| !it.gold_parses || !it.prediction_parses).count();
        assert_eq!(row[1], of_kind.len().to_string());
        assert_eq!(row[2], percent(of_kind.len() as f64 / 300.0));
        assert_eq!(row[3], outside.to_string());
        let examples = of_class(details, "example");
        assert_eq!(examples.len(), 4);
        for example in examples {
            let words = text(example);
            let score = of_kind.iter().find(|it| words.contains(&it.gold)).unwrap();
            assert!(words.contains(&score.prediction));
            let is_marked = !of_class(example, "tag").is_empty();
            assert_eq!(is_marked, !score.gold_parses || !score.prediction_parses);
        }
    }
}

#[test]
fn the_questions_are_sorted_by_what_is_wrong_and_hold_what_the_form_chooses_by() {
    let mut scores = scores(120);
    scores[5].gold_shape = Some(Shape { rows: 1, columns: 2 });
    scores[5].prediction_shape = Some(Shape { rows: 2, columns: 1 });
    let html = report(&scores);
    let document = parse(&html);
    let section = section(&document, "questions").unwrap();
    let body = section.descendants().find(|it| it.has_tag_name("tbody")).unwrap();
    let mut fields: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
    for select in section.descendants().filter(|it| it.has_tag_name("select")) {
        let options = select.children().filter(|it| it.has_tag_name("option"));
        let options = options.map(|it| (it.attribute("value").unwrap(), text(it))).collect();
        fields.insert(select.attribute("name").unwrap(), options);
    }
    let names: Vec<&str> = fields.keys().copied().collect();
    assert_eq!(names, ["database", "level", "metric0", "metric1", "metric2", "outcome"]);
    let mut order = Vec::new();
    for row in body.children().filter(Node::is_element) {
        let cells: Vec<Node<'_, '_>> = row.children().filter(Node::is_element).collect();
        let score = &scores[text(cells[0]).parse::<usize>().unwrap()];
        order.push((
            score.execution,
            score.exact_match,
            score.structural_match == Some(true),
            score.index,
        ));
        let word = |right: Option<bool>| if right == Some(true) { "right" } else { "wrong" };
        let hardness = score.hardness.map_or("none".to_owned(), |it| it.to_string());
        let expected = [
            ("database", score.db_id.clone()),
            ("level", hardness),
            ("metric0", word(score.execution).to_owned()),
            ("metric1", word(score.exact_match).to_owned()),
            ("metric2", word(score.structural_match).to_owned()),
            ("outcome", score.outcome.unwrap().to_string()),
        ];
        for (name, value) in expected {
            let place = row.attribute(format!("data-{name}").as_str()).unwrap();
            assert_eq!(fields[name][place], value);
        }
        let codes: Vec<String> =
            row.descendants().filter(|it| it.has_tag_name("code")).map(text).collect();
        assert_eq!(codes[..2], [score.gold.clone(), score.prediction.clone()]);
        assert_eq!(codes.get(2), score.error.as_ref());
        let remarks = text(cells[6]);
        assert_eq!(remarks.contains("the official script ends here"), score.official_crash);
        assert_eq!(remarks.contains("prediction outside the grammar"), !score.prediction_parses);
        if score.index == 5 {
            assert!(remarks.contains("gold 1 row × 2 columns, predicted over 1 row × 1 column"));
        }
    }
    assert_eq!(order.len(), 120);
    assert!(order.is_sorted(), "{order:?}");
    let form = section.descendants().find(|it| it.has_tag_name("form")).unwrap();
    assert!(form.has_attribute("hidden"), "without the script the form does nothing");
}

#[test]
fn what_is_too_much_is_cut_and_the_report_says_so() {
    let mut scores = scores(2_345);
    let wrong = scores.iter_mut().find(|it| it.execution == Some(false)).unwrap();
    wrong.exact_match = Some(false);
    wrong.prediction = "SELECT 1 UNION ".repeat(10_000);
    let html = report(&scores);
    let document = parse(&html);
    let section = section(&document, "questions").unwrap();
    assert!(text(section).contains("The first 2,000 of 2,345 questions, wrong ones first."));
    assert_eq!(rows(section).len(), 2_000);
    assert!(text(section).contains("cut here, 150,000 characters in all"));
    assert!(html.len() < 4_000_000);
}

#[test]
fn metrics_that_were_not_computed_are_left_out() {
    let mut executed = scores(60);
    for score in &mut executed {
        (score.exact_match, score.structural_match, score.partial) = (None, None, None);
    }
    let html = report(&executed);
    let document = parse(&html);
    assert!(section(&document, "components").is_none());
    assert!(section(&document, "disagreements").is_none());
    assert!(section(&document, "outcomes").is_some());
    assert_eq!(of_class(section(&document, "scores").unwrap(), "score").len(), 2);
    assert!(!text(find(&document, "main")).contains("tructural match"));

    let mut matched = scores(60);
    for score in &mut matched {
        (score.execution, score.outcome, score.error) = (None, None, None);
        (score.gold_shape, score.prediction_shape) = (None, None);
    }
    let html = report(&matched);
    let document = parse(&html);
    assert!(section(&document, "outcomes").is_none());
    assert!(section(&document, "components").is_some());
    assert_eq!(rows(section(&document, "disagreements").unwrap()).len(), 2);
    assert!(!text(find(&document, "main")).contains("xecution accuracy"));
}

#[test]
fn interactions_have_a_table_by_turn() {
    let mut scores = scores(60);
    for score in &mut scores {
        (score.interaction, score.turn) = (score.index / 6, score.index % 6);
    }
    let summary = Summary::of(&scores);
    let html = report(&scores);
    let document = parse(&html);
    let rows = rows(section(&document, "turns").unwrap());
    let names: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    let expected = ["turn 1", "turn 2", "turn 3", "turn 4", "turn > 4", "whole interactions"];
    assert_eq!(names, expected);
    for (row, (_, turn)) in rows.iter().zip(&summary.turns) {
        assert!(row[2].starts_with(&percent(turn.execution.unwrap())));
    }
    let (_, joint) = summary.levels.iter().find(|(name, _)| name == "joint_all").unwrap();
    assert!(rows[5][3].starts_with(&percent(joint.exact_match.unwrap())));
    // Whole interactions are no level of hardness.
    let chart = of_class(section(&document, "hardness").unwrap(), "level-chart")[0];
    assert_eq!(of_class(chart, "level").len(), 5);
}

#[test]
fn without_questions_the_report_says_so() {
    for html in [report(&[]), bird_html_report(&about(), &BirdSummary::of(&[]), &[])] {
        let document = parse(&html);
        assert!(text(find(&document, "main")).contains("There are no questions."));
        assert!(!html.contains("NaN"));
        assert_eq!(document.descendants().filter(|it| it.has_tag_name("section")).count(), 1);
    }
}

#[test]
fn hostile_text_stays_text() {
    for hostile in HOSTILE {
        let mut scores = scores(30);
        for score in &mut scores {
            for field in [&mut score.db_id, &mut score.gold, &mut score.prediction] {
                hostile.clone_into(field);
            }
            score.error = Some(hostile.to_owned());
        }
        let about = About {
            title: hostile.to_owned(),
            facts: vec![(hostile.to_owned(), hostile.to_owned())],
        };
        let html = html_report(&about, &Summary::of(&scores), &scores);
        assert_stays_text(&html, hostile);
        let scores: Vec<BirdScore> = bird_scores(30)
            .into_iter()
            .map(|score| BirdScore {
                db_id: hostile.to_owned(),
                gold: hostile.to_owned(),
                prediction: hostile.to_owned(),
                error: Some(hostile.to_owned()),
                ..score
            })
            .collect();
        assert_stays_text(&bird_html_report(&about, &BirdSummary::of(&scores), &scores), hostile);
    }
}

fn assert_stays_text(html: &str, hostile: &str) {
    let document = parse(html);
    assert_eq!(text(find(&document, "h1")), shown(hostile));
    let codes: Vec<String> =
        document.descendants().filter(|it| it.has_tag_name("code")).map(text).collect();
    assert!(codes.len() > 90);
    assert!(codes.iter().all(|code| *code == shown(hostile)), "{hostile:?}");
    // What an HTML parser would see as an end of the script or the style is there once.
    let lower = html.to_lowercase();
    for once in ["<script", "</script", "<style", "</style", "<!doctype"] {
        assert_eq!(lower.matches(once).count(), 1, "{once}");
    }
    for never in ["<img", "<!--", "<![cdata[", "<?xml"] {
        assert!(!lower.contains(never), "{never}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_text_is_in_the_report_as_it_is(
        characters in prop::collection::vec(
            prop_oneof![any::<char>(), prop::sample::select("<>&\"'/\0\r\n\t -!]".chars().collect::<Vec<_>>())],
            1..60,
        )
    ) {
        let hostile: String = characters.into_iter().collect();
        let mut scores = scores(3);
        for score in &mut scores {
            for field in [&mut score.db_id, &mut score.gold, &mut score.prediction] {
                hostile.clone_into(field);
            }
            score.error = Some(hostile.clone());
        }
        let html = report(&scores);
        let document = parse(&html);
        let codes: Vec<String> = section(&document, "questions")
            .unwrap()
            .descendants()
            .filter(|it| it.has_tag_name("code"))
            .map(text)
            .collect();
        if hostile.trim().is_empty() {
            prop_assert!(codes.is_empty());
        } else {
            prop_assert_eq!(codes.len(), 9);
            prop_assert!(codes.iter().all(|code| *code == shown(&hostile)));
        }
    }
}

fn bird_scores(count: usize) -> Vec<BirdScore> {
    (0..count)
        .map(|index| {
            let outcome = Outcome::ALL[index % 5];
            let right = outcome == Outcome::Correct;
            BirdScore {
                index,
                db_id: format!("database_{}", index % 4),
                difficulty: Some(
                    [Difficulty::Simple, Difficulty::Moderate, Difficulty::Challenging][index % 3],
                ),
                ex: u8::from(right),
                soft_f1: if right { 1.0 } else { (index % 7) as f64 / 8.0 },
                reward: Some(if right { 1.25 } else { 0.0 }),
                timings: None,
                outcome,
                gold_shape: None,
                prediction_shape: None,
                error: None,
                gold: format!("SELECT gold {index}"),
                prediction: format!("SELECT prediction {index}"),
            }
        })
        .collect()
}

#[test]
fn bird_has_its_own_metrics_and_difficulties() {
    let scores = bird_scores(90);
    let summary = BirdSummary::of(&scores);
    let html = bird_html_report(&about(), &summary, &scores);
    let document = parse(&html);
    let (_, total) = summary.levels.iter().find(|(name, _)| *name == "total").unwrap();
    let figures = of_class(document.root(), "figure");
    let figures: Vec<String> = figures.into_iter().map(text).collect();
    let expected = [total.ex, total.soft_f1, total.r_ves.unwrap()].map(|it| format!("{it:.1}%"));
    assert_eq!(figures, expected);
    let section = section(&document, "difficulty").unwrap();
    let columns = of_class(section, "metric-1").into_iter().filter(|it| it.has_tag_name("rect"));
    for (column, (name, level)) in columns.zip(&summary.levels) {
        assert!((number(column, "height") - 2.0 * level.soft_f1).abs() < 0.01);
        assert!(text(column).starts_with(name));
    }
    for (row, (name, level)) in rows(section).iter().zip(&summary.levels) {
        assert_eq!(row[..2], [(*name).to_owned(), level.count.to_string()]);
        assert!(row[2].starts_with(&format!("{:.1}%", level.ex)));
        assert_eq!(row[3..], [level.soft_f1, level.r_ves.unwrap()].map(|it| format!("{it:.1}%")));
    }

    let mut scores = scores;
    for score in &mut scores {
        (score.difficulty, score.reward) = (None, None);
    }
    let html = bird_html_report(&about(), &BirdSummary::of(&scores), &scores);
    let document = parse(&html);
    assert!(!text(find(&document, "main")).contains("R-VES"));
    let outcomes = rows(self::section(&document, "outcomes").unwrap());
    assert!(outcomes.iter().all(|row| row.len() == 3), "there are no columns by difficulty");
}
