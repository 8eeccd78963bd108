use coderag_core::{Digest, Document};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::lexer::ends_in_comment;
use crate::{Error, Result};

/// The keys of a table document's meta. [`Table::of`] reads all of them at once.
pub mod meta {
    /// The database that the table is in, a string; absent where it is not known.
    pub const DATABASE: &str = "database";
    /// The table's name, unquoted, a string.
    pub const TABLE: &str = "table";
    /// The columns in order, a list of `{"name": ..., "type": ...}`, see [`super::Column`].
    pub const COLUMNS: &str = "columns";
    /// The names of the primary key's columns in key order, a list of strings.
    pub const PRIMARY_KEY: &str = "primary_key";
    /// A list of `{"columns": [...], "table": ..., "references": [...]}`, see
    /// [`super::ForeignKey`].
    pub const FOREIGN_KEYS: &str = "foreign_keys";
    /// Documents with the same text that were collapsed into this one, a list of
    /// `{"id": ..., "title": ...}`; absent where there were none.
    pub const SAME_TEXT: &str = "same_text";
}

/// What is known of a table beyond its DDL: the typed form of a table document's meta.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// The database that the table is in, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// The table's name, unquoted.
    #[serde(rename = "table")]
    pub name: String,
    /// The columns in order.
    pub columns: Vec<Column>,
    /// The names of the primary key's columns in key order.
    pub primary_key: Vec<String>,
    /// The foreign keys in the order of the DDL.
    pub foreign_keys: Vec<ForeignKey>,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// The name, unquoted.
    pub name: String,
    /// The declared type as written, such as `VARCHAR(20)`; empty where none is declared.
    #[serde(rename = "type")]
    pub data_type: String,
}

/// A reference from columns of a table to columns of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignKey {
    /// The referring columns.
    pub columns: Vec<String>,
    /// The table referred to.
    pub table: String,
    /// The columns referred to, one for each of `columns`; empty where neither the DDL nor the
    /// database says.
    pub references: Vec<String>,
}

impl Table {
    /// `database.table`, or the table's name where the database is not known.
    pub fn title(&self) -> String {
        match &self.database {
            Some(database) => format!("{database}.{}", self.name),
            None => self.name.clone(),
        }
    }

    /// Reads the meta of a table document.
    ///
    /// # Errors
    /// [`Error::Meta`] when the document does not describe a table.
    pub fn of(document: &Document) -> Result<Self> {
        serde_json::from_value(Value::Object(document.meta.clone()))
            .map_err(|source| Error::Meta { id: document.id.clone(), source })
    }

    pub(crate) fn document(&self, id: String, text: String, source: &str) -> Document {
        let mut meta = Map::new();
        if let Some(database) = &self.database {
            meta.insert(meta::DATABASE.into(), database.as_str().into());
        }
        meta.insert(meta::TABLE.into(), self.name.as_str().into());
        let columns = self
            .columns
            .iter()
            .map(|column| serde_json::json!({ "name": column.name, "type": column.data_type }));
        meta.insert(meta::COLUMNS.into(), columns.collect());
        meta.insert(meta::PRIMARY_KEY.into(), self.primary_key.clone().into());
        let foreign_keys = self.foreign_keys.iter().map(|key| {
            serde_json::json!({
                "columns": key.columns, "table": key.table, "references": key.references,
            })
        });
        meta.insert(meta::FOREIGN_KEYS.into(), foreign_keys.collect());
        Document {
            id,
            kind: Document::TABLE.to_owned(),
            title: self.title(),
            sha256: Digest::of(&text),
            text,
            source: source.to_owned(),
            language: "sql".to_owned(),
            meta,
        }
    }
}

/// DDL as every reader puts it into a document: trimmed, ended by exactly one semicolon, so that
/// the texts of several documents form a valid script.
pub(crate) fn statement(ddl: &str) -> String {
    let ddl = ddl.trim_matches(|character: char| character.is_whitespace() || character == ';');
    // A comment to the end of the line would swallow the semicolon.
    let separator = if ends_in_comment(ddl) { "\n" } else { "" };
    format!("{ddl}{separator};")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meta_and_table_are_two_forms_of_the_same_facts() {
        let table = Table {
            database: Some("shop".into()),
            name: "order line".into(),
            columns: vec![Column { name: "id".into(), data_type: "INTEGER".into() }],
            primary_key: vec!["id".into()],
            foreign_keys: vec![ForeignKey {
                columns: vec!["id".into()],
                table: "item".into(),
                references: vec!["key".into()],
            }],
        };
        let document = table.document("id".into(), "text".into(), "source");
        assert_eq!(document.title, "shop.order line");
        assert_eq!(Table::of(&document).unwrap(), table);
        assert_eq!(serde_json::to_value(&table).unwrap(), Value::Object(document.meta.clone()));
        let mut other = document;
        other.meta.remove(meta::COLUMNS);
        assert!(Table::of(&other).is_err());
    }

    #[test]
    fn statements_end_in_one_semicolon_outside_comments() {
        assert_eq!(statement(" CREATE TABLE a (b) ;; \n"), "CREATE TABLE a (b);");
        assert_eq!(statement("CREATE TABLE a (b) -- last"), "CREATE TABLE a (b) -- last\n;");
    }
}
