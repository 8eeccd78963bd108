use std::collections::HashMap;

use serde::Serialize;

use crate::python_text::{is_space, split};

/// The longest n-grams that are counted.
const ORDERS: usize = 4;

/// Whether capitals count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LetterCase {
    /// `A` differs from `a`; sacrebleu's `case:mixed`.
    #[default]
    Kept,
    /// Texts are lowercased first; sacrebleu's `case:lc`.
    Lowered,
}

/// BLEU (Papineni et al. 2002) with what it is made of.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Bleu {
    /// The score, 0 to 100 up to rounding.
    pub score: f64,
    /// The share of the n-grams of each order that are in a reference, smoothed, 0 to 100.
    pub precisions: [f64; ORDERS],
    /// The factor for texts shorter than their references, 0 to 1.
    pub brevity_penalty: f64,
    /// The tokens of all hypotheses.
    pub hypothesis_length: usize,
    /// The tokens of the references, of each segment's the one closest in length.
    pub reference_length: usize,
    /// The n-grams of each order that are in a reference.
    pub matches: [usize; ORDERS],
    /// All n-grams of the hypotheses of each order.
    pub totals: [usize; ORDERS],
}

/// BLEU of a corpus: pairs of a hypothesis and its references, of which each segment may have another
/// number. Without any segment it is 0.
///
/// This is sacrebleu's `corpus_bleu` (`eff:no|tok:13a|smooth:exp`). A segment without references, which
/// sacrebleu refuses, counts as one without matches whose reference is empty.
pub fn corpus_bleu<H: AsRef<str>, R: IntoIterator<Item: AsRef<str>>>(
    segments: impl IntoIterator<Item = (H, R)>,
    case: LetterCase,
) -> Bleu {
    let mut corpus = Statistics::default();
    for (hypothesis, references) in segments {
        corpus.add(hypothesis.as_ref(), references, case);
    }
    corpus.bleu(Order::Full)
}

/// BLEU of one text against its references, as sacrebleu's `sentence_bleu` (`eff:yes|tok:13a|
/// smooth:exp`): orders that the text is too short for do not count.
pub fn sentence_bleu(
    hypothesis: &str,
    references: impl IntoIterator<Item: AsRef<str>>,
    case: LetterCase,
) -> Bleu {
    let mut statistics = Statistics::default();
    statistics.add(hypothesis, references, case);
    statistics.bleu(Order::Effective)
}

/// Over how many orders the mean of the precisions goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// All of them.
    Full,
    /// Those that the hypothesis has n-grams of.
    Effective,
}

/// What BLEU is computed from, summed over segments.
#[derive(Default)]
struct Statistics {
    hypothesis_length: usize,
    reference_length: usize,
    matches: [usize; ORDERS],
    totals: [usize; ORDERS],
}

impl Statistics {
    fn add(
        &mut self,
        hypothesis: &str,
        references: impl IntoIterator<Item: AsRef<str>>,
        case: LetterCase,
    ) {
        let hypothesis = tokenized(hypothesis, case);
        let hypothesis: Vec<&str> = split(&hypothesis).collect();
        let references: Vec<String> =
            references.into_iter().map(|reference| tokenized(reference.as_ref(), case)).collect();
        let references: Vec<Vec<&str>> =
            references.iter().map(|reference| split(reference).collect()).collect();

        self.hypothesis_length += hypothesis.len();
        // Of two that are equally close the shorter.
        let lengths = references.iter().map(Vec::len);
        let closest = lengths.min_by_key(|length| (length.abs_diff(hypothesis.len()), *length));
        self.reference_length += closest.unwrap_or(0);

        for ((order, matches), total) in (1..).zip(&mut self.matches).zip(&mut self.totals) {
            let mut allowed: HashMap<&[&str], usize> = HashMap::new();
            for reference in &references {
                for (ngram, count) in ngrams(reference, order) {
                    let most = allowed.entry(ngram).or_default();
                    *most = count.max(*most);
                }
            }
            for (ngram, count) in ngrams(&hypothesis, order) {
                *total += count;
                *matches += allowed.get(ngram).map_or(0, |&allowed| count.min(allowed));
            }
        }
    }

