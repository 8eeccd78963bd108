//! FROM clauses: relations, and joins as a product, left joins and conditions.

use std::collections::HashSet;

use sqlparser::ast;

use super::definitions::derived;
use super::names::{Scope, Visible, folded, simple_name};
use super::resolve::{Resolver, understood};
use super::rules;
use super::tree::{
    ColumnNames, Expression, From, FromItem, LeftJoin, NotUnderstood, Relation, RelationId, Source,
    Understood,
};

/// A FROM clause whose subqueries are resolved and whose conditions are not yet.
pub(super) enum Factor<'a> {
    Relation(RelationId),
    Nested { factors: Vec<Joined<'a>>, visible: Vec<Visible> },
}

pub(super) struct Joined<'a> {
    pub(super) factor: Factor<'a>,
    pub(super) kind: JoinKind,
    pub(super) constraint: Constraint<'a>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
}

pub(super) enum Constraint<'a> {
    None,
    On(&'a ast::Expr),
    /// Pairs of columns of USING or NATURAL.
    Equal(Vec<Expression>),
}

/// A FROM clause and the conditions of its inner joins.
#[derive(Default)]
pub(super) struct Joins {
    pub(super) from: From,
    pub(super) conditions: Vec<Expression>,
}

impl<'a> Resolver<'a> {
    /// Adds the relations of `table` and its joins. A comma is an inner join, and SQLite groups
    /// both to the left.
    pub(super) fn factors(
        &mut self,
        table: &'a ast::TableWithJoins,
        factors: &mut Vec<Joined<'a>>,
        visible: &mut Vec<Visible>,
    ) -> Understood<()> {
        let factor = self.factor(&table.relation, visible)?;
        factors.push(Joined { factor, kind: JoinKind::Inner, constraint: Constraint::None });
        for join in &table.joins {
            use ast::JoinOperator as Operator;
            understood(!join.global)?;
            let (kind, constraint) = match &join.join_operator {
                Operator::Join(constraint)
                | Operator::Inner(constraint)
                | Operator::CrossJoin(constraint) => (JoinKind::Inner, constraint),
                Operator::Left(constraint) | Operator::LeftOuter(constraint) => {
                    (JoinKind::Left, constraint)
                }
                Operator::Right(constraint) | Operator::RightOuter(constraint) => {
                    (JoinKind::Right, constraint)
                }
                Operator::FullOuter(constraint) => (JoinKind::Full, constraint),
                _ => return Err(NotUnderstood),
            };
            let left = visible.len();
            let factor = self.factor(&join.relation, visible)?;
            let constraint = match constraint {
                ast::JoinConstraint::None => Constraint::None,
                ast::JoinConstraint::On(condition) => Constraint::On(condition),
                ast::JoinConstraint::Using(names) => {
                    let names: Vec<String> = names
                        .iter()
                        .map(|name| folded(simple_name(name)?))
                        .collect::<Understood<_>>()?;
                    self.equal_columns(visible, left, kind, names, false)?
                }
                ast::JoinConstraint::Natural => {
                    let names = self.own_columns(visible, left)?;
                    self.equal_columns(visible, left, kind, names, true)?
                }
            };
            factors.push(Joined { factor, kind, constraint });
        }
        Ok(())
    }

    /// The columns of the one relation that was added last.
    fn own_columns(&self, visible: &[Visible], left: usize) -> Understood<Vec<String>> {
        let Some([added]) = visible.get(left..) else { return Err(NotUnderstood) };
        let relation = self.arena.relations.get(added.relation).ok_or(NotUnderstood)?;
        let columns = relation.columns.as_ref().ok_or(NotUnderstood)?;
        columns.iter().map(|name| name.clone().ok_or(NotUnderstood)).collect()
    }

