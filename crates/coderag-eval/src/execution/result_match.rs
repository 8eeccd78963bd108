//! Whether two results say the same (`result_eq` of `exec_eval.py`; Zhong et al. 2020,
//! <https://arxiv.org/abs/2010.02840>): equal bags of rows under some order of the columns, and equal
//! lists of rows where the gold query orders them.

use std::collections::HashMap;

use coderag_sql::Value;

use crate::python_value::{Key, text_and_type};

/// The rows of a result, each with one value a column.
pub type RowSlice<'r> = &'r [Vec<Value>];

/// How many values the search for an order of columns may look at. Results of queries need a few
/// times their size; only ones made to be hard need more.
const MOST_STEPS: usize = 200_000_000;

/// How two results compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultMatch {
    /// They say the same.
    Equal,
    /// They have different numbers of rows.
    RowCounts,
    /// They have different numbers of columns.
    ColumnCounts,
    /// They have the same rows in another order, which counts.
    Order,
    /// They have other values.
    Values,
    /// Whether they say the same was not found out within reasonable time; they count as unequal.
    Undecided,
}

/// Compares two results.
pub fn match_results(gold: RowSlice<'_>, prediction: RowSlice<'_>, ordered: bool) -> ResultMatch {
    if gold.is_empty() && prediction.is_empty() {
        return ResultMatch::Equal;
    }
    if gold.len() != prediction.len() {
        return ResultMatch::RowCounts;
    }
    let width = |rows: RowSlice<'_>| rows.first().map_or(0, Vec::len);
    if width(gold) != width(prediction) {
        return ResultMatch::ColumnCounts;
    }
    let mut numbers = HashMap::new();
    let gold = Columns::of(gold, &mut numbers);
    let prediction = Columns::of(prediction, &mut numbers);
    if !ordered {
        return gold.match_as_bags(&prediction);
    }
    if gold.match_as_lists(&prediction) {
        return ResultMatch::Equal;
    }
    match gold.match_as_bags(&prediction) {
        ResultMatch::Equal => ResultMatch::Order,
        other => other,
    }
}

/// Whether the official quick reject calls the results unequal, which it does too often: the values of
/// each row are sorted by how they print, and `1` prints otherwise than the equal `1.0`.
pub fn officially_rejected(gold: RowSlice<'_>, prediction: RowSlice<'_>, ordered: bool) -> bool {
    let mut numbers = HashMap::new();
    let mut gold = rows_sorted_by_text(gold, &mut numbers);
    let mut prediction = rows_sorted_by_text(prediction, &mut numbers);
    if !ordered {
        for rows in [&mut gold, &mut prediction] {
            rows.sort_unstable();
            rows.dedup();
        }
    }
    gold != prediction
}

fn rows_sorted_by_text<'v>(
    rows: &'v [Vec<Value>],
    numbers: &mut HashMap<Key<'v>, u32>,
) -> Vec<Vec<u32>> {
    rows.iter()
        .map(|row| {
            // Python's sort is stable, too.
            let mut values: Vec<&Value> = row.iter().collect();
            values.sort_by_cached_key(|value| text_and_type(value));
            values.into_iter().map(|value| number(Key::of(value), numbers)).collect()
        })
        .collect()
}

/// Equal keys get equal numbers.
fn number<K: Eq + std::hash::Hash>(key: K, numbers: &mut HashMap<K, u32>) -> u32 {
    let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
    *numbers.entry(key).or_insert(next)
}

/// A result by columns, with a number for each value.
struct Columns {
    columns: Vec<Vec<u32>>,
    rows: usize,
}

impl Columns {
    fn of<'v>(rows: &'v [Vec<Value>], numbers: &mut HashMap<Key<'v>, u32>) -> Self {
        let width = rows.first().map_or(0, Vec::len);
        let mut columns = vec![Vec::with_capacity(rows.len()); width];
        for row in rows {
            for (column, value) in columns.iter_mut().zip(row) {
                column.push(number(Key::of(value), numbers));
            }
        }
        Self { columns, rows: rows.len() }
    }

    /// With the rows in their order, the columns must be the same ones.
    fn match_as_lists(&self, other: &Self) -> bool {
        let sorted = |columns: &[Vec<u32>]| {
            let mut columns: Vec<_> = columns.to_vec();
            columns.sort_unstable();
            columns
        };
        sorted(&self.columns) == sorted(&other.columns)
    }

    /// Searches an order of the other result's columns in which both have the same bag of rows.
    fn match_as_bags(&self, other: &Self) -> ResultMatch {
        let sorted = |column: &Vec<u32>| {
            let mut column = column.clone();
            column.sort_unstable();
            column
        };
        let contents: Vec<_> = self.columns.iter().map(sorted).collect();
        let other_contents: Vec<_> = other.columns.iter().map(sorted).collect();
        let candidates: Vec<Vec<usize>> = contents
            .iter()
            .map(|content| {
                (0..other_contents.len())
                    .filter(|index| other_contents[*index] == *content)
                    .collect()
            })
            .collect();
        if candidates.iter().any(Vec::is_empty) {
            return ResultMatch::Values;
        }
        // The columns with the fewest candidates come first.
        let mut order: Vec<usize> = (0..self.columns.len()).collect();
        order.sort_by_key(|column| candidates[*column].len());
        let mut search = Search {
            columns: self,
            other,
            candidates: &candidates,
            order: &order,
            used: vec![false; other.columns.len()],
            steps: 0,
        };
        let start = vec![0; self.rows];
        match search.extend(0, &start, &start) {
            Some(true) => ResultMatch::Equal,
            Some(false) => ResultMatch::Values,
            None => ResultMatch::Undecided,
        }
    }
}

