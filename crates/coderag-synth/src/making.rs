//! From a candidate to a row: the model's answer, its parts, the pair, and the gates that need no other row.

use std::collections::BTreeMap;

use coderag_core::{ChatRequest, FinishReason, Sampling};
use serde_json::{Map, Value, json};

use crate::asking::{Asker, Refusal};
use crate::config::{Category, PartKind, SynthConfig};
use crate::gate::contamination::Contamination;
use crate::gate::duplicates::{Content, is_same};
use crate::gate::language::ExpectedLanguage;
use crate::gate::{label, language, secrets, syntax};
use crate::prompt::{Prompt, values};
use crate::row::{Gate, RejectedRow, Row};
use crate::seed::schema::SchemaSeed;
use crate::sql::classify::{Features, Flaw};
use crate::sql::execution::Databases;
use crate::sql::gretel::GretelRow;
use crate::sql::schema::Schema;
use crate::sql::statement::parse_query;
use crate::task::{Candidate, Seed, Task};
use crate::{CodeLanguage, Result, answer};

/// What became of a candidate.
#[derive(Debug)]
pub(crate) enum Made {
    /// It passed; only earlier rows can stand in its way.
    Row(Box<Row>),
    /// A gate turned it away.
    Rejected(Box<RejectedRow>),
    /// The model did not answer.
    Failed(String),
    /// Nothing more is asked in this call.
    Stopped,
}

/// Everything that makes rows of candidates. Any number of threads share it.
pub(crate) struct Maker<'a> {
    pub(crate) config: &'a SynthConfig,
    pub(crate) tasks: &'a [Task<'a>],
    pub(crate) prompts: &'a GatePrompts,
    pub(crate) language: &'a ExpectedLanguage,
    pub(crate) contamination: &'a Contamination<'a>,
    pub(crate) asker: &'a Asker<'a>,
}

/// The prompts that gates ask with.
#[derive(Debug)]
pub(crate) struct GatePrompts {
    pub(crate) label: Option<Prompt>,
    pub(crate) second_opinion: Option<Prompt>,
    pub(crate) consistency: Option<Prompt>,
    pub(crate) domain: Option<Prompt>,
}

impl GatePrompts {
    /// Reads those that the settings use.
    pub(crate) fn load(config: &SynthConfig) -> Result<Self> {
        let load = |wanted: bool, file| {
            wanted.then(|| Prompt::load(&config.prompts.join(file))).transpose()
        };
        let gates = &config.gates;
        let sql = config.tasks.iter().any(|task| task.category == Category::TextToSql);
        let second = match &gates.label.second_opinion {
            Some(file) => load(gates.label.enabled, file)?,
            None => None,
        };
        Ok(Self {
            label: load(gates.label.enabled, &gates.label.prompt)?,
            second_opinion: second,
            consistency: load(sql && gates.consistency.enabled, &gates.consistency.prompt)?,
            domain: load(sql, &config.domain_prompt)?,
        })
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Prompt> {
        [&self.label, &self.second_opinion, &self.consistency, &self.domain].into_iter().flatten()
    }
}

/// Why a candidate is no row.
enum No {
    Rejected(Gate, String),
    Failed(String),
    Stopped,
    Error(crate::Error),
}

impl From<Refusal> for No {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Failed(reason) => Self::Failed(reason),
            Refusal::Stopped => Self::Stopped,
        }
    }
}

impl From<crate::Error> for No {
    fn from(error: crate::Error) -> Self {
        Self::Error(error)
    }
}

/// What a candidate has come to so far.
#[derive(Default)]
struct Draft {
    answer: String,
    anchor: String,
    positive: String,
}

