//! Text into tokens: a scanner that finds what the first matching of sqlparse's regular expressions
//! (`keywords.SQL_REGEX`, with Unicode and without case) finds, and `find_delimited_spans`.
//!
//! The order of the checks is the order of the expressions. Where one of them can match in several
//! ways, the comments say which way Python's `re` takes.

use super::keywords;
use super::{Token, TokenKind};
use crate::python_text::{is_decimal, is_space};
use regex::Regex;
use std::collections::HashMap;
use std::sync::LazyLock;

/// All tokens of a text. Put together they are the text.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer::new(text);
    let mut tokens = Vec::with_capacity(text.len() / 4);
    let mut position = 0;
    let mut previous = None;
    while let Some(first) = after(text, position).chars().next() {
        let (kind, length) = lexer.token(position, first, previous);
        let Some(text) = after(text, position).get(..length) else { break };
        tokens.push(Token { kind, text });
        previous = text.chars().next_back();
        position += length;
    }
    tokens
}

struct Lexer<'text> {
    text: &'text str,
    /// Nothing closes a block comment any more.
    has_no_comment_end: bool,
    /// Where each delimiter `$tag$` stands; made at the first that may open a literal.
    dollar_delimiters: Option<HashMap<&'text str, Vec<usize>>>,
}

impl<'text> Lexer<'text> {
    fn new(text: &'text str) -> Self {
        Self { text, has_no_comment_end: false, dollar_delimiters: None }
    }

    /// The kind and the length in bytes of the token that begins at `position` with `first`, behind
    /// `previous`.
    fn token(
        &mut self,
        position: usize,
        first: char,
        previous: Option<char>,
    ) -> (TokenKind, usize) {
        let rest = after(self.text, position);
        let one = first.len_utf8();
        let found = match first {
            '/' => self.block_comment(rest, position).or_else(|| operator(rest)),
            '$' => self
                .dollar_literal(rest, position, previous)
                .or_else(|| placeholder(rest, previous)),
            '-' => line_comment(rest, "--").or_else(|| number(rest)).or_else(|| arrow(rest)),
            '#' => line_comment(rest, "# ").or_else(|| marked_name(rest)).or_else(|| arrow(rest)),
            '@' => marked_name(rest).or_else(|| arrow(rest)),
            '\r' if rest.starts_with("\r\n") => Some((TokenKind::Newline, 2)),
            '\r' | '\n' => Some((TokenKind::Newline, 1)),
            ':' if rest.starts_with(":=") => Some((TokenKind::Assignment, 2)),
            ':' if rest.starts_with("::") => Some((TokenKind::Punctuation, 2)),
            ':' => placeholder(rest, previous).or(Some((TokenKind::Punctuation, 1))),
            '*' => Some((TokenKind::Wildcard, 1)),
            '`' => quoted(rest, "`", false).map(|length| (TokenKind::Name, length)),
            '\u{b4}' => quoted(rest, "\u{b4}", false).map(|length| (TokenKind::Name, length)),
            '\'' => quoted(rest, "'", true).map(|length| (TokenKind::SingleQuoted, length)),
            '"' => quoted(rest, "\"", true).map(|length| (TokenKind::DoubleQuoted, length)),
            '?' => Some((TokenKind::Placeholder, 1)),
            '%' => format_placeholder(rest).or_else(|| operator(rest)),
            '\\' => match word(after(rest, 1)) {
                "" => None,
                command => Some((TokenKind::Other, 1 + command.len())),
            },
            '[' => bracketed_name(rest, previous).or(Some((TokenKind::Punctuation, 1))),
            '.' => number(rest).or(Some((TokenKind::Punctuation, 1))),
            ';' | '(' | ')' | ']' | ',' => Some((TokenKind::Punctuation, 1)),
            '<' => arrow(rest).or_else(|| comparison(rest)),
            '>' | '=' | '~' | '!' => comparison(rest),
            '+' | '^' | '&' | '|' => operator(rest),
            _ if is_space(first) => Some((TokenKind::Whitespace, one)),
            _ if is_name_start(first) || is_word(first) => word_token(rest, first, previous),
            _ => None,
        };
        // `T.Error`: nothing begins with this character.
        found.unwrap_or((TokenKind::Other, one))
    }

