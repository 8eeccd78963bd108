use std::ops::Range;

/// What a piece of SQL is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A keyword, an unquoted name or a number.
    Word,
    /// A name in `"…"`, `` `…` `` or `[…]`.
    Quoted,
    /// A string in `'…'` or `$tag$…$tag$`.
    String,
    /// Any other single character.
    Symbol,
}

/// A piece of SQL; white space and comments between tokens are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    pub(crate) kind: Kind,
    /// As written, quotes included.
    pub(crate) text: &'a str,
    /// Where in the source it begins, in bytes.
    pub(crate) start: usize,
    /// Whether it is the first on its line.
    pub(crate) starts_line: bool,
}

impl<'a> Token<'a> {
    /// Whether it is this keyword, in any case.
    pub(crate) fn is(&self, keyword: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(keyword)
    }

    pub(crate) fn is_symbol(&self, symbol: char) -> bool {
        self.kind == Kind::Symbol && self.text.starts_with(symbol)
    }

    /// Where in the source it ends, in bytes.
    pub(crate) fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// A name or a string's content without its quotes; anything else as written.
    pub(crate) fn unquoted(&self) -> String {
        let inner = |quotes: usize| {
            self.text.get(quotes..self.text.len() - quotes).unwrap_or_default().to_owned()
        };
        match (self.kind, self.text.chars().next()) {
            (Kind::Quoted, Some('[')) => inner(1),
            (Kind::Quoted, Some(quote)) => {
                inner(1).replace(&format!("{quote}{quote}"), &quote.to_string())
            }
            (Kind::String, Some('\'')) => inner(1).replace("''", "'").replace("\\'", "'"),
            (Kind::String, _) => {
                let tag = self.text.get(1..).and_then(|rest| rest.find('$')).unwrap_or(0);
                inner(tag + 2)
            }
            _ => self.text.to_owned(),
        }
    }
}

/// Cuts SQL of any dialect into tokens. Never fails: a quote without an end is a symbol of its own,
/// so that what follows it is still read.
pub(crate) fn tokens(sql: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer { sql, position: 0, starts_line: true, tokens: Vec::new() };
    while lexer.step() {}
    lexer.tokens
}

/// Whether text appended to `sql` would be part of a comment.
pub(crate) fn ends_in_comment(sql: &str) -> bool {
    let end = tokens(sql).last().map_or(0, Token::end);
    let rest = sql.get(end..).unwrap_or_default();
    !rest.contains('\n') && !rest.trim().is_empty()
}

struct Lexer<'a> {
    sql: &'a str,
    position: usize,
    starts_line: bool,
    tokens: Vec<Token<'a>>,
}

impl<'a> Lexer<'a> {
    fn step(&mut self) -> bool {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return false };
        if first.is_whitespace() {
            self.starts_line |= first == '\n';
            self.position += first.len_utf8();
        } else if let Some(length) = self.comment() {
            self.position += length;
        } else {
            let (kind, length) = self.token(first);
            let Range { start, end } = self.position..self.position + length;
            let text = self.sql.get(start..end).unwrap_or_default();
            self.tokens.push(Token { kind, text, start, starts_line: self.starts_line });
            self.starts_line = false;
            self.position = end;
        }
        true
    }

    fn rest(&self) -> &'a str {
        self.sql.get(self.position..).unwrap_or_default()
    }

    /// The length of the comment that begins here.
    fn comment(&self) -> Option<usize> {
        let rest = self.rest();
        // MySQL's `# …`; T-SQL's `#name` and PostgreSQL's `#>` go on without a space.
        let hash = rest.strip_prefix('#').is_some_and(|rest| rest.starts_with([' ', '\t', '\n']));
        if hash || rest.starts_with("--") {
            Some(rest.find('\n').unwrap_or(rest.len()))
        } else if rest.starts_with("/*") {
            Some(rest.find("*/").map_or(rest.len(), |end| end + 2))
        } else {
            None
        }
    }

    fn token(&self, first: char) -> (Kind, usize) {
        let rest = self.rest();
        let word = || rest.find(|character| !is_word(character)).unwrap_or(rest.len());
        match first {
            '\'' => match string_end(rest) {
                Some(end) => (Kind::String, end),
                None => (Kind::Symbol, 1),
            },
            '"' | '`' => match doubled_end(rest, first) {
                Some(end) => (Kind::Quoted, end),
                None => (Kind::Symbol, 1),
            },
            '[' if self.bracket_opens_name() => match rest.find(']') {
                Some(end) => (Kind::Quoted, end + 1),
                None => (Kind::Symbol, 1),
            },
            '$' => match dollar_end(rest) {
                Some(end) => (Kind::String, end),
                None => (Kind::Word, word()),
            },
            first if is_word(first) => (Kind::Word, word()),
            first => (Kind::Symbol, first.len_utf8()),
        }
    }

    /// `[` quotes a name in T-SQL and SQLite, and is a subscript in PostgreSQL: `text[]`, `a[1]`.
    fn bracket_opens_name(&self) -> bool {
        let before = self.sql.get(..self.position).and_then(|before| before.chars().next_back());
        let subscript =
            before.is_some_and(|before| is_word(before) || matches!(before, ']' | ')' | '"'));
        let after = self.rest().chars().nth(1);
        !subscript && after.is_some_and(|after| is_word(after) || after == ' ')
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '$' | '#' | '@')
}

