//! Building, opening and searching an index folder.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use coderag_core::{Digest, Document, Embedder, Progress, ProgressTask, Retriever, Silent, Unit};
use coderag_index::{
    BuildOptions, Error, Index, Manifest, Match, Result, ScalarKind, SearchMode, VectorRetriever,
    build,
};
use support::{Trigrams, document, documents};

const DIMENSIONS: usize = 48;

fn build_with(
    documents: &[Document],
    embedder: &dyn Embedder,
    destination: &Path,
    options: &BuildOptions,
) -> Result<Manifest> {
    build(documents, embedder, "trigrams", destination, options, &Silent)
}

fn build_default(documents: &[Document], destination: &Path) -> Manifest {
    let embedder = Trigrams::new(DIMENSIONS);
    build_with(documents, &embedder, destination, &BuildOptions::default()).unwrap()
}

/// The reference: every pair in double precision, of equals the lower position.
fn naive(
    documents: &[Document],
    embedder: &Trigrams,
    query: &[f32],
    k: usize,
) -> Vec<(usize, f64)> {
    let norm =
        |vector: &[f32]| vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    let mut scored: Vec<(usize, f64)> = documents
        .iter()
        .map(|document| embedder.vector(&document.text))
        .map(|vector| {
            let dot: f64 =
                vector.iter().zip(query).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            dot / (norm(&vector) * norm(query))
        })
        .enumerate()
        .collect();
    scored.sort_by(|left, right| right.1.total_cmp(&left.1).then(left.0.cmp(&right.0)));
    scored.truncate(k);
    scored
}

fn positions(matches: &[Match]) -> Vec<usize> {
    matches.iter().map(|found| found.position).collect()
}

#[test]
fn exact_search_equals_a_naive_scan_in_double_precision() {
    let folder = tempfile::tempdir().unwrap();
    let (documents, embedder) = (documents(1500), Trigrams::new(DIMENSIONS));
    build_default(&documents, folder.path());
    let index = Index::open(folder.path()).unwrap();
    for question in ["customer orders by city", "CREATE TABLE table_7 (", "x"] {
        let query = embedder.vector(question);
        for k in [1, 10, 1500] {
            let found = index.search(&query, k, SearchMode::Exact).unwrap();
            let expected = naive(&documents, &embedder, &query, k);
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                assert!((f64::from(found.score) - expected.1).abs() < 1e-5, "{question}");
            }
            if k == 10 {
                let expected: Vec<usize> = expected.iter().map(|expected| expected.0).collect();
                assert_eq!(positions(&found), expected, "{question}");
            }
        }
    }
}

#[test]
fn approximate_search_finds_nearly_all_that_exact_search_finds() {
    let folder = tempfile::tempdir().unwrap();
    let (documents, embedder) = (documents(4000), Trigrams::new(DIMENSIONS));
    let least = [(ScalarKind::F32, 0.95), (ScalarKind::F16, 0.95), (ScalarKind::I8, 0.85)];
    for (scalar, least) in least {
        let options = BuildOptions { scalar, ..BuildOptions::default() };
        let manifest = build_with(&documents, &embedder, folder.path(), &options).unwrap();
        assert!(manifest.self_recall >= 0.99, "{scalar:?} {}", manifest.self_recall);
        let index = Index::open(folder.path()).unwrap();
        let mut found = 0;
        for question in documents.iter().step_by(40) {
            let query = embedder.vector(&question.text[13..]);
            let exact = positions(&index.search(&query, 10, SearchMode::Exact).unwrap());
            let fast = positions(&index.search(&query, 10, SearchMode::Approximate).unwrap());
            found += exact.iter().filter(|position| fast.contains(position)).count();
        }
        let recall = found as f64 / 1000.0;
        println!("{scalar:?}: recall@10 {recall}, self-recall {}", manifest.self_recall);
        assert!(recall >= least, "{scalar:?} {recall}");
    }
}

