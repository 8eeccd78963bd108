use coderag_core::{Sampling, config};
use serde::{Deserialize, Serialize};

use crate::{Limits, SelectionSettings};

/// All settings of the way from a question to its rows; `configs/sql.toml` lists them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Whether to run the statement; otherwise it is only checked.
    pub execute: bool,
    /// The most tokens of the model's answer.
    pub max_tokens: u32,
    /// How the model chooses its next token.
    pub sampling: Sampling,
    /// How the tables of the prompt are chosen.
    pub selection: SelectionSettings,
    /// What a statement may take.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            execute: false,
            max_tokens: 512,
            sampling: Sampling::default(),
            selection: SelectionSettings::default(),
            limits: Limits::default(),
        }
    }
}

impl Settings {
    /// Reads a TOML file; keys that it leaves out keep their defaults.
    ///
    /// # Errors
    /// As [`config::load`].
    pub fn load(path: &std::path::Path) -> coderag_core::Result<Self> {
        config::load(path)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::Value;

    use super::*;

    fn shipped() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/sql.toml")
    }

    #[test]
    fn the_shipped_file_holds_the_defaults() {
        assert_eq!(Settings::load(&shipped()).unwrap(), Settings::default());
    }

    #[test]
    fn the_shipped_file_lists_every_key_with_a_comment() {
        fn keys(value: &Value) -> Vec<String> {
            let Value::Object(map) = value else { return Vec::new() };
            let mut keys: Vec<String> = map
                .iter()
                .flat_map(|(key, value)| {
                    let inner = keys(value).into_iter().map(move |inner| format!("{key}.{inner}"));
                    std::iter::once(key.clone()).chain(inner)
                })
                .collect();
            keys.sort();
            keys
        }
        let file: Value = config::load(&shipped()).unwrap();
        assert_eq!(keys(&file), keys(&serde_json::to_value(Settings::default()).unwrap()));
        let text = std::fs::read_to_string(shipped()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for pair in lines.windows(2).filter(|pair| pair[1].contains(" = ")) {
            assert!(pair[0].starts_with('#'), "no comment above `{}`", pair[1]);
        }
    }

    #[test]
    fn a_missing_key_is_its_default_and_an_unknown_one_an_error() {
        let some: Settings =
            config::parse("[limits]\ndeadline_seconds = 0.5\n", "sql.toml").unwrap();
        assert_eq!(some.limits.deadline.as_millis(), 500);
        assert_eq!(some.limits.max_rows, Limits::default().max_rows);
        let error = config::parse::<Settings>("[limits]\nmax_row = 5\n", "sql.toml").unwrap_err();
        assert_eq!(
            error.to_string(),
            "sql.toml: line 2: unknown key `max_row`; did you mean `max_rows`?"
        );
        for seconds in ["0.0", "-1.0", "nan", "1e300"] {
            let text = format!("[limits]\ndeadline_seconds = {seconds}\n");
            let error = config::parse::<Settings>(&text, "sql.toml").unwrap_err().to_string();
            assert!(error.contains("is not a number of seconds above 0"), "{error}");
        }
    }
}
