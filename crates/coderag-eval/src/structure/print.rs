//! From our tree to the canonical text, which SQLite reads: names of relations that do not depend
//! on how the query calls them, and everything that has no order sorted by its text.

use std::collections::HashMap;

use super::texts::{
    Naming, Operand, Operands, SelectText, in_order, numbered, quoted, quoted_function, ranks,
};
use super::tree::{
    Arena, Arguments, Body, Call, Column, Comparison, Compound, Connective, DerivedQuery,
    Expression, From, FromItem, Order, OrderKey, Query, RelationId, Select, Source, Window,
};
use super::{NormalizationOptions, SelectOrder, Values};

/// The most ways of numbering the occurrences of the same table that are tried, all levels of
/// nesting multiplied: six occurrences of one table.
const NUMBERING_LIMIT: usize = 720;

/// The same where expressions of one statement are compared with each other.
const RAW_NUMBERING_LIMIT: usize = 6;

/// The most expressions printed for one statement, all numberings counted.
const WORK_LIMIT: usize = 1_000_000;

/// The most common table expressions that are ordered by their text.
const SORTED_SHARED_LIMIT: usize = 16;

/// The canonical text, or `None` if finding it takes too long.
pub(super) fn canonical_text(
    query: &Query,
    arena: &Arena,
    options: NormalizationOptions,
) -> Option<String> {
    let mut printer = Printer::new(arena);
    printer.ignore_values = options.values == Values::Ignored;
    let sorted = options.select_order == SelectOrder::Ignored;
    let (text, _) = printer.query(query, Naming::None, sorted);
    (printer.work <= WORK_LIMIT && arena.work.get() <= WORK_LIMIT).then_some(text)
}

/// A text that two expressions of one scope share only if they are equal: relations of subqueries
/// have canonical names there, those outside their number.
pub(super) fn raw_text(arena: &Arena, expression: &Expression) -> String {
    let mut printer = Printer::new(arena);
    printer.numberings = RAW_NUMBERING_LIMIT;
    printer.work = arena.work.get();
    let text = printer.expression(expression);
    // Once this is over the limit, texts are no longer whole, and `canonical_text` gives none.
    arena.work.set(printer.work);
    text
}

struct Printer<'a> {
    arena: &'a Arena,
    ignore_values: bool,
    work: usize,
    /// How many numberings may still be tried at this level of nesting.
    numberings: usize,
    labels: HashMap<RelationId, String>,
    /// The labels that can be seen here.
    visible: Vec<String>,
    /// The FROM text of relations, and the ranks of their columns where these are numbered.
    sources: HashMap<RelationId, Printed>,
    /// The names of common table expressions that are used more than once.
    shared: HashMap<usize, Printed>,
    shared_visible: usize,
}

#[derive(Clone)]
struct Printed {
    text: String,
    ranks: Vec<usize>,
}

impl<'a> Printer<'a> {
    fn new(arena: &'a Arena) -> Self {
        Self {
            arena,
            ignore_values: false,
            work: 0,
            numberings: NUMBERING_LIMIT,
            labels: HashMap::new(),
            visible: Vec::new(),
            sources: HashMap::new(),
            shared: HashMap::new(),
            shared_visible: 0,
        }
    }

    /// The text of a query, and for each of its columns the place that it has there. `sorted` lets
    /// the columns have any order.
    fn query(&mut self, query: &Query, naming: Naming<'_>, sorted: bool) -> (String, Vec<usize>) {
        let shared_around = self.shared_visible;
        let mut text = self.with(&query.shared);
        let ranks = match &query.body {
            Body::Select(select) => {
                let printed = self.select(select, &query.order, sorted);
                let ranks = if sorted { ranks(&printed.items) } else { in_order(&printed.items) };
                text.push_str(&printed.text(&ranks, naming));
                ranks
            }
            Body::Compound(compound) => {
                let operands = self.operands(compound, sorted);
                let columns = operands.columns();
                let ranks = if sorted { ranks(&columns) } else { in_order(&columns) };
                text.push_str(&operands.text(&ranks, naming));
                text.push_str(&self.order_by(&query.order, &ranks));
                ranks
            }
        };
        for (keyword, bound) in [(" LIMIT ", &query.limit), (" OFFSET ", &query.offset)] {
            if let Some(bound) = bound {
                text.push_str(keyword);
                text.push_str(&self.operand(bound));
            }
        }
        self.shared_visible = shared_around;
        (text, ranks)
    }

