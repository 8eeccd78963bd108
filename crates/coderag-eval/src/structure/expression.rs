//! From sqlparser's expressions to ours.

use sqlparser::ast;
use sqlparser::ast::{BinaryOperator, UnaryOperator, Value};

use super::names::{folded, simple_name};
use super::resolve::{Resolver, understood, unnested};
use super::rules;
use super::tree::{
    Arguments, Call, Comparison, Connective, Expression, NotUnderstood, Understood, Window,
};

/// How tightly SQLite's operators bind (<https://sqlite.org/lang_expr.html#operators>).
mod binding {
    pub(super) const OR: u8 = 1;
    pub(super) const AND: u8 = 2;
    pub(super) const NOT: u8 = 3;
    pub(super) const EQUALITY: u8 = 4;
    pub(super) const INEQUALITY: u8 = 5;
    pub(super) const BITS: u8 = 7;
    pub(super) const SUM: u8 = 8;
    pub(super) const PRODUCT: u8 = 9;
    pub(super) const CONCATENATION: u8 = 10;
    pub(super) const COLLATION: u8 = 11;
    pub(super) const SIGN: u8 = 12;
    /// Anything in parentheses, a name, a literal.
    pub(super) const ATOM: u8 = u8::MAX;
}

/// The loosest operators outside parentheses that an operator to the left, and one to the right,
/// of an expression competes with for its operands.
///
/// sqlparser's operators bind in another order than SQLite's in places (`a = b < c`,
/// `a | b & c`, `a LIKE b = c`). A tree of sqlparser's is SQLite's too if at each operator the
/// right edge of the left operand binds at least as tightly and the left edge of the right operand
/// more tightly; other trees are not understood.
#[derive(Clone, Copy)]
struct Edges {
    left: u8,
    right: u8,
}

const CLOSED: Edges = Edges { left: binding::ATOM, right: binding::ATOM };

impl Edges {
    fn infix(left: Self, binds: u8, right: Self) -> Understood<Self> {
        understood(left.right >= binds && right.left > binds)?;
        Ok(Self { left: left.left.min(binds), right: right.right.min(binds) })
    }

    fn postfix(left: Self, binds: u8) -> Understood<Self> {
        Self::infix(left, binds, CLOSED).map(|edges| Self { right: binding::ATOM, ..edges })
    }

    /// `IS NULL` and the like: SQLite reads an operand after IS and goes on with operators that
    /// bind more tightly.
    fn is_keyword(left: Self) -> Understood<Self> {
        Self::infix(left, binding::EQUALITY, CLOSED)
    }

    fn prefix(binds: u8, right: Self) -> Understood<Self> {
        understood(right.left > binds)?;
        Ok(Self { left: binding::ATOM, right: right.right.min(binds) })
    }
}

impl<'a> Resolver<'a> {
    /// Resolves an expression of which the value counts.
    pub(super) fn value(&mut self, expression: &'a ast::Expr) -> Understood<Expression> {
        self.expression(expression, false).map(|(value, _)| value)
    }

    /// Resolves an expression of which only counts whether it is true.
    pub(super) fn condition(&mut self, expression: &'a ast::Expr) -> Understood<Expression> {
        self.expression(expression, true).map(|(value, _)| value)
    }

    fn values(&mut self, expressions: &'a [ast::Expr]) -> Understood<Vec<Expression>> {
        expressions.iter().map(|expression| self.value(expression)).collect()
    }

    fn expression(
        &mut self,
        expression: &'a ast::Expr,
        condition: bool,
    ) -> Understood<(Expression, Edges)> {
        self.deeper(|resolver| resolver.expression_here(expression, condition))
    }

