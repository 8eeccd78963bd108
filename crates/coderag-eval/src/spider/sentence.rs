//! Sentence boundaries, which NLTK's `word_tokenize` looks for before it splits words.
//!
//! They matter in one way only: a period at the end of a sentence becomes a token of its own, so
//! `GROUP BY name. This query ...` parses and `GROUP BY name.This` does not. The algorithm is Punkt's
//! (Kiss and Strunk 2006, <https://aclanthology.org/J06-4003>; NLTK's `punkt.py`) without its trained
//! tables: no word is known as an abbreviation, and no next word as one that starts sentences. After
//! quoted strings were set aside, what is left of a query gives those tables nothing to decide except
//! for columns named like English abbreviations (`dr.`, `st.`) at the end of a sentence.

use std::ops::Range;

/// The sentences of `text` in order, with the space between them in none or one of them.
pub(super) fn sentences(text: &str) -> Vec<&str> {
    // Without a period there is nothing to decide, and few queries have one outside of names.
    if !text.contains('.') {
        return vec![text];
    }
    let mut slices = Vec::new();
    let mut start = 0;
    for candidate in candidates(text) {
        if contains_break(&text[candidate.context.clone()]) {
            slices.push(start..candidate.end);
            start = candidate.next;
        }
    }
    let end = text.trim_end().len().max(start);
    slices.push(start..end);
    realign(text, &slices)
}

/// A place where a sentence may end.
struct Candidate {
    /// Just after the `.`, `?` or `!`.
    end: usize,
    /// Where the next sentence would start.
    next: usize,
    /// From the start of the word before it to the end of the word after it.
    context: Range<usize>,
}

/// `PunktSentenceTokenizer._match_potential_end_contexts`.
fn candidates(text: &str) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = Vec::new();
    let mut previous_word = 0..0;
    for (position, mark) in text.char_indices().filter(|(_, mark)| matches!(mark, '.' | '?' | '!'))
    {
        let end = position + mark.len_utf8();
        let after = &text[end..];
        let Some(first) = after.chars().next() else { break };
        let (next, context_end) = if is_non_word(first) {
            (end, end + first.len_utf8())
        } else if first.is_whitespace() {
            let word = after.trim_start();
            if word.is_empty() {
                break;
            }
            let next = text.len() - word.len();
            (next, next + word.find(char::is_whitespace).unwrap_or(word.len()))
        } else {
            continue;
        };
        let before = &text[previous_word.end..position];
        // An index of zero stands for "none" there, too.
        let word_start = match before.rfind(|space: char| " \t\n\r\u{b}\u{c}".contains(space)) {
            Some(space) if space > 0 => previous_word.end + space + 1,
            _ => previous_word.start,
        };
        let word = word_start..position;
        // Marks of one word are one candidate, at the last of them.
        if !found.is_empty() && previous_word.end > word.start {
            found.pop();
        }
        found.push(Candidate { end, next, context: word.start..context_end });
        previous_word = word;
    }
    found
}

/// `PunktSentenceTokenizer.text_contains_sentbreak`.
fn contains_break(context: &str) -> bool {
    let words: Vec<&str> = context.split('\n').flat_map(words).collect();
    words.windows(2).any(|pair| match pair {
        [word, next] => ends_sentence(word, next),
        _ => false,
    })
}

/// Whether a sentence ends after `word`, which `next` follows.
fn ends_sentence(word: &str, next: &str) -> bool {
    if matches!(word, "." | "?" | "!") {
        return true;
    }
    let Some(stem) = word.strip_suffix('.') else { return false };
    if stem.ends_with('.') {
        return false;
    }
    let mut letters = stem.chars();
    let is_initial = matches!(
        (letters.next(), letters.next()),
        (Some(letter), None) if letter.is_alphabetic() || letter == '_'
    );
    if !is_initial && !is_number(stem) {
        return true;
    }
    // Punctuation and words in lower case do not start a sentence.
    if matches!(next, ";" | ":" | "," | "." | "!" | "?") || next.starts_with(char::is_lowercase) {
        return false;
    }
    // After an initial neither does a word in upper case that the tables do not know in lower case: a
    // name such as `T1`, but hardly a word of English.
    let is_name = next.starts_with(char::is_uppercase) && !next.chars().all(char::is_alphabetic);
    !(is_initial && is_name)
}

/// `PunktToken._RE_NUMERIC` without the final period.
fn is_number(stem: &str) -> bool {
    let stem = stem.strip_prefix('-').unwrap_or(stem);
    let stem = stem.strip_prefix(['.', ',']).unwrap_or(stem);
    stem.starts_with(char::is_numeric)
        && stem.chars().all(|c| c.is_numeric() || matches!(c, ',' | '.' | '-'))
}

