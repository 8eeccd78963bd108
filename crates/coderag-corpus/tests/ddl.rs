//! DDL scripts: nothing is lost, whatever the dialect, and what is extracted agrees with sqlparser.
#![allow(clippy::unwrap_used)]

use coderag_core::Document;
use coderag_corpus::{Column, ForeignKey, Table, ddl};
use proptest::prelude::*;
use sqlparser::ast::Statement;
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;

fn read(script: &str) -> Vec<Document> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("script.sql");
    std::fs::write(&path, script).unwrap();
    ddl::read_file(&path).unwrap()
}

fn described(script: &str) -> Vec<Table> {
    read(script).iter().map(|document| Table::of(document).unwrap()).collect()
}

fn column(name: &str, data_type: &str) -> Column {
    Column { name: name.into(), data_type: data_type.into() }
}

#[test]
fn a_sqlite_script_gives_tables_with_columns_and_keys() {
    let documents = read(
        "PRAGMA foreign_keys = ON;
         CREATE TABLE IF NOT EXISTS shop.\"order line\" (
             id INTEGER PRIMARY KEY AUTOINCREMENT, -- the key; not a comma, not an end
             item INT NOT NULL REFERENCES item(id) ON DELETE CASCADE,
             price DECIMAL(10, 2) DEFAULT (1 + 2) CHECK (price > 0),
             note TEXT DEFAULT 'a, b; (c'
         );
         CREATE INDEX by_item ON \"order line\"(item);
         CREATE VIEW v AS SELECT 1;",
    );
    assert_eq!(documents.len(), 1);
    let document = &documents[0];
    assert_eq!(document.title, "shop.order line");
    assert_eq!(document.id, "ddl:script:shop.order line");
    assert!(
        document.text.starts_with("CREATE TABLE IF NOT EXISTS") && document.text.ends_with(");")
    );
    let table = Table::of(document).unwrap();
    assert_eq!(
        table.columns,
        [
            column("id", "INTEGER"),
            column("item", "INT"),
            column("price", "DECIMAL(10,2)"),
            column("note", "TEXT"),
        ]
    );
    assert_eq!(table.primary_key, ["id"]);
    let key = ForeignKey {
        columns: vec!["item".into()],
        table: "item".into(),
        references: vec!["id".into()],
    };
    assert_eq!(table.foreign_keys, [key]);
}

