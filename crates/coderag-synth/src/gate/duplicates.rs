//! Is a pair new, or nearly one that is there already?

use std::collections::{BTreeMap, HashMap};

use coderag_core::Random;
use serde::{Deserialize, Serialize};
use tree_sitter::Tree;

use crate::CodeLanguage;
use crate::syntax_tree::{is_comment, parse, preorder};

/// What makes a pair a duplicate of another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compared {
    /// Its anchor or its positive nearly equals that of another pair.
    #[default]
    Either,
    /// Its anchor and its positive nearly equal those of one other pair: for tasks that ask for several
    /// summaries of the same code, or for several functions from the same question.
    Both,
    /// Its anchor nearly equals another anchor.
    Anchor,
    /// Its positive nearly equals another positive.
    Positive,
}

/// When two texts are nearly equal.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DuplicateSettings {
    /// Whether pairs are compared with earlier ones of their task.
    pub enabled: bool,
    /// What is compared.
    pub compared: Compared,
    /// The least share of shingles in common, of those in either text, 0 to 1 (Jaccard).
    pub least_similarity: f64,
    /// The words of a shingle; of code a word is a token.
    pub shingle_words: usize,
}

impl Default for DuplicateSettings {
    fn default() -> Self {
        Self { enabled: true, compared: Compared::Either, least_similarity: 0.7, shingle_words: 3 }
    }
}

/// A text of a pair.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content<'t> {
    /// Words; case, punctuation and white space do not count.
    Text(&'t str),
    /// Code; comments and white space do not count.
    Code(CodeLanguage, &'t str),
}

/// An earlier pair that a pair nearly equals.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Duplicate {
    /// The earlier pair, as it was called when it was inserted.
    pub(crate) of: u64,
    /// The Jaccard similarity of the shingles, 0 to 1; of two texts the lower.
    pub(crate) similarity: f64,
    /// Whether the words are the same, in the same order.
    pub(crate) exact: bool,
}

/// The pairs so far, of one task, for finding near duplicates: MinHash (Broder, "On the resemblance and
/// containment of documents", 1997) with banding (Leskovec, Rajaraman and Ullman, "Mining of Massive
/// Datasets", chapter 3).
///
/// Bands only propose: a candidate counts by the exact similarity of the two sets of shingles, because the
/// estimate from 128 hashes is off by up to a tenth. A pair at the threshold is proposed with a probability
/// of at least 0.99, one above it with a higher one. For each text it keeps 8 bytes a shingle and about 30
/// a band: 1 to 2 KiB for a text of 60 words at the default threshold.
#[derive(Clone, Debug)]
pub(crate) struct Duplicates {
    settings: DuplicateSettings,
    anchors: Side,
    positives: Side,
    names: Vec<u64>,
}

impl Duplicates {
    pub(crate) fn new(settings: DuplicateSettings) -> Self {
        let side = || Side::new(settings);
        Self { settings, anchors: side(), positives: side(), names: Vec::new() }
    }

    /// The earlier pair that this one nearly equals, the most similar one, and of those the first.
    pub(crate) fn find(&self, anchor: Content<'_>, positive: Content<'_>) -> Option<Duplicate> {
        if !self.settings.enabled {
            return None;
        }
        let anchors = || self.anchors.similar(anchor);
        let positives = || self.positives.similar(positive);
        let found: BTreeMap<usize, Similar> = match self.settings.compared {
            Compared::Anchor => anchors(),
            Compared::Positive => positives(),
            Compared::Either => {
                let mut found = anchors();
                for (row, similar) in positives() {
                    let known = found.entry(row).or_insert(similar);
                    if similar.rank() > known.rank() {
                        *known = similar;
                    }
                }
                found
            }
            Compared::Both => {
                let positives = positives();
                let both = |(row, anchor): (usize, Similar)| {
                    let positive = positives.get(&row)?;
                    let similarity = anchor.similarity.min(positive.similarity);
                    Some((row, Similar { similarity, exact: anchor.exact && positive.exact }))
                };
                anchors().into_iter().filter_map(both).collect()
            }
        };
        let best = found
            .into_iter()
            .reduce(|best, other| if other.1.rank() > best.1.rank() { other } else { best });
        let (row, Similar { similarity, exact }) = best?;
        Some(Duplicate { of: *self.names.get(row)?, similarity, exact })
    }

