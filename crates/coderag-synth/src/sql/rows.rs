//! Rows for the tables of a schema, made so that statements can be told apart by their results.

use std::collections::HashSet;

use coderag_core::Random;
use coderag_sql::Value;

use super::comparisons::{ColumnPosition, Comparisons, Condition};
use super::schema::{Reference, Schema, SchemaTable};
use super::sense::{Affinity, Sense};

/// The rows of each table, those that the script gives first.
///
/// Some rows of each table meet all conditions that one of the statements has on it, and refer to rows of
/// other tables that meet those of the same statement; others hold values from both sides of the
/// conditions, or none of them. `rows` is how many rows a table that refers to others has; tables that only
/// are referred to have fewer, so that groups have several members.
pub(crate) fn rows(
    schema: &Schema,
    statements: &[Comparisons],
    rows: usize,
    seed: u64,
) -> Vec<Vec<Vec<Value>>> {
    let references = references(schema, statements);
    let conditions = conditions(statements, &references);
    let order = parents_first(&references);
    let mut made: Vec<Vec<Made>> = vec![Vec::new(); schema.tables.len()];
    for position in order {
        let (Some(table), Some(references)) =
            (schema.tables.get(position), references.get(position))
        else {
            continue;
        };
        let mut random = Random::derived(seed, &[position as u64]);
        let fewest = if references.is_empty() && schema.tables.len() > 1 { rows / 2 } else { rows };
        let count = fewest.max(4) + random.below((rows / 4) as u64 + 1) as usize;
        let mut maker = Maker {
            table,
            position,
            references,
            conditions: &conditions,
            count,
            random,
            taken: vec![HashSet::new(); table.unique.len()],
            orphans: false,
        };
        // `NOT IN` finds nothing beside a NULL, so that not every database may have one.
        maker.orphans = maker.random.below(3) == 0;
        let rows = maker.make(&made);
        if let Some(made) = made.get_mut(position) {
            *made = rows;
        }
    }
    made.into_iter().map(|rows| rows.into_iter().map(|row| row.values).collect()).collect()
}

/// A row, and the statement whose conditions it meets.
#[derive(Clone, Debug)]
struct Made {
    values: Vec<Value>,
    meets: Option<usize>,
}

/// The conditions of each statement.
type Conditions = Vec<Vec<(ColumnPosition, Condition)>>;

struct Maker<'a> {
    table: &'a SchemaTable,
    position: usize,
    references: &'a [Reference],
    conditions: &'a Conditions,
    count: usize,
    random: Random,
    /// For each set of unique columns the values that rows already have.
    taken: Vec<HashSet<String>>,
    /// Whether some rows refer to nothing.
    orphans: bool,
}

