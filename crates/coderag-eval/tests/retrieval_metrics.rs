//! Retrieval metrics against pytrec_eval's, and what must hold for any ranking.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;

use coderag_eval::retrieval::{
    DocumentGroups, Judgements, Ranking, RetrievalMetrics, ScoredDocument, evaluate, read_run,
};
use proptest::prelude::*;
use serde_json::Value;

/// Made by scripts/reference_metrics.py.
fn fixture() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixture/retrieval_metrics.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn cutoffs(values: impl IntoIterator<Item = usize>) -> Vec<NonZeroUsize> {
    values.into_iter().map(|k| NonZeroUsize::new(k).unwrap()).collect()
}

fn judgements(value: &Value) -> Judgements {
    let mut judgements = Judgements::default();
    for (query, documents) in value.as_object().unwrap() {
        for (document, relevance) in documents.as_object().unwrap() {
            judgements.insert(query, document, relevance.as_i64().unwrap());
        }
    }
    judgements
}

fn rankings(value: &Value) -> BTreeMap<String, Ranking> {
    let document = |(id, score): (&String, &Value)| ScoredDocument {
        id: id.clone(),
        score: score.as_f64().unwrap() as f32,
    };
    let ranking = |(query, documents): (&String, &Value)| {
        (query.clone(), Ranking::new(documents.as_object().unwrap().iter().map(document)))
    };
    value.as_object().unwrap().iter().map(ranking).collect()
}

/// Compares numbers up to the digits that the fixture gives, which are more than the six asked for.
fn assert_same(found: &Value, expected: &Value, place: &str) {
    match (found, expected) {
        (Value::Number(found), Value::Number(expected)) => {
            let difference = found.as_f64().unwrap() - expected.as_f64().unwrap();
            assert!(difference.abs() < 1e-9, "{place}: {found} instead of {expected}");
        }
        (Value::Object(found), Value::Object(expected)) => {
            let keys = |object: &serde_json::Map<String, Value>| -> BTreeSet<String> {
                object.keys().cloned().collect()
            };
            assert_eq!(keys(found), keys(expected), "{place}");
            for (key, value) in expected {
                assert_same(&found[key], value, &format!("{place}.{key}"));
            }
        }
        (Value::Array(found), Value::Array(expected)) => {
            assert_eq!(found.len(), expected.len(), "{place}");
            for (number, (found, expected)) in found.iter().zip(expected).enumerate() {
                assert_same(found, expected, &format!("{place}[{number}]"));
            }
        }
        _ => assert_eq!(found, expected, "{place}"),
    }
}

fn json(metrics: &RetrievalMetrics) -> Value {
    serde_json::to_value(metrics).unwrap()
}

fn fixture_cutoffs(fixture: &Value) -> Vec<NonZeroUsize> {
    let values = fixture["cutoffs"].as_array().unwrap();
    cutoffs(values.iter().map(|k| k.as_u64().unwrap() as usize))
}

#[test]
fn metrics_are_those_of_pytrec_eval() {
    let fixture = fixture();
    let cutoffs = fixture_cutoffs(&fixture);
    let (mut queries, mut hits) = (0, 0.0);
    for (number, case) in fixture["cases"].as_array().unwrap().iter().enumerate() {
        let metrics = evaluate(&judgements(&case["judgements"]), &rankings(&case["run"]), &cutoffs);
        assert_same(&json(&metrics), &case["expected"], &format!("case {number}"));
        queries += metrics.queries.len();
        hits += metrics.queries.values().map(|query| query.mrr.ceil()).sum::<f64>();
    }
    // The fixture has queries enough, with and without a relevant document found.
    assert!(queries > 50 && hits > 20.0 && hits < queries as f64, "{queries} {hits}");
}

