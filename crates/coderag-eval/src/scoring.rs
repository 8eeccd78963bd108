//! Scoring of a file of predictions: exact set match, execution accuracy and structural match, question
//! by question and in parallel.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use coderag_core::{Progress, Unit};
use coderag_sql::{GuardedDatabase, TextDecoding};
use serde::Serialize;

use crate::execution::{
    ExecutionOptions, ScoredDatabase, Shape, by_columns, by_results, database_files, is_plain_name,
    limits,
};
use crate::files::Gold;
use crate::parallel::for_each;
use crate::spider::{
    ExactMatchVariant, GoldQuery, Hardness, PartialScores, PredictedQuery, SpiderSchema,
    TablesEntry,
};
use crate::structure::{self, NormalizationOptions, NormalizedQuery, SchemaColumns};
use crate::{Error, Outcome, Result};

/// What is scored, and how.
#[derive(Clone, Debug)]
pub struct ScoringOptions {
    /// Which official script is followed.
    pub variant: ExactMatchVariant,
    /// Whether to compute exact set match and structural match.
    pub exact_match: bool,
    /// Whether to run the queries.
    pub execution: bool,
    /// How they are run.
    pub running: ExecutionOptions,
    /// How many questions are scored at the same time.
    pub threads: usize,
}

impl ScoringOptions {
    /// Whether results are compared as taoyds/spider does, which is another way altogether.
    fn is_first_script(&self) -> bool {
        self.variant == ExactMatchVariant::Spider && self.running.compatibility.is_strict()
    }
}

/// Where the databases are.
#[derive(Clone, Debug)]
pub struct Databases {
    /// The folder that holds `name/name.sqlite` for each database.
    pub folder: PathBuf,
    /// Spider's `tables.json`, with its path for messages; exact set match needs it.
    pub tables: Option<(PathBuf, Vec<TablesEntry>)>,
}

/// The scores of one question.
#[derive(Clone, Debug, Serialize)]
pub struct QuestionScore {
    /// The place of the question, from 0.
    pub index: usize,
    /// The place of its interaction, from 0; all of a file without interactions are in one.
    #[serde(skip)]
    pub interaction: usize,
    /// The place in its interaction, from 0.
    #[serde(skip)]
    pub turn: usize,
    /// The database's name.
    pub db_id: String,
    /// How hard it is; none where the gold query is not in the official grammar.
    pub hardness: Option<Hardness>,
    /// Exact set match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact_match: Option<bool>,
    /// The scores of the ten components.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partial: Option<PartialScores>,
    /// Whether the gold query is in the official grammar.
    pub gold_parses: bool,
    /// Whether the prediction is in the official grammar.
    pub prediction_parses: bool,
    /// Structural match; none where one of both is not SQL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub structural_match: Option<bool>,
    /// Execution accuracy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution: Option<bool>,
    /// What came of running the prediction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// What SQLite or the guard said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The shape of the gold query's result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gold_shape: Option<Shape>,
    /// The shape of the prediction's result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prediction_shape: Option<Shape>,
    /// Whether the official script ends with an exception at this question.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub official_crash: bool,
    /// The gold query.
    pub gold: String,
    /// The prediction as it was given.
    pub prediction: String,
}

/// One question to score.
struct Question<'q> {
    index: usize,
    interaction: usize,
    turn: usize,
    gold: &'q Gold,
    prediction: &'q str,
}

/// What is known of one database.
struct Context {
    schema: SpiderSchema,
    entry: Option<TablesEntry>,
    columns: SchemaColumns,
    databases: Vec<ScoredDatabase>,
    /// Which of the databases the schema is read from.
    main: Option<usize>,
    /// What came of parsing each gold query, which often has many predictions.
    parsed: Mutex<HashMap<String, Arc<ParsedGold>>>,
}

/// A gold query as both matches need it.
struct ParsedGold {
    query: Option<GoldQuery>,
    structure: Option<NormalizedQuery>,
}

