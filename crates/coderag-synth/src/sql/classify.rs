//! What kind of statement a SELECT is: gretel's columns, SynSQL's levels, and what makes a poor example.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, FunctionArguments, GroupByExpr, Join, JoinConstraint, JoinOperator, LimitClause, Query,
    Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr, TableFactor, Visit as _, Visitor,
};

use super::comparisons::constraint;
use super::schema::last_part;

/// gretel's `sql_complexity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SqlComplexity {
    Basic,
    Aggregation,
    SingleJoin,
    MultipleJoins,
    Subqueries,
    WindowFunctions,
    SetOperations,
    CommonTableExpressions,
}

impl SqlComplexity {
    /// The value in the column.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Basic => "basic SQL",
            Self::Aggregation => "aggregation",
            Self::SingleJoin => "single join",
            Self::MultipleJoins => "multiple_joins",
            Self::Subqueries => "subqueries",
            Self::WindowFunctions => "window functions",
            Self::SetOperations => "set operations",
            Self::CommonTableExpressions => "CTEs",
        }
    }

    /// The value of `sql_complexity_description`.
    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::Basic => "basic SQL with a simple select statement",
            Self::Aggregation => {
                "aggregation functions (COUNT, SUM, AVG, MIN, MAX, etc.), and HAVING clause"
            }
            Self::SingleJoin => "only one join (specify inner, outer, cross)",
            Self::MultipleJoins => "two or more joins (specify inner, outer, cross)",
            Self::Subqueries => "subqueries, including correlated and nested subqueries",
            Self::WindowFunctions => {
                "window functions (e.g., ROW_NUMBER, LEAD, LAG, RANk, NTILE, PERCENT_RANK, etc.) with \
                 partitioning and ordering"
            }
            Self::SetOperations => "UNION, INTERSECT and EXCEPT",
            Self::CommonTableExpressions => "common table expressions, recursive ones included",
        }
    }
}

/// gretel's `sql_task_type`, of queries; the data set also has statements that change something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SqlTaskType {
    Analytics,
    Retrieval,
}

impl SqlTaskType {
    /// The value in the column.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Analytics => "analytics and reporting",
            Self::Retrieval => "data retrieval",
        }
    }

    /// The value of `sql_task_type_description`.
    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::Analytics => "generating reports, dashboards, and analytical insights",
            Self::Retrieval => {
                "query tables to retrieve specific information: selecting, filtering and sorting"
            }
        }
    }
}

/// The four levels of SynSQL (Li et al., "OmniSQL: Synthesizing High-quality Text-to-SQL Data at Scale",
/// 2025, <https://arxiv.org/abs/2503.02240>), which prompts there ask for; here they are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Simple,
    Moderate,
    Complex,
    HighlyComplex,
}

impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Simple => "Simple",
            Self::Moderate => "Moderate",
            Self::Complex => "Complex",
            Self::HighlyComplex => "Highly Complex",
        })
    }
}

/// What a statement is made of. Everything is counted over the whole statement, subqueries included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Features {
    /// Joins; a comma between tables is one.
    pub(crate) joins: usize,
    /// Calls of aggregate functions that are not windows.
    pub(crate) aggregates: usize,
    pub(crate) group_bys: usize,
    pub(crate) havings: usize,
    pub(crate) windows: usize,
    /// UNION, INTERSECT and EXCEPT.
    pub(crate) set_operations: usize,
    /// SELECTs inside of expressions and in the place of tables.
    pub(crate) subqueries: usize,
    pub(crate) common_table_expressions: usize,
    pub(crate) recursive: bool,
    pub(crate) cases: usize,
    /// What makes a poor example.
    pub(crate) flaws: BTreeSet<Flaw>,
}

/// What makes a poor example of SQL; its text is a reason for people.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Flaw {
    /// `SELECT *` without any condition, grouping or join.
    WholeTable,
    /// Tables are combined with no condition between them.
    CrossJoin,
    /// No table is read.
    Constant,
    /// Rows are cut off in no order.
    LimitWithoutOrder,
    /// A common table expression, by name, that nothing uses.
    UnusedExpression(String),
    /// A joined table, by name, of which no column is used, not even to join it.
    UnusedTable(String),
    /// A function, by name, that returns something else each time or each day.
    Unrepeatable(String),
}

