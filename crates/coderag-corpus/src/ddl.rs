//! DDL scripts of any dialect: one document per CREATE TABLE statement.
//!
//! A script is cut into tokens and statements rather than parsed by one dialect's grammar, so that
//! no table is lost to a construct the grammar lacks, an unbalanced bracket or a missing semicolon.
//! Keys that the script adds by ALTER TABLE stand under the table's DDL, and the first rows of
//! INSERT INTO … VALUES are shown as sample rows. Every other statement is passed over.

use std::io::Read;
use std::path::Path;

use coderag_core::Document;

use crate::compressed::open;
use crate::lexer::{Kind, Token, tokens};
use crate::sample::{SampleRows, block, cell};
use crate::table::statement;
use crate::{Column, Error, ForeignKey, Result, Table};

/// One table of a script.
#[derive(Debug)]
pub struct ScriptTable {
    /// What the statement says.
    pub table: Table,
    /// The CREATE TABLE statement as written, then the ALTER TABLE statements that add keys to it,
    /// then a comment with sample rows.
    pub text: String,
}

/// Reads a DDL file, compressed if its name ends in `.gz`.
///
/// # Errors
/// [`Error::Core`] when the file cannot be read, [`Error::NotUtf8`].
pub fn read_file(path: &Path) -> Result<Vec<Document>> {
    let text = read_text(path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = name.split('.').next().unwrap_or_default();
    let source = path.display().to_string();
    let tables = tables(&text, SampleRows::default());
    let documents = tables.into_iter().map(|ScriptTable { table, text }| {
        let id = format!("ddl:{stem}:{}", table.title());
        table.document(id, text, &source)
    });
    Ok(documents.collect())
}

/// The text of a DDL file, decompressed if its name ends in `.gz`.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    open(path)?.read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    String::from_utf8(bytes).map_err(|error| Error::NotUtf8 {
        path: path.to_owned(),
        offset: error.utf8_error().valid_up_to(),
    })
}

/// The tables of a script in order. A qualified name `shop.item` gives the database `shop`.
pub fn tables(sql: &str, sample_rows: SampleRows) -> Vec<ScriptTable> {
    let tokens = tokens(sql);
    let mut found: Vec<Draft> = Vec::new();
    for tokens in statements(&tokens) {
        let mut cursor = Cursor { tokens, position: 0 };
        if cursor.create_table() {
            if let Some(table) = create_table(&mut cursor) {
                let ddl = statement(span(sql, tokens));
                found.push(Draft { table, ddl, rows: None });
            }
        } else if cursor.words(&["ALTER", "TABLE"]) {
            if let Some(draft) = cursor.existing_table(&mut found) {
                add_keys(&mut cursor, draft, span(sql, tokens));
            }
        } else if cursor.words(&["INSERT"])
            && let Some(draft) = cursor.inserted_table(&mut found)
        {
            add_rows(&mut cursor, draft, sample_rows);
        }
    }
    found.into_iter().map(Draft::finish).collect()
}

/// The statements of a script as written, without their semicolons, cut as [`tables`] cuts them.
pub fn split(sql: &str) -> Vec<&str> {
    let tokens = tokens(sql);
    let spans = statements(&tokens).into_iter().map(|tokens| span(sql, tokens));
    spans.filter(|statement| !statement.is_empty()).collect()
}

struct Draft {
    table: Table,
    ddl: String,
    rows: Option<Rows>,
}

