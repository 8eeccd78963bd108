//! The report and the model card of a run. The report is read back with an XML parser, which is stricter than
//! any browser.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;

use coderag_core::{Digest, Random, Silent};
use coderag_train::config::TrainConfig;
use coderag_train::data::{OnBadRow, Source, Store};
use coderag_train::evaluation::{DevelopmentSet, Scores};
use coderag_train::loss::BatchStatistics;
use coderag_train::model_card;
use coderag_train::record::{EvaluationRecord, Record, StepRecord};
use coderag_train::report::{RunSummary, write_html};
use roxmltree::{Document, Node, ParsingOptions};

const HOSTILE: &str =
    "a</script><img src=x onerror=alert(1)>\"'&amp;\n---\n`|` #: {} \u{1}\u{85}\u{2028}";

/// Two stages, the second with a name of its own.
fn config(name: &str) -> TrainConfig {
    let text = r#"
model = "all-MiniLM-L6-v2"
max_tokens = 128
lora = { r = 16, lora_alpha = 32.0 }

[prompts]
anchor = "query"

[[stage]]
name = "pairs"
steps = 150
texts_at_once = 64
learning_rate = 2e-4
schedule = { decay = "cosine", warm_up_steps = 20 }
loss = { name = "multiple_negatives_ranking", scale = 20.0 }
[[stage.source]]
name = "documentation"
files = ["train.jsonl"]

[[stage]]
name = "NAME"
epochs = 1
learning_rate = 5e-5
[stage.loss]
name = "matryoshka"
dimensions = [384, 96]
loss = { name = "multiple_negatives_ranking" }
[[stage.source]]
name = "hard"
files = ["train.jsonl"]

[evaluation]
every = 50
[evaluation.source]
name = "development"
files = ["dev.jsonl"]
"#;
    let mut config: TrainConfig = coderag_core::config::parse(text, "train.toml").unwrap();
    config.check().unwrap();
    name.clone_into(&mut config.stages[1].name);
    config
}

fn evaluation(step: u64, gain: f64) -> EvaluationRecord {
    let margin = BatchStatistics {
        anchors: 1000,
        accuracy: 0.417 + gain,
        positive: 0.58,
        hardest_negative: 0.55 - gain,
        margin: 0.03 + gain,
        margin_quantiles: [-0.2, -0.05, 0.02, 0.1, 0.3],
    };
    let scores = Scores {
        recall_at_1: 0.417 + gain,
        recall_at_5: 0.66 + gain,
        recall_at_10: 0.751 + gain,
        mrr_at_10: 0.529 + gain,
        ndcg_at_10: 0.582 + gain,
        queries: 1000,
        documents: 3715,
        margin: Some(margin),
    };
    EvaluationRecord { step, scores, seconds: 40.0 }
}

/// The records of a run of so many steps, the last quarter in a second stage.
fn records(steps: u64) -> Vec<Record> {
    let mut random = Random::new(7);
    let mut noise = || random.below(2001) as f64 / 1000.0 - 1.0;
    let mut records = vec![Record::Evaluation(evaluation(0, 0.0))];
    for step in 1..=steps {
        let progress = step as f64 / steps as f64;
        let statistics = BatchStatistics {
            anchors: 64,
            accuracy: (0.7 + 0.22 * progress + 0.05 * noise()).min(1.0),
            positive: 0.55 + 0.1 * progress + 0.01 * noise(),
            hardest_negative: 0.45 - 0.05 * progress + 0.01 * noise(),
            margin: 0.1 + 0.15 * progress,
            margin_quantiles: [-0.1, 0.0, 0.1, 0.2, 0.3],
        };
        records.push(Record::Step(StepRecord {
            step,
            stage: usize::from(4 * step > 3 * steps),
            epoch: 0,
            loss: if step == 3 {
                f64::NAN
            } else {
                0.3 + 0.5 * (-4.0 * progress).exp() + 0.08 * noise()
            },
            learning_rate: 2e-4 * (progress * 8.0).min(1.0).min(1.2 * (1.0 - progress)),
            gradient_norm: if step == 40 { 90.0 } else { 2.0 + 0.6 * noise() },
            pairs: 64,
            tokens: 8000,
            seconds: 2.5,
            statistics: Some(statistics),
        }));
        if step.is_multiple_of((steps / 8).max(1)) {
            let gain =
                0.08 * (1.0 - (1.0 - progress).powi(2)) - if progress > 0.9 { 0.01 } else { 0.0 };
            records.push(Record::Evaluation(evaluation(step, gain)));
        }
    }
    records
}

