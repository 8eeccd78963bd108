//! Running generated statements, and comparing what they return.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use coderag_eval::execution::{ResultMatch, match_results};
use coderag_sql::{Error as SqlError, GuardedDatabase, Limits, QueryResult, Value};

use super::database::GeneratedDatabase;
use super::schema::Schema;
use super::statement::parse_query;
use crate::Result;
use crate::gate::ExecutionSettings;

/// The databases on which the statements about one schema run: the live one, or several generated ones.
#[derive(Debug)]
pub(crate) struct Databases {
    databases: Vec<GuardedDatabase>,
    generated: Vec<GeneratedDatabase>,
    /// The tables that the prompt showed.
    tables: BTreeSet<String>,
}

impl Databases {
    /// The live database of a file; nothing is written to it.
    ///
    /// # Errors
    /// As [`GuardedDatabase::open`].
    pub(crate) fn live(path: &Path, schema: &Schema, limits: &Limits) -> Result<Self> {
        let databases = vec![GuardedDatabase::open(path, limits)?];
        Ok(Self { databases, generated: Vec::new(), tables: tables(schema) })
    }

    /// Databases with rows made for these statements; each is determined by `seed`, its number, the schema
    /// and the statements.
    ///
    /// # Errors
    /// As [`GeneratedDatabase::build`].
    pub(crate) fn generated(
        schema: &Schema,
        statements: &[&str],
        config: &ExecutionSettings,
        seed: u64,
    ) -> Result<Self> {
        let generated = (0..u64::from(config.databases.max(1)))
            .map(|number| {
                let seed = coderag_core::Random::derived(seed, &[number]).next_u64();
                GeneratedDatabase::build(schema, statements, config.rows, seed, &config.limits)
            })
            .collect::<Result<Vec<_>>>()?;
        let databases = generated.iter().map(|generated| generated.database().clone()).collect();
        Ok(Self { databases, generated, tables: tables(schema) })
    }

    /// The first database's schema and rows as a script; none for a live database.
    pub(crate) fn context_with_rows(&self, most: usize) -> Option<String> {
        self.generated.first().map(|generated| generated.context_with_rows(most))
    }

    /// Runs a statement on every database.
    ///
    /// # Errors
    /// Only those that have nothing to do with the statement: the database went away, or the system gave
    /// no thread.
    pub(crate) fn run(&self, sql: &str) -> Result<Result<Execution, NotRun>> {
        let ordered = parse_query(sql).is_ok_and(|query| query.order_by.is_some());
        let mut results = Vec::with_capacity(self.databases.len());
        for database in &self.databases {
            let result = match database.execute(sql) {
                Ok(result) => result,
                Err(error) => return NotRun::of(error).map(Err),
            };
            if let Some(unknown) = result
                .tables
                .iter()
                .find(|table| !self.tables.contains(&table.to_ascii_lowercase()))
            {
                let what =
                    format!("the statement reads `{unknown}`, which the schema does not have");
                return Ok(Err(NotRun::Refused(what)));
            }
            results.push(result);
        }
        Ok(Ok(Execution { results, ordered }))
    }
}

fn tables(schema: &Schema) -> BTreeSet<String> {
    schema.tables.iter().map(|table| table.name.to_ascii_lowercase()).collect()
}

/// Why a statement returned nothing; its text is a reason for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotRun {
    /// SQLite does not take it, in SQLite's words.
    Invalid(String),
    /// It is more or less than one SELECT on the tables of the schema.
    Refused(String),
    /// It ran too long.
    Deadline(Duration),
    /// It asked for too much memory.
    TooLarge(String),
}

impl NotRun {
    fn of(error: SqlError) -> Result<Self> {
        Ok(match error {
            SqlError::Sql { message, .. } => Self::Invalid(message),
            SqlError::Deadline { limit } => Self::Deadline(limit),
            SqlError::TooLarge { message } => Self::TooLarge(message),
            SqlError::Refused { .. }
            | SqlError::EmptyStatement
            | SqlError::MultipleStatements
            | SqlError::BoundParameters { .. }
            | SqlError::NulCharacter
            | SqlError::SqlTooLong { .. } => Self::Refused(error.to_string()),
            other => return Err(other.into()),
        })
    }
}

impl fmt::Display for NotRun {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(message) => write!(formatter, "the statement does not run: {message}"),
            Self::Refused(message) => formatter.write_str(message),
            Self::Deadline(limit) => {
                write!(formatter, "the statement was stopped after {} s", limit.as_secs_f64())
            }
            Self::TooLarge(message) => write!(formatter, "the statement is too large: {message}"),
        }
    }
}

/// What a statement returned on each database.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Execution {
    /// One result for each database.
    pub(crate) results: Vec<QueryResult>,
    /// Whether the statement orders its rows.
    pub(crate) ordered: bool,
}

impl Execution {
    /// Whether nothing came back from any database: no row, or one without a value, as the sum of no rows
    /// is.
    pub(crate) fn is_empty(&self) -> bool {
        self.results.iter().all(|result| {
            let mut values = result.rows.iter().flatten();
            result.rows.len() <= 1 && values.all(|value| *value == Value::Null)
        })
    }