#[test]
fn a_mysql_dump_is_read() {
    let tables = described(
        "/*!40101 SET NAMES utf8 */;\n# a comment; with a semicolon\nDROP TABLE IF EXISTS `a`;
         CREATE TABLE `a` (
           `id` int(11) NOT NULL AUTO_INCREMENT COMMENT 'it\\'s; the key',
           `kind` enum('x','y') DEFAULT 'x',
           `b id` bigint unsigned,
           PRIMARY KEY (`id`), KEY `by_kind` (`kind`), UNIQUE KEY `u` (`kind`),
           CONSTRAINT `fk` FOREIGN KEY (`b id`) REFERENCES `b` (`key`)
         ) ENGINE=InnoDB DEFAULT CHARSET=utf8;
         INSERT INTO `a` VALUES (1,'it\\'s',NULL),(2,'y','3');
         CREATE TABLE `b` (`key` int, `period` int);",
    );
    assert_eq!(tables.len(), 2);
    assert_eq!(
        tables[0].columns,
        [
            column("id", "int(11)"),
            column("kind", "enum('x','y')"),
            column("b id", "bigint unsigned")
        ]
    );
    assert_eq!(tables[0].foreign_keys[0].columns, ["b id"]);
    assert_eq!(tables[0].foreign_keys[0].references, ["key"]);
    assert_eq!(tables[1].columns, [column("key", "int"), column("period", "int")]);
}

#[test]
fn keys_that_pg_dump_adds_later_stand_under_the_table() {
    let documents = read(
        "CREATE TABLE public.a (id integer NOT NULL, tags text[], b integer);
         CREATE FUNCTION f() RETURNS int AS $body$ SELECT 1; CREATE $body$ LANGUAGE sql;
         CREATE TABLE public.b (id integer, at timestamp with time zone);
         ALTER TABLE ONLY public.a ADD CONSTRAINT a_pkey PRIMARY KEY (id);
         ALTER TABLE ONLY public.a
             ADD CONSTRAINT a_b FOREIGN KEY (b) REFERENCES public.b(id) ON DELETE CASCADE;
         ALTER TABLE public.a OWNER TO someone;",
    );
    assert_eq!(documents.len(), 2);
    let table = Table::of(&documents[0]).unwrap();
    assert_eq!(table.columns[1], column("tags", "text[]"));
    assert_eq!(table.primary_key, ["id"]);
    assert_eq!(table.foreign_keys[0].table, "b");
    assert_eq!(documents[0].text.matches("ALTER TABLE").count(), 2, "{}", documents[0].text);
    assert_eq!(Table::of(&documents[1]).unwrap().columns[1].data_type, "timestamp with time zone");
}

#[test]
fn a_sql_server_script_without_semicolons_is_read() {
    let documents = read(
        "USE [shop]\nGO\nCREATE TABLE [dbo].[Order Details](\n\t[Order ID] [int] IDENTITY(1,1) NOT \
         NULL,\n\t[Note] [nvarchar](max) NULL,\n CONSTRAINT [PK] PRIMARY KEY CLUSTERED ([Order ID] \
         ASC)\n) ON [PRIMARY]\nGO\nINSERT INTO [dbo].[Order Details] ([Note]) VALUES (N'x')\nGO\n\
         CREATE TABLE #temporary (x int)\nCREATE TABLE last (y int)",
    );
    let titles: Vec<&str> = documents.iter().map(|document| document.title.as_str()).collect();
    assert_eq!(titles, ["dbo.Order Details", "#temporary", "last"]);
    let table = Table::of(&documents[0]).unwrap();
    assert_eq!(table.columns, [column("Order ID", "int"), column("Note", "nvarchar(max)")]);
    assert_eq!(table.primary_key, ["Order ID"]);
    assert!(!documents[0].text.contains("GO"), "{}", documents[0].text);
    assert!(documents[0].text.ends_with("Note\nx\n*/"), "{}", documents[0].text);
}

#[test]
fn inserted_rows_become_sample_rows_in_a_comment() {
    let documents = read(
        "CREATE TABLE a (id INT, name TEXT); CREATE TABLE b (x INT);
         INSERT INTO a VALUES (1, 'it''s; */ one'), (2, NULL); INSERT INTO b (x) VALUES (-1.5);
         INSERT INTO a (id, name) VALUES (3, 'c'), (4, 'd');",
    );
    assert_eq!(
        documents[0].text,
        "CREATE TABLE a (id INT, name TEXT);\n/*\n3 example rows:\nid | name\n1 | it's; * / one\n2 | \
         NULL\n3 | c\n*/"
    );
    assert_eq!(documents[1].text, "CREATE TABLE b (x INT);\n/*\n1 example row:\nx\n-1.5\n*/");
}

#[test]
fn a_broken_table_does_not_hide_the_next() {
    for script in [
        "CREATE TABLE a (x INT; CREATE TABLE b (y INT);",
        "CREATE TABLE a (x INT DEFAULT 'open); CREATE TABLE b (y INT);",
        "CREATE TABLE a (x INT CREATE TABLE b (y INT)",
        "CREATE TABLE a (x INT, \"open INT); CREATE TABLE b (y INT);",
        "CREATE TABLE a (x INT)); nonsense; CREATE TABLE b (y INT);",
    ] {
        let names: Vec<String> = described(script).into_iter().map(|table| table.name).collect();
        assert_eq!(names, ["a", "b"], "{script}");
    }
}

#[test]
fn a_file_that_is_not_text_is_an_error_that_names_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("latin.sql");
    std::fs::write(&path, b"CREATE TABLE a (x INT);\xe9").unwrap();
    let message = ddl::read_file(&path).unwrap_err().to_string();
    assert!(message.contains("latin.sql") && message.contains("byte 23"), "{message}");
}