/// `PunktLanguageVars._re_non_word_chars`.
fn is_non_word(character: char) -> bool {
    matches!(
        character,
        ')' | '"'
            | ';'
            | '}'
            | ']'
            | '*'
            | ':'
            | '@'
            | '\''
            | '('
            | '{'
            | '['
            | '?'
            | '!'
            | '\u{2018}'
            | '\u{2019}'
            | '\u{201c}'
            | '\u{201d}'
            | '\u{ab}'
            | '\u{bb}'
    )
}

/// `PunktLanguageVars.word_tokenize`: words with their periods, every other mark by itself.
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match several_marks(rest) {
            Some(length) => length,
            None if "(\"`{[:;&#*@)}]-,".contains(first) => first.len_utf8(),
            None => word_length(rest),
        };
        let (word, after) = rest.split_at(length);
        words.push(word);
        rest = after.trim_start();
    }
    words
}

/// The length of a run of hyphens or periods, or of periods with space between, at the start.
fn several_marks(text: &str) -> Option<usize> {
    for mark in ['-', '.'] {
        let run = text.len() - text.trim_start_matches(mark).len();
        if run >= 2 {
            return Some(run);
        }
    }
    let mut length = 0;
    let mut periods = 0;
    let mut rest = text;
    while let Some(after) = rest.strip_prefix('.') {
        periods += 1;
        length = text.len() - after.len();
        match after.chars().next() {
            Some(space) if space.is_whitespace() => rest = &after[space.len_utf8()..],
            _ => break,
        }
    }
    (periods >= 3).then_some(length)
}

fn word_length(text: &str) -> usize {
    let ends = |rest: &str| match rest.chars().next() {
        None => true,
        Some(next) => next.is_whitespace() || is_non_word(next) || several_marks(rest).is_some(),
    };
    text.char_indices()
        .skip(1)
        .find(|(position, character)| {
            let rest = &text[*position..];
            ends(rest) || (*character == ',' && ends(&rest[1..]))
        })
        .map_or(text.len(), |(position, _)| position)
}

/// `PunktSentenceTokenizer._realign_boundaries`: closing brackets and quotes belong to the sentence
/// before them.
fn realign<'t>(text: &'t str, slices: &[Range<usize>]) -> Vec<&'t str> {
    let mut sentences = Vec::with_capacity(slices.len());
    let mut moved = 0;
    for (index, slice) in slices.iter().enumerate() {
        let start = (slice.start + moved).min(slice.end);
        let next = slices.get(index + 1);
        let (closing, with_space) = next.map_or((0, 0), |next| closing(&text[next.clone()]));
        let end = match next {
            Some(next) if closing > 0 => next.start + closing,
            _ => slice.end,
        };
        moved = with_space;
        if end > start {
            sentences.push(&text[start..end]);
        }
    }
    sentences
}

/// The length of the closing marks at the start of a sentence, and with the space after them.
fn closing(sentence: &str) -> (usize, usize) {
    let is_closing = |c: char| {
        matches!(
            c,
            '"' | '\'' | ')' | ']' | '}' | '\u{2018}' | '\u{2019}' | '\u{201c}' | '\u{201d}'
        ) || matches!(c, '\u{ab}' | '\u{bb}')
    };
    let mut length = 0;
    for character in sentence.chars().take_while(|character| is_closing(*character)) {
        length += character.len_utf8();
        let rest = &sentence[length..];
        let trimmed = rest.trim_start();
        if rest.is_empty() || trimmed.len() < rest.len() || rest.starts_with("--") {
            return (length, sentence.len() - trimmed.len());
        }
    }
    (0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_end_where_nltk_ends_them() {
        // The expected values are NLTK 3.10's with its English model.
        for (text, expected) in [
            ("select t1.name from t", vec!["select t1.name from t"]),
            ("GROUP BY name. This query", vec!["GROUP BY name.", "This query"]),
            ("limit 1. this is", vec!["limit 1. this is"]),
            ("limit 1. This is", vec!["limit 1.", "This is"]),
            ("(select x. ) y", vec!["(select x. )", "y"]),
            ("a... b", vec!["a... b"]),
            ("FROM a. T1 x", vec!["FROM a. T1 x"]),
            ("singer.) x", vec!["singer.)", "x"]),
            ("x = 1.; y", vec!["x = 1.; y"]),
            ("from singer.; y", vec!["from singer.", "; y"]),
        ] {
            let found: Vec<_> =
                sentences(text).into_iter().filter(|sentence| !sentence.is_empty()).collect();
            assert_eq!(found, expected, "{text:?}");
        }
    }
}
