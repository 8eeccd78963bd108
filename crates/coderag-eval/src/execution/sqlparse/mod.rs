//! The tokens that Python's [sqlparse](https://github.com/andialbrecht/sqlparse) 0.6.1 makes of SQL
//! text.
//!
//! The official execution scorers cut queries with this library before they run them, so a scorer
//! that agrees with them needs its rules, oddities included: a `+` swallows the start of the
//! comment in `+/* x */`, `12a` is the number `1` and the name `2a`, a backslash before a quote
//! keeps a string open.
//!
//! Characters newer than the Unicode version of the Python at hand (14.0 for Python 3.11) are
//! letters here and unknown there; the text of a lone surrogate has no counterpart in Rust.

mod grouping;
mod keywords;
mod lexer;
mod splitter;

use crate::error::{Error, Result};
use crate::python_text::is_space;

/// A piece of SQL text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'text> {
    /// What it is.
    pub kind: TokenKind,
    /// Its text, never empty.
    pub text: &'text str,
}

/// What a token is: sqlparse's token types as far as anything depends on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// One character of space that ends no line: `Whitespace`.
    Whitespace,
    /// The end of a line: `Newline`.
    Newline,
    /// `-- ...` or `# ...` with the end of the line: `Comment.Single`.
    LineComment,
    /// `/* ... */`: `Comment.Multiline`.
    BlockComment,
    /// A comment that begins with a plus sign: `Comment.Single.Hint` and `Comment.Multiline.Hint`.
    HintComment,
    /// `'...'`: `Literal.String.Single`.
    SingleQuoted,
    /// `"..."`: `Literal.String.Symbol`.
    DoubleQuoted,
    /// A word that is no keyword, also `` `...` `` and `[...]`: `Name`.
    Name,
    /// `?`, `:name`, `$1`, `%s`: `Name.Placeholder`.
    Placeholder,
    /// The name of a type: `Name.Builtin`.
    Builtin,
    /// A decimal number: `Literal.Number.Integer` and `Literal.Number.Float`.
    Number,
    /// `0x...`: `Literal.Number.Hexadecimal`.
    Hexadecimal,
    /// A word, or words such as `GROUP BY`, with a meaning in SQL: `Keyword`.
    Keyword,
    /// A keyword that begins a statement: `Keyword.DML`, `Keyword.DDL` and `Keyword.CTE`.
    StatementKeyword,
    /// `GRANT` and `REVOKE`: `Keyword.DCL`.
    GrantKeyword,
    /// `ASC`, `DESC`, `NULLS FIRST` and `NULLS LAST`: `Keyword.Order`.
    OrderKeyword,
    /// `AT TIME ZONE '...'`: `Keyword.TZCast`.
    TimeZoneCast,
    /// Brackets, commas, periods, colons and semicolons: `Punctuation`.
    Punctuation,
    /// `+`, `->`, `DIV`, ...: `Operator`.
    Operator,
    /// `<=`, `LIKE`, ...: `Operator.Comparison`.
    Comparison,
    /// `*`: `Wildcard`.
    Wildcard,
    /// `:=`: `Assignment`.
    Assignment,
    /// Anything else: `Literal` (`$$...$$`), `Generic.Command` (`\word`) and `Error`.
    Other,
}

impl TokenKind {
    /// Space of both kinds (`Token.is_whitespace`).
    fn is_space(self) -> bool {
        matches!(self, Self::Whitespace | Self::Newline)
    }

    /// A comment of any kind.
    fn is_comment(self) -> bool {
        matches!(self, Self::LineComment | Self::BlockComment | Self::HintComment)
    }

    /// A keyword of any kind (`Token.is_keyword`).
    fn is_keyword(self) -> bool {
        matches!(
            self,
            Self::Keyword
                | Self::StatementKeyword
                | Self::GrantKeyword
                | Self::OrderKeyword
                | Self::TimeZoneCast
        )
    }
}

/// How much sqlparse groups before it gives up (`MAX_GROUPING_DEPTH` and `MAX_GROUPING_TOKENS`).
#[derive(Clone, Copy, Debug)]
pub struct GroupingLimits {
    /// The deepest level of groups inside groups.
    pub depth: usize,
    /// The most tokens or groups side by side.
    pub tokens: usize,
}