/// The end of a name whose quote is written twice inside it.
fn doubled_end(rest: &str, quote: char) -> Option<usize> {
    let mut from = quote.len_utf8();
    loop {
        from += rest.get(from..)?.find(quote)? + quote.len_utf8();
        if !rest.get(from..)?.starts_with(quote) {
            return Some(from);
        }
        from += quote.len_utf8();
    }
}

/// The end of a string. `''` is a quote in every dialect; `\'` is one in MySQL and ends the string
/// elsewhere, which what follows tells: a string ends before a comma, a bracket, a semicolon or
/// white space.
fn string_end(rest: &str) -> Option<usize> {
    let mut from = 1;
    loop {
        let quote = from + rest.get(from..)?.find('\'')?;
        let after = rest.get(quote + 1..)?;
        let backslashes = rest.get(1..quote)?.bytes().rev().take_while(|byte| *byte == b'\\');
        let ends = after.is_empty() || after.starts_with([',', ')', ';', '\n', '\r', ' ']);
        if backslashes.count() % 2 == 1 && !ends && !after.starts_with('\'') {
            from = quote + 1;
        } else if after.starts_with('\'') {
            from = quote + 2;
        } else {
            return Some(quote + 1);
        }
    }
}

/// The end of PostgreSQL's `$tag$…$tag$`.
fn dollar_end(rest: &str) -> Option<usize> {
    let tag = rest.get(1..)?.find('$')? + 2;
    let delimiter = rest.get(..tag)?;
    let is_tag = |character: char| character.is_alphanumeric() || character == '_';
    if !delimiter.get(1..tag - 1)?.chars().all(is_tag) {
        return None;
    }
    Some(tag + rest.get(tag..)?.find(delimiter)? + tag)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(sql: &str) -> Vec<&str> {
        tokens(sql).into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn quotes_of_every_dialect_hide_semicolons() {
        assert_eq!(texts("a;'b;''c'"), ["a", ";", "'b;''c'"]);
        assert_eq!(texts(r#""x;""y" `p``;` [q; r]"#), [r#""x;""y""#, "`p``;`", "[q; r]"]);
        assert_eq!(texts("$$a;$$ $t$;$$;$t$ $1"), ["$$a;$$", "$t$;$$;$t$", "$1"]);
        assert_eq!(texts("a -- ;\nb /* ; */ c # ;\nd"), ["a", "b", "c", "d"]);
    }

    #[test]
    fn a_backslash_before_a_quote_is_read_as_its_dialect_means_it() {
        assert_eq!(texts(r"('it\'s;', 1)"), ["(", r"'it\'s;'", ",", "1", ")"]);
        assert_eq!(texts(r"('C:\', ';')"), ["(", r"'C:\'", ",", "';'", ")"]);
        assert_eq!(texts(r"'a\\' b"), [r"'a\\'", "b"]);
    }

    #[test]
    fn brackets_are_names_or_subscripts() {
        assert_eq!(texts("[a b] text[] x[1]"), ["[a b]", "text", "[", "]", "x", "[", "1", "]"]);
    }

    #[test]
    fn a_quote_without_an_end_hides_nothing() {
        assert_eq!(texts("it's; b"), ["it", "'", "s", ";", "b"]);
    }

    #[test]
    fn names_lose_their_quotes() {
        let names: Vec<String> =
            tokens(r#""a""b" `c``d` [e f] 'g''h' $t$i$t$ j"#).iter().map(Token::unquoted).collect();
        assert_eq!(names, ["a\"b", "c`d", "e f", "g'h", "i", "j"]);
    }

    #[test]
    fn the_end_of_a_comment_is_known() {
        assert!(ends_in_comment("a -- b"));
        assert!(!ends_in_comment("a -- b\n"));
        assert!(!ends_in_comment("'-- b'"));
    }

    proptest! {
        #[test]
        fn tokens_are_pieces_of_the_source_in_order(sql in "[-#'\"`$a1;\\[\\]()/*\\\\ \né]{0,60}") {
            let mut end = 0;
            for token in tokens(&sql) {
                prop_assert!(token.start >= end && !token.text.is_empty());
                prop_assert_eq!(&sql[token.start..token.end()], token.text);
                end = token.end();
                token.unquoted();
            }
        }
    }
}