/// What a run of these records would be, with real manifests.
fn summary(name: &str, records: &[Record]) -> RunSummary {
    let folder = tempfile::tempdir().unwrap();
    let rows: String = (0..40)
        .map(|row| format!("{{\"anchor\": \"a {}\", \"positive\": \"p {row}\"}}\n", row % 38))
        .collect();
    let path = folder.path().join("train|`x`.jsonl");
    std::fs::write(&path, format!("{rows}{{\"anchor\": \"\"}}\n")).unwrap();
    let source = Source { name: format!("source {name}"), ..Source::of_file(&path) };
    let store = folder.path().join("store");
    let store = Store::build(&store, &[source], OnBadRow::Skip, &Silent).unwrap();
    let mut config = config(name);
    let evaluation = config.evaluation.as_mut().unwrap();
    evaluation.source.files = vec![path];
    evaluation.source.name = format!("development {name}");
    let set = DevelopmentSet::read(evaluation, OnBadRow::Skip).unwrap();
    let evaluations: Vec<&EvaluationRecord> =
        records.iter().filter_map(Record::as_evaluation).collect();
    let best = evaluations
        .iter()
        .max_by(|left, right| left.scores.ndcg_at_10.total_cmp(&right.scores.ndcg_at_10));
    let steps = records.iter().filter_map(Record::as_step).count() as u64;
    RunSummary {
        base_model: config.model.clone(),
        changed_on_the_way: false,
        config,
        coderag_version: "0.1.0".to_owned(),
        model_fingerprint: Digest::of("model"),
        started: "2026-11-21T20:00:00Z".to_owned(),
        seconds: 2.5 * steps as f64 + 360.0,
        steps,
        planned_steps: steps,
        pairs: 64 * steps,
        tokens: 8000 * steps,
        trained_parameters: 675_840,
        total_parameters: 23_389_056,
        manifests: vec![store.manifest().clone(), store.manifest().clone()],
        development_files: set.files().to_vec(),
        before: evaluations.first().copied().cloned(),
        after: evaluations.last().copied().cloned(),
        best: best.copied().cloned(),
        warnings: vec![format!("stage `{name}`: the negatives are too easy to learn from")],
        peak_memory: Some(3 << 30),
    }
}

fn report(name: &str, steps: u64) -> String {
    let records = records(steps);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    write_html(&path, &summary(name, &records), &records).unwrap();
    std::fs::read_to_string(&path).unwrap()
}

fn parse(html: &str) -> Document<'_> {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    Document::parse_with_options(html, options).unwrap()
}

fn text_of(node: Node<'_, '_>) -> String {
    let texts: Vec<&str> =
        node.descendants().filter(Node::is_text).filter_map(|text| text.text()).collect();
    texts.concat().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn elements<'d>(document: &'d Document<'_>, name: &str) -> Vec<Node<'d, 'd>> {
    document.descendants().filter(|node| node.has_tag_name(name)).collect()
}

