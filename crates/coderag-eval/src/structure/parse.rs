//! From a text to one query of sqlparser's, within bounds.

use sqlparser::ast::{Query, Statement};
use sqlparser::dialect::SQLiteDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Word};

use crate::{Error, Result};

/// The most words, operators and parentheses. Each level of a tree takes at least one of them, so
/// this bounds the depth of the trees that sqlparser builds without recursion (`1 + 1 + 1 ...`)
/// and drops with it; literals and commas make no level, so lists of values may be longer.
const TOKEN_LIMIT: usize = 4_000;

/// The most levels of recursion in the parser; sqlparser's default.
const RECURSION_LIMIT: usize = 50;

/// A text that is one query.
pub(super) struct Parsed {
    pub(super) query: Box<Query>,
    /// The query as it is written, but for the case of words, spaces, comments and semicolons.
    pub(super) as_written: String,
    /// Whether sqlparser is sure to read the text as SQLite does.
    pub(super) same_reading: bool,
}

pub(super) fn parse(sql: &str) -> Result<Parsed> {
    let dialect = SQLiteDialect {};
    let tokens = Tokenizer::new(&dialect, sql)
        .tokenize_with_location()
        .map_err(|error| Error::InvalidSql(ParserError::from(error)))?;
    let same_reading = reads_as_sqlite(sql, &tokens);
    let tokens: Vec<TokenWithSpan> =
        tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect();
    let levels = tokens.iter().map(|token| weight(&token.token)).sum();
    if levels > TOKEN_LIMIT {
        return Err(Error::TooLong { tokens: levels, limit: TOKEN_LIMIT });
    }
    let as_written = if same_reading { as_written(&tokens) } else { sql.trim().to_owned() };
    let mut parser = Parser::new(&dialect)
        .with_recursion_limit(RECURSION_LIMIT)
        .with_tokens_with_locations(spell_out(tokens));
    let mut statements = parser.parse_statements().map_err(Error::InvalidSql)?;
    // sqlparser stops at an END as if it closed a block around.
    let rest = parser.next_token().token;
    if rest != Token::EOF {
        let message = format!("Expected: end of statement, found: {rest}");
        return Err(Error::InvalidSql(ParserError::ParserError(message)));
    }
    match (statements.pop(), statements.len()) {
        (Some(Statement::Query(query)), 0) => Ok(Parsed { query, as_written, same_reading }),
        (Some(_), 0) => Err(Error::NotAQuery),
        (Some(_), others) => Err(Error::NotOneStatement { statements: others + 1 }),
        (None, _) => Err(Error::NotOneStatement { statements: 0 }),
    }
}

/// How much a token may add to the depth of a tree. For SQLite's GLOB, MATCH and REGEXP sqlparser
/// copies the left operand, which takes more stack than dropping it.
fn weight(token: &Token) -> usize {
    match token {
        Token::Comma | Token::Number(..) | Token::SingleQuotedString(_) => 0,
        token if is_word(token, &[Keyword::GLOB, Keyword::MATCH, Keyword::REGEXP]) => 16,
        _ => 1,
    }
}

/// sqlparser takes all of Unicode's spaces for spaces; it reads `0X10` as `0 X10`; both `0x10`, a number, and `X'10'`, a blob, as the latter;
/// and `SELECT (*)`, an error, as `SELECT *`.
fn reads_as_sqlite(sql: &str, tokens: &[TokenWithSpan]) -> bool {
    let is_space = |character: char| matches!(character, ' ' | '\t' | '\n' | '\u{c}' | '\r');
    let other_space = |character: char| character.is_whitespace() && !is_space(character);
    let joined = |pair: &[TokenWithSpan]| match pair {
        [number, word] => {
            matches!(number.token, Token::Number(..)) && unquoted(&word.token).is_some()
        }
        _ => false,
    };
    let words: Vec<&Token> = tokens
        .iter()
        .map(|token| &token.token)
        .filter(|token| !matches!(token, Token::Whitespace(_)))
        .collect();
    let nested_star = |tokens: &[&Token]| match tokens {
        [before, Token::LParen, Token::Mul] => {
            !matches!(before, Token::Word(_))
                || is_word(before, &[Keyword::SELECT, Keyword::ALL, Keyword::DISTINCT])
        }
        _ => false,
    };
    !sql.contains(other_space)
        && !tokens.windows(2).any(joined)
        && !words.windows(3).any(nested_star)
        && !tokens
            .iter()
            .any(|token| matches!(token.token, Token::HexStringLiteral(_) | Token::Number(_, true)))
}

/// The tokens with one space between them, words that are not quoted in lower case.
fn as_written(tokens: &[TokenWithSpan]) -> String {
    let tokens: Vec<String> = tokens
        .iter()
        .filter(|token| token.token != Token::SemiColon)
        .map(|token| match &token.token {
            Token::Word(word) => match word.quote_style {
                None => word.value.to_ascii_lowercase(),
                Some(quote) => {
                    let end = if quote == '[' { ']' } else { quote };
                    let escaped = word.value.replace(end, &format!("{end}{end}"));
                    format!("{quote}{escaped}{end}")
                }
            },
            Token::SingleQuotedString(text) => format!("'{}'", text.replace('\'', "''")),
            other => other.to_string(),
        })
        .collect();
    tokens.join(" ")
}

/// Writes what SQLite reads and sqlparser does not in words that both read alike: `a IS b` and
/// `a ISNULL` as the standard's `a IS NOT DISTINCT FROM b` and `a IS NULL`, and common table
/// expressions without the hint MATERIALIZED.
fn spell_out(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut spelt: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let span = token.span;
        let add = |spelt: &mut Vec<TokenWithSpan>, words: &[Keyword]| {
            spelt.extend(words.iter().map(|word| TokenWithSpan { token: keyword(*word), span }));
        };
        let is = is_word(&token.token, &[Keyword::IS]);
        if !is && !is_word(&token.token, &[Keyword::AS]) {
            match unquoted(&token.token) {
                Some(word) if word.value.eq_ignore_ascii_case("isnull") => {
                    add(&mut spelt, &[Keyword::IS, Keyword::NULL]);
                }
                _ => spelt.push(token),
            }
            continue;
        }
        spelt.push(token);
        let not = tokens.next_if(|token| is_word(&token.token, &[Keyword::NOT]));
        let mut next = |keywords: &[Keyword]| {
            tokens.peek().is_none_or(|token| is_word(&token.token, keywords))
        };
        if !is {
            if next(&[Keyword::MATERIALIZED]) {
                tokens.next();
            } else {
                spelt.extend(not);
            }
        } else if next(&[Keyword::NULL, Keyword::TRUE, Keyword::FALSE, Keyword::DISTINCT]) {
            spelt.extend(not);
        } else if not.is_some() {
            add(&mut spelt, &[Keyword::DISTINCT, Keyword::FROM]);
        } else {
            add(&mut spelt, &[Keyword::NOT, Keyword::DISTINCT, Keyword::FROM]);
        }
    }
    spelt
}

fn unquoted(token: &Token) -> Option<&Word> {
    match token {
        Token::Word(word) if word.quote_style.is_none() => Some(word),
        _ => None,
    }
}

fn is_word(token: &Token, keywords: &[Keyword]) -> bool {
    unquoted(token).is_some_and(|word| keywords.contains(&word.keyword))
}

fn keyword(keyword: Keyword) -> Token {
    Token::Word(Word { value: format!("{keyword:?}"), quote_style: None, keyword })
}
