//! An index over real schemas, where they are at hand.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod support;

use std::path::PathBuf;
use std::time::Instant;

use coderag_core::Silent;
use coderag_index::{BuildOptions, Index, SearchMode, build};
use support::Trigrams;

#[test]
fn an_index_over_the_whole_schema_corpus_finds_what_a_scan_finds() {
    let folder = std::env::var_os("CODERAG_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")),
        PathBuf::from,
    );
    let corpus = folder.join("schema_corpus/tables.jsonl.gz");
    let questions = folder.join("wikisql_context/train_dev.jsonl.gz");
    if !corpus.exists() || !questions.exists() {
        println!("skipped: {} has no schemas or questions", folder.display());
        return;
    }
    let documents = coderag_corpus::read_all(&[corpus]).unwrap();
    let questions = coderag_corpus::read_texts(&questions, "sql_prompt").unwrap();
    let embedder = Trigrams::new(384);
    let output = tempfile::tempdir().unwrap();

    let begin = Instant::now();
    let options = BuildOptions::default();
    let manifest =
        build(&documents, &embedder, "trigrams", output.path(), &options, &Silent).unwrap();
    println!("{} documents built in {:.1?}", documents.len(), begin.elapsed());
    println!("self-recall {}, repaired {}", manifest.self_recall, manifest.repaired);
    for (name, file) in &manifest.files {
        println!("{name}: {} bytes", file.bytes);
    }
    let begin = Instant::now();
    let index = Index::open(output.path()).unwrap();
    println!("opened in {:.1?}", begin.elapsed());

    let queries: Vec<Vec<f32>> = questions
        .iter()
        .step_by(questions.len() / 300)
        .take(300)
        .map(|question| embedder.vector(question))
        .collect();
    let search = |mode| {
        let begin = Instant::now();
        let found: Vec<_> =
            queries.iter().map(|query| index.search(query, 10, mode).unwrap()).collect();
        println!("{mode:?}: {:.2?} a query", begin.elapsed() / queries.len() as u32);
        found
    };
    let (exact, fast) = (search(SearchMode::Exact), search(SearchMode::Approximate));
    // By score, since equal schemas of different tables may stand for each other.
    let found: usize = exact
        .iter()
        .zip(&fast)
        .map(|(exact, fast)| {
            let least = exact.last().unwrap().score;
            fast.iter().filter(|found| found.score >= least).count()
        })
        .sum();
    let recall = found as f64 / (10 * queries.len()) as f64;
    println!("recall@10 against the scan: {recall}");
    assert!(manifest.self_recall >= 0.99);
    assert!(recall >= 0.9, "{recall}");
}
