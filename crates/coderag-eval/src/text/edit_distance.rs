/// How similar two texts are by their Levenshtein distance: 1 - distance / the length of the longer,
/// from 0 (nothing in common) to 1 (equal, or both empty). rapidfuzz calls it
/// `Levenshtein.normalized_similarity`.
///
/// An edit inserts, deletes or replaces one Unicode scalar value; lengths count those too. Texts are
/// compared as they are, without normalisation. The time is proportional to the product of the lengths.
pub fn edit_similarity(left: &str, right: &str) -> f64 {
    strsim::normalized_levenshtein(left, right)
}
