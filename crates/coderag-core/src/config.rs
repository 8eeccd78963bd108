//! Strict TOML configuration: an unknown key is an error that names the nearest valid one.

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// Reads a TOML file into `T`, which should carry `#[serde(deny_unknown_fields)]`.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read, [`Error::UnknownKey`] for a key `T` does not have,
/// [`Error::Config`] for anything else the parser refuses.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    parse(&text, &path.display().to_string())
}

/// Parses TOML text; `origin` names it in errors.
///
/// # Errors
/// As [`load`], less the reading.
pub fn parse<T: DeserializeOwned>(text: &str, origin: &str) -> Result<T> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
        // serde reports an unknown key only in words: "unknown field `k`, expected one of `a`, `b`".
        let mut quoted = error.message().split('`').skip(1).step_by(2);
        if error.message().starts_with("unknown field")
            && let Some(key) = quoted.next()
        {
            return Error::UnknownKey {
                origin: origin.to_owned(),
                line,
                key: key.to_owned(),
                nearest: nearest(key, quoted),
            };
        }
        Error::Config {
            origin: origin.to_owned(),
            message: error.to_string().trim_end().to_owned(),
        }
    })
}

/// The candidate most similar to `name`, if any is similar enough to be what was meant.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    /// Below this Jaro-Winkler similarity a suggestion confuses more than it helps.
    const LEAST_SIMILARITY: f64 = 0.7;
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity >= LEAST_SIMILARITY)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, candidate)| candidate.to_owned())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[allow(dead_code)]
        inner: Inner,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[allow(dead_code)]
        max_rows: u32,
        #[allow(dead_code)]
        timeout: f64,
    }

    fn refusal(text: &str) -> String {
        parse::<Outer>(text, "sql.toml").unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_key_names_the_line_and_the_nearest_key() {
        assert_eq!(
            refusal("[inner]\nmax_rows = 3\ntimout = 1.0\n"),
            "sql.toml: line 3: unknown key `timout`; did you mean `timeout`?"
        );
        assert_eq!(refusal("zzz = 1\n"), "sql.toml: line 1: unknown key `zzz`");
    }

    #[test]
    fn a_wrong_type_names_the_line() {
        let message = refusal("[inner]\nmax_rows = \"many\"\ntimeout = 1.0\n");
        assert!(message.contains("line 2") && message.contains("u32"), "{message}");
    }
}
