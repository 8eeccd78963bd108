//! The terms of ORDER BY and GROUP BY, which may be numbers or names of output columns.

use std::collections::HashSet;

use sqlparser::ast;

use super::names::{Scope, folded, simple_name};
use super::print::raw_text;
use super::resolve::{Resolver, understood, unnested};
use super::tree::{Expression, NotUnderstood, Order, OrderKey, Understood};

impl<'a> Resolver<'a> {
    /// The terms of ORDER BY; `items` are the output columns that they may stand for, or none for a
    /// window, the frame of which may ask for one term.
    pub(super) fn order(
        &mut self,
        terms: &'a [ast::OrderByExpr],
        items: Option<&[Expression]>,
    ) -> Understood<Vec<Order>> {
        let mut order: Vec<Order> = Vec::new();
        let mut seen = HashSet::new();
        for term in terms {
            let Some(items) = items else {
                let value = self.value(&term.expr)?;
                order.push(ordered(term, OrderKey::Expression(value))?);
                continue;
            };
            let value = self.order_value(&term.expr, items)?;
            // A constant orders nothing, and neither does a term again.
            if value.is_constant() || !seen.insert(raw_text(&self.arena, &value)) {
                ordered(term, OrderKey::Position(0))?;
                continue;
            }
            order.push(ordered(term, OrderKey::Expression(value))?);
        }
        Ok(order)
    }

    fn order_value(&mut self, term: &'a ast::Expr, items: &[Expression]) -> Understood<Expression> {
        let (inner, collation) = match unnested(term) {
            ast::Expr::Collate { expr, collation } => (unnested(expr), Some(collation)),
            other => (other, None),
        };
        let named = match inner {
            ast::Expr::Identifier(name) => self.alias(&folded(name)?)?,
            _ => None,
        };
        let output = match (named, ordinal(inner, items.len())?) {
            (Some(value), _) => value,
            (None, Some(position)) => {
                let item = items.get(position).ok_or(NotUnderstood)?.clone();
                self.copy(&item)?;
                item
            }
            (None, None) => {
                let value = self.value(term)?;
                understood(!value.may_become_a_number())?;
                return Ok(value);
            }
        };
        // A constant will go, anything else is written in this place.
        understood(output.is_constant() || !output.may_become_a_number())?;
        Ok(match collation {
            None => output,
            Some(collation) => Expression::Collate {
                operand: Box::new(output),
                collation: folded(simple_name(collation)?)?,
            },
        })
    }

    /// The column that a term of a compound's ORDER BY stands for, by SQLite's rules: its number,
    /// or the name or expression of a column of one of the operands, the first that has it.
    pub(super) fn compound_position(
        &mut self,
        term: &'a ast::Expr,
        scopes: &[(Scope, Vec<Expression>)],
        width: usize,
    ) -> Understood<usize> {
        let term = unnested(term);
        if let Some(position) = ordinal(term, width)? {
            return Ok(position);
        }
        for (scope, items) in scopes {
            if let ast::Expr::Identifier(name) = term {
                let name = folded(name)?;
                let alias = scope.aliases.iter().find(|(alias, _)| *alias == name);
                if let Some((_, aliased)) = alias {
                    let text = raw_text(&self.arena, aliased);
                    return items
                        .iter()
                        .position(|item| raw_text(&self.arena, item) == text)
                        .ok_or(NotUnderstood);
                }
            }
            let scope = Scope { relations: scope.relations.clone(), aliases: Vec::new() };
            self.scopes.push(scope);
            let value = self.value(term);
            self.scopes.pop();
            let Ok(value) = value else { continue };
            let text = raw_text(&self.arena, &value);
            let found = items.iter().position(|item| raw_text(&self.arena, item) == text);
            if let Some(position) = found {
                return Ok(position);
            }
        }
        Err(NotUnderstood)
    }
}

pub(super) fn ordered(term: &ast::OrderByExpr, key: OrderKey) -> Understood<Order> {
    understood(term.with_fill.is_none())?;
    let descending = match &term.options.sort {
        None | Some(ast::OrderBySort::Asc) => false,
        Some(ast::OrderBySort::Desc) => true,
        Some(ast::OrderBySort::Using(_)) => return Err(NotUnderstood),
    };
    let nulls_elsewhere = term.options.nulls_first.is_some_and(|first| first == descending);
    Ok(Order { key, descending, nulls_elsewhere })
}

/// The position of an output column, from 0, where a term of ORDER BY or GROUP BY is a number.
///
/// # Errors
/// A number without such a column, which is an error in SQLite too.
pub(super) fn ordinal(term: &ast::Expr, width: usize) -> Understood<Option<usize>> {
    let digits = match term {
        ast::Expr::Value(value) => match &value.value {
            ast::Value::Number(digits, false) => digits,
            _ => return Ok(None),
        },
        // SQLite counts a signed number as one, and a collation does not change that.
        ast::Expr::UnaryOp { op: ast::UnaryOperator::Plus | ast::UnaryOperator::Minus, expr } => {
            return match ordinal(unnested(expr), usize::MAX) {
                Ok(None) => Ok(None),
                _ => Err(NotUnderstood),
            };
        }
        ast::Expr::Collate { expr, .. } => {
            return match ordinal(unnested(expr), usize::MAX) {
                Ok(None) => Ok(None),
                _ => Err(NotUnderstood),
            };
        }
        _ => return Ok(None),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match digits.parse::<usize>() {
        Ok(number) if number >= 1 && number <= width => Ok(Some(number - 1)),
        _ => Err(NotUnderstood),
    }
}
