//! Schemas as seeds: what a question and its SQL are written about.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::PathBuf;

use coderag_core::Digest;
use coderag_corpus::{SchemaScript, read_scripts};
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::sql::schema::Schema;

/// Which schemas become seeds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SchemaSeedConfig {
    /// Files and folders of DDL, gretel's columns (CSV, Parquet, JSON lines), a schema corpus as JSON lines
    /// or Parquet, and SQLite databases, on which statements then run.
    pub files: Vec<PathBuf>,
    /// The fewest columns of all tables together.
    pub least_columns: usize,
    /// The most tables. Of a larger database each table becomes a seed together with tables that foreign
    /// keys connect it with, up to this many.
    pub most_tables: usize,
    /// The most characters of the context; a longer one first loses its rows.
    pub most_characters: usize,
}

impl Default for SchemaSeedConfig {
    fn default() -> Self {
        Self { files: Vec::new(), least_columns: 3, most_tables: 8, most_characters: 6_000 }
    }
}

/// One schema.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SchemaSeed {
    /// From its context alone.
    pub(crate) id: String,
    /// The database's name or else its first table's.
    pub(crate) name: String,
    /// gretel's `sql_context`: CREATE TABLE statements, then the INSERT statements that are known.
    pub(crate) context: String,
    /// The subject and its description, where the source says.
    pub(crate) domain: Option<(String, String)>,
    /// Where it comes from.
    pub(crate) source: String,
    /// How many tables it has.
    pub(crate) tables: usize,
    /// The live database on which its statements run.
    pub(crate) database: Option<PathBuf>,
}

/// The seeds, and what became of the schemas that are none.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SchemaSeeds {
    /// In the order of the sources.
    pub(crate) seeds: Vec<SchemaSeed>,
    /// How many schemas were left out, by reason.
    pub(crate) skipped: BTreeMap<Skipped, usize>,
    /// For each reason the first schema and what exactly was wrong.
    pub(crate) examples: BTreeMap<Skipped, String>,
}

/// Why a schema is no seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Skipped {
    /// No database can be built from it.
    Unusable,
    /// Too few columns.
    FewColumns,
    /// Too many characters.
    Long,
    /// Another seed has the same context.
    Duplicate,
}

impl fmt::Display for Skipped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Unusable => "no database can be built from it",
            Self::FewColumns => "it has too few columns",
            Self::Long => "it is too long",
            Self::Duplicate => "another seed is the same",
        })
    }
}

impl SchemaSeeds {
    /// Reads the sources.
    ///
    /// # Errors
    /// As [`read_scripts`].
    pub(crate) fn read(config: &SchemaSeedConfig) -> Result<Self> {
        let mut read = Self::default();
        let mut contexts = HashSet::new();
        for path in &config.files {
            for script in databases(read_scripts(path)?) {
                read.add(script, config, &mut contexts);
            }
        }
        for (reason, count) in &read.skipped {
            tracing::info!(%reason, count, "schemas are left out");
        }
        Ok(read)
    }

    /// How many there are, and how many schemas were left out for what reason.
    pub(crate) fn summary(&self) -> serde_json::Value {
        let skipped = self.skipped.iter().map(|(reason, count)| (reason.to_string(), *count));
        let skipped: BTreeMap<String, usize> = skipped.collect();
        serde_json::json!({ "used": self.seeds.len(), "skipped": skipped })
    }

    fn add(
        &mut self,
        script: SchemaScript,
        config: &SchemaSeedConfig,
        contexts: &mut HashSet<Digest>,
    ) {
        let title = script.database.clone().unwrap_or_else(|| script.source.clone());
        let schema = match Schema::parse(&script.text) {
            Ok(schema) => schema,
            Err(reason) => return self.skip(Skipped::Unusable, format!("{title}: {reason}")),
        };
        for group in groups(&schema, config.most_tables) {
            let tables: Vec<_> =
                group.iter().filter_map(|position| schema.tables.get(*position)).collect();
            let table_name = tables.first().map_or_else(String::new, |table| table.name.clone());
            let is_whole = group.len() == schema.tables.len();
            let name = match &script.database {
                Some(database) if is_whole => database.clone(),
                Some(database) => format!("{database}.{table_name}"),
                None => table_name,
            };
            // The text of a whole schema is its author's, down to the line breaks.
            let mut context = if is_whole && script.file.is_none() {
                script.text.trim().to_owned()
            } else {
                schema.script(&group)
            };
            if context.chars().count() > config.most_characters {
                context = schema.ddl(&group);
            }
            let columns: usize = tables.iter().map(|table| table.columns.len()).sum();
            let characters = context.chars().count();
            let digest = Digest::of(&context);
            if columns < config.least_columns {
                self.skip(Skipped::FewColumns, format!("{name}: {columns}"));
            } else if characters > config.most_characters {
                self.skip(Skipped::Long, format!("{name}: {characters} characters"));
            } else if !contexts.insert(digest) {
                self.skip(Skipped::Duplicate, name);
            } else {
                self.seeds.push(SchemaSeed {
                    id: format!("schema:{:.16}", digest.to_string()),
                    name,
                    context,
                    domain: script.domain.clone(),
                    source: script.source.clone(),
                    tables: tables.len(),
                    database: script.file.clone(),
                });
            }
        }
    }