impl fmt::Display for Flaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WholeTable => formatter.write_str("the statement only reads a whole table"),
            Self::CrossJoin => formatter.write_str("tables are joined without a condition"),
            Self::Constant => formatter.write_str("the statement reads no table"),
            Self::LimitWithoutOrder => formatter.write_str("there is a LIMIT without an ORDER BY"),
            Self::UnusedExpression(name) => {
                write!(formatter, "the common table expression `{name}` is not used")
            }
            Self::UnusedTable(name) => {
                write!(formatter, "the table `{name}` is joined and no column of it is used")
            }
            Self::Unrepeatable(name) => {
                write!(formatter, "the result depends on when it is computed: `{name}`")
            }
        }
    }
}

impl Features {
    /// Takes a statement apart.
    pub(crate) fn of(query: &Query) -> Self {
        let mut walk = Walk::default();
        let _: ControlFlow<()> = query.visit(&mut walk);
        let mut features = walk.features;
        // The statement itself and the bodies of its expressions are no subqueries.
        features.subqueries =
            walk.queries.saturating_sub(1 + features.common_table_expressions + walk.parentheses);
        for name in walk.expressions {
            if !walk.relations.contains(&name.to_lowercase()) {
                features.flaws.insert(Flaw::UnusedExpression(name));
            }
        }
        if walk.relations.is_empty() {
            features.flaws.insert(Flaw::Constant);
        }
        if let SetExpr::Select(select) = query.body.as_ref()
            && query.with.is_none()
            && query.limit_clause.is_none()
            && selects_everything(select)
            && select.selection.is_none()
            && features.joins + features.group_bys == 0
        {
            features.flaws.insert(Flaw::WholeTable);
        }
        features
    }

    /// The most demanding of the statement's constructs, in the order of gretel's own labels: a window
    /// function inside of a common table expression counts as the window function.
    pub(crate) fn complexity(&self) -> SqlComplexity {
        if self.windows > 0 {
            SqlComplexity::WindowFunctions
        } else if self.common_table_expressions > 0 {
            SqlComplexity::CommonTableExpressions
        } else if self.set_operations > 0 {
            SqlComplexity::SetOperations
        } else if self.subqueries > 0 {
            SqlComplexity::Subqueries
        } else if self.joins > 1 {
            SqlComplexity::MultipleJoins
        } else if self.joins == 1 {
            SqlComplexity::SingleJoin
        } else if self.aggregates + self.group_bys > 0 {
            SqlComplexity::Aggregation
        } else {
            SqlComplexity::Basic
        }
    }

    /// Reporting summarizes; retrieval finds rows.
    pub(crate) fn task_type(&self) -> SqlTaskType {
        if self.aggregates + self.group_bys + self.windows > 0 {
            SqlTaskType::Analytics
        } else {
            SqlTaskType::Retrieval
        }
    }

    /// SynSQL's level, by points: 1 for each join, for the first aggregate, for GROUP BY, for HAVING and for
    /// the first CASE; 2 for each subquery, set operation, common table expression and window function; 3
    /// more for recursion. Up to 1 is Simple, up to 3 Moderate, up to 6 Complex.
    ///
    /// The bounds follow what SynSQL's prompts name for each level: one table with conditions or an
    /// aggregate; joins with grouping; subqueries or several joins; several of the advanced constructs.
    pub(crate) fn level(&self) -> Level {
        let points = self.joins
            + self.aggregates.min(1)
            + self.group_bys.min(1)
            + self.havings
            + self.cases.min(1)
            + 2 * (self.subqueries
                + self.set_operations
                + self.common_table_expressions
                + self.windows)
            + if self.recursive { 3 } else { 0 };
        match points {
            0..=1 => Level::Simple,
            2..=3 => Level::Moderate,
            4..=6 => Level::Complex,
            _ => Level::HighlyComplex,
        }
    }
}

#[derive(Default)]
struct Walk {
    features: Features,
    queries: usize,
    /// Queries in parentheses in the place of a SELECT.
    parentheses: usize,
    /// The names of the common table expressions.
    expressions: Vec<String>,
    /// The names of everything read, in lower case.
    relations: BTreeSet<String>,
}

