use serde::{Deserialize, Serialize};

/// Which columns of a file hold what. Other columns are ignored.
///
/// In a configuration: `columns = { anchor = "query", positive = "doc" }`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Columns {
    /// The anchor's column.
    pub anchor: String,
    /// The positive's column.
    pub positive: String,
    /// The negatives' column, a text or a list of texts; with `NAME_1`, `NAME_2` and so on as further
    /// columns. Unless it is named, `negatives` and `negative` are taken where there are any.
    pub negatives: Option<String>,
    /// The column with a teacher's scores, a list: the positive's, then each negative's. Unless it is
    /// named, there are none.
    pub scores: Option<String>,
}

impl Default for Columns {
    fn default() -> Self {
        Self {
            anchor: "anchor".to_owned(),
            positive: "positive".to_owned(),
            negatives: None,
            scores: None,
        }
    }
}

impl Columns {
    /// Those of `names` that hold negatives: a plain name first, then numbered ones by their number.
    pub(super) fn negatives<'a>(&self, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
        let bases = match &self.negatives {
            Some(name) => &[name.as_str()][..],
            None => &["negatives", "negative"],
        };
        let mut found: Vec<(u64, &str)> = names
            .filter_map(|name| {
                let rest = bases.iter().find_map(|base| name.strip_prefix(base))?;
                match rest.strip_prefix('_') {
                    Some(number) => Some((number.parse().ok()?, name)),
                    None => rest.is_empty().then_some((0, name)),
                }
            })
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, name)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negatives_are_found_by_name_and_in_order_of_their_numbers() {
        let names =
            ["negative_10", "anchor", "negative_2", "negatives", "negative_x", "negativity"];
        let found = Columns::default().negatives(names.into_iter());
        assert_eq!(found, ["negatives", "negative_2", "negative_10"]);
        let hard = Columns { negatives: Some("hard".to_owned()), ..Columns::default() };
        assert_eq!(hard.negatives(["hard_1", "negative", "hard"].into_iter()), ["hard", "hard_1"]);
    }
}
