//! Gretel-shaped files, the documents file, and the reading of several sources into one corpus.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use coderag_core::{Digest, Document};
use coderag_corpus::{Table, documents, meta, read_all, read_documents, read_scripts};
use parquet::arrow::ArrowWriter;
use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;

/// The columns of gretelai/synthetic_text_to_sql.
const COLUMNS: [&str; 11] = [
    "id",
    "domain",
    "domain_description",
    "sql_complexity",
    "sql_complexity_description",
    "sql_task_type",
    "sql_task_type_description",
    "sql_prompt",
    "sql_context",
    "sql",
    "sql_explanation",
];

const CONTEXTS: [&str; 4] = [
    "CREATE TABLE salesperson (salesperson_id INT, name TEXT, region TEXT); INSERT INTO salesperson \
     (salesperson_id, name, region) VALUES (1, 'Ada \"the first\"', 'North, East');\n\
     CREATE TABLE timber_sales (sales_id INT, salesperson_id INT, volume REAL);",
    "CREATE TABLE menu (dish TEXT,\r\n price DECIMAL(5,2));",
    "CREATE TABLE salesperson (salesperson_id INT, name TEXT, region TEXT); INSERT INTO salesperson \
     (salesperson_id, name, region) VALUES (1, 'Ada \"the first\"', 'North, East');",
    "CREATE TABLE menu (dish TEXT,\r\n price DECIMAL(5,2));",
];

/// The cell of a row; `sql_context` is given, the others only have to be awkward.
fn value(row: usize, column: &str) -> String {
    match column {
        "id" => (row + 1).to_string(),
        "sql_context" => CONTEXTS[row].to_owned(),
        other => format!("{other} of \"row\" {row},\nwith a second line; é"),
    }
}

fn csv(path: &Path) {
    let mut writer = csv::Writer::from_path(path).unwrap();
    writer.write_record(COLUMNS).unwrap();
    for row in 0..CONTEXTS.len() {
        writer.write_record(COLUMNS.map(|column| value(row, column))).unwrap();
    }
    writer.flush().unwrap();
}

fn json_lines() -> String {
    let line = |row| {
        let object: serde_json::Map<_, _> = COLUMNS
            .iter()
            .map(|column| {
                let value = value(row, column);
                (column.to_string(), value.parse::<u64>().map_or(json!(value), |id| json!(id)))
            })
            .collect();
        serde_json::Value::Object(object).to_string() + "\n"
    };
    (0..CONTEXTS.len()).map(line).collect()
}

