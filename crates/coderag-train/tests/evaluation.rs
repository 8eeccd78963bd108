//! Development sets: how they are read, and the scores of models on them.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod reference;

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use coderag_core::{Digest, Embeddings, Random, Silent};
use coderag_encoder::engine::EngineOptions;
use coderag_encoder::{CpuEncoder, EncodeOptions};
use coderag_train::Error;
use coderag_train::config::EvaluationSettings;
use coderag_train::data::{Columns, OnBadRow, Source};
use coderag_train::evaluation::{DevelopmentSet, Scores};
use proptest::prelude::*;
use reference::Reference;

fn settings(path: &Path, queries: Option<usize>) -> EvaluationSettings {
    EvaluationSettings { source: Source::of_file(path), queries, every: 1, patience: None }
}

/// A development set of lines of JSON.
fn development_set(lines: &[String], queries: Option<usize>) -> DevelopmentSet {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dev.jsonl");
    std::fs::write(&path, lines.join("\n")).unwrap();
    DevelopmentSet::read(&settings(&path, queries), OnBadRow::Fail).unwrap()
}

fn line(anchor: &str, positive: &str, negatives: &[&str]) -> String {
    let object =
        serde_json::json!({ "anchor": anchor, "positive": positive, "negatives": negatives });
    object.to_string()
}

/// The rows of a matrix that texts such as `d 17` name.
fn rows(matrix: &[f32], dimensions: usize, texts: &[String]) -> Embeddings {
    let number = |text: &String| text.split(' ').nth(1).unwrap().parse::<usize>().unwrap();
    let rows = texts.iter().flat_map(|text| &matrix[number(text) * dimensions..][..dimensions]);
    Embeddings::new(dimensions, rows.copied().collect()).unwrap()
}

#[test]
fn scores_are_those_of_sentence_transformers_and_margins_those_of_numpy() {
    let reference = Reference::load("evaluation.safetensors");
    let pairs: Vec<[usize; 2]> = reference.metadata("pairs");
    let [total, dimensions] = *reference.shape("documents") else { unreachable!() };
    let positives: BTreeSet<usize> = pairs.iter().map(|[_, document]| *document).collect();
    let mut others = (0..total).rev().filter(|document| !positives.contains(document));
    let mut lines = Vec::new();
    for [query, document] in &pairs {
        let other: Option<String> = others.next().map(|number| format!("d {number}"));
        let other: Vec<&str> = other.as_deref().into_iter().collect();
        lines.push(line(&format!("q {query}"), &format!("d {document}"), &other));
    }
    assert_eq!(others.next(), None);
    let set = development_set(&lines, None);
    let queries = rows(&reference.tensor_f32("queries"), dimensions, set.queries());
    let documents = rows(&reference.tensor_f32("documents"), dimensions, set.documents());
    let scores = set.score(&queries, &documents).unwrap();
    assert_eq!((scores.queries, scores.documents), (60, 300));
    let margin = scores.margin.unwrap();
    assert_eq!(margin.anchors, 60);
    let ours = [
        margin.accuracy,
        scores.recall_at_1,
        scores.recall_at_5,
        scores.recall_at_10,
        scores.mrr_at_10,
        scores.ndcg_at_10,
    ];
    for (ours, theirs) in ours.iter().zip(reference.tensor("scores")) {
        assert!((ours - theirs).abs() < 1e-12, "{ours} in place of {theirs}");
    }
    let means = [margin.positive, margin.hardest_negative, margin.accuracy, margin.margin];
    let ours = means.into_iter().chain(margin.margin_quantiles);
    for (ours, theirs) in ours.zip(reference.tensor("margins")) {
        assert!((ours - theirs).abs() < 1e-6, "{ours} in place of {theirs}");
    }
}

#[test]
fn queries_are_of_the_first_pairs_and_documents_of_all() {
    let lines = [
        line("a", "one", &["two"]),
        line("a", "three", &["one"]),
        line("b", "two", &[]),
        line("a", "four", &["five"]),
        line("c", "one", &[]),
    ];
    let set = development_set(&lines, Some(3));
    assert_eq!(set.queries(), ["a", "b"]);
    assert_eq!(set.documents(), ["one", "two", "three", "four", "five"]);
    assert_eq!(development_set(&lines, None).queries(), ["a", "b", "c"]);
    // `a` has three positives, of which the last comes with a pair that is not asked.
    let unit = |axis: usize| (0..5).map(move |index| f32::from(u8::from(index == axis)));
    let documents = Embeddings::new(5, (0..5).flat_map(unit).collect()).unwrap();
    let queries = [[0.5, 0.4, 0.3, 0.2, 0.1], [0.3, 0.2, 0.5, 0.4, 0.1]].concat();
    let scores = set.score(&Embeddings::new(5, queries).unwrap(), &documents).unwrap();
    assert!((scores.recall_at_1 - (1.0 / 3.0 + 0.0) / 2.0).abs() < 1e-12);
    assert!((scores.mrr_at_10 - (1.0 + 0.25) / 2.0).abs() < 1e-12);
    assert_eq!((scores.recall_at_5, scores.documents), (1.0, 5));
}