impl Maker<'_> {
    fn make(&mut self, made: &[Vec<Made>]) -> Vec<Made> {
        let mut rows: Vec<Made> = Vec::new();
        let table = self.table;
        for written in &table.rows {
            let mut values = self.row(rows.len(), None, made, &rows);
            for (value, written) in values.iter_mut().zip(written) {
                if let Some(written) = written {
                    value.clone_from(written);
                }
            }
            self.keep(values, None, &mut rows);
        }
        // Where the script has rows enough, a few that meet the conditions are still wanted.
        let missing = self.count.saturating_sub(rows.len()).max(self.count / 3);
        let statements = self.conditions.len();
        for number in 0..missing {
            // Two of five rows, the statements in turn.
            let is_first = number % 5 == 0;
            let meets = (statements > 0 && number % 5 < 2)
                .then(|| (number / 5 * 2 + usize::from(!is_first)) % statements);
            // Keys of labels or of other tables' rows collide now and then.
            for _ in 0..4 {
                let values = self.row(rows.len(), meets, made, &rows);
                if self.keep(values, meets, &mut rows) {
                    break;
                }
            }
        }
        rows
    }

    /// Adds a row, unless its key is taken.
    fn keep(&mut self, values: Vec<Value>, meets: Option<usize>, rows: &mut Vec<Made>) -> bool {
        let keys: Vec<Option<String>> = self
            .table
            .unique
            .iter()
            .map(|columns| {
                let key: Vec<&Value> =
                    columns.iter().filter_map(|column| values.get(*column)).collect();
                // SQL takes no NULL for another's equal.
                (!key.contains(&&Value::Null)).then(|| format!("{key:?}"))
            })
            .collect();
        let free = keys
            .iter()
            .zip(&self.taken)
            .all(|(key, taken)| key.as_ref().is_none_or(|key| !taken.contains(key)));
        if free {
            for (key, taken) in keys.into_iter().zip(&mut self.taken) {
                taken.extend(key);
            }
            rows.push(Made { values, meets });
        }
        free
    }

    fn row(
        &mut self,
        number: usize,
        meets: Option<usize>,
        made: &[Vec<Made>],
        own: &[Made],
    ) -> Vec<Value> {
        let mut values: Vec<Value> =
            (0..self.table.columns.len()).map(|column| self.value(column, number, meets)).collect();
        for reference in self.references {
            let parents =
                if reference.table == self.position { own } else { made_of(made, reference.table) };
            let unique = self.is_unique(&reference.columns);
            let parent = self.parent(parents, meets, unique);
            let optional = self.orphans
                && meets.is_none()
                && reference.columns.iter().all(|column| !self.needs_value(*column))
                && self.random.below(10) == 0;
            for (column, target) in reference.columns.iter().zip(&reference.references) {
                let key = parent.and_then(|parent| parent.values.get(*target));
                if let (Some(value), Some(key)) = (values.get_mut(*column), key) {
                    *value = if optional { Value::Null } else { key.clone() };
                }
            }
        }
        values
    }

    /// A row to refer to: one that meets the same statement's conditions, or any; the first ones more
    /// often, so that groups differ in size.
    fn parent<'m>(
        &mut self,
        parents: &'m [Made],
        meets: Option<usize>,
        unique: bool,
    ) -> Option<&'m Made> {
        let same: Vec<&Made> = if meets.is_some() {
            parents.iter().filter(|parent| parent.meets == meets).collect()
        } else {
            Vec::new()
        };
        let from: Vec<&Made> = if same.is_empty() { parents.iter().collect() } else { same };
        // The last fifth is referred to by none, so that what is not there can be asked for.
        let usable = if unique { from.len() } else { from.len() - from.len() / 5 };
        let share = if unique { self.random.uniform() } else { self.random.uniform().powi(2) };
        let position = (share * usable as f64) as usize;
        from.get(position.min(from.len().saturating_sub(1))).copied()
    }

    fn value(&mut self, column: usize, number: usize, meets: Option<usize>) -> Value {
        let table = self.table;
        let Some(declared) = table.columns.get(column) else { return Value::Null };
        let here = (self.position, column);
        let unique = self.is_unique(&[column]);
        if let Some(planted) = self.planted(here, meets) {
            return planted;
        }
        if meets.is_none() && !self.needs_value(column) && column % 3 == 2 {
            // Now and then nothing is known.
            if self.random.below(12) == 0 {
                return Value::Null;
            }
        }
        if let Some(value) = self.one_of(&declared.allowed) {
            return value;
        }
        if !unique && self.random.below(2) == 0 {
            let written: Vec<Value> =
                table.rows.iter().filter_map(|row| row.get(column)?.clone()).collect();
            if let Some(value) = self.one_of(&written) {
                return value;
            }
        }
        let sense = Sense::of(&declared.name, &declared.data_type, &table.name);
        let textual = matches!(Affinity::of(&declared.data_type), Affinity::Text);
        // Identifiers that are no key belong to several rows.
        let number = match sense {
            Sense::Identifier if !unique && !self.is_only_key(column) => {
                self.random.below((self.count / 2).max(2) as u64) as usize
            }
            _ => number,
        };
        let value = sense.value(number, textual, &mut self.random);
        match value {
            // A number makes a name that many could have one's own.
            Value::Text(text) if unique && sense != Sense::Identifier => {
                Value::Text(format!("{text} {}", number + 1))
            }
            Value::Integer(small) if unique && sense != Sense::Identifier => {
                Value::Integer(small.saturating_add(1000 * number as i64))
            }
            other => other,
        }
    }

    /// A value that a statement compares the column with or, for the statement that the row is to meet,
    /// one that meets all its conditions on the column.
    fn planted(&mut self, here: ColumnPosition, meets: Option<usize>) -> Option<Value> {
        let on_column = |statement: &Vec<(ColumnPosition, Condition)>| -> Vec<Condition> {
            let here = statement.iter().filter(|(column, _)| *column == here);
            here.map(|(_, condition)| condition.clone()).collect()
        };
        let conditions: Vec<Condition> = match meets {
            Some(statement) => self.conditions.get(statement).map(on_column).unwrap_or_default(),
            None => self.conditions.iter().flat_map(on_column).collect(),
        };
        if conditions.is_empty() || meets.is_none() && self.random.below(2) == 0 {
            return None;
        }
        let mut candidates: Vec<Value> =
            conditions.iter().flat_map(Condition::candidates).collect();
        let table = self.table;
        let declared = table.columns.get(here.1)?;
        if !declared.allowed.is_empty() {
            candidates.retain(|value| declared.allowed.contains(value) || *value == Value::Null);
        }
        // Other rows have values already that are not NULL.
        if meets.is_none() || self.needs_value(here.1) {
            candidates.retain(|value| *value != Value::Null);
        }
        if meets.is_some() {
            let all: Vec<Value> = candidates
                .iter()
                .filter(|value| conditions.iter().all(|condition| condition.holds(value)))
                .cloned()
                .collect();
            if !all.is_empty() {
                return self.one_of(&all);
            }
        }
        self.one_of(&candidates)
    }

    fn one_of(&mut self, values: &[Value]) -> Option<Value> {
        values.get(self.random.below(values.len() as u64) as usize).cloned()
    }

    /// Whether no two rows may have the same values in these columns.
    fn is_unique(&self, columns: &[usize]) -> bool {
        self.table.unique.iter().any(|unique| unique == columns)
    }

    /// Whether the column is the first and no key is declared: most likely it is the key.
    fn is_only_key(&self, column: usize) -> bool {
        self.table.unique.is_empty() && column == 0
    }

    fn needs_value(&self, column: usize) -> bool {
        self.table.columns.get(column).is_some_and(|column| column.not_null)
            || self.table.unique.iter().any(|unique| unique.contains(&column))
            || self.is_only_key(column)
    }
}

