use std::iter::Peekable;
use std::str::CharIndices;

/// SQL text with its literals, quoted names and comments told apart from its code, by SQLite's rules
/// (<https://www.sqlite.org/lang_keywords.html>, <https://www.sqlite.org/lang_comment.html>). What is
/// left open at the end of the text is closed there.
pub(crate) struct Lexed<'t> {
    text: &'t str,
    /// For each byte of `text` what it belongs to.
    kinds: Vec<Kind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Code,
    Quoted,
    Comment,
}

impl<'t> Lexed<'t> {
    pub(crate) fn of(text: &'t str) -> Self {
        let mut kinds = Vec::with_capacity(text.len());
        let mut characters = text.char_indices().peekable();
        while let Some((_, character)) = characters.next() {
            let (kind, end) = match (character, characters.peek().map(|(_, next)| *next)) {
                ('\'' | '"' | '`', _) => (Kind::Quoted, after(&mut characters, character)),
                ('[', _) => (Kind::Quoted, after(&mut characters, ']')),
                ('-', Some('-')) => (Kind::Comment, end_of_line(&mut characters)),
                ('/', Some('*')) => (Kind::Comment, after_block(&mut characters)),
                _ => (Kind::Code, characters.peek().map(|(index, _)| *index)),
            };
            kinds.resize(end.unwrap_or(text.len()), kind);
        }
        Self { text, kinds }
    }

    /// The characters outside literals, quoted names and comments, with their byte offsets.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, char)> {
        self.text.char_indices().filter(|(index, _)| self.kinds.get(*index) == Some(&Kind::Code))
    }

    /// The statement in one line: without comments, with one space for each white space outside of
    /// quotes, and with line ends and tabs inside of text literals as calls of `char`.
    pub(crate) fn single_line(&self) -> String {
        let mut line = String::with_capacity(self.text.len());
        let mut quote = ' ';
        let mut previous = Kind::Code;
        for (index, character) in self.text.char_indices() {
            let kind = self.kinds.get(index).copied().unwrap_or(Kind::Code);
            if kind == Kind::Quoted && previous != Kind::Quoted {
                quote = character;
            }
            previous = kind;
            match (kind, character) {
                (Kind::Quoted, '\n' | '\r' | '\t') if quote == '\'' => {
                    line.push_str(&format!("'||char({})||'", u32::from(character)));
                }
                (Kind::Quoted, '\n' | '\r' | '\t') => line.push(' '),
                (Kind::Quoted, _) => line.push(character),
                (Kind::Code, _) if !character.is_whitespace() => line.push(character),
                // A comment separates words as space does.
                _ if line.ends_with(' ') || line.is_empty() => {}
                _ => line.push(' '),
            }
        }
        line.truncate(line.trim_end().len());
        line
    }

    /// The runs of letters, digits and underscores in the code, with their byte offsets.
    pub(crate) fn words(&self) -> impl Iterator<Item = (usize, &'t str)> {
        let is_word = |character: char| character.is_alphanumeric() || character == '_';
        let mut previous_is_word = false;
        self.text.char_indices().filter_map(move |(index, character)| {
            let starts = is_word(character) && !previous_is_word;
            previous_is_word = is_word(character);
            if !starts || self.kinds.get(index) != Some(&Kind::Code) {
                return None;
            }
            let rest = self.text.get(index..)?;
            let end = rest.find(|character| !is_word(character)).unwrap_or(rest.len());
            Some((index, rest.get(..end)?))
        })
    }

    /// The first word of the code, where only space and comments stand before it.
    pub(crate) fn first_word(&self) -> Option<&'t str> {
        let (start, word) = self.words().next()?;
        let first = self.text.char_indices().find(|(index, character)| {
            !character.is_whitespace() && self.kinds.get(*index) != Some(&Kind::Comment)
        });
        first.is_some_and(|(index, _)| index == start).then_some(word)
    }
}

/// Goes past the next `end` and returns the offset of what follows it.
fn after(characters: &mut Peekable<CharIndices<'_>>, end: char) -> Option<usize> {
    characters.find(|(_, character)| *character == end)?;
    characters.peek().map(|(index, _)| *index)
}

/// Goes to the end of the line; the newline is code again, so that it can be seen.
fn end_of_line(characters: &mut Peekable<CharIndices<'_>>) -> Option<usize> {
    while characters.next_if(|(_, character)| *character != '\n').is_some() {}
    characters.peek().map(|(index, _)| *index)
}

/// Goes past the next `*/`, which may not share its star with the opening `/*`.
fn after_block(characters: &mut Peekable<CharIndices<'_>>) -> Option<usize> {
    characters.next();
    let mut previous = ' ';
    for (_, character) in characters.by_ref() {
        if previous == '*' && character == '/' {
            break;
        }
        previous = character;
    }
    characters.peek().map(|(index, _)| *index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        Lexed::of(text).code().map(|(_, character)| character).collect()
    }

    #[test]
    fn literals_names_and_comments_are_not_code() {
        assert_eq!(code("a 'b;''c' d"), "a  d");
        assert_eq!(code("a \"b;\" [c;d] `e;` f"), "a    f");
        assert_eq!(code("a -- b;\nc /* d; */ e /*/ f */ g"), "a \nc  e  g");
        assert_eq!(code("a - b / c * d"), "a - b / c * d");
        assert_eq!(code("ä 'ö"), "ä ");
        assert_eq!(code("a /* b"), "a ");
        assert_eq!(code(""), "");
    }

    #[test]
    fn a_statement_becomes_one_line_with_the_same_meaning() {
        for (text, line) in [
            ("SELECT x -- the column\nFROM t", "SELECT x FROM t"),
            ("SELECT 'a  b',\n\t\"c  d\" /* e\nf */ ;\n", "SELECT 'a  b', \"c  d\" ;"),
            ("SELECT 'a\nb\tc'", "SELECT 'a'||char(10)||'b'||char(9)||'c'"),
            ("SELECT 'it''s -- no comment'", "SELECT 'it''s -- no comment'"),
            ("-- only this", ""),
        ] {
            assert_eq!(Lexed::of(text).single_line(), line);
        }
    }

    #[test]
    fn the_first_word_may_follow_comments_only() {
        assert_eq!(Lexed::of(" -- a\n/* b */ select 1").first_word(), Some("select"));
        assert_eq!(Lexed::of("'a' select").first_word(), None);
        assert_eq!(Lexed::of("-- select").first_word(), None);
    }
}
