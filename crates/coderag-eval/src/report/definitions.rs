use std::fmt::{self, Display};

/// What the words of a report mean, by word.
#[derive(Clone, Debug)]
pub struct Definitions(pub Vec<(&'static str, &'static str)>);

impl Display for Definitions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "<dl class=\"definitions\">")?;
        for (word, meaning) in &self.0 {
            writeln!(formatter, "<dt>{word}</dt><dd>{meaning}</dd>")?;
        }
        writeln!(formatter, "</dl>")
    }
}

/// Of the shares of questions.
pub(super) const INTERVAL: (&str, &str) = (
    "95% interval",
    "The score interval of Wilson (1927): the shares that the count does not contradict at that level, \
     taking the questions as a random sample.",
);
