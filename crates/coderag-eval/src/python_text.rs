//! Text as Python sees it, where that differs from Rust: the official scorers are Python scripts.

use std::sync::LazyLock;

use regex::Regex;

/// Whether `str.isspace()` holds, which decides what `str.split()` and `str.strip()` take away.
///
/// Rust's `char::is_whitespace` lacks the four ASCII separators.
pub(crate) fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

/// `str.strip()`.
pub(crate) fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// `str.split()`.
pub(crate) fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|part| !part.is_empty())
}

/// The lines of a file that Python opened as text: ended by `\n`, `\r\n` or `\r`.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = &str> {
    let text = text.strip_suffix(['\n', '\r']).unwrap_or(text);
    text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
}

/// Whether `\d` matches: the decimal digits of every script.
pub(crate) fn is_decimal(character: char) -> bool {
    static DECIMAL: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^\d$").ok());
    if character.is_ascii() {
        return character.is_ascii_digit();
    }
    let mut buffer = [0; 4];
    DECIMAL.as_ref().is_some_and(|decimal| decimal.is_match(character.encode_utf8(&mut buffer)))
}

/// `float(text)`, or none where it raises `ValueError`.
///
/// Python takes surrounding space, an exponent, `inf`, `infinity` and `nan` in any case, single
/// underscores between digits, and the decimal digits of every script.
pub(crate) fn float(text: &str) -> Option<f64> {
    let digits = ascii_number(strip(text))?;
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(&digits);
    match unsigned.to_ascii_lowercase().as_str() {
        "inf" | "infinity" | "nan" => {}
        // Rust takes these forms and no other word.
        other if other.starts_with(|first: char| first.is_ascii_digit() || first == '.') => {}
        _ => return None,
    }
    digits.parse().ok()
}

/// `int(text)` as decimal digits without leading zeros, or none where it raises `ValueError`.
///
/// Python's integers have no largest value, hence the text.
pub(crate) fn integer(text: &str) -> Option<String> {
    /// Longer texts are refused by default (`sys.int_info.default_max_str_digits`).
    const MOST_DIGITS: usize = 4300;
    let digits = ascii_number(strip(text))?;
    let (sign, unsigned) = match digits.strip_prefix('-') {
        Some(unsigned) => ("-", unsigned),
        None => ("", digits.strip_prefix('+').unwrap_or(&digits)),
    };
    let valid = !unsigned.is_empty()
        && unsigned.len() <= MOST_DIGITS
        && unsigned.bytes().all(|byte| byte.is_ascii_digit());
    let significant = unsigned.trim_start_matches('0');
    valid.then(
        || if significant.is_empty() { "0".to_owned() } else { format!("{sign}{significant}") },
    )
}

/// The text with decimal digits of other scripts as ASCII and without the underscores that may stand
/// between digits; none where an underscore stands elsewhere.
fn ascii_number(text: &str) -> Option<String> {
    let mut number = String::with_capacity(text.len());
    let mut characters = text.chars().map(|character| match decimal_digit(character) {
        Some(digit) => digit,
        None => character,
    });
    let mut previous = None;
    let mut next = characters.next();
    while let Some(character) = next {
        next = characters.next();
        if character == '_' {
            let is_digit = |neighbour: Option<char>| neighbour.is_some_and(|c| c.is_ascii_digit());
            if !is_digit(previous) || !is_digit(next) {
                return None;
            }
        } else {
            number.push(character);
        }
        previous = Some(character);
    }
    Some(number)
}

/// The ASCII digit of a character of the category Nd: those come in runs of ten from zero to nine.
fn decimal_digit(character: char) -> Option<char> {
    /// The zeros of the scripts in the Basic Multilingual Plane.
    const ZEROS: [u32; 37] = [
        0x0030, 0x0660, 0x06f0, 0x07c0, 0x0966, 0x09e6, 0x0a66, 0x0ae6, 0x0b66, 0x0be6, 0x0c66,
        0x0ce6, 0x0d66, 0x0de6, 0x0e50, 0x0ed0, 0x0f20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946,
        0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0,
        0xa9f0, 0xaa50, 0xabf0, 0xff10,
    ];
    let code = u32::from(character);
    let zero = ZEROS.iter().rev().find(|zero| **zero <= code)?;
    let digit = code.checked_sub(*zero).filter(|digit| *digit < 10)?;
    char::from_digit(digit, 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_read_as_python_reads_them() {
        for (text, value) in [
            ("1", Some(1.0)),
            ("-1.5e3", Some(-1500.0)),
            (" 7\u{1f}", Some(7.0)),
            ("1_000.0_1", Some(1000.01)),
            ("1__0", None),
            ("_1", None),
            ("1_", None),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            (".", None),
            ("", None),
            ("+Infinity", Some(f64::INFINITY)),
            ("infinit", None),
            ("0x10", None),
            ("1e", None),
            ("\u{0663}", Some(3.0)),
        ] {
            assert_eq!(float(text), value, "{text:?}");
        }
        assert!(float("-nan").is_some_and(f64::is_nan));
    }

    #[test]
    fn integers_are_read_as_python_reads_them() {
        for (text, value) in [
            ("007", Some("7")),
            ("-0", Some("0")),
            ("+1_000", Some("1000")),
            ("99999999999999999999999", Some("99999999999999999999999")),
            ("1.0", None),
            ("", None),
            ("-", None),
        ] {
            assert_eq!(integer(text).as_deref(), value, "{text:?}");
        }
    }

    #[test]
    fn lines_end_as_in_a_python_text_file() {
        assert_eq!(lines("a\r\nb\rc\n\nd\n").collect::<Vec<_>>(), ["a", "b", "c", "", "d"]);
        assert_eq!(lines("a\r\n").collect::<Vec<_>>(), ["a"]);
    }
}