    /// Remembers a pair by a name for it, such as its number.
    pub(crate) fn insert(&mut self, name: u64, anchor: Content<'_>, positive: Content<'_>) {
        if !self.settings.enabled {
            return;
        }
        let row = self.names.len();
        self.names.push(name);
        self.anchors.insert(row, anchor);
        self.positives.insert(row, positive);
    }
}

#[derive(Clone, Copy, Debug)]
struct Similar {
    similarity: f64,
    exact: bool,
}

impl Similar {
    fn rank(&self) -> (bool, f64) {
        (self.exact, self.similarity)
    }
}

/// The hashes of MinHash.
const PERMUTATIONS: usize = 128;

/// All anchors, or all positives.
#[derive(Clone, Debug)]
struct Side {
    settings: DuplicateSettings,
    /// How many hashes of the signature make a band.
    rows: usize,
    texts: Vec<Text>,
    /// By the hash of a band the texts that have it.
    bands: HashMap<u64, Vec<usize>>,
}

#[derive(Clone, Debug)]
struct Text {
    /// Of all words.
    hash: u64,
    /// The hashes of its different shingles in order.
    shingles: Vec<u64>,
}

impl Side {
    fn new(settings: DuplicateSettings) -> Self {
        let rows = rows_per_band(settings.least_similarity);
        Self { settings, rows, texts: Vec::new(), bands: HashMap::new() }
    }

    fn similar(&self, content: Content<'_>) -> BTreeMap<usize, Similar> {
        let text = Text::new(content, self.settings.shingle_words);
        let mut found = BTreeMap::new();
        for band in bands(&text.shingles, self.rows) {
            for &row in self.bands.get(&band).into_iter().flatten() {
                let Some(other) = self.texts.get(row) else { continue };
                found.entry(row).or_insert_with(|| Similar {
                    similarity: jaccard(&text.shingles, &other.shingles),
                    exact: text.hash == other.hash,
                });
            }
        }
        found.retain(|_, similar: &mut Similar| {
            similar.exact || similar.similarity >= self.settings.least_similarity
        });
        found
    }

    fn insert(&mut self, row: usize, content: Content<'_>) {
        let text = Text::new(content, self.settings.shingle_words);
        for band in bands(&text.shingles, self.rows) {
            self.bands.entry(band).or_default().push(row);
        }
        self.texts.push(text);
    }
}

/// The most hashes a band can have for pairs at the threshold to share one of the bands with a probability
/// of 0.99: the fewest candidates that still hold nearly every duplicate.
fn rows_per_band(threshold: f64) -> usize {
    const PROBABILITY: f64 = 0.99;
    let proposes = |rows: &usize| {
        let bands = (PERMUTATIONS / rows) as f64;
        1.0 - (1.0 - threshold.powf(*rows as f64)).powf(bands) >= PROBABILITY
    };
    (1..=PERMUTATIONS).rev().find(proposes).unwrap_or(1)
}

/// The hashes of the bands of a set's MinHash signature; none of an empty set.
fn bands(shingles: &[u64], rows: usize) -> Vec<u64> {
    let least = |permutation: u64| {
        let seed = Random::new(permutation).next_u64();
        shingles.iter().map(|shingle| mixed(shingle ^ seed)).min()
    };
    let signature: Vec<u64> = (0..PERMUTATIONS as u64).map_while(least).collect();
    let whole = signature.chunks_exact(rows).zip(0..);
    whole
        .map(|(band, number)| band.iter().fold(number, |hash, value| mixed(hash ^ value)))
        .collect()
}

/// SplitMix64's finaliser, which permutes the 64-bit numbers.
fn mixed(value: u64) -> u64 {
    Random::new(value).next_u64()
}

/// The share of what two ordered sets have in common.
fn jaccard(left: &[u64], right: &[u64]) -> f64 {
    let (mut common, mut remaining) = (0, right);
    for value in left {
        let smaller = remaining.partition_point(|other| other < value);
        remaining = remaining.get(smaller..).unwrap_or_default();
        if remaining.first() == Some(value) {
            common += 1;
        }
    }
    let either = left.len() + right.len() - common;
    if either == 0 { 1.0 } else { common as f64 / either as f64 }
}

