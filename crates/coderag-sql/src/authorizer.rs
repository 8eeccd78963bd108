//! What a statement may do, decided while SQLite compiles it
//! (<https://www.sqlite.org/c3ref/set_authorizer.html>).
//!
//! Everything that is not listed here is refused. Allowed are SELECT, recursion, functions without
//! side effects, and reads of the tables and views of the one database. That includes the schema
//! table: whoever may read the database sees its DDL anyway. Of the tables that SQLite itself makes
//! up, `json_each` and `json_tree` only compute on their arguments and are allowed; the table-valued
//! pragmas, `dbstat` and the like are not.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use crate::Error;

const READS_ONLY: &str = "only a SELECT may run on this database";
const ONE_DATABASE: &str = "a statement may read only the one database that was opened";
const SIDE_EFFECTS: &str = "the function has effects beyond its result";

/// Functions that load code, write a log or rewrite a full-text index.
const REFUSED_FUNCTIONS: [&str; 4] = ["fts3_tokenizer", "load_extension", "optimize", "sqlite_log"];

/// Names of the schema table, as statements and as SQLite write it.
const SCHEMA_TABLES: [&str; 2] = ["sqlite_master", "sqlite_schema"];

const COMPUTED_TABLES: [&str; 2] = ["json_each", "json_tree"];

/// What the virtual tables of the full-text indexes ask of their own database.
const INNER_PRAGMAS: [&str; 2] = ["data_version", "page_size"];

/// What a name in the schema stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Object {
    Table,
    View,
    /// A table in which a virtual table keeps its content.
    Shadow,
}

/// The names that a statement can use on a database.
#[derive(Debug)]
pub(crate) struct Objects {
    /// Tables and views by their lowercase names, with their names as in the schema.
    stored: HashMap<String, (Object, String)>,
    /// The modules of virtual tables in lowercase, some of which are tables by themselves.
    modules: HashSet<String>,
}

/// Why [`Objects::read`] failed.
pub(crate) enum ReadError {
    Sqlite(rusqlite::Error),
    NotUtf8 { name: String },
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Objects {
    /// Reads the schema table and so opens the file: SQLite's `open` alone reads nothing.
    ///
    /// Text that is not UTF-8 anywhere in it is an error, because rusqlite panics on such names.
    pub(crate) fn read(connection: &Connection) -> Result<Self, ReadError> {
        let mut statement = connection
            .prepare("SELECT name, tbl_name, sql, type, rootpage FROM main.sqlite_schema")?;
        let mut rows = statement.query([])?;
        let mut stored = HashMap::new();
        let mut virtual_tables = Vec::new();
        while let Some(row) = rows.next()? {
            let mut texts = [""; 4];
            for (column, text) in texts.iter_mut().enumerate() {
                let bytes = row.get_ref(column)?.as_bytes_or_null().ok().flatten();
                let bytes = bytes.unwrap_or_default();
                *text = str::from_utf8(bytes).map_err(|_| ReadError::NotUtf8 {
                    name: String::from_utf8_lossy(bytes).into_owned(),
                })?;
            }
            let [name, _, _, kind] = texts;
            let lowercase = name.to_ascii_lowercase();
            let object = match kind {
                "view" => Object::View,
                "table" => Object::Table,
                _ => continue,
            };
            let root_page = row.get_ref(4)?.as_i64_or_null().ok().flatten();
            if object == Object::Table && root_page.unwrap_or(0) == 0 {
                virtual_tables.push(format!("{lowercase}_"));
            }
            stored.insert(lowercase, (object, name.to_owned()));
        }
        for (name, (object, _)) in &mut stored {
            if *object == Object::Table
                && virtual_tables.iter().any(|prefix| name.starts_with(prefix.as_str()))
            {
                *object = Object::Shadow;
            }
        }
        let mut modules = connection.prepare("SELECT lower(name) FROM pragma_module_list")?;
        let modules = modules.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok(Self { stored, modules })
    }

    /// Decides whether a statement may read from `table`; `database` is none where the statement
    /// does not qualify a table of which it uses no column.
    ///
    /// Such a table may also be a common table expression, which shows in no other way. Its name is
    /// then neither stored nor one that SQLite gives to tables of its own.
    fn judge_read(
        &self,
        table: &str,
        column: &str,
        database: Option<&str>,
        observed: &mut Observed,
    ) -> Result<(), Refusal> {
        let name = table.to_ascii_lowercase();
        let is_main = database.is_none_or(|database| database.eq_ignore_ascii_case("main"));
        let may_be_expression = column.is_empty() && database.is_none();
        let allowed = match self.stored.get(&name) {
            Some((Object::Table, name)) if is_main => {
                observed.tables.insert(name.clone());
                true
            }
            Some(_) => is_main,
            None if SCHEMA_TABLES.contains(&name.as_str()) && is_main => {
                observed.tables.insert(name);
                true
            }
            None if COMPUTED_TABLES.contains(&name.as_str()) => is_main,
            None => {
                may_be_expression
                    && !self.modules.contains(&name)
                    && !name.starts_with("pragma_")
                    && !name.starts_with("sqlite_")
            }
        };
        if allowed {
            Ok(())
        } else {
            Err(Refusal { what: format!("reading `{table}`"), why: ONE_DATABASE })
        }
    }
}

/// What the authorizer saw of one statement.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed {
    /// The stored tables it reads, those under its views included; the views themselves are not.
    pub(crate) tables: BTreeSet<String>,
    /// Whether it has a SELECT at all.
    pub(crate) selects: bool,
    /// The first thing that was refused.
    refusal: Option<Refusal>,
}

