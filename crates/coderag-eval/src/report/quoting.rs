//! Text from outside in the languages of a card: YAML, Markdown and the words of a shell.

/// A string of YAML (and of JSON and Python) in double quotes.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            // What YAML takes for an end of line or does not allow at all.
            '\0'..='\x1f'
            | '\x7f'..='\u{9f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}' => quoted.push_str(&format!("\\u{:04x}", u32::from(character))),
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

/// A word of a shell's command.
pub fn shell_word(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// [`code_span`] in the cell of a table.
pub fn code_cell(text: &str) -> String {
    code_span(text).replace('|', "\\|")
}

/// Text as it is, in a line of Markdown.
pub fn code_span(text: &str) -> String {
    let line: String = text.chars().map(|it| if it.is_control() { ' ' } else { it }).collect();
    let fence = "`".repeat(longest_run(&line) + 1);
    let space = if line.starts_with('`') || line.ends_with('`') { " " } else { "" };
    format!("{fence}{space}{line}{space}{fence}")
}

/// Lines as they are, in Markdown.
pub fn code_block(language: &str, text: &str) -> String {
    let fence = "`".repeat((longest_run(text) + 1).max(3));
    let text = text.trim_end_matches('\n');
    format!("{fence}{language}\n{text}\n{fence}\n")
}

/// The most backticks in a row.
fn longest_run(text: &str) -> usize {
    text.split(|character| character != '`').map(str::len).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_within_its_quotes() {
        assert_eq!(quoted("a\"b\\c\n\u{85}\0: #"), "\"a\\\"b\\\\c\\n\\u0085\\u0000: #\"");
        assert_eq!(shell_word("all-MiniLM-L6-v2"), "all-MiniLM-L6-v2");
        assert_eq!(shell_word("it's; rm"), "'it'\\''s; rm'");
        assert_eq!(code_span("a`b``c|d\ne"), "```a`b``c|d e```");
        assert_eq!(code_cell("a|b"), "`a\\|b`");
        assert_eq!(code_span("`a"), "`` `a ``");
        assert_eq!(code_block("toml", "a = '''\n````\n"), "`````toml\na = '''\n````\n`````\n");
    }
}