#[test]
fn documents_with_the_same_text_count_as_one() {
    let fixture = fixture();
    let cutoffs = fixture_cutoffs(&fixture);
    let mut changed = 0;
    for (number, case) in fixture["cases"].as_array().unwrap().iter().enumerate() {
        let texts = case["texts"].as_object().unwrap();
        let groups = DocumentGroups::new(texts.iter().map(|(id, text)| (id.clone(), text)));
        let judgements = groups.judge(&judgements(&case["judgements"]));
        let rankings = rankings(&case["run"]);
        let rankings: BTreeMap<String, Ranking> =
            rankings.iter().map(|(query, ranking)| (query.clone(), groups.rank(ranking))).collect();
        let expected = &case["expected_with_unique_texts"];
        let place = format!("case {number}");
        assert_same(&json(&evaluate(&judgements, &rankings, &cutoffs)), expected, &place);
        changed += usize::from(*expected != case["expected"]);
    }
    assert!(changed > 5, "{changed}");
}

#[test]
fn files_are_read_as_pytrec_eval_reads_them() {
    let fixture = fixture();
    let files = &fixture["files"];
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let qrels = files["qrels"].as_str().unwrap();
    let run = read_run(&write("run.trec", files["run"].as_str().unwrap())).unwrap();
    let judgements = Judgements::read(&write("qrels.txt", qrels)).unwrap();
    let metrics = json(&evaluate(&judgements, &run, &fixture_cutoffs(&fixture)));
    assert_same(&metrics, &files["expected"], "files");

    // The same in the other formats, and in their spellings.
    let fields = qrels.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let (mut beir, mut objects) = ("query-id\tcorpus-id\tscore\r\n".to_owned(), String::new());
    for (number, fields) in fields.enumerate() {
        let (query, document, relevance) = (fields[0], fields[2], fields[3]);
        let quote = if number % 2 == 0 { "\"" } else { "" };
        beir.push_str(&format!("{query}\t{quote}{document}{quote}\t{relevance}\r\n"));
        let names = [
            ["query_id", "document_id", "relevance"],
            ["query_id", "corpus_id", "score"],
            ["query-id", "corpus-id", "score"],
        ][number % 3];
        let [query_name, document_name, relevance_name] = names;
        objects.push_str(&format!(
            "{{\"{relevance_name}\": {relevance}, \"{query_name}\": \"{query}\", \
             \"other\": [], \"{document_name}\": \"{document}\"}}\n\n"
        ));
    }
    assert_eq!(Judgements::read(&write("qrels.tsv", &beir)).unwrap(), judgements);
    assert_eq!(Judgements::read(&write("qrels.jsonl", &objects)).unwrap(), judgements);
    let tabs = qrels.replace(' ', "\t");
    assert_eq!(Judgements::read(&write("qrels.tsv", &tabs)).unwrap(), judgements);
}

#[test]
fn quotes_within_an_id_are_read_as_python_writes_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("qrels.tsv");
    fs::write(&path, "q\td\ts\nq1\t\"say \"\"hi\"\"\"\t1\nq1\tan \"inner\" one\t2\n").unwrap();
    let judgements = Judgements::read(&path).unwrap();
    let documents: Vec<&str> = judgements.of("q1").unwrap().keys().map(String::as_str).collect();
    assert_eq!(documents, ["an \"inner\" one", "say \"hi\""]);
}