    fn expression_here(
        &mut self,
        expression: &'a ast::Expr,
        condition: bool,
    ) -> Understood<(Expression, Edges)> {
        use ast::Expr;
        let closed = |value| Ok((value, CLOSED));
        match expression {
            Expr::Nested(inner) => {
                let (value, _) = self.expression(unnested(inner), condition)?;
                closed(value)
            }
            Expr::Identifier(name) => closed(self.name(name)?),
            Expr::CompoundIdentifier(parts) => closed(self.qualified_name(parts)?),
            Expr::Value(value) => closed(literal(&value.value)?),
            Expr::BinaryOp { left, op, right } => match op {
                BinaryOperator::And => {
                    self.connected(left, right, Connective::And, binding::AND, condition)
                }
                BinaryOperator::Or => {
                    self.connected(left, right, Connective::Or, binding::OR, condition)
                }
                _ => self.binary(left, op, right),
            },
            Expr::UnaryOp { op, expr } => self.unary(*op, expr, condition),
            Expr::IsNull(operand) => self.is_null(operand, false),
            Expr::IsNotNull(operand) => self.is_null(operand, true),
            Expr::IsTrue(operand) => self.is_truth(operand, true, false),
            Expr::IsNotTrue(operand) => self.is_truth(operand, true, true),
            Expr::IsFalse(operand) => self.is_truth(operand, false, false),
            Expr::IsNotFalse(operand) => self.is_truth(operand, false, true),
            Expr::IsNotDistinctFrom(left, right) => self.is(left, right, false),
            Expr::IsDistinctFrom(left, right) => self.is(left, right, true),
            Expr::InList { expr, list, negated } => {
                let (operand, edges) = self.expression(expr, false)?;
                let edges = Edges::postfix(edges, binding::EQUALITY)?;
                let list = self.values(list)?;
                Ok((rules::in_list(&self.arena, operand, list, *negated), edges))
            }
            Expr::InSubquery { expr, subquery, negated } => {
                let (operand, edges) = self.expression(expr, false)?;
                let edges = Edges::postfix(edges, binding::EQUALITY)?;
                let (mut query, _) = self.query(subquery)?;
                rules::as_set(&mut query);
                let (operand, query) = (Box::new(operand), Box::new(query));
                Ok((Expression::InQuery { operand, query, negated: *negated }, edges))
            }
            Expr::Between { expr, negated, low, high } => {
                let (operand, edges) = self.expression(expr, false)?;
                let (low, low_edges) = self.expression(low, false)?;
                let (high, high_edges) = self.expression(high, false)?;
                let edges = Edges::infix(edges, binding::EQUALITY, low_edges)?;
                understood(low_edges.right > binding::EQUALITY)?;
                let edges = Edges::infix(edges, binding::EQUALITY, high_edges)?;
                let value = rules::between(&self.arena, operand, low, high)?;
                let value = if *negated { rules::not(&self.arena, value) } else { value };
                Ok((value, edges))
            }
            Expr::Like { negated, any: false, expr, pattern, escape_char } => {
                let (operand, edges) = self.expression(expr, false)?;
                let (pattern, pattern_edges) = self.expression(pattern, false)?;
                let mut edges = Edges::infix(edges, binding::EQUALITY, pattern_edges)?;
                let mut escape = None;
                if let Some(expression) = escape_char {
                    let (value, escape_edges) = self.expression(expression, false)?;
                    understood(pattern_edges.right > binding::INEQUALITY)?;
                    edges = Edges::infix(edges, binding::EQUALITY, escape_edges)?;
                    escape = Some(Box::new(value));
                }
                let (operand, pattern) = (Box::new(operand), Box::new(pattern));
                Ok((Expression::Like { operand, pattern, escape, negated: *negated }, edges))
            }
            Expr::Exists { subquery, negated } => {
                let (mut query, _) = self.query(subquery)?;
                rules::as_existence(&mut query);
                let exists = Expression::Exists { query: Box::new(query), negated: *negated };
                let edges =
                    Edges { right: if *negated { binding::NOT } else { binding::ATOM }, ..CLOSED };
                Ok((exists, edges))
            }
            Expr::Subquery(query) => {
                let (query, _) = self.query(query)?;
                closed(Expression::Scalar(Box::new(query)))
            }
            Expr::Function(function) => closed(self.function(function)?),
            Expr::Substring { expr, substring_from, substring_for, special: true, .. } => {
                let mut arguments = vec![self.value(expr)?];
                for argument in substring_from.iter().chain(substring_for) {
                    arguments.push(self.value(argument)?);
                }
                closed(call("substr", arguments))
            }
            Expr::Trim { trim_where: None, trim_what: None, expr, trim_characters } => {
                let mut arguments = vec![self.value(expr)?];
                for argument in trim_characters.iter().flatten() {
                    arguments.push(self.value(argument)?);
                }
                closed(call("trim", arguments))
            }
            Expr::Ceil { expr, field } => closed(call("ceil", self.rounded(expr, field)?)),
            Expr::Floor { expr, field } => closed(call("floor", self.rounded(expr, field)?)),
            Expr::Case { operand, conditions, else_result, .. } => {
                let operand = operand.as_ref().map(|operand| self.value(operand)).transpose()?;
                let mut branches = Vec::new();
                for branch in conditions {
                    let when = match operand {
                        Some(_) => self.value(&branch.condition)?,
                        None => self.condition(&branch.condition)?,
                    };
                    branches.push((when, self.value(&branch.result)?));
                }
                let otherwise = else_result.as_ref().map(|value| self.value(value)).transpose()?;
                closed(Expression::Case {
                    operand: operand.map(Box::new),
                    branches,
                    otherwise: otherwise
                        .filter(|value| !matches!(value, Expression::Null))
                        .map(Box::new),
                })
            }
            Expr::Cast { kind: ast::CastKind::Cast, expr, data_type, format: None } => {
                let affinity = affinity(&data_type.to_string())?;
                closed(Expression::Cast { operand: Box::new(self.value(expr)?), affinity })
            }
            Expr::Collate { expr, collation } => {
                let (operand, edges) = self.expression(expr, false)?;
                let edges = Edges::postfix(edges, binding::COLLATION)?;
                let collation = folded(simple_name(collation)?)?;
                Ok((Expression::Collate { operand: Box::new(operand), collation }, edges))
            }
            Expr::Tuple(values) => closed(Expression::Row(self.values(values)?)),
            _ => Err(NotUnderstood),
        }
    }

