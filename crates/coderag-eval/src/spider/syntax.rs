//! The parse tree of Spider's grammar: what `process_sql.py` puts into dictionaries and tuples.
//!
//! The grammar knows one SELECT with joined tables, conditions without nesting, and at most one set
//! operation after it. Everything else does not parse, or parses to something else than was meant.

use super::schema::SchemaId;

/// A query: `sql` in the official script.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// The SELECT clause.
    pub select: Select,
    /// The FROM clause.
    pub from: From,
    /// The WHERE clause, empty when there is none.
    pub filter: Conditions,
    /// The GROUP BY clause, empty when there is none.
    pub group_by: Vec<ColumnUnit>,
    /// The HAVING clause, empty when there is none.
    pub having: Conditions,
    /// The ORDER BY clause.
    pub order_by: Option<OrderBy>,
    /// The LIMIT, as decimal digits: Python's integers have no bound.
    pub limit: Option<String>,
    /// The query after INTERSECT.
    pub intersect: Option<Box<Query>>,
    /// The query after EXCEPT.
    pub except: Option<Box<Query>>,
    /// The query after UNION.
    pub union: Option<Box<Query>>,
}

/// The SELECT clause.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Select {
    /// Whether DISTINCT stands there; none after normalisation.
    pub distinct: Option<bool>,
    /// What is selected: an aggregation around a value unit.
    pub units: Vec<(Aggregation, ValueUnit)>,
}

/// The FROM clause.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct From {
    /// The tables and subqueries.
    pub units: Vec<TableUnit>,
    /// All ON conditions, joined by AND.
    pub conditions: Conditions,
}

/// A table or a subquery in FROM.
#[derive(Clone, Debug, PartialEq)]
pub enum TableUnit {
    /// A table.
    Table(SchemaId),
    /// A subquery.
    Query(Box<Query>),
}

/// Conditions and the connectives between them.
///
/// They alternate where the query is well formed; the official script takes every second entry for a
/// condition whatever it is, so the list keeps what was parsed in its order.
pub type Conditions = Vec<Condition>;

/// An entry of [`Conditions`].
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// A comparison.
    Comparison(Comparison),
    /// AND.
    And,
    /// OR.
    Or,
}

/// A comparison: `cond_unit` in the official script.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Whether NOT stands before the operator.
    pub not: bool,
    /// The operator.
    pub operator: Operator,
    /// The left side.
    pub unit: ValueUnit,
    /// The right side; none after normalisation unless it is a query.
    pub first: Option<Operand>,
    /// The second value of BETWEEN.
    pub second: Option<Operand>,
}

/// The right side of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// A number.
    Number(f64),
    /// A string with its quotes, which are double ones.
    Text(String),
    /// A column.
    Column(ColumnUnit),
    /// A subquery.
    Query(Box<Query>),
}

/// One column, or two with an arithmetic operator between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueUnit {
    /// The operator.
    pub operator: Arithmetic,
    /// The first column.
    pub first: ColumnUnit,
    /// The second column.
    pub second: Option<ColumnUnit>,
}

/// A column with its aggregation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ColumnUnit {
    /// The aggregation.
    pub aggregation: Aggregation,
    /// The column.
    pub column: SchemaId,
    /// Whether DISTINCT stands before it; none after normalisation.
    pub distinct: Option<bool>,
}

/// The ORDER BY clause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderBy {
    /// The last direction that is written in it, which counts for all of it.
    pub descending: bool,
    /// What is ordered by.
    pub units: Vec<ValueUnit>,
}

macro_rules! keywords {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_meta])* $variant),+
        }

        impl $name {
            /// The keyword or mark that stands for it, in lowercase.
            pub fn of(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// Its number in the official script.
            pub fn number(self) -> usize {
                self as usize
            }
        }
    };
}

keywords! {
    /// `AGG_OPS` of the official script.
    Aggregation {
        /// No aggregation; the word itself is taken for it, too.
        None = "none",
        /// MAX.
        Max = "max",
        /// MIN.
        Min = "min",
        /// COUNT.
        Count = "count",
        /// SUM.
        Sum = "sum",
        /// AVG.
        Average = "avg",
    }
}

keywords! {
    /// `UNIT_OPS` of the official script.
    Arithmetic {
        /// No operator; the word itself is taken for it, too.
        None = "none",
        /// Subtraction.
        Minus = "-",
        /// Addition.
        Plus = "+",
        /// Multiplication.
        Times = "*",
        /// Division.
        Divide = "/",
    }
}

keywords! {
    /// `WHERE_OPS` of the official script.
    Operator {
        /// NOT, which is an operator where it stands twice.
        Not = "not",
        /// BETWEEN.
        Between = "between",
        /// Equality.
        Equal = "=",
        /// Greater.
        Greater = ">",
        /// Less.
        Less = "<",
        /// Greater or equal.
        GreaterOrEqual = ">=",
        /// Less or equal.
        LessOrEqual = "<=",
        /// Inequality; the grammar does not know `<>`.
        NotEqual = "!=",
        /// IN.
        In = "in",
        /// LIKE.
        Like = "like",
        /// IS.
        Is = "is",
        /// EXISTS.
        Exists = "exists",
    }
}
