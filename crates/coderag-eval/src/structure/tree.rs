//! The tree between sqlparser's and the canonical text: names are resolved to relations, the
//! operators are few, and whatever this metric does not understand cannot be said in it.

use std::cell::Cell;

/// The query is outside what the tree can say; it is then compared as it is written.
#[derive(Debug)]
pub(super) struct NotUnderstood;

pub(super) type Understood<T> = Result<T, NotUnderstood>;

/// A number of a relation in [`Arena::relations`].
pub(super) type RelationId = usize;

/// The relations and shared queries of one statement; trees refer to them by number.
#[derive(Debug, Default)]
pub(super) struct Arena {
    pub(super) relations: Vec<Relation>,
    /// The bodies of common table expressions.
    pub(super) shared: Vec<SharedQuery>,
    /// How many expressions were printed to compare them.
    pub(super) work: Cell<usize>,
}

/// One occurrence of a table, subquery or common table expression in a FROM clause.
#[derive(Debug)]
pub(super) struct Relation {
    pub(super) source: Source,
    /// The names of all columns, where they are known; a column of a subquery may have none.
    pub(super) columns: Option<ColumnNames>,
}

/// The names of columns, where they have one.
pub(super) type ColumnNames = Vec<Option<String>>;

#[derive(Debug)]
pub(super) enum Source {
    Table(String),
    Derived(DerivedQuery),
    /// A common table expression, by its number in [`Arena::shared`].
    Shared(usize),
}

/// A subquery in FROM.
#[derive(Debug)]
pub(super) struct DerivedQuery {
    pub(super) query: Query,
    /// The names of its columns as written; empty where the columns are known, and then they are
    /// referred to by their position.
    pub(super) names: ColumnNames,
}