#[derive(Clone, Debug)]
struct Refusal {
    what: String,
    why: &'static str,
}

impl Observed {
    pub(crate) fn refusal(&self) -> Option<Error> {
        let Refusal { what, why } = self.refusal.clone()?;
        Some(Error::Refused { what, why })
    }
}

/// Watches a connection.
pub(crate) struct Authorizer(Arc<Mutex<Observed>>);

impl Authorizer {
    /// Installs the authorizer; from then on the connection runs nothing else.
    pub(crate) fn install(connection: &mut Connection, objects: Objects) -> rusqlite::Result<Self> {
        let observed = Arc::<Mutex<Observed>>::default();
        let shared = Arc::clone(&observed);
        connection.authorizer(Some(move |context: AuthContext<'_>| {
            let mut observed = lock(&shared);
            match judge(context, &objects, &mut observed) {
                Ok(()) => Authorization::Allow,
                Err(refusal) => {
                    observed.refusal.get_or_insert(refusal);
                    Authorization::Deny
                }
            }
        }))?;
        Ok(Self(observed))
    }

    /// What was seen so far.
    pub(crate) fn observed(&self) -> Observed {
        lock(&self.0).clone()
    }
}

/// A poisoned lock would only mean that another callback panicked in between.
fn lock(observed: &Mutex<Observed>) -> MutexGuard<'_, Observed> {
    observed.lock().unwrap_or_else(PoisonError::into_inner)
}

fn judge(
    context: AuthContext<'_>,
    objects: &Objects,
    observed: &mut Observed,
) -> Result<(), Refusal> {
    let refuse = |what: String, why| Err(Refusal { what, why });
    match context.action {
        AuthAction::Select => observed.selects = true,
        AuthAction::Recursive => {}
        AuthAction::Read { table_name, column_name } => {
            objects.judge_read(table_name, column_name, context.database_name, observed)?;
        }
        AuthAction::Function { function_name } if has_side_effects(function_name) => {
            return refuse(format!("the function `{function_name}`"), SIDE_EFFECTS);
        }
        AuthAction::Function { .. } => {}
        // Only from inside a virtual table: a statement that is itself a PRAGMA has no SELECT.
        AuthAction::Pragma { pragma_name, pragma_value: None }
            if observed.selects && names(&INNER_PRAGMAS, pragma_name) => {}
        action => return refuse(describe(action), READS_ONLY),
    }
    Ok(())
}

/// Whether a function does more than compute.
pub(crate) fn has_side_effects(function: &str) -> bool {
    names(&REFUSED_FUNCTIONS, function)
}

fn names(list: &[&str], name: &str) -> bool {
    list.iter().any(|listed| listed.eq_ignore_ascii_case(name))
}

fn describe(action: AuthAction<'_>) -> String {
    use AuthAction as Action;
    let (verb, object) = match action {
        // CREATE, DROP and ALTER first announce themselves as changes of the schema table.
        Action::Insert { table_name } | Action::Delete { table_name }
            if table_name.to_ascii_lowercase().starts_with("sqlite_") =>
        {
            return "a change of the schema".to_owned();
        }
        Action::Update { table_name, .. }
            if table_name.to_ascii_lowercase().starts_with("sqlite_") =>
        {
            return "a change of the schema".to_owned();
        }
        Action::Insert { table_name } => ("INSERT into", table_name),
        Action::Delete { table_name } => ("DELETE from", table_name),
        Action::Update { table_name, .. } => ("UPDATE of", table_name),
        Action::Pragma { pragma_name, .. } => ("PRAGMA", pragma_name),
        Action::Attach { filename } => ("ATTACH of", filename),
        Action::Detach { database_name } => ("DETACH of", database_name),
        Action::AlterTable { table_name, .. } => ("ALTER TABLE", table_name),
        Action::Reindex { index_name } => ("REINDEX of", index_name),
        Action::Analyze { table_name } => ("ANALYZE of", table_name),
        Action::Transaction { .. } => return "transaction control".to_owned(),
        Action::Savepoint { savepoint_name, .. } => ("a savepoint", savepoint_name),
        Action::Unknown { code, .. } if code == rusqlite::ffi::SQLITE_ATTACH => {
            return "ATTACH".to_owned();
        }
        Action::Unknown { code, .. } => return format!("an operation with the code {code}"),
        _ => return "a change of the schema".to_owned(),
    };
    format!("{verb} `{object}`")
}
