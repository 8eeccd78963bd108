//! The tokens of a query as Spider's `process_sql.tokenize` finds them.
//!
//! Quoted strings are set aside first; NLTK's `word_tokenize` (the Treebank rules of
//! `NLTKWordTokenizer`, version 3.10) splits the rest into lowercase words; the strings are put back,
//! and `!`, `>` and `<` are joined to a `=` that follows them.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;

use super::sentence::sentences;
use crate::python_text::{is_decimal, split};

/// Why a text has no tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnbalancedQuotes;

/// Splits a query into tokens.
///
/// # Errors
/// [`UnbalancedQuotes`] when the quotes, single and double ones together, are odd in number.
pub(crate) fn tokenize(query: &str) -> Result<Vec<String>, UnbalancedQuotes> {
    let (text, strings) = set_strings_aside(query)?;
    let mut tokens = Vec::new();
    for sentence in sentences(&text) {
        for word in split(&treebank(sentence)) {
            let word = word.to_lowercase();
            tokens.push(match strings.get(word.as_str()) {
                Some(string) => (*string).clone(),
                None => word,
            });
        }
    }
    join_comparisons(&mut tokens);
    Ok(tokens)
}

/// Replaces every quoted string by a word that holds the positions of its quotes, in characters.
fn set_strings_aside(query: &str) -> Result<(String, HashMap<String, String>), UnbalancedQuotes> {
    let mut text = String::with_capacity(query.len());
    let mut strings = HashMap::new();
    let mut string: Option<(usize, String)> = None;
    for (position, character) in query.chars().enumerate() {
        let is_quote = matches!(character, '"' | '\'');
        match &mut string {
            None if is_quote => string = Some((position, String::from('"'))),
            None => text.push(character),
            Some((start, content)) => {
                content.push(if is_quote { '"' } else { character });
                if is_quote {
                    let key = format!("__val_{start}_{position}__");
                    text.push_str(&key);
                    strings.insert(key, std::mem::take(content));
                    string = None;
                }
            }
        }
    }
    if string.is_some() { Err(UnbalancedQuotes) } else { Ok((text, strings)) }
}

/// `>` `=` -> `>=`, from the right. The word before the first one is the last one, as a negative index
/// has it in Python.
fn join_comparisons(tokens: &mut Vec<String>) {
    let starts_with_equals = tokens.first().is_some_and(|token| token == "=");
    let mut joined: Vec<String> = Vec::with_capacity(tokens.len());
    for token in tokens.drain(..) {
        match joined.last_mut() {
            Some(before) if token == "=" && matches!(before.as_str(), "!" | ">" | "<") => {
                before.push('=');
            }
            _ => joined.push(token),
        }
    }
    let last = joined.last().map(String::as_str);
    if starts_with_equals && matches!(last, Some("!" | ">" | "<")) {
        // toks[:-1] + [toks[-1] + "="] + toks[1:]: the whole again after all of it.
        let rest: Vec<String> = joined.iter().skip(1).cloned().collect();
        if let Some(last) = joined.last_mut() {
            last.push('=');
        }
        joined.extend(rest);
    }
    *tokens = joined;
}

/// `NLTKWordTokenizer.tokenize` up to its last step, on a text without quotes: the words are separated
/// by space.
fn treebank(sentence: &str) -> String {
    let text = pad_opening_quotes(sentence);
    let text = split_final_period(&text);
    let text = split_commas_and_colons(&text);
    let text = pad_marks(&text);
    split_contractions(text)
}

/// Opening quotation marks and runs of backticks.
fn pad_opening_quotes(text: &str) -> String {
    let mut padded = String::with_capacity(text.len() + 16);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\u{ab}' | '\u{201c}' | '\u{2018}' | '\u{201e}' => {
                padded.push(' ');
                padded.push(character);
                padded.push(' ');
            }
            '`' => {
                padded.push_str(" `");
                let mut run = 1;
                while characters.next_if_eq(&'`').is_some() {
                    // A second rule separates pairs of them.
                    if run % 2 == 0 {
                        padded.push(' ');
                    }
                    padded.push('`');
                    run += 1;
                }
                padded.push(' ');
            }
            _ => padded.push(character),
        }
    }
    padded
}

/// The period at the end of a sentence, with closing brackets after it or not.
fn split_final_period(text: &str) -> String {
    let content = text.trim_end();
    let closing = |c: char| {
        matches!(c, ']' | ')' | '}' | '>' | '"' | '\'' | ' ' | '\u{bb}' | '\u{201d}' | '\u{2019}')
    };
    let Some(before) = content.trim_end_matches(closing).strip_suffix('.') else {
        return text.to_owned();
    };
    if before.is_empty() || before.ends_with('.') {
        return text.to_owned();
    }
    format!("{before} . {}", &content[before.len() + 1..])
}

