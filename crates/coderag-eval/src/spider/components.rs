//! Exact set match: ten partial scores of which all must be full, and equal tables
//! (`Evaluator.eval_exact_match` of `evaluation.py`; Yu et al. 2018, <https://aclanthology.org/D18-1425>).

use std::collections::HashSet;

use serde::Serialize;

use super::normalize::OfficialCrash;
use super::schema::{SchemaId, SpiderSchema};
use super::syntax::{ColumnUnit, Comparison, Condition, Operand, Operator, Query, TableUnit};

/// The parts of a query that are compared, in the order of the official tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Component {
    /// The selected columns with their aggregations.
    #[serde(rename = "select")]
    Select,
    /// The selected columns.
    #[serde(rename = "select(no AGG)")]
    SelectNoAggregation,
    /// The conditions.
    #[serde(rename = "where")]
    Where,
    /// The columns of the conditions.
    #[serde(rename = "where(no OP)")]
    WhereNoOperator,
    /// The columns of GROUP BY.
    #[serde(rename = "group(no Having)")]
    GroupNoHaving,
    /// GROUP BY with HAVING.
    #[serde(rename = "group")]
    Group,
    /// ORDER BY with LIMIT.
    #[serde(rename = "order")]
    Order,
    /// The connectives of WHERE.
    #[serde(rename = "and/or")]
    AndOr,
    /// INTERSECT, UNION and EXCEPT with the queries after them.
    #[serde(rename = "IUEN")]
    SetOperations,
    /// The keywords that occur.
    #[serde(rename = "keywords")]
    Keywords,
}

impl Component {
    /// All components, in the order of the official tables.
    pub const ALL: [Self; 10] = [
        Self::Select,
        Self::SelectNoAggregation,
        Self::Where,
        Self::WhereNoOperator,
        Self::GroupNoHaving,
        Self::Group,
        Self::Order,
        Self::AndOr,
        Self::SetOperations,
        Self::Keywords,
    ];

    /// The name in the official tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Select => "select",
            Self::SelectNoAggregation => "select(no AGG)",
            Self::Where => "where",
            Self::WhereNoOperator => "where(no OP)",
            Self::GroupNoHaving => "group(no Having)",
            Self::Group => "group",
            Self::Order => "order",
            Self::AndOr => "and/or",
            Self::SetOperations => "IUEN",
            Self::Keywords => "keywords",
        }
    }
}

/// The score of one component of one prediction.
///
/// The official script gives full marks or none, and the same for accuracy, recall and F1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ComponentScore {
    /// 1 when the component matches, else 0.
    #[serde(rename = "f1")]
    pub score: u8,
    /// How many parts the gold query has.
    pub label_total: usize,
    /// How many parts the predicted query has.
    #[serde(rename = "pred_total")]
    pub prediction_total: usize,
}

impl ComponentScore {
    /// `get_scores` on counts of matching, predicted and gold parts.
    fn of(matching: usize, prediction_total: usize, label_total: usize) -> Self {
        let full = prediction_total == label_total && matching == prediction_total;
        Self { score: u8::from(full), label_total, prediction_total }
    }
}

/// The comparison of two normalised queries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Comparisons {
    /// The partial scores, in the order of [`Component::ALL`].
    pub(crate) partial: [ComponentScore; 10],
    /// Whether the whole query matches.
    pub(crate) exact: bool,
}

/// Compares two normalised queries.
///
/// # Errors
/// [`OfficialCrash`] where the official script ends with an exception: several unequal subqueries in
/// FROM, which it cannot sort, and misplaced conditions that hold a subquery.
pub(crate) fn compare(
    prediction: &Query,
    gold: &Query,
    schema: &SpiderSchema,
) -> Result<Comparisons, OfficialCrash> {
    let (select, select_no_aggregation) = select(prediction, gold);
    let (filter, filter_no_operator) = filter(prediction, gold);
    let partial = [
        select,
        select_no_aggregation,
        filter,
        filter_no_operator,
        group_no_having(prediction, gold, schema),
        group(prediction, gold),
        order(prediction, gold),
        and_or(prediction, gold)?,
        set_operations(prediction, gold, schema)?,
        keyword_score(prediction, gold),
    ];
    let mut exact = partial.iter().all(|score| score.score == 1);
    if exact && !gold.from.units.is_empty() {
        let (label_tables, label_queries) = tables(gold)?;
        let (prediction_tables, prediction_queries) = tables(prediction)?;
        exact = label_tables == prediction_tables && label_queries == prediction_queries;
    }
    Ok(Comparisons { partial, exact })
}

