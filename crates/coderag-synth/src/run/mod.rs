//! A run: candidates through the model and the gates into files, from the beginning or on from where it stopped.
//!
//! What a run holds is decided by its settings, its seeds and the model's answers alone. All answers are kept, so
//! a run that stopped begins anew, finds the answers it had, and asks only for what is missing.

mod folder;
mod schedule;
mod settlement;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::thread;

use coderag_core::{ChatModel, Embedder, Message, Progress, Unit};
use coderag_llm::Traffic;

pub use self::folder::{RunRecord, read_manifest};

use self::folder::RunFolder;
use self::schedule::{Rounds, Schedule};
use self::settlement::Settlement;
use crate::asking::{Asker, Responses, Stop};
use crate::config::{SeedKind, SynthConfig, TaskConfig};
use crate::gate::contamination::Contamination;
use crate::gate::language::ExpectedLanguage;
use crate::making::{GatePrompts, Made, Maker};
use crate::output::Manifest;
use crate::prompt::Prompt;
use crate::seed::schema::SchemaSeeds;
use crate::seed::{CodeSeedConfig, code, topic};
use crate::task::{Seeds, Task, check_pair, variables};
use crate::{CodeLanguage, Error, Result};

/// How many candidates may be begun before the first of them is counted, for each request in flight.
const AHEAD: usize = 4;

/// Everything around a run's settings.
pub struct RunContext<'a> {
    /// The model that writes.
    pub model: &'a dyn ChatModel,
    /// The encoder of the contamination check, where it compares vectors.
    pub embedder: Option<&'a dyn Embedder>,
    /// The run's folder.
    pub output: &'a Path,
    /// Whether to forget what an earlier run left in the folder, its answers included.
    pub restart: bool,
    /// The most rows to accept.
    pub limit: Option<usize>,
    /// Set to stop.
    pub interrupt: &'a AtomicBool,
    /// What has happened to requests on the way to an endpoint and back; none for a model in this process.
    pub traffic: Option<&'a dyn Fn() -> Traffic>,
    /// Receives the progress.
    pub progress: &'a dyn Progress,
}

/// How a call ended.
#[derive(Debug)]
pub enum Outcome {
    /// Every task has its rows, or can make no more.
    Finished(Box<Manifest>),
    /// The run stopped before its end; the same command goes on.
    Stopped {
        /// Why, in words.
        reason: String,
        /// What there is by now.
        manifest: Box<Manifest>,
    },
}

/// Runs from the beginning, or on from where an earlier call stopped.
///
/// # Errors
/// [`Error::Setting`] and [`Error::Prompt`] for what cannot work, [`Error::NotARun`], [`Error::RunInUse`],
/// [`Error::ModelFails`], and those of the files that are read and written. What the model answered is kept.
pub fn synthesize(config: &SynthConfig, context: &RunContext<'_>) -> Result<Outcome> {
    config.check()?;
    let prompts = Prompts::load(config)?;
    let folder = RunFolder::open(context.output, context.restart)?;
    let mut seeds = read_seeds(config, context.progress)?;
    let contamination = {
        let _task = context.progress.task("reading the evaluation sets", None, Unit::Items);
        Contamination::read(&config.gates.contamination, context.embedder)?
    };
    let mut inputs = BTreeMap::from([
        ("seeds".to_owned(), seeds.digest()),
        ("evaluation sets".to_owned(), contamination.digest()),
    ]);
    inputs.extend(context.embedder.map(|it| ("embedding model".to_owned(), it.fingerprint())));
    let earlier = folder.begin(config, context.model.name(), &prompts.digests(), inputs)?;
    let earlier = match earlier {
        Some(manifest) if manifest.finished => return Ok(Outcome::Finished(Box::new(manifest))),
        earlier => earlier,
    };
    let responses = Responses::open(&folder.responses())?;
    let calls = earlier.iter().flat_map(|manifest| &manifest.calls);
    let failed = calls.map(|call| call.requests.failed).sum();
    let asker = Asker::new(
        context.model,
        responses,
        failed,
        &config.requests,
        &config.budget,
        context.interrupt,
    );
    seeds.topics = ask_topics(config, &prompts, &asker, context.progress)?;
    if let Some(stop) = asker.finish()? {
        // Without all topics the candidates would be others.
        return ended(stop, &folder, earlier);
    }
    let tasks = tasks(config, &prompts, &seeds)?;
    let language = ExpectedLanguage::new(&config.gates.natural_language)?;
    let maker = Maker {
        config,
        language: &language,
        tasks: &tasks,
        prompts: &prompts.gates,
        contamination: &contamination,
        asker: &asker,
    };
    let mut settlement = Settlement::new(config, context, &folder, earlier);
    settle(&maker, &mut settlement, config.requests.in_flight)?;
    let stop = asker.finish()?;
    let finished = stop.is_none();
    let manifest = settlement.finish(&seeds, &contamination, &asker, context.traffic, finished)?;
    match stop {
        None => Ok(Outcome::Finished(Box::new(manifest))),
        Some(stop) => ended(stop, &folder, Some(manifest)),
    }
}