    /// The tables that the statement reads, sorted.
    pub(crate) fn tables_used(&self) -> BTreeSet<&str> {
        self.results.iter().flat_map(|result| &result.tables).map(String::as_str).collect()
    }

    /// Whether another statement returned the same on every database; the order of rows counts if this
    /// statement gives one.
    pub(crate) fn agrees_with(&self, other: &Self) -> bool {
        self.results.len() == other.results.len()
            && self
                .results
                .iter()
                .zip(&other.results)
                .all(|(result, other)| same_result(result, other, self.ordered))
    }
}

/// Whether two results say the same, as test-suite accuracy asks ([`match_results`]), but with real
/// numbers compared by their first ten digits, because sums in another order differ behind them. Results
/// that were cut off are the same as no other.
pub(crate) fn same_result(left: &QueryResult, right: &QueryResult, ordered: bool) -> bool {
    if left.truncated || right.truncated {
        return false;
    }
    let (left, right) = (rounded(&left.rows), rounded(&right.rows));
    match_results(&left, &right, ordered) == ResultMatch::Equal
}

fn rounded(rows: &[Vec<Value>]) -> Vec<Vec<Value>> {
    let round = |value: &Value| match value {
        Value::Real(number) => Value::Real(format!("{number:.9e}").parse().unwrap_or(*number)),
        other => other.clone(),
    };
    rows.iter().map(|row| row.iter().map(round).collect()).collect()
}

#[cfg(test)]
#[expect(clippy::print_stdout, reason = "says what was found, and what was skipped")]
mod tests {
    use super::*;

    const SHOP: &str = "CREATE TABLE customer (id INT PRIMARY KEY, name TEXT, city TEXT);
        CREATE TABLE orders (id INT PRIMARY KEY, customer_id INT, total REAL, placed DATE,
            status TEXT CHECK (status IN ('open', 'paid', 'void')));";

    fn databases(statements: &[&str]) -> Databases {
        let schema = Schema::parse(SHOP).unwrap();
        Databases::generated(&schema, statements, &ExecutionSettings::default(), 1).unwrap()
    }

    fn run(databases: &Databases, sql: &str) -> Execution {
        databases.run(sql).unwrap().unwrap()
    }

    #[test]
    fn statements_that_say_the_same_agree_and_others_do_not() {
        let gold = "SELECT c.name, SUM(o.total) FROM customer c JOIN orders o ON o.customer_id = c.id \
             WHERE c.city = 'Porto' AND o.placed >= '2023-05-01' AND o.status = 'paid' GROUP BY c.id";
        let same = "SELECT SUM(total), (SELECT name FROM customer WHERE id = customer_id) FROM orders \
             WHERE status IN ('paid') AND NOT placed < '2023-05-01' AND customer_id IN \
             (SELECT id FROM customer WHERE city = 'Porto') GROUP BY customer_id";
        let wrong = [
            gold.replace(">=", ">"),
            gold.replace("'paid'", "'open'"),
            gold.replace("SUM", "AVG"),
            gold.replace("SUM", "MAX"),
            gold.replace("c.city = 'Porto'", "c.city <> 'Porto'"),
            gold.replace(" AND o.status = 'paid'", ""),
            gold.replace("c.city = 'Porto' AND ", ""),
            gold.replace(" AND o.placed >= '2023-05-01'", ""),
            gold.replace("2023-05-01", "2023-06-01"),
            gold.replace("JOIN", "LEFT JOIN").replace("WHERE", "AND"),
        ];
        let mut statements = vec![gold, same];
        statements.extend(wrong.iter().map(String::as_str));
        let databases = databases(&statements);
        let gold = run(&databases, gold);
        assert!(!gold.is_empty());
        assert_eq!(gold.tables_used(), BTreeSet::from(["customer", "orders"]));
        assert!(gold.agrees_with(&run(&databases, same)));
        for wrong in &wrong {
            assert!(!gold.agrees_with(&run(&databases, wrong)), "{wrong}");
        }
    }

    #[test]
    fn the_order_of_rows_counts_where_the_statement_gives_one() {
        let databases = databases(&[]);
        let plain = run(&databases, "SELECT id FROM orders");
        let ordered = run(&databases, "SELECT id FROM orders ORDER BY id DESC");
        assert!(plain.agrees_with(&ordered));
        assert!(!ordered.agrees_with(&plain));
    }

    #[test]
    fn what_does_not_run_is_told_apart_from_what_may_not() {
        let databases = databases(&[]);
        let reason = |sql| databases.run(sql).unwrap().unwrap_err();
        assert_eq!(
            reason("SELECT nome FROM customer").to_string(),
            "the statement does not run: no such column: nome"
        );
        assert!(matches!(reason("DELETE FROM orders"), NotRun::Refused(_)));
        assert!(matches!(reason("SELECT 1; SELECT 2"), NotRun::Refused(_)));
        assert_eq!(
            reason("SELECT name FROM sqlite_master").to_string(),
            "the statement reads `sqlite_master`, which the schema does not have"
        );
        let forever = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
             SELECT count(*) FROM n";
        let limits = Limits { deadline: Duration::from_millis(200), ..Limits::default() };
        let config = ExecutionSettings { limits, databases: 1, ..ExecutionSettings::default() };
        let schema = Schema::parse(SHOP).unwrap();
        let databases = Databases::generated(&schema, &[], &config, 1).unwrap();
        let stopped = databases.run(forever).unwrap().unwrap_err();
        assert_eq!(stopped.to_string(), "the statement was stopped after 0.2 s");
    }