    /// `/* ... */`; none where it is not closed.
    fn block_comment(&mut self, rest: &str, position: usize) -> Option<(TokenKind, usize)> {
        let (kind, opener) = match rest {
            _ if rest.starts_with("/*+") => (TokenKind::HintComment, 3),
            _ if rest.starts_with("/*") => (TokenKind::BlockComment, 2),
            _ => return None,
        };
        if self.has_no_comment_end {
            return None;
        }
        match after(self.text, position + opener).find("*/") {
            Some(found) => Some((kind, opener + found + 2)),
            None => {
                self.has_no_comment_end = true;
                None
            }
        }
    }

    /// `$tag$ ... $tag$`, where the tag may be empty; none where it is not closed.
    fn dollar_literal(
        &mut self,
        rest: &str,
        position: usize,
        previous: Option<char>,
    ) -> Option<(TokenKind, usize)> {
        if previous.is_some_and(|previous| is_word(previous) || matches!(previous, '"' | '$')) {
            return None;
        }
        let delimiter = dollar_delimiter(rest)?;
        let text = self.text;
        let positions = self
            .dollar_delimiters
            .get_or_insert_with(|| {
                let mut delimiters = HashMap::<_, Vec<_>>::new();
                for (start, _) in text.match_indices('$') {
                    if let Some(delimiter) = dollar_delimiter(after(text, start)) {
                        delimiters.entry(delimiter).or_default().push(start);
                    }
                }
                delimiters
            })
            .get(delimiter)?;
        let opened = position + delimiter.len();
        let closer = positions.get(positions.partition_point(|start| *start < opened))?;
        Some((TokenKind::Other, closer + delimiter.len() - position))
    }
}

/// `text` from `position` on; nothing where that is no place between two characters.
fn after(text: &str, position: usize) -> &str {
    text.get(position..).unwrap_or_default()
}

/// Whether `\w` matches: letters, numbers of every kind, and the underscore.
fn is_word(character: char) -> bool {
    static WORD: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^[\p{L}\p{N}]$").ok());
    if character.is_ascii() {
        return character.is_ascii_alphanumeric() || character == '_';
    }
    let mut buffer = [0; 4];
    WORD.as_ref().is_some_and(|word| word.is_match(character.encode_utf8(&mut buffer)))
}

/// Whether `[A-ZÀ-Ü]` matches without case. The multiplication sign lies in the range though no
/// word holds it; of its counterpart, the division sign, neither is true.
fn is_name_start(character: char) -> bool {
    character.is_ascii_alphabetic()
        || matches!(character, '\u{c0}'..='\u{dc}' | '\u{e0}'..='\u{f6}' | '\u{f8}'..='\u{fc}')
        // The letters whose lower case, or another form of it, lies in the range.
        || matches!(character, '\u{130}' | '\u{131}' | '\u{17f}' | '\u{212a}' | '\u{212b}')
}

/// The longest `\w*` that `text` begins with.
fn word(text: &str) -> &str {
    text.get(..text.find(|character| !is_word(character)).unwrap_or(text.len())).unwrap_or_default()
}

/// The longest `\d*` that `text` begins with.
fn digits(text: &str) -> &str {
    text.get(..text.find(|character| !is_decimal(character)).unwrap_or(text.len()))
        .unwrap_or_default()
}

/// `\$(?:[_A-ZÀ-Ü]\w*)?\$` at the beginning of `text`.
fn dollar_delimiter(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('$')?;
    let tag = match inner.chars().next() {
        Some(first) if first == '_' || is_name_start(first) => {
            first.len_utf8() + word(after(inner, first.len_utf8())).len()
        }
        _ => 0,
    };
    after(inner, tag).starts_with('$').then(|| text.get(..tag + 2)).flatten()
}

/// `(--|# ).*?(\r\n|\r|\n|$)`, with a plus sign behind the mark for a hint.
fn line_comment(rest: &str, mark: &str) -> Option<(TokenKind, usize)> {
    let comment = rest.strip_prefix(mark)?;
    let kind = match comment.starts_with('+') {
        true => TokenKind::HintComment,
        false => TokenKind::LineComment,
    };
    let length = match comment.find(['\r', '\n']) {
        Some(end) if after(comment, end).starts_with("\r\n") => end + 2,
        Some(end) => end + 1,
        None => comment.len(),
    };
    Some((kind, mark.len() + length))
}

/// `(?<!\w)[$:?]\w+`.
fn placeholder(rest: &str, previous: Option<char>) -> Option<(TokenKind, usize)> {
    if previous.is_some_and(is_word) {
        return None;
    }
    match word(after(rest, 1)) {
        "" => None,
        name => Some((TokenKind::Placeholder, 1 + name.len())),
    }
}

