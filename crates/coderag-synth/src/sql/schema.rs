//! What a schema script says, as a database can be built from it.
//!
//! Names, types and keys are read token by token ([`coderag_corpus::ddl`]), which no dialect's
//! peculiarities stop; constraints on values and the rows of INSERT statements come from a parse of each
//! statement, where one of the dialects takes it.

use std::collections::HashSet;

use coderag_corpus::ddl::{ScriptTable, split, tables};
use coderag_corpus::sqlite::SampleRows;
use coderag_sql::Value;
use sqlparser::ast::{
    ColumnOption, CreateTable, DataType, EnumMember, Expr, Insert, ObjectName, SetExpr, Statement,
    TableConstraint, TableObject,
};

use super::literal::literal;
use super::statement::parse_definition;

/// The tables of one database.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Schema {
    pub(crate) tables: Vec<SchemaTable>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SchemaTable {
    pub(crate) name: String,
    /// The CREATE TABLE statement as written, and the ALTER TABLE statements that add keys, each ended by
    /// a semicolon.
    pub(crate) ddl: String,
    pub(crate) columns: Vec<SchemaColumn>,
    /// Sets of columns, by position, of which no two rows have the same values; the primary key first,
    /// where there is one.
    pub(crate) unique: Vec<Vec<usize>>,
    /// Columns by position, with the table and the columns that they refer to; only whole ones, to
    /// tables and columns that exist.
    pub(crate) references: Vec<Reference>,
    /// The rows of INSERT statements, as written in `inserts`; none for values that are not literals.
    pub(crate) rows: Vec<Vec<Option<Value>>>,
    /// The INSERT statements of this table as written, without semicolons.
    pub(crate) inserts: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SchemaColumn {
    pub(crate) name: String,
    /// As written, such as `VARCHAR(20)`.
    pub(crate) data_type: String,
    pub(crate) not_null: bool,
    /// The only values that a CHECK constraint or an ENUM allows, where there is one.
    pub(crate) allowed: Vec<Value>,
}

/// A foreign key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    /// The referring columns, by position.
    pub(crate) columns: Vec<usize>,
    /// The table referred to, by position.
    pub(crate) table: usize,
    /// The columns there, by position, one for each of `columns`.
    pub(crate) references: Vec<usize>,
}

impl Schema {
    /// Reads a script.
    ///
    /// # Errors
    /// Why no database can be built from it, in words.
    pub(crate) fn parse(script: &str) -> Result<Self, String> {
        let found = tables(script, SampleRows::NONE);
        if found.is_empty() {
            return Err("there is no CREATE TABLE statement".to_owned());
        }
        let mut schema = Self { tables: found.iter().map(table).collect() };
        let mut names = HashSet::new();
        for table in &schema.tables {
            if table.name.is_empty() || table.name.to_ascii_lowercase().starts_with("sqlite_") {
                return Err(format!("`{}` cannot be the name of a table", table.name));
            }
            if !names.insert(table.name.to_ascii_lowercase()) {
                return Err(format!("the table `{}` is created twice", table.name));
            }
            if table.columns.is_empty() {
                return Err(format!("the table `{}` has no columns", table.name));
            }
            let mut columns = HashSet::new();
            for column in &table.columns {
                if column.name.is_empty() || !columns.insert(column.name.to_ascii_lowercase()) {
                    return Err(format!(
                        "the table `{}` has no column or several of the name `{}`",
                        table.name, column.name
                    ));
                }
            }
        }
        for (position, ScriptTable { table, .. }) in found.iter().enumerate() {
            let references: Vec<Reference> = table
                .foreign_keys
                .iter()
                .filter_map(|key| {
                    let target = schema.position(&key.table)?;
                    let parent = schema.tables.get(target)?;
                    let references = if key.references.is_empty() {
                        found.get(target)?.table.primary_key.clone()
                    } else {
                        key.references.clone()
                    };
                    let columns = schema.tables.get(position)?.positions(&key.columns)?;
                    let references = parent.positions(&references)?;
                    let whole = !columns.is_empty() && columns.len() == references.len();
                    whole.then_some(Reference { columns, table: target, references })
                })
                .collect();
            if let Some(table) = schema.tables.get_mut(position) {
                table.references = references;
            }
        }
        for statement in split(script) {
            if statement.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("insert")) {
                schema.insert(statement);
            }
        }
        Ok(schema)
    }

    /// The position of a table, whatever the case of its name.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.tables.iter().position(|table| table.name.eq_ignore_ascii_case(name))
    }

    /// The statements that create some of the tables.
    pub(crate) fn ddl(&self, tables: &[usize]) -> String {
        let tables = tables.iter().filter_map(|position| self.tables.get(*position));
        tables.map(|table| table.ddl.as_str()).collect::<Vec<_>>().join("\n")
    }

    /// The statements that create some of the tables and fill them as the script does.
    pub(crate) fn script(&self, tables: &[usize]) -> String {
        let mut lines = vec![self.ddl(tables)];
        for table in tables.iter().filter_map(|position| self.tables.get(*position)) {
            lines.extend(table.inserts.iter().map(|insert| format!("{insert};")));
        }
        lines.join("\n")
    }

    /// Takes over the rows of `INSERT INTO table (columns) VALUES (...), ...`.
    fn insert(&mut self, statement: &str) {
        let Some(parsed) = parse_definition(statement) else { return };
        let [Statement::Insert(insert)] = parsed.as_slice() else { return };
        let Insert { table: TableObject::TableName(name), columns, source: Some(source), .. } =
            insert
        else {
            return;
        };
        let SetExpr::Values(values) = source.body.as_ref() else { return };
        let Some(table) = self.position(&last_part(name)) else { return };
        let Some(table) = self.tables.get_mut(table) else { return };
        let names: Vec<String> = columns.iter().map(last_part).collect();
        let positions = if names.is_empty() {
            Some((0..table.columns.len()).collect())
        } else {
            table.positions(&names)
        };
        let Some(positions) = positions else { return };
        for row in &values.rows {
            let expressions: &[Expr] = row;
            if expressions.len() != positions.len() {
                return;
            }
            let mut values = vec![None; table.columns.len()];
            for (position, expression) in positions.iter().zip(expressions) {
                if let Some(value) = values.get_mut(*position) {
                    *value = literal(expression);
                }
            }
            table.rows.push(values);
        }
        table.inserts.push(statement.to_owned());
    }
}

