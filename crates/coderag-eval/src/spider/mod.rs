//! Spider's exact set match, with the parser, the normalisation, the ten partial scores and the
//! hardness levels of the official scripts (<https://github.com/taoyds/spider>,
//! <https://github.com/taoyds/test-suite-sql-eval>; Apache-2.0), written anew.
//!
//! The metric knows a small grammar. Valid SQL outside of it (`LEFT JOIN`, `<>`, `COUNT(*) AS c`) does
//! not parse and scores 0, values do not count, and neither does the order of columns. See
//! [`crate::structure`] for a match without these limits.

mod components;
mod hardness;
mod normalize;
mod parser;
mod schema;
mod sentence;
mod syntax;
mod tokenizer;
mod tree;

use std::collections::HashMap;

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use crate::execution::RowSlice;
use crate::python_value::Key;

pub use components::{Component, ComponentScore};
pub use hardness::Hardness;
pub use normalize::OfficialCrash;
pub use parser::parse;
pub use schema::{SchemaId, SpiderSchema, TablesEntry};
pub use syntax::{
    Aggregation, Arithmetic, ColumnUnit, Comparison, Condition, Conditions, From, Operand,
    Operator, OrderBy, Query, Select, TableUnit, ValueUnit,
};
pub use tree::tree;

/// Which of the two official scripts is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExactMatchVariant {
    /// taoyds/spider: a LIMIT is its number, and one that is none does not parse.
    Spider,
    /// taoyds/test-suite-sql-eval: every LIMIT is 1.
    TestSuite,
}

/// The exact set match of one prediction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExactMatch {
    /// Whether all components and the tables match.
    pub exact: bool,
    /// The scores of the components.
    pub partial: PartialScores,
    /// Whether the prediction is in the official grammar; one that is not counts as an empty query.
    pub prediction_parses: bool,
    /// Whether the official script ends with an exception at this prediction; it then does not match.
    pub official_crash: bool,
}

/// The scores of the ten components, in the order of [`Component::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartialScores(pub [ComponentScore; 10]);

impl PartialScores {
    /// The components with their scores.
    pub fn iter(&self) -> impl Iterator<Item = (Component, ComponentScore)> {
        Component::ALL.into_iter().zip(self.0)
    }
}

/// As the official script keeps them: by component, with the accuracy and the recall, which are always
/// equal to the F1.
impl Serialize for PartialScores {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Official {
            acc: u8,
            rec: u8,
            #[serde(flatten)]
            score: ComponentScore,
        }
        let mut map = serializer.serialize_map(Some(10))?;
        for (component, score) in self.iter() {
            let official = Official { acc: score.score, rec: score.score, score };
            map.serialize_entry(component.name(), &official)?;
        }
        map.end()
    }
}

/// A gold query, parsed once for all its predictions.
#[derive(Clone, Debug)]
pub struct GoldQuery {
    hardness: Hardness,
    normalized: Query,
}

impl GoldQuery {
    /// Parses a gold query; none where the official script could not use it.
    pub fn parse(sql: &str, schema: &SpiderSchema, variant: ExactMatchVariant) -> Option<Self> {
        let mut query = parse(sql, schema, variant)?;
        let hardness = Hardness::of(&query).ok()?;
        normalize::normalize(&mut query, schema).ok()?;
        Some(Self { hardness, normalized: query })
    }

    /// How hard the question is.
    pub fn hardness(&self) -> Hardness {
        self.hardness
    }

    /// Scores a prediction.
    pub fn score(&self, prediction: &PredictedQuery, schema: &SpiderSchema) -> ExactMatch {
        let comparison = (prediction.normalized.as_ref())
            .map_err(|crash| *crash)
            .and_then(|query| components::compare(query, &self.normalized, schema));
        let (exact, partial, official_crash) = match comparison {
            Ok(comparison) => (comparison.exact, PartialScores(comparison.partial), false),
            Err(OfficialCrash) => (false, PartialScores::default(), true),
        };
        ExactMatch { exact, partial, prediction_parses: prediction.parses, official_crash }
    }

    /// Whether the selected columns have the same names in both parse trees and the same values in both
    /// results, in the same order of rows (`res_map` of taoyds/spider). Of equal names the last counts.
    ///
    /// # Errors
    /// [`OfficialCrash`] where a result has fewer columns than its parse tree, or the prediction cannot
    /// be normalised.
    pub(crate) fn columns_match(
        &self,
        gold_rows: RowSlice<'_>,
        prediction: &PredictedQuery,
        prediction_rows: RowSlice<'_>,
    ) -> Result<bool, OfficialCrash> {
        let query = prediction.normalized.as_ref().map_err(|crash| *crash)?;
        let prediction = columns_by_name(query, prediction_rows)?;
        let gold = columns_by_name(&self.normalized, gold_rows)?;
        Ok(prediction == gold)
    }
}

/// The values of each selected unit, whose own aggregation is no part of its name there.
fn columns_by_name<'q, 'r>(
    query: &'q Query,
    rows: RowSlice<'r>,
) -> Result<HashMap<UnitName<'q>, Vec<Key<'r>>>, OfficialCrash> {
    let mut columns = HashMap::new();
    for (index, (_, unit)) in query.select.units.iter().enumerate() {
        let values = rows
            .iter()
            .map(|row| row.get(index).map(Key::of).ok_or(OfficialCrash))
            .collect::<Result<_, _>>()?;
        // The operator counts only where there is a second column.
        let operator = unit.second.as_ref().map(|_| unit.operator);
        columns.insert((operator, &unit.first, unit.second.as_ref()), values);
    }
    Ok(columns)
}

type UnitName<'q> = (Option<Arithmetic>, &'q ColumnUnit, Option<&'q ColumnUnit>);

/// A prediction, parsed and normalised.
#[derive(Clone, Debug)]
pub struct PredictedQuery {
    parses: bool,
    normalized: Result<Query, OfficialCrash>,
}

impl PredictedQuery {
    /// Parses a prediction; one outside of the grammar counts as an empty query.
    pub fn parse(sql: &str, schema: &SpiderSchema, variant: ExactMatchVariant) -> Self {
        let parsed = parse(sql, schema, variant);
        let parses = parsed.is_some();
        let mut query = parsed.unwrap_or_default();
        let normalized = normalize::normalize(&mut query, schema).map(|()| query);
        Self { parses, normalized }
    }

    /// Whether the prediction is in the official grammar.
    pub fn parses(&self) -> bool {
        self.parses
    }
}
