//! Takes the parts out of a model's answer.

use std::collections::BTreeMap;

use crate::config::PartKind;

const FENCE: &str = "```";

/// The parts of an answer by name, or why one is missing.
///
/// A part begins with its label and a colon at the beginning of a line (`Question: ...`, `**Question:** ...`,
/// `### Question`), whatever its case and with `_` as a space; it ends where the next one begins. Of a part that
/// is code or SQL the first fenced block counts, or all of it where nothing is fenced. Where an answer has no
/// label for its only code, the first fenced block is taken.
pub(crate) fn parts(
    answer: &str,
    wanted: &BTreeMap<String, PartKind>,
) -> Result<BTreeMap<String, String>, String> {
    let sections = sections(answer, wanted);
    let code_has_no_label = wanted
        .iter()
        .any(|(name, kind)| *kind != PartKind::Text && !sections.contains_key(name.as_str()));
    let mut parts = BTreeMap::new();
    for (name, kind) in wanted {
        let section = sections.get(name.as_str()).map(String::as_str);
        let part = match kind {
            PartKind::Text => section.map(|text| match text.find(FENCE) {
                Some(fence) if code_has_no_label => text_of(text.get(..fence).unwrap_or_default()),
                _ => text_of(text),
            }),
            PartKind::Code | PartKind::Sql => {
                let only = wanted.values().filter(|other| **other != PartKind::Text).count() == 1;
                let anywhere = if only { fenced(answer)? } else { None };
                match section {
                    Some(section) => Some(match fenced(section)? {
                        Some(code) => code,
                        None if section.trim().is_empty() => anywhere.unwrap_or_default(),
                        None => section.trim().to_owned(),
                    }),
                    None => anywhere,
                }
            }
        };
        match part {
            Some(part) if !part.trim().is_empty() => parts.insert(name.clone(), part),
            Some(_) => return Err(format!("the part `{name}` is empty")),
            None => return Err(format!("the part `{name}` is missing")),
        };
    }
    Ok(parts)
}

/// The text after each label, up to the next label. A label inside a fenced block is code.
fn sections<'a>(answer: &str, wanted: &'a BTreeMap<String, PartKind>) -> BTreeMap<&'a str, String> {
    let mut sections: BTreeMap<&str, String> = BTreeMap::new();
    let mut current: Option<&str> = None;
    let mut in_fence = false;
    for line in answer.lines() {
        if !in_fence && let Some((name, rest)) = label_of(line, wanted) {
            // A label that comes again begins a second answer, which nobody asked for.
            current = (!sections.contains_key(name)).then_some(name);
            if let Some(name) = current {
                sections.insert(name, rest.to_owned());
            }
        } else if let Some(section) = current.and_then(|name| sections.get_mut(name)) {
            section.push('\n');
            section.push_str(line);
        }
        // A block on one line is closed again.
        in_fence ^= line.matches(FENCE).count() % 2 == 1;
    }
    sections
}

/// The part that a line begins, and what follows on the line.
fn label_of<'a, 'b>(
    line: &'b str,
    wanted: &'a BTreeMap<String, PartKind>,
) -> Option<(&'a str, &'b str)> {
    let is_heading = line.trim_start().starts_with('#');
    let line = line.trim_start_matches(['#', '*', ' ', '-']);
    wanted.keys().find_map(|name| {
        let label = line.get(..name.len())?;
        let is_label = label.len() == name.len()
            && label.bytes().zip(name.bytes()).all(|(written, wanted)| {
                written.eq_ignore_ascii_case(&wanted)
                    || (wanted == b'_' && matches!(written, b' ' | b'-'))
            });
        let rest = line.get(name.len()..)?.trim_start_matches('*').trim_start();
        let rest = match rest.strip_prefix(':') {
            Some(rest) => rest,
            None if is_heading && rest.is_empty() => rest,
            None => return None,
        };
        is_label.then(|| (name.as_str(), rest.trim_start_matches('*').trim_start()))
    })
}