#[test]
fn both_modes_give_a_document_the_same_score() {
    let folder = tempfile::tempdir().unwrap();
    let embedder = Trigrams::new(DIMENSIONS);
    build_default(&documents(500), folder.path());
    let index = Index::open(folder.path()).unwrap();
    let query = embedder.vector("artist and album");
    let exact = index.search(&query, 5, SearchMode::Exact).unwrap();
    let fast = index.search(&query, 5, SearchMode::Approximate).unwrap();
    assert_eq!(exact, fast);
}

#[test]
fn the_same_documents_give_the_same_files() {
    let folder = tempfile::tempdir().unwrap();
    let documents = documents(700);
    let first = build_default(&documents, &folder.path().join("a"));
    let second = build_default(&documents, &folder.path().join("b"));
    assert_eq!(first.files, second.files);
}

#[test]
fn duplicates_are_found_in_the_order_of_their_positions() {
    let folder = tempfile::tempdir().unwrap();
    let same: Vec<Document> =
        (0..60).map(|id| document(id, "CREATE TABLE a (x INT);".into())).collect();
    let manifest = build_default(&same, folder.path());
    assert_eq!(manifest.self_recall, 1.0);
    let index = Index::open(folder.path()).unwrap();
    let query = Trigrams::new(DIMENSIONS).vector("CREATE TABLE a");
    let found = index.search(&query, 7, SearchMode::Exact).unwrap();
    assert_eq!(positions(&found), [0, 1, 2, 3, 4, 5, 6]);
}

#[test]
fn odd_limits_and_queries_are_sane() {
    let folder = tempfile::tempdir().unwrap();
    build_default(&documents(3), folder.path());
    let index = Index::open(folder.path()).unwrap();
    let embedder = Trigrams::new(DIMENSIONS);
    let query = embedder.vector("");
    for mode in [SearchMode::Approximate, SearchMode::Exact] {
        assert!(index.search(&query, 0, mode).unwrap().is_empty());
        assert_eq!(index.search(&query, usize::MAX, mode).unwrap().len(), 3);
        let zero = index.search(&[0.0; DIMENSIONS], 1, mode);
        assert!(matches!(zero, Err(Error::NoDirection { .. })));
        let infinite = index.search(&[f32::INFINITY; DIMENSIONS], 1, mode);
        assert!(matches!(infinite, Err(Error::NoDirection { .. })));
        let narrow = index.search(&[1.0; 3], 1, mode);
        assert!(matches!(narrow, Err(Error::Dimensions { found: 3, expected: DIMENSIONS })));
        let retriever = VectorRetriever::new(&index, &embedder, mode).unwrap();
        assert_eq!(retriever.retrieve("", 2).unwrap().len(), 2);
    }
}

#[test]
fn the_retriever_finds_the_document_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let documents = documents(2000);
    build_default(&documents, folder.path());
    let (index, embedder) = (Index::open(folder.path()).unwrap(), Trigrams::new(DIMENSIONS));
    let retriever = VectorRetriever::new(&index, &embedder, SearchMode::Approximate).unwrap();
    for wanted in documents.iter().step_by(97) {
        let hits = retriever.retrieve(&wanted.text, 3).unwrap();
        assert_eq!(&hits[0].document, wanted);
        assert!((hits[0].score - 1.0).abs() < 1e-5);
        assert!(hits.is_sorted_by(|left, right| left.score >= right.score));
    }
}

#[test]
fn an_index_of_another_model_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    build_default(&documents(10), folder.path());
    let index = Index::open(folder.path()).unwrap();
    let others =
        [Trigrams { seed: 43, ..Trigrams::new(DIMENSIONS) }, Trigrams::new(DIMENSIONS / 2)];
    for other in &others {
        let error = VectorRetriever::new(&index, other, SearchMode::Exact).err().unwrap();
        let message = error.to_string();
        assert!(matches!(error, Error::OtherModel { .. }));
        assert!(message.contains("`trigrams`") && message.contains("index build"), "{message}");
        assert!(message.contains(&other.fingerprint().to_string()), "{message}");
    }
}

#[test]
fn more_threads_than_cores_may_search_at_once() {
    let folder = tempfile::tempdir().unwrap();
    build_default(&documents(300), folder.path());
    let index = Index::open(folder.path()).unwrap();
    let query = Trigrams::new(DIMENSIONS).vector("river length");
    let expected = index.search(&query, 5, SearchMode::Approximate).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let found = index.search(&query, 5, SearchMode::Approximate).unwrap();
                    assert_eq!(found, expected);
                }
            });
        }
    });
}