    /// The WITH clause: the definitions that are used more than once, the others being written
    /// where they are used. Each is numbered when all that it uses are, the least text first.
    fn with(&mut self, shared: &[usize]) -> String {
        let arena = self.arena;
        let mut waiting: Vec<usize> = shared
            .iter()
            .copied()
            .filter(|&number| arena.shared.get(number).is_some_and(|shared| shared.uses > 1))
            .collect();
        if waiting.is_empty() {
            return String::new();
        }
        let mut definitions = Vec::new();
        while !waiting.is_empty() {
            let candidates = if waiting.len() <= SORTED_SHARED_LIMIT { waiting.len() } else { 1 };
            let next = (0..candidates)
                .filter_map(|position| {
                    let number = *waiting.get(position)?;
                    let query = &arena.shared.get(number)?.query;
                    let waits = uses_shared(arena, query, &waiting);
                    let (text, ranks) = if waits { return None } else { self.derived(query) };
                    Some((text, ranks, position))
                })
                .min();
            // A definition uses those before it only, so one is always ready.
            let Some((text, ranks, position)) = next else { break };
            let number = waiting.remove(position);
            self.shared_visible += 1;
            let name = quoted(&format!("cte#{}", self.shared_visible));
            definitions.push(format!("{name} AS ({text})"));
            self.shared.insert(number, Printed { text: name, ranks });
        }
        format!("WITH {} ", definitions.join(", "))
    }

    /// A subquery of FROM. The order of its columns is free, as they are referred to by name.
    fn derived(&mut self, derived: &DerivedQuery) -> (String, Vec<usize>) {
        if derived.names.is_empty() {
            self.query(&derived.query, Naming::Numbered, true)
        } else {
            self.query(&derived.query, Naming::AsWritten(&derived.names), false)
        }
    }

    fn operands(&mut self, compound: &Compound, sorted: bool) -> Operands {
        let first = match &compound.first {
            Body::Select(select) => Operand::Select(self.select(select, &[], sorted)),
            Body::Compound(compound) => {
                Operand::Compound(Box::new(self.operands(compound, sorted)))
            }
        };
        let rest = compound.rest.iter().map(|select| self.select(select, &[], sorted)).collect();
        Operands { operator: compound.operator, first, rest }
    }

    /// Prints a SELECT under every numbering of its relations that leaves tables of different names
    /// apart, and keeps the least text.
    fn select(&mut self, select: &Select, order: &[Order], sorted: bool) -> SelectText {
        let relations = select.from.relations();
        let mut groups: Vec<(String, &str, Vec<RelationId>)> = Vec::new();
        for relation in relations {
            let (source, base) = self.source(relation);
            match groups.iter_mut().find(|(text, ..)| *text == source.text) {
                Some((_, _, members)) => members.push(relation),
                None => groups.push((source.text.clone(), base, vec![relation])),
            }
            self.sources.insert(relation, source);
        }
        groups.sort();
        let outside = self.visible.len();
        let mut labels = Vec::new();
        for (_, base, members) in &groups {
            let mut group = Vec::new();
            for _ in members {
                let label = self.free_label(base);
                self.visible.push(label.clone());
                group.push(label);
            }
            labels.push(group);
        }
        let count = groups
            .iter()
            .flat_map(|(_, _, members)| 1..=members.len())
            .fold(1_usize, usize::saturating_mul);
        let around = self.numberings;
        let mut members: Vec<Vec<RelationId>> =
            groups.into_iter().map(|(_, _, members)| members).collect();
        let tried = if count <= around { count } else { 1 };
        self.numberings = around / tried;
        let mut best: Option<(Vec<String>, SelectText)> = None;
        for _ in 0..tried {
            for (members, labels) in members.iter().zip(&labels) {
                self.labels.extend(members.iter().copied().zip(labels.iter().cloned()));
            }
            let printed = self.select_numbered(select, order);
            let mut items = printed.items.clone();
            if sorted {
                items.sort_unstable();
            }
            let less = best.as_ref().is_none_or(|(best_items, best)| {
                (&items, &printed.tail) < (best_items, &best.tail)
            });
            if less {
                best = Some((items, printed));
            }
            next_arrangement(&mut members);
        }
        self.numberings = around;
        self.visible.truncate(outside);
        match best {
            Some((_, printed)) => printed,
            None => SelectText { distinct: false, items: Vec::new(), tail: String::new() },
        }
    }

