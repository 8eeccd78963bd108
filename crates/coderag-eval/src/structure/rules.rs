//! The rewrites, each of them an equality of SQLite's that holds for all data, NULL included.

use std::collections::HashSet;

use super::print::raw_text;
use super::resolve::understood;
use super::tree::{
    Arena, Arguments, Body, Call, Comparison, Compound, Connective, Expression, Order, OrderKey,
    Query, Select, SetOperator, Understood,
};

/// The largest operand of BETWEEN that is written twice, so that nests of them stay small.
const BETWEEN_OPERAND_LIMIT: usize = 64;

/// The most digits of a decimal number that SQLite is sure to read exactly as any other spelling.
const EXACT_DIGITS: usize = 15;

pub(super) fn equal(left: Expression, right: Expression) -> Expression {
    compare(Comparison::Equal, left, right)
}

/// `a > b` is `b < a`, unless one of them names a collation: the left one's counts first.
pub(super) fn compare(operator: Comparison, left: Expression, right: Expression) -> Expression {
    let flipped = match operator {
        Comparison::Greater => Some(Comparison::Less),
        Comparison::GreaterOrEqual => Some(Comparison::LessOrEqual),
        _ => None,
    };
    let (left, right) = (Box::new(left), Box::new(right));
    match flipped {
        Some(operator) if !left.names_collation() && !right.names_collation() => {
            Expression::Compare { operator, left: right, right: left }
        }
        _ => Expression::Compare { operator, left, right },
    }
}

/// NOT, pushed into the expression: three-valued logic knows De Morgan's laws, and a comparison is
/// NULL exactly where its negation is.
pub(super) fn not(arena: &Arena, expression: Expression) -> Expression {
    match expression {
        Expression::Compare { operator, left, right }
            if !matches!(*left, Expression::Row(_)) && !matches!(*right, Expression::Row(_)) =>
        {
            let negated = match operator {
                Comparison::Equal => Comparison::NotEqual,
                Comparison::NotEqual => Comparison::Equal,
                Comparison::Less => Comparison::GreaterOrEqual,
                Comparison::LessOrEqual => Comparison::Greater,
                Comparison::Greater => Comparison::LessOrEqual,
                Comparison::GreaterOrEqual => Comparison::Less,
            };
            compare(negated, *left, *right)
        }
        Expression::Logical { connective, operands } => {
            let negated = match connective {
                Connective::And => Connective::Or,
                Connective::Or => Connective::And,
            };
            let operands = operands.into_iter().map(|operand| not(arena, operand)).collect();
            logical(arena, negated, operands, false)
        }
        Expression::IsNull { operand, negated } => {
            Expression::IsNull { operand, negated: !negated }
        }
        Expression::IsTruth { operand, truth, negated } => {
            Expression::IsTruth { operand, truth, negated: !negated }
        }
        Expression::Is { left, right, negated } => {
            Expression::Is { left, right, negated: !negated }
        }
        Expression::Like { operand, pattern, escape, negated } => {
            Expression::Like { operand, pattern, escape, negated: !negated }
        }
        Expression::InList { operand, list, negated } => {
            Expression::InList { operand, list, negated: !negated }
        }
        Expression::InQuery { operand, query, negated } => {
            Expression::InQuery { operand, query, negated: !negated }
        }
        Expression::Exists { query, negated } => Expression::Exists { query, negated: !negated },
        Expression::Not(inner) if inner.is_boolean() => *inner,
        other => Expression::Not(Box::new(other)),
    }
}

/// AND or OR: nested ones of the same kind are one, equal operands count once, and
/// `x = 1 OR x = 2` is `x IN (1, 2)`. `condition` says that only the truth of the result counts,
/// so that a single operand may stand for itself even if it is no truth value.
pub(super) fn logical(
    arena: &Arena,
    connective: Connective,
    operands: Vec<Expression>,
    condition: bool,
) -> Expression {
    let mut flat = Vec::new();
    for operand in operands {
        match operand {
            Expression::Logical { connective: inner, operands } if inner == connective => {
                flat.extend(operands);
            }
            // Only whether an operand is true counts.
            Expression::Not(inner) => match *inner {
                Expression::Not(inner) => flat.push(*inner),
                inner => flat.push(Expression::Not(Box::new(inner))),
            },
            other => flat.push(other),
        }
    }
    let mut flat = merge_equalities(arena, connective, flat);
    let mut seen = HashSet::new();
    let mut kept = flat.len();
    flat.retain(|operand| {
        let repeated = !operand.is_volatile() && !seen.insert(raw_text(arena, operand));
        // The last two stay together where one alone would be another value.
        let drop = repeated && (kept > 2 || condition || operand.is_boolean());
        kept -= usize::from(drop);
        !drop
    });
    match flat.len() {
        1 => flat.remove(0),
        _ => Expression::Logical { connective, operands: flat },
    }
}

