use std::fmt;

use serde::Serialize;

use super::normalize::OfficialCrash;
use super::syntax::{Aggregation, Condition, Conditions, Operand, Operator, Query};

/// How hard a question is by its gold query, as Spider's `eval_hardness` counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Hardness {
    /// Hardly more than a SELECT.
    Easy,
    /// One or two clauses.
    Medium,
    /// Several clauses, or one nested query.
    Hard,
    /// Everything else.
    Extra,
}

impl Hardness {
    /// All levels, from easy to extra.
    pub const ALL: [Self; 4] = [Self::Easy, Self::Medium, Self::Hard, Self::Extra];

    /// The hardness of a parsed query, before normalisation.
    ///
    /// # Errors
    /// [`OfficialCrash`] when a connective stands where a comparison belongs.
    pub fn of(query: &Query) -> Result<Self, OfficialCrash> {
        let clauses = clauses(query);
        let nested = nested(query)?;
        let others = others(query);
        let is_hard = match nested {
            0 => {
                (others > 2 && clauses <= 2)
                    || (clauses == 3 && others <= 2)
                    || (clauses <= 1 && others == 0)
            }
            1 => clauses <= 1 && others == 0,
            _ => false,
        };
        Ok(if clauses <= 1 && others == 0 && nested == 0 {
            Self::Easy
        } else if (others <= 2 && clauses <= 1 && nested == 0)
            || (clauses <= 2 && others < 2 && nested == 0)
        {
            Self::Medium
        } else if is_hard {
            Self::Hard
        } else {
            Self::Extra
        })
    }
}

impl fmt::Display for Hardness {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Easy => "easy",
            Self::Medium => "medium",
            Self::Hard => "hard",
            Self::Extra => "extra",
        })
    }
}

fn conditions(query: &Query) -> [&Conditions; 3] {
    [&query.from.conditions, &query.filter, &query.having]
}

/// `count_component1`: clauses, joins, ORs and LIKEs.
fn clauses(query: &Query) -> usize {
    let mut count = [
        !query.filter.is_empty(),
        !query.group_by.is_empty(),
        query.order_by.is_some(),
        query.limit.is_some(),
    ]
    .into_iter()
    .filter(|present| *present)
    .count();
    count += query.from.units.len().saturating_sub(1);
    for conditions in conditions(query) {
        count +=
            conditions.iter().skip(1).step_by(2).filter(|entry| **entry == Condition::Or).count();
        count += (conditions.iter().step_by(2))
            .filter(|entry| {
                matches!(entry, Condition::Comparison(comparison) if comparison.operator == Operator::Like)
            })
            .count();
    }
    count
}

/// `count_component2`: nested queries in conditions and set operations.
fn nested(query: &Query) -> Result<usize, OfficialCrash> {
    let mut count = 0;
    for conditions in conditions(query) {
        for condition in conditions.iter().step_by(2) {
            let Condition::Comparison(comparison) = condition else { return Err(OfficialCrash) };
            count += [&comparison.first, &comparison.second]
                .into_iter()
                .filter(|operand| matches!(operand, Some(Operand::Query(_))))
                .count();
        }
    }
    let operations = [&query.intersect, &query.except, &query.union];
    Ok(count + operations.into_iter().flatten().count())
}

/// `count_others`: whether there are several aggregations, selected columns, conditions or groups.
///
/// What it counts as an aggregation in WHERE and HAVING is NOT, and in HAVING each connective.
fn others(query: &Query) -> usize {
    let is_negated =
        |entry: &&Condition| matches!(entry, Condition::Comparison(comparison) if comparison.not);
    let mut aggregations = query
        .select
        .units
        .iter()
        .filter(|(aggregation, _)| *aggregation != Aggregation::None)
        .count();
    aggregations += query.filter.iter().step_by(2).filter(is_negated).count();
    aggregations +=
        query.group_by.iter().filter(|unit| unit.aggregation != Aggregation::None).count();
    aggregations += (query.order_by.iter().flat_map(|order_by| &order_by.units))
        .flat_map(|unit| std::iter::once(&unit.first).chain(&unit.second))
        .filter(|unit| unit.aggregation != Aggregation::None)
        .count();
    aggregations += (query.having.iter())
        .filter(|entry| is_negated(entry) || !matches!(entry, Condition::Comparison(_)))
        .count();
    [aggregations, query.select.units.len(), query.filter.len(), query.group_by.len()]
        .into_iter()
        .filter(|count| *count > 1)
        .count()
}