    /// What stands in FROM before the label, and the label's stem.
    fn source(&mut self, relation: RelationId) -> (Printed, &'a str) {
        let arena = self.arena;
        match arena.relations.get(relation).map(|relation| &relation.source) {
            Some(Source::Table(name)) => (Printed { text: quoted(name), ranks: Vec::new() }, name),
            Some(Source::Shared(number)) if self.shared.contains_key(number) => {
                let printed = self.shared.get(number).cloned();
                (printed.unwrap_or_else(|| Printed::text("")), "cte")
            }
            _ => match arena.subquery(relation) {
                Some(derived) => {
                    let (text, ranks) = self.derived(derived);
                    (Printed { text: format!("({text})"), ranks }, "derived")
                }
                None => (Printed::text(""), ""),
            },
        }
    }

    /// The first label of a stem that is no other one's; a table's own name is the first.
    fn free_label(&self, base: &str) -> String {
        let mut number = 1;
        loop {
            let label = match number {
                1 => base.to_owned(),
                _ => format!("{base}#{number}"),
            };
            if !self.visible.contains(&label) {
                return label;
            }
            number += 1;
        }
    }

    fn select_numbered(&mut self, select: &Select, order: &[Order]) -> SelectText {
        let items = select.items.iter().map(|item| self.expression(item)).collect();
        let mut tail = String::new();
        if !select.from.items.is_empty() {
            tail.push_str(" FROM ");
            tail.push_str(&self.from(&select.from, ", "));
        }
        if !select.conditions.is_empty() {
            tail.push_str(" WHERE ");
            tail.push_str(&self.all_of(&select.conditions));
        }
        if !select.group.is_empty() {
            tail.push_str(" GROUP BY ");
            // A number would be a column's position.
            let (ignore_values, mut keys) = (self.ignore_values, Vec::new());
            for key in &select.group {
                self.ignore_values &= !key.is_literal();
                keys.push(self.expression(key));
                self.ignore_values = ignore_values;
            }
            keys.sort_unstable();
            tail.push_str(&keys.join(", "));
        }
        if !select.having.is_empty() {
            tail.push_str(" HAVING ");
            tail.push_str(&self.all_of(&select.having));
        }
        tail.push_str(&self.order_by(order, &[]));
        SelectText { distinct: select.distinct, items, tail }
    }

    fn order_by(&mut self, order: &[Order], ranks: &[usize]) -> String {
        if order.is_empty() {
            return String::new();
        }
        let terms: Vec<String> = order
            .iter()
            .map(|term| {
                let mut text = match &term.key {
                    OrderKey::Expression(expression) => self.operand(expression),
                    OrderKey::Position(position) => {
                        let rank = ranks.get(*position).copied().unwrap_or(*position);
                        (rank + 1).to_string()
                    }
                };
                if term.descending {
                    text.push_str(" DESC");
                }
                if term.nulls_elsewhere {
                    text.push_str(if term.descending { " NULLS FIRST" } else { " NULLS LAST" });
                }
                text
            })
            .collect();
        format!(" ORDER BY {}", terms.join(", "))
    }