impl SchemaTable {
    /// The position of a column, whatever the case of its name.
    pub(crate) fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name))
    }

    fn positions(&self, names: &[String]) -> Option<Vec<usize>> {
        names.iter().map(|name| self.column(name)).collect()
    }

    /// The column that alone identifies a row: the whole primary key, or one named `id`.
    pub(crate) fn key(&self) -> Option<usize> {
        match self.unique.iter().find(|columns| columns.len() == 1) {
            Some(columns) => columns.first().copied(),
            None => self.column("id"),
        }
    }

    fn add_unique(&mut self, names: &[String]) {
        if let Some(columns) = self.positions(names)
            && !columns.is_empty()
            && !self.unique.contains(&columns)
        {
            self.unique.push(columns);
        }
    }
}

fn table(script: &ScriptTable) -> SchemaTable {
    let ScriptTable { table, text } = script;
    let columns = table.columns.iter().map(|column| SchemaColumn {
        name: column.name.clone(),
        data_type: column.data_type.clone(),
        ..SchemaColumn::default()
    });
    let mut read = SchemaTable {
        name: table.name.clone(),
        ddl: text.clone(),
        columns: columns.collect(),
        ..SchemaTable::default()
    };
    read.add_unique(&table.primary_key);
    let parsed = parse_definition(text).unwrap_or_default();
    if let Some(Statement::CreateTable(create)) = parsed.first() {
        constrain(&mut read, create);
    }
    read
}

/// Takes over what a parsed statement says of the values.
fn constrain(table: &mut SchemaTable, create: &CreateTable) {
    for column in &create.columns {
        let name = column.name.value.clone();
        let mut allowed = Vec::new();
        let mut not_null = false;
        if let DataType::Enum(members, _) = &column.data_type {
            allowed.extend(members.iter().map(|member| match member {
                EnumMember::Name(name) | EnumMember::NamedValue(name, _) => {
                    Value::Text(name.clone())
                }
            }));
        }
        for option in &column.options {
            match &option.option {
                ColumnOption::NotNull | ColumnOption::PrimaryKey(_) => not_null = true,
                ColumnOption::Unique(_) => table.add_unique(std::slice::from_ref(&name)),
                ColumnOption::Check(check) => check_values(table, &check.expr),
                _ => {}
            }
        }
        if let Some(position) = table.column(&name)
            && let Some(column) = table.columns.get_mut(position)
        {
            column.not_null |= not_null;
            column.allowed.extend(allowed);
        }
    }
    for constraint in &create.constraints {
        match constraint {
            TableConstraint::Check(check) => check_values(table, &check.expr),
            TableConstraint::Unique(unique) => {
                let names: Vec<String> = unique
                    .columns
                    .iter()
                    .filter_map(|column| match &column.column.expr {
                        Expr::Identifier(name) => Some(name.value.clone()),
                        _ => None,
                    })
                    .collect();
                if names.len() == unique.columns.len() {
                    table.add_unique(&names);
                }
            }
            _ => {}
        }
    }
}