/// A name in the quotes of a dialect.
fn quoted_name() -> impl Strategy<Value = (String, String)> {
    let plain = "[a-z][a-z0-9_]{0,6}x".prop_map(|name| (name.clone(), name));
    let spaced = "[a-zé ;,()'-]{1,8}x";
    let standard = spaced.prop_map(|name| (format!("\"{name}\""), name));
    let mysql = "[a-z ;,()\"'-]{1,8}x".prop_map(|name| (format!("`{name}`"), name));
    let server = "[a-z][a-z ;,()\"'`-]{0,8}x".prop_map(|name| (format!("[{name}]"), name));
    prop_oneof![plain, standard, mysql, server]
}

/// What may stand between statements.
fn between() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just(";\n"),
        Just("; -- a comment; CREATE\n"),
        Just(";/* it's; ( */"),
        Just(";\nINSERT INTO nowhere VALUES ('a;''b (', \"c\");\n"),
        Just(";\nPRAGMA x = 1;\n"),
        Just("\nGO\n"),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn any_text_is_read_without_a_panic(script in "(CREATE TABLE |INSERT INTO |[-#'\"`$a1;,.\\[\\]()/*\\\\ \né]|VALUES|PRIMARY KEY|REFERENCES){0,40}") {
        read(&script);
    }

    #[test]
    fn no_table_is_lost(
        tables in prop::collection::vec(
            (quoted_name(), prop::collection::vec(quoted_name(), 1..5), between()), 1..6)
    ) {
        let mut script = String::new();
        for ((name, _), columns, between) in &tables {
            let columns: Vec<String> =
                columns.iter().map(|(column, _)| format!("{column} VARCHAR(9) DEFAULT 'a;)'")).collect();
            script += &format!("CREATE TABLE {name} ({}){between}", columns.join(", "));
        }
        let found = described(&script);
        prop_assert_eq!(found.len(), tables.len(), "{}", script);
        for (found, ((_, name), columns, _)) in found.iter().zip(&tables) {
            prop_assert_eq!(&found.name, name, "{}", script);
            let expected: Vec<Column> =
                columns.iter().map(|(_, name)| column(name, "VARCHAR(9)")).collect();
            prop_assert_eq!(&found.columns, &expected, "{}", script);
        }
    }

    #[test]
    fn columns_agree_with_sqlparser(
        name in "t[a-z]{1,5}",
        columns in prop::collection::vec(
            ("c[a-z]{1,6}", prop::sample::select(vec![
                "INTEGER", "DECIMAL(10,2)", "DOUBLE PRECISION", "TEXT NOT NULL", "INT UNIQUE",
                "DATE DEFAULT CURRENT_DATE", "INT CHECK (1 < 2)", "VARCHAR(3) DEFAULT 'a,b'",
                "BIGINT REFERENCES other (id)", "TIMESTAMP WITH TIME ZONE",
            ])), 1..6)
    ) {
        let list: Vec<String> = columns.iter().map(|(name, rest)| format!("{name} {rest}")).collect();
        let script = format!("CREATE TABLE {name} ({}, UNIQUE (x), FOREIGN KEY (y) REFERENCES z (w))", list.join(", "));
        let parsed = Parser::parse_sql(&GenericDialect {}, &script).unwrap();
        let Some(Statement::CreateTable(parsed)) = parsed.first() else { panic!("{script}") };
        let expected: Vec<Column> = parsed.columns.iter()
            .map(|parsed| column(&parsed.name.value, &parsed.data_type.to_string())).collect();
        prop_assert_eq!(&described(&script)[0].columns, &expected);
    }
}