    /// The relations in the order of their texts, then the left joins, each as soon as all that it
    /// refers to is there, the least text first.
    fn from(&mut self, from: &From, product: &str) -> String {
        let mut items: Vec<String> = from
            .items
            .iter()
            .map(|item| match item {
                FromItem::Relation(relation) => self.relation(*relation),
                FromItem::FullJoin { left, right, on } => {
                    let mut sides = [self.relation(*left), self.relation(*right)];
                    sides.sort_unstable();
                    format!("({}{})", sides.join(" FULL JOIN "), self.on(on))
                }
            })
            .collect();
        items.sort_unstable();
        let mut text = items.join(product);
        let arena = self.arena;
        let mut waiting: Vec<(String, Vec<RelationId>, Vec<RelationId>)> = from
            .left_joins
            .iter()
            .map(|join| {
                let own = join.right.relations();
                // sqlparser reads no comma in parentheses.
                let right = self.from(&join.right, " JOIN ");
                let single = own.len() == 1;
                let right = if single { right } else { format!("({right})") };
                let needs = join.on.iter().flat_map(|on| arena.references(on)).collect();
                (format!(" LEFT JOIN {right}{}", self.on(&join.on)), own, needs)
            })
            .collect();
        // Names that are not resolved may refer to anything further left.
        let fixed =
            from.left_joins.iter().flat_map(|join| &join.on).any(Expression::has_unresolved);
        while !waiting.is_empty() && !fixed {
            let ready = |(_, own, needs): &(String, Vec<RelationId>, Vec<RelationId>)| {
                !needs.iter().any(|needed| {
                    !own.contains(needed)
                        && waiting.iter().any(|(_, other, _)| other.contains(needed))
                })
            };
            let next = (0..waiting.len())
                .filter(|&position| waiting.get(position).is_some_and(ready))
                .min_by_key(|&position| waiting.get(position).map(|(text, ..)| text.clone()));
            // The order in which they are written is always possible.
            let (join, ..) = waiting.remove(next.unwrap_or_default());
            text.push_str(&join);
        }
        text.extend(waiting.into_iter().map(|(join, ..)| join));
        text
    }

    fn relation(&mut self, relation: RelationId) -> String {
        let source = self.sources.get(&relation).map_or("", |source| source.text.as_str());
        let label = self.label(relation);
        if source == label { label } else { format!("{source} AS {label}") }
    }

    fn label(&self, relation: RelationId) -> String {
        match self.labels.get(&relation) {
            Some(label) => quoted(label),
            None => format!("`relation#{relation}`"),
        }
    }

    fn on(&mut self, conditions: &[Expression]) -> String {
        if conditions.is_empty() {
            return String::new();
        }
        format!(" ON {}", self.all_of(conditions))
    }

    fn all_of(&mut self, conditions: &[Expression]) -> String {
        match conditions {
            [only] => self.expression(only),
            _ => self.sorted(conditions).join(" AND "),
        }
    }

    /// The operands in the order of their texts.
    fn sorted(&mut self, operands: &[Expression]) -> Vec<String> {
        let mut texts: Vec<String> = operands.iter().map(|operand| self.operand(operand)).collect();
        texts.sort_unstable();
        texts
    }

    /// The text of an expression within another one, in parentheses where it needs them.
    fn operand(&mut self, expression: &Expression) -> String {
        let text = self.expression(expression);
        let closed = match expression {
            Expression::Unary { .. } => self.ignore_values && expression.is_literal(),
            Expression::Column { .. }
            | Expression::Unresolved { .. }
            | Expression::AllColumns(_)
            | Expression::Null
            | Expression::Integer(_)
            | Expression::Real(_)
            | Expression::Text(_)
            | Expression::Keyword(_)
            | Expression::Call(_)
            | Expression::Scalar(_)
            | Expression::Case { .. }
            | Expression::Cast { .. }
            | Expression::Row(_) => true,
            _ => false,
        };
        if closed { text } else { format!("({text})") }
    }

    fn pair(&mut self, left: &Expression, right: &Expression, swap: bool) -> (String, String) {
        let texts = (self.operand(left), self.operand(right));
        let swap = swap && !left.names_collation() && !right.names_collation();
        if swap && texts.1 < texts.0 { (texts.1, texts.0) } else { texts }
    }