#[test]
fn errors_name_the_file_and_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let named = |message: String| {
        let prefix = format!("{}:", path.display());
        message.strip_prefix(&prefix).map(str::to_owned).ok_or(message).unwrap()
    };
    let judgements = |content: &[u8]| {
        fs::write(&path, content).unwrap();
        named(Judgements::read(&path).unwrap_err().to_string())
    };
    for (content, message) in [
        ("q 0 d 1\nq 0 e\n", "2: expected `query 0 document relevance`, found 3 fields"),
        ("q 0 d 1\n\nq 0 d 1\n", "3: document `d` is judged twice for query `q`"),
        ("q 0 d 1.5\n", "1: the relevance `1.5` is not an integer"),
        ("q\td\t1\n", "1: expected a header such as `query-id corpus-id score`"),
        ("q\td\ts\nq\td\n", "2: expected three columns separated by tabs, found 2"),
        ("q\td\ts\nq\td\tx\n", "2: the relevance `x` is not an integer"),
    ] {
        assert_eq!(judgements(content.as_bytes()), message);
    }
    assert_eq!(judgements(b"q 0 d 1\nq 0 \xff 1\n"), "2: not UTF-8 text");
    for (content, part) in [
        ("{\"query_id\": \"q\", \"document_id\": \"d\"}", "missing field `relevance`"),
        ("{\"query_id\": 1, \"document_id\": \"d\", \"relevance\": 1}", "invalid type: integer"),
        ("{\"query_id\": \"q\", \"document_id\": \"d\", \"score\": 0.5}", "invalid type: floating"),
        ("{\"query_id\"", "EOF"),
    ] {
        let message = judgements(content.as_bytes());
        assert!(message.starts_with("1: expected `query_id`, `document_id` and"), "{message}");
        assert!(message.contains(part), "{message}");
    }

    let run = |content: &str| {
        fs::write(&path, content).unwrap();
        named(read_run(&path).unwrap_err().to_string())
    };
    for (content, message) in [
        ("q Q0 d 1 0.5\n", "1: expected `query Q0 document rank score run`, found 5 fields"),
        ("q Q0 d 1 0.5 r\nq Q0 d 2 0.4 r\n", "2: document `d` is ranked twice for query `q`"),
        ("q Q0 d 1 high r\n", "1: the score `high` is not a number"),
        ("q Q0 d 1 nan r\n", "1: the score `nan` is not a number"),
    ] {
        assert_eq!(run(content), message);
    }

    let absent = Path::new("/no/such/file");
    assert!(Judgements::read(absent).unwrap_err().to_string().contains("/no/such/file"));
    assert!(read_run(absent).unwrap_err().to_string().contains("/no/such/file"));
}

#[test]
fn a_score_that_is_not_a_number_is_the_lowest_and_a_document_keeps_its_better_place() {
    let scored = [("a", f32::NAN), ("b", 1.0), ("c", f32::NEG_INFINITY), ("b", 2.0), ("d", 1.5)];
    let ranking = Ranking::new(scored.map(|(id, score)| ScoredDocument { id: id.into(), score }));
    let ids: Vec<&str> = ranking.documents().iter().map(|document| document.id.as_str()).collect();
    assert_eq!(ids, ["b", "d", "c", "a"]);
    let ids = ranking.truncated(2);
    assert_eq!(ids.documents().len(), 2);
}

#[test]
fn nothing_to_evaluate_gives_zeros() {
    let metrics = evaluate(&Judgements::default(), &BTreeMap::new(), &cutoffs([10, 1, 10]));
    assert_eq!(metrics.mean.at.iter().map(|at| at.k).collect::<Vec<_>>(), [1, 10]);
    assert!(all(&metrics).all(|value| value == 0.0));
}

/// Every metric of every query and of the means.
fn all(metrics: &RetrievalMetrics) -> impl Iterator<Item = f64> {
    metrics.queries.values().chain([&metrics.mean]).flat_map(|of| {
        let at = of.at.iter().flat_map(|at| [at.recall, at.precision, at.mrr, at.ndcg, at.map]);
        at.chain([of.mrr, of.map])
    })
}

/// Query, document, relevance.
fn any_judgements() -> impl Strategy<Value = Vec<(u8, u8, i64)>> {
    let relevance = prop_oneof![8 => -2..4_i64, 1 => any::<i64>()];
    proptest::collection::vec((0..6_u8, 0..12_u8, relevance), 0..60)
}

fn any_rankings() -> impl Strategy<Value = Vec<(u8, u8, f32)>> {
    let score = prop_oneof![4 => (0..4_u8).prop_map(f32::from), 1 => any::<f32>()];
    proptest::collection::vec((0..6_u8, 0..12_u8, score), 0..60)
}

fn judged(lines: &[(u8, u8, i64)], query: impl Fn(u8) -> u8) -> Judgements {
    let mut judgements = Judgements::default();
    for &(number, document, relevance) in lines {
        judgements.insert(query(number).to_string(), document.to_string(), relevance);
    }
    judgements
}

fn ranked(lines: &[(u8, u8, f32)], query: impl Fn(u8) -> u8) -> BTreeMap<String, Ranking> {
    let mut queries: BTreeMap<String, Vec<ScoredDocument>> = BTreeMap::new();
    for &(number, document, score) in lines {
        let document = ScoredDocument { id: document.to_string(), score };
        queries.entry(query(number).to_string()).or_default().push(document);
    }
    queries.into_iter().map(|(query, documents)| (query, Ranking::new(documents))).collect()
}

