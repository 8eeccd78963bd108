use std::collections::HashMap;

/// What is known of a database: its tables and views with their columns, names in lower case.
///
/// The knowledge is optional. A table that is not in here has unknown columns, and then some
/// queries that are equal are not recognised as such. A table that is in here must have all of its
/// columns, in the order in which `SELECT *` gives them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchemaColumns {
    tables: HashMap<String, Vec<String>>,
}

impl SchemaColumns {
    /// Knowledge of no table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a table or view with all of its columns in order, or replaces it.
    pub fn insert<C: AsRef<str>>(&mut self, table: &str, columns: impl IntoIterator<Item = C>) {
        let columns = columns.into_iter().map(|name| name.as_ref().to_ascii_lowercase()).collect();
        self.tables.insert(table.to_ascii_lowercase(), columns);
    }

    /// The columns of a table, where it is known; the case of its name does not matter.
    pub fn columns(&self, table: &str) -> Option<&[String]> {
        self.tables.get(&table.to_ascii_lowercase()).map(Vec::as_slice)
    }
}

impl<T: AsRef<str>, C: AsRef<str>, I: IntoIterator<Item = C>> FromIterator<(T, I)>
    for SchemaColumns
{
    fn from_iter<S: IntoIterator<Item = (T, I)>>(tables: S) -> Self {
        let mut schema = Self::new();
        for (table, columns) in tables {
            schema.insert(table.as_ref(), columns);
        }
        schema
    }
}