/// Takes over `CHECK (column IN (...))`, also where it is one side of AND, and bounds as far as they are
/// `BETWEEN` two whole numbers close to each other.
fn check_values(table: &mut SchemaTable, check: &Expr) {
    /// The most values that a range allows to be listed.
    const MOST: i64 = 100;
    let (name, values) = match check {
        Expr::Nested(inner) => return check_values(table, inner),
        Expr::BinaryOp { left, op: sqlparser::ast::BinaryOperator::And, right } => {
            check_values(table, left);
            return check_values(table, right);
        }
        Expr::InList { expr, list, negated: false } => {
            (expr, list.iter().filter_map(literal).collect::<Vec<_>>())
        }
        Expr::Between { expr, negated: false, low, high } => match (literal(low), literal(high)) {
            (Some(Value::Integer(low)), Some(Value::Integer(high)))
                if low <= high && high.saturating_sub(low) < MOST =>
            {
                (expr, (low..=high).map(Value::Integer).collect())
            }
            _ => return,
        },
        _ => return,
    };
    if let Expr::Identifier(name) = name.as_ref()
        && let Some(position) = table.column(&name.value)
        && let Some(column) = table.columns.get_mut(position)
    {
        column.allowed = values;
    }
}

/// The last part of a qualified name, unquoted.
pub(crate) fn last_part(name: &ObjectName) -> String {
    name.0
        .last()
        .and_then(|part| part.as_ident())
        .map_or_else(String::new, |part| part.value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn keys_constraints_and_rows_are_read_from_a_script_of_mixed_dialects() {
        let schema = Schema::parse(
            "CREATE TABLE `store` (`id` INT AUTO_INCREMENT PRIMARY KEY, \
               `kind` ENUM('shop', 'depot') NOT NULL, `stars` INT CHECK (stars BETWEEN 1 AND 3));\n\
             CREATE TABLE sale (sale_id SERIAL PRIMARY KEY, store_id INT REFERENCES store, \
               code TEXT UNIQUE, state TEXT CHECK (state IN ('open', 'paid')));\n\
             INSERT INTO store (id, kind) VALUES (1, 'shop'), (2, 'depot');\n\
             INSERT INTO sale VALUES (7, 1, 'a', NOW());",
        )
        .unwrap();
        let [store, sale] = schema.tables.as_slice() else { panic!("{schema:?}") };
        assert_eq!(store.unique, [vec![0]]);
        assert!(store.columns[1].not_null);
        assert_eq!(store.columns[1].allowed, [text("shop"), text("depot")]);
        assert_eq!(store.columns[2].allowed.len(), 3);
        assert_eq!(store.rows[1], [Some(Value::Integer(2)), Some(text("depot")), None]);
        assert_eq!(sale.unique, [vec![0], vec![2]]);
        assert_eq!(sale.columns[3].allowed, [text("open"), text("paid")]);
        let reference = Reference { columns: vec![1], table: 0, references: vec![0] };
        assert_eq!(sale.references, [reference]);
        let row = [Some(Value::Integer(7)), Some(Value::Integer(1)), Some(text("a")), None];
        assert_eq!(sale.rows, [row]);
        assert_eq!(Schema::parse(&schema.script(&[0, 1])).unwrap(), schema);
    }

    #[test]
    fn keys_that_are_declared_apart_are_keys() {
        let schema = Schema::parse(
            "CREATE TABLE public.a (id integer NOT NULL, name character varying(20));
             CREATE TABLE public.b (id integer NOT NULL, a_id integer);
             ALTER TABLE ONLY public.a ADD CONSTRAINT a_pkey PRIMARY KEY (id);
             ALTER TABLE ONLY public.b ADD CONSTRAINT b_a FOREIGN KEY (a_id) REFERENCES public.a(id);",
        )
        .unwrap();
        assert_eq!(schema.tables[0].unique, [vec![0]]);
        assert_eq!(schema.tables[1].references[0].table, 0);
    }

    #[test]
    fn what_cannot_be_built_is_said() {
        for (script, reason) in [
            ("SELECT 1", "there is no CREATE TABLE statement"),
            ("CREATE TABLE t ()", "the table `t` has no columns"),
            ("CREATE TABLE t (a INT); CREATE TABLE T (b INT)", "the table `T` is created twice"),
            (
                "CREATE TABLE t (a INT, A TEXT)",
                "the table `t` has no column or several of the name `A`",
            ),
            ("CREATE TABLE sqlite_x (a INT)", "`sqlite_x` cannot be the name of a table"),
        ] {
            assert_eq!(Schema::parse(script).unwrap_err(), reason);
        }
    }
}