#[test]
fn the_files_are_recorded_with_their_digests_and_bad_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dev.jsonl");
    std::fs::write(&path, format!("{}\n{{\"anchor\": \"b\"}}\n", line("a", "one", &[]))).unwrap();
    let set = DevelopmentSet::read(&settings(&path, None), OnBadRow::Skip).unwrap();
    let [file] = set.files() else { panic!("one file") };
    assert_eq!((file.rows, file.bad_rows), (1, 1));
    assert_eq!(file.sha256, Digest::of_file(&path).unwrap());
    assert_eq!((set.bad_rows().total, set.bad_rows().first[0].number), (1, 2));
    let refused = DevelopmentSet::read(&settings(&path, None), OnBadRow::Fail).unwrap_err();
    assert!(refused.to_string().contains("dev.jsonl: line 2"), "{refused}");
    std::fs::write(&path, "").unwrap();
    let empty = DevelopmentSet::read(&settings(&path, None), OnBadRow::Fail).unwrap_err();
    assert!(matches!(empty, Error::NoRows { .. }), "{empty}");
}

#[test]
fn vectors_that_do_not_fit_are_refused() {
    let set = development_set(&[line("a", "one", &["two"])], None);
    let vectors = |rows, dimensions| Embeddings::new(dimensions, vec![1.0; rows * dimensions]);
    let message = |queries: Embeddings, documents: Embeddings| {
        set.score(&queries, &documents).unwrap_err().to_string()
    };
    let few = message(vectors(1, 3).unwrap(), vectors(1, 3).unwrap());
    assert!(few.contains("1 vectors of 2 documents"), "{few}");
    let narrow = message(vectors(1, 3).unwrap(), vectors(2, 4).unwrap());
    assert!(narrow.contains("3 dimensions") && narrow.contains("documents 4"), "{narrow}");
}

#[test]
fn of_equal_documents_the_later_is_first_and_vectors_that_are_not_numbers_are_last() {
    let lines = [line("a", "first", &["second"]), line("b", "third", &[])];
    let set = development_set(&lines, None);
    let queries = Embeddings::new(2, vec![1.0, 0.0, 1.0, 0.0]).unwrap();
    let documents = Embeddings::new(2, vec![2.0, 0.0, 3.0, 0.0, f32::NAN, 0.0]).unwrap();
    let scores = set.score(&queries, &documents).unwrap();
    // `a` finds its document second, `b` third.
    assert!((scores.mrr_at_10 - (1.0 / 2.0 + 1.0 / 3.0) / 2.0).abs() < 1e-12);
    let everywhere = Embeddings::new(2, vec![f32::NAN; 6]).unwrap();
    assert_eq!(set.score(&queries, &everywhere).unwrap().recall_at_1, 0.5);
    let alone = development_set(&[line("a", "only", &[])], None);
    let one = Embeddings::new(2, vec![1.0, 0.0]).unwrap();
    let scores = alone.score(&one, &one).unwrap();
    assert_eq!((scores.recall_at_1, scores.margin), (1.0, None));
}

/// Every score by its definition, from the whole matrix of similarities in double precision.
fn naive(queries: &Embeddings, documents: &Embeddings, relevant: &[Vec<usize>]) -> [f64; 5] {
    let cosine = |left: &[f32], right: &[f32]| {
        let dot = |left: &[f32], right: &[f32]| -> f64 {
            left.iter().zip(right).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
        };
        dot(left, right) / (dot(left, left) * dot(right, right)).sqrt()
    };
    let mut sums = [0.0; 5];
    for (query, relevant) in queries.rows().zip(relevant) {
        let mut order: Vec<(f64, usize)> =
            documents.rows().map(|row| cosine(query, row)).zip(0..).collect();
        order.sort_by(|left, right| right.0.total_cmp(&left.0));
        let hits: Vec<bool> =
            order.iter().take(10).map(|(_, number)| relevant.contains(number)).collect();
        let count = |k: usize| hits.iter().take(k).filter(|hit| **hit).count() as f64;
        for (sum, k) in sums.iter_mut().zip([1, 5, 10]) {
            *sum += count(k) / relevant.len() as f64;
        }
        sums[3] += hits.iter().position(|hit| *hit).map_or(0.0, |place| 1.0 / (place as f64 + 1.0));
        let discount = |place: usize| 1.0 / (place as f64 + 2.0).log2();
        let gain: f64 = (0..hits.len()).filter(|place| hits[*place]).map(discount).sum();
        sums[4] += gain / (0..relevant.len().min(10)).map(discount).sum::<f64>();
    }
    sums.map(|sum| sum / queries.len() as f64)
}