impl Maker<'_> {
    /// Makes the candidate of a task with this number.
    pub(crate) fn make(&self, task: &Task<'_>, number: u64) -> Result<Made> {
        let mut candidate = task.candidate(number)?;
        let mut draft = Draft::default();
        let result = self.pass(task, &mut candidate, &mut draft);
        let Candidate { id, language, source, meta, .. } = candidate;
        let (name, category) = (task.config.name.clone(), task.config.category);
        let Draft { mut answer, anchor, positive } = draft;
        if self.config.gates.secrets {
            answer = secrets::scrub(&answer).text;
        }
        let row = |gretel| Row {
            id,
            task: name,
            category,
            anchor,
            positive,
            language,
            source,
            meta,
            answer,
            gretel,
        };
        Ok(match result {
            Ok(gretel) => Made::Row(Box::new(row(gretel))),
            Err(No::Rejected(gate, reason)) => {
                Made::Rejected(Box::new(row(None).turned_away(gate, reason)))
            }
            Err(No::Failed(reason)) => Made::Failed(reason),
            Err(No::Stopped) => Made::Stopped,
            Err(No::Error(error)) => return Err(error),
        })
    }

    /// Leads a candidate through the gates, those that cost nothing first.
    fn pass(
        &self,
        task: &Task<'_>,
        candidate: &mut Candidate<'_>,
        draft: &mut Draft,
    ) -> Result<Option<GretelRow>, No> {
        let response = self.asker.ask(&candidate.request)?;
        draft.answer = response.text;
        if response.finish_reason == FinishReason::Length {
            let reason =
                format!("it was cut off after {} tokens", response.usage.completion_tokens);
            return Err(No::Rejected(Gate::Answer, reason));
        }
        let mut parts = answer::parts(&draft.answer, &task.config.answer)
            .map_err(|reason| No::Rejected(Gate::Answer, reason))?;
        self.scrub(&mut parts, &mut candidate.meta);
        self.check_parts(task, candidate.language, &parts)?;
        self.check_changed(task, candidate, &parts)?;
        for (name, part) in &parts {
            candidate.values.insert(name.clone(), part.as_str().into());
        }
        (draft.anchor, draft.positive) = task.pair(&candidate.values)?;
        let (anchor, positive) = (&draft.anchor, &draft.positive);
        let length = &self.config.gates.length;
        for (name, text, limits) in
            [("anchor", anchor, length.anchor), ("positive", positive, length.positive)]
        {
            if length.enabled {
                let reject =
                    |reason| No::Rejected(Gate::Length, format!("the {name} has {reason}"));
                limits.check(text).map_err(reject)?;
            }
        }

        if let Some(leak) = self.contamination.check(&[anchor, positive])? {
            return Err(No::Rejected(Gate::Contamination, leak.to_string()));
        }
        let sql =
            parts.iter().find(|(name, _)| task.config.answer.get(*name) == Some(&PartKind::Sql));
        let query = match (sql, candidate.seed) {
            (Some((_, sql)), Seed::Schema(schema)) => {
                Some(self.execute(schema, sql, &mut candidate.meta)?)
            }
            _ => None,
        };
        if let (Some(query), Seed::Schema(schema)) = (&query, candidate.seed)
            && task.config.category == Category::TextToSql
        {
            self.repeat(schema, anchor, query, candidate)?;
        }
        self.label(task, candidate, anchor, positive)?;
        match (query, candidate.seed) {
            (Some(query), Seed::Schema(schema)) if task.config.category == Category::TextToSql => {
                Ok(Some(self.gretel(schema, anchor, &parts, query)?))
            }
            _ => Ok(None),
        }
    }

    /// Replaces secrets and personal data by placeholders.
    fn scrub(&self, parts: &mut BTreeMap<String, String>, meta: &mut Map<String, Value>) {
        if !self.config.gates.secrets {
            return;
        }
        let mut found = Vec::new();
        for part in parts.values_mut() {
            let scrubbed = secrets::scrub(part);
            if !scrubbed.found.is_empty() {
                found.extend(scrubbed.found);
                *part = scrubbed.text;
            }
        }
        if !found.is_empty() {
            found.sort_unstable();
            found.dedup();
            meta.insert("scrubbed".to_owned(), json!(found));
        }
    }

    fn check_parts(
        &self,
        task: &Task<'_>,
        code_language: CodeLanguage,
        parts: &BTreeMap<String, String>,
    ) -> Result<(), No> {
        let gates = &self.config.gates;
        for (name, part) in parts {
            let reject = |gate| {
                move |reason: String| No::Rejected(gate, format!("the part `{name}`: {reason}"))
            };
            match task.config.answer.get(name) {
                Some(PartKind::Text) if gates.language => {
                    self.language.check(part).map_err(reject(Gate::Language))?;
                    language::chat_leftover(part).map_err(reject(Gate::Language))?;
                    language::prompt_leak(part).map_err(reject(Gate::Language))?;
                }
                Some(PartKind::Code) if gates.syntax => {
                    syntax::check(code_language, part).map_err(reject(Gate::Syntax))?;
                    syntax::placeholder(code_language, part).map_err(reject(Gate::Syntax))?;
                }
                Some(PartKind::Sql) if gates.syntax => {
                    syntax::check(CodeLanguage::Sql, part).map_err(reject(Gate::Syntax))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Small models often give back the code that they were to change.
    fn check_changed(
        &self,
        task: &Task<'_>,
        candidate: &Candidate<'_>,
        parts: &BTreeMap<String, String>,
    ) -> Result<(), No> {
        let Seed::Code(seed) = candidate.seed else { return Ok(()) };
        if !self.config.gates.unchanged {
            return Ok(());
        }
        let code = |code| Content::Code(candidate.language, code);
        let is_code = |name: &str| task.config.answer.get(name) == Some(&PartKind::Code);
        let mut parts = parts.iter();
        match parts.find(|(name, part)| is_code(name) && is_same(code(part), code(&seed.code))) {
            Some((name, _)) => {
                let reason = format!("the part `{name}` is the code that was given, unchanged");
                Err(No::Rejected(Gate::Unchanged, reason))
            }
            None => Ok(()),
        }
    }

    /// Runs the query on databases of the schema.
    fn execute(
        &self,
        schema: &SchemaSeed,
        sql: &str,
        meta: &mut Map<String, Value>,
    ) -> Result<Query, No> {
        let sql = sql.trim().trim_end_matches(';').trim_end().to_owned();
        let settings = &self.config.gates.execution;
        if !settings.enabled {
            return Ok(Query { sql, context: None, is_empty: true });
        }
        let reject = |reason: String| No::Rejected(Gate::Execution, reason);
        let databases = self.databases(schema, &[&sql])?;
        let execution = databases.run(&sql)?.map_err(|reason| reject(reason.to_string()))?;
        let empty = execution.is_empty();
        if empty && settings.reject_empty {
            return Err(reject("its result is empty".to_owned()));
        }
        if empty {
            meta.insert("empty_result".to_owned(), true.into());
        }
        meta.insert("tables".to_owned(), json!(execution.tables_used()));
        if let Ok(query) = parse_query(&sql) {
            let features = Features::of(&query);
            // What such a statement returns says nothing about it.
            let is_vain = |flaw: &&Flaw| matches!(flaw, Flaw::Unrepeatable(_) | Flaw::Constant);
            if let Some(flaw) = features.flaws.iter().find(is_vain) {
                return Err(reject(flaw.to_string()));
            }
            meta.insert("measured_complexity".to_owned(), features.level().to_string().into());
            if !features.flaws.is_empty() {
                let flaws: Vec<String> = features.flaws.iter().map(Flaw::to_string).collect();
                meta.insert("sql_flaws".to_owned(), json!(flaws));
            }
        }
        let context = databases.context_with_rows(CONTEXT_ROWS);
        Ok(Query { sql, context, is_empty: empty })
    }

    /// The databases that these statements run on.
    fn databases(&self, schema: &SchemaSeed, statements: &[&str]) -> Result<Databases, No> {
        let settings = &self.config.gates.execution;
        let tables = Schema::parse(&schema.context)
            .map_err(|reason| No::Rejected(Gate::Execution, reason))?;
        Ok(match &schema.database {
            Some(path) => Databases::live(path, &tables, &settings.limits)?,
            None => Databases::generated(&tables, statements, settings, self.config.seed)?,
        })
    }

    /// Has the model answer the question, which must give the result of the query.
    fn repeat(
        &self,
        schema: &SchemaSeed,
        question: &str,
        query: &Query,
        candidate: &mut Candidate<'_>,
    ) -> Result<(), No> {
        let settings = &self.config.gates.consistency;
        let Some(prompt) = &self.prompts.consistency else { return Ok(()) };
        if query.is_empty {
            let reason = "two results without rows tell nothing".to_owned();
            return Err(No::Rejected(Gate::Consistency, reason));
        }
        let mut reasons = Vec::new();
        for attempt in 0..settings.attempts {
            // The first answer is the most probable one, further ones vary.
            let temperature = if attempt == 0 { 0.0 } else { 0.7 };
            let seed = candidate.request.sampling.seed.wrapping_add(attempt);
            let request = ChatRequest {
                messages: prompt.render(&values([
                    ("question", question.into()),
                    ("context", schema.context.as_str().into()),
                ]))?,
                sampling: Sampling { temperature, top_p: 0.95, seed },
                max_tokens: settings.max_tokens,
                stop: Vec::new(),
            };
            let response = self.asker.ask(&request)?;
            let Ok(sql) = coderag_sql::extract(&response.text) else {
                reasons.push("asked again, the model gave no single statement".to_owned());
                continue;
            };
            // With the values that either statement compares with. The databases do not outlast the comparison,
            // as a process that is killed while it asks would leave them behind.
            let databases = self.databases(schema, &[&query.sql, &sql])?;
            match (databases.run(&query.sql)?, databases.run(&sql)?) {
                (Ok(first), Ok(again)) if first.agrees_with(&again) => {
                    candidate.meta.insert("consistent_after".to_owned(), (attempt + 1).into());
                    return Ok(());
                }
                (_, Ok(_)) => {
                    reasons.push(format!("asked again, the model's `{sql}` returns something else"))
                }
                (_, Err(reason)) => {
                    reasons.push(format!("asked again, the model's `{sql}` fails: {reason}"))
                }
            }
        }
        Err(No::Rejected(Gate::Consistency, reasons.join("; ")))
    }

    /// Has the model judge the pair, and where that fails once more with other words.
    fn label(
        &self,
        task: &Task<'_>,
        candidate: &mut Candidate<'_>,
        anchor: &str,
        positive: &str,
    ) -> Result<(), No> {
        let settings = &self.config.gates.label;
        let is_judged = settings.tasks.is_empty() || settings.tasks.contains(&task.config.name);
        let Some(prompt) = self.prompts.label.as_ref().filter(|_| is_judged) else { return Ok(()) };
        let mut values = candidate.values.clone();
        values.insert("task".to_owned(), task.config.name.as_str().into());
        values.insert("category".to_owned(), task.config.category.id().into());
        values.insert("anchor".to_owned(), anchor.into());
        values.insert("positive".to_owned(), positive.into());
        values.insert("code_language".to_owned(), candidate.language.to_string().into());
        let mut given = Vec::new();
        for prompt in [Some(prompt), self.prompts.second_opinion.as_ref()].into_iter().flatten() {
            let request = ChatRequest {
                messages: prompt.render(&values)?,
                // A judgement is not to depend on chance.
                sampling: Sampling::default(),
                max_tokens: LABEL_TOKENS,
                stop: Vec::new(),
            };
            let label = label::label_of(&self.asker.ask(&request)?.text);
            given.push(label.map_or_else(|| "none".to_owned(), |label| label.to_string()));
            candidate.meta.insert("labels".to_owned(), json!(given));
            if label.is_some_and(|label| settings.keep.contains(&label)) {
                return Ok(());
            }
        }
        Err(No::Rejected(Gate::Label, format!("the model's labels: {}", given.join(", "))))
    }

    /// The row in gretel's columns.
    fn gretel(
        &self,
        schema: &SchemaSeed,
        question: &str,
        parts: &BTreeMap<String, String>,
        query: Query,
    ) -> Result<GretelRow, No> {
        let (domain, domain_description) = self.domain(schema)?;
        let context = query.context.unwrap_or_else(|| schema.context.clone());
        let features =
            parse_query(&query.sql).map(|query| Features::of(&query)).unwrap_or_default();
        let (complexity, task_type) = (features.complexity(), features.task_type());
        Ok(GretelRow {
            // The row's number, which only the settlement knows.
            id: 0,
            domain,
            domain_description,
            sql_complexity: complexity.name().to_owned(),
            sql_complexity_description: complexity.description().to_owned(),
            sql_task_type: task_type.name().to_owned(),
            sql_task_type_description: task_type.description().to_owned(),
            sql_prompt: question.to_owned(),
            sql_context: context,
            sql: query.sql,
            sql_explanation: parts.get(EXPLANATION).cloned().unwrap_or_default(),
        })
    }

    /// What a schema is about: known from its source, or in the model's words.
    fn domain(&self, schema: &SchemaSeed) -> Result<(String, String), No> {
        if let Some(domain) = &schema.domain {
            return Ok(domain.clone());
        }
        let unknown = || (schema.name.clone(), String::new());
        let Some(prompt) = &self.prompts.domain else { return Ok(unknown()) };
        let request = ChatRequest {
            messages: prompt.render(&values([
                ("context", schema.context.as_str().into()),
                ("schema", schema.name.as_str().into()),
            ]))?,
            sampling: Sampling::default(),
            max_tokens: 64,
            stop: Vec::new(),
        };
        let response = self.asker.ask(&request)?;
        let wanted = ["domain", "description"].map(|name| (name.to_owned(), PartKind::Text));
        Ok(match answer::parts(&response.text, &wanted.into()) {
            Ok(mut parts) => {
                let mut take = |name| parts.remove(name).unwrap_or_default();
                (take("domain").to_lowercase(), take("description"))
            }
            Err(_) => unknown(),
        })
    }
}

/// The part of an answer that becomes gretel's `sql_explanation`.
const EXPLANATION: &str = "explanation";

/// Enough for `Label: 2`.
const LABEL_TOKENS: u32 = 8;

/// How many rows of each table gretel's `sql_context` shows.
const CONTEXT_ROWS: usize = 3;

/// A query that ran, if it was to.
struct Query {
    sql: String,
    /// The schema with rows, where they were generated.
    context: Option<String>,
    /// Whether it returned nothing.
    is_empty: bool,
}