proptest! {
    #[test]
    fn every_metric_is_between_0_and_1(judgements in any_judgements(), rankings in any_rankings()) {
        let judgements = judged(&judgements, |query| query);
        let rankings = ranked(&rankings, |query| query);
        let metrics = evaluate(&judgements, &rankings, &cutoffs([1, 2, 5, 100]));
        prop_assert!(all(&metrics).all(|value| (0.0..=1.0 + 1e-12).contains(&value)));
        for query in metrics.queries.values() {
            // Deeper is never worse, but for precision and nDCG.
            for pair in query.at.windows(2) {
                prop_assert!(pair[0].recall <= pair[1].recall);
                prop_assert!(pair[0].mrr <= pair[1].mrr);
                prop_assert!(pair[0].map <= pair[1].map);
            }
            // No ranking is longer than the last cutoff.
            let last = query.at.last().unwrap();
            prop_assert_eq!((last.mrr, last.map), (query.mrr, query.map));
        }
        let evaluated = metrics.queries.len();
        prop_assert_eq!(evaluated + metrics.without_judgements, rankings.len());
        prop_assert_eq!(evaluated + metrics.without_ranking, judgements.iter().count());
    }

    #[test]
    fn permuting_queries_and_lines_changes_no_mean(
        judgements in any_judgements(),
        rankings in any_rankings(),
        shift in 0..6_u8,
    ) {
        let cutoffs = cutoffs([1, 3, 10]);
        let before = evaluate(
            &judged(&unique(&judgements), |query| query),
            &ranked(&rankings, |query| query),
            &cutoffs,
        );
        let other = |query| (query + shift) % 6;
        let (mut judgements, mut rankings) = (unique(&judgements), rankings);
        judgements.reverse();
        rankings.reverse();
        let after = evaluate(&judged(&judgements, other), &ranked(&rankings, other), &cutoffs);
        for (before, after) in all_means(&before).zip(all_means(&after)) {
            prop_assert!((before - after).abs() < 1e-12);
        }
    }

    #[test]
    fn the_best_ranking_gives_1(judgements in any_judgements()) {
        let judgements = judged(&judgements, |query| query);
        let rankings: BTreeMap<String, Ranking> = judgements
            .iter()
            .map(|(query, documents)| {
                // The most relevant first; the scores are places, as relevance may be too large for one.
                let mut best: Vec<(&String, &i64)> = documents.iter().collect();
                best.sort_by_key(|(_, relevance)| **relevance);
                let documents = (0_u8..).zip(best).map(|(place, (id, _))| ScoredDocument {
                    id: id.clone(),
                    score: f32::from(place),
                });
                (query.to_owned(), Ranking::new(documents))
            })
            .collect();
        let metrics = evaluate(&judgements, &rankings, &cutoffs([1, 4, 12]));
        for (query, of) in &metrics.queries {
            let values = judgements.of(query).unwrap().values();
            let relevant = values.filter(|&&relevance| relevance > 0).count();
            for at in &of.at {
                let found = relevant.min(at.k) as f64;
                let one = f64::from(u8::from(relevant > 0));
                prop_assert_eq!(at.precision, found / at.k as f64);
                prop_assert_eq!(at.recall, found / (relevant.max(1) as f64));
                prop_assert_eq!((at.mrr, at.ndcg, of.mrr, of.map), (one, one, one, one));
            }
        }
    }
}

/// The lines without those that judge a document again, which would make their order matter.
fn unique(lines: &[(u8, u8, i64)]) -> Vec<(u8, u8, i64)> {
    let mut seen = BTreeSet::new();
    let first = |line: &&(u8, u8, i64)| seen.insert((line.0, line.1));
    lines.iter().filter(first).copied().collect()
}

fn all_means(metrics: &RetrievalMetrics) -> impl Iterator<Item = f64> {
    let mean = RetrievalMetrics { mean: metrics.mean.clone(), ..RetrievalMetrics::default() };
    all(&mean).collect::<Vec<_>>().into_iter()
}