/// SQLite's aggregate functions (<https://www.sqlite.org/lang_aggfunc.html>).
const AGGREGATES: [&str; 12] = [
    "avg",
    "count",
    "group_concat",
    "max",
    "min",
    "string_agg",
    "sum",
    "total",
    "json_group_array",
    "json_group_object",
    "median",
    "percentile",
];

/// Functions whose value changes from call to call or from day to day.
const UNREPEATABLE: [&str; 6] =
    ["random", "randomblob", "current_date", "current_time", "current_timestamp", "now"];

impl Visitor for Walk {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.queries += 1;
        if let Some(with) = &query.with {
            self.features.recursive |= with.recursive;
            self.features.common_table_expressions += with.cte_tables.len();
            self.expressions.extend(
                with.cte_tables.iter().map(|expression| expression.alias.name.value.clone()),
            );
        }
        self.set_operations(&query.body);
        let limited = match &query.limit_clause {
            Some(LimitClause::LimitOffset { limit, .. }) => limit.is_some(),
            Some(LimitClause::OffsetCommaLimit { .. }) => true,
            None => false,
        };
        if limited && query.order_by.is_none() && !is_one_row(&query.body) {
            self.features.flaws.insert(Flaw::LimitWithoutOrder);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        let joins: usize = select.from.iter().map(|from| from.joins.len()).sum();
        self.features.joins += joins + select.from.len().saturating_sub(1);
        self.features.havings += usize::from(select.having.is_some());
        self.features.group_bys += usize::from(is_grouped(select));
        if lacks_condition(select) {
            self.features.flaws.insert(Flaw::CrossJoin);
        }
        for unused in unused_tables(select) {
            self.features.flaws.insert(Flaw::UnusedTable(unused));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, .. } = factor {
            self.relations.insert(last_part(name).to_lowercase());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        match expression {
            Expr::Case { .. } => self.features.cases += 1,
            Expr::Function(function) => {
                let name = last_part(&function.name).to_lowercase();
                if function.over.is_some() {
                    self.features.windows += 1;
                } else if is_aggregate(expression) {
                    self.features.aggregates += 1;
                }
                if UNREPEATABLE.contains(&name.as_str()) {
                    self.features.flaws.insert(Flaw::Unrepeatable(name));
                }
            }
            Expr::Value(value) => {
                let text = value.value.clone().into_string();
                if text.is_some_and(|text| text.eq_ignore_ascii_case("now")) {
                    self.features.flaws.insert(Flaw::Unrepeatable("now".to_owned()));
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

impl Walk {
    /// Counts the operators of one body; queries inside of it are visited by themselves.
    fn set_operations(&mut self, body: &SetExpr) {
        match body {
            SetExpr::SetOperation { left, right, .. } => {
                self.features.set_operations += 1;
                self.set_operations(left);
                self.set_operations(right);
            }
            SetExpr::Query(_) => self.parentheses += 1,
            _ => {}
        }
    }
}

/// Whether a function call aggregates; `max(a, b)` of several values is not an aggregate in SQLite.
fn is_aggregate(expression: &Expr) -> bool {
    let Expr::Function(function) = expression else { return false };
    let name = last_part(&function.name).to_lowercase();
    let arguments = match &function.args {
        FunctionArguments::List(list) => list.args.len(),
        FunctionArguments::None | FunctionArguments::Subquery(_) => 0,
    };
    function.over.is_none()
        && AGGREGATES.contains(&name.as_str())
        && (arguments < 2 || !["max", "min"].contains(&name.as_str()))
}

fn is_grouped(select: &Select) -> bool {
    match &select.group_by {
        GroupByExpr::All(_) => true,
        GroupByExpr::Expressions(expressions, _) => !expressions.is_empty(),
    }
}

/// Whether the result can only have one row: an aggregate over everything.
fn is_one_row(body: &SetExpr) -> bool {
    let SetExpr::Select(select) = body else { return false };
    !is_grouped(select)
        && select.projection.iter().any(|item| match item {
            SelectItem::UnnamedExpr(expression)
            | SelectItem::ExprWithAlias { expr: expression, .. } => is_aggregate(expression),
            _ => false,
        })
}

fn selects_everything(select: &Select) -> bool {
    matches!(select.projection.as_slice(), [SelectItem::Wildcard(_)]) && select.distinct.is_none()
}

/// Whether tables stand side by side and nothing says which rows belong together.
fn lacks_condition(select: &Select) -> bool {
    let conditioned = |join: &Join| match constraint(join) {
        Some(JoinConstraint::None) | None => false,
        Some(_) => true,
    };
    let crossed = |join: &Join| {
        !conditioned(join)
            // A table that a function makes depends on its arguments.
            && matches!(join.relation, TableFactor::Table { args: None, .. } | TableFactor::Derived { .. })
            && !matches!(&join.relation, TableFactor::Derived { subquery, .. } if is_one_row(&subquery.body))
            && !matches!(join.join_operator, JoinOperator::CrossApply | JoinOperator::OuterApply)
    };
    let joins = select.from.iter().flat_map(|from| &from.joins).any(crossed);
    (joins || select.from.len() > 1) && select.selection.is_none()
}

/// The names of joined tables that no column is qualified with. Nothing is said where a column is not
/// qualified or all columns are selected, because it may be of any table.
fn unused_tables(select: &Select) -> Vec<String> {
    #[derive(Default)]
    struct Names {
        qualifiers: BTreeSet<String>,
        plain: bool,
    }
    impl Visitor for Names {
        type Break = ();
        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            match expression {
                Expr::Identifier(_) => self.plain = true,
                Expr::CompoundIdentifier(parts) => {
                    if let [.., table, _] = parts.as_slice() {
                        self.qualifiers.insert(table.value.to_lowercase());
                    }
                }
                _ => {}
            }
            ControlFlow::Continue(())
        }
    }
    let factors: Vec<&TableFactor> = select
        .from
        .iter()
        .flat_map(|from| {
            std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation))
        })
        .collect();
    if factors.len() < 2 {
        return Vec::new();
    }
    let mut names = Names::default();
    let _: ControlFlow<()> = select.visit(&mut names);
    for item in &select.projection {
        match item {
            SelectItem::Wildcard(_) => names.plain = true,
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                names.qualifiers.insert(last_part(name).to_lowercase());
            }
            _ => {}
        }
    }
    let by_name = select.from.iter().flat_map(|from| &from.joins).any(|join| {
        matches!(constraint(join), Some(JoinConstraint::Using(_) | JoinConstraint::Natural))
    });
    if names.plain || by_name {
        return Vec::new();
    }
    let alias = |factor: &TableFactor| match factor {
        TableFactor::Table { name, alias, .. } => {
            Some(alias.as_ref().map_or_else(|| last_part(name), |alias| alias.name.value.clone()))
        }
        _ => None,
    };
    let unused = |name: &String| !names.qualifiers.contains(&name.to_lowercase());
    factors.into_iter().filter_map(alias).filter(unused).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::statement::parse_query;

    fn of(sql: &str) -> Features {
        Features::of(&parse_query(sql).unwrap())
    }

    #[test]
    fn statements_have_gretels_labels_and_synsqls_levels() {
        use Level::{Complex, HighlyComplex, Moderate, Simple};
        use SqlComplexity as Label;
        use SqlTaskType::{Analytics, Retrieval};
        for (sql, label, task, level) in [
            ("SELECT a FROM t WHERE b > 1 ORDER BY a LIMIT 3", Label::Basic, Retrieval, Simple),
            ("SELECT max(a, b) FROM t", Label::Basic, Retrieval, Simple),
            ("SELECT COUNT(*) FROM t", Label::Aggregation, Analytics, Simple),
            ("SELECT a, SUM(b) FROM t GROUP BY a", Label::Aggregation, Analytics, Moderate),
            ("SELECT t.a FROM t JOIN u ON t.a = u.a", Label::SingleJoin, Retrieval, Simple),
            ("SELECT t.a FROM t, u WHERE t.a = u.a", Label::SingleJoin, Retrieval, Simple),
            (
                "SELECT t.a, SUM(u.b) FROM t JOIN u ON t.a = u.a JOIN v ON v.a = u.a GROUP BY t.a \
                 HAVING SUM(u.b) > 2",
                Label::MultipleJoins,
                Analytics,
                Complex,
            ),
            (
                "SELECT a FROM t WHERE a IN (SELECT a FROM u)",
                Label::Subqueries,
                Retrieval,
                Moderate,
            ),
            ("SELECT s.a FROM (SELECT a FROM t) AS s", Label::Subqueries, Retrieval, Moderate),
            ("SELECT a FROM t UNION SELECT a FROM u", Label::SetOperations, Retrieval, Moderate),
            (
                "SELECT a, RANK() OVER (PARTITION BY b ORDER BY c) FROM t",
                Label::WindowFunctions,
                Analytics,
                Moderate,
            ),
            (
                "WITH s AS (SELECT a, SUM(b) AS b FROM t GROUP BY a) SELECT s.a FROM s JOIN u ON u.a = s.a",
                Label::CommonTableExpressions,
                Analytics,
                Complex,
            ),
            (
                "WITH s AS (SELECT a, RANK() OVER (ORDER BY b) AS r FROM t), v AS (SELECT a FROM u) \
                 SELECT s.a FROM s JOIN v ON v.a = s.a WHERE s.r < (SELECT AVG(b) FROM t)",
                Label::WindowFunctions,
                Analytics,
                HighlyComplex,
            ),
        ] {
            let features = of(sql);
            assert_eq!(features.complexity(), label, "{sql}");
            assert_eq!(features.task_type(), task, "{sql}");
            assert_eq!(features.level(), level, "{sql}: {features:?}");
            assert_eq!(features.flaws, BTreeSet::new(), "{sql}");
        }
    }

    #[test]
    fn parentheses_are_no_subqueries() {
        for sql in [
            "SELECT a FROM t UNION SELECT a FROM u EXCEPT SELECT a FROM v",
            "WITH s AS (SELECT a FROM t) SELECT a FROM s",
            "(SELECT a FROM t)",
            "(SELECT a FROM t) UNION (SELECT a FROM u)",
        ] {
            assert_eq!(of(sql).subqueries, 0, "{sql}");
        }
        assert_eq!(
            of("SELECT a FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.a = t.a)").subqueries,
            1
        );
    }

    #[test]
    fn flaws_are_named() {
        let text =
            |sql: &str| -> Vec<String> { of(sql).flaws.iter().map(ToString::to_string).collect() };
        for (sql, flaw) in [
            ("SELECT * FROM t", "the statement only reads a whole table"),
            ("SELECT t.a, u.a FROM t, u", "tables are joined without a condition"),
            ("SELECT t.a, u.a FROM t CROSS JOIN u", "tables are joined without a condition"),
            ("SELECT t.a, u.a FROM t JOIN u", "tables are joined without a condition"),
            ("SELECT 1 + 1", "the statement reads no table"),
            ("SELECT a FROM t LIMIT 3", "there is a LIMIT without an ORDER BY"),
            (
                "WITH s AS (SELECT a FROM t) SELECT a FROM t",
                "the common table expression `s` is not used",
            ),
            (
                "SELECT t.a FROM t JOIN u AS x ON t.a = t.b",
                "the table `x` is joined and no column of it is used",
            ),
            (
                "SELECT a FROM t WHERE b > date('now', '-1 year')",
                "the result depends on when it is computed: `now`",
            ),
            (
                "SELECT a FROM t WHERE b > CURRENT_DATE",
                "the result depends on when it is computed: `current_date`",
            ),
        ] {
            assert_eq!(text(sql), [flaw], "{sql}");
        }
        for sql in [
            "SELECT * FROM t WHERE a = 1",
            "SELECT COUNT(*) FROM t LIMIT 1",
            "SELECT t.a FROM t, u WHERE t.a = u.a",
            "SELECT a FROM t CROSS JOIN (SELECT AVG(b) AS m FROM t) WHERE b > m",
            "SELECT t.a FROM t JOIN u USING (a)",
            "SELECT u.*, t.a FROM t JOIN u ON t.a > 1",
        ] {
            assert_eq!(text(sql), [""; 0], "{sql}");
        }
    }
}
