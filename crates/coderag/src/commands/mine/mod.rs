//! `coderag mine`: pairs in, pairs with hard negatives out.

mod summary;
mod vectors;

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use coderag_core::{
    Digest, Embedder as _, Embeddings, Error as CoreError, Hasher, Progress as _, Unit, atomic,
};
use coderag_corpus::TextSource;
use coderag_train::Error;
use coderag_train::data::{Columns, InputFile, Source};
use coderag_train::mining::{
    Judged, Layout, MiningReport, MiningSettings, OnTooFew, PROMPT, Pairs, judge, mine, write,
};
use serde::Serialize;

use self::vectors::{Vectors, VectorsSettings};
use crate::arguments::{LanguageModelArguments, MineArguments};
use crate::commands::{Session, language_model};
use crate::output;

/// What the negatives were made from, and what was found; written beside them.
#[derive(Serialize)]
struct Record<'a> {
    coderag_version: &'a str,
    model: RecordedModel<'a>,
    settings: &'a MiningSettings,
    on_too_few: OnTooFew,
    judge: Option<RecordedJudge<'a>>,
    columns: &'a Columns,
    inputs: &'a [InputFile],
    corpus: &'a [CorpusFile],
    corpus_column: Option<&'a str>,
    output_sha256: Digest,
    report: &'a Report,
}

#[derive(Serialize)]
struct RecordedModel<'a> {
    name: &'a str,
    adapter: Option<&'a Path>,
    fingerprint: Digest,
    precision: String,
}

#[derive(Serialize)]
struct RecordedJudge<'a> {
    model: &'a str,
    endpoint: Option<&'a str>,
    prompt_sha256: Digest,
}

/// A file of further documents as it was read.
#[derive(Debug, Serialize)]
struct CorpusFile {
    path: PathBuf,
    bytes: u64,
    sha256: Digest,
    /// Its texts that neither the pairs nor an earlier text of the corpus have.
    new_documents: u64,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    mining: MiningReport,
    judged: Option<Judged>,
}

pub(crate) fn run(session: &Session, arguments: &MineArguments) -> Result<()> {
    // All that can be refused is refused before anything takes long.
    Layout::check_name(&arguments.output)?;
    if arguments.output.is_dir() {
        bail!("the output {} is a folder", arguments.output.display());
    }
    let output = arguments.output.canonicalize().ok();
    let mut inputs = arguments.input.iter().chain(&arguments.corpus);
    if let Some(input) =
        inputs.find(|input| output.is_some() && input.canonicalize().ok() == output)
    {
        bail!("the output {} is also an input; choose another file", input.display());
    }
    let settings = settings(arguments);
    settings.range(1)?;
    let names: Vec<String> =
        arguments.input.iter().map(|path| path.display().to_string()).collect();
    let source = Source {
        name: names.join(", "),
        files: arguments.input.clone(),
        columns: Columns {
            anchor: arguments.anchor_column.clone(),
            positive: arguments.positive_column.clone(),
            ..Columns::default()
        },
        weight: None,
    };
    let sources = [source];
    let mut pairs = Pairs::read(&sources, arguments.on_bad_row.into(), &session.progress)
        .map_err(in_words_of_the_command)?;
    let corpus = add_corpus(session, arguments, &mut pairs)?;
    settings.range(pairs.most_positives())?;

    let encoder =
        session.encoder_of(&arguments.model, arguments.adapter.as_deref(), arguments.precision)?;
    let fingerprint = encoder.fingerprint();
    let vectors_settings = VectorsSettings {
        model: fingerprint,
        precision: arguments.precision.to_string(),
        inputs: pairs.files().iter().map(|file| file.sha256).collect(),
        columns: [&arguments.anchor_column, &arguments.positive_column],
        corpus: corpus.iter().map(|file| file.sha256).collect(),
        corpus_column: &arguments.corpus_column,
    };
    let mut vectors = Vectors::open(arguments, &vectors_settings)?;
    let report = vectors.embed(session, &encoder, &pairs, arguments.chunk_rows).and_then(
        |(anchors, documents)| {
            drop(encoder);
            find(session, arguments, &settings, &pairs, anchors, documents)
        },
    );
    let report = match report {
        Ok(report) => report,
        Err(error) => {
            vectors.keep_for_another_run();
            return Err(error);
        }
    };
    let record = Record {
        coderag_version: env!("CARGO_PKG_VERSION"),
        model: RecordedModel {
            name: &arguments.model,
            adapter: arguments.adapter.as_deref(),
            fingerprint,
            precision: arguments.precision.to_string(),
        },
        settings: &settings,
        on_too_few: arguments.on_too_few.into(),
        judge: arguments.judge.as_deref().map(|model| RecordedJudge {
            model,
            endpoint: arguments.judge_endpoint.as_deref(),
            prompt_sha256: Digest::of(PROMPT),
        }),
        columns: &sources[0].columns,
        inputs: pairs.files(),
        corpus: &corpus,
        corpus_column: (!corpus.is_empty()).then_some(arguments.corpus_column.as_str()),
        output_sha256: Digest::of_file(&arguments.output)?,
        report: &report,
    };
    write_record(&record_path(&arguments.output), &record)?;
    vectors.finish(arguments.keep_vectors)?;
    if arguments.json {
        return output::json(&report);
    }
    summary::print(&report.mining, report.judged.as_ref(), arguments);
    Ok(())
}