    /// `a AND b AND c`, which sqlparser nests to the left without bound.
    fn connected(
        &mut self,
        left: &'a ast::Expr,
        right: &'a ast::Expr,
        connective: Connective,
        binds: u8,
        condition: bool,
    ) -> Understood<(Expression, Edges)> {
        let mut operands = vec![right];
        let mut first = left;
        while let ast::Expr::BinaryOp { left, op, right } = first {
            let same = match op {
                BinaryOperator::And => connective == Connective::And,
                BinaryOperator::Or => connective == Connective::Or,
                _ => false,
            };
            if !same {
                break;
            }
            operands.push(right);
            first = left;
        }
        let (value, mut edges) = self.expression(first, true)?;
        let mut values = vec![value];
        for operand in operands.into_iter().rev() {
            let (value, right) = self.expression(operand, true)?;
            edges = Edges::infix(edges, binds, right)?;
            values.push(value);
        }
        Ok((rules::logical(&self.arena, connective, values, condition), edges))
    }

    fn binary(
        &mut self,
        left: &'a ast::Expr,
        operator: &BinaryOperator,
        right: &'a ast::Expr,
    ) -> Understood<(Expression, Edges)> {
        let (left, left_edges) = self.expression(left, false)?;
        let (right, right_edges) = self.expression(right, false)?;
        let edges = |binds| Edges::infix(left_edges, binds, right_edges);
        let comparison = match operator {
            BinaryOperator::Eq => Some((Comparison::Equal, binding::EQUALITY)),
            BinaryOperator::NotEq => Some((Comparison::NotEqual, binding::EQUALITY)),
            BinaryOperator::Lt => Some((Comparison::Less, binding::INEQUALITY)),
            BinaryOperator::LtEq => Some((Comparison::LessOrEqual, binding::INEQUALITY)),
            BinaryOperator::Gt => Some((Comparison::Greater, binding::INEQUALITY)),
            BinaryOperator::GtEq => Some((Comparison::GreaterOrEqual, binding::INEQUALITY)),
            _ => None,
        };
        if let Some((comparison, binds)) = comparison {
            return Ok((rules::compare(comparison, left, right), edges(binds)?));
        }
        let (operator, binds) = match operator {
            BinaryOperator::Plus => ("+", binding::SUM),
            BinaryOperator::Minus => ("-", binding::SUM),
            BinaryOperator::Multiply => ("*", binding::PRODUCT),
            BinaryOperator::Divide => ("/", binding::PRODUCT),
            BinaryOperator::Modulo => ("%", binding::PRODUCT),
            BinaryOperator::StringConcat => ("||", binding::CONCATENATION),
            BinaryOperator::Arrow => ("->", binding::CONCATENATION),
            BinaryOperator::LongArrow => ("->>", binding::CONCATENATION),
            BinaryOperator::BitwiseAnd => ("&", binding::BITS),
            BinaryOperator::BitwiseOr => ("|", binding::BITS),
            BinaryOperator::PGBitwiseShiftLeft => ("<<", binding::BITS),
            BinaryOperator::PGBitwiseShiftRight => (">>", binding::BITS),
            BinaryOperator::Glob => ("GLOB", binding::EQUALITY),
            BinaryOperator::Match => ("MATCH", binding::EQUALITY),
            BinaryOperator::Regexp => ("REGEXP", binding::EQUALITY),
            _ => return Err(NotUnderstood),
        };
        let (left, right) = (Box::new(left), Box::new(right));
        Ok((Expression::Binary { operator, left, right }, edges(binds)?))
    }

