use super::{Columns, Example};

/// What a row has in one column, whatever the file's format.
pub(super) enum Value<'a> {
    Absent,
    Null,
    Text(&'a str),
    Number(f64),
    List(Vec<Value<'a>>),
    /// Anything else, in words.
    Other(&'static str),
}

/// Makes an example of a row, or says why not. `negatives` are the columns with negatives.
///
/// Texts count as equal if they differ in white space alone, as everywhere in this module.
pub(super) fn example<'a>(
    columns: &Columns,
    negatives: &[&str],
    value: impl Fn(&str) -> Value<'a>,
) -> Result<Example, String> {
    let anchor = text(&columns.anchor, value(&columns.anchor))?;
    let positive = text(&columns.positive, value(&columns.positive))?;
    if let ([], Some(name)) = (negatives, &columns.negatives) {
        return Err(absent(name));
    }
    let mut texts = Vec::new();
    for name in negatives {
        match value(name) {
            Value::Absent | Value::Null => {}
            Value::List(items) => {
                for (index, item) in items.into_iter().enumerate() {
                    texts.push(text(&format!("{name}[{index}]"), item)?);
                }
            }
            single => texts.push(text(name, single)?),
        }
    }
    for (index, negative) in texts.iter().enumerate() {
        let same = |other: &str| negative.split_whitespace().eq(other.split_whitespace());
        for (name, other) in [(&columns.positive, &positive), (&columns.anchor, &anchor)] {
            if same(other) {
                return Err(format!("negative {} has the text of `{name}`", index + 1));
            }
        }
    }
    let scores = match &columns.scores {
        Some(name) => Some(scores(name, value(name), 1 + texts.len())?),
        None => None,
    };
    Ok(Example { anchor, positive, negatives: texts, scores })
}

fn text(name: &str, value: Value<'_>) -> Result<String, String> {
    /// Far more than any model reads; a text beyond it is damaged data.
    const LONGEST: usize = 16 << 20;
    match value {
        Value::Text("") => Err(format!("`{name}` is empty")),
        Value::Text(text) if text.len() > LONGEST => {
            Err(format!("`{name}` is longer than {} MiB", LONGEST >> 20))
        }
        // What binary data and UTF-16 have, and no text.
        Value::Text(text) if text.contains('\0') => Err(format!("`{name}` has a NUL character")),
        Value::Text(text) if text.chars().all(|c| c.is_whitespace() || c.is_control()) => {
            Err(format!("`{name}` is blank"))
        }
        Value::Text(text) => Ok(text.to_owned()),
        Value::Absent => Err(absent(name)),
        other => Err(format!("`{name}` is {}, expected a text", other.kind())),
    }
}

fn scores(name: &str, value: Value<'_>, expected: usize) -> Result<Vec<f32>, String> {
    let items = match value {
        Value::List(items) => items,
        Value::Absent => return Err(absent(name)),
        other => return Err(format!("`{name}` is {}, expected a list of numbers", other.kind())),
    };
    if items.len() != expected {
        let found = items.len();
        return Err(format!(
            "`{name}` has {found} scores, expected {expected}: the positive's, then each negative's"
        ));
    }
    let number = |(index, item)| match item {
        Value::Number(number) if (number as f32).is_finite() => Ok(number as f32),
        Value::Number(_) => Err(format!("`{name}[{index}]` is not a finite number")),
        other => Err(format!("`{name}[{index}]` is {}, expected a number", other.kind())),
    };
    items.into_iter().enumerate().map(number).collect()
}

fn absent(name: &str) -> String {
    format!("there is no `{name}`")
}

impl Value<'_> {
    fn kind(&self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Null => "null",
            Self::Text(_) => "a text",
            Self::Number(_) => "a number",
            Self::List(_) => "a list",
            Self::Other(kind) => kind,
        }
    }
}
