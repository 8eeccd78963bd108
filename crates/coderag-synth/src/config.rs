//! The settings of a run; `configs/synth.toml` explains every key.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use coderag_core::{Sampling, config};
use coderag_llm::{EndpointConfig, GgufOptions};
use serde::{Deserialize, Serialize};

use crate::gate::GateSettings;
use crate::seed::SeedSettings;
use crate::{CodeLanguage, Error, Result};

/// The settings of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SynthConfig {
    /// Decides every choice: the order of the seeds, what is chosen for each candidate and how the model samples.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// The folder of the prompts; relative to the configuration's folder.
    #[serde(default = "default_prompts")]
    pub prompts: PathBuf,
    /// The model that writes.
    pub model: ModelConfig,
    /// How requests are sent.
    #[serde(default)]
    pub requests: RequestSettings,
    /// What the run may take.
    #[serde(default)]
    pub budget: Budget,
    /// What the tasks start from.
    #[serde(default)]
    pub seeds: SeedSettings,
    /// Lists from which each candidate gets one entry, by name: styles, levels.
    #[serde(default)]
    pub choices: BTreeMap<String, Vec<Choice>>,
    /// What a pair must pass.
    #[serde(default)]
    pub gates: GateSettings,
    /// How many rows a file of the output holds.
    #[serde(default = "default_rows_per_file")]
    pub rows_per_file: usize,
    /// A task ends short of its rows after this many candidates for each row wanted.
    #[serde(default = "default_candidates_per_row")]
    pub candidates_per_row: u32,
    /// The prompt's file that asks what a schema is about, in the folder of the prompts.
    #[serde(default = "default_domain_prompt")]
    pub domain_prompt: PathBuf,
    /// What is written.
    #[serde(rename = "task")]
    pub tasks: Vec<TaskConfig>,
}

/// The model that writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// A name from `coderag models list`, a GGUF file, or the name that the endpoint knows.
    pub name: String,
    /// The endpoint that has the model; without it the model runs in this process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointConfig>,
    /// How a model in this process is run.
    #[serde(default)]
    pub gguf: GgufOptions,
}

/// How requests are sent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RequestSettings {
    /// How many are in flight at once.
    pub in_flight: usize,
    /// The most that are begun in a minute; 0 for any number.
    pub per_minute: f64,
    /// The run stops when this many requests in a row have failed with all their repetitions.
    pub failures_in_a_row: u32,
}

impl Default for RequestSettings {
    fn default() -> Self {
        Self { in_flight: 8, per_minute: 0.0, failures_in_a_row: 16 }
    }
}

/// What a run may take, with all its calls; the run stops cleanly when one of these is reached, and requests in
/// flight are still finished. A cap of 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// Requests that were sent.
    pub requests: u64,
    /// Tokens of prompts and answers together.
    pub tokens: u64,
    /// Seconds of this call.
    pub seconds: f64,
    /// Money, in the currency of `prices`.
    pub money: f64,
    /// What tokens cost.
    pub prices: Prices,
}

/// What a million tokens cost, in any one currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Prices {
    /// Tokens of prompts.
    pub prompt: f64,
    /// Tokens of prompts that the server had in its cache.
    pub cached: f64,
    /// Tokens of answers.
    pub completion: f64,
}

/// An entry of a list of choices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// What the rows say was chosen.
    pub name: String,
    /// What the prompt says about it.
    pub description: String,
}

/// A kind of pair and how it is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskConfig {
    /// The name that the rows have; letters, digits and `_`.
    pub name: String,
    /// What the pair joins.
    pub category: Category,
    /// How many accepted rows are wanted.
    pub rows: usize,
    /// The prompt's file, in the folder of the prompts.
    pub prompt: PathBuf,
    /// What it starts from.
    pub seed: SeedKind,
    /// The languages of the code: with topics those it is written in, with code those of the seeds.
    #[serde(default)]
    pub languages: Vec<CodeLanguage>,
    /// The languages that code is turned into; without them it stays in its own.
    #[serde(default)]
    pub target_languages: Vec<CodeLanguage>,
    /// The names of the lists of `choices` that each candidate gets an entry of.
    #[serde(default)]
    pub choose: Vec<String>,
    /// The parts that the model's answer must have, by the label that begins them.
    pub answer: BTreeMap<String, PartKind>,
    /// The pair's anchor, a template over the answer's parts and the seed.
    pub anchor: String,
    /// The pair's positive, a template like `anchor`.
    pub positive: String,
    /// How the model samples; its seed is set for each candidate.
    #[serde(default = "default_sampling")]
    pub sampling: Sampling,
    /// The most tokens of an answer.
    #[serde(default = "default_max_tokens")]
    pub max_tokens: u32,
}

/// What a pair joins: the four categories of CodeR (Li et al., "Towards a generalist code embedding model based
/// on massive data synthesis", 2025) and text to SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// A text and the code that it asks for.
    TextToCode,
    /// Code and a text about it.
    CodeToText,
    /// Code and other code.
    CodeToCode,
    /// Code and text together on one side at least.
    Hybrid,
    /// A question and the SQL that answers it on a schema.
    TextToSql,
}

impl Category {
    /// Every category.
    pub const ALL: [Self; 5] =
        [Self::TextToCode, Self::CodeToText, Self::CodeToCode, Self::Hybrid, Self::TextToSql];

    /// The name that configurations and rows have: `text_to_code`.
    pub fn id(self) -> &'static str {
        match self {
            Self::TextToCode => "text_to_code",
            Self::CodeToText => "code_to_text",
            Self::CodeToCode => "code_to_code",
            Self::Hybrid => "hybrid",
            Self::TextToSql => "text_to_sql",
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.id())
    }
}