    /// The conditions of USING or NATURAL: each column equals the first of its name on the left.
    fn equal_columns(
        &self,
        visible: &mut [Visible],
        left: usize,
        kind: JoinKind,
        names: Vec<String>,
        natural: bool,
    ) -> Understood<Constraint<'a>> {
        // Right and full joins give the first value that is not NULL for such a column.
        understood(matches!(kind, JoinKind::Inner | JoinKind::Left))?;
        let (before, added) = visible.split_at_mut_checked(left).ok_or(NotUnderstood)?;
        let [added] = added else { return Err(NotUnderstood) };
        let mut equal = Vec::new();
        let mut hidden = HashSet::new();
        for name in names {
            let mut first = None;
            for other in &*before {
                let relation = self.arena.relations.get(other.relation).ok_or(NotUnderstood)?;
                understood(
                    relation
                        .columns
                        .as_ref()
                        .is_some_and(|columns| !natural || columns.iter().all(Option::is_some)),
                )?;
                first = first.or_else(|| self.column(other.relation, &name));
            }
            let second = self.column(added.relation, &name);
            match (first, second) {
                (Some(first), Some(second)) => {
                    equal.push(rules::equal(first, second));
                    hidden.insert(name);
                }
                _ => understood(natural)?,
            }
        }
        added.hidden = hidden;
        Ok(Constraint::Equal(equal))
    }

    fn factor(
        &mut self,
        factor: &'a ast::TableFactor,
        visible: &mut Vec<Visible>,
    ) -> Understood<Factor<'a>> {
        match factor {
            ast::TableFactor::Table {
                name,
                alias,
                args: None,
                with_hints,
                version: None,
                with_ordinality: false,
                partitions,
                json_path: None,
                sample: None,
                index_hints,
            } if with_hints.is_empty() && partitions.is_empty() && index_hints.is_empty() => {
                let name = folded(simple_name(name)?)?;
                // The canonical text makes names with this sign.
                understood(!name.contains('#'))?;
                let visible_name = table_alias(alias.as_ref())?.unwrap_or_else(|| name.clone());
                let (source, columns) = match self.shared(&name)? {
                    Some(shared) => shared,
                    None => {
                        let columns = self.schema.columns(&name);
                        let columns = columns.map(|c| c.iter().cloned().map(Some).collect());
                        (Source::Table(name), columns)
                    }
                };
                Ok(Factor::Relation(self.relation(source, columns, Some(visible_name), visible)))
            }
            ast::TableFactor::Derived { lateral: false, subquery, alias, sample: None } => {
                let alias = table_alias(alias.as_ref())?;
                let (query, names) = self.query(subquery)?;
                let (query, columns) = derived(query, names);
                Ok(Factor::Relation(self.relation(Source::Derived(query), columns, alias, visible)))
            }
            ast::TableFactor::NestedJoin { table_with_joins, alias: None } => {
                self.deeper(|resolver| {
                    let mut nested = Vec::new();
                    let mut factors = Vec::new();
                    resolver.factors(table_with_joins, &mut factors, &mut nested)?;
                    understood(nested.iter().all(|visible| visible.hidden.is_empty()))?;
                    visible.extend(nested.iter().cloned());
                    Ok(Factor::Nested { factors, visible: nested })
                })
            }
            _ => Err(NotUnderstood),
        }
    }

    fn relation(
        &mut self,
        source: Source,
        columns: Option<ColumnNames>,
        name: Option<String>,
        visible: &mut Vec<Visible>,
    ) -> RelationId {
        let relation = self.arena.relations.len();
        self.arena.relations.push(Relation { source, columns });
        visible.push(Visible { name, relation, hidden: HashSet::new() });
        relation
    }

    /// Joins the relations in the order in which they are written.
    pub(super) fn joins(&mut self, factors: Vec<Joined<'a>>) -> Understood<Joins> {
        let mut joins = Joins::default();
        let mut joined: Vec<RelationId> = Vec::new();
        // SQLite refuses a condition on a table further to the right, except one of an inner join
        // without right and full joins around, which it takes for one of WHERE.
        let strict =
            factors.iter().any(|factor| matches!(factor.kind, JoinKind::Right | JoinKind::Full));
        for Joined { factor, kind, constraint } in factors {
            let right = match factor {
                Factor::Relation(relation) => Joins {
                    from: From {
                        items: vec![FromItem::Relation(relation)],
                        left_joins: Vec::new(),
                    },
                    conditions: Vec::new(),
                },
                Factor::Nested { factors, visible } => {
                    // In parentheses only the relations there can be seen.
                    let around = self.scopes.pop();
                    self.scopes.push(Scope { relations: visible, aliases: Vec::new() });
                    let result = self.joins(factors);
                    self.scopes.pop();
                    self.scopes.extend(around);
                    result?
                }
            };
            joined.extend(right.from.relations());
            let on = match constraint {
                Constraint::None => Vec::new(),
                Constraint::On(condition) => vec![self.condition(condition)?],
                Constraint::Equal(equal) => equal,
            };
            let scope = self.scopes.last().ok_or(NotUnderstood)?;
            for condition in &on {
                let ahead = self.arena.references(condition).into_iter().any(|relation| {
                    scope.relations.iter().any(|visible| visible.relation == relation)
                        && !joined.contains(&relation)
                });
                understood(!ahead || (kind == JoinKind::Inner && !strict))?;
            }
            joins = self.join(joins, kind, right, on)?;
        }
        Ok(joins)
    }

    /// Joins two FROM clauses, conditions drawn out of them as far as that is sound: a condition on
    /// the side of which an outer join keeps all rows commutes with it, and one on the other side
    /// belongs to its ON.
    fn join(
        &self,
        left: Joins,
        kind: JoinKind,
        right: Joins,
        on: Vec<Expression>,
    ) -> Understood<Joins> {
        let outer = |kept: Joins, mut other: Joins, on: Vec<Expression>| {
            let Joins { mut from, conditions } = kept;
            other.conditions.extend(on);
            let on = self.conjunction(other.conditions);
            from.left_joins.push(LeftJoin { right: other.from, on });
            Joins { from, conditions }
        };
        Ok(match kind {
            JoinKind::Inner => {
                let Joins { mut from, mut conditions } = left;
                from.items.extend(right.from.items);
                from.left_joins.extend(right.from.left_joins);
                conditions.extend(right.conditions);
                conditions.extend(on);
                Joins { from, conditions }
            }
            JoinKind::Left => outer(left, right, on),
            JoinKind::Right => outer(right, left, on),
            JoinKind::Full => {
                let item = FromItem::FullJoin {
                    left: only_relation(&left)?,
                    right: only_relation(&right)?,
                    on: self.conjunction(on),
                };
                Joins {
                    from: From { items: vec![item], left_joins: Vec::new() },
                    conditions: Vec::new(),
                }
            }
        })
    }
}

fn only_relation(joins: &Joins) -> Understood<RelationId> {
    understood(joins.conditions.is_empty() && joins.from.left_joins.is_empty())?;
    match joins.from.items.as_slice() {
        [FromItem::Relation(relation)] => Ok(*relation),
        _ => Err(NotUnderstood),
    }
}

fn table_alias(alias: Option<&ast::TableAlias>) -> Understood<Option<String>> {
    alias
        .map(|alias| {
            understood(alias.columns.is_empty() && alias.at.is_none())?;
            folded(&alias.name)
        })
        .transpose()
}