    fn list(&mut self, expressions: &[Expression]) -> String {
        let texts: Vec<String> = expressions.iter().map(|value| self.expression(value)).collect();
        texts.join(", ")
    }

    fn subquery(&mut self, query: &Query) -> String {
        let (text, _) = self.query(query, Naming::None, false);
        format!("({text})")
    }

    fn expression(&mut self, expression: &Expression) -> String {
        self.work += 1;
        if self.work > WORK_LIMIT {
            return String::new();
        }
        if self.ignore_values && expression.is_literal() && !matches!(expression, Expression::Null)
        {
            return "?".to_owned();
        }
        match expression {
            Expression::Column { relation, column } => {
                let label = self.label(*relation);
                match column {
                    Column::Name(name) => format!("{label}.{}", quoted(name)),
                    Column::Position(position) => {
                        let ranks = self.sources.get(relation).map(|source| &source.ranks);
                        let rank = ranks.and_then(|ranks| ranks.get(*position)).unwrap_or(position);
                        format!("{label}.{}", numbered(*rank))
                    }
                }
            }
            Expression::Unresolved { name, double_quoted: false } => quoted(name),
            Expression::Unresolved { name, double_quoted: true } => {
                format!("\"{}\"", name.replace('"', "\"\""))
            }
            Expression::AllColumns(relation) => {
                format!("{}.*", self.label(*relation))
            }
            Expression::Null => "NULL".to_owned(),
            Expression::Integer(digits) | Expression::Real(digits) => digits.clone(),
            Expression::Text(text) => format!("'{}'", text.replace('\'', "''")),
            Expression::Keyword(keyword) => keyword.clone(),
            Expression::Unary { operator, operand } => {
                format!("{operator}{}", self.operand(operand))
            }
            Expression::Binary { operator, left, right } => {
                let swap = matches!(*operator, "+" | "*" | "&" | "|");
                let (left, right) = self.pair(left, right, swap);
                format!("{left} {operator} {right}")
            }
            Expression::Compare { operator, left, right } => {
                let (operator, swap) = match operator {
                    Comparison::Equal => ("=", true),
                    Comparison::NotEqual => ("<>", true),
                    Comparison::Less => ("<", false),
                    Comparison::LessOrEqual => ("<=", false),
                    Comparison::Greater => (">", false),
                    Comparison::GreaterOrEqual => (">=", false),
                };
                let (left, right) = self.pair(left, right, swap);
                format!("{left} {operator} {right}")
            }
            Expression::Is { left, right, negated } => {
                let (left, right) = self.pair(left, right, true);
                format!("{left} IS {}DISTINCT FROM {right}", if *negated { "" } else { "NOT " })
            }
            Expression::Logical { connective, operands } => {
                let word = match connective {
                    Connective::And => " AND ",
                    Connective::Or => " OR ",
                };
                self.sorted(operands).join(word)
            }
            Expression::Not(operand) => format!("NOT {}", self.operand(operand)),
            Expression::IsNull { operand, negated } => {
                format!("{} IS {}NULL", self.operand(operand), not(*negated))
            }
            Expression::IsTruth { operand, truth, negated } => {
                let truth = if *truth { "TRUE" } else { "FALSE" };
                format!("{} IS {}{truth}", self.operand(operand), not(*negated))
            }
            Expression::Like { operand, pattern, escape, negated } => {
                let (operand, pattern) = (self.operand(operand), self.operand(pattern));
                let escape = match escape {
                    Some(escape) => format!(" ESCAPE {}", self.operand(escape)),
                    None => String::new(),
                };
                format!("{operand} {}LIKE {pattern}{escape}", not(*negated))
            }
            Expression::InList { operand, list, negated } => {
                let operand = self.operand(operand);
                let mut list: Vec<String> =
                    list.iter().map(|value| self.expression(value)).collect();
                list.sort_unstable();
                format!("{operand} {}IN ({})", not(*negated), list.join(", "))
            }
            Expression::InQuery { operand, query, negated } => {
                let operand = self.operand(operand);
                format!("{operand} {}IN {}", not(*negated), self.subquery(query))
            }
            Expression::Exists { query, negated } => {
                format!("{}EXISTS {}", not(*negated), self.subquery(query))
            }
            Expression::Scalar(query) => self.subquery(query),
            Expression::Call(call) => self.call(call),
            Expression::Case { operand, branches, otherwise } => {
                let mut text = "CASE".to_owned();
                if let Some(operand) = operand {
                    text.push_str(&format!(" {}", self.operand(operand)));
                }
                for (condition, result) in branches {
                    let condition = self.expression(condition);
                    text.push_str(&format!(" WHEN {condition} THEN {}", self.expression(result)));
                }
                if let Some(otherwise) = otherwise {
                    text.push_str(&format!(" ELSE {}", self.expression(otherwise)));
                }
                text.push_str(" END");
                text
            }
            Expression::Cast { operand, affinity } => {
                format!("CAST({} AS {affinity})", self.expression(operand))
            }
            Expression::Collate { operand, collation } => {
                format!("{} COLLATE {}", self.operand(operand), quoted(collation))
            }
            Expression::Row(values) => format!("({})", self.list(values)),
        }
    }