    fn unary(
        &mut self,
        operator: UnaryOperator,
        operand: &'a ast::Expr,
        condition: bool,
    ) -> Understood<(Expression, Edges)> {
        let not = operator == UnaryOperator::Not;
        let (value, edges) = self.expression(operand, not)?;
        let edges = Edges::prefix(if not { binding::NOT } else { binding::SIGN }, edges)?;
        let unary = |operator| Expression::Unary { operator, operand: Box::new(value.clone()) };
        let value = match operator {
            UnaryOperator::Not => match value {
                Expression::Not(value) if condition => *value,
                value => rules::not(&self.arena, value),
            },
            UnaryOperator::Minus => unary("-"),
            UnaryOperator::BitwiseNot => unary("~"),
            // On a column it takes the affinity away.
            UnaryOperator::Plus if value.is_literal() => value,
            UnaryOperator::Plus => unary("+"),
            _ => return Err(NotUnderstood),
        };
        Ok((value, edges))
    }

    fn is_null(
        &mut self,
        operand: &'a ast::Expr,
        negated: bool,
    ) -> Understood<(Expression, Edges)> {
        let (operand, edges) = self.expression(operand, false)?;
        let edges = Edges::is_keyword(edges)?;
        Ok((Expression::IsNull { operand: Box::new(operand), negated }, edges))
    }

    fn is_truth(
        &mut self,
        operand: &'a ast::Expr,
        truth: bool,
        negated: bool,
    ) -> Understood<(Expression, Edges)> {
        let (operand, edges) = self.expression(operand, false)?;
        let edges = Edges::is_keyword(edges)?;
        Ok((Expression::IsTruth { operand: Box::new(operand), truth, negated }, edges))
    }

    fn is(
        &mut self,
        left: &'a ast::Expr,
        right: &'a ast::Expr,
        negated: bool,
    ) -> Understood<(Expression, Edges)> {
        let (left, left_edges) = self.expression(left, false)?;
        let (right, right_edges) = self.expression(right, false)?;
        let edges = Edges::infix(left_edges, binding::EQUALITY, right_edges)?;
        let value = match (left, right) {
            (operand, Expression::Null) => {
                Expression::IsNull { operand: Box::new(operand), negated }
            }
            (left, right) => {
                Expression::Is { left: Box::new(left), right: Box::new(right), negated }
            }
        };
        Ok((value, edges))
    }

    fn rounded(
        &mut self,
        value: &'a ast::Expr,
        field: &ast::CeilFloorKind,
    ) -> Understood<Vec<Expression>> {
        let plain = ast::CeilFloorKind::DateTimeField(ast::DateTimeField::NoDateTime);
        understood(*field == plain)?;
        Ok(vec![self.value(value)?])
    }

