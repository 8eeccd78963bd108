use coderag_eval::report::figures::Duration;
use coderag_eval::report::markup::{Count, Escaped};
use serde_json::Value;

use super::table::{Column, Table};
use crate::asking::Totals;
use crate::output::Manifest;

/// What was asked of the model, in all and by call.
pub(super) fn requests(manifest: &Manifest) -> String {
    let figures = |totals: &Totals| {
        let Totals { requests, failed, prompt_tokens, cached_tokens, completion_tokens } = totals;
        [requests, failed, prompt_tokens, cached_tokens, completion_tokens]
            .map(|number| Count(*number as usize).to_string())
    };
    let mut rows = Vec::new();
    for call in &manifest.calls {
        let mut row = vec![Escaped(&call.ended).to_string(), Duration(call.seconds).to_string()];
        row.extend(figures(&call.requests));
        row.extend(
            [call.served_from_cache, call.accepted].map(|it| Count(it as usize).to_string()),
        );
        rows.push(row);
    }
    let seconds: f64 = manifest.calls.iter().map(|call| call.seconds).sum();
    let mut all = vec!["<strong>all</strong>".to_owned(), Duration(seconds).to_string()];
    all.extend(figures(&manifest.requests));
    all.extend([String::new(), Count(manifest.accepted() as usize).to_string()]);
    rows.push(all);
    let columns = [
        Column::Text("call that ended"),
        Column::Number("took"),
        Column::Number("requests answered"),
        Column::Number("failed"),
        Column::Number("tokens of prompts"),
        Column::Number("of these not evaluated again"),
        Column::Number("tokens of answers"),
        Column::Number("served by earlier answers"),
        Column::Number("rows at its end"),
    ];
    let table = Table { label: "Requests by call", columns: &columns, rows };
    let traffic =
        Values { label: "Traffic of the last call", value: &manifest.traffic }.to_string();
    match traffic.is_empty() {
        true => table.to_string(),
        false => {
            format!(
                "{table}<h3 class=\"below\">On the way to the endpoint, in the last call</h3>\n{traffic}"
            )
        }
    }
}

/// The leaves of a JSON value by their places; nothing where there is none.
pub(super) struct Values<'v> {
    pub(super) label: &'v str,
    pub(super) value: &'v Value,
}

impl std::fmt::Display for Values<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut rows = Vec::new();
        leaves(self.value, "", &mut rows);
        if rows.is_empty() {
            return Ok(());
        }
        let columns = [Column::Text("what"), Column::Number("")];
        Table { label: self.label, columns: &columns, rows }.fmt(formatter)
    }
}

fn leaves(value: &Value, place: &str, rows: &mut Vec<Vec<String>>) {
    let below = |name: &str| match place {
        "" => name.replace('_', " "),
        place => format!("{place}, {}", name.replace('_', " ")),
    };
    let text = match value {
        Value::Null => return,
        Value::Object(object) => {
            return object.iter().for_each(|(name, value)| leaves(value, &below(name), rows));
        }
        Value::Number(number) => match number.as_u64() {
            Some(number) => Count(number as usize).to_string(),
            None => number.to_string(),
        },
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Array(_) => value.to_string(),
    };
    rows.push(vec![Escaped(place).to_string(), Escaped(&text).to_string()]);
}
