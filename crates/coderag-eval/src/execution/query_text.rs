//! Replacements in the text of a query before it runs: `exec_eval.py` of
//! taoyds/test-suite-sql-eval.

use crate::python_text::is_space;

/// `> =`, `< =` and `! =` without the space, which models put in: `postprocess`.
pub fn postprocess(query: &str) -> String {
    query.replace("> =", ">=").replace("< =", "<=").replace("! =", "!=")
}

/// Each `YEAR(CURDATE())`, which SQLite lacks, as `2020`: `replace_cur_year`.
///
/// Case and space do not matter. Space behind it is taken with it, and a longer name that ends in
/// `YEAR` loses this ending.
pub fn replace_current_year(query: &str) -> String {
    let mut replaced = String::with_capacity(query.len());
    let mut rest = query;
    while let Some(found) =
        rest.as_bytes().windows(4).position(|four| four.eq_ignore_ascii_case(b"year"))
    {
        let (before, from) = rest.split_at_checked(found).unwrap_or((rest, ""));
        replaced.push_str(before);
        match after_current_year(from) {
            Some(after) => {
                replaced.push_str("2020");
                rest = after;
            }
            None => {
                let (year, after) = from.split_at_checked(4).unwrap_or((from, ""));
                replaced.push_str(year);
                rest = after;
            }
        }
    }
    replaced.push_str(rest);
    replaced
}

/// What follows `YEAR ( CURDATE ( ) )` at the beginning of a text, and the space behind that.
fn after_current_year(text: &str) -> Option<&str> {
    ["year", "(", "curdate", "(", ")", ")"].into_iter().try_fold(text, |rest, part| {
        let (beginning, after) = rest.split_at_checked(part.len())?;
        beginning.eq_ignore_ascii_case(part).then(|| after.trim_start_matches(is_space))
    })
}
