//! `coderag synth`: training pairs written by a language model.

mod inspect;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context as _, Result};
use coderag_core::{Progress as _, Role, Unit};
use coderag_llm::{Endpoint, EndpointConfig, GgufModel, GgufOptions};
use coderag_synth::config::ModelConfig;
use coderag_synth::{Manifest, Outcome, RunContext, SynthConfig, preview, synthesize};

use crate::arguments::{SynthArguments, SynthCommand, SynthRunArguments};
use crate::commands::{Session, interrupt};
use crate::output;

/// How many prompts a dry run shows.
const PROMPTS: usize = 10;

pub(crate) fn run(session: &Session, arguments: &SynthArguments) -> Result<()> {
    match &arguments.command {
        Some(SynthCommand::Inspect(arguments)) => inspect::inspect(arguments),
        None => make(session, &arguments.run),
    }
}

fn make(session: &Session, arguments: &SynthRunArguments) -> Result<()> {
    let path = arguments.config.as_deref().context("--config is missing")?;
    let mut config = SynthConfig::load(path)?;
    override_model(&mut config.model, arguments);
    if arguments.dry_run {
        return show_prompts(session, &config);
    }
    let folder = arguments.output.as_deref().context("--output is missing")?;
    let interrupt = interrupt::flag()?;
    let embedder = match &arguments.embedding_model {
        Some(name) => Some(session.encoder(name, None)?),
        None => None,
    };
    let model = Model::open(session, &config, &interrupt)?;
    let traffic = match &model {
        Model::Endpoint(endpoint) => Some(|| endpoint.traffic()),
        Model::Gguf(_) => None,
    };
    let context = RunContext {
        model: match &model {
            Model::Endpoint(endpoint) => &**endpoint,
            Model::Gguf(model) => &**model,
        },
        embedder: embedder.as_ref().map(|embedder| embedder as _),
        output: folder,
        restart: arguments.restart,
        limit: arguments.limit,
        interrupt: &interrupt,
        traffic: traffic.as_ref().map(|traffic| traffic as _),
        progress: &session.progress,
    };
    let (manifest, stopped) = match synthesize(&config, &context)? {
        Outcome::Finished(manifest) => (manifest, None),
        Outcome::Stopped { reason, manifest } => (manifest, Some(reason)),
    };
    if arguments.json {
        output::json(&manifest)?;
    } else {
        print_counts(&manifest)?;
    }
    if let Some(reason) = stopped {
        output::note(format_args!("stopped: {reason}; the same command goes on"));
    }
    output::note(format_args!("report   {}", folder.join("report.html").display()));
    Ok(())
}

/// Puts the flags in place of the settings.
fn override_model(model: &mut ModelConfig, arguments: &SynthRunArguments) {
    if let Some(name) = &arguments.model {
        model.name.clone_from(name);
    }
    if let Some(base_url) = &arguments.endpoint {
        let endpoint = model.endpoint.get_or_insert_with(EndpointConfig::default);
        endpoint.base_url.clone_from(base_url);
    }
    if let Some(endpoint) = &mut model.endpoint
        && (endpoint.model.is_empty() || arguments.model.is_some())
    {
        endpoint.model.clone_from(&model.name);
    }
}

/// The model that writes.
enum Model {
    Endpoint(Box<Endpoint>),
    Gguf(Box<GgufModel>),
}

impl Model {
    fn open(session: &Session, config: &SynthConfig, interrupt: &Arc<AtomicBool>) -> Result<Self> {
        if let Some(endpoint) = &config.model.endpoint {
            let endpoint = Endpoint::new(endpoint.clone())?.interrupted_by(interrupt.clone());
            return Ok(Self::Endpoint(Box::new(endpoint)));
        }
        let _task = session.progress.task("loading the language model", None, Unit::Items);
        let path = session.locate(&config.model.name)?;
        let threads = u32::try_from(session.threads)?;
        let options = GgufOptions { threads, ..config.model.gguf };
        Ok(Self::Gguf(Box::new(GgufModel::load(&path, options)?)))
    }
}

fn show_prompts(session: &Session, config: &SynthConfig) -> Result<()> {
    for (id, messages) in preview(config, PROMPTS, &session.progress)? {
        output::line(format_args!("==== {id} ===="))?;
        for message in messages {
            let role = match message.role {
                Role::System => "system",
                Role::User => "user",
                Role::Assistant => "assistant",
            };
            output::line(format_args!(
                "---- {role} ----\n{}",
                output::printable(&message.content)
            ))?;
        }
        output::line("")?;
    }
    Ok(())
}

/// What became of the candidates of each task.
fn print_counts(manifest: &Manifest) -> Result<()> {
    let header = ["task", "rows", "wanted", "candidates", "rejected", "failed"];
    let rows: Vec<Vec<String>> = manifest
        .tasks
        .iter()
        .map(|task| {
            let rejected: u64 = task.rejected.values().sum();
            let counts = [task.accepted, task.wanted, task.candidates, rejected, task.failed];
            let counts = counts.iter().map(u64::to_string);
            [task.name.clone()].into_iter().chain(counts).collect()
        })
        .collect();
    output::table(&header.map(str::to_owned), &rows, &[1, 2, 3, 4, 5])
}