    fn call(&mut self, call: &Call) -> String {
        let distinct = if call.distinct { "DISTINCT " } else { "" };
        let arguments = match &call.arguments {
            Arguments::AllRows => "*".to_owned(),
            Arguments::List(list) => self.list(list),
        };
        let mut text = format!("{}({distinct}{arguments})", quoted_function(&call.name));
        if !call.filter.is_empty() {
            text.push_str(&format!(" FILTER (WHERE {})", self.all_of(&call.filter)));
        }
        if let Some(window) = &call.window {
            text.push_str(&format!(" OVER ({})", self.window(window)));
        }
        text
    }

    fn window(&mut self, window: &Window) -> String {
        let mut parts = Vec::new();
        if !window.partition.is_empty() {
            let mut keys: Vec<String> =
                window.partition.iter().map(|key| self.expression(key)).collect();
            keys.sort_unstable();
            parts.push(format!("PARTITION BY {}", keys.join(", ")));
        }
        let order = self.order_by(&window.order, &[]);
        if !order.is_empty() {
            parts.push(order.trim_start().to_owned());
        }
        parts.extend(window.frame.clone());
        parts.join(" ")
    }
}

impl Printed {
    fn text(text: &str) -> Self {
        Self { text: text.to_owned(), ranks: Vec::new() }
    }
}

/// Steps through the products of the permutations of each group, in lexicographic order; from the
/// last one back to the first.
fn next_arrangement(groups: &mut [Vec<RelationId>]) {
    for group in groups {
        if next_permutation(group) {
            return;
        }
    }
}

/// The next permutation; false, and the first one, after the last.
fn next_permutation(values: &mut [RelationId]) -> bool {
    let Some(rise) = values.windows(2).rposition(|pair| pair.is_sorted_by(|a, b| a < b)) else {
        values.reverse();
        return false;
    };
    let Some((head, tail)) = values.split_at_mut_checked(rise + 1) else { return false };
    if let Some(pivot) = head.last_mut()
        && let Some(next) = tail.iter_mut().rfind(|value| **value > *pivot)
    {
        std::mem::swap(pivot, next);
    }
    tail.reverse();
    true
}

/// Whether a query uses one of the definitions `waiting`, be it within another subquery.
fn uses_shared(arena: &Arena, derived: &DerivedQuery, waiting: &[usize]) -> bool {
    let scalar = Expression::Scalar(Box::new(derived.query.clone()));
    arena.opened(&scalar).into_iter().any(|relation| {
        matches!(
            arena.relations.get(relation).map(|relation| &relation.source),
            Some(Source::Shared(number)) if waiting.contains(number)
        )
    })
}

fn not(negated: bool) -> &'static str {
    if negated { "NOT " } else { "" }
}
