//! Databases with generated rows, on which generated statements are executed.

use std::path::Path;

use coderag_core::{Digest, Error as CoreError};
use coderag_sql::{GuardedDatabase, Limits, Value};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ToSql};
use tempfile::TempDir;

use super::comparisons::Comparisons;
use super::literal::{quoted, written};
use super::rows;
use super::schema::Schema;
use super::sense::Affinity;
use super::statement::parse_query;
use crate::{Error, Result};

/// A SQLite database in a temporary folder, built from what a schema says. No text of the schema is run:
/// the tables have its names, quoted, and types of the same affinity, and the values are bound.
#[derive(Debug)]
pub(crate) struct GeneratedDatabase {
    database: GuardedDatabase,
    schema: Schema,
    rows: Vec<Vec<Vec<Value>>>,
    /// Removed with the database when dropped.
    _folder: TempDir,
}

impl GeneratedDatabase {
    /// Builds the database that this schema, these statements and this seed determine. Statements that do
    /// not parse plant no values.
    ///
    /// # Errors
    /// [`Error::Core`] when there is no temporary folder, [`Error::Build`] and [`Error::Sql`] when SQLite
    /// cannot write or read it.
    pub(crate) fn build(
        schema: &Schema,
        statements: &[&str],
        rows: usize,
        seed: u64,
        limits: &Limits,
    ) -> Result<Self> {
        let queries = statements.iter().filter_map(|sql| parse_query(sql).ok());
        let comparisons: Vec<Comparisons> =
            queries.map(|query| Comparisons::of(&query, schema)).collect();
        let everything: Vec<usize> = (0..schema.tables.len()).collect();
        let context = number(&schema.script(&everything));
        let rows = rows::rows(schema, &comparisons, rows, seed ^ context);
        let folder = temporary_folder()?;
        let path = folder.path().join("database.sqlite");
        write(&path, schema, &rows)
            .map_err(|source| Error::Build { path: path.clone(), source })?;
        let database = GuardedDatabase::open(&path, limits)?;
        Ok(Self { database, schema: schema.clone(), rows, _folder: folder })
    }

    /// The database to run statements on.
    pub(crate) fn database(&self) -> &GuardedDatabase {
        &self.database
    }

    /// The CREATE TABLE statements as the source has them, and INSERT statements for the first rows of each
    /// table, at most `most` each.
    pub(crate) fn context_with_rows(&self, most: usize) -> String {
        let mut lines: Vec<String> =
            self.schema.tables.iter().map(|table| table.ddl.clone()).collect();
        for (table, rows) in self.schema.tables.iter().zip(&self.rows) {
            let rows: Vec<String> = rows
                .iter()
                .take(most)
                .map(|row| {
                    let values: Vec<String> = row.iter().map(written).collect();
                    format!("({})", values.join(", "))
                })
                .collect();
            if rows.is_empty() {
                continue;
            }
            let columns: Vec<String> =
                table.columns.iter().map(|column| quoted(&column.name)).collect();
            let (name, columns) = (quoted(&table.name), columns.join(", "));
            lines.push(format!("INSERT INTO {name} ({columns}) VALUES {};", rows.join(", ")));
        }
        lines.join("\n")
    }
}

/// The first 64 bits of a text's digest.
fn number(text: &str) -> u64 {
    let digest = Digest::of(text).to_string();
    digest.get(..16).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or_default()
}

/// In memory where the machine has a folder there: thousands of databases live for milliseconds each.
fn temporary_folder() -> Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("coderag-synth-");
    if let Ok(folder) = builder.tempdir_in("/dev/shm") {
        return Ok(folder);
    }
    let place = std::env::temp_dir();
    Ok(builder.tempdir().map_err(CoreError::io("create a temporary folder in", &place))?)
}

