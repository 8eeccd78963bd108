use std::path::Path;

use anyhow::Result;
use coderag_core::{Hit, Retriever as _};
use coderag_index::{BuildOptions, Index, ScalarKind, SearchMode, VectorRetriever};
use serde::Serialize;

use crate::arguments::{IndexBuildArguments, IndexCommand, IndexSearchArguments, Scalar};
use crate::commands::Session;
use crate::output;

pub(crate) fn run(session: &Session, command: &IndexCommand) -> Result<()> {
    match command {
        IndexCommand::Build(arguments) => build(session, arguments),
        IndexCommand::Search(arguments) => search(session, arguments),
        IndexCommand::Info { index, json } => info(index, *json),
        IndexCommand::Verify { index } => verify(session, index),
    }
}

fn build(session: &Session, arguments: &IndexBuildArguments) -> Result<()> {
    let documents = coderag_corpus::read_all(&arguments.corpus)?;
    let encoder = session.encoder(&arguments.model, arguments.adapter.as_deref())?;
    let options = BuildOptions {
        scalar: match arguments.scalar {
            Scalar::F32 => ScalarKind::F32,
            Scalar::F16 => ScalarKind::F16,
            Scalar::I8 => ScalarKind::I8,
        },
        connectivity: arguments.connectivity,
        expansion_add: arguments.expansion_add,
        expansion_search: arguments.expansion_search,
        ..BuildOptions::default()
    };
    let manifest = coderag_index::build(
        &documents,
        &encoder,
        &arguments.model,
        &arguments.output,
        &options,
        &session.progress,
    )?;
    output::note(format_args!(
        "indexed {} documents in {}",
        manifest.documents,
        arguments.output.display()
    ));
    Ok(())
}

/// What a search prints for one query.
#[derive(Serialize)]
struct Found<'a> {
    query: &'a str,
    hits: &'a [Hit],
}

/// What a search prints for each of many queries.
#[derive(Serialize)]
struct FoundBriefly<'a> {
    query: &'a str,
    hits: Vec<BriefHit<'a>>,
}

#[derive(Serialize)]
struct BriefHit<'a> {
    id: &'a str,
    score: f32,
}

fn search(session: &Session, arguments: &IndexSearchArguments) -> Result<()> {
    let index = Index::open(&arguments.index)?;
    let model = arguments.model.as_ref().unwrap_or(&index.manifest().model.name);
    let encoder = session.encoder(model, arguments.adapter.as_deref())?;
    let mode = if arguments.exact { SearchMode::Exact } else { SearchMode::Approximate };
    let retriever = VectorRetriever::new(&index, &encoder, mode)?;
    if let Some(queries) = &arguments.queries {
        for query in coderag_corpus::read_texts(queries, &arguments.field)? {
            let hits = retriever.retrieve(&query, arguments.k)?;
            let hits = hits.iter().map(|hit| BriefHit { id: &hit.document.id, score: hit.score });
            output::json_line(&FoundBriefly { query: &query, hits: hits.collect() })?;
        }
        return Ok(());
    }
    let query = arguments.query.as_deref().unwrap_or_default();
    let hits = retriever.retrieve(query, arguments.k)?;
    if arguments.json {
        return output::json(&Found { query, hits: &hits });
    }
    for hit in &hits {
        output::line(format_args!(
            "{:.3}  {}\n{}\n",
            hit.score,
            output::printable(&hit.document.title),
            output::printable(hit.document.text.trim_end())
        ))?;
    }
    Ok(())
}

fn info(index: &Path, json: bool) -> Result<()> {
    let index = Index::open(index)?;
    let manifest = index.manifest();
    if json {
        return output::json(manifest);
    }
    let bytes: u64 = manifest.files.values().map(|file| file.bytes).sum();
    for (name, value) in [
        ("documents", manifest.documents.to_string()),
        ("dimensions", manifest.dimensions.to_string()),
        ("model", manifest.model.name.clone()),
        ("fingerprint", manifest.model.fingerprint.to_string()),
        ("scalar", format!("{:?}", manifest.scalar).to_lowercase()),
        ("connectivity", manifest.connectivity.to_string()),
        ("expansion (add)", manifest.expansion_add.to_string()),
        ("expansion (search)", manifest.expansion_search.to_string()),
        ("self-recall", format!("{:.4}", manifest.self_recall)),
        ("size", indicatif::DecimalBytes(bytes).to_string()),
        ("built by", format!("coderag {}", manifest.coderag_version)),
    ] {
        output::line(format_args!("{name:18}  {value}"))?;
    }
    Ok(())
}

fn verify(session: &Session, index: &Path) -> Result<()> {
    let opened = Index::open(index)?;
    let recall = opened.verify(&session.progress)?;
    output::line(format_args!(
        "{}: ok, {} documents, self-recall {recall:.4}",
        index.display(),
        opened.documents().len()
    ))
}
