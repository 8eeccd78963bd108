//! Pairs by hand: what must match (SQLite giving the same rows for both) and what must not.

use coderag_eval::structure::{NormalizationOptions, SchemaColumns, normalize, structural_match};

use super::generate::database;
use super::{KEPT, LOOSEST, bag, schema};

/// Equal column for column.
const EQUAL: &[(&str, &str)] = &[
    // Case, formatting, comments, semicolons.
    ("SELECT name FROM star", "select NAME from STAR;"),
    ("SELECT name FROM star", "SELECT\n\tname -- the name\nFROM /* all */ star ;"),
    ("SELECT name FROM star", "SELECT \"Name\" FROM [Star]"),
    ("SELECT name FROM star", "SELECT `name` FROM `star`"),
    // Aliases and qualification.
    ("SELECT name FROM star", "SELECT s.name FROM star AS s"),
    ("SELECT name FROM star", "SELECT star.name AS label FROM star"),
    ("SELECT count(*) FROM star", "SELECT COUNT(*) AS how_many FROM star x"),
    ("SELECT * FROM star", "SELECT star.* FROM star"),
    ("SELECT * FROM star", "SELECT id, name, class, age FROM star"),
    // Output names in later clauses, ordinals.
    (
        "SELECT count(*) AS n FROM star GROUP BY class ORDER BY n",
        "SELECT count(*) FROM star GROUP BY class ORDER BY count(*)",
    ),
    (
        "SELECT class, count(*) FROM star GROUP BY 1 ORDER BY 2 DESC",
        "SELECT class, count(*) FROM star GROUP BY class ORDER BY count(*) DESC",
    ),
    (
        "SELECT class AS k, count(*) FROM star GROUP BY k",
        "SELECT class, count(*) FROM star GROUP BY class",
    ),
    (
        "SELECT class, count(*) AS n FROM star GROUP BY class HAVING n > 1",
        "SELECT class, count(*) FROM star GROUP BY class HAVING count(*) > 1",
    ),
    (
        "SELECT age + 1 AS next FROM star WHERE next > 2",
        "SELECT age + 1 FROM star WHERE age + 1 > 2",
    ),
    ("SELECT name AS age FROM star WHERE age > 2", "SELECT name FROM star WHERE star.age > 2"),
    // Comparisons.
    ("SELECT name FROM star WHERE age <> 2", "SELECT name FROM star WHERE age != 2"),
    ("SELECT name FROM star WHERE age = 2", "SELECT name FROM star WHERE 2 == age"),
    ("SELECT name FROM star WHERE age > 2", "SELECT name FROM star WHERE 2 < age"),
    ("SELECT name FROM star WHERE age >= id", "SELECT name FROM star WHERE id <= age"),
    ("SELECT name FROM star WHERE age > 2", "SELECT name FROM star WHERE NOT age <= 2"),
    ("SELECT name FROM star WHERE NOT (age = 2)", "SELECT name FROM star WHERE age <> 2"),
    (
        "SELECT name FROM star WHERE age BETWEEN 1 AND 3",
        "SELECT name FROM star WHERE age >= 1 AND 3 >= age",
    ),
    (
        "SELECT name FROM star WHERE age NOT BETWEEN 1 AND 3",
        "SELECT name FROM star WHERE age > 3 OR age < 1",
    ),
    ("SELECT name FROM star WHERE age IS NULL", "SELECT name FROM star WHERE age ISNULL"),
    ("SELECT name FROM star WHERE age IS NOT NULL", "SELECT name FROM star WHERE NOT age IS NULL"),
    ("SELECT name FROM star WHERE age NOTNULL", "SELECT name FROM star WHERE age NOT NULL"),
    (
        "SELECT name FROM star WHERE age IS 2",
        "SELECT name FROM star WHERE age IS NOT DISTINCT FROM 2",
    ),
    ("SELECT name FROM star WHERE age IS NOT 2", "SELECT name FROM star WHERE NOT (age IS 2)"),
    (
        "SELECT name FROM star WHERE name LIKE 'r%'",
        "SELECT name FROM star WHERE NOT (name NOT LIKE 'r%')",
    ),
    // AND, OR, parentheses.
    (
        "SELECT name FROM star WHERE age > 1 AND class = 'red'",
        "SELECT name FROM star WHERE class = 'red' AND age > 1",
    ),
    (
        "SELECT name FROM star WHERE ((age > 1)) AND (class = 'red' AND id = 3)",
        "SELECT name FROM star WHERE id = 3 AND class = 'red' AND age > 1",
    ),
    (
        "SELECT name FROM star WHERE age > 1 OR class = 'red' OR age > 1",
        "SELECT name FROM star WHERE class = 'red' OR age > 1",
    ),
    (
        "SELECT name FROM star WHERE NOT (age > 1 AND class = 'red')",
        "SELECT name FROM star WHERE age <= 1 OR class <> 'red'",
    ),
    (
        "SELECT name FROM star WHERE NOT (age > 1 OR class = 'red')",
        "SELECT name FROM star WHERE class <> 'red' AND 1 >= age",
    ),
    (
        "SELECT name FROM star WHERE age + 1 = id * 2",
        "SELECT name FROM star WHERE 2 * id = 1 + age",
    ),
    ("SELECT name FROM star WHERE NOT NOT age", "SELECT name FROM star WHERE age"),
    // Lists.
    ("SELECT name FROM star WHERE age IN (1, 2)", "SELECT name FROM star WHERE age IN (2, 1, 2)"),
    ("SELECT name FROM star WHERE age IN (1)", "SELECT name FROM star WHERE age = 1"),
    ("SELECT name FROM star WHERE age NOT IN (1)", "SELECT name FROM star WHERE age <> 1"),
    ("SELECT name FROM star WHERE age = 1 OR age = 2", "SELECT name FROM star WHERE age IN (1, 2)"),
    (
        "SELECT name FROM star WHERE age <> 1 AND age <> 2",
        "SELECT name FROM star WHERE NOT age IN (2, 1)",
    ),
    // Literals.
    ("SELECT name FROM star WHERE class = 'red'", "SELECT name FROM star WHERE class = \"red\""),
    ("SELECT name FROM star WHERE age = 7", "SELECT name FROM star WHERE age = 007"),
    ("SELECT name FROM star WHERE age > 1.5", "SELECT name FROM star WHERE age > 15e-1"),
    ("SELECT name FROM star WHERE age > 1000.0", "SELECT name FROM star WHERE age > 1e3"),
    ("SELECT name FROM star WHERE age = 2 AND TRUE", "SELECT name FROM star WHERE 1 AND age = 2"),
    // Joins.
    (
        "SELECT p.name FROM planet AS p JOIN star AS s ON p.star_id = s.id",
        "SELECT planet.name FROM star JOIN planet ON star.id = planet.star_id",
    ),
    (
        "SELECT p.name FROM planet AS p JOIN star AS s ON p.star_id = s.id WHERE s.age > 1",
        "SELECT T2.name FROM star T1, planet T2 WHERE T1.id = T2.star_id AND T1.age > 1",
    ),
    (
        "SELECT planet.name FROM planet INNER JOIN star ON star_id = star.id AND age > 1",
        "SELECT planet.name FROM planet CROSS JOIN star WHERE age > 1 AND star_id = star.id",
    ),
    (
        "SELECT title FROM probe JOIN visit USING (year)",
        "SELECT title FROM visit JOIN probe ON probe.year = visit.year",
    ),
    (
        "SELECT title FROM probe NATURAL JOIN visit",
        "SELECT title FROM visit, probe WHERE probe.year = visit.year AND probe.planet_id = visit.planet_id",
    ),
    (
        "SELECT year FROM probe JOIN visit USING (year)",
        "SELECT probe.year FROM probe JOIN visit ON probe.year = visit.year",
    ),
    (
        "SELECT * FROM probe JOIN visit USING (year)",
        "SELECT probe.*, probe_id, visit.planet_id, note FROM probe JOIN visit ON probe.year = visit.year",
    ),
    (
        "SELECT star.name FROM star LEFT JOIN planet ON star.id = star_id",
        "SELECT star.name FROM star LEFT OUTER JOIN planet ON star_id = star.id",
    ),
    (
        "SELECT star.name FROM star LEFT JOIN planet ON star.id = star_id",
        "SELECT star.name FROM planet RIGHT JOIN star ON star.id = star_id",
    ),
    (
        "SELECT s.name FROM star s LEFT JOIN planet p ON s.id = p.star_id LEFT JOIN probe q ON q.id = s.age",
        "SELECT s.name FROM star s LEFT JOIN probe q ON s.age = q.id LEFT JOIN planet p ON s.id = p.star_id",
    ),
    (
        "SELECT s.name FROM star s LEFT JOIN planet p ON s.id = p.star_id JOIN probe q ON q.id = s.age",
        "SELECT s.name FROM probe q, star s LEFT JOIN planet p ON s.id = p.star_id WHERE s.age = q.id",
    ),
    (
        "SELECT star.id FROM star LEFT JOIN (planet JOIN probe ON planet_id = planet.id) ON star_id = star.id",
        "SELECT star.id FROM star LEFT JOIN (probe CROSS JOIN planet) ON star_id = star.id AND planet.id = planet_id",
    ),
    (
        "SELECT star.id FROM star FULL JOIN planet ON star.id = star_id",
        "SELECT s.id FROM planet p FULL OUTER JOIN star s ON p.star_id = s.id",
    ),
    // The same table twice.
    (
        "SELECT a.name FROM star a JOIN star b ON a.age = b.id",
        "SELECT y.name FROM star x JOIN star y ON x.id = y.age",
    ),
    (
        "SELECT a.name, b.name FROM star a, star b WHERE a.id < b.id",
        "SELECT b.name, a.name FROM star a, star b WHERE a.id > b.id",
    ),
    (
        "SELECT T1.name FROM star T1, star T2, star T3 WHERE T1.id = T2.age AND T2.id = T3.age",
        "SELECT c.name FROM star a, star b, star c WHERE b.age = c.id AND b.id = a.age",
    ),
    // Subqueries and scopes.
    (
        "SELECT name FROM star WHERE id IN (SELECT star_id FROM planet)",
        "SELECT s.name FROM star s WHERE s.id IN (SELECT DISTINCT p.star_id FROM planet p ORDER BY 1)",
    ),
    (
        "SELECT name FROM star WHERE EXISTS (SELECT * FROM planet WHERE star_id = star.id)",
        "SELECT name FROM star s WHERE EXISTS (SELECT 1 FROM planet p WHERE s.id = p.star_id LIMIT 1)",
    ),
    (
        "SELECT name FROM star WHERE NOT EXISTS (SELECT id FROM planet WHERE star_id = star.id)",
        "SELECT name FROM star WHERE NOT (EXISTS (SELECT moons FROM planet WHERE star.id = star_id))",
    ),
    (
        "SELECT name FROM star WHERE age > (SELECT avg(age) FROM star)",
        "SELECT a.name FROM star a WHERE (SELECT avg(b.age) FROM star b) < a.age",
    ),
    (
        "SELECT name FROM star AS s WHERE age = (SELECT max(age) FROM star WHERE class = s.class)",
        "SELECT name FROM star WHERE age = (SELECT max(z.age) FROM star AS z WHERE star.class = z.class)",
    ),
    (
        "SELECT x FROM (SELECT age AS x, name FROM star) WHERE x > 1",
        "SELECT d.y FROM (SELECT name AS z, age AS y FROM star) AS d WHERE d.y > 1",
    ),
    (
        "WITH big AS (SELECT * FROM planet WHERE moons > 1) SELECT name FROM big",
        "SELECT name FROM (SELECT * FROM planet WHERE 1 < moons) AS b",
    ),
    (
        "WITH a AS (SELECT id FROM star), b AS (SELECT id FROM a) SELECT count(*) FROM b, a",
        "WITH q AS (SELECT id FROM z), z AS MATERIALIZED (SELECT id FROM star) SELECT count(*) FROM z, q",
    ),
    (
        "WITH a (n) AS (SELECT age FROM star) SELECT x.n FROM a x, a y WHERE x.n < y.n",
        "WITH c AS (SELECT age AS m FROM star) SELECT p.m FROM c p JOIN c q ON q.m > p.m",
    ),
    // Set operations.
    (
        "SELECT id FROM star UNION SELECT id FROM planet",
        "SELECT id FROM planet UNION SELECT id FROM star",
    ),
    (
        "SELECT id FROM star INTERSECT SELECT DISTINCT id FROM planet",
        "SELECT id FROM planet INTERSECT SELECT id FROM star",
    ),
    (
        "SELECT id FROM star EXCEPT SELECT 1 EXCEPT SELECT 2",
        "SELECT id FROM star EXCEPT SELECT 2 EXCEPT SELECT 1",
    ),
    (
        "SELECT id FROM star UNION ALL SELECT id FROM planet",
        "SELECT id FROM planet UNION ALL SELECT id FROM star",
    ),
    (
        "SELECT id FROM star UNION ALL SELECT 1 UNION SELECT 2",
        "SELECT 2 UNION SELECT id FROM star UNION SELECT 1",
    ),
    (
        "SELECT id AS n FROM star UNION SELECT age FROM star ORDER BY n DESC",
        "SELECT id FROM star UNION SELECT age FROM star ORDER BY 1 DESC",
    ),
    // Order, limit, DISTINCT, functions.
    ("SELECT name FROM star ORDER BY age", "SELECT name FROM star ORDER BY age ASC NULLS FIRST"),
    ("SELECT name FROM star ORDER BY id, age, id DESC", "SELECT name FROM star ORDER BY id, age"),
    (
        "SELECT name FROM star ORDER BY id LIMIT 3",
        "SELECT name FROM star ORDER BY id LIMIT 3 OFFSET 0",
    ),
    (
        "SELECT name FROM star ORDER BY id LIMIT 2 OFFSET 1",
        "SELECT name FROM star ORDER BY 'x', id LIMIT 1, 2",
    ),
    ("SELECT DISTINCT class FROM star", "SELECT class FROM star GROUP BY class"),
    ("SELECT class, age FROM star GROUP BY age, class", "SELECT DISTINCT class, age FROM star"),
    (
        "SELECT DISTINCT class, count(*) FROM star GROUP BY class",
        "SELECT class, count(1) FROM star GROUP BY class",
    ),
    ("SELECT DISTINCT max(age) FROM star", "SELECT max(DISTINCT age) FROM star"),
    ("SELECT ifnull(age, 0) FROM star", "SELECT coalesce(age, 0) FROM star"),
    ("SELECT substring(name, 1, 2) FROM star", "SELECT SUBSTR(name, 1, 2) FROM star"),
    ("SELECT CAST(age AS varchar(5)) FROM star", "SELECT cast(age AS TEXT) FROM star"),
    (
        "SELECT iif(age > 1, 'old', NULL) FROM star",
        "SELECT CASE WHEN 1 < age THEN 'old' ELSE NULL END FROM star",
    ),
    (
        "SELECT sum(age) OVER (PARTITION BY class, name ORDER BY id) FROM star",
        "SELECT sum(s.age) OVER (PARTITION BY s.name, s.class ORDER BY s.id ASC RANGE UNBOUNDED PRECEDING) FROM star s",
    ),
];

