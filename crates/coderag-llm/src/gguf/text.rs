/// Turns the bytes of generated tokens into text that may be shown.
///
/// A character may be split over tokens, and so may a stop string; what could still become either is
/// held back.
#[derive(Debug)]
pub(super) struct TextStream {
    stops: Vec<String>,
    /// Bytes of a character that is not complete.
    bytes: Vec<u8>,
    /// Text that may be the beginning of a stop string.
    held: String,
}

/// What a token adds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Addition {
    /// Text to show now.
    pub(super) text: String,
    /// Whether a stop string followed it.
    pub(super) stopped: bool,
}

impl TextStream {
    pub(super) fn new(stops: &[String]) -> Self {
        let stops = stops.iter().filter(|stop| !stop.is_empty()).cloned().collect();
        Self { stops, bytes: Vec::new(), held: String::new() }
    }

    /// Takes the bytes of the next token.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Addition {
        self.bytes.extend_from_slice(bytes);
        self.decode();
        let first_stop = self.stops.iter().filter_map(|stop| self.held.find(stop)).min();
        if let Some(position) = first_stop {
            self.held.truncate(position);
            return Addition { text: std::mem::take(&mut self.held), stopped: true };
        }
        let text = self.held.drain(..self.safe_length()).collect();
        Addition { text, stopped: false }
    }

    /// What was held back, now that nothing follows.
    pub(super) fn finish(&mut self) -> String {
        self.held.push_str(&String::from_utf8_lossy(&self.bytes));
        self.bytes.clear();
        std::mem::take(&mut self.held)
    }

    /// Moves complete characters from `bytes` to `held`. Bytes that are no UTF-8 become U+FFFD.
    fn decode(&mut self) {
        let mut rest = self.bytes.as_slice();
        for chunk in self.bytes.utf8_chunks() {
            self.held.push_str(chunk.valid());
            rest = rest.get(chunk.valid().len()..).unwrap_or_default();
            // Only the last chunk can be a character that more bytes would complete.
            let unfinished = chunk.invalid().len() == rest.len()
                && std::str::from_utf8(rest).is_err_and(|error| error.error_len().is_none());
            if unfinished {
                break;
            }
            if !chunk.invalid().is_empty() {
                self.held.push(char::REPLACEMENT_CHARACTER);
                rest = rest.get(chunk.invalid().len()..).unwrap_or_default();
            }
        }
        self.bytes = rest.to_vec();
    }

    /// How much of `held` cannot be the beginning of a stop string.
    fn safe_length(&self) -> usize {
        self.held
            .char_indices()
            .map(|(position, _)| position)
            .find(|&position| {
                self.held
                    .get(position..)
                    .is_some_and(|tail| self.stops.iter().any(|stop| stop.starts_with(tail)))
            })
            .unwrap_or(self.held.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream(stops: &[&str]) -> TextStream {
        TextStream::new(&stops.iter().map(|&stop| stop.to_owned()).collect::<Vec<_>>())
    }

    fn run(stops: &[&str], tokens: &[&[u8]]) -> (String, bool) {
        let mut stream = stream(stops);
        let mut shown = String::new();
        for token in tokens {
            let Addition { text, stopped } = stream.push(token);
            shown.push_str(&text);
            if stopped {
                return (shown, true);
            }
        }
        (shown + &stream.finish(), false)
    }

    #[test]
    fn a_stop_string_over_several_tokens_is_never_shown() {
        assert_eq!(run(&["\n\n"], &[b"SELECT 1\n", b"\nmore"]), ("SELECT 1".to_owned(), true));
        assert_eq!(run(&["STOP"], &[b"aS", b"T", b"O", b"Pb"]), ("a".to_owned(), true));
        assert_eq!(run(&["STOP", "ab"], &[b"xa", b"b"]), ("x".to_owned(), true));
    }

    #[test]
    fn text_is_held_only_while_it_may_become_a_stop_string() {
        let mut stream = stream(&["STOP"]);
        let shown = |text: &str| Addition { text: text.to_owned(), stopped: false };
        assert_eq!(stream.push(b"aST"), shown("a"));
        assert_eq!(stream.push(b"ST"), shown("ST"));
        assert_eq!(stream.push(b"x"), shown("STx"));
        assert_eq!(stream.push(b"S"), shown(""));
        assert_eq!(stream.finish(), "S");
    }

    #[test]
    fn a_character_over_several_tokens_is_put_together() {
        let mut stream = stream(&[]);
        assert_eq!(stream.push(&[0xf0, 0x9f]).text, "");
        assert_eq!(stream.push(&[0x98]).text, "");
        assert_eq!(stream.push(&[0x80, b'!']).text, "😀!");
    }

    #[test]
    fn bytes_that_are_no_characters_are_replaced() {
        assert_eq!(run(&[], &[&[b'a', 0xff, b'b']]).0, "a\u{fffd}b");
        assert_eq!(run(&[], &[&[0xf0, 0x9f], b"b"]).0, "\u{fffd}b");
        assert_eq!(run(&[], &[&[b'a', 0xf0, 0x9f]]).0, "a\u{fffd}");
    }

    #[test]
    fn an_empty_stop_string_stops_nothing() {
        assert_eq!(run(&[""], &[b"a", b"b"]), ("ab".to_owned(), false));
    }

    proptest! {
        #[test]
        fn the_text_ends_before_the_first_stop_string_however_it_is_split(
            text in "[ab\u{e9}]{0,20}",
            stops in prop::collection::vec("[ab\u{e9}]{1,3}", 0..3),
            sizes in prop::collection::vec(1_usize..4, 1..60),
        ) {
            let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
            let mut tokens = Vec::new();
            let mut rest = text.as_bytes();
            for size in sizes {
                let (token, after) = rest.split_at(size.min(rest.len()));
                tokens.push(token);
                rest = after;
            }
            tokens.push(rest);
            let (shown, stopped) = run(&stops, &tokens);
            prop_assert!(text.starts_with(&shown));
            prop_assert_eq!(stopped, stops.iter().any(|stop| text.contains(stop)));
            if stopped {
                prop_assert!(stops.iter().any(|stop| text[shown.len()..].starts_with(stop)));
            } else {
                prop_assert_eq!(&shown, &text);
            }
            prop_assert!(!stops.iter().any(|stop| shown.contains(stop)));
        }

        #[test]
        fn any_bytes_give_what_a_lossy_conversion_gives(
            bytes in prop::collection::vec(any::<u8>(), 0..40),
            size in 1_usize..5,
        ) {
            let tokens: Vec<&[u8]> = bytes.chunks(size).collect();
            prop_assert_eq!(run(&[], &tokens).0, String::from_utf8_lossy(&bytes));
        }
    }
}