fn parquet(path: &Path) {
    let columns = COLUMNS.map(|column| {
        let array: ArrayRef = if column == "id" {
            Arc::new(Int32Array::from_iter_values(1..=CONTEXTS.len() as i32))
        } else {
            let values = (0..CONTEXTS.len()).map(|row| value(row, column));
            Arc::new(StringArray::from_iter_values(values))
        };
        (column, array)
    });
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn compress(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn folder_with(files: &[(&str, &[u8])]) -> (TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let paths = files.iter().map(|(name, content)| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    });
    let paths = paths.collect();
    (folder, paths)
}

fn refusal(name: &str, content: &[u8]) -> String {
    let (_folder, paths) = folder_with(&[(name, content)]);
    let error = read_documents(&paths[0]).unwrap_err();
    assert!(error.to_string().contains(name), "{error}");
    error.to_string()
}

#[test]
fn the_same_table_in_every_format_gives_the_same_documents() {
    let (folder, mut paths) = folder_with(&[
        ("g.jsonl", json_lines().as_bytes()),
        ("g.json", json_lines().as_bytes()),
        ("g2.jsonl.gz", &compress(&json_lines())),
    ]);
    for (name, write) in [("g.csv", csv as fn(&Path)), ("g.parquet", parquet)] {
        paths.push(folder.path().join(name));
        write(paths.last().unwrap());
    }
    let read = |path: &PathBuf| -> Vec<Document> {
        let mut documents = read_documents(path).unwrap();
        documents.iter_mut().for_each(|document| document.source.clear());
        documents
    };
    let first = read(&paths[0]);
    let titles: Vec<&str> = first.iter().map(|document| document.title.as_str()).collect();
    assert_eq!(titles, ["salesperson", "timber_sales", "menu"], "equal tables collapse");
    assert!(first[0].text.ends_with("region\n1 | Ada \"the first\" | North, East\n*/"));
    assert!(first[0].id.starts_with("gretel:salesperson:"));
    for path in &paths[1..] {
        assert_eq!(read(path), first, "{}", path.display());
    }
    assert_eq!(read_all(&paths).unwrap().len(), 3);
}

#[test]
fn the_same_contexts_in_every_format_are_the_same_scripts() {
    let (folder, mut paths) = folder_with(&[("g.jsonl", json_lines().as_bytes())]);
    for (name, write) in [("g.csv", csv as fn(&Path)), ("g.parquet", parquet)] {
        paths.push(folder.path().join(name));
        write(paths.last().unwrap());
    }
    for path in &paths {
        let scripts = read_scripts(path).unwrap();
        assert_eq!(scripts.len(), CONTEXTS.len());
        for (row, script) in scripts.iter().enumerate() {
            assert_eq!(script.text, CONTEXTS[row], "{}", path.display());
            let domain = (value(row, "domain"), value(row, "domain_description"));
            assert_eq!(script.domain, Some(domain), "{}", path.display());
            assert_eq!(script.source, path.display().to_string());
            assert_eq!((&script.database, &script.file), (&None, &None));
        }
    }
}

#[test]
fn tables_and_databases_are_scripts_too() {
    let line = |table: &str| {
        json!({
            "id": table, "source": "ours", "db_id": "shop",
            "ddl": format!("CREATE TABLE {table} (id INT)"),
        })
    };
    let lines = format!("{}\n{}\n", line("item"), line("sale"));
    let sql = "CREATE TABLE a (b INT);\nINSERT INTO a VALUES (1);";
    let (folder, paths) = folder_with(&[
        ("lines/tables.jsonl", lines.as_bytes()),
        ("zoo.sql", sql.as_bytes()),
        ("context.csv", b"sql_context\nCREATE TABLE t (x INT)\n"),
    ]);
    let read = |path: &Path| -> Vec<(Option<String>, String)> {
        let scripts = read_scripts(path).unwrap();
        scripts.into_iter().map(|script| (script.database, script.text)).collect()
    };
    let shop = Some("shop".to_owned());
    let tables = ["CREATE TABLE item (id INT)", "CREATE TABLE sale (id INT)"];
    assert_eq!(read(&paths[0]), tables.map(|table| (shop.clone(), table.to_owned())));
    assert_eq!(read(&paths[1]), [(Some("zoo".to_owned()), sql.to_owned())]);
    assert_eq!(read(&paths[2]), [(None, "CREATE TABLE t (x INT)".to_owned())]);
    assert_eq!(read(folder.path()).len(), 4);

    let documents = folder.path().join("documents.parquet");
    documents::write(&documents, &read_all(&paths[..2]).unwrap()).unwrap();
    let again = read(&documents);
    assert_eq!(again[0], (shop, "CREATE TABLE item (id INT);".to_owned()));
    // The sample rows of documents are comments, not statements.
    assert_eq!(again[2], (None, "CREATE TABLE a (b INT);".to_owned()));
}

#[test]
fn a_line_with_ddl_describes_one_table() {
    let line = json!({
        "id": "shop:item", "source": "ours", "db_id": "shop", "table": "item", "nl_table": "item",
        "ddl": "CREATE TABLE \"item\" (\"id\" INT, PRIMARY KEY (\"id\"))", "nl_columns": ["id"],
    });
    let (_folder, paths) = folder_with(&[("tables.jsonl", format!("{line}\n\n").as_bytes())]);
    let documents = read_documents(&paths[0]).unwrap();
    assert_eq!(documents.len(), 1);
    assert_eq!((&*documents[0].id, &*documents[0].title), ("shop:item", "shop.item"));
    assert_eq!(documents[0].source, "ours");
    assert_eq!(Table::of(&documents[0]).unwrap().primary_key, ["id"]);
}

#[test]
fn bad_rows_are_errors_that_name_the_line() {
    let good = "{\"sql_context\": \"CREATE TABLE a (x INT)\"}\n";
    let message = refusal("a.jsonl", format!("{good}\n{{\"sql_context\": 3}}\n").as_bytes());
    assert!(message.contains("line 3") && message.contains("string"), "{message}");
    let message = refusal("a.jsonl", format!("{good}{{\"sql\": \"\"}}\n").as_bytes());
    assert!(message.contains("line 2") && message.contains("`sql_context`"), "{message}");
    let message = refusal("a.jsonl", format!("{good}{{\"sql_con").as_bytes());
    assert!(message.contains("line 2"), "{message}");
    let message = refusal("a.jsonl", b"{\"id\": \"1\", \"ddl\": \"SELECT 1\"}");
    assert!(message.contains("line 1") && message.contains("CREATE TABLE"), "{message}");
    let two = b"{\"id\": \"1\", \"ddl\": \"CREATE TABLE a (x INT); CREATE TABLE b (y INT)\"}";
    assert!(refusal("a.jsonl", two).contains("one CREATE TABLE"));
    let message = refusal("a.csv", b"id,sql_context\n1,CREATE TABLE a (x INT)\n2\n");
    assert!(message.contains("line 3") && message.contains("1 fields"), "{message}");
    let message = refusal("a.csv", b"id,context\n1,x\n");
    assert!(
        message.contains("no column `sql_context`") && message.contains("`context`"),
        "{message}"
    );
    refusal("a.parquet", b"PAR1 but no more");
    refusal("a.jsonl.gz", b"not gzip");
    let cut = compress(&json_lines());
    refusal("b.jsonl.gz", &cut[..cut.len() / 2]);
}

#[test]
fn a_null_context_in_parquet_names_the_row() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("nulls.parquet");
    let column: ArrayRef = Arc::new(StringArray::from(vec![Some("CREATE TABLE a (x INT)"), None]));
    let batch = RecordBatch::try_from_iter([("sql_context", column)]).unwrap();
    let file = std::fs::File::create(&path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let message = read_documents(&path).unwrap_err().to_string();
    assert!(message.contains("row 2: `sql_context` is null"), "{message}");
}

#[test]
fn a_folder_is_read_in_the_order_of_its_paths() {
    let (folder, _) = folder_with(&[
        ("b.sql", b"CREATE TABLE b (x INT);"),
        ("a/c.jsonl", b"{\"sql_context\": \"CREATE TABLE c (x INT)\"}"),
        ("README.md", b"CREATE TABLE no (x INT);"),
        (".hidden.sql", b"CREATE TABLE no (x INT);"),
    ]);
    let database = folder.path().join("a/database-without-extension");
    rusqlite::Connection::open(&database).unwrap().execute_batch("CREATE TABLE d (x)").unwrap();
    let documents = read_documents(folder.path()).unwrap();
    let titles: Vec<&str> = documents.iter().map(|document| document.title.as_str()).collect();
    assert_eq!(titles, ["c", "database-without-extension.d", "b"]);
}

#[test]
fn sources_that_nobody_reads_are_errors() {
    assert!(refusal("notes.txt", b"hello").contains("expected .sql"));
    assert!(refusal("empty", b"").contains("expected .sql"));
    let folder = tempfile::tempdir().unwrap();
    assert!(read_documents(folder.path()).unwrap_err().to_string().contains("no corpus file"));
    assert!(read_documents(&folder.path().join("none")).is_err());
}

#[test]
fn equal_texts_collapse_and_equal_ids_are_told_apart() {
    let (_folder, paths) = folder_with(&[
        ("one/a.sql", b"CREATE TABLE x (p INT); CREATE TABLE y (q INT);"),
        ("two/a.sql", b"CREATE TABLE x (p INT);; CREATE TABLE y (other INT);"),
        ("two/b.sql", b"CREATE TABLE x (p INT); CREATE TABLE a.y (third INT);"),
    ]);
    let documents = read_all(&paths).unwrap();
    let ids: Vec<&str> = documents.iter().map(|document| document.id.as_str()).collect();
    assert_eq!(ids, ["ddl:a:x", "ddl:a:y", "ddl:a:y#2", "ddl:b:a.y"]);
    assert_eq!(documents[0].meta[meta::SAME_TEXT], json!([{ "id": "ddl:b:x", "title": "x" }]));
    assert!(!documents[1].meta.contains_key(meta::SAME_TEXT));
}

#[test]
fn a_changed_documents_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("documents.parquet");
    let mut document = Document {
        id: "1".into(),
        kind: Document::TABLE.into(),
        title: "a".into(),
        text: "CREATE TABLE a (x INT);".into(),
        source: "s".into(),
        language: "sql".into(),
        meta: serde_json::Map::new(),
        sha256: Digest::of("CREATE TABLE a (x INT);"),
    };
    documents::write(&path, std::slice::from_ref(&document)).unwrap();
    assert_eq!(documents::read(&path).unwrap(), [document.clone()]);
    document.text.push('!');
    documents::write(&path, &[document]).unwrap();
    let message = documents::read(&path).unwrap_err().to_string();
    assert!(message.contains("row 1") && message.contains("sha256"), "{message}");

    documents::write(&path, &[]).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    for length in 0..bytes.len() {
        std::fs::write(&path, &bytes[..length]).unwrap();
        assert!(documents::read(&path).is_err(), "cut at {length}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(50) })]

    #[test]
    fn documents_survive_the_parquet_file(
        texts in prop::collection::vec((".{0,20}", ".{0,60}", any::<i64>()), 0..20)
    ) {
        let documents: Vec<Document> = texts.iter().enumerate().map(|(number, (title, text, fact))| {
            Document {
                id: number.to_string(), kind: "table".into(), title: title.clone(),
                text: text.clone(), source: title.clone(), language: "sql".into(),
                meta: json!({ "fact": fact, title.clone(): [text] }).as_object().unwrap().clone(),
                sha256: Digest::of(text),
            }
        }).collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("documents.parquet");
        documents::write(&path, &documents).unwrap();
        prop_assert_eq!(read_documents(&path).unwrap(), documents);
    }
}