/// Equal but for the order of the columns.
const EQUAL_BUT_FOR_ORDER: &[(&str, &str)] = &[
    ("SELECT name, age FROM star", "SELECT age, name FROM star"),
    (
        "SELECT class, count(*) FROM star GROUP BY class ORDER BY 2",
        "SELECT count(*), class FROM star GROUP BY class ORDER BY 1",
    ),
    (
        "SELECT id, age FROM star UNION SELECT moons, id FROM planet",
        "SELECT id, moons FROM planet UNION SELECT age, id FROM star",
    ),
    (
        "SELECT * FROM star JOIN planet ON star.id = star_id",
        "SELECT * FROM planet JOIN star ON star.id = star_id",
    ),
    (
        "SELECT id, age FROM star EXCEPT SELECT id, moons FROM planet ORDER BY 2",
        "SELECT age, id FROM star EXCEPT SELECT moons, id FROM planet ORDER BY 1",
    ),
];

/// Equal but for literals.
const EQUAL_BUT_FOR_VALUES: &[(&str, &str)] = &[
    ("SELECT name FROM star WHERE age > 20", "SELECT name FROM star WHERE 30 < age"),
    (
        "SELECT name FROM star WHERE class = 'red' AND age = 1",
        "SELECT name FROM star WHERE age = -4.5 AND class = 'blue'",
    ),
    ("SELECT name FROM star ORDER BY age LIMIT 1", "SELECT name FROM star ORDER BY age LIMIT 3"),
    ("SELECT name FROM star WHERE age IN (1, 2)", "SELECT name FROM star WHERE age IN (4, 3)"),
];

