use std::collections::HashMap;

use serde::Serialize;

/// How much two texts overlap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct RougeScore {
    /// The share of the candidate that is in the reference, 0 to 1.
    pub precision: f64,
    /// The share of the reference that is in the candidate, 0 to 1.
    pub recall: f64,
    /// The harmonic mean of the two.
    pub f1: f64,
}

/// ROUGE of one text against one reference (Lin 2004).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Rouge {
    /// The overlap of words.
    pub rouge_1: RougeScore,
    /// The overlap of pairs of neighbouring words.
    pub rouge_2: RougeScore,
    /// The longest common subsequence of words.
    pub rouge_l: RougeScore,
}

/// ROUGE-1, ROUGE-2 and ROUGE-L as `RougeScorer(["rouge1", "rouge2", "rougeL"])` of rouge-score 0.1.2
/// computes them, without its stemmer.
///
/// Words are runs of ASCII letters and digits of the lowercased text. All else separates words, so a
/// text in another script than the Latin has none and scores 0, even against itself.
pub fn rouge(reference: &str, candidate: &str) -> Rouge {
    let (reference, candidate) = (reference.to_lowercase(), candidate.to_lowercase());
    let (reference, candidate) = (words(&reference), words(&candidate));
    let score = |common, order: usize| {
        let possible = |words: &[&str]| (words.len() + 1).saturating_sub(order);
        RougeScore::new(common, possible(&reference), possible(&candidate))
    };
    Rouge {
        rouge_1: score(common_ngrams(&reference, &candidate, 1), 1),
        rouge_2: score(common_ngrams(&reference, &candidate, 2), 2),
        rouge_l: score(longest_common_subsequence(&reference, &candidate), 1),
    }
}

impl RougeScore {
    fn new(common: usize, in_reference: usize, in_candidate: usize) -> Self {
        let share = |of: usize| common as f64 / of.max(1) as f64;
        let (precision, recall) = (share(in_candidate), share(in_reference));
        let f1 = if common > 0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 };
        Self { precision, recall, f1 }
    }
}

fn words(lowercased: &str) -> Vec<&str> {
    lowercased
        .split(|character: char| !character.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect()
}

/// How many n-grams the texts have in common, repetitions included.
fn common_ngrams(reference: &[&str], candidate: &[&str], order: usize) -> usize {
    let mut counts: HashMap<&[&str], usize> = HashMap::new();
    for ngram in reference.windows(order) {
        *counts.entry(ngram).or_default() += 1;
    }
    let mut common = 0;
    for ngram in candidate.windows(order) {
        if let Some(left @ 1..) = counts.get_mut(ngram) {
            *left -= 1;
            common += 1;
        }
    }
    common
}

/// The length of the longest common subsequence, by the usual table of which only one row is kept.
fn longest_common_subsequence(reference: &[&str], candidate: &[&str]) -> usize {
    let mut lengths = vec![0; candidate.len()];
    for word in reference {
        // What the table holds above to the left, and to the left.
        let (mut diagonal, mut left) = (0, 0);
        for (length, other) in lengths.iter_mut().zip(candidate) {
            let above = *length;
            *length = if word == other { diagonal + 1 } else { above.max(left) };
            (diagonal, left) = (above, *length);
        }
    }
    lengths.last().copied().unwrap_or(0)
}