/// Mines, judges and writes, now that all texts are embedded.
fn find(
    session: &Session,
    arguments: &MineArguments,
    settings: &MiningSettings,
    pairs: &Pairs,
    anchors: Embeddings,
    documents: Embeddings,
) -> Result<Report> {
    let mut mined = mine(pairs, &anchors, &documents, settings, &session.progress)?;
    drop((anchors, documents));
    let judged = match judge_arguments(arguments) {
        Some(named) => {
            let model = language_model::open(session, &named)?;
            Some(judge(pairs, &mut mined, &*model, &session.progress)?)
        }
        None => None,
    };
    let layout = Layout {
        negatives: settings.negatives,
        on_too_few: arguments.on_too_few.into(),
        scores: arguments.scores,
    };
    let written = write(&arguments.output, pairs, &mined, &layout, &session.progress)?;
    Ok(Report { mining: MiningReport::new(pairs, &mined, written), judged })
}

fn settings(arguments: &MineArguments) -> MiningSettings {
    MiningSettings {
        negatives: arguments.negatives,
        range_min: arguments.range_min,
        range_max: arguments.range_max,
        absolute_margin: arguments.absolute_margin,
        relative_margin: (!arguments.no_relative_margin).then_some(arguments.relative_margin),
        max_score: arguments.max_score,
        min_score: arguments.min_score,
        sampling: arguments.sampling.into(),
        seed: arguments.seed,
    }
}

fn judge_arguments(arguments: &MineArguments) -> Option<LanguageModelArguments> {
    arguments.judge.as_ref().map(|model| LanguageModelArguments {
        model: model.clone(),
        endpoint: arguments.judge_endpoint.clone(),
        api_key_variable: arguments.judge_api_key_variable.clone(),
    })
}

/// The library's advice is for a configuration file.
fn in_words_of_the_command(error: Error) -> anyhow::Error {
    match error {
        Error::BadRows { bad_rows } => {
            anyhow!("{bad_rows}; correct them, or leave them out with --on-bad-row skip")
        }
        Error::MissingColumn { path, column, found } => anyhow!(
            "{} has no column `{column}`, only `{}`; name the columns with --anchor-column and \
             --positive-column",
            path.display(),
            found.join("`, `")
        ),
        error => error.into(),
    }
}

/// Adds the texts of `--corpus` to the documents.
fn add_corpus(
    session: &Session,
    arguments: &MineArguments,
    pairs: &mut Pairs,
) -> Result<Vec<CorpusFile>> {
    let task = session.progress.task("reading the corpus", None, Unit::Items);
    let mut files = Vec::new();
    for path in &arguments.corpus {
        let mut hasher = Hasher::new();
        let bytes = hasher.update_file(path)?;
        let mut new_documents = 0;
        for text in TextSource::new(path, &arguments.corpus_column, None)?.open()? {
            new_documents += u64::from(pairs.add_document(text?)?);
            task.advance(1);
        }
        files.push(CorpusFile {
            path: path.clone(),
            bytes,
            sha256: hasher.finish(),
            new_documents,
        });
    }
    Ok(files)
}

fn record_path(output: &Path) -> PathBuf {
    let mut path = output.as_os_str().to_owned();
    path.push(".mining.json");
    path.into()
}

fn write_record(path: &Path, record: &Record<'_>) -> Result<()> {
    atomic::write_file(path, |file| {
        serde_json::to_writer_pretty(&mut *file, record)
            .map_err(std::io::Error::from)
            .and_then(|()| writeln!(file))
            .map_err(CoreError::io("write", path))
    })?;
    Ok(())
}