/// Never equal, whatever does not count.
const DIFFERENT: &[(&str, &str)] = &[
    ("SELECT name FROM star", "SELECT class FROM star"),
    ("SELECT name FROM star", "SELECT name FROM planet"),
    ("SELECT name FROM star", "SELECT DISTINCT name FROM star"),
    ("SELECT name FROM star", "SELECT name, name FROM star"),
    ("SELECT name FROM star", "SELECT name FROM star WHERE name IS NOT NULL"),
    ("SELECT name FROM star", "SELECT name FROM star ORDER BY name"),
    ("SELECT name FROM star", "SELECT star.name FROM star, planet"),
    ("SELECT count(*) FROM star", "SELECT count(name) FROM star"),
    ("SELECT count(name) FROM star", "SELECT count(DISTINCT name) FROM star"),
    ("SELECT count(NULL) FROM star", "SELECT count(*) FROM star"),
    ("SELECT max(age) FROM star", "SELECT min(age) FROM star"),
    ("SELECT max(age, 1) FROM star", "SELECT max(DISTINCT age) FROM star"),
    ("SELECT sum(DISTINCT age) FROM star", "SELECT sum(age) FROM star"),
    ("SELECT 1 FROM star", "SELECT 1.0 FROM star, star b"),
    ("SELECT name FROM star WHERE age = 1", "SELECT name FROM star WHERE age <> 1"),
    ("SELECT name FROM star WHERE age > 1", "SELECT name FROM star WHERE age >= 1"),
    ("SELECT name FROM star WHERE age > 1", "SELECT name FROM star WHERE age < 1"),
    ("SELECT name FROM star WHERE age < id", "SELECT name FROM star WHERE id < age"),
    ("SELECT name FROM star WHERE NOT age > 1", "SELECT name FROM star WHERE age < 1"),
    (
        "SELECT name FROM star WHERE age > 1 AND id = 2",
        "SELECT name FROM star WHERE age > 1 OR id = 2",
    ),
    (
        "SELECT name FROM star WHERE age = 1 AND id = 2 OR class = 'a'",
        "SELECT name FROM star WHERE age = 1 AND (id = 2 OR class = 'a')",
    ),
    (
        "SELECT name FROM star WHERE NOT (age = 1 AND id = 2)",
        "SELECT name FROM star WHERE age <> 1 AND id <> 2",
    ),
    ("SELECT name FROM star WHERE age IN (1, 2)", "SELECT name FROM star WHERE age NOT IN (1, 2)"),
    ("SELECT name FROM star WHERE age IN (1, 2)", "SELECT name FROM star WHERE id IN (1, 2)"),
    ("SELECT name FROM star WHERE age = 1 OR id = 2", "SELECT name FROM star WHERE age IN (1, 2)"),
    (
        "SELECT name FROM star WHERE age BETWEEN 1 AND 3",
        "SELECT name FROM star WHERE age > 1 AND age < 3",
    ),
    ("SELECT name FROM star WHERE age IS NULL", "SELECT name FROM star WHERE age = NULL"),
    ("SELECT name FROM star WHERE age IS 1", "SELECT name FROM star WHERE age = 1"),
    ("SELECT name FROM star WHERE age IS NOT 1", "SELECT name FROM star WHERE age <> 1"),
    ("SELECT name FROM star WHERE age IS TRUE", "SELECT name FROM star WHERE age IS 1"),
    ("SELECT name FROM star WHERE name LIKE 'r%'", "SELECT name FROM star WHERE name = 'r%'"),
    ("SELECT name FROM star WHERE name LIKE 'r%'", "SELECT name FROM star WHERE name GLOB 'r%'"),
    ("SELECT age AND age FROM star", "SELECT age FROM star"),
    ("SELECT NOT NOT age FROM star", "SELECT age FROM star"),
    ("SELECT name FROM star WHERE class = \"name\"", "SELECT name FROM star WHERE class = 'name'"),
    ("SELECT name FROM star WHERE +age = '1'", "SELECT name FROM star WHERE age = '1'"),
    (
        "SELECT name FROM star WHERE name = class COLLATE NOCASE",
        "SELECT name FROM star WHERE name = class",
    ),
    (
        "SELECT name FROM star WHERE name COLLATE NOCASE < class COLLATE RTRIM",
        "SELECT name FROM star WHERE class COLLATE RTRIM > name COLLATE NOCASE",
    ),
    ("SELECT age - id FROM star", "SELECT id - age FROM star"),
    ("SELECT age / 2 FROM star", "SELECT 2 / age FROM star"),
    ("SELECT name || class FROM star", "SELECT class || name FROM star"),
    ("SELECT age + id + 1 FROM star", "SELECT age + (id + 1) FROM star"),
    ("SELECT name FROM star WHERE age = id < 2", "SELECT name FROM star WHERE (age = id) < 2"),
    ("SELECT age | id & 2 FROM star", "SELECT age | (id & 2) FROM star"),
    ("SELECT age + id || 2 FROM star", "SELECT (age + id) || 2 FROM star"),
    (
        "SELECT star.name FROM star JOIN planet ON star.id = star_id",
        "SELECT star.name FROM star LEFT JOIN planet ON star.id = star_id",
    ),
    (
        "SELECT star.name FROM star LEFT JOIN planet ON star.id = star_id",
        "SELECT star.name FROM planet LEFT JOIN star ON star.id = star_id",
    ),
    (
        "SELECT star.name FROM star LEFT JOIN planet ON star.id = star_id AND moons > 1",
        "SELECT star.name FROM star LEFT JOIN planet ON star.id = star_id WHERE moons > 1",
    ),
    (
        "SELECT star.name FROM star FULL JOIN planet ON star.id = star_id",
        "SELECT star.name FROM star LEFT JOIN planet ON star.id = star_id",
    ),
    (
        "SELECT star.name FROM star JOIN planet ON star.id = star_id",
        "SELECT planet.name FROM star JOIN planet ON star.id = star_id",
    ),
    (
        "SELECT star.name FROM star JOIN planet ON star.id = star_id",
        "SELECT star.name FROM star JOIN planet ON star.id = planet.id",
    ),
    (
        "SELECT star.id FROM star JOIN planet ON star.id = star_id",
        "SELECT star_id FROM star JOIN planet ON star.id = star_id",
    ),
    (
        "SELECT title FROM probe JOIN visit USING (year)",
        "SELECT title FROM probe NATURAL JOIN visit",
    ),
    (
        "SELECT a.name FROM star a JOIN star b ON a.age = b.id",
        "SELECT b.name FROM star a JOIN star b ON a.age = b.id",
    ),
    (
        "SELECT a.name FROM star a, star b WHERE a.age < b.age",
        "SELECT a.name FROM star a, star b WHERE a.age > b.age",
    ),
    (
        "SELECT name FROM star s WHERE EXISTS (SELECT 1 FROM star t WHERE t.age > s.age)",
        "SELECT name FROM star s WHERE EXISTS (SELECT 1 FROM star t WHERE s.age > t.age)",
    ),
    (
        "SELECT name FROM star WHERE EXISTS (SELECT 1 FROM planet WHERE star_id = star.id)",
        "SELECT name FROM star WHERE EXISTS (SELECT max(id) FROM planet WHERE star_id = star.id)",
    ),
    (
        "SELECT name FROM star WHERE EXISTS (SELECT 1 FROM planet)",
        "SELECT name FROM star WHERE EXISTS (SELECT 1 FROM planet LIMIT 0)",
    ),
    (
        "SELECT name FROM star WHERE id IN (SELECT star_id FROM planet)",
        "SELECT name FROM star WHERE id IN (SELECT id FROM planet)",
    ),
    (
        "SELECT name FROM star WHERE id IN (SELECT star_id FROM planet)",
        "SELECT name FROM star WHERE id NOT IN (SELECT star_id FROM planet)",
    ),
    (
        "SELECT name FROM star WHERE id IN (SELECT star_id FROM planet ORDER BY id LIMIT 2)",
        "SELECT name FROM star WHERE id IN (SELECT star_id FROM planet LIMIT 2)",
    ),
    (
        "SELECT x FROM (SELECT age AS x, id AS y FROM star)",
        "SELECT y FROM (SELECT age AS x, id AS y FROM star)",
    ),
    (
        "WITH a AS (SELECT id FROM star) SELECT x.id FROM a x, a y",
        "WITH a AS (SELECT id FROM star) SELECT x.id FROM a x",
    ),
    (
        "SELECT id FROM star UNION SELECT id FROM planet",
        "SELECT id FROM star UNION ALL SELECT id FROM planet",
    ),
    (
        "SELECT id FROM star UNION SELECT id FROM planet",
        "SELECT id FROM star INTERSECT SELECT id FROM planet",
    ),
    (
        "SELECT id FROM star EXCEPT SELECT id FROM planet",
        "SELECT id FROM planet EXCEPT SELECT id FROM star",
    ),
    (
        "SELECT id FROM star UNION ALL SELECT DISTINCT id FROM planet",
        "SELECT id FROM star UNION ALL SELECT id FROM planet",
    ),
    (
        "SELECT id FROM star UNION SELECT 1 INTERSECT SELECT 2",
        "SELECT 2 INTERSECT SELECT 1 UNION SELECT id FROM star",
    ),
    ("SELECT name FROM star ORDER BY age", "SELECT name FROM star ORDER BY age DESC"),
    ("SELECT name FROM star ORDER BY age", "SELECT name FROM star ORDER BY age NULLS LAST"),
    ("SELECT name FROM star ORDER BY age, id", "SELECT name FROM star ORDER BY id, age"),
    ("SELECT name FROM star ORDER BY age", "SELECT name FROM star ORDER BY age LIMIT 1"),
    (
        "SELECT name FROM star ORDER BY age LIMIT 1",
        "SELECT name FROM star ORDER BY age LIMIT 1 OFFSET 1",
    ),
    (
        "SELECT class, count(*) FROM star GROUP BY class",
        "SELECT class, count(*) FROM star GROUP BY class, age",
    ),
    ("SELECT class, count(*) FROM star GROUP BY class", "SELECT class, count(*) FROM star"),
    (
        "SELECT class, count(*) FROM star GROUP BY class HAVING count(*) > 1",
        "SELECT class, count(*) FROM star WHERE age > 1 GROUP BY class",
    ),
    (
        "SELECT DISTINCT count(*) FROM star GROUP BY class",
        "SELECT count(*) FROM star GROUP BY class",
    ),
    ("SELECT class FROM star GROUP BY class, age", "SELECT DISTINCT class FROM star"),
    ("SELECT count(*) FROM star GROUP BY 'x'", "SELECT count(*) FROM star"),
    (
        "SELECT sum(age) OVER (ORDER BY id) FROM star",
        "SELECT sum(age) OVER (PARTITION BY id) FROM star",
    ),
    ("SELECT CAST(age AS TEXT) FROM star", "SELECT CAST(age AS INTEGER) FROM star"),
    (
        "SELECT CASE WHEN age > 1 THEN name END FROM star",
        "SELECT CASE WHEN age > 1 THEN name ELSE class END FROM star",
    ),
    // Errors are not repaired.
    ("SELECT name FROM star WHERE age > 1", "SELECT name FROM star AS s WHERE star.age > 1"),
    ("SELECT star.name FROM star, planet", "SELECT name FROM star, planet"),
    ("SELECT class FROM star", "SELECT class ALL FROM star"),
    ("SELECT count(*) FROM star", "SELECT count(ALL *) FROM star"),
    ("SELECT * FROM star", "SELECT (*) FROM star"),
    ("SELECT age FROM star ORDER BY age", "SELECT age FROM star ORDER BY 2"),
    (
        "SELECT id FROM star UNION SELECT id FROM planet",
        "(SELECT id FROM star) UNION (SELECT id FROM planet)",
    ),
    (
        "SELECT id FROM star ORDER BY id LIMIT 1",
        "SELECT id FROM star ORDER BY id FETCH FIRST 1 ROWS ONLY",
    ),
    ("SELECT 0 FROM star", "SELECT 0X10 FROM star"),
    ("SELECT 0x10 FROM star", "SELECT x'10' FROM star"),
];

