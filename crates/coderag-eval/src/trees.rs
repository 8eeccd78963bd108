use std::collections::HashMap;

use serde_json::{Value, json};

use crate::Result;
use crate::files::Gold;
use crate::scoring::Databases;
use crate::spider::{ExactMatchVariant, parse, tree};

/// The parse trees of gold queries in the shape of Spider's own, each with its place and its database;
/// `null` for those that are not in the official grammar. The numbers of tables and columns are replaced by their names; see [`tree`].
///
/// # Errors
/// As [`score`](crate::scoring::score), for the databases.
pub fn trees(
    gold: &[&Gold],
    databases: &Databases,
    variant: ExactMatchVariant,
) -> Result<Vec<Value>> {
    let mut schemas = HashMap::new();
    for gold in gold {
        if !schemas.contains_key(gold.database.as_str()) {
            schemas.insert(gold.database.as_str(), databases.schema(&gold.database)?);
        }
    }
    let tree_of = |gold: &&Gold| {
        let schema = schemas.get(gold.database.as_str())?;
        Some(tree(&parse(&gold.sql, schema, variant)?, schema))
    };
    let line = |(index, gold): (usize, &&Gold)| {
        let sql = tree_of(gold).unwrap_or(Value::Null);
        json!({"index": index, "db_id": gold.database, "sql": sql})
    };
    Ok(gold.iter().enumerate().map(line).collect())
}
