//! What Python's sqlite3 module takes for one statement.

/// Whether nothing but space and comments follows the first statement.
///
/// SQLite itself skips further semicolons; Python's module takes `SELECT 1;;` for two statements and
/// refuses it (`lstrip_sql` in CPython's `Modules/_sqlite/statement.c`).
pub(crate) fn is_single_statement(sql: &str) -> bool {
    let mut rest = sql;
    let mut started = false;
    while let Some(first) = rest.chars().next() {
        if let Some(after) = after_space_or_comment(rest) {
            rest = after;
            continue;
        }
        match first {
            ';' if started => return is_blank(&rest[1..]),
            ';' => {}
            // The body of a trigger holds semicolons.
            _ if !started && starts_with_word(rest, "create") => return true,
            _ => started = true,
        }
        rest = after_token(rest, first);
    }
    true
}

fn is_blank(mut text: &str) -> bool {
    while let Some(after) = after_space_or_comment(text) {
        text = after;
    }
    text.is_empty()
}

fn starts_with_word(text: &str, word: &str) -> bool {
    text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

/// What follows one white space or comment at the start.
fn after_space_or_comment(text: &str) -> Option<&str> {
    if let Some(rest) = text.strip_prefix([' ', '\t', '\n', '\r', '\u{c}']) {
        return Some(rest);
    }
    if let Some(comment) = text.strip_prefix("--") {
        return Some(comment.find('\n').map_or("", |end| &comment[end..]));
    }
    let comment = text.strip_prefix("/*")?;
    Some(comment.find("*/").map_or("", |end| &comment[end + 2..]))
}

/// What follows the quoted text, or else the character, at the start.
fn after_token(text: &str, first: char) -> &str {
    let rest = &text[first.len_utf8()..];
    let end = match first {
        '\'' | '"' | '`' => first,
        '[' => ']',
        _ => return rest,
    };
    // A doubled quote ends one text and starts the next, which comes to the same.
    rest.find(end).map_or("", |position| &rest[position + end.len_utf8()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_python_refuses_is_more_than_one_statement() {
        for (sql, single) in [
            ("SELECT 1", true),
            ("SELECT 1;", true),
            ("SELECT 1; -- end", true),
            ("SELECT 1; /* end", true),
            ("SELECT ';'; ", true),
            (";SELECT 1", true),
            ("SELECT 1;;", false),
            ("SELECT 1; SELECT 2", false),
            ("SELECT \"a;b\", [c;d], `e;f` /* ; */ -- ;\n; x", false),
            ("CREATE TRIGGER t AFTER INSERT ON u BEGIN SELECT 1; END", true),
            ("", true),
        ] {
            assert_eq!(is_single_statement(sql), single, "{sql}");
        }
    }
}
