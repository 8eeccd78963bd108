//! Text metrics against those of sacrebleu, rouge-score and rapidfuzz, and what must hold for any text.
#![allow(clippy::unwrap_used)]

use std::fs;

use coderag_eval::text::{LetterCase, corpus_bleu, edit_similarity, rouge, sentence_bleu};
use proptest::prelude::*;
use serde::Serialize;
use serde_json::Value;

/// Made by scripts/reference_metrics.py.
fn fixture() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixture/text_metrics.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Every number of `expected` is in `found`, up to the digits that the fixture gives, and no other.
fn assert_same(found: &impl Serialize, expected: &Value, place: &str) {
    let found = numbers(&serde_json::to_value(found).unwrap());
    let expected = numbers(expected);
    assert_eq!(found.len(), expected.len(), "{place}");
    for ((name, found), (expected_name, expected)) in found.iter().zip(&expected) {
        assert_eq!(name, expected_name, "{place}");
        assert!((found - expected).abs() < 1e-8, "{place}: {name}: {found}, expected {expected}");
    }
}

fn numbers(value: &Value) -> Vec<(String, f64)> {
    let below = |name: &str, value: &Value| -> Vec<(String, f64)> {
        numbers(value)
            .into_iter()
            .map(|(rest, number)| (format!("{name}.{rest}"), number))
            .collect()
    };
    match value {
        Value::Object(object) => object.iter().flat_map(|(key, value)| below(key, value)).collect(),
        Value::Array(array) => {
            array.iter().enumerate().flat_map(|(at, value)| below(&at.to_string(), value)).collect()
        }
        value => vec![(String::new(), value.as_f64().unwrap())],
    }
}

struct Segment {
    hypothesis: String,
    references: Vec<String>,
}

impl Segment {
    fn of(value: &Value) -> Self {
        let references = value["references"].as_array().unwrap();
        Self {
            hypothesis: value["hypothesis"].as_str().unwrap().to_owned(),
            references: references.iter().map(|text| text.as_str().unwrap().to_owned()).collect(),
        }
    }
}

#[test]
fn sentence_bleu_is_that_of_sacrebleu() {
    let fixture = fixture();
    let mut between = 0;
    for value in fixture["segments"].as_array().unwrap() {
        let Segment { hypothesis, references } = Segment::of(value);
        let place = format!("{hypothesis:?} against {references:?}");
        let kept = sentence_bleu(&hypothesis, &references, LetterCase::Kept);
        assert_same(&kept, &value["bleu"], &place);
        let lowered = sentence_bleu(&hypothesis, &references, LetterCase::Lowered);
        assert_same(&lowered, &value["bleu_lowered"], &place);
        between += usize::from(kept.score > 1.0 && kept.score < 99.0);
    }
    assert!(between > 30, "{between}");
}

#[test]
fn corpus_bleu_is_that_of_sacrebleu() {
    let fixture = fixture();
    let segments: Vec<Segment> =
        fixture["segments"].as_array().unwrap().iter().map(Segment::of).collect();
    for corpus in fixture["corpora"].as_array().unwrap() {
        let chosen = corpus["segments"].as_array().unwrap();
        let chosen = || chosen.iter().map(|number| &segments[number.as_u64().unwrap() as usize]);
        let bleu = |case| corpus_bleu(chosen().map(|s| (&s.hypothesis, &s.references)), case);
        let place = corpus["segments"].to_string();
        assert_same(&bleu(LetterCase::Kept), &corpus["bleu"], &place);
        assert_same(&bleu(LetterCase::Lowered), &corpus["bleu_lowered"], &place);
    }
}

#[test]
fn rouge_is_that_of_rouge_score() {
    let fixture = fixture();
    for value in fixture["segments"].as_array().unwrap() {
        let Segment { hypothesis, references } = Segment::of(value);
        let place = format!("{hypothesis:?} against {:?}", references[0]);
        assert_same(&rouge(&references[0], &hypothesis), &value["rouge"], &place);
    }
}

