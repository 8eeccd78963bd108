/// Texts that belong together, and texts that do not.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// The text that is searched with.
    pub anchor: String,
    /// The text that should be found.
    pub positive: String,
    /// Texts that should not be found, any number.
    pub negatives: Vec<String>,
    /// A teacher's scores to distil from: the positive's, then each negative's.
    pub scores: Option<Vec<f32>>,
}

impl Example {
    /// All texts: the anchor, the positive, the negatives.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        [&self.anchor, &self.positive].into_iter().chain(&self.negatives).map(String::as_str)
    }
}
