//! A task with all it needs, and the candidates that it makes.

use std::collections::BTreeSet;

use coderag_core::{ChatRequest, Digest, Hasher, Random};
use minijinja::Value as Prompted;
use serde_json::{Map, Value, json};

use crate::config::{Choice, SeedKind, SynthConfig, TaskConfig};
use crate::gate::secrets;
use crate::prompt::{Prompt, Template, Values, values};
use crate::seed::code::{CodeSeed, CodeSeedSummary};
use crate::seed::schema::{SchemaSeed, SchemaSeeds};
use crate::seed::topic::TopicSeed;
use crate::{CodeLanguage, Error, Result};

/// A task, ready to make candidates.
#[derive(Debug)]
pub(crate) struct Task<'a> {
    pub(crate) config: &'a TaskConfig,
    prompt: &'a Prompt,
    anchor: Template,
    positive: Template,
    choices: Vec<(&'a str, &'a [Choice])>,
    /// The seeds in the order in which they are used.
    seeds: Vec<Seed<'a>>,
    /// The root of the task's random numbers.
    random: u64,
}

/// What a candidate starts from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Seed<'a> {
    Topic(&'a TopicSeed),
    Code(&'a CodeSeed),
    Schema(&'a SchemaSeed),
}

/// All seeds.
#[derive(Debug, Default)]
pub(crate) struct Seeds {
    pub(crate) topics: Vec<TopicSeed>,
    pub(crate) code: Vec<CodeSeed>,
    pub(crate) code_summary: CodeSeedSummary,
    pub(crate) schemas: SchemaSeeds,
}

/// One attempt of a task.
#[derive(Debug)]
pub(crate) struct Candidate<'a> {
    /// The task and the number: `function_to_summary-000017`.
    pub(crate) id: String,
    pub(crate) seed: Seed<'a>,
    /// The language of the code that is written or described.
    pub(crate) language: CodeLanguage,
    /// Where the seed came from.
    pub(crate) source: String,
    /// What was chosen.
    pub(crate) meta: Map<String, Value>,
    /// What the templates see.
    pub(crate) values: Values,
    pub(crate) request: ChatRequest,
}

/// The variables of a task's prompt.
pub(crate) fn variables(config: &TaskConfig) -> BTreeSet<String> {
    let seed: &[&str] = match config.seed {
        SeedKind::Topic => &["topic", "area"],
        SeedKind::Code => &["code", "name", "docstring"],
        SeedKind::Schema => &["context", "schema"],
    };
    let target: &[&str] = match config.target_languages.as_slice() {
        [] => &[],
        _ => &["target_language", "target_language_id"],
    };
    let names = seed.iter().chain(target).chain(&["language", "language_id"]);
    names.map(|name| (*name).to_owned()).chain(config.choose.iter().cloned()).collect()
}

/// Refuses an anchor or a positive that cannot be made.
pub(crate) fn check_pair(config: &TaskConfig) -> Result<()> {
    let mut known = variables(config);
    known.extend(config.answer.keys().cloned());
    for (key, source) in [("anchor", &config.anchor), ("positive", &config.positive)] {
        if let Some(problem) = template(config, key, source)?.unknown(&known) {
            return Err(wrong(config, key, problem));
        }
    }
    Ok(())
}

fn template(config: &TaskConfig, key: &str, source: &str) -> Result<Template> {
    Template::parse(source.to_owned()).map_err(|error| wrong(config, key, error.to_string()))
}

fn wrong(config: &TaskConfig, key: &str, problem: String) -> Error {
    Error::Setting { key: format!("{key}` of the task `{}", config.name), problem }
}

impl<'a> Task<'a> {
    /// Orders the seeds.
    pub(crate) fn new(
        run: &'a SynthConfig,
        config: &'a TaskConfig,
        prompt: &'a Prompt,
        seeds: &'a Seeds,
    ) -> Result<Self> {
        let random = Digest::of(&config.name).seed();
        let all = seeds;
        let mut seeds = all.of(config);
        if seeds.is_empty() {
            let problem = format!(
                "there is no {}; see `seeds`, of which there were: {}",
                config.seed.name(),
                all.found(config.seed)
            );
            return Err(wrong(config, "seed", problem));
        }
        Random::derived(run.seed, &[random]).shuffle(&mut seeds);
        let choices = config.choose.iter().filter_map(|name| {
            let (name, list) = run.choices.get_key_value(name)?;
            Some((name.as_str(), list.as_slice()))
        });
        Ok(Self {
            config,
            prompt,
            anchor: template(config, "anchor", &config.anchor)?,
            positive: template(config, "positive", &config.positive)?,
            choices: choices.collect(),
            seeds,
            random: Random::derived(run.seed, &[random, 1]).next_u64(),
        })
    }

    /// The candidate of a number. Seeds come round again when all were used, with other choices.
    pub(crate) fn candidate(&self, number: u64) -> Result<Candidate<'a>> {
        let mut random = Random::derived(self.random, &[number]);
        let index = number.checked_rem(self.seeds.len() as u64).unwrap_or_default() as usize;
        let Some(&seed) = self.seeds.get(index) else {
            return Err(Error::NoSeeds { task: self.config.name.clone() });
        };
        let mut values = seed.values();
        let mut meta = seed.meta();
        let mut language = seed.language();
        let targets = self.config.target_languages.iter().filter(|target| **target != language);
        let targets: Vec<CodeLanguage> = targets.copied().collect();
        if let Some(&target) = targets.get(random.below(targets.len() as u64) as usize) {
            meta.insert("source_language".to_owned(), language.id().into());
            values.insert("target_language".to_owned(), target.to_string().into());
            values.insert("target_language_id".to_owned(), target.id().into());
            language = target;
        }
        for (name, list) in &self.choices {
            let Some(choice) = list.get(random.below(list.len() as u64) as usize) else { continue };
            meta.insert((*name).to_owned(), choice.name.as_str().into());
            let choice = [("name", &choice.name), ("description", &choice.description)];
            values.insert((*name).to_owned(), Prompted::from_pairs(choice));
        }
        let mut sampling = self.config.sampling;
        sampling.seed = random.next_u64() as u32;
        let messages = self.prompt.render(&values)?;
        Ok(Candidate {
            id: format!("{}-{number:06}", self.config.name),
            seed,
            language,
            source: seed.source(),
            meta,
            values,
            request: ChatRequest {
                messages,
                sampling,
                max_tokens: self.config.max_tokens,
                stop: Vec::new(),
            },
        })
    }

    /// The anchor and the positive of values that hold an answer's parts.
    pub(crate) fn pair(&self, values: &Values) -> Result<(String, String)> {
        let render = |key: &str, template: &Template| {
            let text = template
                .render(values)
                .map_err(|error| wrong(self.config, key, error.to_string()))?;
            Ok::<_, Error>(text.trim().to_owned())
        };
        Ok((render("anchor", &self.anchor)?, render("positive", &self.positive)?))
    }
}

