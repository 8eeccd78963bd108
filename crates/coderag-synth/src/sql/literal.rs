//! Literals of SQL as values.

use coderag_sql::Value;
use sqlparser::ast;
use sqlparser::ast::{Expr, UnaryOperator};

/// The value of a literal, signed or typed (`DATE '2024-05-01'`), or none for anything else.
pub(crate) fn literal(expression: &Expr) -> Option<Value> {
    match expression {
        Expr::Nested(inner) => literal(inner),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => Some(match literal(expr)? {
            Value::Integer(number) => Value::Integer(number.checked_neg()?),
            Value::Real(number) => Value::Real(-number),
            _ => return None,
        }),
        Expr::TypedString(typed) => value(&typed.value.value),
        Expr::Value(written) => value(&written.value),
        _ => None,
    }
}

fn value(value: &ast::Value) -> Option<Value> {
    Some(match value {
        ast::Value::Number(digits, _) => match digits.parse() {
            Ok(number) => Value::Integer(number),
            Err(_) => Value::Real(digits.parse().ok().filter(|number: &f64| number.is_finite())?),
        },
        ast::Value::Boolean(truth) => Value::Integer(i64::from(*truth)),
        ast::Value::Null => Value::Null,
        ast::Value::SingleQuotedString(text)
        | ast::Value::EscapedStringLiteral(text)
        | ast::Value::NationalStringLiteral(text)
        | ast::Value::DoubleQuotedString(text) => Value::Text(text.clone()),
        _ => return None,
    })
}

/// The value as SQL writes it: text in quotes.
pub(crate) fn written(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("'{}'", text.replace('\'', "''")),
        other => other.to_string(),
    }
}

/// A name in quotes.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