fn made_of(made: &[Vec<Made>], table: usize) -> &[Made] {
    made.get(table).map(Vec::as_slice).unwrap_or_default()
}

/// The references of each table: those declared; those that a statement joins by; and those that names
/// suggest: a column named as the only key of another table, or `customer_id` where there is a table
/// `customer` or `customers` with a key. A column refers to one thing only.
fn references(schema: &Schema, statements: &[Comparisons]) -> Vec<Vec<Reference>> {
    let mut references: Vec<Vec<Reference>> =
        schema.tables.iter().map(|table| table.references.clone()).collect();
    let mut add = |child: ColumnPosition, parent: ColumnPosition| {
        let is_taken =
            |references: &[Vec<Reference>], column: ColumnPosition, by: Option<usize>| {
                references.get(column.0).is_some_and(|own| {
                    own.iter().any(|reference| {
                        reference.columns.contains(&column.1)
                            && by.is_none_or(|table| reference.table == table)
                    })
                })
            };
        if child.0 != parent.0
            && !is_taken(&references, child, None)
            && !is_taken(&references, parent, Some(child.0))
            && let Some(own) = references.get_mut(child.0)
        {
            let (columns, references) = (vec![child.1], vec![parent.1]);
            own.push(Reference { columns, table: parent.0, references });
        }
    };
    let is_key = |(table, column): ColumnPosition| {
        schema.tables.get(table).is_some_and(|table| table.key() == Some(column))
    };
    for (left, right) in statements.iter().flat_map(|statement| &statement.joins) {
        if is_key(*left) && !is_key(*right) { add(*right, *left) } else { add(*left, *right) }
    }
    for (position, table) in schema.tables.iter().enumerate() {
        for (column, declared) in table.columns.iter().enumerate() {
            if let Some(parent) = suggested(schema, position, &declared.name) {
                add((position, column), parent);
            }
        }
    }
    references
}

fn suggested(schema: &Schema, table: usize, column: &str) -> Option<ColumnPosition> {
    let name = column.to_ascii_lowercase();
    let stem = name.strip_suffix("id").map(|stem| stem.trim_end_matches('_'));
    schema.tables.iter().enumerate().filter(|(position, _)| *position != table).find_map(
        |(position, parent)| {
            let key = parent.key()?;
            let key_name = parent.columns.get(key)?.name.to_ascii_lowercase();
            let own = parent.name.to_ascii_lowercase();
            let named_after = stem.is_some_and(|stem| {
                !stem.is_empty()
                    && (own == stem
                        || own.strip_suffix('s') == Some(stem)
                        || own.strip_suffix("es") == Some(stem)
                        || own.strip_suffix("ies") == stem.strip_suffix('y')
                            && own.ends_with("ies"))
            });
            let same_name = key_name == name && !["id", "name", "code", "date"].contains(&&*name);
            (named_after || same_name).then_some((position, key))
        },
    )
}

/// The conditions of each statement; those on a column that refers to another are on the other.
fn conditions(statements: &[Comparisons], references: &[Vec<Reference>]) -> Conditions {
    let target = |column: ColumnPosition| {
        references.get(column.0)?.iter().find_map(|reference| {
            let position = reference.columns.iter().position(|own| *own == column.1)?;
            Some((reference.table, *reference.references.get(position)?))
        })
    };
    let root = |mut column: ColumnPosition| {
        // References may run in a circle.
        for _ in 0..8 {
            let Some(next) = target(column) else { break };
            column = next;
        }
        column
    };
    statements
        .iter()
        .filter(|statement| !statement.conditions.is_empty())
        .map(|statement| {
            let conditions = statement.conditions.iter();
            conditions.map(|(column, condition)| (root(*column), condition.clone())).collect()
        })
        .collect()
}

/// The tables so that each comes after those it refers to, as far as they do not refer to each other.
fn parents_first(references: &[Vec<Reference>]) -> Vec<usize> {
    fn visit(
        table: usize,
        references: &[Vec<Reference>],
        seen: &mut [bool],
        order: &mut Vec<usize>,
    ) {
        match seen.get_mut(table) {
            Some(seen) if !*seen => *seen = true,
            _ => return,
        }
        for reference in references.get(table).into_iter().flatten() {
            visit(reference.table, references, seen, order);
        }
        order.push(table);
    }
    let (mut seen, mut order) = (vec![false; references.len()], Vec::new());
    for table in 0..references.len() {
        visit(table, references, &mut seen, &mut order);
    }
    order
}