/// The inside of the first fenced block; an error where it is not closed.
fn fenced(text: &str) -> Result<Option<String>, String> {
    let mut lines = text.lines().skip_while(|line| !line.trim_start().starts_with(FENCE));
    let Some(opening) = lines.next() else { return Ok(None) };
    // ```SELECT 1``` on one line.
    if let Some(inside) =
        opening.trim().strip_prefix(FENCE).and_then(|rest| rest.strip_suffix(FENCE))
        && !inside.is_empty()
    {
        return Ok(Some(inside.trim().to_owned()));
    }
    let indentation = opening.len() - opening.trim_start().len();
    let mut inside = Vec::new();
    for line in lines {
        if line.trim_start().starts_with(FENCE) {
            return Ok(Some(inside.join("\n").trim_matches('\n').to_owned()));
        }
        let own = line.len() - line.trim_start().len();
        inside.push(line.get(indentation.min(own)..).unwrap_or(line));
    }
    Err("its code block is not closed".to_owned())
}

/// A text without the marks that surround it.
fn text_of(section: &str) -> String {
    let text = section.trim();
    let text = match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(inside) if !inside.contains('"') => inside,
        _ => text,
    };
    // A line that only separates sections belongs to none.
    let is_separator = |line: &str| line.chars().all(|character| "-*#= ".contains(character));
    let mut lines: Vec<&str> = text.lines().collect();
    while lines.last().is_some_and(|line| is_separator(line)) {
        lines.pop();
    }
    lines.join("\n").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use PartKind::{Code, Sql, Text};

    use super::*;

    fn wanted(parts: &[(&str, PartKind)]) -> BTreeMap<String, PartKind> {
        parts.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect()
    }

    fn take(answer: &str, kinds: &[(&str, PartKind)]) -> Result<Vec<String>, String> {
        let parts = parts(answer, &wanted(kinds))?;
        Ok(kinds.iter().map(|(name, _)| parts[*name].clone()).collect())
    }

    #[test]
    fn labels_may_be_dressed_up() {
        let kinds = [("question", Text), ("code", Code)];
        for answer in [
            "Question: How?\nCode:\n```python\nx = 1\n```",
            "**Question:** How?\n\n**Code**:\n```py\nx = 1\n```\nThat is all.",
            "### Question\nHow?\n---\n### Code\n```\nx = 1\n```",
            "- QUESTION: \"How?\"\n- code: ```x = 1```",
            "question: How?\n```python\nx = 1\n```\n",
            "Question: How?\nCode: x = 1",
        ] {
            assert_eq!(take(answer, &kinds).unwrap(), ["How?", "x = 1"], "{answer}");
        }
    }

    #[test]
    fn a_label_in_code_begins_nothing() {
        let answer = "Code:\n```yaml\nquestion: 1\n```\nQuestion: Why?";
        let taken = take(answer, &[("question", Text), ("code", Code)]).unwrap();
        assert_eq!(taken, ["Why?", "question: 1"]);
    }

    #[test]
    fn a_block_on_one_line_is_closed() {
        let answer = "SQL:\n```SELECT 1```\nQuestion: Why?";
        let taken = take(answer, &[("question", Text), ("sql", Sql)]).unwrap();
        assert_eq!(taken, ["Why?", "SELECT 1"]);
    }

    #[test]
    fn labels_of_two_words_and_indented_blocks() {
        let answer = "Fixed code:\n  ```rust\n  fn a() {\n      b();\n  }\n  ```\nBroken code:\n```\nfn a( {}\n```";
        let taken = take(answer, &[("fixed_code", Code), ("broken_code", Code)]).unwrap();
        assert_eq!(taken, ["fn a() {\n    b();\n}", "fn a( {}"]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let kinds = [("question", Text), ("sql", Sql)];
        let reason = |answer: &str| take(answer, &kinds).unwrap_err();
        assert_eq!(reason("SELECT 1"), "the part `question` is missing");
        assert_eq!(reason("Question:\nSQL: SELECT 1"), "the part `question` is empty");
        assert_eq!(reason("Question: a"), "the part `sql` is missing");
        assert_eq!(reason("Question: a\nSQL:\n```sql\nSELECT"), "its code block is not closed");
    }

    #[test]
    fn a_second_answer_is_left_out() {
        let answer = "Question: a\nSQL: SELECT 1\nQuestion: b\nSQL: SELECT 2";
        assert_eq!(take(answer, &[("question", Text), ("sql", Sql)]).unwrap(), ["a", "SELECT 1"]);
    }
}