    #[test]
    fn no_rows_and_no_value_are_empty() {
        let databases = databases(&[]);
        for (sql, empty) in [
            ("SELECT id FROM orders WHERE 1 = 0", true),
            ("SELECT SUM(total) FROM orders WHERE 1 = 0", true),
            ("SELECT COUNT(*) FROM orders WHERE 1 = 0", false),
            ("SELECT id FROM orders", false),
        ] {
            assert_eq!(run(&databases, sql).is_empty(), empty, "{sql}");
        }
    }

    #[test]
    fn real_numbers_are_compared_with_tolerance() {
        let result = |value| QueryResult {
            columns: vec!["a".to_owned()],
            rows: vec![vec![value]],
            tables: Vec::new(),
            truncated: false,
            elapsed: Duration::ZERO,
        };
        let sum = result(Value::Real(0.1 + 0.2));
        assert!(same_result(&sum, &result(Value::Real(0.3)), true));
        assert!(!same_result(&sum, &result(Value::Real(0.300_001)), true));
        assert!(same_result(&result(Value::Real(2.0)), &result(Value::Integer(2)), true));
        let cut = QueryResult { truncated: true, ..sum.clone() };
        assert!(!same_result(&cut, &cut, true));
    }
    /// Statements a word away from one, most of which say something else.
    fn mutants(sql: &str) -> Vec<String> {
        let swaps = [
            (" = ", " != "),
            (" > ", " < "),
            (" < ", " > "),
            (" > ", " >= "),
            (" < ", " <= "),
            (" >= ", " > "),
            (" <= ", " < "),
            ("max(", "min("),
            ("min(", "max("),
            ("avg(", "sum("),
            ("sum(", "avg("),
            (" AND ", " OR "),
            (" OR ", " AND "),
            (" DESC", " ASC"),
            ("INTERSECT", "UNION"),
            ("EXCEPT", "INTERSECT"),
            ("NOT IN", "IN"),
            (" LIMIT 1", " LIMIT 2"),
        ];
        let lowercase = sql.to_lowercase();
        let replaced = |(from, to): (&str, &str)| {
            let at = lowercase.find(&from.to_lowercase())?;
            Some(format!("{}{to}{}", &sql[..at], &sql[at + from.len()..]))
        };
        swaps.into_iter().filter_map(replaced).collect()
    }

    #[test]
    fn spiders_queries_find_rows_and_their_mutants_are_told_apart() {
        use std::io::Read as _;
        let data = std::env::var_os("CODERAG_DATA").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
            std::path::PathBuf::from,
        );
        let questions = data.join("spider/dev_visible.jsonl.gz");
        if !questions.exists() {
            println!("skipped: no {}", questions.display());
            return;
        }
        let mut lines = String::new();
        let file = std::fs::File::open(&questions).unwrap();
        flate2::read::GzDecoder::new(file).read_to_string(&mut lines).unwrap();
        let (mut asked, mut run, mut found, mut mutants_run, mut caught) = (0, 0, 0, 0, 0);
        let mut building = Duration::ZERO;
        for line in lines.lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = |name: &str| line[name].as_str().unwrap().to_owned();
            let (database, sql) = (text("db_id"), text("query"));
            let file = data.join(format!("spider/database/{database}/{database}.sqlite"));
            let none = coderag_corpus::sqlite::SampleRows::NONE;
            let script = coderag_corpus::sqlite::read_script(&file, none).unwrap();
            let schema = Schema::parse(&script).unwrap();
            asked += 1;
            let start = std::time::Instant::now();
            let databases =
                Databases::generated(&schema, &[&sql], &ExecutionSettings::default(), 7).unwrap();
            building += start.elapsed();
            let Ok(gold) = databases.run(&sql).unwrap() else { continue };
            run += 1;
            if gold.is_empty() {
                continue;
            }
            found += 1;
            for mutant in mutants(&sql) {
                if let Ok(result) = databases.run(&mutant).unwrap() {
                    mutants_run += 1;
                    caught += usize::from(!gold.agrees_with(&result));
                }
            }
        }
        println!(
            "{asked} questions: {run} run, {found} find rows; {caught} of {mutants_run} mutants caught; \
             {:.1} ms for the databases of a question",
            building.as_secs_f64() * 1e3 / f64::from(asked)
        );
        assert_eq!(run, asked);
        assert!(found * 100 > asked * 95, "{found} of {asked} find rows");
        assert!(caught * 100 > mutants_run * 90, "{caught} of {mutants_run} mutants caught");
    }
}
