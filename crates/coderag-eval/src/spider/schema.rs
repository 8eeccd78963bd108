//! What a query may name, and which columns stand for each other.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde::Deserialize;

use crate::{Error, Result};

/// A table or column of one [`SpiderSchema`], or `*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SchemaId(u32);

/// The tables and columns of a database with the foreign keys that make columns equivalent
/// (`Schema` of `process_sql.py` and `build_foreign_key_map` of `evaluation.py`).
#[derive(Clone, Debug)]
pub struct SpiderSchema {
    /// Columns by table, all in lowercase.
    tables: HashMap<String, HashSet<String>>,
    /// What a query writes: `*`, `table` and `table.column`.
    ids: HashMap<String, SchemaId>,
    /// The official spelling of each id: `__all__`, `__table__` and `__table.column__`.
    names: Vec<String>,
    /// The ids of the spellings.
    interned: HashMap<String, SchemaId>,
    /// For each column that a query may name, the table to which it belongs by its spelling.
    owners: HashMap<SchemaId, SchemaId>,
    /// For each column with foreign keys, the one that stands for all of its class.
    representatives: HashMap<SchemaId, SchemaId>,
    /// The place of `*` and of each column in `tables.json`, where the schema comes from there.
    positions: HashMap<String, usize>,
}

/// A database in Spider's `tables.json`.
#[derive(Clone, Debug, Deserialize)]
pub struct TablesEntry {
    /// The database's name.
    pub db_id: String,
    /// The tables' names as in the database.
    pub table_names_original: Vec<String>,
    /// The columns' tables and names as in the database; the first is `(-1, "*")`.
    pub column_names_original: Vec<(i64, String)>,
    /// Pairs of columns, by their places in `column_names_original`.
    #[serde(default)]
    pub foreign_keys: Vec<(usize, usize)>,
}

impl TablesEntry {
    /// Reads a `tables.json`.
    ///
    /// # Errors
    /// [`Error::Core`] when the file cannot be read, [`Error::Json`] when it has another shape,
    /// [`Error::Tables`] when a foreign key names no column.
    pub fn read_all(path: &Path) -> Result<Vec<Self>> {
        let text = crate::files::read(path)?;
        let entries: Vec<Self> = serde_json::from_str(&text)
            .map_err(|source| Error::Json { path: path.to_owned(), source })?;
        for entry in &entries {
            let columns = entry.column_names_original.len();
            let outside = |key: &&(usize, usize)| key.0.max(key.1) >= columns;
            if let Some(key) = entry.foreign_keys.iter().find(outside) {
                return Err(Error::Tables {
                    path: path.to_owned(),
                    database: entry.db_id.clone(),
                    what: format!("the foreign key {key:?} names a column beyond the {columns}"),
                });
            }
        }
        Ok(entries)
    }

    /// The columns of each table, in the file's order.
    pub(crate) fn tables(&self) -> Vec<(String, Vec<String>)> {
        let mut tables: Vec<_> =
            self.table_names_original.iter().map(|name| (name.clone(), Vec::new())).collect();
        for (table, column) in &self.column_names_original {
            let table = usize::try_from(*table).ok().and_then(|table| tables.get_mut(table));
            if let Some((_, columns)) = table {
                columns.push(column.clone());
            }
        }
        tables
    }

    /// The official spelling of each column, by its place in the file.
    fn spellings(&self) -> Vec<String> {
        self.column_names_original
            .iter()
            .map(|(table, column)| {
                let table = usize::try_from(*table)
                    .ok()
                    .and_then(|table| self.table_names_original.get(table));
                match table {
                    Some(table) => column_spelling(&table.to_lowercase(), &column.to_lowercase()),
                    None => "__all__".to_owned(),
                }
            })
            .collect()
    }
}

fn column_spelling(table: &str, column: &str) -> String {
    format!("__{table}.{column}__")
}

