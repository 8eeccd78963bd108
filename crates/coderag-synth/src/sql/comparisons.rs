//! What statements compare their columns with, so that a database can hold values on both sides of each
//! comparison, as the fuzzing of test suites does it (Zhong, Yu and Klein, "Semantic Evaluation for
//! Text-to-SQL with Distilled Test Suites", 2020, <https://arxiv.org/abs/2010.02840>).

use std::cmp::Ordering;
use std::ops::ControlFlow;

use coderag_sql::Value;
use sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Join, JoinConstraint,
    JoinOperator, Query, Select, SelectItem, SetExpr, TableFactor, Visit as _, Visitor,
};

use super::literal::literal;
use super::schema::{Schema, last_part};

/// A column: its table and itself, by position.
pub(crate) type ColumnPosition = (usize, usize);

/// What one statement compares.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Comparisons {
    /// Columns with literals.
    pub(crate) conditions: Vec<(ColumnPosition, Condition)>,
    /// Columns with columns of other tables, by equality.
    pub(crate) joins: Vec<(ColumnPosition, ColumnPosition)>,
}

/// A condition on one column. Negations are left out: values on both sides are wanted anyway.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Condition {
    /// The value compares in one of these ways.
    Compares(&'static [Ordering], Value),
    /// One of these.
    Among(Vec<Value>),
    /// From one to the other, both included.
    Between(Value, Value),
    /// SQL's LIKE.
    Like(String),
    /// NULL.
    Null,
}

impl Condition {
    /// Values for which it holds and, for comparisons by order, values just beyond the bound.
    pub(crate) fn candidates(&self) -> Vec<Value> {
        match self {
            Self::Compares([Ordering::Equal], value) => vec![value.clone()],
            Self::Compares(_, value) => around(value),
            Self::Among(values) => values.clone(),
            Self::Between(low, high) => {
                let mut values = around(low);
                values.extend(around(high));
                values
            }
            Self::Like(pattern) => {
                if let Some(dates) = dates_like(pattern) {
                    return dates;
                }
                let filled = |start: &str, rest: &str| {
                    let mut first = true;
                    pattern.chars().fold(String::new(), |mut text, character| {
                        match character {
                            '%' => text.push_str(if first { start } else { rest }),
                            '_' => text.push('1'),
                            other => text.push(other),
                        }
                        first = false;
                        text
                    })
                };
                let values = [filled("", ""), filled("North ", " Park"), filled("", " II")];
                values.into_iter().map(Value::Text).collect()
            }
            Self::Null => vec![Value::Null],
        }
    }

    /// Whether it holds for a value, as nearly as can be said without the column's affinity.
    pub(crate) fn holds(&self, value: &Value) -> bool {
        if *value == Value::Null {
            return *self == Self::Null;
        }
        match self {
            Self::Compares(orders, bound) => orders.contains(&order(value, bound)),
            Self::Among(values) => values.iter().any(|other| order(value, other).is_eq()),
            Self::Between(low, high) => order(value, low).is_ge() && order(value, high).is_le(),
            Self::Like(pattern) => like(pattern, &value.to_string()),
            Self::Null => false,
        }
    }
}

/// Dates of a pattern that begins as dates do: `2024%`, `2024-05%`.
fn dates_like(pattern: &str) -> Option<Vec<Value>> {
    let start = pattern.strip_suffix('%')?.trim_end_matches('-');
    let ends = match start.len() {
        4 => ["-03-10", "-08-21"],
        7 => ["-10", "-21"],
        _ => return None,
    };
    let is_date = start.char_indices().all(|(position, character)| match position {
        4 => character == '-',
        _ => character.is_ascii_digit(),
    });
    is_date.then(|| ends.map(|end| Value::Text(format!("{start}{end}"))).to_vec())
}

/// The value, and values a small and a larger step below and above it.
fn around(value: &Value) -> Vec<Value> {
    let mut values = vec![value.clone()];
    match value {
        Value::Integer(number) => {
            let step = (number.unsigned_abs() / 5).clamp(2, 1 << 40) as i64;
            for step in [1, step] {
                values.push(Value::Integer(number.saturating_sub(step)));
                values.push(Value::Integer(number.saturating_add(step)));
            }
        }
        Value::Real(number) => {
            for step in [0.25, (number.abs() / 5.0).max(1.0)] {
                values.extend([number - step, number + step].map(Value::Real));
            }
        }
        Value::Text(text) => values.extend(texts_around(text).into_iter().map(Value::Text)),
        Value::Null | Value::Blob(_) => {}
    }
    values
}