/// The body of a common table expression.
#[derive(Debug)]
pub(super) struct SharedQuery {
    pub(super) query: DerivedQuery,
    /// The names of its columns.
    pub(super) names: ColumnNames,
    pub(super) uses: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Query {
    /// The common table expressions of its WITH clause that are used, by number.
    pub(super) shared: Vec<usize>,
    pub(super) body: Body,
    pub(super) order: Vec<Order>,
    pub(super) limit: Option<Expression>,
    pub(super) offset: Option<Expression>,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    Select(Box<Select>),
    Compound(Box<Compound>),
}

/// `first OPERATOR rest[0] OPERATOR rest[1]`, grouped to the left as in SQLite.
#[derive(Clone, Debug)]
pub(super) struct Compound {
    pub(super) operator: SetOperator,
    pub(super) first: Body,
    pub(super) rest: Vec<Select>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SetOperator {
    Union,
    UnionAll,
    Intersect,
    Except,
}

#[derive(Clone, Debug)]
pub(super) struct Select {
    pub(super) distinct: bool,
    pub(super) items: Vec<Expression>,
    pub(super) from: From,
    /// Conditions joined by AND: of WHERE and of the inner joins.
    pub(super) conditions: Vec<Expression>,
    pub(super) group: Vec<Expression>,
    pub(super) having: Vec<Expression>,
}

/// The product of `items`, each row then completed by the left joins.
#[derive(Clone, Debug, Default)]
pub(super) struct From {
    pub(super) items: Vec<FromItem>,
    pub(super) left_joins: Vec<LeftJoin>,
}

#[derive(Clone, Debug)]
pub(super) enum FromItem {
    Relation(RelationId),
    FullJoin { left: RelationId, right: RelationId, on: Vec<Expression> },
}

#[derive(Clone, Debug)]
pub(super) struct LeftJoin {
    pub(super) right: From,
    /// Conditions joined by AND.
    pub(super) on: Vec<Expression>,
}

#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) key: OrderKey,
    pub(super) descending: bool,
    /// Where it is not SQLite's default: first when ascending, last when descending.
    pub(super) nulls_elsewhere: bool,
}

#[derive(Clone, Debug)]
pub(super) enum OrderKey {
    Expression(Expression),
    /// A column of a compound's result.
    Position(usize),
}

#[derive(Clone, Debug)]
pub(super) enum Column {
    Name(String),
    /// A column of a subquery whose columns are known.
    Position(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connective {
    And,
    Or,
}

#[derive(Clone, Debug)]
pub(super) enum Expression {
    Column {
        relation: RelationId,
        column: Column,
    },
    /// A name that cannot be resolved for want of a schema; it has the same meaning in the same
    /// FROM clause. In double quotes it may be a string.
    Unresolved {
        name: String,
        double_quoted: bool,
    },
    /// `relation.*` where the columns are not known.
    AllColumns(RelationId),
    Null,
    Integer(String),
    Real(String),
    Text(String),
    /// A function without parentheses, such as `CURRENT_DATE`.
    Keyword(String),
    Unary {
        operator: &'static str,
        operand: Box<Expression>,
    },
    Binary {
        operator: &'static str,
        left: Box<Expression>,
        right: Box<Expression>,
    },
    Compare {
        operator: Comparison,
        left: Box<Expression>,
        right: Box<Expression>,
    },
    Logical {
        connective: Connective,
        operands: Vec<Expression>,
    },
    Not(Box<Expression>),
    IsNull {
        operand: Box<Expression>,
        negated: bool,
    },
    /// `IS [NOT] TRUE`, `IS [NOT] FALSE`.
    IsTruth {
        operand: Box<Expression>,
        truth: bool,
        negated: bool,
    },
    /// `IS`, and `IS NOT` where negated.
    Is {
        left: Box<Expression>,
        right: Box<Expression>,
        negated: bool,
    },
    Like {
        operand: Box<Expression>,
        pattern: Box<Expression>,
        escape: Option<Box<Expression>>,
        negated: bool,
    },
    InList {
        operand: Box<Expression>,
        list: Vec<Expression>,
        negated: bool,
    },
    InQuery {
        operand: Box<Expression>,
        query: Box<Query>,
        negated: bool,
    },
    Exists {
        query: Box<Query>,
        negated: bool,
    },
    Scalar(Box<Query>),
    Call(Box<Call>),
    Case {
        operand: Option<Box<Expression>>,
        branches: Vec<(Expression, Expression)>,
        otherwise: Option<Box<Expression>>,
    },
    Cast {
        operand: Box<Expression>,
        /// The affinity of the type, which is all that SQLite takes from it.
        affinity: &'static str,
    },
    Collate {
        operand: Box<Expression>,
        collation: String,
    },
    Row(Vec<Expression>),
}

/// A call of a function.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) distinct: bool,
    pub(super) arguments: Arguments,
    /// Conditions joined by AND.
    pub(super) filter: Vec<Expression>,
    pub(super) window: Option<Window>,
}

#[derive(Clone, Debug)]
pub(super) enum Arguments {
    /// `count(*)`
    AllRows,
    List(Vec<Expression>),
}

#[derive(Clone, Debug)]
pub(super) struct Window {
    pub(super) partition: Vec<Expression>,
    pub(super) order: Vec<Order>,
    /// The frame as SQL, where it is not the default.
    pub(super) frame: Option<String>,
}

impl Expression {
    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    /// Whether this is a constant written out: a number, with its sign, a string or NULL.
    pub(super) fn is_literal(&self) -> bool {
        match self {
            Self::Null | Self::Integer(_) | Self::Real(_) | Self::Text(_) => true,
            Self::Unary { operator: "-", operand } => {
                matches!(**operand, Self::Integer(_) | Self::Real(_))
            }
            _ => false,
        }
    }

    /// Whether this is made of literals only.
    pub(super) fn is_constant(&self) -> bool {
        let mut constant = true;
        self.walk(&mut |expression| {
            constant &= !matches!(
                expression,
                Self::Column { .. }
                    | Self::Unresolved { .. }
                    | Self::AllColumns(_)
                    | Self::Keyword(_)
                    | Self::Call(_)
                    | Self::Scalar(_)
                    | Self::Exists { .. }
                    | Self::InQuery { .. }
            );
        });
        constant
    }

    /// Whether SQLite may replace this, or a part of it, by a number as soon as it reads it, so that
    /// it may stand for a column's position in ORDER BY and GROUP BY.
    pub(super) fn may_become_a_number(&self) -> bool {
        let mut found = false;
        self.walk(&mut |expression| {
            found |= match expression {
                Self::Logical { operands, .. } => operands.iter().any(Self::is_literal),
                Self::IsNull { operand, .. } => operand.is_literal(),
                Self::InList { list, .. } => list.is_empty(),
                _ => false,
            };
        });
        found
    }

