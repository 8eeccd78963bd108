use std::fmt::Write;

/// How much of a table's content a document shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleRows {
    /// The most rows, taken from the table's start; 0 shows none.
    pub limit: usize,
    /// The most characters of one value; longer ones are cut and end in `…`.
    pub value_width: usize,
}

impl SampleRows {
    /// No rows: the DDL alone.
    pub const NONE: Self = Self { limit: 0, value_width: 0 };
}

impl Default for SampleRows {
    /// Three rows, values cut at 60 characters.
    fn default() -> Self {
        Self { limit: 3, value_width: 60 }
    }
}

/// The comment block under a table's DDL (the layout of Rajkumar et al., "Evaluating the
/// Text-to-SQL Capabilities of Large Language Models", 2022); empty where there are no rows.
pub(crate) fn block(names: &[String], rows: &[Vec<String>]) -> String {
    let mut block = String::new();
    if rows.is_empty() {
        return block;
    }
    let noun = if rows.len() == 1 { "row" } else { "rows" };
    let line = |cells: &[String]| cells.join(" | ");
    // Writing to a string cannot fail.
    let _ = writeln!(block, "\n/*\n{} example {noun}:\n{}", rows.len(), line(names));
    for row in rows {
        let _ = writeln!(block, "{}", line(row));
    }
    block.push_str("*/");
    block
}

/// Text on one line, at most `width` characters, that cannot end the comment it stands in.
pub(crate) fn cell(text: &str, width: usize) -> String {
    // No more of the text is looked at than can be shown, however long it is.
    let mut characters = text.trim_start().chars();
    let mut shown = String::new();
    let mut length = 0;
    for character in characters.by_ref() {
        let space = character.is_whitespace();
        if space && shown.ends_with(' ') {
            continue;
        }
        if length == width {
            if !space || !characters.as_str().trim_start().is_empty() {
                shown.push('…');
            }
            break;
        }
        shown.push(if space { ' ' } else { character });
        length += 1;
    }
    shown.truncate(shown.trim_end().len());
    shown.replace("*/", "* /")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_one_short_line_that_cannot_end_a_comment() {
        assert_eq!(cell(" a\n\tb  c ", 60), "a b c");
        assert_eq!(cell("abcdef", 3), "abc…");
        assert_eq!(cell("abc ", 3), "abc");
        assert_eq!(cell("éé", 2), "éé");
        assert_eq!(cell("x */ DROP", 60), "x * / DROP");
    }
}