struct Rows {
    names: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Draft {
    fn finish(self) -> ScriptTable {
        let mut text = self.ddl;
        if let Some(Rows { names, rows }) = self.rows {
            text.push_str(&block(&names, &rows));
        }
        ScriptTable { table: self.table, text }
    }
}

/// Groups tokens into statements. A semicolon ends a statement even inside brackets, because an
/// unbalanced bracket must not swallow the tables after it; scripts without semicolons are cut
/// where a new statement can only begin.
fn statements<'a, 'b>(tokens: &'b [Token<'a>]) -> Vec<&'b [Token<'a>]> {
    let mut statements = Vec::new();
    let mut start = 0;
    let mut depth = 0_usize;
    for (position, token) in tokens.iter().enumerate() {
        let rest = tokens.get(position..).unwrap_or_default();
        let ends = token.is_symbol(';');
        if ends || (position > start && begins_statement(rest, depth)) {
            statements.push(tokens.get(start..position).unwrap_or_default());
            start = position + usize::from(ends);
            depth = 0;
        }
        match token.text {
            "(" => depth += 1,
            ")" => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    statements.push(tokens.get(start..).unwrap_or_default());
    statements
}

fn begins_statement(tokens: &[Token<'_>], depth: usize) -> bool {
    let mut cursor = Cursor { tokens, position: 0 };
    let Some(first) = tokens.first().filter(|token| token.kind == Kind::Word) else {
        return false;
    };
    if first.is("CREATE") {
        // Inside brackets `create` may be a column's name.
        return depth == 0 || cursor.create_table();
    }
    depth == 0
        && (cursor.words(&["INSERT", "INTO"])
            || first.starts_line
                && ["ALTER", "DROP", "EXEC", "GO", "GRANT", "USE"]
                    .iter()
                    .any(|keyword| first.is(keyword)))
}

/// The source from the first to the last token.
fn span<'a>(sql: &'a str, tokens: &[Token<'_>]) -> &'a str {
    match (tokens.first(), tokens.last()) {
        (Some(first), Some(last)) => sql.get(first.start..last.end()).unwrap_or_default(),
        _ => "",
    }
}

/// A position in a statement.
struct Cursor<'a, 'b> {
    tokens: &'b [Token<'a>],
    position: usize,
}

impl<'a, 'b> Cursor<'a, 'b> {
    fn peek(&self) -> Option<&'b Token<'a>> {
        self.tokens.get(self.position)
    }

    fn next(&mut self) -> Option<&'b Token<'a>> {
        let token = self.peek()?;
        self.position += 1;
        Some(token)
    }

    /// Passes these keywords, or stays.
    fn words(&mut self, keywords: &[&str]) -> bool {
        let rest = self.tokens.get(self.position..).unwrap_or_default();
        let all = rest.len() >= keywords.len()
            && rest.iter().zip(keywords).all(|(token, keyword)| token.is(keyword));
        if all {
            self.position += keywords.len();
        }
        all
    }

    fn symbol(&mut self, symbol: char) -> bool {
        let is = self.peek().is_some_and(|token| token.is_symbol(symbol));
        self.position += usize::from(is);
        is
    }

    /// Passes `CREATE … TABLE`, with up to three words between such as `OR REPLACE TEMPORARY`.
    fn create_table(&mut self) -> bool {
        const BETWEEN: [&str; 13] = [
            "OR",
            "REPLACE",
            "GLOBAL",
            "LOCAL",
            "TEMP",
            "TEMPORARY",
            "UNLOGGED",
            "VIRTUAL",
            "EXTERNAL",
            "FOREIGN",
            "TRANSIENT",
            "COLUMN",
            "HYBRID",
        ];
        let begin = self.position;
        if self.words(&["CREATE"]) {
            let between = |token: &Token<'_>| BETWEEN.iter().any(|word| token.is(word));
            while self.position - begin <= 3 && self.peek().is_some_and(between) {
                self.position += 1;
            }
            if self.words(&["TABLE"]) {
                return true;
            }
        }
        self.position = begin;
        false
    }

    /// A name, qualified or not, as its last two parts.
    fn qualified_name(&mut self) -> Option<(Option<String>, String)> {
        let is_name = |token: &&Token<'_>| token.kind != Kind::Symbol;
        let mut database = None;
        let mut name = self.next().filter(is_name)?.unquoted();
        while self.symbol('.') {
            // T-SQL may leave out the schema: `shop..item`.
            while self.symbol('.') {}
            database = Some(name);
            name = self.next().filter(is_name)?.unquoted();
        }
        Some((database, name))
    }

    /// The tokens of a bracketed list, cut at its commas; the bracket may lack its end.
    fn list(&mut self) -> Option<Vec<&'b [Token<'a>]>> {
        if !self.symbol('(') {
            return None;
        }
        let mut items = Vec::new();
        let mut start = self.position;
        let mut depth = 0;
        while let Some(token) = self.next() {
            match token.text {
                "(" => depth += 1,
                ")" if depth == 0 => {
                    items.push(self.tokens.get(start..self.position - 1).unwrap_or_default());
                    return Some(items);
                }
                ")" => depth -= 1,
                "," if depth == 0 => {
                    items.push(self.tokens.get(start..self.position - 1).unwrap_or_default());
                    start = self.position;
                }
                _ => {}
            }
        }
        items.push(self.tokens.get(start..).unwrap_or_default());
        Some(items)
    }

    /// The first name of each item of a bracketed list: `(a, b DESC, c(10))`.
    fn names(&mut self) -> Vec<String> {
        let first = |item: &[Token<'_>]| Some(item.first()?.unquoted());
        self.list().unwrap_or_default().into_iter().filter_map(first).collect()
    }

    /// The table of `ALTER TABLE [IF EXISTS] [ONLY] name`.
    fn existing_table<'d>(&mut self, found: &'d mut [Draft]) -> Option<&'d mut Draft> {
        self.words(&["IF", "EXISTS"]);
        self.words(&["ONLY"]);
        self.declared(found)
    }

    /// The table of `INSERT [OR IGNORE] INTO name`.
    fn inserted_table<'d>(&mut self, found: &'d mut [Draft]) -> Option<&'d mut Draft> {
        while !self.words(&["INTO"]) {
            self.next().filter(|token| token.kind == Kind::Word)?;
        }
        self.declared(found)
    }

    fn declared<'d>(&mut self, found: &'d mut [Draft]) -> Option<&'d mut Draft> {
        let (database, name) = self.qualified_name()?;
        found.iter_mut().rev().find(|draft| {
            draft.table.name.eq_ignore_ascii_case(&name)
                && (database.is_none() || draft.table.database == database)
        })
    }
}