    /// Whether a name in it could not be resolved.
    pub(super) fn has_unresolved(&self) -> bool {
        let mut found = false;
        self.walk(&mut |expression| found |= matches!(expression, Self::Unresolved { .. }));
        found
    }

    /// Whether the value is always 0, 1 or NULL.
    pub(super) fn is_boolean(&self) -> bool {
        matches!(
            self,
            Self::Compare { .. }
                | Self::Logical { .. }
                | Self::Not(_)
                | Self::IsNull { .. }
                | Self::IsTruth { .. }
                | Self::Is { .. }
                | Self::Like { .. }
                | Self::InList { .. }
                | Self::InQuery { .. }
                | Self::Exists { .. }
        )
    }

    /// Calls `visit` on this expression and on all below it, those of subqueries included, except
    /// in the subqueries that lie in the arena.
    pub(super) fn walk(&self, visit: &mut dyn FnMut(&Self)) {
        visit(self);
        match self {
            Self::Column { .. }
            | Self::Unresolved { .. }
            | Self::AllColumns(_)
            | Self::Null
            | Self::Integer(_)
            | Self::Real(_)
            | Self::Text(_)
            | Self::Keyword(_) => {}
            Self::Unary { operand, .. }
            | Self::Not(operand)
            | Self::IsNull { operand, .. }
            | Self::IsTruth { operand, .. }
            | Self::Cast { operand, .. }
            | Self::Collate { operand, .. } => operand.walk(visit),
            Self::Binary { left, right, .. }
            | Self::Compare { left, right, .. }
            | Self::Is { left, right, .. } => {
                left.walk(visit);
                right.walk(visit);
            }
            Self::Logical { operands, .. } | Self::Row(operands) => walk_all(operands, visit),
            Self::Like { operand, pattern, escape, .. } => {
                operand.walk(visit);
                pattern.walk(visit);
                if let Some(escape) = escape {
                    escape.walk(visit);
                }
            }
            Self::InList { operand, list, .. } => {
                operand.walk(visit);
                walk_all(list, visit);
            }
            Self::InQuery { operand, query, .. } => {
                operand.walk(visit);
                query.walk(visit);
            }
            Self::Exists { query, .. } | Self::Scalar(query) => query.walk(visit),
            Self::Call(call) => {
                if let Arguments::List(arguments) = &call.arguments {
                    walk_all(arguments, visit);
                }
                walk_all(&call.filter, visit);
                if let Some(window) = &call.window {
                    walk_all(&window.partition, visit);
                    walk_order(&window.order, visit);
                }
            }
            Self::Case { operand, branches, otherwise } => {
                for expression in operand.iter().chain(otherwise) {
                    expression.walk(visit);
                }
                for (condition, result) in branches {
                    condition.walk(visit);
                    result.walk(visit);
                }
            }
        }
    }

    /// The number of expressions in it.
    pub(super) fn size(&self) -> usize {
        let mut size = 0;
        self.walk(&mut |_| size += 1);
        size
    }

    /// Whether it names a collation anywhere, so that the order of operands may matter.
    pub(super) fn names_collation(&self) -> bool {
        let mut found = false;
        self.walk(&mut |expression| found |= matches!(expression, Self::Collate { .. }));
        found
    }

    /// Whether two evaluations may give two values.
    pub(super) fn is_volatile(&self) -> bool {
        let mut found = false;
        self.walk(&mut |expression| {
            found |= matches!(expression, Self::Call(call)
                if matches!(call.name.as_str(), "random" | "randomblob"));
        });
        found
    }
}

fn walk_all(expressions: &[Expression], visit: &mut dyn FnMut(&Expression)) {
    for expression in expressions {
        expression.walk(visit);
    }
}

fn walk_order(order: &[Order], visit: &mut dyn FnMut(&Expression)) {
    for term in order {
        if let OrderKey::Expression(expression) = &term.key {
            expression.walk(visit);
        }
    }
}

impl Query {
    pub(super) fn walk(&self, visit: &mut dyn FnMut(&Expression)) {
        self.body.walk(visit);
        walk_order(&self.order, visit);
        for expression in self.limit.iter().chain(&self.offset) {
            expression.walk(visit);
        }
    }