fn write(path: &Path, schema: &Schema, rows: &[Vec<Vec<Value>>]) -> rusqlite::Result<()> {
    let mut connection = Connection::open(path)?;
    connection.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")?;
    let transaction = connection.transaction()?;
    for (table, rows) in schema.tables.iter().zip(rows) {
        let columns: Vec<String> = table
            .columns
            .iter()
            .map(|column| {
                let affinity = Affinity::of(&column.data_type);
                format!("{} {}", quoted(&column.name), affinity.type_name())
            })
            .collect();
        let name = quoted(&table.name);
        transaction.execute(&format!("CREATE TABLE {name} ({})", columns.join(", ")), [])?;
        let places = vec!["?"; table.columns.len()].join(", ");
        let mut insert = transaction.prepare(&format!("INSERT INTO {name} VALUES ({places})"))?;
        for row in rows {
            insert.execute(rusqlite::params_from_iter(row.iter().map(Bound)))?;
        }
    }
    transaction.commit()
}

struct Bound<'v>(&'v Value);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        let value = match self.0 {
            Value::Null => ValueRef::Null,
            Value::Integer(number) => ValueRef::Integer(*number),
            Value::Real(number) => ValueRef::Real(*number),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Blob(bytes) => ValueRef::Blob(bytes),
        };
        Ok(rusqlite::types::ToSqlOutput::Borrowed(value))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const SCHOOL: &str = "CREATE TABLE Teachers (TeacherID INTEGER PRIMARY KEY, Name TEXT NOT NULL);
        CREATE TABLE Courses (CourseID INT PRIMARY KEY, Title VARCHAR(40) UNIQUE, TeacherID INT,
            Level ENUM('low', 'high'), FOREIGN KEY (TeacherID) REFERENCES Teachers(TeacherID));
        CREATE TABLE Enrollments (student_id INT, course_id INT, Grade INT CHECK (Grade BETWEEN 1 AND 6),
            Enrolled DATE, PRIMARY KEY (student_id, course_id));
        CREATE TABLE Students (id INT, email TEXT, \"from\" TEXT);
        INSERT INTO Teachers VALUES (501, 'Ada O''Neil'), (502, 'Bo');";

    fn build(statements: &[&str], seed: u64) -> GeneratedDatabase {
        let schema = Schema::parse(SCHOOL).unwrap();
        GeneratedDatabase::build(&schema, statements, 24, seed, &Limits::default()).unwrap()
    }

    fn count(generated: &GeneratedDatabase, sql: &str) -> i64 {
        match generated.database().execute(sql).unwrap().rows.as_slice() {
            [row] => match row.as_slice() {
                [Value::Integer(count)] => *count,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn rows_obey_the_schema() {
        for seed in 0..20 {
            let generated = build(&[], seed);
            for (none, violation) in [
                "SELECT TeacherID FROM Courses WHERE TeacherID NOT IN (SELECT TeacherID FROM Teachers)",
                "SELECT 1 FROM Enrollments WHERE course_id NOT IN (SELECT CourseID FROM Courses)",
                "SELECT 1 FROM Enrollments WHERE student_id NOT IN (SELECT id FROM Students)",
                "SELECT 1 FROM Courses WHERE Level NOT IN ('low', 'high')",
                "SELECT 1 FROM Enrollments WHERE Grade NOT BETWEEN 1 AND 6",
                "SELECT 1 FROM Enrollments GROUP BY student_id, course_id HAVING COUNT(*) > 1",
                "SELECT 1 FROM Courses GROUP BY Title HAVING COUNT(*) > 1",
                "SELECT 1 FROM Courses GROUP BY CourseID HAVING COUNT(*) > 1",
                "SELECT 1 FROM Teachers WHERE Name IS NULL",
                "SELECT 1 FROM Enrollments WHERE Enrolled <> date(Enrolled)",
            ]
            .map(|sql| (count(&generated, &format!("SELECT COUNT(*) FROM ({sql})")), sql))
            {
                assert_eq!(none, 0, "seed {seed}: {violation}");
            }
            let written =
                "SELECT COUNT(*) FROM Teachers WHERE Name = 'Ada O''Neil' AND TeacherID = 501";
            assert_eq!(count(&generated, written), 1);
            for table in ["Teachers", "Courses", "Enrollments", "Students"] {
                assert!(
                    count(&generated, &format!("SELECT COUNT(*) FROM {table}")) >= 8,
                    "{table}"
                );
            }
            let groups = "SELECT COUNT(*) FROM (SELECT 1 FROM Courses GROUP BY Level)";
            assert_eq!(count(&generated, groups), 2);
        }
    }

    #[test]
    fn statements_find_rows_and_miss_others() {
        for condition in [
            "Title = 'Thermodynamics'",
            "Title LIKE '%Therm%' AND Level = 'high'",
            "c.CourseID = 7007 AND e.Grade >= 4",
            "Enrolled BETWEEN '1999-01-01' AND '1999-12-31' AND t.Name = 'Cy'",
            "strftime('%Y', Enrolled) = '1987'",
            "Enrolled LIKE '2031-02%'",
            "s.email IN ('x@y.example', 'z@y.example') AND t.TeacherID = 900",
            "\"from\" IS NULL",
        ] {
            let sql = format!(
                "SELECT COUNT(*) FROM Enrollments e JOIN Courses c ON c.CourseID = e.course_id \
                 JOIN Teachers t ON t.TeacherID = c.TeacherID JOIN Students s ON s.id = e.student_id \
                 WHERE {condition}"
            );
            for seed in 0..10 {
                let generated = build(&[&sql], seed);
                let found = count(&generated, &sql);
                let all = count(&generated, "SELECT COUNT(*) FROM Enrollments");
                assert!(found > 0 && found < all, "seed {seed}: {found} of {all} for {condition}");
            }
        }
    }

    #[test]
    fn a_database_is_determined_by_its_seed_and_different_for_others() {
        let statements = ["SELECT Title FROM Courses WHERE Level = 'low'"];
        let script = |seed| build(&statements, seed).context_with_rows(100);
        assert_eq!(script(1), script(1));
        let scripts: HashSet<String> = (0..10).map(script).collect();
        assert_eq!(scripts.len(), 10);
    }

    #[test]
    fn the_context_with_rows_is_a_script_of_the_same_database() {
        let generated = build(&[], 3);
        let script = generated.context_with_rows(1000);
        let again = Schema::parse(&script).unwrap();
        for ((table, rows), again) in
            generated.schema.tables.iter().zip(&generated.rows).zip(&again.tables)
        {
            assert_eq!(table.columns, again.columns);
            let values: Vec<Vec<Value>> =
                again.rows.iter().map(|row| row.iter().flatten().cloned().collect()).collect();
            assert_eq!(&values, rows, "{}", table.name);
        }
        let few = Schema::parse(&generated.context_with_rows(2)).unwrap();
        assert!(few.tables.iter().all(|table| table.rows.len() == 2));
    }

    #[test]
    fn no_text_of_a_schema_is_run() {
        let schema = Schema::parse(
            "CREATE TABLE \"a\"\"; DROP TABLE x; --\" (\"b) ; ATTACH 'y' AS z; --\" TEXT, c INT \
             DEFAULT (load_extension('evil')) CHECK (c IN (1, 2)), d AS (abs(1))); \
             CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; END; PRAGMA writable_schema = 1;",
        )
        .unwrap();
        let generated = GeneratedDatabase::build(&schema, &[], 10, 1, &Limits::default()).unwrap();
        let sql = "SELECT sql FROM sqlite_master";
        let rows = generated.database().execute(sql).unwrap().rows;
        let create = "CREATE TABLE \"a\"\"; DROP TABLE x; --\" \
             (\"b) ; ATTACH 'y' AS z; --\" TEXT, \"c\" INTEGER, \"d\" BLOB)";
        assert_eq!(rows, [[Value::Text(create.to_owned())]]);
    }

    proptest! {
        #[test]
        fn any_text_is_a_schema_or_a_reason(text in "(CREATE TABLE |INSERT INTO |[a-z(),;'\" ]){0,40}") {
            if let Ok(schema) = Schema::parse(&text) {
                GeneratedDatabase::build(&schema, &[], 5, 0, &Limits::default()).unwrap();
            }
        }
    }
}