/// The operands of an AND, or the one expression that is none.
pub(super) fn conjuncts(expression: Expression) -> Vec<Expression> {
    match expression {
        Expression::Logical { connective: Connective::And, operands } => operands,
        other => vec![other],
    }
}

/// Under OR, `x = 1`, `x = 2` and `x IN (3, 4)` are one IN; under AND their negations are one NOT
/// IN. SQLite compares with each element of a list as `=` does (the elements here being literals,
/// which have no affinity and no collation of their own).
fn merge_equalities(
    arena: &Arena,
    connective: Connective,
    operands: Vec<Expression>,
) -> Vec<Expression> {
    let negated = connective == Connective::And;
    let mut merged: Vec<Expression> = Vec::new();
    let mut lists: Vec<(String, usize, Expression, Vec<Expression>)> = Vec::new();
    for operand in operands {
        let Some((tested, values)) = membership(&operand, negated) else {
            merged.push(operand);
            continue;
        };
        let text = raw_text(arena, &tested);
        match lists.iter_mut().find(|(other, ..)| *other == text) {
            Some((_, _, _, list)) => list.extend(values),
            None => {
                lists.push((text, merged.len(), tested, values));
                merged.push(Expression::Null);
            }
        }
    }
    for (_, position, tested, values) in lists {
        if let Some(place) = merged.get_mut(position) {
            *place = in_list(arena, tested, values, negated);
        }
    }
    merged
}

/// What is tested, and the literals that it is (or, `negated`, is not) to be one of.
fn membership(expression: &Expression, negated: bool) -> Option<(Expression, Vec<Expression>)> {
    let (tested, values) = match expression {
        Expression::Compare { operator, left, right } => {
            let wanted = if negated { Comparison::NotEqual } else { Comparison::Equal };
            let (tested, value) = match (left.is_literal(), right.is_literal()) {
                (false, true) => (left, right),
                (true, false) => (right, left),
                _ => return None,
            };
            if *operator != wanted {
                return None;
            }
            (tested, vec![(**value).clone()])
        }
        Expression::InList { operand, list, negated: is_negated } => {
            let literals = list.iter().all(Expression::is_literal);
            if *is_negated != negated || !literals || list.is_empty() || operand.is_literal() {
                return None;
            }
            (operand, list.clone())
        }
        _ => return None,
    };
    let plain = !matches!(**tested, Expression::Row(_))
        && !tested.names_collation()
        && !tested.is_volatile()
        && tested.size() <= BETWEEN_OPERAND_LIMIT;
    plain.then(|| ((**tested).clone(), values))
}

/// IN: the list is a set, and `x IN (1)` is `x = 1`.
pub(super) fn in_list(
    arena: &Arena,
    operand: Expression,
    mut list: Vec<Expression>,
    negated: bool,
) -> Expression {
    let mut seen = HashSet::new();
    list.retain(|value| value.is_volatile() || seen.insert(raw_text(arena, value)));
    let single = list.len() == 1
        && list.iter().all(Expression::is_literal)
        && !operand.is_literal()
        && !matches!(operand, Expression::Row(_));
    match list.pop() {
        Some(value) if single => {
            let operator = if negated { Comparison::NotEqual } else { Comparison::Equal };
            compare(operator, operand, value)
        }
        last => {
            list.extend(last);
            Expression::InList { operand: Box::new(operand), list, negated }
        }
    }
}

/// `x BETWEEN a AND b` is `a <= x AND x <= b`.
pub(super) fn between(
    arena: &Arena,
    operand: Expression,
    low: Expression,
    high: Expression,
) -> Understood<Expression> {
    understood(operand.size() <= BETWEEN_OPERAND_LIMIT && !operand.is_volatile())?;
    let low = compare(Comparison::GreaterOrEqual, operand.clone(), low);
    let high = compare(Comparison::LessOrEqual, operand, high);
    Ok(logical(arena, Connective::And, vec![low, high], false))
}

