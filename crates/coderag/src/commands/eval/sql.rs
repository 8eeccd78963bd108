use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum as _;
use coderag_core::{Digest, Error as CoreError, atomic};
use coderag_eval::bird::{self, BirdOptions, BirdSummary};
use coderag_eval::defog::{self, DefogOptions, DefogSummary, Questions};
use coderag_eval::execution::ExecutionOptions;
use coderag_eval::files::{Gold, read_gold, read_predictions};
use coderag_eval::report::{About, bird_html_report, html_report};
use coderag_eval::scoring::{Databases, ScoringOptions, score};
use coderag_eval::spider::{ExactMatchVariant, TablesEntry};
use coderag_eval::summary::Summary;
use coderag_eval::{Compatibility, trees};
use serde::Serialize;

use super::generate::generate;
use crate::arguments::{EvalSqlArguments, Metric, Only};
use crate::commands::Session;
use crate::output;

pub(crate) fn run(session: &Session, arguments: &EvalSqlArguments) -> Result<()> {
    refuse_unused(arguments)?;
    refuse_overwriting(arguments)?;
    match arguments.metric {
        Metric::Spider => spider(session, arguments, ExactMatchVariant::Spider),
        Metric::TestSuite => spider(session, arguments, ExactMatchVariant::TestSuite),
        Metric::Bird => self::bird(session, arguments),
        Metric::SqlEval => sql_eval(session, arguments),
    }
}

/// A flag that does nothing would be taken for one that does.
fn refuse_unused(arguments: &EvalSqlArguments) -> Result<()> {
    let metric = arguments.metric;
    let is_spider = matches!(metric, Metric::Spider | Metric::TestSuite);
    let is_bird = metric == Metric::Bird;
    let only_match = arguments.only == Some(Only::Match);
    // How the first script compares results leaves no room for them.
    let by_columns = metric == Metric::Spider && arguments.strict_compat;
    let runs = !only_match;
    let flags = [
        ("--tables", arguments.tables.is_some(), is_spider),
        ("--questions", arguments.questions.is_some(), is_spider),
        ("--only", arguments.only.is_some(), is_spider),
        ("--trees", arguments.trees.is_some(), is_spider),
        ("--keep-distinct", arguments.keep_distinct, is_spider && runs && !by_columns),
        ("--plug-value", arguments.plug_value, is_spider && runs && !by_columns),
        ("--timeout", arguments.timeout.is_some(), runs),
        ("--difficulty", arguments.difficulty.is_some(), is_bird),
        ("--repetitions", arguments.repetitions > 0, is_bird),
        ("--html", arguments.html.is_some(), is_spider || is_bird),
    ];
    match flags.into_iter().find(|(_, given, used)| *given && !used) {
        Some((flag, ..)) => bail!("{flag} has no effect with this --metric and the other flags"),
        None => Ok(()),
    }
}

/// What is read may not be written over.
fn refuse_overwriting(arguments: &EvalSqlArguments) -> Result<()> {
    let real = |path: &PathBuf| path.canonicalize().ok();
    let inputs = [&arguments.gold, &arguments.pred, &arguments.questions, &arguments.tables];
    let inputs: Vec<PathBuf> = inputs.into_iter().flatten().filter_map(real).collect();
    for output in [&arguments.details, &arguments.trees, &arguments.html].into_iter().flatten() {
        if real(output).is_some_and(|output| inputs.contains(&output)) {
            bail!("{} is read and cannot be written at the same time", output.display());
        }
    }
    Ok(())
}

fn compatibility(arguments: &EvalSqlArguments) -> Compatibility {
    if arguments.strict_compat { Compatibility::Strict } else { Compatibility::Sensible }
}

fn spider(
    session: &Session,
    arguments: &EvalSqlArguments,
    variant: ExactMatchVariant,
) -> Result<()> {
    let tables = match &arguments.tables {
        Some(path) => Some((path.clone(), TablesEntry::read_all(path)?)),
        None if arguments.only == Some(Only::Execution) => None,
        None => bail!(
            "exact match needs the foreign keys of the databases: give Spider's tables.json as \
             --tables, or --only execution"
        ),
    };
    let prediction_path = predictions_file(arguments)?;
    let (gold_path, gold) = match &arguments.questions {
        Some(questions) => {
            (questions, vec![generate(session, arguments, questions, prediction_path)?])
        }
        None => {
            let path = gold_file(arguments)?;
            (path, interactions(read_gold(path)?, variant))
        }
    };
    let predictions = interactions(read_predictions(prediction_path)?, variant);
    let databases = Databases { folder: arguments.db_dir.clone(), tables };
    if let Some(path) = &arguments.trees {
        let gold: Vec<&Gold> = gold.iter().flatten().collect();
        write_json_lines(path, &trees(&gold, &databases, variant)?)?;
    }
    let options = ScoringOptions {
        variant,
        exact_match: arguments.only != Some(Only::Execution),
        execution: arguments.only != Some(Only::Match),
        running: ExecutionOptions {
            compatibility: compatibility(arguments),
            keep_distinct: arguments.keep_distinct,
            plug_values: arguments.plug_value,
            timeout: arguments.timeout,
        },
        threads: session.threads,
    };
    let scores = score(
        (gold_path, &gold),
        (prediction_path, &predictions),
        &databases,
        &options,
        &session.progress,
    )?;
    if let Some(path) = &arguments.details {
        write_json_lines(path, &scores)?;
    }
    let summary = Summary::of(&scores);
    if let Some(path) = &arguments.html {
        let about = about(arguments, gold_path, Some(prediction_path))?;
        write_text(path, &html_report(&about, &summary, &scores))?;
    }
    print(&summary, arguments.json)
}