/// Equal when literals are ignored too, and not when they count.
const OTHER_VALUES: &[(&str, &str)] = &[
    ("SELECT name FROM star WHERE age = 1", "SELECT name FROM star WHERE age = 2"),
    ("SELECT name FROM star WHERE class = 'red'", "SELECT name FROM star WHERE class = 'Red'"),
    ("SELECT name FROM star WHERE class = '1'", "SELECT name FROM star WHERE class = 1"),
    ("SELECT age / 2 FROM star", "SELECT age / 2.0 FROM star"),
    ("SELECT name FROM star WHERE age = -1", "SELECT name FROM star WHERE age = 1"),
    ("SELECT name FROM star WHERE name LIKE 'a%'", "SELECT name FROM star WHERE name LIKE '%a'"),
    ("SELECT name FROM star WHERE age IN (1, 2)", "SELECT name FROM star WHERE age IN (1, 3)"),
    ("SELECT name FROM star ORDER BY id LIMIT 1", "SELECT name FROM star ORDER BY id LIMIT 2"),
];

fn matches(one: &str, other: &str, options: NormalizationOptions) -> bool {
    let schema = schema();
    let there = structural_match(one, other, &schema, options).unwrap();
    assert_eq!(structural_match(other, one, &schema, options).unwrap(), there);
    there
}

