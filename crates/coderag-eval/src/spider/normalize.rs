//! What exact set match leaves out of a query before it compares: values, DISTINCT, and which of
//! several equivalent columns is named (`rebuild_sql_val` and `rebuild_sql_col` of `evaluation.py`).
//!
//! Three gaps are the official script's: a subquery in FROM keeps its values, and subqueries in FROM
//! and in conditions keep DISTINCT and their columns as written.

use super::schema::{SchemaId, SpiderSchema};
use super::syntax::{ColumnUnit, Condition, Operand, Query, TableUnit, ValueUnit};

/// A condition stands where the official script expects another kind of entry; it ends there with an
/// exception that nobody catches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfficialCrash;

/// Normalises a query for [`super::components`].
///
/// # Errors
/// [`OfficialCrash`] when two connectives follow each other in a condition list.
pub(crate) fn normalize(query: &mut Query, schema: &SpiderSchema) -> Result<(), OfficialCrash> {
    let tables: Vec<SchemaId> = (query.from.units.iter())
        .filter_map(|unit| match unit {
            TableUnit::Table(table) => Some(*table),
            TableUnit::Query(_) => None,
        })
        .collect();
    drop_values(query)?;
    merge_columns(query, schema, &tables)
}

fn drop_values(query: &mut Query) -> Result<(), OfficialCrash> {
    for conditions in [&mut query.from.conditions, &mut query.having, &mut query.filter] {
        for condition in conditions.iter_mut().step_by(2) {
            let Condition::Comparison(comparison) = condition else { return Err(OfficialCrash) };
            for operand in [&mut comparison.first, &mut comparison.second] {
                match operand {
                    Some(Operand::Query(query)) => drop_values(query)?,
                    _ => *operand = None,
                }
            }
        }
    }
    for operand in [&mut query.intersect, &mut query.except, &mut query.union] {
        operand.as_deref_mut().map_or(Ok(()), drop_values)?;
    }
    Ok(())
}

fn merge_columns(
    query: &mut Query,
    schema: &SpiderSchema,
    tables: &[SchemaId],
) -> Result<(), OfficialCrash> {
    let merge = |unit: &mut ColumnUnit| {
        unit.column = schema.representative(unit.column, tables);
        unit.distinct = None;
    };
    let merge_both = |unit: &mut ValueUnit| {
        merge(&mut unit.first);
        unit.second.iter_mut().for_each(merge);
    };
    query.select.distinct = None;
    query.select.units.iter_mut().for_each(|(_, unit)| merge_both(unit));
    query.group_by.iter_mut().for_each(merge);
    query.order_by.iter_mut().flat_map(|order_by| &mut order_by.units).for_each(merge_both);
    for conditions in [&mut query.from.conditions, &mut query.filter, &mut query.having] {
        for condition in conditions.iter_mut().step_by(2) {
            let Condition::Comparison(comparison) = condition else { return Err(OfficialCrash) };
            merge_both(&mut comparison.unit);
        }
    }
    // The right side of a set operation counts the tables of the left side.
    for operand in [&mut query.intersect, &mut query.except, &mut query.union] {
        operand.as_deref_mut().map_or(Ok(()), |query| merge_columns(query, schema, tables))?;
    }
    Ok(())
}