/// A depth-first search that assigns columns one by one. The rows of each result are kept in classes
/// of rows that agree in all assigned columns, and both results must have classes of the same sizes.
struct Search<'s> {
    columns: &'s Columns,
    other: &'s Columns,
    candidates: &'s [Vec<usize>],
    order: &'s [usize],
    used: Vec<bool>,
    steps: usize,
}

impl Search<'_> {
    /// Whether the columns from `depth` on can be assigned; none when that took too many steps.
    fn extend(&mut self, depth: usize, classes: &[u32], other_classes: &[u32]) -> Option<bool> {
        let Some(&column) = self.order.get(depth) else { return Some(true) };
        let mut tried: Vec<usize> = Vec::new();
        for &candidate in &self.candidates[column] {
            // Of equal columns one is as good as another.
            let is_tried = tried
                .iter()
                .any(|tried| self.other.columns[*tried] == self.other.columns[candidate]);
            if self.used[candidate] || is_tried {
                continue;
            }
            tried.push(candidate);
            self.steps += self.columns.rows;
            if self.steps > MOST_STEPS {
                return None;
            }
            let mut numbers = HashMap::new();
            let refined = refine(classes, &self.columns.columns[column], &mut numbers);
            let other_refined = refine(other_classes, &self.other.columns[candidate], &mut numbers);
            if sizes(&refined, numbers.len()) != sizes(&other_refined, numbers.len()) {
                continue;
            }
            self.used[candidate] = true;
            let found = self.extend(depth + 1, &refined, &other_refined)?;
            self.used[candidate] = false;
            if found {
                return Some(true);
            }
        }
        Some(false)
    }
}

/// The classes of rows that were in one class before and have the same value now.
fn refine(classes: &[u32], column: &[u32], numbers: &mut HashMap<(u32, u32), u32>) -> Vec<u32> {
    classes.iter().zip(column).map(|(class, value)| number((*class, *value), numbers)).collect()
}

/// How many rows each of `count` classes has.
fn sizes(classes: &[u32], count: usize) -> Vec<u32> {
    let mut sizes = vec![0; count];
    for class in classes {
        if let Some(size) = sizes.get_mut(*class as usize) {
            *size += 1;
        }
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[&[i64]]) -> Vec<Vec<Value>> {
        rows.iter().map(|row| row.iter().map(|value| Value::Integer(*value)).collect()).collect()
    }

    #[test]
    fn results_are_equal_under_some_order_of_columns() {
        let gold = rows(&[&[1, 2], &[3, 4]]);
        for (prediction, unordered, ordered) in [
            (rows(&[&[2, 1], &[4, 3]]), ResultMatch::Equal, ResultMatch::Equal),
            (rows(&[&[4, 3], &[2, 1]]), ResultMatch::Equal, ResultMatch::Order),
            // Each row alone matches, but under different orders of the columns.
            (rows(&[&[1, 2], &[4, 3]]), ResultMatch::Values, ResultMatch::Values),
            (rows(&[&[1, 2]]), ResultMatch::RowCounts, ResultMatch::RowCounts),
            (rows(&[&[1], &[3]]), ResultMatch::ColumnCounts, ResultMatch::ColumnCounts),
        ] {
            assert_eq!(match_results(&gold, &prediction, false), unordered, "{prediction:?}");
            assert_eq!(match_results(&gold, &prediction, true), ordered, "{prediction:?}");
        }
    }

    #[test]
    fn rows_are_counted_as_bags() {
        let gold = rows(&[&[1], &[1], &[2]]);
        assert_eq!(match_results(&gold, &rows(&[&[1], &[2], &[2]]), false), ResultMatch::Values);
        assert_eq!(match_results(&gold, &rows(&[&[1], &[2], &[1]]), false), ResultMatch::Equal);
    }

    #[test]
    fn results_without_rows_are_equal_whatever_their_columns() {
        assert_eq!(match_results(&[], &[], true), ResultMatch::Equal);
    }

    #[test]
    fn mixed_whole_and_real_numbers_are_rejected_by_the_official_script_alone() {
        // As text 10.0 sorts after 10, so the sorted rows differ although all values are equal.
        let gold = vec![vec![Value::Integer(10), Value::Text("10.".to_owned())]];
        let prediction = vec![vec![Value::Real(10.0), Value::Text("10.".to_owned())]];
        assert_eq!(match_results(&gold, &prediction, false), ResultMatch::Equal);
        assert!(officially_rejected(&gold, &prediction, false));
        assert!(!officially_rejected(&gold, &gold, true));
    }

    #[test]
    fn many_equal_columns_do_not_take_forever() {
        let wide = vec![vec![Value::Integer(7); 40]; 3];
        assert_eq!(match_results(&wide, &wide, false), ResultMatch::Equal);
    }
}
