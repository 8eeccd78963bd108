//! Parse trees as JSON, in the shape of the `sql` field of Spider's data files.

use serde_json::{Map, Number, Value, json};

use super::schema::{SchemaId, SpiderSchema};
use super::syntax::{ColumnUnit, Condition, Conditions, Operand, Query, TableUnit, ValueUnit};

/// The tree of a query as it was parsed: dictionaries and lists as in Spider's files, with tables and
/// columns by their official spellings (`__table__`, `__table.column__`, `__all__`) in place of numbers.
pub fn tree(query: &Query, schema: &SpiderSchema) -> Value {
    Writer { schema }.query(query)
}

struct Writer<'s> {
    schema: &'s SpiderSchema,
}

impl Writer<'_> {
    fn query(&self, query: &Query) -> Value {
        let operand = |query: &Option<Box<Query>>| match query {
            Some(query) => self.query(query),
            None => Value::Null,
        };
        let mut tree = Map::new();
        tree.insert("except".to_owned(), operand(&query.except));
        let units: Vec<Value> = (query.from.units.iter())
            .map(|unit| match unit {
                TableUnit::Table(table) => json!(["table_unit", self.name(*table)]),
                TableUnit::Query(query) => json!(["sql", self.query(query)]),
            })
            .collect();
        let conditions = self.conditions(&query.from.conditions);
        tree.insert("from".to_owned(), json!({"conds": conditions, "table_units": units}));
        let groups: Vec<Value> = query.group_by.iter().map(|unit| self.column(unit)).collect();
        tree.insert("groupBy".to_owned(), Value::Array(groups));
        tree.insert("having".to_owned(), self.conditions(&query.having));
        tree.insert("intersect".to_owned(), operand(&query.intersect));
        let limit = query.limit.as_ref().map(|limit| match limit.parse::<i64>() {
            Ok(limit) => json!(limit),
            Err(_) => json!(limit),
        });
        tree.insert("limit".to_owned(), limit.unwrap_or(Value::Null));
        let order_by = match &query.order_by {
            Some(order_by) => {
                let direction = if order_by.descending { "desc" } else { "asc" };
                let units: Vec<Value> = order_by.units.iter().map(|unit| self.unit(unit)).collect();
                json!([direction, units])
            }
            None => json!([]),
        };
        tree.insert("orderBy".to_owned(), order_by);
        let selected: Vec<Value> = (query.select.units.iter())
            .map(|(aggregation, unit)| json!([aggregation.number(), self.unit(unit)]))
            .collect();
        tree.insert("select".to_owned(), json!([query.select.distinct, selected]));
        tree.insert("union".to_owned(), operand(&query.union));
        tree.insert("where".to_owned(), self.conditions(&query.filter));
        Value::Object(tree)
    }

    fn conditions(&self, conditions: &Conditions) -> Value {
        let entries = conditions.iter().map(|entry| match entry {
            Condition::And => json!("and"),
            Condition::Or => json!("or"),
            Condition::Comparison(comparison) => json!([
                comparison.not,
                comparison.operator.number(),
                self.unit(&comparison.unit),
                self.operand(comparison.first.as_ref()),
                self.operand(comparison.second.as_ref()),
            ]),
        });
        Value::Array(entries.collect())
    }

    fn operand(&self, operand: Option<&Operand>) -> Value {
        match operand {
            None => Value::Null,
            // JSON has no infinity; Python's module would write the word.
            Some(Operand::Number(number)) => Number::from_f64(*number)
                .map_or_else(|| Value::String(number.to_string()), Value::Number),
            Some(Operand::Text(text)) => json!(text),
            Some(Operand::Column(unit)) => self.column(unit),
            Some(Operand::Query(query)) => self.query(query),
        }
    }

    fn unit(&self, unit: &ValueUnit) -> Value {
        let second = unit.second.as_ref().map(|second| self.column(second));
        json!([unit.operator.number(), self.column(&unit.first), second])
    }

    fn column(&self, unit: &ColumnUnit) -> Value {
        json!([unit.aggregation.number(), self.name(unit.column), unit.distinct])
    }

    fn name(&self, id: SchemaId) -> &str {
        self.schema.name(id)
    }
}
