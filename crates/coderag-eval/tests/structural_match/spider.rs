//! Spider's gold queries on Spider's databases.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;

use coderag_eval::structure::{NormalizationOptions, SchemaColumns, normalize, structural_match};
use flate2::read::GzDecoder;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use super::generate::Random;
use super::mutate::tokens;
use super::{KEPT, bag};

struct Gold {
    database: String,
    sql: String,
    runs: bool,
}

fn data() -> Option<PathBuf> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let folder = std::env::var_os("CODERAG_DATA").map_or_else(|| default.into(), PathBuf::from);
    let spider = folder.join("spider");
    if spider.is_dir() {
        return Some(spider);
    }
    println!("skipped: the structural match of Spider's gold; {} is missing", spider.display());
    None
}

fn gold(spider: &std::path::Path) -> Vec<Gold> {
    let mut gold = Vec::new();
    for name in ["train.jsonl.gz", "dev_visible.jsonl.gz"] {
        let file = std::fs::File::open(spider.join(name)).unwrap();
        for line in BufReader::new(GzDecoder::new(file)).lines() {
            let row: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let text = |key: &str| row[key].as_str().unwrap().to_owned();
            gold.push(Gold {
                database: text("db_id"),
                sql: text("query"),
                runs: row["exec"] == "ok",
            });
        }
    }
    gold
}

fn schemas(spider: &std::path::Path) -> HashMap<String, SchemaColumns> {
    let file = std::fs::File::open(spider.join("tables.json")).unwrap();
    let databases: Vec<Value> = serde_json::from_reader(BufReader::new(file)).unwrap();
    databases
        .iter()
        .map(|database| {
            let tables = database["table_names_original"].as_array().unwrap();
            let columns = database["column_names_original"].as_array().unwrap();
            let schema = tables.iter().enumerate().map(|(table, name)| {
                let own = columns.iter().filter(move |column| column[0] == table);
                (name.as_str().unwrap(), own.map(|column| column[1].as_str().unwrap()))
            });
            (database["db_id"].as_str().unwrap().to_owned(), schema.collect())
        })
        .collect()
}

fn open(spider: &std::path::Path, name: &str) -> Connection {
    let path = spider.join("database").join(name).join(format!("{name}.sqlite"));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags).unwrap()
}

/// The query with other table aliases, in another case and with other spaces.
fn respelt(sql: &str, seed: u64) -> String {
    let mut random = Random(seed);
    let tokens = tokens(sql);
    let mut aliases: HashMap<String, String> = HashMap::new();
    for pair in tokens.windows(2) {
        let number = pair[1].strip_prefix(['T', 't']).and_then(|digits| digits.parse::<u32>().ok());
        if let (true, Some(number)) = (pair[0].eq_ignore_ascii_case("as"), number) {
            aliases.insert(pair[1].to_lowercase(), format!("relation_{}", 100 - number));
        }
    }
    let upper = random.one_in(2);
    let mut respelt = String::new();
    for token in tokens {
        let token = aliases.get(&token.to_lowercase()).unwrap_or(&token);
        let quoted = token.starts_with(['\'', '"', '`', '[']);
        match (quoted, upper) {
            (true, _) => respelt.push_str(token),
            (false, true) => respelt.push_str(&token.to_uppercase()),
            (false, false) => respelt.push_str(&token.to_lowercase()),
        }
        respelt.push_str(random.word(&[" ", "  ", "\n", "\t", " /* - */ "]));
    }
    respelt + ";"
}

#[test]
fn gold_queries_match_themselves_in_any_spelling() {
    let Some(spider) = data() else { return };
    let schemas = schemas(&spider);
    let gold = gold(&spider);
    let (mut not_read, mut as_written) = (Vec::new(), Vec::new());
    for (position, Gold { database, sql, runs }) in gold.iter().enumerate() {
        let schema = &schemas[database];
        let Ok(normalized) = normalize(sql, schema, KEPT) else {
            not_read.push(sql);
            assert!(!runs, "{sql}");
            continue;
        };
        assert!(structural_match(sql, sql, schema, KEPT).unwrap());
        let respelt = respelt(sql, position as u64);
        if normalized.is_understood() {
            assert!(structural_match(sql, &respelt, schema, KEPT).unwrap(), "{sql}\n{respelt}");
        } else {
            as_written.push(sql);
            assert!(!runs, "{sql}");
        }
    }
    let count = gold.len();
    println!(
        "{count} gold queries: {} not read, {} not understood",
        not_read.len(),
        as_written.len()
    );
    assert!(
        count > 8_000 && not_read.len() <= 2 && as_written.len() <= 1,
        "{not_read:?} {as_written:?}"
    );
}

/// The rows without their order and that of their columns.
fn cells(connection: &Connection, sql: &str) -> Vec<Vec<String>> {
    let sorted = |row: String| {
        let mut cells: Vec<String> = row.split('|').map(str::to_owned).collect();
        cells.sort_unstable();
        cells
    };
    let mut rows: Vec<_> = bag(connection, sql).unwrap().into_iter().map(sorted).collect();
    rows.sort_unstable();
    rows
}

#[test]
fn gold_queries_that_match_give_the_same_rows() {
    let Some(spider) = data() else { return };
    let schemas = schemas(&spider);
    let options = NormalizationOptions::default();
    let mut groups: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for Gold { database, sql, runs } in gold(&spider) {
        if runs {
            let normalized = normalize(&sql, &schemas[&database], options).unwrap();
            let group = groups.entry((database, normalized.to_string())).or_default();
            if !group.contains(&sql) {
                group.push(sql);
            }
        }
    }
    let several: Vec<_> = groups.iter().filter(|(_, spellings)| spellings.len() > 1).collect();
    for ((database, canonical), spellings) in &several {
        let connection = open(&spider, database);
        let expected = cells(&connection, &spellings[0]);
        for sql in spellings.iter().chain([canonical]) {
            assert_eq!(cells(&connection, sql), expected, "{}\n{sql}", spellings[0]);
        }
    }
    println!("{} of {} gold queries have several spellings", several.len(), groups.len());
    assert!(several.len() >= 10);
}

#[test]
fn the_canonical_text_of_gold_queries_gives_their_rows() {
    const EVERY: usize = 12;
    let Some(spider) = data() else { return };
    let schemas = schemas(&spider);
    let every = if std::env::var_os("CODERAG_FUZZ_FACTOR").is_some() { 1 } else { EVERY };
    let mut compared = 0;
    let mut connections: HashMap<String, Connection> = HashMap::new();
    for Gold { database, sql, .. } in gold(&spider).iter().filter(|gold| gold.runs).step_by(every) {
        let connection =
            connections.entry(database.clone()).or_insert_with(|| open(&spider, database));
        let canonical = normalize(sql, &schemas[database], KEPT).unwrap().to_string();
        let expected = bag(connection, sql).unwrap();
        assert_eq!(bag(connection, &canonical).as_ref(), Ok(&expected), "{sql}\n{canonical}");
        compared += 1;
    }
    println!("{compared} gold queries compared with their canonical text");
}