/// `count(1)` is `count(*)`; DISTINCT does nothing to `min` and `max`; functions of two names have
/// one; `iif` is CASE.
pub(super) fn call(mut call: Call) -> Expression {
    let literal = |arguments: &Arguments| match arguments {
        Arguments::AllRows => false,
        Arguments::List(list) => match list.as_slice() {
            [] => true,
            [only] => only.is_literal() && !matches!(only, Expression::Null),
            _ => false,
        },
    };
    let count = match &call.arguments {
        Arguments::AllRows => None,
        Arguments::List(list) => Some(list.len()),
    };
    match (call.name.as_str(), count) {
        ("count", _) if !call.distinct && literal(&call.arguments) => {
            call.arguments = Arguments::AllRows;
        }
        ("min" | "max", Some(1)) if call.window.is_none() => call.distinct = false,
        ("substring", _) => call.name = "substr".to_owned(),
        ("ifnull", Some(2)) => call.name = "coalesce".to_owned(),
        ("iif", Some(3)) if call.filter.is_empty() && call.window.is_none() && !call.distinct => {
            if let Arguments::List(list) = &call.arguments
                && let [when, then, otherwise] = list.as_slice()
            {
                return Expression::Case {
                    operand: None,
                    branches: vec![(when.clone(), then.clone())],
                    otherwise: (!matches!(otherwise, Expression::Null))
                        .then(|| Box::new(otherwise.clone())),
                };
            }
        }
        _ => {}
    }
    Expression::Call(Box::new(call))
}

/// A number in one spelling; an integer stays one, since `1` and `1.0` print differently and divide
/// differently.
pub(super) fn number(number: &str) -> Expression {
    let number = number.replace('_', "").to_ascii_lowercase();
    if number.bytes().all(|byte| byte.is_ascii_digit()) {
        let digits = number.trim_start_matches('0');
        return Expression::Integer(if digits.is_empty() { "0" } else { digits }.to_owned());
    }
    Expression::Real(decimal(&number).unwrap_or(number))
}

/// The decimal in one spelling, if it is short enough to be exact.
fn decimal(number: &str) -> Option<String> {
    let (mantissa, exponent) = number.split_once('e').unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut exponent = exponent.parse::<i32>().ok()?;
    if !(-300..=300).contains(&exponent) {
        return None;
    }
    exponent = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let digits = format!("{whole}{fraction}");
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = digits.trim_start_matches('0');
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Some("0.0".to_owned());
    }
    exponent = exponent.checked_add(i32::try_from(digits.len() - significant.len()).ok()?)?;
    if significant.len() > EXACT_DIGITS {
        return None;
    }
    let point = i32::try_from(significant.len()).ok()? + exponent;
    let length = significant.len();
    Some(match usize::try_from(point) {
        Ok(point) if point >= length && point <= EXACT_DIGITS => {
            format!("{significant}{}.0", "0".repeat(point - length))
        }
        Ok(point) if point > 0 && point < length => {
            let (whole, fraction) = significant.split_at(point);
            format!("{whole}.{fraction}")
        }
        _ if (-5..=0).contains(&point) => {
            let zeros = usize::try_from(-point).ok()?;
            format!("0.{}{significant}", "0".repeat(zeros))
        }
        _ => format!("{significant}e{exponent}"),
    })
}

/// Adds an operand to a compound. A UNION ALL under a set operator is a UNION, and what is then
/// made a set need not be DISTINCT before.
pub(super) fn combine(body: Body, operator: SetOperator, mut select: Select) -> Body {
    if operator == SetOperator::UnionAll {
        return match body {
            Body::Compound(mut compound) if compound.operator == operator => {
                compound.rest.push(select);
                Body::Compound(compound)
            }
            first => Body::Compound(Box::new(Compound { operator, first, rest: vec![select] })),
        };
    }
    select.distinct = false;
    let mut body = body;
    match &mut body {
        Body::Select(select) => select.distinct = false,
        Body::Compound(compound) if compound.operator == SetOperator::UnionAll => {
            compound.operator = SetOperator::Union;
            compound.rest.iter_mut().for_each(|select| select.distinct = false);
            if let Body::Select(select) = &mut compound.first {
                select.distinct = false;
            }
        }
        Body::Compound(_) => {}
    }
    match body {
        Body::Compound(mut compound) if compound.operator == operator => {
            compound.rest.push(select);
            Body::Compound(compound)
        }
        first => Body::Compound(Box::new(Compound { operator, first, rest: vec![select] })),
    }
}