/// Commas and colons, unless a digit follows: `([:,])([^\d])`, then `([:,])$`.
fn split_commas_and_colons(text: &str) -> String {
    let mut padded = String::with_capacity(text.len() + 16);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if !matches!(character, ',' | ':') {
            padded.push(character);
            continue;
        }
        // The rule takes the character after the mark with it, so that one is not looked at again.
        match characters.next_if(|next| !is_decimal(*next)) {
            Some(next) => {
                padded.push(' ');
                padded.push(character);
                padded.push(' ');
                padded.push(next);
            }
            None => padded.push(character),
        }
    }
    match padded.chars().next_back() {
        Some(last @ (',' | ':')) => {
            padded.pop();
            padded.push(' ');
            padded.push(last);
            padded.push(' ');
            padded
        }
        _ => padded,
    }
}

/// The marks that are words by themselves, ellipses and double dashes.
fn pad_marks(text: &str) -> String {
    let mut padded = String::with_capacity(2 * text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '.' | '-' if characters.peek() == Some(&character) => {
                padded.push(' ');
                padded.push(character);
                if character == '-' {
                    characters.next();
                    padded.push('-');
                } else {
                    while characters.next_if_eq(&'.').is_some() {
                        padded.push('.');
                    }
                }
                padded.push(' ');
            }
            ';'
            | '@'
            | '#'
            | '$'
            | '%'
            | '&'
            | '?'
            | '!'
            | '*'
            | '['
            | ']'
            | '('
            | ')'
            | '{'
            | '}'
            | '<'
            | '>'
            | '\u{2012}'..='\u{2015}'
            | '\u{bb}'
            | '\u{201d}'
            | '\u{2019}' => {
                padded.push(' ');
                padded.push(character);
                padded.push(' ');
            }
            _ => padded.push(character),
        }
    }
    padded
}

/// `cannot`, `gimme`, `gonna`, `gotta`, `lemme` and `wanna` are two words each; the other contractions
/// of the rules hold an apostrophe, which no text has here.
fn split_contractions(text: String) -> String {
    static CONTRACTION: LazyLock<Option<Regex>> = LazyLock::new(|| {
        Regex::new(r"(?i)\b(?:(can)(not)|(gim)(me)|(gon)(na)|(got)(ta)|(lem)(me)|(wan)(na))\b").ok()
    });
    let Some(contraction) = CONTRACTION.as_ref() else { return text };
    if !contraction.is_match(&text) {
        return text;
    }
    // `wanna` needs space after it, of which the tokenizer adds some at the end.
    let text = format!(" {text} ");
    contraction
        .replace_all(&text, |found: &regex::Captures<'_>| {
            let whole = found.get(0);
            let ends_at = whole.map_or(0, |whole| whole.end());
            let wanna = found.get(11).is_some();
            if wanna && !text[ends_at..].starts_with(char::is_whitespace) {
                return whole.map_or("", |whole| whole.as_str()).to_owned();
            }
            let parts: Vec<&str> =
                found.iter().skip(1).flatten().map(|part| part.as_str()).collect();
            format!(" {} ", parts.join(" "))
        })
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected values are those of `process_sql.tokenize` with NLTK 3.10.
    #[test]
    fn queries_become_the_tokens_of_the_official_script() {
        for (query, expected) in [
            (
                "SELECT T1.Name, count(*) FROM singer AS T1 WHERE a>= 3 AND b!='It is'",
                "select|t1.name|,|count|(|*|)|from|singer|as|t1|where|a|>=|3|and|b|!|=__val_62_68__",
            ),
            ("a = \"X y\" and c = ''", "a|=|\"X y\"|and|c|=|\"\""),
            ("in (1,2, 3)", "in|(|1,2|,|3|)"),
            ("x <> 3 and y > = 4", "x|<|>|3|and|y|>=|4"),
            ("limit 1.", "limit|1|."),
            ("`a`.`b`", "`|a|`|.|`|b|`"),
            ("a -- b /* c */", "a|--|b|/|*|c|*|/"),
            ("cannot gonna x", "can|not|gon|na|x"),
            ("a;b", "a|;|b"),
            ("50% of $3", "50|%|of|$|3"),
            ("= 3 >", "=|3|>=|3|>"),
            ("a > = = b", "a|>=|=|b"),
        ] {
            let tokens = tokenize(query).unwrap_or_default();
            assert_eq!(tokens.join("|"), expected, "{query}");
        }
        assert_eq!(tokenize("it's"), Err(UnbalancedQuotes));
    }
}