fn canonical(sql: &str) -> String {
    normalize(sql, &schema(), KEPT).unwrap().to_string()
}

#[test]
fn equal_queries_match_and_sqlite_agrees() {
    assert!(EQUAL.len() >= 60);
    let databases = [database(1, 0), database(2, 0), database(3, 0)];
    for (one, other) in EQUAL {
        assert!(matches(one, other, KEPT), "{}\n{}", canonical(one), canonical(other));
        assert!(matches(one, other, NormalizationOptions::default()), "{one}\n{other}");
        assert!(normalize(one, &schema(), KEPT).unwrap().is_understood(), "{one}");
        for database in &databases {
            let expected = bag(database, one).unwrap();
            assert_eq!(bag(database, other).as_ref(), Ok(&expected), "{one}\n{other}");
            assert_eq!(bag(database, &canonical(one)).as_ref(), Ok(&expected), "{one}");
        }
    }
}

#[test]
fn different_queries_do_not_match() {
    assert!(DIFFERENT.len() >= 60);
    for (one, other) in DIFFERENT {
        assert!(!matches(one, other, KEPT), "{one}\n{other}\n{}", canonical(one));
        assert!(!matches(one, other, LOOSEST), "{one}\n{other}");
    }
}

#[test]
fn the_order_of_the_columns_counts_when_it_is_to_be_kept() {
    for (one, other) in EQUAL_BUT_FOR_ORDER {
        assert!(!matches(one, other, KEPT), "{one}\n{other}");
        assert!(matches(one, other, NormalizationOptions::default()), "{one}\n{other}");
    }
}

