//! The files that are written, read back as examples to train on.

use std::fs;
use std::io::Read as _;

use coderag_core::Silent;
use coderag_train::Error;
use coderag_train::data::{BadRows, Columns, Example, for_each_example};
use coderag_train::mining::{Layout, MiningReport, MiningSettings, OnTooFew, Written, write};

use crate::collection::Collection;

fn vector(text: &str) -> Vec<f32> {
    let angle = text.bytes().map(f32::from).sum::<f32>() / 100.0;
    vec![angle.cos(), angle.sin(), 0.3]
}

const PAIRS: [(&str, &str); 6] = [
    ("first query", "def a():\n    return 1"),
    ("second", "SELECT 'é' FROM t"),
    ("first query", "def b(): return 1"),
    ("first  query", "def a():\n\treturn 1"),
    ("third\twith \"quotes\"", "x = [1, 2]"),
    ("second", "def a():\n\n  return 1"),
];

fn settings() -> MiningSettings {
    MiningSettings { negatives: 2, relative_margin: None, ..MiningSettings::default() }
}

fn layout(scores: bool, on_too_few: OnTooFew) -> Layout {
    Layout { negatives: 2, on_too_few, scores }
}

fn read(path: &std::path::Path, scores: bool) -> Vec<Example> {
    let columns = Columns { scores: scores.then(|| "scores".to_owned()), ..Columns::default() };
    let (mut examples, mut bad_rows) = (Vec::new(), BadRows::default());
    for_each_example(path, &columns, &mut bad_rows, |example| {
        examples.push(example);
        Ok(())
    })
    .unwrap();
    assert_eq!(bad_rows.total, 0, "{bad_rows}");
    examples
}

#[test]
fn every_format_is_read_back_as_examples() {
    let collection = Collection::new(&PAIRS, &vector);
    let pairs = collection.pairs(&["another document"]);
    let mined = collection.mine(&pairs, &settings());
    for scores in [false, true] {
        let mut all = Vec::new();
        for name in ["a.parquet", "a.jsonl", "b.json", "a.jsonl.gz"] {
            let path = collection.path(name);
            let written =
                write(&path, &pairs, &mined, &layout(scores, OnTooFew::Keep), &Silent).unwrap();
            assert_eq!(written, Written { pairs: 5, negatives: 10, too_few: 0, repeated: 1 });
            all.push(read(&path, scores));
        }
        // The texts are those of their rows, white space included; the repeat is the fourth row.
        let rows: Vec<(&str, &str)> =
            all[0].iter().map(|row| (row.anchor.as_str(), row.positive.as_str())).collect();
        assert_eq!(rows, [PAIRS[0], PAIRS[1], PAIRS[2], PAIRS[4], PAIRS[5]]);
        for row in &all[0] {
            assert_eq!(row.negatives.len(), 2);
            assert_eq!(row.scores.as_ref().map(Vec::len), scores.then_some(3));
            if let Some(scores) = &row.scores {
                let (query, rest) =
                    (collection.vectors(std::slice::from_ref(&row.anchor)), &row.negatives);
                let texts = [&[row.positive.clone()][..], rest].concat();
                let documents = collection.vectors(&texts);
                for (score, document) in scores.iter().zip(documents.rows()) {
                    let product: f32 =
                        query.as_slice().iter().zip(document).map(|(a, b)| a * b).sum();
                    // A positive that differs in white space has the score of its first spelling.
                    let same = row.positive == PAIRS[5].1;
                    assert!((score - product).abs() < 1e-5 || same, "{score} {product}");
                }
            }
        }
        assert!(all.iter().all(|rows| *rows == all[0]));
        let mut text = String::new();
        let file = fs::File::open(collection.path("a.jsonl.gz")).unwrap();
        flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
        assert_eq!(text, fs::read_to_string(collection.path("a.jsonl")).unwrap());
    }
}

#[test]
fn pairs_with_too_few_negatives_are_kept_or_dropped() {
    let collection = Collection::new(&PAIRS[..3], &vector);
    let pairs = collection.pairs(&[]);
    // "first query" has one document that is not its own, "second" two.
    let mined = collection.mine(&pairs, &settings());
    let path = collection.path("a.jsonl");
    let kept = write(&path, &pairs, &mined, &layout(true, OnTooFew::Keep), &Silent).unwrap();
    assert_eq!(kept, Written { pairs: 3, negatives: 4, too_few: 2, repeated: 0 });
    assert_eq!(
        read(&path, true).iter().map(|row| row.negatives.len()).collect::<Vec<_>>(),
        [1, 2, 1]
    );
    let dropped = write(&path, &pairs, &mined, &layout(true, OnTooFew::Drop), &Silent).unwrap();
    assert_eq!(dropped, Written { pairs: 1, negatives: 2, too_few: 2, repeated: 0 });
    assert_eq!(read(&path, true).len(), 1);
    let report = MiningReport::new(&pairs, &mined, dropped);
    assert_eq!((report.pairs, report.anchors, report.documents), (3, 2, 3));
    // One pair's score is all quantiles of one number.
    let alone = Collection::new(&PAIRS[..1], &vector);
    let pairs = alone.pairs(&[]);
    let mined = alone.mine(&pairs, &settings());
    let report = MiningReport::new(&pairs, &mined, Written::default());
    let score = f64::from(mined.positive_scores(0)[0]);
    assert_eq!((report.positive_scores, report.negative_scores), ([score; 5], None));
}

#[test]
fn no_negatives_at_all_are_empty_lists() {
    let collection = Collection::new(&PAIRS[..1], &vector);
    let pairs = collection.pairs(&[]);
    let mined = collection.mine(&pairs, &settings());
    for name in ["a.parquet", "a.jsonl"] {
        let path = collection.path(name);
        write(&path, &pairs, &mined, &layout(true, OnTooFew::Keep), &Silent).unwrap();
        let rows = read(&path, true);
        assert_eq!((rows.len(), rows[0].negatives.len()), (1, 0), "{name}");
    }
}

#[test]
fn an_input_that_changed_meanwhile_leaves_the_old_output() {
    let collection = Collection::new(&PAIRS, &vector);
    let pairs = collection.pairs(&[]);
    let mined = collection.mine(&pairs, &settings());
    let output = collection.path("out.jsonl");
    fs::write(&output, "old").unwrap();
    fs::write(collection.path("pairs.jsonl"), "{\"anchor\":\"a\",\"positive\":\"b\"}\n").unwrap();
    let refused = write(&output, &pairs, &mined, &layout(false, OnTooFew::Keep), &Silent);
    assert!(matches!(refused, Err(Error::InputChanged { .. })), "{refused:?}");
    assert_eq!(fs::read_to_string(&output).unwrap(), "old");
    let refused =
        write(&collection.path("out.csv"), &pairs, &mined, &layout(false, OnTooFew::Keep), &Silent);
    assert!(matches!(refused, Err(Error::UnknownFormat { .. })), "{refused:?}");
}
