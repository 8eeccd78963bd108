//! The same vectors and settings give the negatives of `mine_hard_negatives`: see
//! scripts/reference_mining.py.

use std::collections::HashMap;

use coderag_train::mining::MiningSettings;
use serde::Deserialize;

use crate::collection::Collection;

#[derive(Deserialize)]
struct Fixture {
    anchors: HashMap<String, Vec<f32>>,
    documents: HashMap<String, Vec<f32>>,
    pairs: Vec<(String, String)>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    settings: MiningSettings,
    removed: HashMap<String, u64>,
    /// An anchor, its positive and its negatives, and their scores.
    rows: Vec<(String, Vec<String>, Vec<f32>)>,
}

#[test]
fn negatives_and_scores_are_those_of_mine_hard_negatives() {
    let fixture: Fixture = serde_json::from_str(include_str!("../fixtures/mining.json")).unwrap();
    let vector =
        |text: &str| fixture.anchors.get(text).unwrap_or_else(|| &fixture.documents[text]).clone();
    let pairs: Vec<(&str, &str)> = fixture
        .pairs
        .iter()
        .map(|(anchor, positive)| (anchor.as_str(), positive.as_str()))
        .collect();
    let collection = Collection::new(&pairs, &vector);
    let mut corpus: Vec<&str> =
        fixture.documents.keys().map(String::as_str).filter(|name| name.starts_with('o')).collect();
    corpus.sort_unstable();
    let pairs = collection.pairs(&corpus);
    assert_eq!(pairs.documents().len(), fixture.documents.len());
    assert_eq!((pairs.len(), pairs.most_positives()), (fixture.pairs.len(), 4));

    let mut compared = 0;
    for (number, case) in fixture.cases.iter().enumerate() {
        let mined = collection.mine(&pairs, &case.settings);
        let what = |pair: &(String, String)| format!("case {number}, {pair:?}");
        let expected: HashMap<_, _> = case
            .rows
            .iter()
            .map(|(anchor, texts, scores)| {
                let (positive, negatives) = texts.split_first().unwrap();
                ((anchor.clone(), positive.clone()), (negatives, scores))
            })
            .collect();
        assert_eq!(expected.len(), case.rows.len());
        for pair in &fixture.pairs {
            let anchor = pairs.anchors().iter().position(|text| *text == pair.0).unwrap();
            let negatives = mined.negatives(anchor);
            let Some((texts, scores)) = expected.get(pair) else {
                assert!(negatives.is_empty(), "{}", what(pair));
                continue;
            };
            let found: Vec<&String> =
                negatives.iter().map(|it| &pairs.documents()[it.document as usize]).collect();
            assert_eq!(found, texts.iter().collect::<Vec<_>>(), "{}", what(pair));
            // A positive's place among the anchor's is that of its number.
            let of_anchor = |other: &&(String, String)| other.0 == pair.0;
            let mut positives: Vec<usize> = fixture
                .pairs
                .iter()
                .filter(of_anchor)
                .map(|(_, text)| pairs.documents().iter().position(|it| it == text).unwrap())
                .collect();
            positives.sort_unstable();
            let own = pairs.documents().iter().position(|it| *it == pair.1).unwrap();
            let place = positives.binary_search(&own).unwrap();
            let all = mined.positive_scores(anchor)[place..=place]
                .iter()
                .copied()
                .chain(negatives.iter().map(|negative| negative.score));
            for (found, expected) in all.zip(scores.iter()) {
                assert!((found - expected).abs() < 2e-6, "{}: {found} {expected}", what(pair));
            }
            compared += negatives.len();
        }
        // Its count for `min_score` has what other filters removed in it too.
        let removed = mined.removed;
        for (filter, found) in [
            ("absolute_margin", removed.absolute_margin),
            ("relative_margin", removed.relative_margin),
            ("max_score", removed.max_score),
        ] {
            let expected = case.removed.get(filter).copied().unwrap_or(0);
            assert_eq!(found, expected, "case {number}: {filter}");
        }
    }
    assert!(compared > 3000, "{compared}");
}
