//! From sqlparser's tree to ours: queries and their clauses.

use sqlparser::ast;

use super::SchemaColumns;
use super::definitions::{Definition, DefinitionState};
use super::joins::Joined;
use super::names::{Scope, Visible, folded, simple_name};
use super::order::{ordered, ordinal};
use super::rules;
use super::tree::{
    Arena, Body, ColumnNames, Connective, Expression, NotUnderstood, Order, OrderKey, Query,
    Select, SetOperator, Understood,
};

/// The most levels of a tree.
const DEPTH_LIMIT: usize = 128;

/// Resolves one statement.
pub(super) fn resolve(query: &ast::Query, schema: &SchemaColumns) -> Understood<(Query, Arena)> {
    let mut resolver = Resolver {
        schema,
        arena: Arena::default(),
        scopes: Vec::new(),
        definitions: Vec::new(),
        frames: Vec::new(),
        depth: 0,
        copied: 0,
    };
    let (query, _) = resolver.query(query)?;
    Ok((query, resolver.arena))
}

pub(super) struct Resolver<'a> {
    pub(super) schema: &'a SchemaColumns,
    pub(super) arena: Arena,
    /// The queries around the expression at hand, outermost first.
    pub(super) scopes: Vec<Scope>,
    /// The common table expressions met so far.
    pub(super) definitions: Vec<Definition<'a>>,
    /// The definitions of the WITH clauses around, outermost first.
    pub(super) frames: Vec<Vec<usize>>,
    depth: usize,
    pub(super) copied: usize,
}

struct Selected {
    select: Select,
    names: ColumnNames,
    scope: Scope,
}

/// Goes on only if the condition holds.
pub(super) fn understood(condition: bool) -> Understood<()> {
    if condition { Ok(()) } else { Err(NotUnderstood) }
}

impl<'a> Resolver<'a> {
    /// Runs `resolve` one level deeper.
    pub(super) fn deeper<T>(
        &mut self,
        resolve: impl FnOnce(&mut Self) -> Understood<T>,
    ) -> Understood<T> {
        understood(self.depth < DEPTH_LIMIT)?;
        self.depth += 1;
        let result = resolve(self);
        self.depth -= 1;
        result
    }

    /// Resolves a query with the names of its columns.
    pub(super) fn query(&mut self, query: &'a ast::Query) -> Understood<(Query, ColumnNames)> {
        self.deeper(|resolver| {
            let frames = resolver.frames.len();
            let definitions = resolver.definitions.len();
            if let Some(with) = &query.with {
                resolver.define(with)?;
            }
            let result = resolver.query_body(query);
            resolver.frames.truncate(frames);
            let (mut query, names) = result?;
            let used = resolver.definitions.drain(definitions..);
            query.shared = used
                .filter_map(|definition| match definition.state {
                    DefinitionState::Resolved(number) => Some(number),
                    _ => None,
                })
                .collect();
            Ok((query, names))
        })
    }

    fn query_body(&mut self, query: &'a ast::Query) -> Understood<(Query, ColumnNames)> {
        understood(
            query.fetch.is_none()
                && query.locks.is_empty()
                && query.for_clause.is_none()
                && query.settings.is_none()
                && query.format_clause.is_none()
                && query.pipe_operators.is_empty(),
        )?;
        let order: &[ast::OrderByExpr] = match &query.order_by {
            None => &[],
            Some(ast::OrderBy {
                kind: ast::OrderByKind::Expressions(terms),
                interpolate: None,
            }) => terms,
            Some(_) => return Err(NotUnderstood),
        };
        let (body, order, names) = match &*query.body {
            ast::SetExpr::Select(select) => {
                let (selected, order) = self.select(select, order)?;
                (Body::Select(Box::new(selected.select)), order, selected.names)
            }
            operation @ ast::SetExpr::SetOperation { .. } => self.compound(operation, order)?,
            _ => return Err(NotUnderstood),
        };
        let (limit, offset) = self.limit(query.limit_clause.as_ref())?;
        Ok((Query { shared: Vec::new(), body, order, limit, offset }, names))
    }

    fn limit(
        &mut self,
        clause: Option<&'a ast::LimitClause>,
    ) -> Understood<(Option<Expression>, Option<Expression>)> {
        let (limit, offset) = match clause {
            None => return Ok((None, None)),
            Some(ast::LimitClause::LimitOffset { limit: Some(limit), offset, limit_by }) => {
                understood(limit_by.is_empty())?;
                let rows = offset.as_ref().map_or(&ast::OffsetRows::None, |offset| &offset.rows);
                understood(*rows == ast::OffsetRows::None)?;
                (limit, offset.as_ref().map(|offset| &offset.value))
            }
            Some(ast::LimitClause::OffsetCommaLimit { offset, limit }) => (limit, Some(offset)),
            // SQLite has no OFFSET without LIMIT.
            Some(ast::LimitClause::LimitOffset { limit: None, .. }) => return Err(NotUnderstood),
        };
        // No column can be seen in these.
        let scopes = std::mem::take(&mut self.scopes);
        let limit = self.value(limit);
        let offset = offset.map(|offset| self.value(offset)).transpose();
        self.scopes = scopes;
        let (limit, offset) = (limit?, offset?);
        let offset = offset.filter(|offset| !matches!(offset, Expression::Integer(n) if n == "0"));
        let unlimited = matches!(&limit, Expression::Unary { operator: "-", operand }
            if matches!(**operand, Expression::Integer(_)));
        if unlimited && offset.is_none() {
            return Ok((None, None));
        }
        Ok((Some(limit), offset))
    }