/// Dates and years next to one; for other texts one far before and one far behind.
fn texts_around(text: &str) -> Vec<String> {
    if let (Some(year), Some(rest)) = (text.get(..4), text.get(4..))
        && let Ok(year) = year.parse::<u16>()
    {
        let other = |year: u16| format!("{year:04}{rest}");
        let mut texts = vec![other(year.saturating_sub(1)), other(year.saturating_add(1))];
        if let (Some(start), Some(Ok(day))) = (text.get(..8), text.get(8..10).map(str::parse::<u8>))
        {
            let rest = text.get(10..).unwrap_or_default();
            // Every month has the days up to the 28th.
            for day in [day.saturating_sub(1).max(1), day.saturating_add(1).min(28)] {
                texts.push(format!("{start}{day:02}{rest}"));
            }
        }
        return texts;
    }
    vec!["Aaron".to_owned(), "Zoe".to_owned()]
}

/// How values compare: numbers, also as text, by size, and texts by their bytes.
fn order(left: &Value, right: &Value) -> Ordering {
    let number = |value: &Value| match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Real(number) => Some(*number),
        Value::Text(text) => text.trim().parse().ok(),
        Value::Null | Value::Blob(_) => None,
    };
    match (left, right) {
        (Value::Text(left), Value::Text(right)) => left.cmp(right),
        _ => match (number(left), number(right)) {
            (Some(left), Some(right)) => left.total_cmp(&right),
            _ => left.to_string().cmp(&right.to_string()),
        },
    }
}

/// SQLite's LIKE, which ignores the case of ASCII letters.
fn like(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.to_ascii_lowercase().chars().collect();
    let text: Vec<char> = text.to_ascii_lowercase().chars().collect();
    let (mut at, mut position) = (0, 0);
    // Where the last `%` stands, and up to where it reaches.
    let mut open: Option<(usize, usize)> = None;
    while let Some(character) = text.get(position) {
        match pattern.get(at) {
            Some('%') => {
                open = Some((at, position));
                at += 1;
            }
            Some(wanted) if *wanted == '_' || wanted == character => {
                at += 1;
                position += 1;
            }
            _ => {
                let Some((percent, reach)) = open else { return false };
                open = Some((percent, reach + 1));
                at = percent + 1;
                position = reach + 1;
            }
        }
    }
    pattern.iter().skip(at).all(|character| *character == '%')
}

impl Comparisons {
    /// What a statement compares, as far as its columns are found in the schema.
    pub(crate) fn of(query: &Query, schema: &Schema) -> Self {
        let mut found =
            Found { schema, tables: Vec::new(), conditions: Vec::new(), joins: Vec::new() };
        let _: ControlFlow<()> = query.visit(&mut found);
        let resolve = |column: &Name| found.resolve(column);
        let conditions = found.conditions.iter().flat_map(|(column, condition)| {
            resolve(column).into_iter().map(move |column| (column, condition.clone()))
        });
        let joins = found.joins.iter().flat_map(|(left, right)| {
            let rights = resolve(right);
            resolve(left)
                .into_iter()
                .flat_map(move |left| rights.clone().into_iter().map(move |right| (left, right)))
        });
        Self {
            conditions: conditions.collect(),
            joins: joins.filter(|(left, right)| left.0 != right.0).collect(),
        }
    }
}

/// A column as a statement names it.
#[derive(Clone, Debug)]
struct Name {
    table: Option<String>,
    column: String,
}

struct Found<'s> {
    schema: &'s Schema,
    /// Tables with the names they go by.
    tables: Vec<(String, String)>,
    conditions: Vec<(Name, Condition)>,
    joins: Vec<(Name, Name)>,
}