#[test]
fn what_cannot_be_indexed_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("index");
    let embedder = Trigrams::new(DIMENSIONS);
    let options = BuildOptions::default();
    let twice = [document(1, "a".into()), document(1, "b".into())];
    assert!(matches!(build_with(&[], &embedder, &output, &options), Err(Error::NoDocuments)));
    let error = build_with(&twice, &embedder, &output, &options).unwrap_err();
    assert!(error.to_string().contains("`d1`"), "{error}");
    for options in [
        BuildOptions { connectivity: 1, ..options },
        BuildOptions { expansion_add: 0, ..options },
        BuildOptions { expansion_search: 0, ..options },
        BuildOptions { least_self_recall: 1.5, ..options },
    ] {
        let refused = build_with(&documents(2), &embedder, &output, &options);
        assert!(matches!(refused, Err(Error::Option { .. })));
    }
    let zero = Trigrams { zero: Some("table_1 "), ..Trigrams::new(DIMENSIONS) };
    let error = build_with(&documents(3), &zero, &output, &options).unwrap_err();
    assert!(error.to_string().contains("document `d1`"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn only_an_index_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let precious = folder.path().join("thesis.txt");
    std::fs::write(&precious, "years of work").unwrap();
    let embedder = Trigrams::new(DIMENSIONS);
    for output in [folder.path(), &precious] {
        let refused = build_with(&documents(2), &embedder, output, &BuildOptions::default());
        assert!(matches!(refused, Err(Error::NotReplaced { .. })));
    }
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "years of work");
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    build_default(&documents(2), &empty);
}

#[test]
fn a_failed_rebuild_keeps_the_old_index_and_a_good_one_replaces_it() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("index");
    build_default(&documents(600), &output);
    // What a killed build leaves behind.
    let leftover = folder.path().join(".index.partial-abc123");
    std::fs::create_dir(&leftover).unwrap();
    std::fs::write(leftover.join("vectors.usearch"), "half").unwrap();

    let broken = Trigrams { fails_on: Some("table_500 "), ..Trigrams::new(DIMENSIONS) };
    let failed = build_with(&documents(601), &broken, &output, &BuildOptions::default());
    assert!(matches!(failed, Err(Error::Core(_))));
    assert_eq!(Index::open(&output).unwrap().documents().len(), 600);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");

    // An open index goes on working while it is replaced.
    let old = Index::open(&output).unwrap();
    build_default(&documents(10), &output);
    assert_eq!(Index::open(&output).unwrap().documents().len(), 10);
    let query = Trigrams::new(DIMENSIONS).vector("city");
    assert_eq!(old.search(&query, 20, SearchMode::Approximate).unwrap().len(), 20);
}

#[test]
fn a_graph_that_loses_vectors_is_repaired_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("index");
    let poor = BuildOptions {
        connectivity: 2,
        expansion_add: 1,
        expansion_search: 1,
        ..BuildOptions::default()
    };
    let embedder = Trigrams::new(DIMENSIONS);
    let error = build_with(&documents(2000), &embedder, &output, &poor).unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, Error::SelfRecall { total: 2000, .. }), "{message}");
    assert!(message.contains("expansion_add"), "{message}");
    assert!(!output.exists());

    let lenient = BuildOptions { least_self_recall: 0.0, ..poor };
    let manifest = build_with(&documents(2000), &embedder, &output, &lenient).unwrap();
    assert!(manifest.repaired > 0 && manifest.self_recall < 0.99);
    assert_eq!(Index::open(&output).unwrap().verify(&Silent).unwrap(), manifest.self_recall);
}