/// The first script knows no interactions and passes over blank lines.
fn interactions<T>(interactions: Vec<Vec<T>>, variant: ExactMatchVariant) -> Vec<Vec<T>> {
    match variant {
        ExactMatchVariant::TestSuite => interactions,
        ExactMatchVariant::Spider => {
            let all: Vec<T> = interactions.into_iter().flatten().collect();
            if all.is_empty() { Vec::new() } else { vec![all] }
        }
    }
}

fn bird(session: &Session, arguments: &EvalSqlArguments) -> Result<()> {
    let compatibility = compatibility(arguments);
    let questions = bird::read_questions(
        gold_file(arguments)?,
        predictions_file(arguments)?,
        arguments.difficulty.as_deref(),
        compatibility,
    )?;
    let options = BirdOptions {
        compatibility,
        timeout: arguments.timeout,
        repetitions: arguments.repetitions,
        threads: session.threads,
    };
    let scores = bird::score(&questions, &arguments.db_dir, &options, &session.progress)?;
    if let Some(path) = &arguments.details {
        write_json_lines(path, &scores)?;
    }
    let summary = BirdSummary::of(&scores);
    if let Some(path) = &arguments.html {
        let about = about(arguments, gold_file(arguments)?, arguments.pred.as_deref())?;
        write_text(path, &bird_html_report(&about, &summary, &scores))?;
    }
    print(&summary, arguments.json)
}

fn sql_eval(session: &Session, arguments: &EvalSqlArguments) -> Result<()> {
    let questions = Questions::read(gold_file(arguments)?)?;
    let predictions = questions.predictions(arguments.pred.as_deref())?;
    let options = DefogOptions {
        compatibility: compatibility(arguments),
        timeout: arguments.timeout,
        threads: session.threads,
    };
    let scores =
        defog::score(&questions, &predictions, &arguments.db_dir, &options, &session.progress)?;
    if let Some(path) = &arguments.details {
        write_json_lines(path, &scores)?;
    }
    print(&DefogSummary::of(&scores), arguments.json)
}

fn gold_file(arguments: &EvalSqlArguments) -> Result<&PathBuf> {
    arguments
        .gold
        .as_ref()
        .context("--gold is missing: --questions serves the Spider metrics alone")
}

/// The file of predictions, which only sql-eval's questions can do without.
fn predictions_file(arguments: &EvalSqlArguments) -> Result<&Path> {
    arguments.pred.as_deref().context("--pred is missing: give the file of predictions")
}

/// What the report says of its making.
fn about(arguments: &EvalSqlArguments, gold: &Path, predictions: Option<&Path>) -> Result<About> {
    let file = |path: &Path| -> Result<String> {
        Ok(format!("{} (sha256 {})", path.display(), Digest::of_file(path)?))
    };
    let mut facts = vec![("Gold queries".to_owned(), file(gold)?)];
    if let Some(path) = predictions {
        facts.push(("Predictions".to_owned(), file(path)?));
    }
    facts.push(("Databases".to_owned(), arguments.db_dir.display().to_string()));
    if arguments.questions.is_some() {
        facts.push(("Language model".to_owned(), arguments.language_model.model.clone()));
    }
    let metric = arguments.metric.to_possible_value();
    let metric = metric.map(|metric| metric.get_name().to_owned()).unwrap_or_default();
    facts.push(("Metric".to_owned(), metric));
    let compatibility = if arguments.strict_compat {
        "strict, with the official script's defects"
    } else {
        "sensible"
    };
    facts.push(("Compatibility".to_owned(), compatibility.to_owned()));
    for (name, set) in [
        ("DISTINCT kept", arguments.keep_distinct),
        ("Gold values plugged in", arguments.plug_value),
    ] {
        if set {
            facts.push((name.to_owned(), "yes".to_owned()));
        }
    }
    facts.push(("coderag".to_owned(), env!("CARGO_PKG_VERSION").to_owned()));
    Ok(About { title: "Text-to-SQL evaluation".to_owned(), facts })
}

fn write_text(path: &Path, text: &str) -> Result<()> {
    atomic::write_file(path, |file| {
        Ok::<_, anyhow::Error>(
            file.write_all(text.as_bytes()).map_err(CoreError::io("write", path))?,
        )
    })
}

fn print(summary: &(impl Serialize + std::fmt::Display), json: bool) -> Result<()> {
    if json { output::json(summary) } else { output::line(summary.to_string().trim_end()) }
}

fn write_json_lines(path: &Path, lines: &[impl Serialize]) -> Result<()> {
    atomic::write_file(path, |file| {
        for line in lines {
            serde_json::to_writer(&mut *file, line).map_err(std::io::Error::other)?;
            writeln!(file)?;
        }
        Ok::<_, anyhow::Error>(())
    })
}