/// What a task starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeedKind {
    /// A topic that the model named.
    Topic,
    /// A function of a repository.
    Code,
    /// The schema of a database.
    Schema,
}

/// What a part of an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartKind {
    /// Words for people.
    Text,
    /// Code in the candidate's language.
    Code,
    /// A query on the seed's schema.
    Sql,
}

fn default_seed() -> u64 {
    42
}

fn default_prompts() -> PathBuf {
    PathBuf::from("prompts")
}

fn default_domain_prompt() -> PathBuf {
    PathBuf::from("domain.md")
}

fn default_rows_per_file() -> usize {
    10_000
}

fn default_candidates_per_row() -> u32 {
    20
}

fn default_sampling() -> Sampling {
    Sampling { temperature: 0.8, top_p: 0.95, ..Sampling::default() }
}

fn default_max_tokens() -> u32 {
    512
}

impl SynthConfig {
    /// Reads a configuration; its paths become relative to the working folder, as they are relative to the file.
    ///
    /// # Errors
    /// [`Error::Core`] when the file cannot be read or has a wrong key, [`Error::Setting`] for values that
    /// cannot work.
    pub fn load(path: &Path) -> Result<Self> {
        let mut config: Self = config::load(path)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        config.prompts = folder.join(&config.prompts);
        config.seeds.relative_to(folder);
        config.gates.relative_to(folder);
        config.check()?;
        Ok(config)
    }

    /// Refuses values that cannot work.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn check(&self) -> Result<()> {
        let wrong =
            |key: String, problem: &str| Err(Error::Setting { key, problem: problem.to_owned() });
        if self.tasks.is_empty() {
            return wrong("task".to_owned(), "there is none; add a [[task]]");
        }
        if self.requests.in_flight == 0 || self.requests.in_flight > 1024 {
            return wrong("requests.in_flight".to_owned(), "it must be from 1 to 1024");
        }
        if !(self.requests.per_minute >= 0.0 && self.requests.per_minute.is_finite()) {
            return wrong("requests.per_minute".to_owned(), "it must be a number from 0 up");
        }
        if self.rows_per_file == 0 {
            return wrong("rows_per_file".to_owned(), "it must be at least 1");
        }
        if self.candidates_per_row == 0 {
            return wrong("candidates_per_row".to_owned(), "it must be at least 1");
        }
        let Budget { seconds, money, prices, .. } = self.budget;
        let amounts = [seconds, money, prices.prompt, prices.cached, prices.completion];
        if amounts.iter().any(|amount| !(*amount >= 0.0 && amount.is_finite())) {
            return wrong("budget".to_owned(), "every amount must be a number from 0 up");
        }
        if money > 0.0 && prices == Prices::default() {
            return wrong(
                "budget.money".to_owned(),
                "without `prices` nothing costs anything; set them",
            );
        }
        for (name, list) in &self.choices {
            if list.is_empty() {
                return wrong(format!("choices.{name}"), "the list is empty");
            }
        }
        let mut names = BTreeSet::new();
        for task in &self.tasks {
            task.check(self)?;
            if !names.insert(&task.name) {
                return wrong(format!("task.name = \"{}\"", task.name), "two tasks have this name");
            }
        }
        self.gates.check()
    }
}

impl TaskConfig {
    fn check(&self, config: &SynthConfig) -> Result<()> {
        let wrong = |key: &str, problem: String| {
            Err(Error::Setting { key: format!("{key}` of the task `{}", self.name), problem })
        };
        let is_name = |name: &str| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        if !is_name(&self.name) {
            return wrong("name", "it may have letters, digits and `_` only".to_owned());
        }
        if self.rows == 0 {
            return wrong("rows", "it must be at least 1".to_owned());
        }
        if self.max_tokens == 0 {
            return wrong("max_tokens", "it must be at least 1".to_owned());
        }
        if self.seed == SeedKind::Schema {
            if !(self.languages.is_empty() && self.target_languages.is_empty()) {
                return wrong("languages", "a schema has none; leave them out".to_owned());
            }
        } else if self.languages.is_empty() {
            return wrong("languages", "it is empty; name at least one".to_owned());
        }
        if self.seed == SeedKind::Topic && !self.target_languages.is_empty() {
            return wrong(
                "target_languages",
                "only code can be turned into another language".to_owned(),
            );
        }
        if let Some(missing) = self.choose.iter().find(|name| !config.choices.contains_key(*name)) {
            let known: Vec<&str> = config.choices.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return wrong(
                "choose",
                format!("there is no list `{missing}` in `choices`, which has: {known}"),
            );
        }
        if self.answer.is_empty() {
            return wrong("answer", "it is empty; name the parts of an answer".to_owned());
        }
        if let Some(name) = self.answer.keys().find(|name| !is_name(name)) {
            return wrong("answer", format!("`{name}` may have letters, digits and `_` only"));
        }
        let has_sql = self.answer.values().any(|kind| *kind == PartKind::Sql);
        if has_sql && self.seed != SeedKind::Schema {
            return wrong(
                "answer",
                "a part that is `sql` needs a schema as the seed; for other SQL use `code`"
                    .to_owned(),
            );
        }
        if self.category == Category::TextToSql
            && self.answer.iter().filter(|(_, kind)| **kind == PartKind::Sql).count() != 1
        {
            return wrong("answer", "text_to_sql needs exactly one part that is `sql`".to_owned());
        }
        Ok(())
    }
}