/// Scores predictions, which are in the order of the gold queries and in the same interactions.
///
/// # Errors
/// [`Error::CountsDiffer`] when they are not, [`Error::NoDatabase`] and [`Error::NoTablesEntry`] when
/// something is missing for a database, [`Error::Sql`] when a database cannot be used.
pub fn score(
    (gold_path, gold): (&Path, &[Vec<Gold>]),
    (prediction_path, predictions): (&Path, &[Vec<String>]),
    databases: &Databases,
    options: &ScoringOptions,
    progress: &dyn Progress,
) -> Result<Vec<QuestionScore>> {
    let gold_counts: Vec<usize> = gold.iter().map(Vec::len).collect();
    let prediction_counts: Vec<usize> = predictions.iter().map(Vec::len).collect();
    let total = |counts: &[usize]| counts.iter().sum::<usize>();
    if total(&gold_counts) == total(&prediction_counts) && gold_counts != prediction_counts {
        let differs = gold_counts.iter().zip(&prediction_counts).position(|(a, b)| a != b);
        return Err(Error::InteractionsDiffer {
            gold_path: gold_path.to_owned(),
            prediction_path: prediction_path.to_owned(),
            interaction: differs.unwrap_or_default() + 1,
        });
    }
    if gold_counts.is_empty() {
        return Err(Error::Empty { path: gold_path.to_owned() });
    }
    if gold_counts != prediction_counts {
        return Err(Error::CountsDiffer {
            gold_path: gold_path.to_owned(),
            gold: gold_counts.iter().sum(),
            prediction_path: prediction_path.to_owned(),
            predictions: prediction_counts.iter().sum(),
        });
    }
    let mut questions = Vec::new();
    for (interaction, (gold, predictions)) in gold.iter().zip(predictions).enumerate() {
        for (turn, (gold, prediction)) in gold.iter().zip(predictions).enumerate() {
            let index = questions.len();
            questions.push(Question { index, interaction, turn, gold, prediction });
        }
    }
    let mut contexts = HashMap::new();
    for question in &questions {
        let name = question.gold.database.as_str();
        if !contexts.contains_key(name) {
            contexts.insert(name, Context::open(name, databases, options)?);
        }
    }
    let task = progress.task(
        "scoring",
        Some(u64::try_from(questions.len()).unwrap_or(u64::MAX)),
        Unit::Items,
    );
    // What a prediction does to a database is there for later questions on it, so those go in order.
    let mut jobs: Vec<Vec<&Question<'_>>> = Vec::new();
    if options.running.compatibility.is_strict() {
        let mut by_database: BTreeMap<&str, Vec<&Question<'_>>> = BTreeMap::new();
        for question in &questions {
            by_database.entry(&question.gold.database).or_default().push(question);
        }
        jobs.extend(by_database.into_values());
    } else {
        jobs.extend(questions.iter().map(|question| vec![question]));
    }
    let scores = for_each(&jobs, options.threads, |job| {
        let score = |question: &&Question<'_>| {
            let context = contexts.get(question.gold.database.as_str())?;
            let score = context.score(question, options);
            task.advance(1);
            Some(score)
        };
        job.iter().filter_map(score).collect::<Result<Vec<_>>>()
    })?;
    let scores = scores.into_iter().collect::<Result<Vec<_>>>()?;
    let mut scores: Vec<QuestionScore> = scores.into_iter().flatten().collect();
    scores.sort_by_key(|score| score.index);
    Ok(scores)
}

impl Databases {
    /// The main file of a database.
    fn main_file(&self, name: &str) -> PathBuf {
        self.folder.join(name).join(format!("{name}.sqlite"))
    }

    /// What `tables.json` says of a database, where there is such a file.
    fn entry(&self, name: &str) -> Result<Option<&TablesEntry>> {
        let Some((path, entries)) = &self.tables else { return Ok(None) };
        // Of several entries the last counts, as in a Python dictionary.
        let entry = entries.iter().rfind(|entry| entry.db_id == name);
        let missing = || Error::NoTablesEntry { database: name.to_owned(), path: path.clone() };
        entry.ok_or_else(missing).map(Some)
    }

    /// The tables and columns of a database: from its file, as in the official script, or where that is
    /// missing from `tables.json`.
    fn table_columns(&self, name: &str) -> Result<Vec<(String, Vec<String>)>> {
        let file = self.main_file(name);
        match self.entry(name)? {
            _ if is_plain_name(name) && file.is_file() => {
                Ok(GuardedDatabase::open(&file, &limits(None))?.table_columns()?)
            }
            Some(entry) => Ok(entry.tables()),
            None => Err(Error::NoDatabase { database: name.to_owned(), path: file }),
        }
    }

    /// The schema by which the queries on a database are parsed.
    pub(crate) fn schema(&self, name: &str) -> Result<SpiderSchema> {
        let tables = self.table_columns(name)?;
        let tables = tables.iter().map(|(table, columns)| (table.as_str(), columns.as_slice()));
        Ok(SpiderSchema::new(tables, self.entry(name)?))
    }
}

