//! An index over real schemas, where they are at hand.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod support;

use std::path::PathBuf;
use std::time::Instant;

use coderag_core::Silent;
use coderag_index::{BuildOptions, Index, SearchMode, build};
use support::Trigrams;

#[test]
fn an_index_over_real_schemas_finds_what_a_scan_finds() {
    let folder = std::env::var_os("CODERAG_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")),
        PathBuf::from,
    );
    let corpus = folder.join("schema_corpus/tables.jsonl.gz");
    if !corpus.exists() {
        println!("skipped: {} is not there", corpus.display());
        return;
    }
    let mut documents = coderag_corpus::read_all(&[corpus]).unwrap();
    // Every fourth, for the time it takes.
    let mut number = 0;
    documents.retain(|_| {
        number += 1;
        number % 4 == 0
    });
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

    // What follows the table's name, as someone would ask who knows only some of the columns.
    let columns = |text: &str| text.split('(').nth(1).unwrap_or(text).to_owned();
    let queries: Vec<Vec<f32>> = documents
        .iter()
        .step_by(documents.len() / 300)
        .map(|document| embedder.vector(&columns(&document.text)))
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
    assert!(recall >= 0.98, "{recall}");
}
