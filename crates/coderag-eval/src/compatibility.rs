/// What to do where an official script has a defect.
///
/// | official behaviour | sensible | strict |
/// | --- | --- | --- |
/// | `value` anywhere in a prediction becomes `1` (test-suite) | left alone | reproduced |
/// | the quick reject calls rows unequal that hold `1` for `1.0` (test-suite) | not done | reproduced |
/// | the time limit of a statement never fires | it does | none, unless one is given |
/// | predictions may write to the database, and what they create or drop is so for later questions | refused | on a private copy |
/// | `order by` anywhere in the gold query makes the order count (test-suite) | at its top level | reproduced |
/// | of several statements the first is run (test-suite without `--keep-distinct`) | an error | reproduced |
/// | every token DISTINCT goes from both queries, also that of `IS DISTINCT FROM` (test-suite) | that of a comparison stays | reproduced |
/// | a text without a statement has an empty result | an error | reproduced |
/// | results are compared column by column under the parsed names (spider) | as in the test-suite script | reproduced |
/// | a prediction's changes show in the gold query's result (BIRD, spider) | refused | reproduced |
/// | predictions belong to questions by their order in the file, not by their keys (BIRD) | by key | reproduced |
/// | an exception ends the whole run | the question is scored as far as it can be, and says so | the metric in which it was raised is 0 |
///
/// Never reproduced are attaching other files, VACUUM, which SQLite does by attaching one, and using up
/// the machine's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compatibility {
    /// The sensible thing.
    #[default]
    Sensible,
    /// The same result as the official script for every question.
    Strict,
}

impl Compatibility {
    /// Whether defects are reproduced.
    pub fn is_strict(self) -> bool {
        self == Self::Strict
    }
}
