//! From a doc comment or docstring as it is written to its text.

/// The text of a Python string literal that is a docstring, cleaned as `inspect.cleandoc` does; `None` for
/// bytes and formatted strings, which are none.
pub(super) fn of_string(literal: &str) -> Option<String> {
    let quote = literal.find(['"', '\''])?;
    let (prefix, quoted) = literal.split_at(quote);
    if !prefix.chars().all(|letter| matches!(letter, 'r' | 'R' | 'u' | 'U')) {
        return None;
    }
    let inner = ["\"\"\"", "'''", "\"", "'"].into_iter().find_map(|quotes| {
        quoted.strip_prefix(quotes).and_then(|rest| rest.strip_suffix(quotes))
    })?;
    cleaned(inner)
}

/// The text of line comments that each begin with `mark`, one space after it aside.
pub(super) fn of_lines<'c>(lines: impl IntoIterator<Item = &'c str>, mark: &str) -> Option<String> {
    let stripped: Vec<&str> = lines
        .into_iter()
        .map(|line| {
            let line = line.trim();
            let line = line.strip_prefix(mark).unwrap_or(line);
            line.strip_prefix(' ').unwrap_or(line).trim_end()
        })
        .collect();
    without_empty_ends(&stripped)
}

/// The text of a block comment, without the stars at the beginnings of its lines.
pub(super) fn of_block(comment: &str) -> Option<String> {
    let inner = comment.trim().trim_matches('/').trim_matches('*');
    let lines: Vec<&str> = inner
        .lines()
        .map(|line| {
            let line = line.trim();
            let line = line.strip_prefix('*').unwrap_or(line);
            line.strip_prefix(' ').unwrap_or(line).trim_end()
        })
        .collect();
    without_empty_ends(&lines)
}

/// The first line stripped, the others less their common indentation.
fn cleaned(text: &str) -> Option<String> {
    let indentation = |line: &str| line.len() - line.trim_start().len();
    let rest = || text.lines().skip(1).filter(|line| !line.trim().is_empty());
    let common = rest().map(indentation).min().unwrap_or(0);
    let lines: Vec<&str> = text
        .lines()
        .enumerate()
        .map(|(number, line)| match number {
            0 => line.trim(),
            // A line is shorter only if it is blank.
            _ => line.get(common..).unwrap_or_default().trim_end(),
        })
        .collect();
    without_empty_ends(&lines)
}

fn without_empty_ends(lines: &[&str]) -> Option<String> {
    let first = lines.iter().position(|line| !line.trim().is_empty())?;
    let last = lines.iter().rposition(|line| !line.trim().is_empty())?;
    lines.get(first..=last).map(|lines| lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docstrings_lose_quotes_and_indentation() {
        for (literal, expected) in [
            ("\"\"\"Adds.\"\"\"", Some("Adds.")),
            (
                "r'''A \\d.\n\n        More.\n          Deeper.\n        '''",
                Some("A \\d.\n\nMore.\n  Deeper."),
            ),
            ("'one'", Some("one")),
            ("\"\"\"\n    First.\n\n    Second.\n    \"\"\"", Some("First.\n\nSecond.")),
            ("\"\"\"   \"\"\"", None),
            ("\"\"", None),
            ("f\"a\"", None),
            ("b'a'", None),
        ] {
            assert_eq!(of_string(literal).as_deref(), expected, "{literal}");
        }
    }

    #[test]
    fn comments_lose_their_marks() {
        let lines = ["/// Adds.", "///", "///     code()"];
        assert_eq!(of_lines(lines, "///").as_deref(), Some("Adds.\n\n    code()"));
        assert_eq!(of_lines(["//"], "//"), None);
        let block = "/**\n   * Adds.\n   *\n   * @param a one\n   */";
        assert_eq!(of_block(block).as_deref(), Some("Adds.\n\n@param a one"));
        assert_eq!(of_block("/** Adds. */").as_deref(), Some("Adds."));
        assert_eq!(of_block("/***/"), None);
    }
}
