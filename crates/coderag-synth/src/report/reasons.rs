use std::collections::BTreeMap;

/// Why a gate turned candidates away: reasons that differ in numbers and quoted texts alone count as one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reasons {
    kinds: BTreeMap<String, Kind>,
    /// Those that are of none of `kinds`, because there were too many.
    others: u64,
}

/// Reasons that say the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) count: u64,
    /// The first one.
    pub(super) example: String,
}

/// A run may have a million reasons; what is not among the first kinds of them is hardly frequent.
const MOST_KINDS: usize = 2_000;

impl Reasons {
    pub(super) fn add(&mut self, reason: &str) {
        let kind = kind(reason);
        let is_full = self.kinds.len() >= MOST_KINDS;
        match self.kinds.get_mut(&kind) {
            Some(kind) => kind.count += 1,
            None if is_full => self.others += 1,
            None => {
                self.kinds.insert(kind, Kind { count: 1, example: reason.to_owned() });
            }
        }
    }

    /// So many of the most frequent ones, and how many reasons are of no kind among these.
    pub(super) fn most_frequent(&self, most: usize) -> (Vec<(&str, &Kind)>, u64) {
        let mut kinds: Vec<(&str, &Kind)> =
            self.kinds.iter().map(|(text, kind)| (text.as_str(), kind)).collect();
        // Equal counts stay in the order of the alphabet.
        kinds.sort_by_key(|(_, kind)| std::cmp::Reverse(kind.count));
        let rest = kinds.split_off(most.min(kinds.len()));
        let rest: u64 = rest.iter().map(|(_, kind)| kind.count).sum();
        (kinds, rest + self.others)
    }
}

/// A reason with `N` for its numbers and an ellipsis for what it quotes; only the first one of those joined by `;`,
/// as further attempts often fail alike.
fn kind(reason: &str) -> String {
    let mut kind = String::new();
    let mut characters = reason.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '0'..='9' => {
                while characters.next_if(|it| it.is_ascii_digit() || *it == '.').is_some() {}
                kind.push('N');
            }
            '"' | '`' => {
                // A quotation that does not end goes to the end of the reason.
                let _ = characters.by_ref().find(|it| *it == character);
                kind.extend([character, '\u{2026}', character]);
            }
            ';' => break,
            '\n' => kind.push(' '),
            character => kind.push(character),
        }
    }
    kind
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_quoted_texts_do_not_tell_reasons_apart() {
        let mut reasons = Reasons::default();
        for reason in [
            "the anchor has 3 words, fewer than 5",
            "text_to_sql-000012 is the same to 93 %",
            "the anchor has 1 words, fewer than 5",
            "asked again, the model's `SELECT \"a;b\"` fails: x; asked again, y",
            "asked again, the model's `SELECT 1` fails: x",
            "the anchor has 4 words, fewer than 5",
        ] {
            reasons.add(reason);
        }
        let (kinds, rest) = reasons.most_frequent(2);
        let kinds: Vec<_> = kinds.iter().map(|(text, kind)| (*text, kind.count)).collect();
        let expected = [
            ("the anchor has N words, fewer than N", 3),
            ("asked again, the model's `\u{2026}` fails: x", 2),
        ];
        assert_eq!((&kinds[..], rest), (&expected[..], 1));
    }

    #[test]
    fn a_million_kinds_are_not_held() {
        let mut reasons = Reasons::default();
        let name = |number: u32| {
            number.to_string().bytes().map(|digit| char::from(digit + 49)).collect::<String>()
        };
        (0..10_000).for_each(|number| reasons.add(&name(number)));
        assert_eq!(reasons.kinds.len(), MOST_KINDS);
        assert_eq!(reasons.most_frequent(5).1, 10_000 - 5);
    }
}