impl Seeds {
    /// Replaces secrets and personal data by placeholders.
    pub(crate) fn scrub(&mut self) {
        for seed in &mut self.code {
            seed.code = secrets::scrub(&seed.code).text;
            seed.docstring = seed.docstring.as_deref().map(|text| secrets::scrub(text).text);
        }
        for seed in &mut self.schemas.seeds {
            seed.context = secrets::scrub(&seed.context).text;
        }
    }

    /// The digest of those that need no model.
    pub(crate) fn digest(&self) -> Digest {
        let mut hasher = Hasher::new();
        let code = self.code.iter().map(|seed| &seed.code);
        let schemas = self.schemas.seeds.iter().map(|seed| &seed.context);
        for text in code.chain(schemas) {
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text);
        }
        hasher.finish()
    }

    /// What was found, and what of it was not used for what reason.
    fn found(&self, kind: SeedKind) -> Value {
        match kind {
            SeedKind::Topic => self.topics.len().into(),
            SeedKind::Code => json!(self.code_summary),
            SeedKind::Schema => self.schemas.summary(),
        }
    }

    fn of<'a>(&'a self, task: &TaskConfig) -> Vec<Seed<'a>> {
        let spoken = |language: &CodeLanguage| task.languages.contains(language);
        match task.seed {
            SeedKind::Topic => {
                let topics = self.topics.iter().filter(|seed| spoken(&seed.language));
                topics.map(Seed::Topic).collect()
            }
            SeedKind::Code => {
                // Code that can only be turned into its own language is no use.
                let can_turn = |language: CodeLanguage| {
                    task.target_languages.is_empty()
                        || task.target_languages.iter().any(|target| *target != language)
                };
                let code = self.code.iter();
                code.filter(|seed| spoken(&seed.language) && can_turn(seed.language))
                    .map(Seed::Code)
                    .collect()
            }
            SeedKind::Schema => self.schemas.seeds.iter().map(Seed::Schema).collect(),
        }
    }
}

impl SeedKind {
    fn name(self) -> &'static str {
        match self {
            Self::Topic => "topic in its languages",
            Self::Code => "code in its languages",
            Self::Schema => "schema",
        }
    }
}

impl Seed<'_> {
    fn language(&self) -> CodeLanguage {
        match self {
            Self::Topic(seed) => seed.language,
            Self::Code(seed) => seed.language,
            Self::Schema(_) => CodeLanguage::Sql,
        }
    }

    fn source(&self) -> String {
        match self {
            Self::Topic(_) => "topics of the model".to_owned(),
            Self::Code(seed) => format!("{}/{}:{}", seed.repository, seed.path, seed.line),
            Self::Schema(seed) => seed.source.clone(),
        }
    }

    /// What the templates see of it.
    fn values(&self) -> Values {
        let mut values = match self {
            Self::Topic(seed) => {
                values([("topic", seed.topic.as_str().into()), ("area", seed.area.as_str().into())])
            }
            Self::Code(seed) => values([
                ("code", seed.code.as_str().into()),
                ("name", seed.name.as_str().into()),
                ("docstring", seed.docstring.as_deref().unwrap_or_default().into()),
            ]),
            Self::Schema(seed) => values([
                ("context", seed.context.as_str().into()),
                ("schema", seed.name.as_str().into()),
            ]),
        };
        let language = self.language();
        values.insert("language".to_owned(), language.to_string().into());
        values.insert("language_id".to_owned(), language.id().into());
        values
    }

    /// What a row says of it.
    fn meta(&self) -> Map<String, Value> {
        let meta = match self {
            Self::Topic(seed) => json!({ "topic": seed.topic, "area": seed.area }),
            Self::Code(seed) => json!({
                "name": seed.name, "repository": seed.repository, "licence": seed.licence,
            }),
            Self::Schema(seed) => json!({ "schema": seed.name }),
        };
        meta.as_object().cloned().unwrap_or_default()
    }
}
