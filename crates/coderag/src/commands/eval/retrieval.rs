use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write;

use anyhow::{Context as _, Result, bail};
use coderag_core::{Digest, Document, Embedder as _, Progress as _, TextRole, Unit, atomic};
use coderag_corpus::meta;
use coderag_eval::retrieval::{
    DocumentGroups, Judgements, MetricsAtCutoff, Ranking, RankingMetrics, RetrievalMetrics,
    ScoredDocument, evaluate,
};
use coderag_index::{Index, SearchMode, VectorRetriever};
use serde::Serialize;
use serde_json::Value;

use crate::arguments::EvalRetrievalArguments;
use crate::commands::Session;
use crate::output;

/// How many queries are embedded at once, between two steps of the progress bar.
const QUERIES_AT_ONCE: usize = 256;

pub(crate) fn run(session: &Session, arguments: &EvalRetrievalArguments) -> Result<()> {
    let judgements = Judgements::read(&arguments.qrels)?;
    let queries = read_queries(arguments)?;
    // The others would be left out of the metrics.
    let judged: BTreeMap<&str, &str> = queries
        .iter()
        .filter(|(id, _)| judgements.of(id).is_some())
        .map(|(id, text)| (id.as_str(), text.as_str()))
        .collect();
    if judged.is_empty() {
        bail!(
            "no query of {} has a judgement in {}; is `{}` the field of the ids?",
            arguments.queries.display(),
            arguments.qrels.display(),
            arguments.id_field
        );
    }
    let index = Index::open(&arguments.index)?;
    let groups = if arguments.unique_texts {
        groups_of_texts(index.documents())
    } else {
        DocumentGroups::default()
    };
    let relevant = judged.keys().filter_map(|id| judgements.of(id)).flatten();
    let relevant = relevant.filter(|(_, relevance)| **relevance > 0).map(|(id, _)| id.as_str());
    warn_of_unknown_documents(relevant, &groups, index.documents());
    let rankings = search(session, arguments, &index, &groups, &judged)?;
    let metrics = evaluate(&groups.judge(&judgements), &rankings, &arguments.k);
    if let Some(path) = &arguments.details {
        atomic::write_file(path, |writer| {
            write_details(writer, &judged, &rankings, &metrics)
                .with_context(|| format!("cannot write {}", path.display()))
        })?;
    }
    print(&metrics, queries.len() - judged.len(), arguments.json)
}

/// The text of each query by its id.
fn read_queries(arguments: &EvalRetrievalArguments) -> Result<BTreeMap<String, String>> {
    let path = &arguments.queries;
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    if name == "-" || name.trim_end_matches(".gz").ends_with(".txt") {
        bail!(
            "queries need ids, which lines of text lack: expected .jsonl, .csv or .parquet with the \
             fields `{}` and `{}` in place of {}",
            arguments.id_field,
            arguments.field,
            path.display()
        );
    }
    let ids = coderag_corpus::read_texts(path, &arguments.id_field)?;
    let texts = coderag_corpus::read_texts(path, &arguments.field)?;
    let mut queries = BTreeMap::new();
    for (id, text) in ids.into_iter().zip(texts) {
        if queries.contains_key(&id) {
            bail!("{}: two queries have the id `{id}`", path.display());
        }
        queries.insert(id, text);
    }
    Ok(queries)
}

/// Searches for every query, to the lowest place that a metric looks at.
fn search(
    session: &Session,
    arguments: &EvalRetrievalArguments,
    index: &Index,
    groups: &DocumentGroups,
    queries: &BTreeMap<&str, &str>,
) -> Result<BTreeMap<String, Ranking>> {
    let model = arguments.model.as_ref().unwrap_or(&index.manifest().model.name);
    let encoder = session.encoder(model, arguments.adapter.as_deref())?;
    let mode = if arguments.exact { SearchMode::Exact } else { SearchMode::Approximate };
    // Refuses another model than that of the index. It embeds queries singly, so it is not kept.
    VectorRetriever::new(index, &encoder, mode)?;

    let lowest = arguments.k.iter().map(|k| k.get()).max().unwrap_or_default();
    // Among so many documents there are `lowest` of different texts.
    let limit = if arguments.unique_texts {
        lowest.saturating_mul(most_of_one_text(index.documents()))
    } else {
        lowest
    };
    let queries: Vec<(&str, &str)> = queries.iter().map(|(id, text)| (*id, *text)).collect();
    let task =
        session.progress.task("searching for queries", Some(queries.len() as u64), Unit::Items);
    let mut rankings = BTreeMap::new();
    for batch in queries.chunks(QUERIES_AT_ONCE) {
        let texts: Vec<&str> = batch.iter().map(|(_, text)| *text).collect();
        let vectors = encoder.embed(&texts, TextRole::Query)?;
        for ((id, _), vector) in batch.iter().zip(vectors.rows()) {
            let matches = index
                .search(vector, limit, mode)
                .with_context(|| format!("cannot search for query `{id}`"))?;
            let found = matches.iter().filter_map(|found| {
                let document = index.documents().get(found.position)?;
                Some(ScoredDocument { id: document.id.clone(), score: found.score })
            });
            let ranking = groups.rank(&Ranking::new(found)).truncated(lowest);
            rankings.insert((*id).to_owned(), ranking);
        }
        task.advance(batch.len() as u64);
    }
    Ok(rankings)
}

