//! SQLite decides: what matches gives the same rows, and the canonical text is SQL of its own that
//! gives the rows of the query it stands for.

use coderag_eval::structure::{NormalizationOptions, normalize, structural_match};
use rusqlite::Connection;

use super::generate::{database, query};
use super::mutate::mutant;
use super::{KEPT, LOOSEST, bag, rows, schema};

/// How many times the number of cases of a test is to be run; 1 by default.
fn factor() -> u64 {
    std::env::var("CODERAG_FUZZ_FACTOR").map_or(1, |factor| factor.parse().unwrap())
}

#[test]
fn a_query_matches_its_other_spellings_and_its_canonical_text_gives_the_same_rows() {
    let databases: Vec<Connection> = (0..4).map(|seed| database(seed, 0)).collect();
    let schema = schema();
    let cases = 1_200 * factor();
    let mut unmatched = Vec::new();
    for case in 0..cases {
        let one = query(case, 2 * case + 1);
        let other = query(case, 2 * case + 2);
        let database = &databases[case as usize % databases.len()];
        let result = if one.is_ordered { rows } else { bag };
        let expected = result(database, &one.sql).unwrap();
        assert_eq!(result(database, &other.sql).unwrap(), expected, "{}\n{}", one.sql, other.sql);
        let canonical = normalize(&one.sql, &schema, KEPT).unwrap();
        assert!(canonical.is_understood(), "{}", one.sql);
        let text = canonical.to_string();
        assert_eq!(result(database, &text).as_ref(), Ok(&expected), "{}\n{text}", one.sql);
        let canonical_again = normalize(&text.replace('#', "_x"), &schema, KEPT).unwrap();
        if canonical_again != canonical {
            unmatched.push((case, KEPT));
        }
        for options in [KEPT, NormalizationOptions::default(), LOOSEST] {
            if !structural_match(&one.sql, &other.sql, &schema, options).unwrap() {
                unmatched.push((case, options));
            }
        }
    }
    println!("{cases} queries in two spellings each, not recognised: {}", unmatched.len());
    // Beyond the cases that run by default, a symmetric self-join within a subquery or an operand
    // may be missed.
    assert!(unmatched.len() as u64 * 2_000 < cases, "{unmatched:?}");
}

/// Whether SQL may leave the result open in a way that three databases need not show: columns
/// that are no keys come from any row of a group, and a subquery that stands for a value gives any
/// of its rows.
fn may_be_open(sql: &str) -> bool {
    let aggregates = ["count(", "sum(", "avg(", "min(", "max("];
    let of_several_rows = sql.match_indices("(SELECT ").any(|(place, _)| {
        let of_rows = ["IN ", "EXISTS ", "FROM ", "JOIN ", "AS "];
        !of_rows.iter().any(|word| sql[..place].ends_with(word))
    });
    of_several_rows
        || sql.contains(" GROUP BY ")
        || aggregates.iter().any(|aggregate| sql.contains(aggregate))
}

#[test]
fn a_mutant_that_matches_gives_the_same_rows_and_none_is_repaired() {
    // Each database in three physical orders: a result that depends on them is not determined.
    let databases: Vec<Vec<Connection>> =
        (0..3).map(|seed| (0..3).map(|variant| database(seed, variant)).collect()).collect();
    let schema = schema();
    let (mut ran, mut failed, mut matched, mut arbitrary) = (0, 0, 0, 0);
    for case in 0..5_000 * factor() {
        let original = query(case / 4, case).sql;
        let mutant = mutant(&original, case ^ 0xABCDEF);
        let Ok(canonical) = normalize(&mutant, &schema, KEPT) else { continue };
        let text = canonical.to_string();
        let matches = structural_match(&original, &mutant, &schema, KEPT).unwrap();
        let results: Vec<_> =
            databases.iter().flatten().map(|database| bag(database, &mutant)).collect();
        if results.iter().all(Result::is_err) {
            failed += 1;
            assert!(!matches, "an error matches:\n{original}\n{mutant}");
            let repaired = canonical.is_understood()
                && databases.iter().any(|variants| bag(&variants[0], &text).is_ok());
            assert!(!repaired, "{:?}\n{mutant}\n{text}", results[0]);
            continue;
        }
        let determined = results.iter().all(Result::is_ok)
            && results.chunks(3).all(|variants| variants.iter().all(|rows| *rows == variants[0]));
        if !determined {
            continue;
        }
        ran += 1;
        matched += usize::from(matches);
        let sql = [
            Some(&text).filter(|_| canonical.is_understood()),
            Some(&original).filter(|_| matches),
        ];
        for (variants, expected) in databases.iter().zip(results.chunks(3)) {
            for sql in sql.into_iter().flatten() {
                let found = bag(&variants[0], sql);
                if found == expected[0] {
                    continue;
                }
                assert!(may_be_open(&text), "{mutant}\n{sql}\n{found:?}\n{:?}", expected[0]);
                arbitrary += 1;
            }
        }
    }
    println!(
        "{ran} mutants ran, {matched} of them still match, {arbitrary} left open; {failed} failed"
    );
    assert!(arbitrary * 300 < ran, "{arbitrary}");
    assert!(ran > 500 && failed > 500 && matched > 200);
}

#[test]
fn without_a_schema_matches_are_as_sound() {
    let databases: Vec<Vec<Connection>> =
        (0..2).map(|seed| (0..3).map(|variant| database(seed, variant)).collect()).collect();
    let schema = coderag_eval::structure::SchemaColumns::new();
    let mut matched = 0;
    for case in 0..3_000 * factor() {
        let original = query(case / 4, case).sql;
        let other = if case % 2 == 0 {
            query(case / 4, case + 1).sql
        } else {
            mutant(&original, case ^ 0xFEDCBA)
        };
        if !matches!(structural_match(&original, &other, &schema, KEPT), Ok(true)) {
            continue;
        }
        matched += 1;
        for variants in &databases {
            let results: Vec<_> = variants.iter().map(|database| bag(database, &other)).collect();
            if results[0].is_ok() && results.iter().all(|rows| *rows == results[0]) {
                assert_eq!(bag(&variants[0], &original), results[0], "{original}\n{other}");
            }
        }
    }
    println!("{matched} pairs match");
    assert!(matched > 200);
}