/// GROUP BY's keys as a set. A constant makes no groups of its own, but the only one keeps an
/// empty input from giving a row.
pub(super) fn group_keys(arena: &Arena, keys: Vec<Expression>) -> Vec<Expression> {
    let constant = !keys.is_empty() && keys.iter().all(Expression::is_constant);
    if constant {
        return vec![Expression::text("")];
    }
    let mut seen = HashSet::new();
    let mut keys = keys;
    keys.retain(|key| !key.is_constant() && seen.insert(raw_text(arena, key)));
    keys
}

/// DISTINCT where it does nothing goes: on one row, and on groups with all of their keys. Grouping
/// by exactly the columns that are selected, for no other purpose, is DISTINCT.
pub(super) fn simplify_distinct(arena: &Arena, select: &mut Select, order: &[Order]) {
    let items: HashSet<String> = select.items.iter().map(|item| raw_text(arena, item)).collect();
    let keys: HashSet<String> = select.group.iter().map(|key| raw_text(arena, key)).collect();
    let volatile = select.items.iter().chain(&select.group).any(Expression::is_volatile);
    let windowed = select.items.iter().any(has_window);
    if volatile || windowed {
        return;
    }
    if select.group.is_empty() {
        if select.items.iter().any(|item| is_own_aggregate(select, item)) {
            select.distinct = false;
        }
        return;
    }
    let plain = |expression: &Expression| {
        let mut plain = true;
        expression.walk(&mut |expression| {
            plain &= !matches!(
                expression,
                Expression::Call(_)
                    | Expression::Scalar(_)
                    | Expression::Exists { .. }
                    | Expression::InQuery { .. }
            );
        });
        plain
    };
    let ordered_by_items = order.iter().all(|term| match &term.key {
        OrderKey::Expression(key) => items.contains(&raw_text(arena, key)),
        OrderKey::Position(_) => true,
    });
    if items == keys
        && select.having.is_empty()
        && ordered_by_items
        && select.items.iter().all(plain)
    {
        select.group.clear();
        select.distinct = true;
    } else if keys.is_subset(&items) {
        select.distinct = false;
    }
}

fn has_window(expression: &Expression) -> bool {
    let mut found = false;
    expression.walk(&mut |expression| {
        found |= matches!(expression, Expression::Call(call) if call.window.is_some());
    });
    found
}

/// Whether the output column is an aggregate over the rows of this very SELECT, which then gives
/// one row: an aggregate of outer columns only belongs to an outer query.
fn is_own_aggregate(select: &Select, item: &Expression) -> bool {
    let Expression::Call(call) = item else { return false };
    let aggregate = match (call.name.as_str(), &call.arguments) {
        ("count", _) => true,
        ("sum" | "avg" | "total" | "group_concat", Arguments::List(_)) => true,
        ("min" | "max", Arguments::List(list)) => list.len() == 1,
        _ => false,
    };
    let relations = select.from.relations();
    let own = match &call.arguments {
        Arguments::AllRows => true,
        Arguments::List(list) => list.iter().all(|argument| {
            matches!(argument, Expression::Column { relation, .. } if relations.contains(relation))
        }),
    };
    aggregate && own && call.window.is_none() && call.filter.is_empty()
}

/// For a query of which only the set of rows counts (IN): order and DISTINCT do nothing.
pub(super) fn as_set(query: &mut Query) {
    if query.limit.is_some() {
        return;
    }
    query.order.clear();
    if let Body::Select(select) = &mut query.body {
        select.distinct = false;
    }
}

/// For a query of which only counts whether it has rows (EXISTS): columns, order, DISTINCT and a
/// limit of at least one row do nothing.
pub(super) fn as_existence(query: &mut Query) {
    let some = matches!(&query.limit, Some(Expression::Integer(digits)) if digits != "0");
    if some && query.offset.is_none() {
        query.limit = None;
    }
    if query.limit.is_some() {
        return;
    }
    query.order.clear();
    if let Body::Select(select) = &mut query.body {
        select.distinct = false;
        // Aggregates give a row even of none, so only these may go.
        let idle = |item: &Expression| {
            item.is_literal()
                || matches!(item, Expression::Column { .. } | Expression::AllColumns(_))
        };
        if select.items.iter().all(idle) {
            select.items = vec![Expression::Integer("1".to_owned())];
        }
    }
}