/// Documents of the index with the same text as one, and with them those that were not indexed because
/// a document with their text was.
fn groups_of_texts(documents: &[Document]) -> DocumentGroups {
    let indexed = documents.iter().map(|document| (document.id.clone(), document.sha256));
    let collapsed = documents
        .iter()
        .flat_map(|document| not_indexed(document).map(|id| (id.to_owned(), document.sha256)));
    DocumentGroups::new(indexed.chain(collapsed))
}

/// The ids of the documents that were collapsed into this one.
fn not_indexed(document: &Document) -> impl Iterator<Item = &str> {
    let same = document.meta.get(meta::SAME_TEXT).and_then(Value::as_array);
    same.into_iter().flatten().filter_map(|entry| entry.get("id")?.as_str())
}

/// How many documents have the text that most have.
fn most_of_one_text(documents: &[Document]) -> usize {
    let mut counts: HashMap<Digest, usize> = HashMap::new();
    for document in documents {
        *counts.entry(document.sha256).or_default() += 1;
    }
    counts.into_values().max().unwrap_or(1)
}

/// Relevant documents that no search can find lower the recall, which is more often a mistake in the ids
/// than meant.
fn warn_of_unknown_documents<'a>(
    relevant: impl Iterator<Item = &'a str>,
    groups: &'a DocumentGroups,
    documents: &[Document],
) {
    let indexed: HashSet<&str> = documents.iter().map(|document| document.id.as_str()).collect();
    let mut unknown: HashSet<&str> = relevant.map(|document| groups.group_of(document)).collect();
    unknown.retain(|document| !indexed.contains(document));
    if unknown.is_empty() {
        return;
    }
    tracing::warn!("relevant documents that are not in the index: {}", unknown.len());
    let collapsed: HashSet<&str> = documents.iter().flat_map(not_indexed).collect();
    let same = unknown.intersection(&collapsed).count();
    if same > 0 {
        tracing::warn!(
            "of these, documents whose text is in the index under another id: {same}; count them with \
             --unique-texts"
        );
    }
}

/// What `--details` writes for each query.
#[derive(Serialize)]
struct Detail<'a> {
    id: &'a str,
    query: &'a str,
    #[serde(flatten)]
    metrics: &'a RankingMetrics,
    ranking: &'a Ranking,
}

fn write_details(
    writer: &mut dyn Write,
    queries: &BTreeMap<&str, &str>,
    rankings: &BTreeMap<String, Ranking>,
    metrics: &RetrievalMetrics,
) -> Result<()> {
    for (id, metrics) in &metrics.queries {
        if let (Some(query), Some(ranking)) = (queries.get(id.as_str()), rankings.get(id)) {
            serde_json::to_writer(&mut *writer, &Detail { id, query, metrics, ranking })?;
            writeln!(writer)?;
        }
    }
    Ok(())
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    queries: usize,
    queries_without_judgements: usize,
    judged_queries_not_searched: usize,
    at: &'a [MetricsAtCutoff],
}

fn print(metrics: &RetrievalMetrics, without_judgements: usize, json: bool) -> Result<()> {
    let report = Report {
        queries: metrics.queries.len(),
        queries_without_judgements: without_judgements,
        judged_queries_not_searched: metrics.without_ranking,
        at: &metrics.mean.at,
    };
    if json {
        return output::json(&report);
    }
    let cutoffs = report.at.iter().map(|at| format!("@{}", at.k));
    let header: Vec<String> = ["metric".to_owned()].into_iter().chain(cutoffs).collect();
    let row = |name: &str, value: fn(&MetricsAtCutoff) -> f64| -> Vec<String> {
        let values = report.at.iter().map(|at| format!("{:.4}", value(at)));
        [name.to_owned()].into_iter().chain(values).collect()
    };
    let rows = [
        row("Recall", |at| at.recall),
        row("Precision", |at| at.precision),
        row("MRR", |at| at.mrr),
        row("nDCG", |at| at.ndcg),
        row("MAP", |at| at.map),
    ];
    let right: Vec<usize> = (1..header.len()).collect();
    output::table(&header, &rows, &right)?;
    output::line(format_args!(
        "\n{} queries; left out: {} without judgements, {} judged but not among the queries",
        report.queries, report.queries_without_judgements, report.judged_queries_not_searched
    ))
}