fn scores(scores: &Scores) -> [f64; 5] {
    let Scores { recall_at_1, recall_at_5, recall_at_10, mrr_at_10, ndcg_at_10, .. } = scores;
    [*recall_at_1, *recall_at_5, *recall_at_10, *mrr_at_10, *ndcg_at_10]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// More queries than one block has, and up to two blocks of documents.
    #[test]
    fn blocks_give_what_the_whole_matrix_gives(
        queries in 1_usize..150, documents in 150_usize..4500, seed: u64,
    ) {
        let mut random = Random::new(seed);
        let mut vectors = |rows: usize| {
            let values = (0..rows * 6).map(|_| random.below(20_001) as f32 - 10_000.0);
            Embeddings::new(6, values.collect()).unwrap()
        };
        let (query_vectors, document_vectors) = (vectors(queries), vectors(documents));
        let mut lines: Vec<String> = (0..documents)
            .map(|number| line(&format!("q {}", number % queries), &format!("d {number}"), &[]))
            .collect();
        // Each query keeps the positives of the first rows alone.
        let positives = queries * 2;
        for (number, text) in lines.iter_mut().enumerate().skip(positives.min(documents)) {
            *text = line("q 0", "d 0", &[&format!("d {number}")]);
        }
        let set = development_set(&lines, None);
        let relevant: Vec<Vec<usize>> = (0..set.queries().len())
            .map(|query| (query..positives.min(documents)).step_by(queries).collect())
            .collect();
        let found = set.score(&query_vectors, &document_vectors).unwrap();
        let expected = naive(&query_vectors, &document_vectors, &relevant);
        for (ours, expected) in scores(&found).into_iter().zip(expected) {
            prop_assert!((ours - expected).abs() < 1e-9, "{ours} in place of {expected}");
        }
        let margin = found.margin.unwrap();
        let best: BTreeSet<usize> = relevant.iter().map(Vec::len).collect();
        if best.iter().all(|count| *count == 1) {
            prop_assert!((margin.accuracy - found.recall_at_1).abs() < 1e-9);
        }
    }
}

/// The folder of a model, cut at so many tokens.
fn cut_at(model: &Path, tokens: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(model).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "sentence_bert_config.json" {
            symlink(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
    }
    let settings = format!("{{\"max_seq_length\": {tokens}, \"do_lower_case\": false}}");
    std::fs::write(folder.path().join("sentence_bert_config.json"), settings).unwrap();
    folder
}

/// The figures are those that the data's own description gives, from sentence-transformers 6.2.
#[test]
fn minilm_finds_what_it_is_known_to_find() {
    let data = std::env::var_os("CODERAG_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")),
        PathBuf::from,
    );
    let path = data.join("pydoc/dev.jsonl.gz");
    let cache = std::env::var("CODERAG_CACHE").unwrap_or_else(|_| {
        format!("{}/.cache/coderag", std::env::var("HOME").unwrap_or_default())
    });
    let model = Path::new(&cache).join("models/all-MiniLM-L6-v2");
    if !model.is_dir() {
        let required = std::env::var("CODERAG_REQUIRE_MODELS").is_ok_and(|value| value == "1");
        assert!(!required, "{} is missing", model.display());
    }
    for needed in [&path, &model] {
        if !needed.exists() {
            println!("skipped: {} is not there", needed.display());
            return;
        }
    }
    let mut settings = settings(&path, Some(1000));
    let (anchor, positive) = ("query".to_owned(), "doc".to_owned());
    settings.source.columns = Columns { anchor, positive, ..Columns::default() };
    let set = DevelopmentSet::read(&settings, OnBadRow::Fail).unwrap();
    assert_eq!((set.queries().len(), set.documents().len()), (1000, 3715));
    let folder = cut_at(&model, 128);
    let encoder = CpuEncoder::load(folder.path(), &EngineOptions::default()).unwrap();
    let embed = |texts: &[String]| {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        encoder.encode(&texts, &EncodeOptions::default(), &Silent).unwrap()
    };
    let scores = set.score(&embed(set.queries()), &embed(set.documents())).unwrap();
    println!("{scores:?}");
    let (recall_at_1, recall_at_10, mrr) =
        (scores.recall_at_1, scores.recall_at_10, scores.mrr_at_10);
    for (ours, theirs) in [(recall_at_1, 0.417), (recall_at_10, 0.751), (mrr, 0.529)] {
        assert!((ours - theirs).abs() <= 0.001, "{ours} in place of {theirs}");
    }
}
