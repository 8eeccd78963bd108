//! Real pairs, where they are at hand.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::collections::HashSet;
use std::path::PathBuf;

use coderag_core::Silent;
use coderag_train::data::{
    Columns, Example, LastBatch, OnBadRow, Order, Repeats, Sampler, SamplerSettings, Source, Store,
};

fn pydoc() -> Option<(tempfile::TempDir, Store)> {
    let folder = std::env::var_os("CODERAG_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")),
        PathBuf::from,
    );
    let path = folder.join("pydoc/train.jsonl.gz");
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return None;
    }
    let (anchor, positive) = ("query".to_owned(), "doc".to_owned());
    let columns = Columns { anchor, positive, ..Columns::default() };
    let source = Source { columns, ..Source::of_file(&path) };
    let target = tempfile::tempdir().unwrap();
    let store =
        Store::build(&target.path().join("store"), &[source], OnBadRow::Fail, &Silent).unwrap();
    Some((target, store))
}

#[test]
fn every_pair_of_pydoc_is_read() {
    let Some((_target, store)) = pydoc() else { return };
    let manifest = store.manifest();
    assert_eq!((store.rows(), manifest.bad_rows.total), (35_888, 0));
    println!("{:?}", manifest.repeats);
    println!("{:?}\n{:?}", manifest.sources[0].anchors, manifest.sources[0].positives);
    // No query or function occurs twice, says its description; so a text that repeats differs in white
    // space, which only we count as equal.
    let examples: Vec<Example> = (0..store.rows()).map(|row| store.example(row).unwrap()).collect();
    let count = |text: fn(&Example) -> &str| {
        let texts: HashSet<&str> = examples.iter().map(text).collect();
        let collapsed: HashSet<Vec<&str>> =
            texts.iter().map(|text| text.split_whitespace().collect()).collect();
        (texts.len(), (examples.len() - collapsed.len()) as u64)
    };
    let (anchors, repeated_anchors) = count(|example| &example.anchor);
    let (positives, repeated_positives) = count(|example| &example.positive);
    assert_eq!((anchors, positives), (35_888, 35_888));
    let Repeats { anchors, positives, .. } = manifest.repeats;
    assert_eq!((anchors, positives), (repeated_anchors, repeated_positives));
    let longest = examples.iter().map(|example| example.positive.chars().count()).max();
    assert_eq!(longest, Some(manifest.sources[0].positives.longest as usize));
}

#[test]
fn the_reference_recipe_takes_lines_64i_to_64i_plus_63() {
    let Some((_target, store)) = pydoc() else { return };
    let settings = SamplerSettings {
        batch_size: 64,
        order: Order::File,
        last_batch: LastBatch::Keep,
        ..SamplerSettings::default()
    };
    let mut sampler = Sampler::new(&store, settings, &[None]).unwrap();
    for step in 0..200 {
        let expected: Vec<usize> = (64 * step..64 * step + 64).collect();
        assert_eq!(sampler.next_batch().unwrap().rows, expected);
    }
    assert_eq!(sampler.count_batches(1), 561);
}