/// The first prompts of a run, as they would be sent: up to `count`, the tasks in turn. Nothing is asked, so for
/// topics the areas stand in.
///
/// # Errors
/// As [`synthesize`], less the model's.
pub fn preview(
    config: &SynthConfig,
    count: usize,
    progress: &dyn Progress,
) -> Result<Vec<(String, Vec<Message>)>> {
    config.check()?;
    let prompts = Prompts::load(config)?;
    let mut seeds = read_seeds(config, progress)?;
    seeds.topics = topic::areas(&config.seeds.topics, &topic_languages(config));
    let tasks = tasks(config, &prompts, &seeds)?;
    let next = |(task, number): (usize, u64)| {
        let candidate = tasks.get(task)?.candidate(number);
        Some(candidate.map(|candidate| (candidate.id, candidate.request.messages)))
    };
    Rounds::new(tasks.len()).take(count).filter_map(next).collect()
}

/// Has threads make candidates, and counts those in order.
fn settle(maker: &Maker<'_>, settlement: &mut Settlement<'_>, in_flight: usize) -> Result<()> {
    let schedule = Schedule::new(settlement.wanted(), in_flight * AHEAD);
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..in_flight {
            let (sender, schedule) = (sender.clone(), &schedule);
            scope.spawn(move || {
                while let Some((task, number)) = schedule.next() {
                    let Some(made) = maker.tasks.get(task).map(|it| maker.make(it, number)) else {
                        break;
                    };
                    if sender.send(((number, task), made)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let result = count(&receiver, maker.tasks.len(), &schedule, settlement);
        schedule.close();
        result
    })
}

/// What a thread sends: the candidate's round and task, and what became of it.
type Sent = ((u64, usize), Result<Made>);

fn count(
    receiver: &mpsc::Receiver<Sent>,
    tasks: usize,
    schedule: &Schedule,
    settlement: &mut Settlement<'_>,
) -> Result<()> {
    let mut rounds = Rounds::new(tasks);
    let mut waiting: BTreeMap<(u64, usize), Made> = BTreeMap::new();
    while let Some((task, number)) = rounds.next() {
        let made = loop {
            if let Some(made) = waiting.remove(&(number, task)) {
                break Some(made);
            }
            match receiver.recv() {
                Ok((_, Ok(Made::Stopped))) => schedule.close(),
                Ok((place, made)) => drop(waiting.insert(place, made?)),
                // All threads have ended, because nothing more is asked.
                Err(_) => break None,
            }
        };
        let Some(made) = made else { break };
        let settled = settlement.settle(task, number, made)?;
        schedule.counted(task, settled.is_row);
        if settled.is_last {
            rounds.finish(task);
        }
        if settlement.is_full() {
            return Ok(());
        }
    }
    // What was made after the first gap; the call that goes on fills the gap.
    for ((number, task), made) in waiting {
        if !rounds.is_finished(task) && settlement.settle(task, number, made)?.is_last {
            rounds.finish(task);
        }
    }
    Ok(())
}

fn ended(stop: Stop, folder: &RunFolder, manifest: Option<Manifest>) -> Result<Outcome> {
    let reason = match stop {
        Stop::Failed(error) => return Err(error),
        Stop::Interrupted => "interrupted".to_owned(),
        Stop::Exhausted(cap) => format!("the budget is used up: {cap}"),
    };
    let manifest = match manifest {
        Some(manifest) => manifest,
        None => Manifest::empty(folder.record()?),
    };
    Ok(Outcome::Stopped { reason, manifest: Box::new(manifest) })
}

/// All prompts of a run.
struct Prompts {
    tasks: Vec<Prompt>,
    topics: Option<Prompt>,
    gates: GatePrompts,
}

impl Prompts {
    fn load(config: &SynthConfig) -> Result<Self> {
        let load = |task: &TaskConfig| {
            let prompt = Prompt::load(&config.prompts.join(&task.prompt))?;
            prompt.check(&variables(task))?;
            check_pair(task)?;
            Ok(prompt)
        };
        let topics = (!topic_languages(config).is_empty())
            .then(|| Prompt::load(&config.prompts.join(&config.seeds.topics.prompt)))
            .transpose()?;
        Ok(Self {
            tasks: config.tasks.iter().map(load).collect::<Result<_>>()?,
            topics,
            gates: GatePrompts::load(config)?,
        })
    }

    /// The digests of all files by their paths.
    fn digests(&self) -> BTreeMap<String, coderag_core::Digest> {
        let all = self.tasks.iter().chain(&self.topics).chain(self.gates.all());
        all.map(|prompt| (prompt.path().display().to_string(), prompt.digest())).collect()
    }
}

/// The languages of the tasks that start from topics.
fn topic_languages(config: &SynthConfig) -> Vec<CodeLanguage> {
    languages(config, SeedKind::Topic)
}

fn languages(config: &SynthConfig, seed: SeedKind) -> Vec<CodeLanguage> {
    let tasks = config.tasks.iter().filter(|task| task.seed == seed);
    let mut languages: Vec<CodeLanguage> =
        tasks.flat_map(|task| task.languages.iter().copied()).collect();
    languages.sort_unstable();
    languages.dedup();
    languages
}

/// The seeds that need no model.
fn read_seeds(config: &SynthConfig, progress: &dyn Progress) -> Result<Seeds> {
    let mut seeds = Seeds::default();
    let wants = |kind| config.tasks.iter().any(|task| task.seed == kind);
    if wants(SeedKind::Code) {
        let settings = CodeSeedConfig {
            languages: languages(config, SeedKind::Code),
            ..config.seeds.code.clone()
        };
        (seeds.code, seeds.code_summary) = code::collect(&settings, progress)?;
    }
    if wants(SeedKind::Schema) {
        let _task = progress.task("reading schemas", None, Unit::Items);
        seeds.schemas = SchemaSeeds::read(&config.seeds.schemas)?;
    }
    if config.gates.secrets {
        seeds.scrub();
    }
    Ok(seeds)
}

fn ask_topics(
    config: &SynthConfig,
    prompts: &Prompts,
    asker: &Asker<'_>,
    progress: &dyn Progress,
) -> Result<Vec<topic::TopicSeed>> {
    let Some(prompt) = &prompts.topics else { return Ok(Vec::new()) };
    let languages = topic_languages(config);
    let settings = &config.seeds.topics;
    if settings.areas.is_empty() {
        return Err(Error::Setting {
            key: "seeds.topics.areas".to_owned(),
            problem: "it is empty, and a task starts from topics; name at least one area"
                .to_owned(),
        });
    }
    let total = (settings.areas.len() * languages.len()) as u64;
    let task = progress.task("asking for topics", Some(total), Unit::Items);
    topic::ask(settings, prompt, &languages, asker, config.requests.in_flight, &*task)
}

fn tasks<'a>(
    config: &'a SynthConfig,
    prompts: &'a Prompts,
    seeds: &'a Seeds,
) -> Result<Vec<Task<'a>>> {
    let tasks = config.tasks.iter().zip(&prompts.tasks);
    tasks.map(|(task, prompt)| Task::new(config, task, prompt, seeds)).collect()
}