impl Text {
    fn new(content: Content<'_>, shingle_words: usize) -> Self {
        let words: Vec<u64> = words(content).iter().map(|word| hash(word.as_bytes())).collect();
        let joined =
            |words: &[u64]| words.iter().fold(words.len() as u64, |all, word| mixed(all ^ word));
        // A text of fewer words than a shingle has is one shingle.
        let length = shingle_words.clamp(1, words.len().max(1));
        let mut shingles: Vec<u64> = words.windows(length).map(joined).collect();
        if words.is_empty() {
            shingles.push(joined(&[]));
        }
        shingles.sort_unstable();
        shingles.dedup();
        Self { hash: joined(&words), shingles }
    }
}

/// FNV-1a.
fn hash(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    mixed(bytes.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

/// The words of a text, lowercased, or the tokens of code without its comments.
fn words(content: Content<'_>) -> Vec<String> {
    match content {
        Content::Text(text) => text
            .split(|character: char| !character.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .collect(),
        Content::Code(CodeLanguage::Sql, code) => {
            tokens(&coderag_sql::single_line(code).to_lowercase())
        }
        Content::Code(language, code) => parse(language, code)
            .map_or_else(|| tokens(code), |tree| tokens(&uncommented(&tree, code))),
    }
}

/// The code with a space in place of each comment.
fn uncommented(tree: &Tree, code: &str) -> String {
    let mut kept = String::new();
    let mut from = 0;
    for comment in preorder(tree.root_node()).filter(|node| is_comment(*node)) {
        kept.push_str(code.get(from..comment.start_byte()).unwrap_or_default());
        kept.push(' ');
        from = from.max(comment.end_byte());
    }
    kept.push_str(code.get(from..).unwrap_or_default());
    kept
}

/// Whether two texts are the same but for what does not count in them.
pub(crate) fn is_same(left: Content<'_>, right: Content<'_>) -> bool {
    words(left) == words(right)
}

/// Runs of letters, digits and underscores, and the other characters one by one.
fn tokens(code: &str) -> Vec<String> {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    let mut tokens: Vec<String> = Vec::new();
    let mut in_word = false;
    for character in code.chars() {
        match tokens.last_mut() {
            Some(word) if in_word && is_word(character) => word.push(character),
            _ if character.is_whitespace() => {}
            _ => tokens.push(character.to_string()),
        }
        in_word = is_word(character);
    }
    tokens
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use CodeLanguage::*;
    use Content::{Code, Text as Words};

    fn found(
        settings: DuplicateSettings,
        pairs: &[[&str; 2]],
        pair: [&str; 2],
    ) -> Option<Duplicate> {
        let mut duplicates = Duplicates::new(settings);
        for (name, [anchor, positive]) in (10..).zip(pairs) {
            duplicates.insert(name, Words(anchor), Words(positive));
        }
        duplicates.find(Words(pair[0]), Words(pair[1]))
    }

    #[test]
    fn case_punctuation_and_space_do_not_count_in_texts() {
        let known = [["x", "y"], ["How many singers are there?", "one"]];
        let exact = Some(Duplicate { of: 11, similarity: 1.0, exact: true });
        for text in ["how many SINGERS are there", "How  many\n singers: are there ?!"] {
            assert_eq!(found(DuplicateSettings::default(), &known, [text, "two"]), exact, "{text}");
        }
        let other = ["How many singers were there?", "two"];
        assert_eq!(found(DuplicateSettings::default(), &known, other), None);
    }

    #[test]
    fn comments_and_space_do_not_count_in_code() {
        for (language, first, second, other) in [
            (
                Python,
                "def f(x):\n    return x  # why\n",
                "def f( x ):\n  # so\n  return x",
                "def f(y): return y",
            ),
            (Rust, "fn f() -> u8 { 1 }", "fn f()->u8{\n    1 // one\n}", "fn f() -> u8 { 2 }"),
            (Sql, "SELECT a FROM t", "select a -- x\nfrom T", "SELECT 'a' FROM t"),
            (JavaScript, "f(); /* a */ g()", "f();\ng()", "f(); g2()"),
        ] {
            let mut duplicates = Duplicates::new(DuplicateSettings::default());
            duplicates.insert(3, Code(language, first), Words("one"));
            let find = |code| duplicates.find(Code(language, code), Words("two"));
            let exact = Some(Duplicate { of: 3, similarity: 1.0, exact: true });
            assert_eq!(find(second), exact, "{language}");
            assert!(find(other).is_none_or(|found| !found.exact), "{language}");
        }
    }

    #[test]
    fn what_is_compared_decides() {
        let known = [["the same question", "an answer"], ["a question", "the same answer"]];
        let pair = ["the same question", "the same answer"];
        for (compared, of) in [
            (Compared::Either, Some(10)),
            (Compared::Anchor, Some(10)),
            (Compared::Positive, Some(11)),
            (Compared::Both, None),
        ] {
            let settings = DuplicateSettings { compared, ..DuplicateSettings::default() };
            assert_eq!(found(settings, &known, pair).map(|found| found.of), of, "{compared:?}");
        }
        let settings =
            DuplicateSettings { compared: Compared::Both, ..DuplicateSettings::default() };
        let again = [pair, known[1], pair];
        assert_eq!(found(settings, &again, pair).map(|found| found.of), Some(10));
        let settings = DuplicateSettings { enabled: false, ..DuplicateSettings::default() };
        assert_eq!(found(settings, &again, pair), None);
    }

    #[test]
    fn the_bands_propose_pairs_at_the_threshold() {
        for (threshold, rows) in [(0.5, 3), (0.7, 4), (0.8, 6), (0.9, 10), (1.0, 128)] {
            assert_eq!(rows_per_band(threshold), rows, "{threshold}");
        }
    }

    /// 2,000 pairs of texts of 40 words of which some are replaced: those at or above the threshold are
    /// found, but for the one in a hundred that the bands may miss; none below it is.
    #[test]
    fn near_duplicates_are_found_as_by_comparing_all() {
        let mut random = Random::new(5);
        let mut word = |of: u64| format!("w{}", random.below(of));
        let (mut expected, mut missed) = (0, 0);
        for number in 0..2_000 {
            let first: Vec<String> = (0..40).map(|_| word(5_000)).collect();
            let mut second = first.clone();
            for place in 0..number % 8 {
                second[(place * 17 + 3) % 40] = word(5_000);
            }
            let set = |words: &[String]| -> BTreeSet<String> {
                words.windows(3).map(|words| words.join(" ")).collect()
            };
            let (left, right) = (set(&first), set(&second));
            let common = left.intersection(&right).count() as f64;
            let similarity = common
                / (left.len() + right.len()) as f64
                / (1.0 - common / (left.len() + right.len()) as f64);
            let (first, second) = (first.join(" "), second.join(" "));
            let known = [[first.as_str(), "a"]];
            let settings = DuplicateSettings { compared: Compared::Anchor, ..Default::default() };
            let found = found(settings, &known, [&second, "b"]);
            match found {
                Some(found) => {
                    assert!((found.similarity - similarity).abs() < 1e-9);
                    assert!(similarity >= 0.7);
                    expected += 1;
                }
                None if similarity >= 0.7 => {
                    expected += 1;
                    missed += 1;
                }
                None => {}
            }
        }
        assert!(expected > 500 && missed * 100 <= expected, "{missed} of {expected} missed");
    }

    proptest! {
        #[test]
        fn what_was_inserted_is_found_exactly(
            texts in proptest::collection::vec("[a-d ]{0,20}|(?s).{0,20}", 1..12),
            which in any::<prop::sample::Index>(),
        ) {
            for content in [Words as fn(_) -> _, |text| Code(Python, text), |text| Code(Sql, text)] {
                let mut duplicates = Duplicates::new(DuplicateSettings::default());
                for (name, text) in (0..).zip(&texts) {
                    duplicates.insert(name, content(text), Words("x"));
                }
                let text = which.get(&texts);
                let found = duplicates.find(content(text), Words("y")).unwrap();
                prop_assert!(found.exact && found.similarity == 1.0);
                let first = texts.iter().position(|other| words(content(other)) == words(content(text)));
                prop_assert_eq!(found.of, first.unwrap() as u64);
            }
        }

        #[test]
        fn similarity_is_that_of_the_sets(
            left in proptest::collection::btree_set(0_u64..30, 0..20),
            right in proptest::collection::btree_set(0_u64..30, 0..20),
        ) {
            let either = left.union(&right).count();
            let expected = if either == 0 { 1.0 } else {
                left.intersection(&right).count() as f64 / either as f64
            };
            let ordered = |set: &BTreeSet<u64>| set.iter().copied().collect::<Vec<_>>();
            prop_assert_eq!(jaccard(&ordered(&left), &ordered(&right)), expected);
        }
    }
}