#[test]
fn edit_similarity_is_that_of_rapidfuzz() {
    let fixture = fixture();
    for value in fixture["segments"].as_array().unwrap() {
        let Segment { hypothesis, references } = Segment::of(value);
        let found = edit_similarity(&hypothesis, &references[0]);
        let expected = value["edit_similarity"].as_f64().unwrap();
        assert!(
            (found - expected).abs() < 1e-9,
            "{hypothesis:?} {references:?} {found} {expected}"
        );
    }
}

#[test]
fn bleu_without_segments_or_references_is_0() {
    let nothing: [(&str, [&str; 0]); 0] = [];
    assert_eq!(corpus_bleu(nothing, LetterCase::Kept).score, 0.0);
    let alone = sentence_bleu("some words", [""; 0], LetterCase::Kept);
    assert_eq!((alone.score, alone.reference_length, alone.totals), (0.0, 0, [2, 1, 0, 0]));
}

/// Texts of the characters that the tokenizers treat in a way of their own, and of any others.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-cA-C0-9.,' \n&;<-]{0,30}", "\\PC{0,30}", any::<String>()]
}

proptest! {
    #[test]
    fn scores_of_any_texts_are_in_bounds(
        hypothesis in any_text(),
        references in proptest::collection::vec(any_text(), 0..4),
    ) {
        for case in [LetterCase::Kept, LetterCase::Lowered] {
            let bleu = sentence_bleu(&hypothesis, &references, case);
            prop_assert!((0.0..=100.0 + 1e-9).contains(&bleu.score));
            prop_assert!((0.0..=1.0).contains(&bleu.brevity_penalty));
            for (matched, total) in bleu.matches.iter().zip(bleu.totals) {
                prop_assert!(*matched <= total);
            }
        }
        for reference in &references {
            let rouge = rouge(reference, &hypothesis);
            for score in [rouge.rouge_1, rouge.rouge_2, rouge.rouge_l] {
                for value in [score.precision, score.recall, score.f1] {
                    prop_assert!((0.0..=1.0).contains(&value));
                }
            }
            prop_assert!((0.0..=1.0).contains(&edit_similarity(&hypothesis, reference)));
        }
    }

    #[test]
    fn a_text_is_perfect_against_itself(text in any_text()) {
        let bleu = sentence_bleu(&text, [&text], LetterCase::Kept);
        let perfect = if bleu.hypothesis_length > 0 { 100.0 } else { 0.0 };
        prop_assert!((bleu.score - perfect).abs() < 1e-9);
        let words = text.to_lowercase();
        let words = words.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty());
        let words = words.count();
        let rouge = rouge(&text, &text);
        prop_assert_eq!(rouge.rouge_1.f1, f64::from(u8::from(words > 0)));
        prop_assert_eq!(rouge.rouge_2.f1, f64::from(u8::from(words > 1)));
        prop_assert_eq!(rouge.rouge_l.f1, f64::from(u8::from(words > 0)));
        prop_assert_eq!(edit_similarity(&text, &text), 1.0);
    }

    #[test]
    fn similarities_are_symmetric(left in any_text(), right in any_text()) {
        prop_assert_eq!(edit_similarity(&left, &right), edit_similarity(&right, &left));
        let (there, back) = (rouge(&left, &right), rouge(&right, &left));
        for (there, back) in [
            (there.rouge_1, back.rouge_1),
            (there.rouge_2, back.rouge_2),
            (there.rouge_l, back.rouge_l),
        ] {
            prop_assert_eq!((there.precision, there.recall), (back.recall, back.precision));
            prop_assert!((there.f1 - back.f1).abs() < 1e-12);
        }
    }

    #[test]
    fn the_order_of_segments_and_references_does_not_matter(
        segments in proptest::collection::vec(
            (any_text(), proptest::collection::vec(any_text(), 1..3)),
            0..5,
        ),
    ) {
        let before = corpus_bleu(segments.clone(), LetterCase::Kept);
        let mut segments = segments;
        segments.reverse();
        for (_, references) in &mut segments {
            references.reverse();
        }
        prop_assert_eq!(before, corpus_bleu(segments, LetterCase::Kept));
    }
}