impl Found<'_> {
    /// The value of a literal. SQLite takes a name in double quotes for a text where there is no such
    /// column (<https://www.sqlite.org/quirks.html>, section 8).
    fn literal(&self, expression: &Expr) -> Option<Value> {
        match expression {
            Expr::Identifier(name) if name.quote_style == Some('"') => {
                let mut tables = self.schema.tables.iter();
                let is_column = tables.any(|table| table.column(&name.value).is_some());
                (!is_column).then(|| Value::Text(name.value.clone()))
            }
            other => literal(other),
        }
    }

    /// The columns that a name may mean. Scopes are not told apart; what that adds is only more values.
    fn resolve(&self, name: &Name) -> Vec<ColumnPosition> {
        let named = |(table, alias): &&(String, String)| {
            let wanted = name.table.as_ref();
            wanted.is_none_or(|wanted| {
                wanted.eq_ignore_ascii_case(alias) || wanted.eq_ignore_ascii_case(table)
            })
        };
        let mut positions: Vec<ColumnPosition> = self
            .tables
            .iter()
            .filter(named)
            .filter_map(|(table, _)| self.schema.position(table))
            .filter_map(|table| Some((table, self.schema.tables.get(table)?.column(&name.column)?)))
            .collect();
        positions.sort_unstable();
        positions.dedup();
        positions
    }

    fn compare(&mut self, left: &Expr, operator: &BinaryOperator, right: &Expr) {
        use Ordering::{Equal, Greater, Less};
        let (orders, mirrored): (&'static [Ordering], &'static [Ordering]) = match operator {
            BinaryOperator::Eq | BinaryOperator::NotEq | BinaryOperator::Spaceship => {
                (&[Equal], &[Equal])
            }
            BinaryOperator::Lt => (&[Less], &[Greater]),
            BinaryOperator::LtEq => (&[Less, Equal], &[Greater, Equal]),
            BinaryOperator::Gt => (&[Greater], &[Less]),
            BinaryOperator::GtEq => (&[Greater, Equal], &[Less, Equal]),
            _ => return,
        };
        match (column(left), self.literal(left), column(right), self.literal(right)) {
            (Some(column), None, _, Some(value)) => self.condition(column, orders, value),
            (_, Some(value), Some(column), None) => self.condition(column, mirrored, value),
            (Some((left, Part::Whole)), None, Some((right, Part::Whole)), None)
                if *operator == BinaryOperator::Eq =>
            {
                self.joins.push((left, right));
            }
            _ => {}
        }
    }

    fn condition(&mut self, (name, part): (Name, Part), orders: &'static [Ordering], value: Value) {
        let condition = match part {
            Part::Whole => Condition::Compares(orders, value),
            Part::Start => Condition::Like(format!("{value}%")),
            Part::Date(format) => match dates(&format, orders, &value.to_string()) {
                Some(condition) => condition,
                None => return,
            },
        };
        self.conditions.push((name, condition));
    }
}

/// Dates whose part compares with a text as `orders` says.
fn dates(format: &str, orders: &'static [Ordering], part: &str) -> Option<Condition> {
    let among = |texts: [String; 2]| Condition::Among(texts.map(Value::Text).to_vec());
    Some(match (format, orders) {
        ("%Y", [Ordering::Equal]) => among([format!("{part}-03-10"), format!("{part}-08-21")]),
        ("%Y", [Ordering::Less] | [Ordering::Greater, Ordering::Equal]) => {
            Condition::Compares(orders, Value::Text(format!("{part}-01-01")))
        }
        ("%Y", _) => Condition::Compares(orders, Value::Text(format!("{part}-12-28"))),
        ("%m", _) => among([format!("2022-{part:0>2}-10"), format!("2023-{part:0>2}-21")]),
        ("%Y-%m", _) => among([format!("{part}-10"), format!("{part}-21")]),
        _ => return None,
    })
}

/// What of a column's value is compared.
enum Part {
    Whole,
    /// Its first characters.
    Start,
    /// A part of a date in the letters of `strftime`.
    Date(String),
}