    fn function(&mut self, function: &'a ast::Function) -> Understood<Expression> {
        understood(
            !function.uses_odbc_syntax
                && matches!(function.parameters, ast::FunctionArguments::None)
                && function.within_group.is_empty()
                && function.null_treatment.is_none(),
        )?;
        let name = folded(simple_name(&function.name)?)?;
        let filter = match &function.filter {
            None => Vec::new(),
            Some(condition) => {
                let condition = self.condition(condition)?;
                self.conjunction(vec![condition])
            }
        };
        let window = function.over.as_ref().map(|over| self.window(over)).transpose()?;
        let list = match &function.args {
            ast::FunctionArguments::None => {
                understood(filter.is_empty() && window.is_none())?;
                return Ok(Expression::Keyword(name.to_ascii_uppercase()));
            }
            ast::FunctionArguments::Subquery(_) => return Err(NotUnderstood),
            ast::FunctionArguments::List(list) => list,
        };
        understood(list.clauses.is_empty())?;
        let distinct = list.duplicate_treatment == Some(ast::DuplicateTreatment::Distinct);
        let mut all_rows = false;
        let mut arguments = Vec::new();
        for argument in &list.args {
            match argument {
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(value)) => {
                    arguments.push(self.value(value)?);
                }
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Wildcard) => all_rows = true,
                _ => return Err(NotUnderstood),
            }
        }
        let arguments = if all_rows {
            // SQLite has neither count(ALL *) nor count(DISTINCT *).
            understood(list.args.len() == 1 && list.duplicate_treatment.is_none())?;
            Arguments::AllRows
        } else {
            Arguments::List(arguments)
        };
        Ok(rules::call(Call { name, distinct, arguments, filter, window }))
    }

    fn window(&mut self, over: &'a ast::WindowType) -> Understood<Window> {
        let ast::WindowType::WindowSpec(window) = over else { return Err(NotUnderstood) };
        understood(window.window_name.is_none())?;
        let frame = window.window_frame.as_ref().map(frame).transpose()?;
        let default = "RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW";
        Ok(Window {
            partition: self.values(&window.partition_by)?,
            order: self.order(&window.order_by, None)?,
            frame: frame.filter(|frame| frame != default),
        })
    }
}

fn frame(frame: &ast::WindowFrame) -> Understood<String> {
    let bound = |bound: &ast::WindowFrameBound| {
        let (distance, side) = match bound {
            ast::WindowFrameBound::CurrentRow => return Ok("CURRENT ROW".to_owned()),
            ast::WindowFrameBound::Preceding(distance) => (distance, "PRECEDING"),
            ast::WindowFrameBound::Following(distance) => (distance, "FOLLOWING"),
        };
        match distance.as_deref() {
            None => Ok(format!("UNBOUNDED {side}")),
            Some(ast::Expr::Value(value)) => match literal(&value.value)? {
                Expression::Integer(digits) | Expression::Real(digits) => {
                    Ok(format!("{digits} {side}"))
                }
                _ => Err(NotUnderstood),
            },
            Some(_) => Err(NotUnderstood),
        }
    };
    let end = frame.end_bound.as_ref().map_or(Ok("CURRENT ROW".to_owned()), bound)?;
    Ok(format!("{} BETWEEN {} AND {end}", frame.units, bound(&frame.start_bound)?))
}

fn call(name: &str, arguments: Vec<Expression>) -> Expression {
    rules::call(Call {
        name: name.to_owned(),
        distinct: false,
        arguments: Arguments::List(arguments),
        filter: Vec::new(),
        window: None,
    })
}

/// The affinity of a type's name (<https://sqlite.org/datatype3.html#determination_of_column_affinity>).
fn affinity(data_type: &str) -> Understood<&'static str> {
    let name = data_type.to_ascii_uppercase();
    let (words, size) = name.split_once('(').unwrap_or((&name, ")"));
    for word in words.split_whitespace() {
        let plain = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        understood(plain && !word.starts_with(|first: char| first.is_ascii_digit()))?;
        folded(&ast::Ident::new(word))?;
    }
    let sizes = size.strip_suffix(')').ok_or(NotUnderstood)?;
    understood(sizes.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b',' | b' ')))?;
    let has = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
    Ok(if has(&["INT"]) {
        "INTEGER"
    } else if has(&["CHAR", "CLOB", "TEXT"]) {
        "TEXT"
    } else if has(&["BLOB"]) {
        "BLOB"
    } else if has(&["REAL", "FLOA", "DOUB"]) {
        "REAL"
    } else {
        "NUMERIC"
    })
}

fn literal(value: &Value) -> Understood<Expression> {
    match value {
        Value::Number(number, false) => Ok(rules::number(number)),
        Value::SingleQuotedString(text) => Ok(Expression::text(text)),
        // SQLite has no other truth values than these numbers.
        Value::Boolean(truth) => Ok(Expression::Integer(u8::from(*truth).to_string())),
        Value::Null => Ok(Expression::Null),
        _ => Err(NotUnderstood),
    }
}