    fn bleu(self, order: Order) -> Bleu {
        let Self { hypothesis_length, reference_length, matches, totals } = self;
        let brevity_penalty = if hypothesis_length >= reference_length {
            1.0
        } else if hypothesis_length == 0 {
            0.0
        } else {
            (1.0 - reference_length as f64 / hypothesis_length as f64).exp()
        };
        let mut precisions = [0.0; ORDERS];
        let mut score = 0.0;
        if matches.iter().any(|&count| count > 0) {
            let mut orders = ORDERS;
            // Each order without a match halves the count that it is given in place of 0 (Chen and
            // Cherry 2014, method 3, from NIST's mteval-v13a).
            let mut smoothing = 1.0;
            let counts = matches.iter().zip(&totals);
            for ((number, precision), (&matched, &total)) in (1..).zip(&mut precisions).zip(counts)
            {
                if total == 0 {
                    break;
                }
                if order == Order::Effective {
                    orders = number;
                }
                *precision = if matched > 0 {
                    100.0 * matched as f64 / total as f64
                } else {
                    smoothing *= 2.0;
                    100.0 / (smoothing * total as f64)
                };
            }
            // The precision of an order that no n-gram has is 0, and so then is the geometric mean.
            let logarithms: f64 = precisions.iter().take(orders).map(|value| value.ln()).sum();
            score = brevity_penalty * (logarithms / orders as f64).exp();
        }
        Bleu {
            score,
            precisions,
            brevity_penalty,
            hypothesis_length,
            reference_length,
            matches,
            totals,
        }
    }
}

fn ngrams<'a, 'text>(tokens: &'a [&'text str], order: usize) -> HashMap<&'a [&'text str], usize> {
    let mut counts = HashMap::new();
    for ngram in tokens.windows(order) {
        *counts.entry(ngram).or_default() += 1;
    }
    counts
}

/// The text as the tokenizer `13a` of sacrebleu leaves it, tokens between white space. The rules are
/// those of NIST's mteval-v13a.pl and know only ASCII punctuation and digits.
fn tokenized(text: &str, case: LetterCase) -> String {
    let lowered;
    let text = match case {
        LetterCase::Kept => text,
        LetterCase::Lowered => {
            lowered = text.to_lowercase();
            &lowered
        }
    };
    let text = text
        .trim_end_matches(is_space)
        .replace("<skipped>", "")
        // A word broken at the end of a line.
        .replace("-\n", "")
        .replace('\n', " ")
        .replace("&quot;", "\"")
        .replace("&amp;", "&")
        .replace("&lt;", "<")
        .replace("&gt;", ">");
    let mut apart = String::with_capacity(2 * text.len());
    apart.push(' ');
    for character in text.chars() {
        if is_symbol(character) {
            apart.extend([' ', character, ' ']);
        } else {
            apart.push(character);
        }
    }
    apart.push(' ');
    // Points and commas stay within numbers only.
    let after_other = |first: char, second| !first.is_ascii_digit() && is_point(second);
    let apart = space_pairs(&apart, after_other, |first, point| [first, ' ', point, ' ']);
    let before_other = |first, second: char| is_point(first) && !second.is_ascii_digit();
    let apart = space_pairs(&apart, before_other, |point, second| [' ', point, ' ', second]);
    let dash_after_digit = |first: char, second| first.is_ascii_digit() && second == '-';
    space_pairs(&apart, dash_after_digit, |digit, dash| [digit, ' ', dash, ' '])
}

/// ASCII punctuation but for the apostrophe, the comma, the dash and the point; the space is as good as
/// one.
fn is_symbol(character: char) -> bool {
    character == ' '
        || character.is_ascii_punctuation() && !matches!(character, '\'' | ',' | '-' | '.')
}

fn is_point(character: char) -> bool {
    matches!(character, '.' | ',')
}

/// Replaces neighbouring characters for which `chosen` holds, from the left, so that no character is
/// part of two pairs.
fn space_pairs(
    text: &str,
    chosen: impl Fn(char, char) -> bool,
    replacement: impl Fn(char, char) -> [char; 4],
) -> String {
    let mut spaced = String::with_capacity(2 * text.len());
    let mut characters = text.chars().peekable();
    while let Some(first) = characters.next() {
        match characters.next_if(|second| chosen(first, *second)) {
            Some(second) => spaced.extend(replacement(first, second)),
            None => spaced.push(first),
        }
    }
    spaced
}