#[test]
fn literals_count_unless_they_are_to_be_ignored() {
    for (one, other) in EQUAL_BUT_FOR_VALUES.iter().chain(OTHER_VALUES) {
        assert!(!matches(one, other, KEPT), "{one}\n{other}");
        assert!(matches(one, other, LOOSEST), "{one}\n{other}");
    }
}

#[test]
fn without_a_schema_the_spelling_of_names_matters_less_than_the_names() {
    let schema = SchemaColumns::new();
    let matches = |one, other| structural_match(one, other, &schema, KEPT).unwrap();
    assert!(matches("SELECT name FROM star", "SELECT S.Name FROM Star AS S"));
    assert!(matches(
        "SELECT T1.name FROM star AS T1 JOIN planet AS T2 ON T1.id = T2.star_id WHERE moons > 1",
        "SELECT a.name FROM planet b, star a WHERE b.star_id = a.id AND 1 < moons"
    ));
    assert!(matches("SELECT * FROM star", "SELECT s.* FROM star s"));
    assert!(!matches("SELECT * FROM star, planet", "SELECT * FROM planet, star"));
    // This may be a column or a string.
    assert!(!matches(
        "SELECT name FROM star WHERE class = \"red\"",
        "SELECT name FROM star WHERE class = 'red'"
    ));
    assert!(!matches(
        "SELECT name FROM star WHERE class = \"red\"",
        "SELECT name FROM star WHERE class = red"
    ));
    // `star.name` cannot be told from `planet.name` here.
    assert!(!matches("SELECT name FROM star, planet", "SELECT star.name FROM star, planet"));
    // `x` may be the first or the second column.
    let inner = "WHERE EXISTS (SELECT 1 FROM unknown WHERE x = 1)";
    assert!(!matches(
        &format!("SELECT 1 FROM (SELECT a AS x, b AS y FROM t) {inner}"),
        &format!("SELECT 1 FROM (SELECT b AS x, a AS y FROM t) {inner}")
    ));
}

#[test]
fn what_is_not_understood_is_compared_as_it_is_written() {
    let query = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) SELECT i FROM n";
    assert!(!normalize(query, &schema(), KEPT).unwrap().is_understood());
    assert!(matches(query, &query.to_lowercase().replace(' ', "\n"), KEPT));
    assert!(!matches(query, &query.replace('3', "4"), LOOSEST));
    assert!(!matches("SELECT nosuch FROM star", "SELECT \"nosuch\" FROM star", KEPT));
}

#[test]
fn the_canonical_text_reads_like_sql() {
    assert_eq!(
        canonical(
            "SELECT T1.Name AS n, COUNT(*) FROM star AS T1 JOIN planet T2 ON T1.id = T2.star_id \
             WHERE T2.moons BETWEEN 1 AND 2 GROUP BY n ORDER BY 2 DESC LIMIT 3"
        ),
        "SELECT star.name, count(*) FROM planet, star WHERE (1 <= planet.moons) AND \
         (planet.moons <= 2) AND (planet.star_id = star.id) GROUP BY star.name \
         ORDER BY count(*) DESC LIMIT 3"
    );
}