/// `%(\(\w+\))?s`.
fn format_placeholder(rest: &str) -> Option<(TokenKind, usize)> {
    let inner = after(rest, 1);
    let name = match inner.strip_prefix('(').map(word) {
        Some(name) if !name.is_empty() && after(inner, 1 + name.len()).starts_with(')') => {
            name.len() + 2
        }
        _ => 0,
    };
    let conversion = after(inner, name).chars().next()?;
    (ascii_letter(conversion) == Some(b's'))
        .then_some((TokenKind::Placeholder, 1 + name + conversion.len_utf8()))
}

/// `(@|##|#)[A-ZÀ-Ü]\w+`.
fn marked_name(rest: &str) -> Option<(TokenKind, usize)> {
    let mark = if rest.starts_with("##") { 2 } else { 1 };
    let name = after(rest, mark);
    let first = name.chars().next().filter(|first| is_name_start(*first))?.len_utf8();
    match word(after(name, first)) {
        "" => None,
        tail => Some((TokenKind::Name, mark + first + tail.len())),
    }
}

/// `"(""|\\"|[^"])*"` and its like: a text in quotes, in which a quote is doubled or, with
/// `escape`, stands behind a backslash.
///
/// The backslash escapes a quote and nothing else, not even itself. Where the text ends before the
/// closing quote, the expression goes back to the last place where it can match after all: the
/// first quote of the last pair closes the text, or the last escaped quote, whichever comes later.
fn quoted(rest: &str, quote: &str, escape: bool) -> Option<usize> {
    let mut position = quote.len();
    let mut last_resort = None;
    while let Some(found) = after(rest, position).find(quote) {
        let end = position + found + quote.len();
        let is_escaped = escape
            && rest.get(position..position + found).is_some_and(|before| before.ends_with('\\'));
        if is_escaped {
            position = end;
        } else if after(rest, end).starts_with(quote) {
            position = end + quote.len();
        } else {
            return Some(end);
        }
        last_resort = Some(end);
    }
    last_resort
}

/// `(?<![\w\])])(\[[^\]\[]+\])`.
fn bracketed_name(rest: &str, previous: Option<char>) -> Option<(TokenKind, usize)> {
    if previous.is_some_and(|previous| is_word(previous) || matches!(previous, ']' | ')')) {
        return None;
    }
    let inner = after(rest, 1);
    let length = inner.find(['[', ']']).filter(|length| *length > 0)?;
    after(inner, length).starts_with(']').then_some((TokenKind::Name, length + 2))
}

/// The operators of JSON, else those of [`operator`]; a minus sign stands alone.
fn arrow(rest: &str) -> Option<(TokenKind, usize)> {
    ["->>", "->", "#>>", "#>", "@>", "<@", "-", "#-"]
        .into_iter()
        .find(|arrow| rest.starts_with(arrow))
        .map(|arrow| (TokenKind::Operator, arrow.len()))
        .or_else(|| operator(rest))
}

/// `[<>=~!]+`.
fn comparison(rest: &str) -> Option<(TokenKind, usize)> {
    run(rest, TokenKind::Comparison, |byte| matches!(byte, b'<' | b'>' | b'=' | b'~' | b'!'))
}

/// `[+/@#%^&|^-]+`.
fn operator(rest: &str) -> Option<(TokenKind, usize)> {
    run(rest, TokenKind::Operator, |byte| {
        matches!(byte, b'+' | b'/' | b'@' | b'#' | b'%' | b'^' | b'&' | b'|' | b'-')
    })
}

/// The longest beginning of which every (ASCII) character is taken.
fn run(rest: &str, kind: TokenKind, is_taken: impl Fn(u8) -> bool) -> Option<(TokenKind, usize)> {
    let length = rest.bytes().take_while(|byte| is_taken(*byte)).count();
    (length > 0).then_some((kind, length))
}

