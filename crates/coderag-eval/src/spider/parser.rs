//! The recursive-descent parser of `process_sql.py`, with its order of steps and its gaps.
//!
//! Wherever the official parser raises an exception, this one returns none: the reasons are mostly
//! accidents (an index out of range, an unknown key) and the scorer asks only whether there was one.

use std::collections::HashMap;

use super::ExactMatchVariant;
use super::schema::{SchemaId, SpiderSchema};
use super::syntax::{
    Aggregation, Arithmetic, ColumnUnit, Comparison, Condition, Conditions, From, Operand,
    Operator, OrderBy, Query, Select, TableUnit, ValueUnit,
};
use super::tokenizer::tokenize;
use crate::python_text;

/// How deep Python's calls may nest when the official script parses: its default limit without the
/// calls that lead to the parser.
const DEEPEST_CALL: usize = 1000 - 4;

/// Parses a query, or returns none where the official script fails to.
///
/// What follows a complete query is ignored, as it is there.
pub fn parse(query: &str, schema: &SpiderSchema, variant: ExactMatchVariant) -> Option<Query> {
    let tokens = tokenize(query).ok()?;
    let tables = tables_with_aliases(&tokens, schema)?;
    let parser = Parser { schema, tables, variant };
    let (_, query) = parser.query(&tokens, 0, 1)?;
    Some(query)
}

/// `get_tables_with_alias`: what each table name and alias stands for.
fn tables_with_aliases(
    tokens: &[String],
    schema: &SpiderSchema,
) -> Option<HashMap<String, String>> {
    let mut tables = HashMap::new();
    for (index, token) in tokens.iter().enumerate() {
        if token == "as" {
            // The token before the first one is the last one, as a negative index has it in Python.
            let before = index.checked_sub(1).unwrap_or(tokens.len() - 1);
            tables.insert(tokens.get(index + 1)?.clone(), tokens.get(before)?.clone());
        }
    }
    for table in schema.tables() {
        // An alias may not have the name of a table.
        if tables.insert(table.to_owned(), table.to_owned()).is_some() {
            return None;
        }
    }
    Some(tables)
}

struct Parser<'s> {
    schema: &'s SpiderSchema,
    tables: HashMap<String, String>,
    variant: ExactMatchVariant,
}

/// Tokens from the start of a clause; the parser's functions take the whole list and a place in it.
type Tokens<'t> = &'t [String];

fn is(tokens: Tokens<'_>, index: usize, word: &str) -> bool {
    tokens.get(index).is_some_and(|token| token == word)
}

fn at(tokens: Tokens<'_>, index: usize) -> Option<&str> {
    tokens.get(index).map(String::as_str)
}

/// `assert toks[idx] == word` and the step over it.
fn expect(tokens: Tokens<'_>, index: usize, word: &str) -> Option<usize> {
    is(tokens, index, word).then_some(index + 1)
}

/// `CLAUSE_KEYWORDS`, where HAVING is missing.
fn starts_clause(word: &str) -> bool {
    matches!(
        word,
        "select"
            | "from"
            | "where"
            | "group"
            | "order"
            | "limit"
            | "intersect"
            | "union"
            | "except"
    )
}

fn closes(word: &str) -> bool {
    matches!(word, ")" | ";")
}

/// `JOIN_KEYWORDS`.
fn joins(word: &str) -> bool {
    matches!(word, "join" | "on" | "as")
}

fn skip_semicolons(tokens: Tokens<'_>, mut index: usize) -> usize {
    while is(tokens, index, ";") {
        index += 1;
    }
    index
}