#[test]
fn a_report_has_the_scores_the_course_the_data_and_the_settings() {
    let html = report("hard negatives", 200);
    let document = parse(&html);
    let headings: Vec<String> =
        ["h1", "h2", "h3"].iter().flat_map(|name| elements(&document, name)).map(text_of).collect();
    let expected = [
        "Training of all-MiniLM-L6-v2",
        "Scores",
        "Course of training",
        "Data",
        "Settings",
        "What the words mean",
        "Loss",
        "Scores on the development set",
        "Similarities in the batch",
        "Accuracy in the batch",
        "Gradient norm",
        "Learning rate",
        "pairs",
        "hard negatives",
    ];
    assert_eq!(headings, expected);
    let rows: Vec<String> = elements(&document, "tr").into_iter().map(text_of).collect();
    assert_eq!(rows[0], "score beforestep 0 afterstep 200 beststep 175");
    assert_eq!(rows[1], "recall@141.7%48.7% +7.049.6% +7.9");
    let digest = Digest::of(
        (0..40)
            .map(|row| format!("{{\"anchor\": \"a {}\", \"positive\": \"p {row}\"}}\n", row % 38))
            .collect::<String>()
            + "{\"anchor\": \"\"}\n",
    );
    let files: Vec<&String> = rows.iter().filter(|row| row.contains(&digest.to_string())).collect();
    assert_eq!(files.len(), 3);
    assert!(files[0].starts_with("pairssource hard negatives"), "{}", files[0]);
    let text = text_of(document.root());
    for part in [
        "Repeated texts: 2 anchors, 0 positives, 0 pairs; 0 positives are their own anchor",
        "12,800, 14.88 a second",
        "675,840 of 23,389,056 (2.9%)",
        "lora_alpha = 32.0",
        "14 min 20 s",
        "1,000 queries over 3,715 documents",
        "Points above the axis, drawn at its end: 1.",
        "bad row: ",
    ] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

#[test]
fn the_settings_in_a_report_are_those_of_the_run() {
    let html = report("hard negatives", 10);
    let document = parse(&html);
    let pre = elements(&document, "pre")[0];
    let toml = pre.descendants().find(Node::is_text).unwrap().text().unwrap();
    let read: TrainConfig = coderag_core::config::parse(toml, "train.toml").unwrap();
    assert_eq!(read.stages, config("hard negatives").stages);
    assert_eq!((read.lora, read.max_tokens), (config("").lora, Some(128)));
}

/// Nothing is fetched, nothing runs but the one script, and names are text.
#[test]
fn names_from_outside_are_shown_as_they_are() {
    let html = report(HOSTILE, 60);
    let document = parse(&html);
    assert_eq!((elements(&document, "script").len(), elements(&document, "img").len()), (1, 0));
    for element in document.descendants().filter(Node::is_element) {
        for attribute in element.attributes() {
            assert!(!attribute.name().starts_with("on") && attribute.name() != "src");
            assert!(!attribute.value().contains("//"), "{attribute:?}");
        }
    }
    assert!(text_of(document.root()).contains("a</script><img src=x onerror=alert(1)>\"'&amp;"));
}

#[test]
fn a_chart_is_where_its_values_are() {
    let html = report("second", 200);
    let document = parse(&html);
    let charts = elements(&document, "svg");
    assert_eq!(charts.len(), 6);
    for chart in &charts {
        let numbers = |name: &str| -> Vec<f64> {
            let values = chart.attribute(name).unwrap().split([' ', ',']);
            values.map(|value| value.parse().unwrap()).collect()
        };
        assert!(chart.attribute("aria-label").is_some_and(|label| label.contains("from")));
        let (plot, y) = (numbers("data-plot"), numbers("data-y"));
        let [left, top, width, height] = plot[..] else { unreachable!() };
        for line in chart.children().filter(|node| node.has_tag_name("polyline")) {
            for point in line.attribute("points").unwrap().split_whitespace() {
                let (at_x, at_y) = point.split_once(',').unwrap();
                let (at_x, at_y): (f64, f64) = (at_x.parse().unwrap(), at_y.parse().unwrap());
                assert!((left - 0.1..=left + width + 0.1).contains(&at_x));
                assert!((top - 0.1..=top + height + 0.1).contains(&at_y));
            }
        }
        // Both stages were drawn apart.
        assert!(text_of(*chart).contains("second"));
        assert!(y[0] < y[1]);
    }
    // The learning rate at step 100 is 1.2 / 2 * 2e-4, halfway through the plot.
    let rate = charts[5];
    let line = rate.children().find(|node| node.has_tag_name("polyline")).unwrap();
    let points: Vec<&str> = line.attribute("points").unwrap().split_whitespace().collect();
    let y: f64 = points[99].split_once(',').unwrap().1.parse().unwrap();
    let high: f64 = rate.attribute("data-y").unwrap().split_once(' ').unwrap().1.parse().unwrap();
    assert!(((22.0 + 180.0 - y) / 180.0 * high - 1.2e-4).abs() < 1e-6);
}

#[test]
fn a_report_of_many_steps_stays_small() {
    let html = report("second", 20_000);
    assert!(html.len() < 400_000, "{} bytes", html.len());
    let document = parse(&html);
    let most = elements(&document, "polyline")
        .into_iter()
        .map(|line| line.attribute("points").unwrap().split_whitespace().count())
        .max();
    assert_eq!(most, Some(589));
    assert_eq!(elements(&document, "polygon").len(), 3);
}

#[test]
fn a_run_that_measured_and_logged_nothing_has_a_report() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    write_html(&path, &summary("x", &[]), &[]).unwrap();
    let html = std::fs::read_to_string(&path).unwrap();
    let document = parse(&html);
    assert!(elements(&document, "svg").is_empty());
    assert!(text_of(document.root()).contains("The model was not measured."));
}