impl SpiderSchema {
    /// The schema of tables with their columns, with the foreign keys of `entry`.
    ///
    /// The official script takes the tables from the SQLite file and only the foreign keys from
    /// `tables.json`; without an entry no two columns are equivalent.
    pub fn new<'a>(
        tables: impl IntoIterator<Item = (&'a str, &'a [String])>,
        entry: Option<&TablesEntry>,
    ) -> Self {
        let mut schema = Self {
            tables: HashMap::new(),
            ids: HashMap::new(),
            names: Vec::new(),
            interned: HashMap::new(),
            owners: HashMap::new(),
            representatives: HashMap::new(),
            positions: HashMap::new(),
        };
        let star = schema.intern("__all__");
        schema.ids.insert("*".to_owned(), star);
        for (table, columns) in tables {
            let table = table.to_lowercase();
            let columns: HashSet<String> =
                columns.iter().map(|column| column.to_lowercase()).collect();
            for column in &columns {
                let id = schema.intern(&column_spelling(&table, column));
                schema.ids.insert(format!("{table}.{column}"), id);
            }
            schema.tables.insert(table, columns);
        }
        let names: Vec<String> = schema.tables.keys().cloned().collect();
        for table in names {
            let id = schema.intern(&format!("__{table}__"));
            schema.ids.insert(table, id);
        }
        if let Some(entry) = entry {
            schema.add_foreign_keys(entry);
            schema.positions = entry
                .spellings()
                .into_iter()
                .enumerate()
                // Of equal spellings the first counts.
                .rev()
                .map(|(position, spelling)| (spelling, position))
                .collect();
        }
        schema.owners = (schema.ids.values())
            .filter_map(|id| {
                let name = schema.name(*id);
                let table = format!("{}__", &name[..name.find('.')?]);
                Some((*id, *schema.interned.get(&table)?))
            })
            .collect();
        schema
    }

    /// The schema as `tables.json` has it, for a database whose file is not at hand.
    pub fn of_entry(entry: &TablesEntry) -> Self {
        let tables = entry.tables();
        Self::new(
            tables.iter().map(|(table, columns)| (table.as_str(), columns.as_slice())),
            Some(entry),
        )
    }

    fn intern(&mut self, name: &str) -> SchemaId {
        if let Some(id) = self.interned.get(name) {
            return *id;
        }
        let id = SchemaId(u32::try_from(self.names.len()).unwrap_or(u32::MAX));
        self.names.push(name.to_owned());
        self.interned.insert(name.to_owned(), id);
        id
    }

    /// Puts columns that are linked by foreign keys into classes.
    ///
    /// As in the official script a key joins the first class that holds one of its columns; two classes
    /// that a later key connects stay apart, and the later class has the last word on its columns.
    fn add_foreign_keys(&mut self, entry: &TablesEntry) {
        let mut classes: Vec<Vec<usize>> = Vec::new();
        for &(first, second) in &entry.foreign_keys {
            let known =
                classes.iter_mut().find(|class| class.contains(&first) || class.contains(&second));
            match known {
                Some(class) => class.extend([first, second]),
                None => classes.push(vec![first, second]),
            }
        }
        let spellings = entry.spellings();
        for class in classes {
            let representative = class.iter().min().and_then(|least| spellings.get(*least));
            let Some(representative) = representative.map(|name| self.intern(name)) else {
                continue;
            };
            for name in class.iter().filter_map(|column| spellings.get(*column)) {
                let column = self.intern(name);
                self.representatives.insert(column, representative);
            }
        }
    }

    /// The id of `*`, `table` or `table.column`.
    pub(super) fn id(&self, key: &str) -> Option<SchemaId> {
        self.ids.get(key).copied()
    }

    /// The columns of a table.
    pub(super) fn columns(&self, table: &str) -> Option<&HashSet<String>> {
        self.tables.get(table)
    }

    /// The tables' names.
    pub(super) fn tables(&self) -> impl Iterator<Item = &str> {
        self.tables.keys().map(String::as_str)
    }

    /// The official spelling of an id.
    pub fn name(&self, id: SchemaId) -> &str {
        self.names.get(id.0 as usize).map_or("", String::as_str)
    }

    /// The place of a column in `tables.json`, where the schema has an entry.
    pub fn position(&self, id: SchemaId) -> Option<usize> {
        self.positions.get(self.name(id)).copied()
    }

    /// The column that stands for `column` where the tables in `from` count.
    pub(super) fn representative(&self, column: SchemaId, from: &[SchemaId]) -> SchemaId {
        // Columns that only tables.json has are in no query and have no owner.
        let in_scope = self.owners.get(&column).is_some_and(|owner| from.contains(owner));
        match self.representatives.get(&column) {
            Some(representative) if in_scope => *representative,
            _ => column,
        }
    }
}