/// The number of `units` that also are in `others`, each of which counts once.
fn matching<T: PartialEq>(units: &[T], others: &[T]) -> usize {
    let mut left: Vec<&T> = others.iter().collect();
    let mut count = 0;
    for unit in units {
        if let Some(position) = left.iter().position(|other| *other == unit) {
            left.remove(position);
            count += 1;
        }
    }
    count
}

fn select(prediction: &Query, gold: &Query) -> (ComponentScore, ComponentScore) {
    let (prediction, gold) = (&prediction.select.units, &gold.select.units);
    let bare = |units: &[(_, super::syntax::ValueUnit)]| -> Vec<_> {
        units.iter().map(|(_, unit)| unit.clone()).collect()
    };
    let score = |count| ComponentScore::of(count, prediction.len(), gold.len());
    (score(matching(prediction, gold)), score(matching(&bare(prediction), &bare(gold))))
}

/// Every second entry of the condition list, which is a comparison after normalisation.
fn comparisons(conditions: &[Condition]) -> Vec<&Comparison> {
    (conditions.iter().step_by(2))
        .filter_map(|entry| match entry {
            Condition::Comparison(comparison) => Some(comparison),
            Condition::And | Condition::Or => None,
        })
        .collect()
}

fn connectives(conditions: &[Condition]) -> impl Iterator<Item = &Condition> {
    conditions.iter().skip(1).step_by(2)
}

fn filter(prediction: &Query, gold: &Query) -> (ComponentScore, ComponentScore) {
    let (prediction, gold) = (comparisons(&prediction.filter), comparisons(&gold.filter));
    let bare = |comparisons: &[&Comparison]| -> Vec<_> {
        comparisons.iter().map(|comparison| comparison.unit.clone()).collect()
    };
    let score = |count| ComponentScore::of(count, prediction.len(), gold.len());
    (score(matching(&prediction, &gold)), score(matching(&bare(&prediction), &bare(&gold))))
}

/// Columns count without their tables here.
fn group_no_having(prediction: &Query, gold: &Query, schema: &SpiderSchema) -> ComponentScore {
    let columns = |query: &Query| -> Vec<String> {
        let name = |unit: &ColumnUnit| {
            let name = schema.name(unit.column);
            name.split('.').nth(1).unwrap_or(name).to_owned()
        };
        query.group_by.iter().map(name).collect()
    };
    let (prediction, gold) = (columns(prediction), columns(gold));
    ComponentScore::of(matching(&prediction, &gold), prediction.len(), gold.len())
}

fn group(prediction: &Query, gold: &Query) -> ComponentScore {
    let columns =
        |query: &Query| query.group_by.iter().map(|unit| unit.column).collect::<Vec<SchemaId>>();
    let (prediction_columns, gold_columns) = (columns(prediction), columns(gold));
    let equal = !prediction_columns.is_empty()
        && prediction_columns == gold_columns
        && prediction.having == gold.having;
    ComponentScore::of(
        usize::from(equal),
        usize::from(!prediction_columns.is_empty()),
        usize::from(!gold_columns.is_empty()),
    )
}

fn order(prediction: &Query, gold: &Query) -> ComponentScore {
    let equal = gold.order_by.is_some()
        && prediction.order_by == gold.order_by
        && prediction.limit.is_some() == gold.limit.is_some();
    ComponentScore::of(
        usize::from(equal),
        usize::from(prediction.order_by.is_some()),
        usize::from(gold.order_by.is_some()),
    )
}

