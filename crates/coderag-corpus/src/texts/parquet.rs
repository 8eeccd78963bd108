use std::path::Path;

use super::row;
use crate::Result;
use crate::columns::batches;

/// One column of a Parquet file, in which a null is an error.
pub(super) fn texts(
    path: &Path,
    field: &str,
) -> Result<impl Iterator<Item = Result<String>> + Send + use<>> {
    let (path, field) = (path.to_owned(), field.to_owned());
    let mut number = 0;
    let batches = batches(&path, [&field])?;
    Ok(batches.flat_map(move |arrays| {
        let texts: Vec<Result<String>> = match arrays {
            Ok(arrays) => arrays
                .iter()
                .flat_map(|array| array.iter())
                .map(|text| {
                    number += 1;
                    let null = || row(&path, "row", number, format!("`{field}` is null"));
                    text.map(str::to_owned).ok_or_else(null)
                })
                .collect(),
            Err(error) => vec![Err(error)],
        };
        texts
    }))
}
