use std::collections::{BTreeSet, HashMap};

use coderag_core::Random;

/// The word n-grams of many texts by their hashes: 64 bits, so that of a million n-grams and a million
/// lookups one in ten million is mistaken.
pub(super) struct NgramIndex {
    words: usize,
    /// By length in words and hash the first text that has it.
    ngrams: HashMap<(usize, u64), usize>,
    /// The lengths there are, the longest first.
    lengths: Vec<usize>,
    /// Texts too short to be looked for inside of others, by the hash of all their words.
    short: HashMap<u64, (usize, usize)>,
}

impl NgramIndex {
    /// The n-grams of `words` words of the texts. A text of fewer words is one n-gram of all of them.
    pub(super) fn new<'t>(words: usize, texts: impl Iterator<Item = &'t str>) -> Self {
        /// Fewer words than this stand in many a text by chance.
        const LEAST_WORDS: usize = 5;
        let mut ngrams = HashMap::new();
        let mut short = HashMap::new();
        for (number, text) in texts.enumerate() {
            let hashes = hashes(text);
            let length = hashes.len().min(words);
            if hashes.is_empty() {
                continue;
            }
            if length < LEAST_WORDS.min(words) {
                short.entry(joined(&hashes)).or_insert((number, length));
                continue;
            }
            for ngram in hashes.windows(length) {
                ngrams.entry((length, joined(ngram))).or_insert(number);
            }
        }
        let lengths: BTreeSet<usize> = ngrams.keys().map(|(length, _)| *length).collect();
        Self { words, ngrams, lengths: lengths.into_iter().rev().collect(), short }
    }

    /// A text that shares an n-gram with this one, of those with the longest n-gram the one found first,
    /// and the n-gram's words.
    pub(super) fn find(&self, text: &str) -> Option<(usize, usize)> {
        let hashes = hashes(text);
        if hashes.len() < self.words
            && let Some(found) = self.short.get(&joined(&hashes))
        {
            return Some(*found);
        }
        self.lengths.iter().find_map(|&length| {
            let number = |ngram| self.ngrams.get(&(length, joined(ngram)));
            hashes.windows(length).find_map(number).map(|number| (*number, length))
        })
    }
}

/// The hashes of a text's words, which have letters and digits and no case.
fn hashes(text: &str) -> Vec<u64> {
    text.split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| {
            let letters = word.chars().flat_map(char::to_lowercase);
            letters.fold(0, |hash, letter| Random::new(hash ^ u64::from(letter)).next_u64())
        })
        .collect()
}

/// The hash of words in their order.
fn joined(words: &[u64]) -> u64 {
    words.iter().fold(words.len() as u64, |hash, word| Random::new(hash ^ word).next_u64())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// By comparing all words with all.
        #[test]
        fn finds_what_is_contained_and_nothing_else(
            texts in proptest::collection::vec(proptest::collection::vec("[abc]", 0..12), 0..6),
            text in proptest::collection::vec("[ABC]", 0..20),
            words in 1_usize..8,
        ) {
            let joined: Vec<String> = texts.iter().map(|words| words.join(", ")).collect();
            let index = NgramIndex::new(words, joined.iter().map(String::as_str));
            let lower: Vec<String> = text.iter().map(|word| word.to_lowercase()).collect();
            let contains = |part: &[String]| lower.windows(part.len()).any(|window| window == part);
            let leaks = |known: &Vec<String>| match known.len() {
                0 => false,
                length if length >= words => known.windows(words).any(contains),
                length if length < 5 => lower == *known,
                _ => contains(known),
            };
            let found = index.find(&text.join("-"));
            prop_assert_eq!(found.is_some(), texts.iter().any(leaks));
            if let Some((number, length)) = found {
                prop_assert!(leaks(&texts[number]));
                prop_assert_eq!(length, texts[number].len().min(words));
            }
        }
    }
}
