//! The values of the gold query in the places of a predicted query's: `get_all_preds_for_execution`
//! of `parse.py` in taoyds/test-suite-sql-eval.
//!
//! With this, a prediction is right if any choice of the gold query's values makes it right.

use super::sqlparse::{Token, TokenKind, first_statement, with_upper_keywords};
use crate::error::Result;
use crate::python_text::{is_decimal, is_space, split, strip};
use std::collections::{BTreeSet, HashSet};

/// What stands for a value in a query.
const SLOT: &str = "VALUERARE";

/// [`SLOT`] as it stands among the words.
const SLOT_WORD: &str = "valuerare";

/// A query cut into words, with its values taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryValues {
    /// The words in lower case, with `valuerare` for each value that stood alone.
    pub words: Vec<String>,
    /// The values as they stood in the query: texts with their quotes, and numbers.
    pub values: BTreeSet<String>,
}

/// The words and the values of the first statement of a query: `extract_query_values`.
///
/// What the official script takes for a value is what it is here: each text in single or double
/// quotes, so also a column in double quotes, and numbers, but not where they follow a `t` without
/// space.
///
/// # Errors
///
/// As [`first_statement`].
pub fn extract_query_values(query: &str) -> Result<QueryValues> {
    // All words end in lower case, yet their upper case in between is not without effect: `GO` ends
    // a statement where `go` does not, the text in `AT TIME ZONE '...'` no longer equals a value,
    // and a letter such as the long s becomes an ASCII one in a keyword.
    let formatted = with_upper_keywords(&reformat(query)?);
    strip_values(&join_aliases(&formatted))
}

/// All ways to put the values of a gold query into the places of a prediction's values.
#[derive(Clone, Debug)]
pub struct PluggedQueries {
    words: Vec<String>,
    /// The positions in `words` of the slots.
    slots: Vec<usize>,
    values: Vec<String>,
    /// For each slot the position in `values` of its next value; none when there are no more ways.
    choice: Option<Vec<usize>>,
}

/// The predicted query with each choice of the gold query's values: `get_all_preds_for_execution`.
///
/// The script goes through a Python set, whose order differs from run to run; here the values come
/// in the order of their characters, and those of the last place change fastest.
///
/// # Errors
///
/// As [`first_statement`], for each of the two.
pub fn plug_gold_values(gold: &str, prediction: &str) -> Result<PluggedQueries> {
    let values = Vec::from_iter(extract_query_values(gold)?.values);
    let words = extract_query_values(prediction)?.words;
    let slots: Vec<usize> = (0..)
        .zip(&words)
        .filter(|(_, word)| *word == SLOT_WORD)
        .map(|(position, _)| position)
        .collect();
    let choice = (slots.is_empty() || !values.is_empty()).then(|| vec![0; slots.len()]);
    Ok(PluggedQueries { words, slots, values, choice })
}

impl PluggedQueries {
    /// How many queries there are in all, or the largest number where there are more.
    ///
    /// It does not change while they are taken. One slot more makes the number grow by the factor
    /// of the number of values, so whoever runs them needs a bound.
    pub fn number_of_queries(&self) -> u64 {
        let values = u64::try_from(self.values.len()).unwrap_or(u64::MAX);
        u32::try_from(self.slots.len()).map_or(u64::MAX, |slots| values.saturating_pow(slots))
    }
}

impl Iterator for PluggedQueries {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let choice = self.choice.as_mut()?;
        let mut words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        for (slot, value) in self.slots.iter().zip(&*choice) {
            if let (Some(word), Some(value)) = (words.get_mut(*slot), self.values.get(*value)) {
                *word = value;
            }
        }
        let query = words.join(" ");
        // Counts up, the last slot being the last digit.
        let is_last = !choice.iter_mut().rev().any(|digit| {
            *digit += 1;
            if *digit == self.values.len() {
                *digit = 0;
            }
            *digit > 0
        });
        if is_last {
            self.choice = None;
        }
        Some(query)
    }
}

/// The tokens of the first statement with one space between them: `reformat_query`.
fn reformat(query: &str) -> Result<String> {
    let query = strip(query).replace([';', '\t'], "");
    let tokens = first_statement(&query)?;
    let texts: Vec<&str> = tokens
        .iter()
        // Space that ends a line stays.
        .filter(|token| token.kind != TokenKind::Whitespace)
        .map(|token| token.text)
        .collect();
    let joined = texts.join(" ");
    Ok(["t1.*", "t2.*", "t3.*", "T1.*", "T2.*", "T3.*"]
        .into_iter()
        .fold(joined, |query, star| query.replace(star, "*")))
}