/// A number, its sign included.
///
/// - `-?0x[\dA-F]+`
/// - `-?\d+(\.\d+)?E-?\d+`
/// - `-?(\d+(\.\d*)|\.\d+)(?![_A-ZÀ-Ü])`
/// - `-?\d+(?![_A-ZÀ-Ü])`
///
/// Where a letter follows, the last two give back one digit to stand before it.
fn number(rest: &str) -> Option<(TokenKind, usize)> {
    let sign = usize::from(rest.starts_with('-'));
    let unsigned = after(rest, sign);
    if unsigned.starts_with("0x") || unsigned.starts_with("0X") {
        let hexadecimal = after(unsigned, 2);
        let length = hexadecimal
            .find(|character: char| !character.is_ascii_hexdigit() && !is_decimal(character))
            .unwrap_or(hexadecimal.len());
        if length > 0 {
            return Some((TokenKind::Hexadecimal, sign + 2 + length));
        }
    }
    let whole = digits(unsigned);
    let fraction = after(unsigned, whole.len()).strip_prefix('.').map(digits);
    if !whole.is_empty() {
        let mantissa = match fraction {
            Some(fraction) if !fraction.is_empty() => whole.len() + 1 + fraction.len(),
            _ => whole.len(),
        };
        if let Some(exponent) = after(unsigned, mantissa).strip_prefix(['e', 'E']) {
            let exponent_sign = usize::from(exponent.starts_with('-'));
            let exponent = digits(after(exponent, exponent_sign)).len();
            if exponent > 0 {
                return Some((TokenKind::Number, sign + mantissa + 1 + exponent_sign + exponent));
            }
        }
    }
    let float = fraction.filter(|fraction| !whole.is_empty() || !fraction.is_empty()).and_then(
        |fraction| {
            let behind = after(unsigned, whole.len() + 1 + fraction.len());
            let kept = kept_digits(fraction, behind, whole.is_empty())?;
            Some(whole.len() + 1 + kept)
        },
    );
    let integer = || match whole {
        "" => None,
        _ => kept_digits(whole, after(unsigned, whole.len()), true),
    };
    float.or_else(integer).map(|length| (TokenKind::Number, sign + length))
}

/// The length of the digits that stay in a number: all, or where a letter follows, all but the last
/// one. None where that is impossible, because there are none or one of them must stay.
fn kept_digits(digits: &str, behind: &str, one_must_stay: bool) -> Option<usize> {
    match behind.chars().next() {
        Some(letter) if letter == '_' || is_name_start(letter) => {
            let (last, _) = digits.char_indices().next_back()?;
            (last > 0 || !one_must_stay).then_some(last)
        }
        _ => Some(digits.len()),
    }
}

/// What begins with a letter, a digit or an underscore.
fn word_token(rest: &str, first: char, previous: Option<char>) -> Option<(TokenKind, usize)> {
    if is_decimal(first)
        && let Some(number) = number(rest)
    {
        return Some(number);
    }
    let tail = after(rest, first.len_utf8());
    let length = first.len_utf8() + word(tail).len();
    let behind = after(rest, length);
    if is_name_start(first) {
        let mut letters = [0; LONGEST_PHRASE_WORD];
        let folded = fold(rest.get(..length)?, &mut letters);
        if matches!(folded, "case" | "in" | "values" | "using" | "from" | "as") {
            return Some((TokenKind::Keyword, length));
        }
        // The part of a name before or behind a point, or of a function.
        if previous == Some('.') || behind.starts_with('(') || is_before_point(behind) {
            return Some((TokenKind::Name, length));
        }
        if let Some((kind, words)) = phrase(folded, behind) {
            return Some((kind, length + words));
        }
    }
    if !is_word(first) {
        return None;
    }
    let length = length
        + behind
            .find(|character| !matches!(character, '$' | '#') && !is_word(character))
            .unwrap_or(behind.len());
    Some((keywords::kind(rest.get(..length)?), length))
}

/// `(?=\s*\.(?!\d))`.
fn is_before_point(behind: &str) -> bool {
    behind
        .trim_start_matches(is_space)
        .strip_prefix('.')
        .is_some_and(|after| !after.chars().next().is_some_and(is_decimal))
}

/// The most letters of a word that [`phrase`] knows: `parse_url_tuple`.
const LONGEST_PHRASE_WORD: usize = 15;

/// A word as lower-case ASCII letters (or underscores) by the rules of a match without case; empty
/// where it is longer than any word of a phrase or holds anything else.
fn fold<'letters>(word: &str, letters: &'letters mut [u8; LONGEST_PHRASE_WORD]) -> &'letters str {
    let mut length = 0;
    for character in word.chars() {
        let (Some(letter), Some(place)) = (ascii_letter(character), letters.get_mut(length)) else {
            return "";
        };
        *place = letter;
        length += 1;
    }
    letters.get(..length).and_then(|letters| std::str::from_utf8(letters).ok()).unwrap_or_default()
}

/// The lower-case ASCII letter (or underscore) that a character is equal to in a match without
/// case.
fn ascii_letter(character: char) -> Option<u8> {
    match character {
        '\u{130}' | '\u{131}' => Some(b'i'),
        '\u{17f}' => Some(b's'),
        '\u{212a}' => Some(b'k'),
        'A'..='Z' | 'a'..='z' | '_' => {
            u8::try_from(character).ok().map(|byte| byte.to_ascii_lowercase())
        }
        _ => None,
    }
}