/// Reads what follows `CREATE TABLE`; none where no name does.
fn create_table(cursor: &mut Cursor<'_, '_>) -> Option<Table> {
    cursor.words(&["IF", "NOT", "EXISTS"]);
    let (database, name) = cursor.qualified_name()?;
    let mut table = Table { database, name, ..Table::default() };
    // `CREATE VIRTUAL TABLE name USING module(…)`.
    if cursor.words(&["USING"]) {
        cursor.next();
    }
    for item in cursor.list().unwrap_or_default() {
        if !constraint(item, &mut table) {
            column(item, &mut table);
        }
    }
    Some(table)
}

/// Words that begin a table constraint where a column's name could stand.
const CONSTRAINTS: [&str; 11] = [
    "CONSTRAINT",
    "PRIMARY",
    "FOREIGN",
    "UNIQUE",
    "CHECK",
    "EXCLUDE",
    "FULLTEXT",
    "SPATIAL",
    "PERIOD",
    "LIKE",
    "KEY",
];

/// Words that end a column's type.
const AFTER_TYPE: [&str; 24] = [
    "CONSTRAINT",
    "PRIMARY",
    "NOT",
    "NULL",
    "UNIQUE",
    "CHECK",
    "DEFAULT",
    "COLLATE",
    "REFERENCES",
    "GENERATED",
    "AS",
    "AUTO_INCREMENT",
    "AUTOINCREMENT",
    "IDENTITY",
    "COMMENT",
    "ON",
    "KEY",
    "ENCODE",
    "DISTKEY",
    "SORTKEY",
    "INVISIBLE",
    "VISIBLE",
    "STORAGE",
    "CHARSET",
];

