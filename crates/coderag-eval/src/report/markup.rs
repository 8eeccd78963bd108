//! Text that is safe in HTML and in XML, in elements and in attributes.

use std::fmt::{self, Display, Write as _};

/// Text from outside: marked up it shows as it is, whatever it holds.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'t>(pub &'t str);

impl Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut characters = self.0.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '&' => formatter.write_str("&amp;")?,
                '<' => formatter.write_str("&lt;")?,
                '>' => formatter.write_str("&gt;")?,
                '"' => formatter.write_str("&quot;")?,
                '\'' => formatter.write_str("&#39;")?,
                '\n' | '\t' => formatter.write_char(character)?,
                '\r' if characters.peek() == Some(&'\n') => {}
                // XML has no other control characters, so their pictures stand for them.
                '\0'..='\x1f' => formatter.write_char(picture(character))?,
                '\x7f' => formatter.write_char('\u{2421}')?,
                '\u{80}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => {
                    formatter.write_char('\u{fffd}')?
                }
                character => formatter.write_char(character)?,
            }
        }
        Ok(())
    }
}

/// The character of Unicode's "Control Pictures" for a control character below the space.
fn picture(control: char) -> char {
    char::from_u32(0x2400 + u32::from(control)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// SQL in a block of its own, of which at most so many characters are shown.
#[derive(Clone, Copy, Debug)]
pub struct Code<'t>(pub &'t str);

/// A model that repeats itself writes much more than anyone reads.
const MOST_CHARACTERS: usize = 2_000;

impl Display for Code<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_shown(formatter, self.0, ("<code>", "</code>"))
    }
}

/// Words in a block of their own, lines apart, of which at most so many characters are shown.
#[derive(Clone, Copy, Debug)]
pub struct Prose<'t>(pub &'t str);

impl Display for Prose<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_shown(formatter, self.0, ("<span class=\"prose\">", "</span>"))
    }
}

fn write_shown(
    formatter: &mut fmt::Formatter<'_>,
    text: &str,
    (open, close): (&str, &str),
) -> fmt::Result {
    if text.trim().is_empty() {
        return formatter.write_str("<em class=\"muted\">empty</em>");
    }
    match text.char_indices().nth(MOST_CHARACTERS) {
        None => write!(formatter, "{open}{}{close}", Escaped(text)),
        Some((end, _)) => write!(
            formatter,
            "{open}{}{close} <em class=\"muted\">cut here, {} characters in all</em>",
            Escaped(text.get(..end).unwrap_or_default()),
            Count(text.chars().count()),
        ),
    }
}

/// A count with its thousands apart.
#[derive(Clone, Copy, Debug)]
pub struct Count(pub usize);

impl Display for Count {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                formatter.write_char(',')?;
            }
            formatter.write_char(digit)?;
        }
        Ok(())
    }
}

/// A share in percent, with one decimal.
#[derive(Clone, Copy, Debug)]
pub struct Percent(pub f64);

impl Display for Percent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:.1}%", 100.0 * self.0)
    }
}

/// A part of a whole as a share, 0 of an empty one.
#[expect(clippy::cast_precision_loss, reason = "counts of questions")]
pub(super) fn share(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// The count that a share of a whole stands for.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count of questions, which the share was made of"
)]
pub(super) fn part(share: f64, whole: usize) -> usize {
    (share * whole as f64).round() as usize
}
