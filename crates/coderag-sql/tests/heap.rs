//! Alone in its process, because SQLite's heap limit is the process's.
#![allow(clippy::unwrap_used)]

mod fixture;

use std::time::Duration;

use coderag_sql::{Error, Limits};
use fixture::Fixture;

#[test]
fn a_statement_cannot_take_more_than_the_heap() {
    let bakery = Fixture::bakery();
    let limits =
        Limits { heap_bytes: 50_000_000, deadline: Duration::from_secs(60), ..Limits::default() };
    let database = bakery.open_with(&limits);
    let values = vec!["hex(randomblob(400000))"; 500].join(",");
    match database.execute(&format!("SELECT {values}")) {
        Err(Error::TooLarge { message }) => assert_eq!(message, "out of memory"),
        other => panic!("{other:?}"),
    }
    // Sorting far more than the heap goes through temporary files.
    let sorted = database
        .execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 200)
             SELECT count(*) FROM (SELECT hex(randomblob(400000)) AS h FROM n ORDER BY h LIMIT 1000)",
        )
        .unwrap();
    assert_eq!(sorted.rows.len(), 1);
}
