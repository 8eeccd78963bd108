//! `coderag train`: a run from its settings to a model in a folder, or on from where it was interrupted.

use std::path::Path;

use anyhow::Result;
use coderag_models::Source;
use coderag_train::config::TrainConfig;
use coderag_train::evaluation::Scores;
use coderag_train::report::RunSummary;
use coderag_train::run::{Outcome, RunContext, train};

use crate::arguments::TrainArguments;
use crate::commands::{Session, interrupt};
use crate::output;

pub(crate) fn run(session: &Session, arguments: &TrainArguments) -> Result<()> {
    let config = TrainConfig::load(&arguments.config)?;
    let interrupt = interrupt::flag()?;
    let model = session.locate(&config.model)?;
    let context = RunContext {
        model: &model,
        base_model: &base_model(session, &config.model, &model),
        output: &arguments.output,
        device: &session.device()?,
        threads: Some(session.threads),
        restart: arguments.restart,
        stop_after: arguments.stop_after,
        interrupt: &interrupt,
        progress: &session.progress,
    };
    match train(&config, &context)? {
        Outcome::Interrupted { step, checkpoint } => {
            output::note(format_args!(
                "stopped after step {step}; the same command goes on from {}",
                checkpoint.display()
            ));
            Ok(())
        }
        Outcome::Finished { summary, .. } if arguments.json => output::json(&summary),
        Outcome::Finished { model, adapter, summary } => {
            print_scores(&summary)?;
            for warning in &summary.warnings {
                output::note(format_args!("warning: {warning}"));
            }
            output::note(format_args!("model    {}", model.display()));
            if let Some(adapter) = adapter {
                output::note(format_args!("adapter  {}", adapter.display()));
            }
            output::note(format_args!(
                "report   {}",
                arguments.output.join("report.html").display()
            ));
            Ok(())
        }
    }
}

/// The repository on the model hub that a model of the registry comes from; for any other its folder.
fn base_model(session: &Session, name: &str, folder: &Path) -> String {
    let sources = session.registry.get(name).map(|model| &*model.sources).unwrap_or_default();
    let repository = sources.iter().find_map(|source| match source {
        Source::Hub { repository, .. } => Some(repository.clone()),
        Source::Packages(_) | Source::Local { .. } => None,
    });
    let absolute = || folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    repository.unwrap_or_else(|| absolute().display().to_string())
}

/// One of the scores.
type Score = fn(&Scores) -> f64;

/// The scores before and after the run, and at its best.
fn print_scores(summary: &RunSummary) -> Result<()> {
    let (Some(before), Some(after), Some(best)) = (&summary.before, &summary.after, &summary.best)
    else {
        return Ok(());
    };
    let columns: [(&str, Score); 5] = [
        ("recall@1", |scores| scores.recall_at_1),
        ("recall@5", |scores| scores.recall_at_5),
        ("recall@10", |scores| scores.recall_at_10),
        ("MRR@10", |scores| scores.mrr_at_10),
        ("nDCG@10", |scores| scores.ndcg_at_10),
    ];
    let header = ["", "step"].into_iter().chain(columns.iter().map(|(name, _)| *name));
    let header: Vec<String> = header.map(str::to_owned).collect();
    let rows = [("before", before), ("after", after), ("best", best)].map(|(name, record)| {
        let scores = columns.iter().map(|(_, score)| format!("{:.4}", score(&record.scores)));
        [name.to_owned(), record.step.to_string()].into_iter().chain(scores).collect()
    });
    output::table(&header, &rows, &[1, 2, 3, 4, 5, 6])
}