    fn skip(&mut self, reason: Skipped, example: String) {
        *self.skipped.entry(reason).or_default() += 1;
        self.examples.entry(reason).or_insert(example);
    }
}

/// Joins the scripts of one database and source into one, at the place of the first.
fn databases(scripts: Vec<SchemaScript>) -> Vec<SchemaScript> {
    let mut joined: Vec<SchemaScript> = Vec::new();
    let mut positions: BTreeMap<(String, String), usize> = BTreeMap::new();
    for script in scripts {
        let Some(database) = script.database.clone().filter(|_| script.file.is_none()) else {
            joined.push(script);
            continue;
        };
        let key = (script.source.clone(), database);
        match positions.get(&key).and_then(|position| joined.get_mut(*position)) {
            Some(first) => {
                let ends = first.text.trim_end().ends_with(';');
                first.text.push_str(if ends { "\n" } else { ";\n" });
                first.text.push_str(&script.text);
            }
            None => {
                positions.insert(key, joined.len());
                joined.push(script);
            }
        }
    }
    joined
}

/// Groups of at most `most` tables: the whole schema, or around each table those that foreign keys connect
/// it with, the nearest first.
fn groups(schema: &Schema, most: usize) -> Vec<Vec<usize>> {
    let count = schema.tables.len();
    if count <= most {
        return vec![(0..count).collect()];
    }
    let mut neighbours: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (position, table) in schema.tables.iter().enumerate() {
        for reference in &table.references {
            for (from, to) in [(position, reference.table), (reference.table, position)] {
                if let Some(neighbours) = neighbours.get_mut(from) {
                    neighbours.push(to);
                }
            }
        }
    }
    let around = |start: usize| {
        let mut group = vec![start];
        let mut next = 0;
        while let Some(table) = group.get(next).copied() {
            for neighbour in neighbours.get(table).into_iter().flatten() {
                if group.len() < most && !group.contains(neighbour) {
                    group.push(*neighbour);
                }
            }
            next += 1;
        }
        // The order of the source; two tables may have the same neighbours.
        group.sort_unstable();
        group
    };
    let mut seen = HashSet::new();
    (0..count).map(around).filter(|group| seen.insert(group.clone())).collect()
}

#[cfg(test)]
#[expect(clippy::print_stdout, reason = "says what was left out, and what was skipped")]
mod tests {
    use std::path::Path;

    use super::*;

    fn read(files: &[&Path], most_tables: usize) -> SchemaSeeds {
        let files = files.iter().map(|file| file.to_path_buf()).collect();
        let config = SchemaSeedConfig { files, most_tables, ..SchemaSeedConfig::default() };
        SchemaSeeds::read(&config).unwrap()
    }