/// What is between the first two lines of dashes, and the rest.
fn parts(card: &str) -> (&str, &str) {
    card.strip_prefix("---\n").unwrap().split_once("\n---\n").unwrap()
}

#[test]
fn a_card_says_what_the_model_is_and_how_it_was_made() {
    let summary = summary("hard negatives", &records(200));
    let card = model_card::of_model(&summary);
    let (metadata, text) = parts(&card);
    for line in [
        "library_name: sentence-transformers",
        "pipeline_tag: sentence-similarity",
        "base_model: \"all-MiniLM-L6-v2\"",
        "- \"dataset_size:80\"",
        "- \"loss:CachedMultipleNegativesRankingLoss\"",
        "- \"loss:MatryoshkaLoss\"",
        "    - type: \"cosine_mrr@10\"",
    ] {
        assert!(metadata.lines().any(|other| other == line), "{line} is not in: {metadata}");
    }
    let sha256 = summary.manifests[0].sources[0].files[0].sha256;
    for part in [
        "model = SentenceTransformer(\".\")\nmodel.max_seq_length = 128",
        "prompt_name=\"query\"",
        "coderag embed --model . --input",
        "| Recall@1 | 0.4170 | 0.4870 (+0.0700) | 0.4957 (+0.0787) |",
        &format!("| `pairs` | `source hard negatives` | ``train\\|`x`.jsonl`` | 40 | `{sha256}` |"),
        "coderag train --config train.toml",
    ] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    let (_, settings) = text.split_once("```toml\n").unwrap();
    let settings = settings.split_once("\n```").unwrap().0;
    let read: TrainConfig = coderag_core::config::parse(settings, "train.toml").unwrap();
    assert_eq!(read, summary.config);
}

#[test]
fn the_card_of_an_adapter_names_its_base_unless_that_is_a_folder() {
    let mut summary = summary("second", &records(20));
    let card = model_card::of_adapter(&summary);
    let (metadata, text) = parts(&card);
    for line in ["library_name: peft", "- lora", "- \"base_model:adapter:all-MiniLM-L6-v2\""] {
        assert!(metadata.lines().any(|other| other == line), "{line} is not in: {metadata}");
    }
    assert!(text.contains("SentenceTransformer(\"all-MiniLM-L6-v2\")\nmodel.load_adapter(\".\")"));
    assert!(text.contains("coderag embed --model all-MiniLM-L6-v2 --adapter . --input"));
    for folder in ["/home/a b/model", "../model", "a/b/c", "it's"] {
        folder.clone_into(&mut summary.base_model);
        let card = model_card::of_adapter(&summary);
        assert!(!parts(&card).0.contains("base_model"), "{card}");
    }
}

/// YAML in double quotes is JSON but for a few characters, so each such value can be read back.
#[test]
fn the_metadata_of_hostile_names_is_lines_of_plain_words_and_quoted_texts() {
    let mut summary = summary(HOSTILE, &records(20));
    HOSTILE.clone_into(&mut summary.config.model);
    HOSTILE.clone_into(&mut summary.base_model);
    let mut quoted = HashSet::new();
    for card in [model_card::of_model(&summary), model_card::of_adapter(&summary)] {
        for line in parts(&card).0.lines() {
            match line.split_once('"') {
                Some((_, rest)) => {
                    quoted.insert(serde_json::from_str::<String>(&format!("\"{rest}")).unwrap());
                }
                None => assert!(
                    line.bytes().all(|it| it.is_ascii_alphanumeric() || b" -_:.+".contains(&it)),
                    "{line}"
                ),
            }
        }
    }
    assert!(quoted.contains(&format!("development {HOSTILE}")));
    assert!(quoted.contains(&format!("trained from {HOSTILE}")));
}