#[test]
fn every_damage_is_an_error_that_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good");
    build_default(&documents(200), &good);
    let check = |name: &str, bytes: &[u8], what: &str| {
        let bad = folder.path().join("bad");
        std::fs::create_dir_all(&bad).unwrap();
        for name in ["manifest.json", "vectors.usearch", "documents.parquet"] {
            std::fs::copy(good.join(name), bad.join(name)).unwrap();
        }
        std::fs::write(bad.join(name), bytes).unwrap();
        let error = Index::open(&bad).err().unwrap_or_else(|| panic!("{name} {what}"));
        let message = error.to_string();
        assert!(message.contains("bad"), "{message}");
        assert!(message.contains("index build"), "{name} {what}: {message}");
    };
    for name in ["vectors.usearch", "documents.parquet", "manifest.json"] {
        let bytes = std::fs::read(good.join(name)).unwrap();
        for part in 0..16 {
            check(name, &bytes[..bytes.len() * part / 16], "truncated");
            let mut flipped = bytes.clone();
            flipped[bytes.len() * part / 16] ^= 0x80;
            check(name, &flipped, "flipped");
        }
    }
    let longer = [std::fs::read(good.join("vectors.usearch")).unwrap(), vec![0]].concat();
    check("vectors.usearch", &longer, "longer");
}

#[test]
fn a_manifest_that_contradicts_its_files_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    build_default(&documents(50), folder.path());
    let path = folder.path().join("manifest.json");
    let good = std::fs::read_to_string(&path).unwrap();
    for (from, to) in [
        ("\"format_version\": 1", "\"format_version\": 2"),
        ("\"documents\": 50", "\"documents\": 49"),
        ("\"documents\": 50", "\"documents\": 0"),
        ("\"dimensions\": 48", "\"dimensions\": 47"),
        ("\"dimensions\": 48", "\"dimensions\": 0"),
        ("\"scalar\": \"f32\"", "\"scalar\": \"f64\""),
        ("\"vectors.usearch\"", "\"elsewhere\""),
    ] {
        assert!(good.contains(from), "{from}");
        std::fs::write(&path, good.replace(from, to)).unwrap();
        let message =
            Index::open(folder.path()).err().unwrap_or_else(|| panic!("{to}")).to_string();
        assert!(message.contains("index build"), "{to}: {message}");
    }
}

#[test]
fn what_is_not_an_index_is_a_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(Index::open(folder.path()), Err(Error::NotAnIndex { .. })));
    let missing = Index::open(&folder.path().join("none")).unwrap_err();
    assert!(missing.to_string().contains("none"), "{missing}");
}

#[test]
fn verification_repeats_the_self_recall_and_notices_damage() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = build_default(&documents(800), folder.path());
    let index = Index::open(folder.path()).unwrap();
    assert_eq!(index.manifest(), &manifest);
    assert_eq!(index.verify(&Silent).unwrap(), manifest.self_recall);
    let path = folder.path().join("documents.parquet");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(matches!(index.verify(&Silent), Err(Error::Damaged { .. })));
}

#[test]
fn the_manifest_tells_what_the_files_are() {
    let folder = tempfile::tempdir().unwrap();
    build_default(&documents(5), folder.path());
    let text = std::fs::read_to_string(folder.path().join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(manifest["metric"], "cos");
    assert_eq!(manifest["model"]["name"], "trigrams");
    assert_eq!(manifest["expansion_search"], BuildOptions::default().expansion_search);
    for name in ["vectors.usearch", "documents.parquet"] {
        let path = folder.path().join(name);
        assert_eq!(manifest["files"][name]["sha256"], Digest::of_file(&path).unwrap().to_string());
        assert_eq!(manifest["files"][name]["bytes"], path.metadata().unwrap().len());
    }
}

#[derive(Default)]
struct Counted(std::sync::Arc<AtomicU64>);

impl Progress for Counted {
    fn task(&self, label: &str, total: Option<u64>, _unit: Unit) -> Box<dyn ProgressTask> {
        assert!(!label.is_empty() && total == Some(300));
        Box::new(Self(self.0.clone()))
    }
}

impl ProgressTask for Counted {
    fn advance(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }
}

#[test]
fn progress_reaches_its_total() {
    let folder = tempfile::tempdir().unwrap();
    let progress = Counted::default();
    let embedder = Trigrams::new(DIMENSIONS);
    let options = BuildOptions::default();
    build(&documents(300), &embedder, "trigrams", folder.path(), &options, &progress).unwrap();
    assert_eq!(progress.0.load(Ordering::Relaxed), 600);
}