/// Reads a table constraint into `table`; false where the item is a column.
fn constraint(item: &[Token<'_>], table: &mut Table) -> bool {
    let Some(first) = item.first() else { return true };
    let is_constraint = if first.is("INDEX") || first.is("KEY") {
        // MySQL's `KEY name (…)`, not a column named `key`.
        item.iter().skip(1).take(2).any(|token| token.is_symbol('('))
            && !item.get(1).is_some_and(|token| is_type(token))
    } else {
        // A column may be named as a constraint begins: `period INTEGER`, `like TEXT`.
        CONSTRAINTS.iter().any(|word| first.is(word))
            && !item.get(1).is_some_and(|token| is_type(token))
    };
    if is_constraint {
        keys(item, table);
    }
    is_constraint
}

/// Whether a word can only be a type, which makes the word before it a column's name.
fn is_type(token: &Token<'_>) -> bool {
    const TYPES: [&str; 20] = [
        "INT",
        "INTEGER",
        "BIGINT",
        "SMALLINT",
        "TINYINT",
        "TEXT",
        "VARCHAR",
        "NVARCHAR",
        "CHAR",
        "DATE",
        "DATETIME",
        "TIMESTAMP",
        "TIME",
        "REAL",
        "FLOAT",
        "DOUBLE",
        "DECIMAL",
        "NUMERIC",
        "BOOLEAN",
        "BLOB",
    ];
    TYPES.iter().any(|name| token.is(name))
}

fn column(item: &[Token<'_>], table: &mut Table) {
    let Some((first, rest)) = item.split_first() else { return };
    if first.kind == Kind::Symbol {
        return;
    }
    let name = first.unquoted();
    let after_type = |token: &Token<'_>| AFTER_TYPE.iter().any(|word| token.is(word));
    let end = rest.iter().position(after_type).unwrap_or(rest.len());
    let (data_type, rest) = rest.split_at(end);
    table.columns.push(Column { name: name.clone(), data_type: joined(data_type) });
    let mut cursor = Cursor { tokens: rest, position: 0 };
    while cursor.peek().is_some() {
        if cursor.words(&["PRIMARY", "KEY"]) {
            table.primary_key.push(name.clone());
        } else if cursor.words(&["REFERENCES"]) {
            reference(&mut cursor, vec![name.clone()], table);
        } else if cursor.list().is_none() {
            cursor.next();
        }
    }
}

/// Reads the keys of a table constraint, or of `ALTER TABLE … ADD`.
fn keys(tokens: &[Token<'_>], table: &mut Table) {
    let mut cursor = Cursor { tokens, position: 0 };
    while cursor.peek().is_some() {
        let primary = cursor.words(&["PRIMARY", "KEY"]);
        if !primary && !cursor.words(&["FOREIGN", "KEY"]) {
            cursor.next();
            continue;
        }
        // MySQL allows a name and T-SQL `CLUSTERED` before the list.
        while cursor.peek().is_some_and(|token| token.kind != Kind::Symbol) {
            cursor.next();
        }
        let columns = cursor.names();
        if primary {
            table.primary_key = columns;
        } else if cursor.words(&["REFERENCES"]) {
            reference(&mut cursor, columns, table);
        }
    }
}

fn reference(cursor: &mut Cursor<'_, '_>, columns: Vec<String>, table: &mut Table) {
    if let Some((_, target)) = cursor.qualified_name() {
        let references = cursor.names();
        table.foreign_keys.push(ForeignKey { columns, table: target, references });
    }
}

/// Tokens as a type is written: `VARCHAR(20)`, `double precision`, `text[]`.
fn joined(tokens: &[Token<'_>]) -> String {
    let mut text = String::new();
    let mut previous: Option<&Token<'_>> = None;
    for token in tokens {
        let wide = |token: &Token<'_>| token.kind != Kind::Symbol;
        if previous.is_some_and(|previous| wide(previous) && wide(token) || previous.text == ")")
            && wide(token)
        {
            text.push(' ');
        }
        // T-SQL quotes types: `[nvarchar](max)`.
        text.push_str(&if token.kind == Kind::Quoted {
            token.unquoted()
        } else {
            token.text.into()
        });
        previous = Some(token);
    }
    text
}

/// Takes over keys that a script declares apart from the table, as pg_dump writes them.
fn add_keys(cursor: &mut Cursor<'_, '_>, draft: &mut Draft, written: &str) {
    let before = (draft.table.primary_key.clone(), draft.table.foreign_keys.len());
    keys(cursor.tokens.get(cursor.position..).unwrap_or_default(), &mut draft.table);
    if before != (draft.table.primary_key.clone(), draft.table.foreign_keys.len()) {
        draft.ddl.push('\n');
        draft.ddl.push_str(&statement(written));
    }
}

/// Takes over the first rows of `(names) VALUES (…), (…)`.
fn add_rows(cursor: &mut Cursor<'_, '_>, draft: &mut Draft, sample: SampleRows) {
    let mut names = cursor.names();
    if !cursor.words(&["VALUES"]) {
        return;
    }
    if names.is_empty() {
        names = draft.table.columns.iter().map(|column| column.name.clone()).collect();
    }
    let rows = draft.rows.get_or_insert_with(|| Rows { names: names.clone(), rows: Vec::new() });
    while rows.rows.len() < sample.limit
        && let Some(items) = cursor.list()
    {
        let row: Vec<String> = items.into_iter().map(|item| literal(item, sample)).collect();
        // A row of another shape than the first would stand under the wrong names.
        if names == rows.names && row.len() == names.len() {
            rows.rows.push(row);
        }
        cursor.symbol(',');
    }
}

fn literal(tokens: &[Token<'_>], sample: SampleRows) -> String {
    match tokens {
        // `'text'`, `N'text'`, `DATE '2020-01-01'`.
        [.., string] if string.kind == Kind::String && tokens.len() <= 2 => {
            cell(&string.unquoted(), sample.value_width)
        }
        tokens => cell(&joined(tokens), sample.value_width),
    }
}