impl Default for GroupingLimits {
    /// sqlparse's own: 100 levels and 10,000 tokens.
    fn default() -> Self {
        Self { depth: 100, tokens: 10_000 }
    }
}

/// The tokens of the first statement of a text: `sqlparse.parse(sql)[0].flatten()`.
///
/// The statement begins where the text begins and keeps the space and the line comments behind its
/// semicolon, so that its tokens put together are the beginning of the text.
///
/// # Errors
///
/// Where sqlparse raises: a text of nothing but space has no first statement, and a statement, be
/// it the first or a later one, must stay within [`GroupingLimits::default`].
pub fn first_statement(sql: &str) -> Result<Vec<Token<'_>>> {
    first_statement_within(sql, GroupingLimits::default())
}

/// [`first_statement`] with other limits.
///
/// # Errors
///
/// As [`first_statement`].
pub fn first_statement_within(sql: &str, limits: GroupingLimits) -> Result<Vec<Token<'_>>> {
    let mut tokens = lexer::tokens(sql);
    let statements = splitter::statements(&tokens);
    let first = statements.first().ok_or(Error::NoStatement)?.len();
    for statement in statements {
        grouping::check(tokens.get(statement).unwrap_or_default(), limits)?;
    }
    tokens.truncate(first);
    Ok(tokens)
}

/// The text with its keywords in upper case: `sqlparse.format(sql, keyword_case="upper")`.
///
/// Besides, each line loses the space at its end and ends in `\n`, except inside quotes, and space
/// behind the last statement is dropped.
pub(crate) fn with_upper_keywords(sql: &str) -> String {
    let tokens = lexer::tokens(sql);
    let texts: Vec<_> = tokens
        .iter()
        .map(|token| match token.kind.is_keyword() {
            true => keywords::upper(token.text),
            false => token.text.into(),
        })
        .collect();
    let tokens: Vec<Token<'_>> = tokens
        .iter()
        .zip(&texts)
        .map(|(token, text)| Token { kind: token.kind, text: text.as_ref() })
        .collect();
    let mut formatted = String::with_capacity(sql.len());
    for statement in splitter::statements(&tokens) {
        let statement: String =
            tokens.get(statement).unwrap_or_default().iter().map(|token| token.text).collect();
        for (number, line) in unquoted_lines(&statement).into_iter().enumerate() {
            if number > 0 {
                formatted.push('\n');
            }
            formatted.push_str(line.trim_end_matches(is_space));
        }
    }
    formatted
}

/// The lines of a text, where a line ends only outside quotes (`split_unquoted_newlines`): a
/// backslash in quotes escapes the next character, and a quote that is never closed is none.
fn unquoted_lines(text: &str) -> Vec<&str> {
    let bytes = text.as_bytes();
    let mut lines = Vec::new();
    let mut start = 0;
    let mut position = 0;
    // Where the search for the end of a quoted text gave up: an earlier quote cannot be closed
    // either.
    let mut unclosed_before = [0, 0];
    while let Some(byte) = bytes.get(position) {
        match byte {
            b'\r' | b'\n' => {
                lines.extend(text.get(start..position));
                let two = *byte == b'\r' && bytes.get(position + 1) == Some(&b'\n');
                position += if two { 2 } else { 1 };
                start = position;
            }
            b'\'' | b'"' => {
                let [single, double] = &mut unclosed_before;
                let unclosed_before = if *byte == b'"' { double } else { single };
                if position >= *unclosed_before {
                    let end = quoted_until(bytes, position + 1, *byte);
                    if bytes.get(end) == Some(byte) {
                        position = end;
                    } else {
                        *unclosed_before = end;
                    }
                }
                position += 1;
            }
            _ => position += 1,
        }
    }
    lines.extend(text.get(start..));
    lines
}

/// Where the text in quotes that begins at `position` ends: at the quote, at a backslash that
/// escapes nothing, or at the end of the text.
fn quoted_until(bytes: &[u8], mut position: usize, quote: u8) -> usize {
    while let Some(byte) = bytes.get(position) {
        if *byte == quote {
            break;
        }
        if *byte == b'\\' {
            match bytes.get(position + 1) {
                None | Some(b'\n') => break,
                // The first byte of a longer character will do: its other bytes are neither quote
                // nor backslash.
                Some(_) => position += 1,
            }
        }
        position += 1;
    }
    position
}