/// The sets of connectives must be equal. Where the list has a comparison in place of a connective,
/// that is an element, too.
fn and_or(prediction: &Query, gold: &Query) -> Result<ComponentScore, OfficialCrash> {
    let (prediction, gold) = (set_of_connectives(prediction)?, set_of_connectives(gold)?);
    if prediction.len() == gold.len() && prediction.iter().all(|entry| gold.contains(entry)) {
        return Ok(ComponentScore { score: 1, label_total: 1, prediction_total: 1 });
    }
    // The totals are the wrong way round there.
    Ok(ComponentScore::of(0, gold.len(), prediction.len()))
}

fn set_of_connectives(query: &Query) -> Result<Vec<&Condition>, OfficialCrash> {
    let mut set: Vec<&Condition> = Vec::new();
    for entry in connectives(&query.filter) {
        if let Condition::Comparison(comparison) = entry {
            let operands = [&comparison.first, &comparison.second];
            if operands.iter().any(|operand| matches!(operand, Some(Operand::Query(_)))) {
                // A dictionary cannot be in a Python set.
                return Err(OfficialCrash);
            }
        }
        if !set.contains(&entry) {
            set.push(entry);
        }
    }
    Ok(set)
}

fn set_operations(
    prediction: &Query,
    gold: &Query,
    schema: &SpiderSchema,
) -> Result<ComponentScore, OfficialCrash> {
    let pairs = [
        (&prediction.intersect, &gold.intersect),
        (&prediction.except, &gold.except),
        (&prediction.union, &gold.union),
    ];
    let (mut count, mut prediction_total, mut label_total) = (0, 0, 0);
    for (prediction, gold) in pairs {
        prediction_total += usize::from(prediction.is_some());
        label_total += usize::from(gold.is_some());
        if let (Some(prediction), Some(gold)) = (prediction, gold) {
            count += usize::from(compare(prediction, gold, schema)?.exact);
        }
    }
    Ok(ComponentScore::of(count, prediction_total, label_total))
}

fn keyword_score(prediction: &Query, gold: &Query) -> ComponentScore {
    let (prediction, gold) = (keywords(prediction), keywords(gold));
    ComponentScore::of(prediction.intersection(&gold).count(), prediction.len(), gold.len())
}

/// `get_keywords`.
fn keywords(query: &Query) -> HashSet<&'static str> {
    let mut keywords = HashSet::new();
    let mut add = |present: bool, keyword| {
        if present {
            keywords.insert(keyword);
        }
    };
    add(!query.filter.is_empty(), "where");
    add(!query.group_by.is_empty(), "group");
    add(!query.having.is_empty(), "having");
    if let Some(order_by) = &query.order_by {
        add(true, if order_by.descending { "desc" } else { "asc" });
        add(true, "order");
    }
    add(query.limit.is_some(), "limit");
    add(query.except.is_some(), "except");
    add(query.union.is_some(), "union");
    add(query.intersect.is_some(), "intersect");
    for conditions in [&query.from.conditions, &query.filter, &query.having] {
        add(connectives(conditions).any(|entry| *entry == Condition::Or), "or");
        let comparisons = comparisons(conditions);
        let uses = |operator| comparisons.iter().any(|comparison| comparison.operator == operator);
        add(comparisons.iter().any(|comparison| comparison.not), "not");
        add(uses(Operator::In), "in");
        add(uses(Operator::Like), "like");
    }
    keywords
}

/// The tables of FROM, and the subquery in it with how often it occurs.
type FromTables<'q> = (Vec<SchemaId>, Option<(&'q Query, usize)>);

/// The tables of FROM in order, and the subquery in it.
fn tables(query: &Query) -> Result<FromTables<'_>, OfficialCrash> {
    let mut tables = Vec::new();
    let mut subquery: Option<(&Query, usize)> = None;
    for unit in &query.from.units {
        match (unit, &mut subquery) {
            (TableUnit::Table(table), _) => tables.push(*table),
            (TableUnit::Query(query), None) => subquery = Some((query, 1)),
            // Python sorts equal dictionaries, but no others.
            (TableUnit::Query(query), Some((first, count))) if **query == **first => *count += 1,
            (TableUnit::Query(_), Some(_)) => return Err(OfficialCrash),
        }
    }
    tables.sort_unstable();
    Ok((tables, subquery))
}
