use std::fmt;

use regex::Regex;

/// A regular expression for the dotted paths of modules, such as `encoder.layer.0.attention.self.query`.
#[derive(Clone)]
pub struct ModulePattern {
    source: String,
    compiled: Regex,
}

impl ModulePattern {
    /// A pattern that a whole path must match, as Python's `re.fullmatch`.
    ///
    /// # Errors
    /// The reason why the expression cannot be used. Look-around and back-references, which Python has,
    /// are not supported.
    pub fn whole(source: &str) -> Result<Self, String> {
        Self::compile(source, &format!(r"\A(?:{source})\z"))
    }

    /// A pattern that the end of a path must match, from its beginning or from after a dot: how PEFT reads
    /// the keys of `rank_pattern` and `alpha_pattern` (`get_pattern_key`).
    ///
    /// # Errors
    /// As [`ModulePattern::whole`].
    pub fn ending(source: &str) -> Result<Self, String> {
        Self::compile(source, &format!(r"\A(?:.*\.)?(?:{source})\z"))
    }

    fn compile(source: &str, anchored: &str) -> Result<Self, String> {
        // The message for the plain source points to the right column.
        let compiled = Regex::new(source).and_then(|_| Regex::new(anchored));
        let compiled = compiled.map_err(|error| {
            format!("`{source}` cannot be used as a regular expression: {error}")
        })?;
        Ok(Self { source: source.to_owned(), compiled })
    }

    /// Whether a module's path matches.
    pub fn matches(&self, module: &str) -> bool {
        self.compiled.is_match(module)
    }

    /// The expression as it was given.
    pub fn source(&self) -> &str {
        &self.source
    }
}

impl PartialEq for ModulePattern {
    fn eq(&self, other: &Self) -> bool {
        self.compiled.as_str() == other.compiled.as_str()
    }
}

impl fmt::Debug for ModulePattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.source, formatter)
    }
}
