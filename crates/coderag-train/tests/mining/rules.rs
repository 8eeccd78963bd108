//! What holds whatever the data.

use std::collections::{BTreeSet, HashMap};

use coderag_core::Random;
use coderag_core::{Embeddings, Silent};
use coderag_train::mining::{MiningSettings, Sampling, mine};
use proptest::prelude::*;

use crate::collection::{Collection, negatives};

/// A direction for each text, the same for texts that differ in white space alone.
fn random_vector(text: &str) -> Vec<f32> {
    let words = text.split_whitespace().flat_map(str::bytes).map(u64::from).collect::<Vec<_>>();
    let mut random = Random::derived(1, &words);
    (0..4).map(|_| random.below(2001) as f32 - 1000.0 + 0.5).collect()
}

fn everything() -> MiningSettings {
    MiningSettings {
        negatives: 100,
        range_max: Some(100),
        relative_margin: None,
        ..MiningSettings::default()
    }
}

#[test]
fn texts_of_the_anchor_and_its_positives_are_never_negatives() {
    let pairs = [
        ("sum of a list", "def total(items):\n    return sum(items)"),
        ("sum of  a list", "def add(items): ..."),
        ("largest", "def total(items):\n  return sum(items)"),
        ("def f(): pass", "def g(): pass"),
    ];
    let collection = Collection::new(&pairs, &random_vector);
    let corpus = ["def add(items):  ...", "def  f(): pass", "largest", "other", " ", "other "];
    let pairs = collection.pairs(&corpus);
    // The first spelling of each.
    assert_eq!(pairs.anchors(), ["sum of a list", "largest", "def f(): pass"]);
    let total = "def total(items):\n    return sum(items)";
    let documents =
        [total, "def add(items): ...", "def g(): pass", "def  f(): pass", "largest", "other"];
    assert_eq!(pairs.documents(), documents);
    assert_eq!(pairs.len(), 4);
    let mined = collection.mine(&pairs, &everything());
    let sorted = |anchor| {
        let mut negatives = negatives(&pairs, &mined, anchor);
        negatives.sort_unstable();
        negatives
    };
    assert_eq!(sorted("sum of a list"), ["def  f(): pass", "def g(): pass", "largest", "other"]);
    assert_eq!(
        sorted("largest"),
        ["def  f(): pass", "def add(items): ...", "def g(): pass", "other"]
    );
    assert_eq!(sorted("def f(): pass"), ["def add(items): ...", total, "largest", "other"]);
    assert_eq!((mined.removed.candidates, mined.removed.own_texts), (12, 6));
}

#[test]
fn what_is_drawn_depends_on_the_seed_and_the_anchor_alone() {
    let texts: Vec<(String, String)> =
        (0..40).map(|number| (format!("query {number}"), format!("answer {number}"))).collect();
    let mut pairs: Vec<(&str, &str)> =
        texts.iter().map(|(anchor, positive)| (anchor.as_str(), positive.as_str())).collect();
    let settings = |seed| MiningSettings {
        negatives: 4,
        range_max: Some(12),
        relative_margin: None,
        sampling: Sampling::Random,
        seed,
        ..MiningSettings::default()
    };
    let draw = |pairs: &[(&str, &str)], seed| -> HashMap<String, Vec<String>> {
        let collection = Collection::new(pairs, &random_vector);
        let pairs = collection.pairs(&[]);
        let mined = collection.mine(&pairs, &settings(seed));
        let all = collection.mine(
            &pairs,
            &MiningSettings { sampling: Sampling::Top, negatives: 12, ..settings(seed) },
        );
        let draws = pairs.anchors().iter().map(|anchor| {
            let drawn = negatives(&pairs, &mined, anchor);
            let all = negatives(&pairs, &all, anchor);
            assert_eq!((drawn.len(), all.len()), (4, 12));
            // Of the twelve nearest, in their order.
            let places: Vec<_> = drawn
                .iter()
                .map(|drawn| all.iter().position(|text| text == drawn).unwrap())
                .collect();
            assert!(places.is_sorted_by(|left, right| left < right), "{places:?}");
            (anchor.clone(), drawn.into_iter().map(str::to_owned).collect())
        });
        draws.collect()
    };
    let first = draw(&pairs, 7);
    assert_eq!(draw(&pairs, 7), first);
    assert_ne!(draw(&pairs, 8), first);
    pairs.reverse();
    assert_eq!(draw(&pairs, 7), first);
}

