use std::cmp::Ordering;

use super::cell::Class;
use super::comparison_error::ComparisonError;
use super::frame::{Column, Frame, Kind};
use super::order_by::{OrderBy, order_by};
use crate::Compatibility;

/// How the rows of a table are put in order before they are compared.
#[derive(Clone, Debug)]
pub(super) enum RowOrder {
    /// By all columns.
    Sorted,
    /// As they are.
    Kept,
    /// By the columns named in an ORDER BY, then by the others; the named ones come last.
    By(OrderBy),
}

impl RowOrder {
    /// For a question whose rows have an order or not, and the text of the query, where known.
    pub(super) fn of(ordered: bool, sql: Option<&str>) -> Self {
        if !ordered {
            return Self::Sorted;
        }
        sql.and_then(order_by).map_or(Self::Kept, Self::By)
    }
}

/// The official `normalize_table`: without repeated rows, the columns sorted by name, the rows put
/// in order.
///
/// # Errors
/// With [`Compatibility::Strict`] only: [`ComparisonError::AmbiguousColumn`] and
/// [`ComparisonError::UnsortableColumn`] where pandas raises an exception.
pub(super) fn normalize<'a>(
    frame: &Frame<'a>,
    order: &RowOrder,
    compatibility: Compatibility,
) -> Result<Frame<'a>, ComparisonError> {
    let frame = frame.without_repeated_rows();
    let names = frame.names();
    let mut by_name: Vec<usize> = (0..names.len()).collect();
    by_name.sort_by_key(|&at| names.get(at));
    let frame = match compatibility {
        // `reindex` refuses repeated names, except where there is nothing to reorder.
        Compatibility::Strict if !names.is_sorted() => {
            no_repeated_name(&frame)?;
            frame.with_columns(&by_name)
        }
        _ => frame.with_columns(&by_name),
    };

    let all: Vec<usize> = (0..frame.columns.len()).collect();
    let mut frame = match order {
        RowOrder::Kept => frame,
        RowOrder::Sorted => sorted(&frame, &all, true, compatibility)?,
        RowOrder::By(order) => {
            let names = frame.names();
            let named: Vec<usize> = order
                .words
                .iter()
                .flat_map(|word| all.iter().copied().filter(|&at| names.get(at) == Some(&&**word)))
                .collect();
            let others: Vec<usize> = all.iter().copied().filter(|at| !named.contains(at)).collect();
            let sorted =
                sorted(&frame, &[&*named, &*others].concat(), order.ascending, compatibility)?;
            sorted.with_columns(&[others, named].concat())
        }
    };
    frame.name_columns_apart();
    Ok(frame)
}

/// `DataFrame.sort_values` by the columns at these positions, which are all of them at least once.
fn sorted<'a>(
    frame: &Frame<'a>,
    by: &[usize],
    ascending: bool,
    compatibility: Compatibility,
) -> Result<Frame<'a>, ComparisonError> {
    if compatibility == Compatibility::Strict {
        no_repeated_name(frame)?;
        let unsortable = frame.columns.iter().find(|column| {
            // A single key is sorted as Python compares; several are made categories first.
            if by.len() == 1 { !column.is_of_one_class() } else { !has_ordered_categories(column) }
        });
        if let Some(column) = unsortable {
            return Err(ComparisonError::UnsortableColumn { name: column.name.clone() });
        }
    }
    let mut rows: Vec<usize> = (0..frame.rows).collect();
    rows.sort_by(|&left, &right| {
        by.iter()
            .filter_map(|&at| {
                let cells = &frame.columns.get(at)?.cells;
                Some(cells.get(left)?.order(*cells.get(right)?, ascending))
            })
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    });
    Ok(frame.with_rows(&rows))
}

/// `Categorical(column, ordered=True)` puts all text behind everything else, so only numbers among
/// blobs are refused.
fn has_ordered_categories(column: &Column<'_>) -> bool {
    if column.kind != Kind::Object {
        return true;
    }
    let has = |class| column.cells.iter().any(|cell| cell.class() == Some(class));
    !(has(Class::Number) && has(Class::Blob))
}

fn no_repeated_name(frame: &Frame<'_>) -> Result<(), ComparisonError> {
    let names = frame.names();
    let repeated = names
        .iter()
        .enumerate()
        .find(|(at, name)| names.iter().skip(at + 1).any(|other| other == *name));
    match repeated {
        Some((_, name)) => Err(ComparisonError::AmbiguousColumn { name: (*name).to_owned() }),
        None => Ok(()),
    }
}