impl Context {
    fn open(name: &str, databases: &Databases, options: &ScoringOptions) -> Result<Self> {
        let running = &options.running;
        let mut scored = Vec::new();
        if options.execution {
            if !is_plain_name(name) {
                let path = databases.main_file(name);
                return Err(Error::NoDatabase { database: name.to_owned(), path });
            }
            let files = if options.is_first_script() {
                vec![databases.main_file(name)]
            } else {
                database_files(&databases.folder, name)?
            };
            // The first script leaves Python's default, which is to fail.
            let text = match options.is_first_script() {
                true => TextDecoding::Refuse,
                false => TextDecoding::Ignore,
            };
            let timeout = running.statement_timeout();
            for file in files {
                scored.push(ScoredDatabase::open(&file, running.compatibility, text, timeout)?);
            }
        }
        let main_file = databases.main_file(name).canonicalize().ok();
        let main = scored.iter().position(|database| Some(database.path()) == main_file.as_deref());
        Ok(Self {
            schema: databases.schema(name)?,
            entry: databases.entry(name)?.cloned(),
            columns: databases.table_columns(name)?.into_iter().collect(),
            databases: scored,
            main,
            parsed: Mutex::default(),
        })
    }

    /// Parses a gold query, or takes what came of it before.
    fn parsed(
        &self,
        sql: &str,
        schema: &SpiderSchema,
        options: &ScoringOptions,
    ) -> Arc<ParsedGold> {
        // A poisoned lock would only mean that another thread panicked with it.
        let known = || self.parsed.lock().unwrap_or_else(PoisonError::into_inner);
        // A schema that a prediction changed may change again.
        let is_lasting = std::ptr::eq(schema, &self.schema);
        if let Some(parsed) = known().get(sql).filter(|_| is_lasting) {
            return Arc::clone(parsed);
        }
        let normalize =
            || structure::normalize(sql, &self.columns, NormalizationOptions::default()).ok();
        let parsed = Arc::new(ParsedGold {
            query: GoldQuery::parse(sql, schema, options.variant),
            structure: options.exact_match.then(normalize).flatten(),
        });
        if is_lasting {
            known().insert(sql.to_owned(), Arc::clone(&parsed));
        }
        parsed
    }

    /// The schema after what earlier predictions did to the database, where they could.
    fn changed_schema(&self) -> Option<SpiderSchema> {
        let tables = self.databases.get(self.main?)?.changed_table_columns()?.ok()?;
        Some(SpiderSchema::new(
            tables.iter().map(|(table, columns)| (table.as_str(), columns.as_slice())),
            self.entry.as_ref(),
        ))
    }

    fn score(&self, question: &Question<'_>, options: &ScoringOptions) -> Result<QuestionScore> {
        let strict = options.running.compatibility.is_strict();
        let gold_sql = question.gold.sql.as_str();
        let replaced;
        let prediction = if strict && options.variant == ExactMatchVariant::TestSuite {
            replaced = question.prediction.replace("value", "1");
            replaced.as_str()
        } else {
            question.prediction
        };
        let changed = if strict { self.changed_schema() } else { None };
        let schema = changed.as_ref().unwrap_or(&self.schema);
        let parsed = self.parsed(gold_sql, schema, options);
        let gold = parsed.query.as_ref();
        let predicted = PredictedQuery::parse(prediction, schema, options.variant);
        let mut score = QuestionScore {
            index: question.index,
            interaction: question.interaction,
            turn: question.turn,
            db_id: question.gold.database.clone(),
            hardness: gold.map(GoldQuery::hardness),
            exact_match: None,
            partial: None,
            gold_parses: gold.is_some(),
            prediction_parses: predicted.parses(),
            structural_match: None,
            execution: None,
            outcome: None,
            error: None,
            gold_shape: None,
            prediction_shape: None,
            official_crash: gold.is_none(),
            gold: gold_sql.to_owned(),
            prediction: question.prediction.to_owned(),
        };
        if options.exact_match {
            if let Some(gold) = gold {
                let exact_match = gold.score(&predicted, schema);
                score.official_crash |= exact_match.official_crash;
                score.partial = Some(exact_match.partial);
                score.exact_match = Some(exact_match.exact);
            } else {
                score.exact_match = Some(false);
            }
            let options = NormalizationOptions::default();
            let prediction = structure::normalize(question.prediction, &self.columns, options).ok();
            score.structural_match = parsed
                .structure
                .as_ref()
                .zip(prediction)
                .map(|(gold, prediction)| *gold == prediction);
        }
        if options.execution {
            let execution = match (&self.databases[..], gold) {
                ([database], Some(gold)) if options.is_first_script() => {
                    by_columns(database, (gold_sql, gold), (prediction, &predicted))?
                }
                _ => by_results(&self.databases, gold_sql, prediction, &options.running)?,
            };
            score.execution = Some(execution.outcome == Outcome::Correct);
            score.official_crash |= execution.official_crash;
            score.outcome = Some(execution.outcome);
            score.error = execution.message;
            score.gold_shape = execution.gold_shape;
            score.prediction_shape = execution.prediction_shape;
        }
        if strict && gold.is_none() {
            score.execution = score.execution.map(|_| false);
        }
        Ok(score)
    }
}