#[test]
fn every_candidate_is_drawn_as_often() {
    let texts: Vec<(String, String)> = (0..2000)
        .map(|number| (format!("query {number}"), format!("answer {}", number % 8)))
        .collect();
    let pairs: Vec<(&str, &str)> =
        texts.iter().map(|(anchor, positive)| (anchor.as_str(), positive.as_str())).collect();
    let collection = Collection::new(&pairs, &random_vector);
    let pairs = collection.pairs(&[]);
    let settings = MiningSettings { negatives: 1, sampling: Sampling::Random, ..everything() };
    let mined = collection.mine(&pairs, &settings);
    let mut counts: HashMap<u32, u32> = HashMap::new();
    for anchor in 0..2000 {
        *counts.entry(mined.negatives(anchor)[0].document).or_default() += 1;
    }
    // Six standard deviations of a binomial count of mean 250.
    assert!(counts.values().all(|count| count.abs_diff(250) < 90), "{counts:?}");
    assert_eq!(counts.len(), 8);
}

#[test]
fn vectors_that_are_not_those_of_the_texts_are_refused() {
    let collection = Collection::new(&[("a", "b"), ("c", "d")], &random_vector);
    let pairs = collection.pairs(&[]);
    let vectors = |rows: usize, width: usize, value: f32| {
        Embeddings::new(width, vec![value; rows * width]).unwrap()
    };
    for (anchors, documents, problem) in [
        (vectors(1, 4, 0.5), vectors(2, 4, 0.5), "1 of 2 anchors"),
        (vectors(2, 4, 0.5), vectors(3, 4, 0.5), "3 of 2 documents"),
        (vectors(2, 4, 0.5), vectors(2, 3, 0.5), "anchors have 4 dimensions, documents 3"),
        (vectors(2, 4, 0.5), vectors(2, 4, f32::NAN), "not finite"),
    ] {
        let refused = mine(&pairs, &anchors, &documents, &MiningSettings::default(), &Silent);
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains(problem), "{refused}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_negative_passes_every_filter(
        pairs in prop::collection::vec((0u8..25, 0u8..40), 1..60),
        negatives in 1usize..6,
        range_min in 0usize..4,
        width in 0usize..30,
        absolute_margin in prop::option::of(-0.2f32..0.5),
        relative_margin in prop::option::of(0.0f32..0.5),
        max_score in prop::option::of(0.0f32..1.0),
        min_score in prop::option::of(-1.0f32..0.5),
        random in any::<bool>(),
    ) {
        let texts: Vec<(String, String)> =
            pairs.iter().map(|(anchor, positive)| (format!("a{anchor}"), format!("d{positive}"))).collect();
        let pairs: Vec<(&str, &str)> =
            texts.iter().map(|(anchor, positive)| (anchor.as_str(), positive.as_str())).collect();
        let collection = Collection::new(&pairs, &random_vector);
        let pairs = collection.pairs(&["x1", "x2", "x3"]);
        let settings = MiningSettings {
            negatives,
            range_min,
            range_max: Some(range_min + negatives + width),
            absolute_margin,
            relative_margin,
            max_score,
            min_score,
            sampling: if random { Sampling::Random } else { Sampling::Top },
            seed: 3,
        };
        let mined = collection.mine(&pairs, &settings);
        for (number, anchor) in pairs.anchors().iter().enumerate() {
            let found = mined.negatives(number);
            let positive = mined.positive_scores(number).iter().copied().fold(f32::INFINITY, f32::min);
            let own: BTreeSet<&str> =
                texts.iter().filter(|(other, _)| other == anchor).map(|(_, text)| text.as_str()).collect();
            prop_assert_eq!(mined.positive_scores(number).len(), own.len());
            prop_assert!(found.len() <= negatives);
            prop_assert!(found.is_sorted_by(|left, right| left.score >= right.score));
            let different: BTreeSet<u32> = found.iter().map(|negative| negative.document).collect();
            prop_assert_eq!(different.len(), found.len());
            for negative in found {
                let text = pairs.documents()[negative.document as usize].as_str();
                prop_assert!(!own.contains(text));
                let score = negative.score;
                prop_assert!(absolute_margin.is_none_or(|margin| score + margin <= positive));
                prop_assert!(relative_margin.is_none_or(|margin| score <= positive - positive.abs() * margin));
                prop_assert!(max_score.is_none_or(|most| score <= most));
                prop_assert!(min_score.is_none_or(|least| score >= least));
            }
        }
    }
}