    /// SQLite's set operators have one precedence and group to the left, while sqlparser lets
    /// INTERSECT bind more tightly; parentheses, which would keep the two apart, are not allowed
    /// in SQLite. So the operands are taken in the order in which they are written.
    fn compound(
        &mut self,
        operation: &'a ast::SetExpr,
        order: &'a [ast::OrderByExpr],
    ) -> Understood<(Body, Vec<Order>, ColumnNames)> {
        let mut operands: Vec<&'a ast::Select> = Vec::new();
        let mut operators = Vec::new();
        let mut pending = vec![Pending::Operand(operation)];
        while let Some(next) = pending.pop() {
            match next {
                Pending::Operator(operator) => operators.push(operator),
                Pending::Operand(ast::SetExpr::Select(select)) => operands.push(select),
                Pending::Operand(ast::SetExpr::SetOperation {
                    left,
                    op,
                    set_quantifier,
                    right,
                }) => {
                    let operator = match (op, set_quantifier) {
                        (ast::SetOperator::Union, ast::SetQuantifier::None) => SetOperator::Union,
                        (ast::SetOperator::Union, ast::SetQuantifier::All) => SetOperator::UnionAll,
                        (ast::SetOperator::Intersect, ast::SetQuantifier::None) => {
                            SetOperator::Intersect
                        }
                        (ast::SetOperator::Except, ast::SetQuantifier::None) => SetOperator::Except,
                        _ => return Err(NotUnderstood),
                    };
                    pending.push(Pending::Operand(right));
                    pending.push(Pending::Operator(operator));
                    pending.push(Pending::Operand(left));
                }
                Pending::Operand(_) => return Err(NotUnderstood),
            }
        }
        let mut scopes = Vec::new();
        let mut names = None;
        let mut body: Option<Body> = None;
        let mut operators = operators.into_iter();
        for operand in operands {
            let (selected, _) = self.select(operand, &[])?;
            let width = selected.select.items.len();
            understood(names.as_ref().is_none_or(|names: &Vec<_>| names.len() == width))?;
            names.get_or_insert(selected.names);
            scopes.push((selected.scope, selected.select.items.clone()));
            body = Some(match body {
                None => Body::Select(Box::new(selected.select)),
                Some(body) => {
                    let operator = operators.next().ok_or(NotUnderstood)?;
                    rules::combine(body, operator, selected.select)
                }
            });
        }
        let names = names.unwrap_or_default();
        let mut terms: Vec<Order> = Vec::new();
        for term in order {
            let position = self.compound_position(&term.expr, &scopes, names.len())?;
            let term = ordered(term, OrderKey::Position(position))?;
            let repeated = terms
                .iter()
                .any(|other| matches!(other.key, OrderKey::Position(other) if other == position));
            if !repeated {
                terms.push(term);
            }
        }
        Ok((body.ok_or(NotUnderstood)?, terms, names))
    }

    fn select(
        &mut self,
        select: &'a ast::Select,
        order: &'a [ast::OrderByExpr],
    ) -> Understood<(Selected, Vec<Order>)> {
        understood(
            select.optimizer_hints.is_empty()
                && select.select_modifiers.is_none()
                && select.top.is_none()
                && select.exclude.is_none()
                && select.into.is_none()
                && select.lateral_views.is_empty()
                && select.prewhere.is_none()
                && select.connect_by.is_empty()
                && select.cluster_by.is_empty()
                && select.distribute_by.is_empty()
                && select.sort_by.is_empty()
                && select.named_window.is_empty()
                && select.qualify.is_none()
                && select.value_table_mode.is_none()
                && select.flavor == ast::SelectFlavor::Standard,
        )?;
        let distinct = match &select.distinct {
            None | Some(ast::Distinct::All) => false,
            Some(ast::Distinct::Distinct) => true,
            Some(ast::Distinct::On(_)) => return Err(NotUnderstood),
        };
        let mut visible = Vec::new();
        let mut factors = Vec::new();
        for table in &select.from {
            self.factors(table, &mut factors, &mut visible)?;
        }
        for (position, one) in visible.iter().enumerate() {
            let twice = visible.iter().skip(position + 1).any(|other| other.name == one.name);
            understood(one.name.is_none() || !twice)?;
        }
        self.scopes.push(Scope { relations: visible, aliases: Vec::new() });
        let result = self.select_in_scope(select, distinct, factors, order);
        let scope = self.scopes.pop().unwrap_or_default();
        let (select, names, order) = result?;
        Ok((Selected { select, names, scope }, order))
    }

