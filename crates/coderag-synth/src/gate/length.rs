//! Is a text neither too short to say something nor too long to train on?

use serde::{Deserialize, Serialize};

/// How long the texts of a pair may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LengthConfig {
    /// Whether they are checked.
    pub enabled: bool,
    /// The limits of the anchor.
    pub anchor: LengthLimits,
    /// The limits of the positive.
    pub positive: LengthLimits,
}

impl Default for LengthConfig {
    fn default() -> Self {
        let limits = |most_characters, most_words| LengthLimits {
            least_characters: 8,
            most_characters,
            least_words: 2,
            most_words,
        };
        Self { enabled: true, anchor: limits(4_000, 600), positive: limits(8_000, 1_200) }
    }
}

/// How long a text may be. White space at its ends does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LengthLimits {
    /// The fewest characters.
    pub least_characters: usize,
    /// The most characters.
    pub most_characters: usize,
    /// The fewest words, which white space separates.
    pub least_words: usize,
    /// The most words.
    pub most_words: usize,
}

impl LengthLimits {
    /// Whether a text is as long as it may be.
    ///
    /// # Errors
    /// How long it is instead, for people.
    pub(crate) fn check(&self, text: &str) -> Result<(), String> {
        let words = text.split_whitespace().count();
        let characters = text.trim().chars().count();
        for (unit, count, least, most) in [
            ("character", characters, self.least_characters, self.most_characters),
            ("word", words, self.least_words, self.most_words),
        ] {
            let plural = if count == 1 { "" } else { "s" };
            if count < least {
                return Err(format!("{count} {unit}{plural}, fewer than {least}"));
            }
            if count > most {
                return Err(format!("{count} {unit}{plural}, more than {most}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_outside_the_limits_is_refused_with_figures() {
        let limits = LengthLimits {
            least_characters: 3,
            most_characters: 10,
            least_words: 2,
            most_words: 3,
        };
        for (text, expected) in [
            ("a b", Ok(())),
            ("  äöü ß x \n", Ok(())),
            ("", Err("0 characters, fewer than 3")),
            (" a ", Err("1 character, fewer than 3")),
            ("abc", Err("1 word, fewer than 2")),
            ("a b c d", Err("4 words, more than 3")),
            ("abcdefgh ij", Err("11 characters, more than 10")),
        ] {
            assert_eq!(limits.check(text), expected.map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn a_configuration_may_change_one_of_the_two() {
        let text = "[anchor]\nleast_characters = 1\nmost_characters = 2\nleast_words = 1\nmost_words = 2\n";
        let config: LengthConfig = coderag_core::config::parse(text, "synth.toml").unwrap();
        assert_eq!(config.positive, LengthConfig::default().positive);
        assert_eq!(config.anchor.most_words, 2);
    }
}