    /// The relations of its FROM clauses, those of subqueries in expressions not included.
    fn relations(&self) -> Vec<RelationId> {
        let mut relations = Vec::new();
        let mut body = &self.body;
        loop {
            match body {
                Body::Select(select) => {
                    relations.extend(select.from.relations());
                    return relations;
                }
                Body::Compound(compound) => {
                    for select in &compound.rest {
                        relations.extend(select.from.relations());
                    }
                    body = &compound.first;
                }
            }
        }
    }
}

impl Body {
    fn walk(&self, visit: &mut dyn FnMut(&Expression)) {
        match self {
            Self::Select(select) => select.walk(visit),
            Self::Compound(compound) => {
                compound.first.walk(visit);
                for select in &compound.rest {
                    select.walk(visit);
                }
            }
        }
    }
}

impl Select {
    fn walk(&self, visit: &mut dyn FnMut(&Expression)) {
        walk_all(&self.items, visit);
        self.from.walk(visit);
        walk_all(&self.conditions, visit);
        walk_all(&self.group, visit);
        walk_all(&self.having, visit);
    }
}

impl From {
    pub(super) fn relations(&self) -> Vec<RelationId> {
        let mut relations = Vec::new();
        for item in &self.items {
            match item {
                FromItem::Relation(relation) => relations.push(*relation),
                FromItem::FullJoin { left, right, .. } => relations.extend([*left, *right]),
            }
        }
        for join in &self.left_joins {
            relations.extend(join.right.relations());
        }
        relations
    }

    fn walk(&self, visit: &mut dyn FnMut(&Expression)) {
        for item in &self.items {
            if let FromItem::FullJoin { on, .. } = item {
                walk_all(on, visit);
            }
        }
        for join in &self.left_joins {
            join.right.walk(visit);
            walk_all(&join.on, visit);
        }
    }
}

impl Arena {
    /// The query of a relation that is no table.
    pub(super) fn subquery(&self, relation: RelationId) -> Option<&DerivedQuery> {
        match &self.relations.get(relation)?.source {
            Source::Table(_) => None,
            Source::Derived(derived) => Some(derived),
            Source::Shared(number) => self.shared.get(*number).map(|shared| &shared.query),
        }
    }

    /// The relations whose columns `expression` reads, subqueries at any depth included.
    pub(super) fn references(&self, expression: &Expression) -> Vec<RelationId> {
        self.reach(expression).0
    }

    /// The relations in the FROM clauses of the subqueries of `expression`, at any depth.
    pub(super) fn opened(&self, expression: &Expression) -> Vec<RelationId> {
        self.reach(expression).1
    }

    /// The relations that are read, and those that are opened; sorted, each once.
    fn reach(&self, expression: &Expression) -> (Vec<RelationId>, Vec<RelationId>) {
        let mut read = Vec::new();
        let mut opened = vec![false; self.relations.len()];
        let mut pending = Vec::new();
        expression.walk(&mut |expression| note(expression, &mut read, &mut pending));
        while let Some(relation) = pending.pop() {
            if opened.get_mut(relation).is_none_or(|opened| std::mem::replace(opened, true)) {
                continue;
            }
            if let Some(derived) = self.subquery(relation) {
                pending.extend(derived.query.relations());
                derived.query.walk(&mut |expression| note(expression, &mut read, &mut pending));
            }
        }
        read.sort_unstable();
        read.dedup();
        let opened = (0..).zip(opened).filter_map(|(relation, opened)| opened.then_some(relation));
        (read, opened.collect())
    }
}

/// Notes the relation that an expression reads and the relations whose queries it opens.
fn note(expression: &Expression, found: &mut Vec<RelationId>, pending: &mut Vec<RelationId>) {
    match expression {
        Expression::Column { relation, .. } | Expression::AllColumns(relation) => {
            found.push(*relation);
        }
        Expression::InQuery { query, .. }
        | Expression::Exists { query, .. }
        | Expression::Scalar(query) => pending.extend(query.relations()),
        _ => {}
    }
}
