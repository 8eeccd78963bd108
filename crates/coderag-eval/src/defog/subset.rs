use super::comparison_error::ComparisonError;
use super::frame::{Column, Frame};
use super::normalize::{RowOrder, normalize};
use crate::Compatibility;

/// The official `subset_df`: whether the prediction has, under whatever names, the columns of the
/// gold table with the same rows.
///
/// # Errors
/// With [`Compatibility::Strict`] only, where pandas raises an exception.
pub(super) fn is_subset(
    gold: &Frame<'_>,
    predicted: &Frame<'_>,
    ordered: bool,
    compatibility: Compatibility,
) -> Result<bool, ComparisonError> {
    if gold.rows == 0 {
        return Ok(false);
    }
    let mut gold = gold.clone();
    gold.name_columns_apart();
    let Some(matched) = matched_columns(&gold, predicted, compatibility)? else {
        return Ok(false);
    };
    let selected = renamed_as(&gold, predicted, &matched, compatibility)?;
    // The official script does not pass the queries on here, so an ordered table keeps its order.
    let order = RowOrder::of(ordered, None);
    let gold = normalize(&gold, &order, compatibility)?;
    let selected = normalize(&selected, &order, compatibility)?;
    Ok(gold.is_close(&selected))
}

/// For each gold column the position of the first free column of the prediction that has the same
/// sorted values; `None` when one finds none.
fn matched_columns(
    gold: &Frame<'_>,
    predicted: &Frame<'_>,
    compatibility: Compatibility,
) -> Result<Option<Vec<usize>>, ComparisonError> {
    let mut predicted = predicted.clone();
    predicted.name_columns_apart();
    let mut free: Vec<_> = predicted.columns.iter().enumerate().collect();
    // Sorted when first needed, since what cannot be sorted is an error only then.
    let mut sorted: Vec<Option<Column<'_>>> = vec![None; free.len()];
    let mut matched = Vec::with_capacity(gold.columns.len());

    for column in &gold.columns {
        if free.is_empty() {
            return Ok(None);
        }
        if compatibility == Compatibility::Strict {
            only_one(gold.columns.iter(), &column.name)?;
        }
        let values = column.sorted(compatibility)?;
        let mut found = None;
        for (place, &(position, candidate)) in free.iter().enumerate() {
            if compatibility == Compatibility::Strict {
                only_one(free.iter().map(|&(_, column)| column), &candidate.name)?;
            }
            let Some(slot) = sorted.get_mut(position) else { continue };
            let of_candidate = match slot {
                Some(sorted) => sorted,
                None => slot.insert(candidate.sorted(compatibility)?),
            };
            if values.is_close(of_candidate) {
                found = Some(place);
                break;
            }
        }
        let Some(place) = found else { return Ok(None) };
        let (position, _) = free.remove(place);
        matched.push(position);
    }
    Ok(Some(matched))
}

/// The matched columns of the prediction under the names of their gold columns.
fn renamed_as<'a>(
    gold: &Frame<'_>,
    predicted: &Frame<'a>,
    matched: &[usize],
    compatibility: Compatibility,
) -> Result<Frame<'a>, ComparisonError> {
    let mut told_apart = predicted.clone();
    told_apart.name_columns_apart();
    let new_names = told_apart.names();
    let old_names = predicted.names();
    let mut columns = Vec::with_capacity(matched.len());
    for (gold_column, &position) in gold.columns.iter().zip(matched) {
        let selected: Vec<usize> = match (compatibility, new_names.get(position)) {
            // The official script looks the new name up among the old ones.
            (Compatibility::Strict, Some(&name)) => {
                let same = (0..old_names.len()).filter(|&at| old_names.get(at) == Some(&name));
                let same: Vec<usize> = same.collect();
                if same.is_empty() {
                    return Err(ComparisonError::AmbiguousColumn { name: name.to_owned() });
                }
                same
            }
            _ => vec![position],
        };
        for mut column in predicted.with_columns(&selected).columns {
            column.name.clone_from(&gold_column.name);
            columns.push(column);
        }
    }
    Ok(Frame { columns, rows: predicted.rows })
}

/// A name that stands for several columns selects a table, which cannot be sorted without saying by
/// what.
fn only_one<'c, 'a: 'c>(
    mut columns: impl Iterator<Item = &'c Column<'a>>,
    name: &str,
) -> Result<(), ComparisonError> {
    let mut named = columns.by_ref().filter(|column| column.name == name);
    match (named.next(), named.next()) {
        (_, None) => Ok(()),
        _ => Err(ComparisonError::AmbiguousColumn { name: name.to_owned() }),
    }
}
