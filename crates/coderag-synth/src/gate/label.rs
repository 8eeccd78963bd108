//! The model's own judgement of a pair.

/// The label that an answer gives: its first digit, which must be 0, 1 or 2.
pub(crate) fn label_of(answer: &str) -> Option<u8> {
    let digit = answer.chars().find(char::is_ascii_digit)?;
    let label = u8::try_from(digit.to_digit(10)?).ok()?;
    (label <= 2).then_some(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_digit_counts() {
        assert_eq!(label_of("2"), Some(2));
        assert_eq!(label_of("Label: **1**\nbecause 2 + 2 is not 5"), Some(1));
        assert_eq!(label_of("7 of 2"), None);
        assert_eq!(label_of("good"), None);
    }
}
