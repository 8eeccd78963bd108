//! Where a statement ends: a port of the behaviour of sqlparse's `StatementSplitter`.

use super::keywords::upper;
use super::{Token, TokenKind};
use crate::python_text::split;
use std::ops::Range;

/// The statements of a text as ranges of its tokens.
///
/// They follow each other without a gap from the first token on; nothing but space behind the last
/// one is no statement.
pub(super) fn statements(tokens: &[Token<'_>]) -> Vec<Range<usize>> {
    let mut statements = Vec::new();
    let mut start = 0;
    let mut state = Splitter::default();
    for (index, token) in tokens.iter().enumerate() {
        if state.is_finished
            && !matches!(token.kind, TokenKind::Whitespace | TokenKind::LineComment)
        {
            statements.push(start..index);
            start = index;
            state = Splitter::default();
        }
        state.take(*token);
    }
    if tokens.iter().skip(start).any(|token| !token.kind.is_space()) {
        statements.push(start..tokens.len());
    }
    statements
}

/// What a statement opens and closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    Declare,
    Begin,
    For,
    While,
    Loop,
    If,
    Case,
}

/// What is known of the statement so far.
#[derive(Debug, Default)]
struct Splitter {
    /// How many levels are open; below zero when more were closed than opened.
    level: i64,
    blocks: Vec<Block>,
    /// How many of `blocks` are [`Block::Begin`].
    begins: usize,
    /// A `FOR` or `WHILE` that becomes a loop only where `LOOP` or `DO` follows.
    unconfirmed_loop: Option<Block>,
    is_create: bool,
    /// `BEGIN` was the last token but for space and comments.
    seen_begin: bool,
    /// Only space and line comments still belong to the statement.
    is_finished: bool,
}

impl Splitter {
    fn take(&mut self, token: Token<'_>) {
        let is_semicolon = token.kind == TokenKind::Punctuation && token.text == ";";
        let keyword = token.kind.is_keyword().then(|| upper(token.text));
        self.level += match (token.kind, &keyword) {
            (TokenKind::Punctuation, _) => self.punctuation(token.text),
            (kind, Some(keyword)) => self.keyword(kind, keyword),
            _ => 0,
        };
        match token.kind {
            TokenKind::Punctuation if is_semicolon => {
                self.seen_begin = false;
                if self.level <= 0 && self.begins == 0 {
                    self.is_finished = true;
                }
            }
            // The case counts: `go` ends no statement.
            TokenKind::Keyword if split(token.text).next() == Some("GO") => self.is_finished = true,
            TokenKind::Keyword if keyword.as_deref() == Some("BEGIN") => {}
            TokenKind::Whitespace
            | TokenKind::Newline
            | TokenKind::LineComment
            | TokenKind::BlockComment => {}
            _ => self.seen_begin = false,
        }
    }

    fn punctuation(&mut self, text: &str) -> i64 {
        match text {
            ";" => {
                self.unconfirmed_loop = None;
                // `BEGIN;` starts a transaction, no block.
                if std::mem::take(&mut self.seen_begin) { self.close_begin() } else { 0 }
            }
            "(" => 1,
            ")" => -1,
            _ => 0,
        }
    }

    /// The change of the level at a keyword, given in upper case.
    fn keyword(&mut self, kind: TokenKind, keyword: &str) -> i64 {
        if kind == TokenKind::StatementKeyword && keyword.starts_with("CREATE") {
            self.is_create = true;
            return 0;
        }
        match keyword {
            "DECLARE" if self.is_create && self.blocks.is_empty() => {
                return self.open(Block::Declare);
            }
            "BEGIN" => {
                self.seen_begin = true;
                // The declarations belong to the block that follows them.
                let declared = self.close(|last| last == Block::Declare);
                return declared + self.open(Block::Begin);
            }
            "TRANSACTION" | "WORK" | "TRAN" | "DISTRIBUTED" | "DEFERRED" | "IMMEDIATE"
            | "EXCLUSIVE"
                if self.seen_begin && kind == TokenKind::Keyword =>
            {
                self.seen_begin = false;
                return self.close_begin();
            }
            _ => {}
        }
        if self.begins > 0
            && let Some(change) = self.block_keyword(keyword)
        {
            return change;
        }
        match keyword {
            "END IF" => self.close(|last| last == Block::If),
            "END FOR" => self.close(|last| last == Block::For),
            "END WHILE" => self.close(|last| last == Block::While),
            "END LOOP" => {
                self.close(|last| matches!(last, Block::Loop | Block::For | Block::While))
            }
            "END CASE" => self.close(|last| last == Block::Case),
            "END" => {
                self.close(|_| true);
                // Also where nothing was open.
                -1
            }
            _ => 0,
        }
    }

    /// The change of the level at a keyword that opens something inside a `BEGIN` block; none where
    /// it opens nothing.
    fn block_keyword(&mut self, keyword: &str) -> Option<i64> {
        match keyword {
            "FOR" => {
                self.unconfirmed_loop = Some(Block::For);
                Some(0)
            }
            "WHILE" => {
                self.unconfirmed_loop = Some(Block::While);
                Some(0)
            }
            "LOOP" => {
                let block = self.unconfirmed_loop.take().unwrap_or(Block::Loop);
                Some(self.open(block))
            }
            "DO" => self.unconfirmed_loop.take().map(|block| self.open(block)),
            "IF" => Some(self.open(Block::If)),
            "CASE" => Some(self.open(Block::Case)),
            _ => None,
        }
    }

    fn open(&mut self, block: Block) -> i64 {
        self.begins += usize::from(block == Block::Begin);
        self.blocks.push(block);
        1
    }

    /// Closes the last block if it is the right one.
    fn close(&mut self, is_right: impl FnOnce(Block) -> bool) -> i64 {
        match self.blocks.pop_if(|last| is_right(*last)) {
            Some(block) => {
                self.begins -= usize::from(block == Block::Begin);
                -1
            }
            None => 0,
        }
    }

    fn close_begin(&mut self) -> i64 {
        self.close(|last| last == Block::Begin)
    }
}
