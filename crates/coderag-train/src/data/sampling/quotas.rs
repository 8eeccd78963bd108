use crate::{Error, Result};

/// How many rows of each source an epoch draws; as many in all as there are rows.
///
/// Without weights and at temperature 1 that is every row once. Otherwise the shares are rounded to whole
/// rows by the largest remainders.
pub(super) fn quotas(
    rows: &[usize],
    weights: &[Option<f64>],
    temperature: f64,
) -> Result<Vec<u64>> {
    let weighted = weights.iter().any(Option::is_some);
    if !weighted && temperature == 1.0 {
        return Ok(rows.iter().map(|rows| *rows as u64).collect());
    }
    // libm, because the standard library's powers differ between machines in the last digit.
    let natural = |rows: usize| libm::pow(rows as f64, 1.0 / temperature);
    let shares: Vec<f64> = (rows.iter().zip(weights))
        .map(|(rows, weight)| weight.unwrap_or_else(|| natural(*rows)))
        .collect();
    let (total, sum) = (rows.iter().sum::<usize>() as f64, shares.iter().sum::<f64>());
    let exact: Vec<f64> = shares.iter().map(|share| total * (share / sum)).collect();
    let mut quotas: Vec<u64> = exact.iter().map(|exact| exact.floor() as u64).collect();
    let missing = (total as u64).saturating_sub(quotas.iter().sum());
    let mut by_remainder: Vec<usize> = (0..rows.len()).collect();
    by_remainder.sort_by(|left, right| exact[*right].fract().total_cmp(&exact[*left].fract()));
    for source in by_remainder.into_iter().cycle().take(missing as usize) {
        quotas[source] += 1;
    }
    match quotas.iter().position(|quota| *quota == 0) {
        Some(source) => Err(Error::Setting {
            setting: "weight",
            problem: format!(
                "an epoch of {total} rows would draw none of source {}; raise its weight",
                source + 1
            ),
        }),
        None => Ok(quotas),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_follow_the_weights_and_add_up_to_all_rows() {
        assert_eq!(quotas(&[7, 5], &[None, None], 1.0).unwrap(), [7, 5]);
        assert_eq!(quotas(&[10, 90], &[Some(1.0), Some(1.0)], 1.0).unwrap(), [50, 50]);
        assert_eq!(quotas(&[1, 1, 8], &[Some(1.0); 3], 1.0).unwrap(), [4, 3, 3]);
        // Square roots: 10 to 30.
        assert_eq!(quotas(&[100, 900], &[None, None], 2.0).unwrap(), [250, 750]);
    }

    #[test]
    fn a_source_that_would_never_be_drawn_from_is_refused() {
        let message = quotas(&[5, 5], &[Some(1.0), Some(0.001)], 1.0).unwrap_err().to_string();
        assert!(message.contains("none of source 2"), "{message}");
    }
}