    #[test]
    fn tables_of_one_database_are_one_seed_and_contexts_stay_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let corpus = folder.path().join("corpus.jsonl");
        let context = "CREATE TABLE a (x INT, y INT, z INT); INSERT INTO a VALUES (1, 2, 3)";
        let lines = [
            r#"{"id": "1", "db_id": "shop", "table": "item", "ddl": "CREATE TABLE item (id INT PRIMARY KEY, name TEXT)"}"#.to_owned(),
            format!(r#"{{"sql_context": "{context}", "domain": "sport", "domain_description": "Games."}}"#),
            r#"{"id": "2", "db_id": "shop", "table": "sale", "ddl": "CREATE TABLE sale (item INT REFERENCES item)"}"#.to_owned(),
            format!(r#"{{"sql_context": "{context}"}}"#),
            r#"{"sql_context": "CREATE TABLE b (x INT)"}"#.to_owned(),
            r#"{"sql_context": "DROP TABLE b"}"#.to_owned(),
        ];
        std::fs::write(&corpus, lines.join("\n")).unwrap();
        let SchemaSeeds { seeds, skipped, examples } = read(&[&corpus], 8);
        let [shop, games] = seeds.as_slice() else { panic!("{seeds:?}") };
        assert_eq!((shop.name.as_str(), shop.tables), ("shop", 2));
        assert_eq!(
            shop.context,
            "CREATE TABLE item (id INT PRIMARY KEY, name TEXT);\nCREATE TABLE sale (item INT REFERENCES item)"
        );
        assert_eq!(games.context, context);
        assert_eq!(games.domain, Some(("sport".to_owned(), "Games.".to_owned())));
        assert_eq!(
            skipped.into_iter().collect::<Vec<_>>(),
            [(Skipped::Unusable, 1), (Skipped::FewColumns, 1), (Skipped::Duplicate, 1)]
        );
        let reason = &examples[&Skipped::Unusable];
        assert!(reason.ends_with(": there is no CREATE TABLE statement"), "{reason}");
    }

    #[test]
    fn a_large_schema_is_cut_along_its_foreign_keys() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("chain.sql");
        let tables: Vec<String> = (0..6)
            .map(|number| match number {
                0 | 5 => format!("CREATE TABLE t{number} (id INT PRIMARY KEY, b INT, c INT);"),
                _ => format!(
                    "CREATE TABLE t{number} (id INT PRIMARY KEY, b INT REFERENCES t{}(id), c INT);",
                    number - 1
                ),
            })
            .collect();
        let rows = "INSERT INTO t2 VALUES (1, 2, 3);";
        std::fs::write(&file, format!("{}\n{rows}", tables.join("\n"))).unwrap();
        let seeds = read(&[&file], 3).seeds;
        let all: Vec<(String, usize)> =
            seeds.iter().map(|seed| (seed.name.clone(), seed.tables)).collect();
        // Around t0 and t1: t0 t1 t2; t2: t1 t2 t3; t3 and t4: t2 t3 t4; t5 is alone.
        let wanted = [("chain.t0", 3), ("chain.t1", 3), ("chain.t2", 3), ("chain.t5", 1)];
        assert_eq!(all, wanted.map(|(name, tables)| (name.to_owned(), tables)));
        assert_eq!(seeds[1].context, format!("{}\n{rows}", tables[1..4].join("\n")));
        assert_eq!(read(&[&file], 3).seeds, seeds);
    }

    #[test]
    fn a_live_database_keeps_its_file_and_shows_a_few_rows() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("zoo.sqlite");
        let connection = rusqlite::Connection::open(&file).unwrap();
        connection
            .execute_batch(
                "CREATE TABLE animal (id INTEGER PRIMARY KEY, name TEXT, photo BLOB);
                 INSERT INTO animal VALUES (1, 'Gus''s', x'00'), (2, NULL, NULL), (3, 'C', 1.5), (4, 'D', 1);
                 CREATE VIEW names AS SELECT name FROM animal;",
            )
            .unwrap();
        drop(connection);
        let before = std::fs::read(&file).unwrap();
        let seeds = read(&[&file], 8).seeds;
        let [seed] = seeds.as_slice() else { panic!("{seeds:?}") };
        assert_eq!(seed.database.as_deref(), Some(file.as_path()));
        assert_eq!(
            seed.context,
            "CREATE TABLE animal (id INTEGER PRIMARY KEY, name TEXT, photo BLOB);\n\
             INSERT INTO \"animal\" (\"id\", \"name\", \"photo\") VALUES (1, 'Gus''s', NULL);\n\
             INSERT INTO \"animal\" (\"id\", \"name\", \"photo\") VALUES (2, NULL, NULL);\n\
             INSERT INTO \"animal\" (\"id\", \"name\", \"photo\") VALUES (3, 'C', 1.5);"
        );
        let schema = Schema::parse(&seed.context).unwrap();
        let limits = coderag_sql::Limits::default();
        let databases = crate::sql::execution::Databases::live(&file, &schema, &limits).unwrap();
        let run = |sql| databases.run(sql).unwrap();
        assert_eq!(run("SELECT id FROM animal").unwrap().results[0].rows.len(), 4);
        assert!(run("DELETE FROM animal").is_err());
        assert_eq!(std::fs::read(&file).unwrap(), before);
    }

    #[test]
    fn most_of_a_real_corpus_is_usable() {
        let data = std::env::var_os("CODERAG_DATA").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
            PathBuf::from,
        );
        let corpus = data.join("schema_corpus/tables.jsonl.gz");
        let databases = data.join("spider/database");
        if !corpus.exists() || !databases.exists() {
            println!("skipped: no {} or {}", corpus.display(), databases.display());
            return;
        }
        for (files, least) in [(&corpus, 17_000), (&databases, 140)] {
            let SchemaSeeds { seeds, skipped, .. } = read(&[files], 8);
            println!("{}: {} seeds; left out {skipped:?}", files.display(), seeds.len());
            let mut tables = BTreeMap::<usize, usize>::new();
            for seed in &seeds {
                *tables.entry(seed.tables).or_default() += 1;
                Schema::parse(&seed.context).unwrap();
            }
            println!("seeds by number of tables: {tables:?}");
            assert!(seeds.len() > least, "{} seeds", seeds.len());
            assert_eq!(skipped.get(&Skipped::Unusable).copied().unwrap_or_default(), 0);
        }
    }
}