impl Parser<'_> {
    /// `parse_sql`.
    fn query(&self, tokens: Tokens<'_>, start: usize, depth: usize) -> Option<(usize, Query)> {
        if depth > DEEPEST_CALL {
            return None;
        }
        let in_parentheses = at(tokens, start)? == "(";
        let index = start + usize::from(in_parentheses);
        // FROM comes first, because the other clauses need its tables.
        let (from_end, from, default_tables) = self.from(tokens, start, depth + 1)?;
        let select = self.select(tokens, index, &default_tables)?;
        let mut index = from_end;
        let mut filter = Conditions::new();
        if is(tokens, index, "where") {
            (index, filter) = self.conditions(tokens, index + 1, &default_tables, depth + 2)?;
        }
        let (next, group_by) = self.group_by(tokens, index, &default_tables)?;
        index = next;
        let mut having = Conditions::new();
        if is(tokens, index, "having") {
            (index, having) = self.conditions(tokens, index + 1, &default_tables, depth + 2)?;
        }
        let (next, order_by) = self.order_by(tokens, index, &default_tables)?;
        let (next, limit) = self.limit(tokens, next)?;
        index = skip_semicolons(tokens, next);
        if in_parentheses {
            index = expect(tokens, index, ")")?;
        }
        index = skip_semicolons(tokens, index);
        let mut query = Query {
            select,
            from,
            filter,
            group_by,
            having,
            order_by,
            limit,
            intersect: None,
            except: None,
            union: None,
        };
        let operand = match at(tokens, index) {
            Some("intersect") => &mut query.intersect,
            Some("union") => &mut query.union,
            Some("except") => &mut query.except,
            _ => return Some((index, query)),
        };
        let (index, right) = self.query(tokens, index + 1, depth + 1)?;
        *operand = Some(Box::new(right));
        Some((index, query))
    }

    /// `parse_from`: the place after the clause, the clause, and the tables in it.
    fn from(
        &self,
        tokens: Tokens<'_>,
        start: usize,
        depth: usize,
    ) -> Option<(usize, From, Vec<String>)> {
        let offset = tokens.get(start..)?.iter().position(|token| token == "from")?;
        let mut index = start + offset + 1;
        let mut from = From::default();
        let mut default_tables = Vec::new();
        while index < tokens.len() {
            let in_parentheses = is(tokens, index, "(");
            index += usize::from(in_parentheses);
            if at(tokens, index)? == "select" {
                let (next, query) = self.query(tokens, index, depth + 1)?;
                index = next;
                from.units.push(TableUnit::Query(Box::new(query)));
            } else {
                index += usize::from(is(tokens, index, "join"));
                let table = self.tables.get(at(tokens, index)?)?;
                index += if is(tokens, index + 1, "as") { 3 } else { 1 };
                from.units.push(TableUnit::Table(self.schema.id(table)?));
                default_tables.push(table.clone());
            }
            if is(tokens, index, "on") {
                let (next, conditions) =
                    self.conditions(tokens, index + 1, &default_tables, depth + 1)?;
                index = next;
                if !from.conditions.is_empty() {
                    from.conditions.push(Condition::And);
                }
                from.conditions.extend(conditions);
            }
            if in_parentheses {
                index = expect(tokens, index, ")")?;
            }
            if at(tokens, index).is_some_and(|token| starts_clause(token) || closes(token)) {
                break;
            }
        }
        Some((index, from, default_tables))
    }

    /// `parse_select`.
    fn select(&self, tokens: Tokens<'_>, start: usize, tables: &[String]) -> Option<Select> {
        let mut index = expect(tokens, start, "select")?;
        let distinct = is(tokens, index, "distinct");
        index += usize::from(distinct);
        let mut units = Vec::new();
        while let Some(token) = at(tokens, index).filter(|token| !starts_clause(token)) {
            let aggregation = Aggregation::of(token);
            index += usize::from(aggregation.is_some());
            let (next, unit) = self.value_unit(tokens, index, tables)?;
            units.push((aggregation.unwrap_or(Aggregation::None), unit));
            index = next + usize::from(is(tokens, next, ","));
        }
        Some(Select { distinct: Some(distinct), units })
    }

    /// `parse_condition`.
    fn conditions(
        &self,
        tokens: Tokens<'_>,
        start: usize,
        tables: &[String],
        depth: usize,
    ) -> Option<(usize, Conditions)> {
        let mut index = start;
        let mut conditions = Conditions::new();
        while index < tokens.len() {
            let (next, unit) = self.value_unit(tokens, index, tables)?;
            index = next;
            let not = at(tokens, index)? == "not";
            index += usize::from(not);
            let operator = Operator::of(at(tokens, index)?)?;
            index += 1;
            let (next, first) = self.operand(tokens, index, tables, depth + 1)?;
            index = next;
            let mut second = None;
            if operator == Operator::Between {
                index = expect(tokens, index, "and")?;
                let (next, value) = self.operand(tokens, index, tables, depth + 1)?;
                index = next;
                second = Some(value);
            }
            conditions.push(Condition::Comparison(Comparison {
                not,
                operator,
                unit,
                first: Some(first),
                second,
            }));
            match at(tokens, index) {
                Some(token) if starts_clause(token) || closes(token) || joins(token) => break,
                Some("and") => {
                    conditions.push(Condition::And);
                    index += 1;
                }
                Some("or") => {
                    conditions.push(Condition::Or);
                    index += 1;
                }
                _ => {}
            }
        }
        Some((index, conditions))
    }

    /// `parse_value`.
    fn operand(
        &self,
        tokens: Tokens<'_>,
        start: usize,
        tables: &[String],
        depth: usize,
    ) -> Option<(usize, Operand)> {
        let in_parentheses = at(tokens, start)? == "(";
        let mut index = start + usize::from(in_parentheses);
        let token = at(tokens, index)?;
        let operand = if token == "select" {
            let (next, query) = self.query(tokens, index, depth + 1)?;
            index = next;
            Operand::Query(Box::new(query))
        } else if token.contains('"') {
            index += 1;
            Operand::Text(token.to_owned())
        } else if let Some(number) = python_text::float(token) {
            index += 1;
            Operand::Number(number)
        } else {
            let ends = |token: &String| {
                matches!(token.as_str(), "," | ")" | "and") || starts_clause(token) || joins(token)
            };
            let rest = tokens.get(index..)?;
            let end = index + rest.iter().position(ends).unwrap_or(rest.len());
            // The parenthesis is parsed once more, in a list that ends before the closing one.
            let (_, unit) = self.column_unit(tokens.get(start..end)?, 0, tables)?;
            index = end;
            Operand::Column(unit)
        };
        if in_parentheses {
            index = expect(tokens, index, ")")?;
        }
        Some((index, operand))
    }

    /// `parse_group_by`.
    fn group_by(
        &self,
        tokens: Tokens<'_>,
        start: usize,
        tables: &[String],
    ) -> Option<(usize, Vec<ColumnUnit>)> {
        let mut units = Vec::new();
        if !is(tokens, start, "group") {
            return Some((start, units));
        }
        let mut index = expect(tokens, start + 1, "by")?;
        while at(tokens, index).is_some_and(|token| !starts_clause(token) && !closes(token)) {
            let (next, unit) = self.column_unit(tokens, index, tables)?;
            units.push(unit);
            index = next;
            if !is(tokens, index, ",") {
                break;
            }
            index += 1;
        }
        Some((index, units))
    }

    /// `parse_order_by`.
    fn order_by(
        &self,
        tokens: Tokens<'_>,
        start: usize,
        tables: &[String],
    ) -> Option<(usize, Option<OrderBy>)> {
        if !is(tokens, start, "order") {
            return Some((start, None));
        }
        let mut order_by = OrderBy { descending: false, units: Vec::new() };
        let mut index = expect(tokens, start + 1, "by")?;
        while at(tokens, index).is_some_and(|token| !starts_clause(token) && !closes(token)) {
            let (next, unit) = self.value_unit(tokens, index, tables)?;
            order_by.units.push(unit);
            index = next;
            if let Some(direction @ ("asc" | "desc")) = at(tokens, index) {
                order_by.descending = direction == "desc";
                index += 1;
            }
            if !is(tokens, index, ",") {
                break;
            }
            index += 1;
        }
        Some((index, Some(order_by)))
    }

    /// `parse_limit`. Of taoyds/spider and of taoyds/test-suite-sql-eval, the only difference between
    /// the two parsers: the latter takes every limit for 1, so nested limits never differ.
    fn limit(&self, tokens: Tokens<'_>, start: usize) -> Option<(usize, Option<String>)> {
        if !is(tokens, start, "limit") {
            return Some((start, None));
        }
        let token = at(tokens, start + 1)?;
        let limit = match self.variant {
            ExactMatchVariant::Spider => python_text::integer(token)?,
            ExactMatchVariant::TestSuite => "1".to_owned(),
        };
        Some((start + 2, Some(limit)))
    }

    /// `parse_val_unit`.
    fn value_unit(
        &self,
        tokens: Tokens<'_>,
        start: usize,
        tables: &[String],
    ) -> Option<(usize, ValueUnit)> {
        let in_parentheses = at(tokens, start)? == "(";
        let index = start + usize::from(in_parentheses);
        let (mut index, first) = self.column_unit(tokens, index, tables)?;
        let mut unit = ValueUnit { operator: Arithmetic::None, first, second: None };
        if let Some(operator) = at(tokens, index).and_then(Arithmetic::of) {
            let (next, second) = self.column_unit(tokens, index + 1, tables)?;
            unit.operator = operator;
            unit.second = Some(second);
            index = next;
        }
        if in_parentheses {
            index = expect(tokens, index, ")")?;
        }
        Some((index, unit))
    }

    /// `parse_col_unit`.
    fn column_unit(
        &self,
        tokens: Tokens<'_>,
        start: usize,
        tables: &[String],
    ) -> Option<(usize, ColumnUnit)> {
        let in_parentheses = at(tokens, start)? == "(";
        let mut index = start + usize::from(in_parentheses);
        if let Some(aggregation) = Aggregation::of(at(tokens, index)?) {
            index = expect(tokens, index + 1, "(")?;
            let distinct = at(tokens, index)? == "distinct";
            index += usize::from(distinct);
            let column = self.column(at(tokens, index)?, tables)?;
            // A parenthesis before the aggregation is never closed here.
            index = expect(tokens, index + 1, ")")?;
            return Some((index, ColumnUnit { aggregation, column, distinct: Some(distinct) }));
        }
        let distinct = at(tokens, index)? == "distinct";
        index += usize::from(distinct);
        let column = self.column(at(tokens, index)?, tables)?;
        index += 1;
        if in_parentheses {
            index = expect(tokens, index, ")")?;
        }
        let aggregation = Aggregation::None;
        Some((index, ColumnUnit { aggregation, column, distinct: Some(distinct) }))
    }

    /// `parse_col`.
    fn column(&self, token: &str, tables: &[String]) -> Option<SchemaId> {
        if token == "*" {
            return self.schema.id(token);
        }
        if let Some((alias, column)) = token.split_once('.') {
            if column.contains('.') {
                return None;
            }
            return self.schema.id(&format!("{}.{column}", self.tables.get(alias)?));
        }
        for table in tables {
            let table = self.tables.get(table)?;
            if self.schema.columns(table)?.contains(token) {
                return self.schema.id(&format!("{table}.{token}"));
            }
        }
        None
    }
}
