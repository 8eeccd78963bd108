use std::collections::HashSet;

use crate::lexed::Lexed;
use crate::{Error, Result};

const FENCE: &str = "```";

/// The languages of fenced blocks that hold SQL.
const LANGUAGES: [&str; 7] =
    ["sql", "sqlite", "sqlite3", "mysql", "postgres", "postgresql", "psql"];

/// Words that begin a statement which returns rows.
const QUERIES: [&str; 3] = ["select", "with", "values"];

/// Words that begin any other statement. They are found so that the executor, not a missing
/// statement, is what refuses them.
const COMMANDS: [&str; 17] = [
    "alter", "analyze", "attach", "begin", "commit", "create", "delete", "detach", "drop",
    "explain", "insert", "pragma", "reindex", "replace", "rollback", "update", "vacuum",
];

/// Takes the one SQL statement out of a language model's answer, without its semicolon.
///
/// Understood are fenced blocks (with or without a language, also unterminated), statements inside
/// single backticks, labels such as `SQL:`, prose before and after, and `<think>` sections, which are
/// dropped. Outside fences a statement ends at its semicolon or at a blank line. The same statement
/// given twice counts once. Markdown's `\_` and `\*` are undone outside literals and quoted names.
///
/// # Errors
/// [`Error::NoStatement`] when there is none, [`Error::SeveralStatements`] when there are several
/// different ones, because nothing tells which is meant.
pub fn extract(answer: &str) -> Result<String> {
    let spoken = without_thoughts(answer);
    let mut statements = Vec::new();
    let mut outside = Vec::new();
    let parts: Vec<&str> = spoken.split(FENCE).collect();
    for (index, part) in parts.iter().enumerate() {
        if index % 2 == 0 {
            outside.push(*part);
        } else if let Some(body) = sql_of_block(part) {
            let closed = index + 1 < parts.len();
            statements.extend(if closed { in_block(body) } else { in_prose(body) });
        }
    }
    if statements.is_empty() {
        statements = outside.into_iter().flat_map(in_prose).collect();
    }
    let statements: Vec<String> = statements.into_iter().map(unescape).collect();
    let mut different = HashSet::new();
    for statement in &statements {
        different.insert(statement.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    match (statements.into_iter().next(), different.len()) {
        (Some(statement), 1) => Ok(statement),
        (None, _) => Err(Error::NoStatement { answer: answer.to_owned() }),
        (_, count) => Err(Error::SeveralStatements { count, answer: answer.to_owned() }),
    }
}

/// Drops what a reasoning model thinks aloud. A thought that is not closed is all that there is; one
/// that is not opened was opened by the prompt.
fn without_thoughts(answer: &str) -> String {
    let mut rest = answer;
    if let Some((before, after)) = rest.split_once("</think>")
        && !before.contains("<think>")
    {
        rest = after;
    }
    let mut spoken = String::new();
    while let Some((before, thought)) = rest.split_once("<think>") {
        spoken.push_str(before);
        rest = thought.split_once("</think>").map_or("", |(_, after)| after);
    }
    spoken + rest
}

/// The content of a fenced block without its language; none for another language than SQL.
fn sql_of_block(block: &str) -> Option<&str> {
    let end = block
        .find(|character: char| !(character.is_alphanumeric() || "+-_#.".contains(character)))
        .unwrap_or(block.len());
    let (language, body) = block.split_at_checked(end)?;
    let known = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(language));
    if known(&LANGUAGES) {
        Some(body)
    } else if language.is_empty() || known(&QUERIES) || known(&COMMANDS) {
        Some(block)
    } else {
        None
    }
}

/// The statements of a closed block: all of them, or those that prose in the block leads to.
fn in_block(block: &str) -> Vec<&str> {
    let mut statements = Vec::new();
    for piece in pieces(block, false) {
        if starts_statement(piece, statements.is_empty()) {
            statements.push(piece.trim());
        }
    }
    if statements.is_empty() { in_prose(block) } else { statements }
}

/// The statement in text that is not known to be SQL, and those that directly follow it.
fn in_prose(text: &str) -> Vec<&str> {
    let Some(start) = start_in_prose(text) else { return Vec::new() };
    let (before, mut rest) = text.split_at_checked(start).unwrap_or((text, ""));
    if before.ends_with('`') {
        // A name quoted with backticks would end it early; then SQLite says what is missing.
        rest = rest.split_once('`').map_or(rest, |(quoted, _)| quoted);
    }
    pieces(rest, true)
        .into_iter()
        .enumerate()
        .take_while(|(index, piece)| *index == 0 || starts_statement(piece, false))
        .map(|(_, piece)| piece.trim())
        .collect()
}

/// Where the statement begins: by preference where a line or what follows a label begins, and in
/// letters of one case, unlike the first word of an English sentence.
fn start_in_prose(text: &str) -> Option<usize> {
    let label = text.find(':').map_or(0, |colon| colon + 1);
    for start in [0, label] {
        let candidate = text.get(start..)?;
        if starts_statement(candidate, false) {
            return Some(start + candidate.len() - candidate.trim_start().len());
        }
    }
    // An apostrophe in the prose must not hide the statement, so words are sought everywhere.
    let mut best: Option<(u8, usize)> = None;
    let mut previous_is_word = false;
    for (index, character) in text.char_indices() {
        let is_word = character.is_alphanumeric() || character == '_';
        let starts = is_word && !previous_is_word;
        previous_is_word = is_word;
        if !starts {
            continue;
        }
        let (before, candidate) = text.split_at_checked(index)?;
        let Some(word) = query_word(candidate) else { continue };
        let before = before.trim_end_matches([' ', '\t', '\r', '>', '*', '-']);
        let begins = before.is_empty() || before.ends_with(['\n', ':', '`']);
        let upper = word.chars().all(|character| character.is_ascii_uppercase());
        let rank = match (begins, upper, is_one_case(word)) {
            (true, _, true) => 0,
            (false, true, _) => 1,
            (true, ..) => 2,
            (false, ..) => 3,
        };
        if best.is_none_or(|(lowest, _)| rank < lowest) {
            best = Some((rank, index));
        }
    }
    best.map(|(_, index)| index)
}

/// Whether only space and comments stand before the first word of a statement. `any_case` also
/// accepts `Select`, which in prose is more likely a sentence.
fn starts_statement(text: &str, any_case: bool) -> bool {
    let lexed = Lexed::of(text);
    let Some((start, word)) = lexed.words().next() else { return false };
    if lexed.first_word().is_none() || !(any_case || is_one_case(word)) {
        return false;
    }
    let known = COMMANDS.iter().any(|command| command.eq_ignore_ascii_case(word));
    known || text.get(start..).and_then(query_word).is_some()
}

fn is_one_case(word: &str) -> bool {
    word.chars().all(|character| character.is_ascii_uppercase())
        || word.chars().all(|character| character.is_ascii_lowercase())
}

/// The word at the start of `text` if a query can begin with it and what follows allows that.
fn query_word(text: &str) -> Option<&str> {
    let end = text.find(|character: char| !character.is_ascii_alphabetic()).unwrap_or(text.len());
    let (word, rest) = text.split_at_checked(end)?;
    let possible = match word.to_ascii_lowercase().as_str() {
        "select" => !rest.trim().is_empty(),
        "values" => rest.trim_start().starts_with('('),
        "with" => names_a_common_table(rest),
        _ => false,
    };
    possible.then_some(word)
}

/// Whether text continues a WITH as `[RECURSIVE] name [(columns)] AS [[NOT] MATERIALIZED] (`.
fn names_a_common_table(text: &str) -> bool {
    if text.trim_start().starts_with(['"', '`', '[']) {
        return true;
    }
    // Names are not longer than this, and prose is not searched further.
    let Some(length) = text.bytes().take(256).position(|byte| byte == b'(') else { return false };
    let Some(head) = text.get(..length) else { return false };
    let words = head.split_whitespace().map(str::to_ascii_lowercase).collect::<Vec<_>>();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let words = match words.as_slice() {
        ["recursive", rest @ ..] => rest,
        words => words,
    };
    matches!(words, [_] | [_, "as"] | [_, "as", "materialized"] | [_, "as", "not", "materialized"])
}

/// Splits text at its semicolons, and at blank lines if they end statements, too. Blank lines before
/// the first code of a statement never do.
fn pieces(text: &str, blank_lines_end: bool) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut start = 0;
    let mut begun = false;
    for (index, character) in Lexed::of(text).code() {
        let before = text.get(start..index).unwrap_or_default();
        let next = index + character.len_utf8();
        let after = text.get(next..).unwrap_or_default();
        let is_blank_line =
            || character == '\n' && after.lines().next().is_some_and(|line| line.trim().is_empty());
        if is_end(before, character) || blank_lines_end && begun && is_blank_line() {
            pieces.push(before);
            start = next;
            begun = false;
        } else if !character.is_whitespace() {
            begun = true;
        }
    }
    pieces.push(text.get(start..).unwrap_or_default());
    pieces
}

/// Whether a character ends a statement. The semicolon of an HTML entity does not: cut there, a
/// statement could be valid and mean something else.
fn is_end(before: &str, character: char) -> bool {
    let entities = ["&lt", "&gt", "&amp", "&quot", "&apos", "&#39"];
    character == ';' && !entities.iter().any(|entity| before.ends_with(entity))
}

/// Undoes Markdown's escapes, which SQL does not know, outside literals and quoted names.
fn unescape(statement: &str) -> String {
    let code: HashSet<usize> = Lexed::of(statement).code().map(|(index, _)| index).collect();
    let mut characters = statement.char_indices().peekable();
    let mut plain = String::with_capacity(statement.len());
    while let Some((index, character)) = characters.next() {
        let escapes = character == '\\'
            && code.contains(&index)
            && matches!(characters.peek(), Some((_, '_' | '*')));
        if !escapes {
            plain.push(character);
        }
    }
    plain
}

/// A statement in one line that means the same: without comments, with one space for each white space
/// outside of quotes, and with line ends and tabs inside of text literals as calls of `char`.
pub fn single_line(sql: &str) -> String {
    Lexed::of(sql).single_line()
}
