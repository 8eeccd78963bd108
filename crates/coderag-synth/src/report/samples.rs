use std::fmt::{self, Display};

use coderag_eval::report::markup::{Code, Escaped, Prose};
use serde_json::{Map, Value};

use super::yields::spelt;
use crate::config::Category;
use crate::output::Pair;
use crate::row::RejectedRow;

/// Pairs, with their code as code.
pub(super) fn accepted(pairs: &[Pair]) -> String {
    if pairs.is_empty() {
        return "<p>There are no rows.</p>\n".to_owned();
    }
    pairs.iter().map(|pair| Accepted(pair).to_string()).collect()
}

/// Rejected candidates, with their code as code.
pub(super) fn rejected(rows: &[RejectedRow]) -> String {
    if rows.is_empty() {
        return "<p>Nothing was turned away.</p>\n".to_owned();
    }
    rows.iter().map(|row| Rejected(row).to_string()).collect()
}

struct Accepted<'p>(&'p Pair);

impl Display for Accepted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pair { id, category, anchor, positive, language, source, meta, .. } = self.0;
        write_head(formatter, id, &[category.id(), &language.to_string(), source])?;
        write_sides(formatter, *category, anchor, positive)?;
        write_meta(formatter, meta)?;
        writeln!(formatter, "</article>")
    }
}

struct Rejected<'r>(&'r RejectedRow);

impl Display for Rejected<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RejectedRow {
            id,
            category,
            gate,
            reason,
            anchor,
            positive,
            answer,
            language,
            source,
            meta,
            ..
        } = self.0;
        write_head(formatter, id, &[category.id(), &language.to_string(), source])?;
        writeln!(
            formatter,
            "<p><span class=\"wrong\">{}</span>: {}</p>",
            spelt(*gate),
            Prose(reason)
        )?;
        if anchor.is_empty() && positive.is_empty() {
            writeln!(
                formatter,
                "<dl class=\"queries\"><dt>answer</dt><dd>{}</dd></dl>",
                Code(answer)
            )?;
        } else {
            write_sides(formatter, *category, anchor, positive)?;
        }
        write_meta(formatter, meta)?;
        writeln!(formatter, "</article>")
    }
}

fn write_head(formatter: &mut fmt::Formatter<'_>, id: &str, facts: &[&str]) -> fmt::Result {
    let facts: Vec<String> = facts.iter().map(|fact| Escaped(fact).to_string()).collect();
    writeln!(
        formatter,
        "<article class=\"sample\">\n<h3>{}</h3>\n<p class=\"muted\">{}</p>",
        Escaped(id),
        facts.join(" \u{b7} ")
    )
}

fn write_sides(
    formatter: &mut fmt::Formatter<'_>,
    category: Category,
    anchor: &str,
    positive: &str,
) -> fmt::Result {
    // In mixed sides the code's line breaks matter most.
    let (anchor_is_code, positive_is_code) = match category {
        Category::TextToCode | Category::TextToSql => (false, true),
        Category::CodeToText => (true, false),
        Category::CodeToCode | Category::Hybrid => (true, true),
    };
    write!(formatter, "<dl class=\"queries\">")?;
    for (name, text, is_code) in
        [("anchor", anchor, anchor_is_code), ("positive", positive, positive_is_code)]
    {
        write!(formatter, "<dt>{name}</dt><dd>")?;
        match is_code {
            true => Code(text).fmt(formatter)?,
            false => Prose(text).fmt(formatter)?,
        }
        write!(formatter, "</dd>")?;
    }
    writeln!(formatter, "</dl>")
}

fn write_meta(formatter: &mut fmt::Formatter<'_>, meta: &Map<String, Value>) -> fmt::Result {
    if meta.is_empty() {
        return Ok(());
    }
    write!(
        formatter,
        "<details>\n<summary>What was chosen and noticed</summary>\n<dl class=\"facts\">"
    )?;
    for (name, value) in meta {
        let value = match value {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        write!(formatter, "<dt>{}</dt><dd>{}</dd>", Escaped(name), Prose(&value))?;
    }
    writeln!(formatter, "</dl>\n</details>")
}