/// The text without one space behind each `T1.`, where a point follows a capital T and digits.
fn join_aliases(text: &str) -> String {
    let mut joined = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(found) = rest.find('T') {
        let after_letter = found + 1;
        let tail = rest.get(after_letter..).unwrap_or_default();
        let digits = tail.len() - tail.trim_start_matches(is_decimal).len();
        let behind = tail.get(digits..).unwrap_or_default();
        let space = behind
            .strip_prefix('.')
            .and_then(|behind| behind.chars().next())
            .filter(|space| digits > 0 && is_space(*space));
        let kept = after_letter + digits + usize::from(space.is_some());
        joined.push_str(rest.get(..kept).unwrap_or_default());
        rest = rest.get(kept + space.map_or(0, char::len_utf8)..).unwrap_or_default();
    }
    joined.push_str(rest);
    joined
}

/// The words of a query and its values: `strip_query`.
fn strip_values(query: &str) -> Result<QueryValues> {
    let tokens = first_statement(query)?;
    let is_value = |token: &&Token<'_>| {
        matches!(token.kind, TokenKind::SingleQuoted | TokenKind::DoubleQuoted)
    };
    let mut values: BTreeSet<String> = BTreeSet::new();
    let mut replaced = query.to_owned();
    for value in tokens.iter().filter(is_value).map(|token| token.text) {
        // Everywhere at once, also inside another value or across two of them.
        replaced = replaced.replace(value, SLOT);
        values.insert(value.to_owned());
    }

    let numbers = floats(&replaced);
    let words: Vec<&str> = split(&replaced)
        .map(|word| if numbers.contains(word) { value_slot(word, &mut values) } else { word })
        .collect();
    let joined = words.join(" ");
    let numbers = integers(&joined);
    let words = words
        .into_iter()
        .map(|word| if numbers.contains(word) { value_slot(word, &mut values) } else { word });

    let mut parts = Vec::new();
    for word in words {
        if has_alias(word) {
            parts.extend(split(&word.replace('.', " . ")).map(str::to_lowercase));
        } else {
            parts.push(word.to_lowercase());
        }
    }
    Ok(QueryValues { words: parts, values })
}

fn value_slot(word: &str, values: &mut BTreeSet<String>) -> &'static str {
    values.insert(word.to_owned());
    SLOT
}

/// All that `[-+]?\d*\.\d+` finds, from left to right and without overlap.
fn floats(text: &str) -> HashSet<&str> {
    let mut found = HashSet::new();
    let mut end = 0;
    for (point, _) in text.match_indices('.') {
        // A point inside the last match would have ended it, so this one lies behind it.
        let whole = text.get(end..point).unwrap_or_default();
        let behind = text.get(point + 1..).unwrap_or_default();
        let fraction = behind.len() - behind.trim_start_matches(is_decimal).len();
        if fraction == 0 {
            continue;
        }
        let before = whole.trim_end_matches(is_decimal);
        let before = before.strip_suffix(['-', '+']).unwrap_or(before);
        let start = end + before.len();
        end = point + 1 + fraction;
        found.extend(text.get(start..end));
    }
    found
}

/// All that `[^tT]\d+` finds, from left to right and without overlap, and without space around it.
fn integers(text: &str) -> HashSet<&str> {
    let mut found = HashSet::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let behind = rest.get(first.len_utf8()..).unwrap_or_default();
        let after = behind.trim_start_matches(is_decimal);
        if matches!(first, 't' | 'T') || after.len() == behind.len() {
            rest = behind;
        } else {
            found.extend(rest.get(..rest.len() - after.len()).map(strip));
            rest = after;
        }
    }
    found
}

/// Whether `[tT]\d+\.` is found.
fn has_alias(word: &str) -> bool {
    word.match_indices(['t', 'T']).any(|(position, _)| {
        let tail = word.get(position + 1..).unwrap_or_default();
        let behind = tail.trim_start_matches(is_decimal);
        behind.len() < tail.len() && behind.starts_with('.')
    })
}