/// The words that continue a phrase.
#[derive(Clone, Copy)]
struct Words<'text> {
    rest: &'text str,
    /// The length in bytes of the words taken so far, the space before them included.
    length: usize,
}

impl<'text> Words<'text> {
    /// What lies behind the next word if it is one of these.
    fn skip(self, words: &[&str]) -> Option<Self> {
        let text = self.rest.trim_start_matches(is_space);
        let space = self.rest.len() - text.len();
        let word = word(text);
        let mut letters = [0; LONGEST_PHRASE_WORD];
        (space > 0 && words.contains(&fold(word, &mut letters))).then(|| Self {
            rest: after(text, word.len()),
            length: self.length + space + word.len(),
        })
    }

    /// As [`Self::skip`], or the same place where the next word is another.
    fn skip_optional(self, words: &[&str]) -> Self {
        self.skip(words).unwrap_or(self)
    }
}

/// The kind of a phrase that begins with the word `first` (by [`fold`]) and the length in bytes of
/// what belongs to it of the text behind that word; none where the word stands for itself.
fn phrase(first: &str, behind: &str) -> Option<(TokenKind, usize)> {
    let words = Words { rest: behind, length: 0 };
    let mut kind = TokenKind::Keyword;
    let end = match first {
        "left" | "right" | "full" => {
            words.skip_optional(&["inner", "outer", "straight"]).skip(&["join"])?
        }
        "inner" | "outer" | "straight" | "cross" | "natural" => words.skip(&["join"])?,
        "join" => words,
        "end" => words.skip_optional(&["if", "loop", "while", "for", "case"]),
        "if" => words.skip_optional(&["not"]).skip(&["exists"])?,
        "not" => match words.skip(&["null"]) {
            Some(end) => end,
            None => {
                kind = TokenKind::Comparison;
                match words.skip(&["like", "ilike", "rlike"]) {
                    Some(end) => end,
                    None => words.skip(&["regexp"])?.skip_optional(&["binary"]),
                }
            }
        },
        "asc" | "desc" => {
            kind = TokenKind::OrderKeyword;
            words.skip(&["nulls"]).and_then(|nulls| nulls.skip(&["first", "last"])).unwrap_or(words)
        }
        "nulls" => {
            kind = TokenKind::OrderKeyword;
            words.skip(&["first", "last"])?
        }
        "union" => words.skip(&["all"])?,
        "create" => {
            kind = TokenKind::StatementKeyword;
            words.skip(&["or"]).and_then(|or| or.skip(&["replace"])).unwrap_or(words)
        }
        "double" => {
            kind = TokenKind::Builtin;
            words.skip(&["precision"])?
        }
        "group" | "order" => words.skip(&["by"])?,
        "primary" => words.skip(&["key"])?,
        "handler" => words.skip(&["for"])?,
        "go" => {
            // One space, and nothing but digits in the word behind it.
            let mut characters = behind.chars();
            let space = characters.next().filter(|space| is_space(*space))?.len_utf8();
            let count = word(after(behind, space));
            if count.is_empty() || digits(count) != count {
                return None;
            }
            return Some((kind, space + count.len()));
        }
        "lateral" => words.skip(&["view"])?.skip(&[
            "explode",
            "inline",
            "parse_url_tuple",
            "posexplode",
            "stack",
        ])?,
        "at" => return time_zone(words),
        // The quote is one of the expression, which was hardly meant.
        "with" => {
            return time_zone(Words { rest: behind.strip_prefix('\'')?, length: 1 });
        }
        "like" | "ilike" | "rlike" => {
            kind = TokenKind::Comparison;
            words
        }
        "regexp" => {
            kind = TokenKind::Comparison;
            words.skip_optional(&["binary"])
        }
        _ => return None,
    };
    Some((kind, end.length))
}

/// `\s+TIME\s+ZONE\s+'[^']+'`.
fn time_zone(words: Words<'_>) -> Option<(TokenKind, usize)> {
    let zone = words.skip(&["time"])?.skip(&["zone"])?;
    let text = zone.rest.trim_start_matches(is_space);
    let space = zone.rest.len() - text.len();
    let name = text.strip_prefix('\'')?.find('\'').filter(|length| *length > 0)?;
    (space > 0).then_some((TokenKind::TimeZoneCast, zone.length + space + name + 2))
}
