use coderag_sql::Value;

use super::comparison_error::ComparisonError;
use super::frame::Frame;
use super::minimal_queries::minimal_queries;
use super::normalize::{RowOrder, normalize};
use super::order_by::asks_for_order;
use super::subset::is_subset;
use crate::Compatibility;

/// What a query returned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// The rows, each with one value a column.
    pub rows: Vec<Vec<Value>>,
}

/// How a prediction fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// It returns the gold table.
    pub exact: bool,
    /// It returns the gold table, perhaps with more columns. Whatever is exact is also correct.
    pub correct: bool,
}

/// What of a question decides how its results are compared.
#[derive(Clone, Copy, Debug)]
pub struct Comparer<'a> {
    /// The question in English, which may ask for an order.
    pub question: &'a str,
    /// The category of the question; `order_by` asks for an order.
    pub category: &'a str,
    /// The gold query with all its alternatives, as the questions file has it.
    pub gold_sql: &'a str,
    /// The predicted query.
    pub predicted_sql: &'a str,
    /// Whose behaviour is reproduced.
    pub compatibility: Compatibility,
}

impl Comparer<'_> {
    /// Compares the result of one gold query with that of the prediction (`compare_df`, then
    /// `subset_df`).
    ///
    /// # Errors
    /// [`ComparisonError`], where the official runner counts the question as neither exact nor
    /// correct.
    pub fn compare(&self, gold: &Table, predicted: &Table) -> Result<Comparison, ComparisonError> {
        self.compare_frames(&Frame::of(gold)?, &Frame::of(predicted)?)
    }

    /// Compares the prediction's result with that of each gold query until one is exact
    /// (`compare_query_results`). `execute` is called with each query in turn, and no more often
    /// than needed; see [`minimal_queries`] for how many there may be.
    ///
    /// # Errors
    /// [`ComparisonError`] when one of the gold queries before the exact one cannot be run or
    /// compared, even if an earlier one was correct, as in the official script.
    pub fn compare_alternatives<E>(
        &self,
        predicted: &Table,
        mut execute: impl FnMut(&str) -> Result<Table, E>,
    ) -> Result<Comparison, ComparisonError>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let predicted = Frame::of(predicted)?;
        let mut correct = false;
        for query in minimal_queries(self.gold_sql)? {
            let gold = match execute(&query) {
                Ok(gold) => gold,
                Err(source) => {
                    return Err(ComparisonError::Gold { query, source: source.into() });
                }
            };
            let comparison = self.compare_frames(&Frame::of(&gold)?, &predicted)?;
            if comparison.exact {
                return Ok(comparison);
            }
            correct |= comparison.correct;
        }
        Ok(Comparison { exact: false, correct })
    }

    fn compare_frames(
        &self,
        gold: &Frame<'_>,
        predicted: &Frame<'_>,
    ) -> Result<Comparison, ComparisonError> {
        let ordered = asks_for_order(self.category, self.question);
        let exact = self.is_exact(gold, predicted, ordered)?;
        let correct = exact || is_subset(gold, predicted, ordered, self.compatibility)?;
        Ok(Comparison { exact, correct })
    }

    /// The official `compare_df`.
    fn is_exact(
        &self,
        gold: &Frame<'_>,
        predicted: &Frame<'_>,
        ordered: bool,
    ) -> Result<bool, ComparisonError> {
        if gold.equals_elementwise(predicted, self.compatibility) == Some(true) {
            return Ok(true);
        }
        let order = |sql| RowOrder::of(ordered, Some(sql));
        let mut gold = normalize(gold, &order(self.gold_sql), self.compatibility)?;
        let mut predicted = normalize(predicted, &order(self.predicted_sql), self.compatibility)?;
        if gold.shape() != predicted.shape() {
            return Ok(false);
        }
        if self.compatibility == Compatibility::Strict {
            gold = gold.with_nulls_filled()?;
            predicted = predicted.with_nulls_filled()?;
        }
        Ok(gold.equals_elementwise(&predicted, self.compatibility) == Some(true))
    }
}