/// The column that an expression is about: itself, or changed by a function that keeps its values alike.
fn column(expression: &Expr) -> Option<(Name, Part)> {
    let whole = |table: Option<String>, column: &str| {
        Some((Name { table, column: column.to_owned() }, Part::Whole))
    };
    match expression {
        Expr::Identifier(name) => whole(None, &name.value),
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [.., table, column] => whole(Some(table.value.clone()), &column.value),
            _ => None,
        },
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => column(inner),
        Expr::Cast { expr, .. } | Expr::Trim { expr, .. } => column(expr),
        Expr::Substring { expr, .. } => column(expr).map(|(name, _)| (name, Part::Start)),
        Expr::Function(function) => {
            let FunctionArguments::List(list) = &function.args else { return None };
            let mut arguments = list.args.iter().filter_map(|argument| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(argument)) => Some(argument),
                _ => None,
            });
            match last_part(&function.name).to_ascii_lowercase().as_str() {
                "strftime" => {
                    let Some(Value::Text(format)) = literal(arguments.next()?) else { return None };
                    let (name, _) = column(arguments.next()?)?;
                    Some((name, Part::Date(format)))
                }
                "lower" | "upper" | "trim" | "ltrim" | "rtrim" | "date" | "datetime" | "avg"
                | "min" | "max" | "sum" | "total" | "round" | "abs" | "coalesce" | "ifnull" => {
                    column(arguments.next()?)
                }
                _ => None,
            }
        }
        _ => None,
    }
}

