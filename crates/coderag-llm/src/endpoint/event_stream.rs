/// Splits a stream of server-sent events into the data of each event.
///
/// Follows the WHATWG HTML standard, section 9.2.6: lines end with LF, CRLF or CR, a line that
/// begins with `:` is a comment, several `data` lines are joined with LF, a blank line ends the
/// event. The other fields (`event`, `id`, `retry`) carry nothing that chat completions use.
#[derive(Debug, Default)]
pub(super) struct EventStream {
    /// The bytes of the line that has not ended. They are decoded only when it has, so a character
    /// may arrive in parts.
    line: Vec<u8>,
    /// Whether the last byte was a CR, whose LF is not another line end.
    after_carriage_return: bool,
    /// The data lines of the event that has not ended.
    data: Option<String>,
    /// Whether a line has been read; only the first may begin with a byte order mark.
    begun: bool,
}

impl EventStream {
    /// Takes the next bytes and returns the data of the events that they end.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut ended = Vec::new();
        for &byte in bytes {
            match byte {
                b'\n' if self.after_carriage_return => {}
                b'\n' | b'\r' => ended.extend(self.end_line()),
                _ => self.line.push(byte),
            }
            self.after_carriage_return = byte == b'\r';
        }
        ended
    }

    /// The event that the end of the stream cut short of its blank line. The standard drops it, but
    /// some servers close right after the last line.
    pub(super) fn finish(mut self) -> Option<String> {
        self.end_line().or(self.data)
    }

    fn end_line(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let mut line = line.as_ref();
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            return self.data.take();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        if field == "data" {
            let value = value.strip_prefix(' ').unwrap_or(value);
            match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn events(bytes: &[u8]) -> Vec<String> {
        let mut stream = EventStream::default();
        let mut events = stream.push(bytes);
        events.extend(stream.finish());
        events
    }

    #[test]
    fn the_standards_example_streams_give_its_events() {
        let stock = "data: YHOO\ndata: +2\ndata: 10\n\n";
        assert_eq!(events(stock.as_bytes()), ["YHOO\n+2\n10"]);
        let four = ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n";
        assert_eq!(events(four.as_bytes()), ["first event", "second event", " third event"]);
        assert_eq!(events(b"data\n\ndata\ndata\n\n"), ["", "\n"]);
        assert_eq!(events(b"data:test\n\ndata: test\n\n"), ["test", "test"]);
    }

    #[test]
    fn the_last_event_needs_no_blank_line() {
        assert_eq!(events(b"data: a\n\ndata: [DONE]"), ["a", "[DONE]"]);
        assert_eq!(events(b"data: a\n\ndata: [DONE]\n"), ["a", "[DONE]"]);
        assert_eq!(events(b"data: a\n\n: bye"), ["a"]);
    }

    #[test]
    fn a_byte_order_mark_is_dropped() {
        assert_eq!(events("\u{feff}data: a\n\n".as_bytes()), ["a"]);
    }

    proptest! {
        #[test]
        fn any_line_end_and_any_split_give_the_same_events(
            texts in prop::collection::vec("[^\r\n\u{feff}]{0,12}", 1..6),
            ending in prop::sample::select(vec!["\n", "\r\n", "\r"]),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let mut bytes = Vec::new();
            for text in &texts {
                bytes.extend(format!(": note{ending}data: {text}{ending}{ending}").into_bytes());
            }
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut stream = EventStream::default();
            let mut events = Vec::new();
            for window in cuts.windows(2) {
                events.extend(stream.push(&bytes[window[0]..window[1]]));
            }
            events.extend(stream.finish());
            prop_assert_eq!(events, texts);
        }
    }
}
