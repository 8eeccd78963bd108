use sqlparser::dialect::SQLiteDialect;
use sqlparser::parser::Parser;

use sqlparser::ast::Statement;

use crate::Compatibility;

/// Whether the order of a gold query's rows counts.
///
/// The official script looks for `order by` anywhere in the text; the sensible thing is to ask whether
/// the query itself is ordered, and to do the former where the query cannot be parsed.
pub(crate) fn order_counts(gold: &str, compatibility: Compatibility) -> bool {
    let written = gold.to_lowercase().contains("order by");
    if compatibility.is_strict() {
        return written;
    }
    match Parser::parse_sql(&SQLiteDialect {}, gold).as_deref() {
        Ok([Statement::Query(query)]) => query.order_by.is_some(),
        _ => written,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_outermost_order_counts() {
        for (gold, sensible, strict) in [
            ("SELECT a FROM t ORDER BY a", true, true),
            ("SELECT a FROM t ORDER  BY a", true, false),
            ("SELECT a FROM t WHERE b = (SELECT b FROM t ORDER BY b LIMIT 1)", false, true),
            ("SELECT a FROM t WHERE b = 'in order by chance'", false, true),
            ("SELECT a FROM t UNION SELECT b FROM t ORDER BY a", true, true),
            ("this is not SQL, order by", true, true),
        ] {
            assert_eq!(order_counts(gold, Compatibility::Sensible), sensible, "{gold}");
            assert_eq!(order_counts(gold, Compatibility::Strict), strict, "{gold}");
        }
    }
}