impl Visitor for Found<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, alias, .. } = factor {
            let name = last_part(name);
            let alias =
                alias.as_ref().map_or_else(|| name.clone(), |alias| alias.name.value.clone());
            self.tables.push((name, alias));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        for from in &select.from {
            for (position, join) in from.joins.iter().enumerate() {
                let Some(JoinConstraint::Using(columns)) = constraint(join) else { continue };
                let earlier = std::iter::once(&from.relation)
                    .chain(from.joins.iter().take(position).map(|join| &join.relation));
                let Some(right) = alias(&join.relation) else { continue };
                for left in earlier.filter_map(alias) {
                    for column in columns {
                        let name = |table: &str| Name {
                            table: Some(table.to_owned()),
                            column: last_part(column),
                        };
                        self.joins.push((name(&left), name(&right)));
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        match expression {
            Expr::BinaryOp { left, op, right } => self.compare(left, op, right),
            Expr::InList { expr, list, .. } => {
                if let Some((name, part)) = column(expr) {
                    let values: Vec<Value> =
                        list.iter().filter_map(|item| self.literal(item)).collect();
                    match part {
                        Part::Whole => self.conditions.push((name, Condition::Among(values))),
                        Part::Start | Part::Date(_) => {
                            for value in values {
                                let Some(column) = column(expr) else { continue };
                                self.condition(column, &[Ordering::Equal], value);
                            }
                        }
                    }
                }
            }
            Expr::Between { expr, low, high, .. } => {
                if let (Some((name, part)), Some(low), Some(high)) =
                    (column(expr), self.literal(low), self.literal(high))
                {
                    match part {
                        Part::Whole => self.conditions.push((name, Condition::Between(low, high))),
                        Part::Start => {}
                        Part::Date(format) => {
                            for value in [low, high] {
                                let column = (name.clone(), Part::Date(format.clone()));
                                self.condition(column, &[Ordering::Equal], value);
                            }
                        }
                    }
                }
            }
            Expr::Like { expr, pattern, .. } => {
                if let (Some((name, _)), Some(Value::Text(pattern))) =
                    (column(expr), self.literal(pattern))
                {
                    self.conditions.push((name, Condition::Like(pattern)));
                }
            }
            Expr::IsNull(inner) | Expr::IsNotNull(inner) => {
                if let Some((name, _)) = column(inner) {
                    self.conditions.push((name, Condition::Null));
                }
            }
            Expr::InSubquery { expr, subquery, .. } => {
                if let (Some((left, _)), SetExpr::Select(select)) =
                    (column(expr), subquery.body.as_ref())
                    && let [
                        SelectItem::UnnamedExpr(item)
                        | SelectItem::ExprWithAlias { expr: item, .. },
                    ] = select.projection.as_slice()
                    && let Some((right, Part::Whole)) = column(item)
                {
                    self.joins.push((left, right));
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// What a join's rows must meet.
pub(crate) fn constraint(join: &Join) -> Option<&JoinConstraint> {
    match &join.join_operator {
        JoinOperator::Join(constraint)
        | JoinOperator::Inner(constraint)
        | JoinOperator::Left(constraint)
        | JoinOperator::LeftOuter(constraint)
        | JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint)
        | JoinOperator::CrossJoin(constraint) => Some(constraint),
        _ => None,
    }
}

fn alias(factor: &TableFactor) -> Option<String> {
    match factor {
        TableFactor::Table { name, alias, .. } => {
            Some(alias.as_ref().map_or_else(|| last_part(name), |alias| alias.name.value.clone()))
        }
        TableFactor::Derived { alias, .. } => Some(alias.as_ref()?.name.value.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::statement::parse_query;

    fn of(sql: &str) -> Comparisons {
        let schema = Schema::parse(
            "CREATE TABLE city (id INT, name TEXT, people INT, founded DATE);
             CREATE TABLE trip (city INT, day TEXT, cost REAL);",
        )
        .unwrap();
        Comparisons::of(&parse_query(sql).unwrap(), &schema)
    }

    #[test]
    fn comparisons_are_found_through_aliases_functions_and_subqueries() {
        use Ordering::{Equal, Greater, Less};
        let found = of("SELECT c.name FROM city AS c JOIN trip t ON t.city = c.id \
             WHERE LOWER(c.name) LIKE '%burg' AND 5000 < people AND t.cost BETWEEN 1 AND 2.5 \
             AND strftime('%Y', founded) <= '1200' AND c.id IN (SELECT city FROM trip WHERE day = 'x') \
             GROUP BY c.name HAVING AVG(t.cost) > 10");
        let text = |text: &str| Value::Text(text.to_owned());
        let wanted = [
            ((0, 1), Condition::Like("%burg".to_owned())),
            ((0, 2), Condition::Compares(&[Greater], Value::Integer(5000))),
            ((1, 2), Condition::Between(Value::Integer(1), Value::Real(2.5))),
            ((0, 3), Condition::Compares(&[Less, Equal], text("1200-12-28"))),
            ((1, 1), Condition::Compares(&[Equal], text("x"))),
            ((1, 2), Condition::Compares(&[Greater], Value::Integer(10))),
        ];
        assert_eq!(found.conditions.len(), wanted.len(), "{found:?}");
        for condition in &wanted {
            assert!(found.conditions.contains(condition), "{condition:?}");
        }
        assert_eq!(found.joins, [((1, 0), (0, 0)), ((0, 0), (1, 0))]);
        assert_eq!(of("SELECT 1 FROM city JOIN trip USING (id)").joins, []);
        // In double quotes a column is a column and everything else a text.
        let quoted = of("SELECT id FROM city WHERE \"name\" = \"Hamburg\" AND \"people\" > 1");
        let equal = Condition::Compares(&[Equal], text("Hamburg"));
        let more = Condition::Compares(&[Greater], Value::Integer(1));
        assert_eq!(quoted.conditions, [((0, 1), equal), ((0, 2), more)]);
    }

    #[test]
    fn candidates_lie_on_both_sides_of_a_bound() {
        for value in [
            Value::Integer(10),
            Value::Real(0.5),
            Value::Text("2024-02-01".to_owned()),
            Value::Text("M".to_owned()),
        ] {
            let condition = Condition::Compares(&[Ordering::Greater], value.clone());
            let candidates = condition.candidates();
            assert!(candidates.iter().any(|candidate| condition.holds(candidate)), "{value}");
            assert!(candidates.iter().any(|candidate| !condition.holds(candidate)), "{value}");
        }
    }

    #[test]
    fn like_is_sqlites() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        for pattern in ["%b%", "a_c", "_%_", "%", "", "a%c%", "A%", "%a%b%c", "2024%", "2024-05-%"]
        {
            for text in ["abc", "", "ab", "aXc", "aabbcc", "b", "cba"] {
                let sqlite: bool = connection
                    .query_row("SELECT ?2 LIKE ?1", [pattern, text], |row| row.get(0))
                    .unwrap();
                assert_eq!(like(pattern, text), sqlite, "{text} LIKE {pattern}");
            }
            for value in Condition::Like(pattern.to_owned()).candidates() {
                assert!(like(pattern, &value.to_string()), "{value} LIKE {pattern}");
            }
        }
    }
}