    fn select_in_scope(
        &mut self,
        select: &'a ast::Select,
        distinct: bool,
        factors: Vec<Joined<'a>>,
        order: &'a [ast::OrderByExpr],
    ) -> Understood<(Select, ColumnNames, Vec<Order>)> {
        let (items, names) = self.items(&select.projection)?;
        let joins = self.joins(factors)?;
        let mut conditions = joins.conditions;
        if let Some(condition) = &select.selection {
            let condition = self.condition(condition)?;
            conditions.push(condition);
        }
        let conditions = self.conjunction(conditions);
        let group = match &select.group_by {
            ast::GroupByExpr::Expressions(terms, modifiers) if modifiers.is_empty() => {
                let mut group = Vec::new();
                for term in terms {
                    group.push(match ordinal(unnested(term), items.len())? {
                        Some(position) => {
                            let item = items.get(position).ok_or(NotUnderstood)?.clone();
                            self.copy(&item)?;
                            understood(item.is_constant() || !item.may_become_a_number())?;
                            item
                        }
                        None => {
                            let value = self.value(term)?;
                            understood(!value.may_become_a_number())?;
                            value
                        }
                    });
                }
                rules::group_keys(&self.arena, group)
            }
            _ => return Err(NotUnderstood),
        };
        let having = match &select.having {
            None => Vec::new(),
            Some(having) => {
                let having = self.condition(having)?;
                self.conjunction(vec![having])
            }
        };
        let order = self.order(order, Some(&items))?;
        let mut select = Select { distinct, items, from: joins.from, conditions, group, having };
        rules::simplify_distinct(&self.arena, &mut select, &order);
        Ok((select, names, order))
    }

    fn items(
        &mut self,
        projection: &'a [ast::SelectItem],
    ) -> Understood<(Vec<Expression>, ColumnNames)> {
        let mut items = Vec::new();
        let mut names = Vec::new();
        let mut aliases = Vec::new();
        for item in projection {
            match item {
                ast::SelectItem::UnnamedExpr(expression) => {
                    let value = self.value(expression)?;
                    names.push(self.column_name(&value));
                    items.push(value);
                }
                ast::SelectItem::ExprWithAlias { expr, alias } => {
                    let value = self.value(expr)?;
                    let alias = folded(alias)?;
                    aliases.push((alias.clone(), value.clone()));
                    names.push(Some(alias));
                    items.push(value);
                }
                ast::SelectItem::Wildcard(options) => {
                    understood(is_plain(options))?;
                    let scope = self.scopes.last().ok_or(NotUnderstood)?;
                    understood(!scope.relations.is_empty())?;
                    for visible in scope.relations.clone() {
                        self.all_columns(&visible, true, &mut items, &mut names)?;
                    }
                }
                ast::SelectItem::QualifiedWildcard(
                    ast::SelectItemQualifiedWildcardKind::ObjectName(name),
                    options,
                ) => {
                    understood(is_plain(options))?;
                    let name = folded(simple_name(name)?)?;
                    let scope = self.scopes.last().ok_or(NotUnderstood)?;
                    let named: Vec<Visible> = scope
                        .relations
                        .iter()
                        .filter(|visible| visible.name.as_ref() == Some(&name))
                        .cloned()
                        .collect();
                    let [visible] = named.as_slice() else { return Err(NotUnderstood) };
                    self.all_columns(visible, false, &mut items, &mut names)?;
                }
                _ => return Err(NotUnderstood),
            }
        }
        if let Some(scope) = self.scopes.last_mut() {
            scope.aliases = aliases;
        }
        Ok((items, names))
    }

    pub(super) fn conjunction(&self, conditions: Vec<Expression>) -> Vec<Expression> {
        rules::conjuncts(rules::logical(&self.arena, Connective::And, conditions, true))
    }
}

enum Pending<'a> {
    Operand(&'a ast::SetExpr),
    Operator(SetOperator),
}

fn is_plain(options: &ast::WildcardAdditionalOptions) -> bool {
    options.opt_ilike.is_none()
        && options.opt_exclude.is_none()
        && options.opt_except.is_none()
        && options.opt_replace.is_none()
        && options.opt_rename.is_none()
        && options.opt_alias.is_none()
}

/// The expression without the parentheses around it.
pub(super) fn unnested(mut expression: &ast::Expr) -> &ast::Expr {
    while let ast::Expr::Nested(inner) = expression {
        expression = inner;
    }
    expression
}
