//! What a trained model is, for those who find it: `README.md` in its folder, with metadata in YAML before the
//! text as on model hubs and in sentence-transformers' and PEFT's own cards.

use std::fmt::{self, Write as _};

use coderag_eval::report::figures::Duration;
use coderag_eval::report::markup::Count;
use coderag_eval::report::quoting::{code_block, code_cell, code_span, quoted, shell_word};

use crate::config::StageConfig;
use crate::evaluation::Scores;
use crate::loss::Loss;
use crate::report::RunSummary;

/// The card of a model in sentence-transformers' layout.
pub fn of_model(summary: &RunSummary) -> String {
    card(summary, Kind::Model)
}

/// The card of an adapter in PEFT's layout.
pub fn of_adapter(summary: &RunSummary) -> String {
    card(summary, Kind::Adapter)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Model,
    Adapter,
}

fn card(summary: &RunSummary, kind: Kind) -> String {
    let mut text = String::new();
    // Writing to a text cannot fail.
    let _ = write_card(&mut text, summary, kind);
    text
}

fn write_card(text: &mut String, summary: &RunSummary, kind: Kind) -> fmt::Result {
    write_metadata(text, summary, kind)?;
    let base = code_span(&summary.base_model);
    match kind {
        Kind::Model => write!(
            text,
            "\n# Text embeddings trained from {base}\n\nA [sentence-transformers](https://www.sbert.net) model, \
             trained from {base} with CodeRAG {}. It turns texts into vectors whose cosine says how well a \
             document fits a query.\n",
            summary.coderag_version
        )?,
        Kind::Adapter => write!(
            text,
            "\n# LoRA adapter for {base}\n\nAn adapter for [PEFT](https://github.com/huggingface/peft), trained \
             with CodeRAG {}. With it {base} turns texts into vectors whose cosine says how well a document \
             fits a query.\n",
            summary.coderag_version
        )?,
    }
    for warning in &summary.warnings {
        let warning: String =
            warning.chars().map(|it| if it.is_control() { ' ' } else { it }).collect();
        write!(text, "\n> **Warning:** {}\n", code_span(&warning))?;
    }
    write_usage(text, summary, kind)?;
    write_scores(text, summary)?;
    write_data(text, summary)?;
    write_training(text, summary)
}

/// The metadata that hubs read. Data sets are left out: what is trained on are files, not names on a hub.
fn write_metadata(text: &mut String, summary: &RunSummary, kind: Kind) -> fmt::Result {
    let base = Some(&summary.base_model).filter(|name| is_hub_name(name));
    writeln!(text, "---")?;
    let library = match kind {
        Kind::Model => "sentence-transformers",
        Kind::Adapter => "peft",
    };
    writeln!(text, "library_name: {library}\npipeline_tag: sentence-similarity")?;
    if let Some(base) = base {
        writeln!(text, "base_model: {}", quoted(base))?;
    }
    writeln!(
        text,
        "tags:\n- sentence-transformers\n- sentence-similarity\n- feature-extraction\n- dense"
    )?;
    if kind == Kind::Adapter {
        writeln!(text, "- lora")?;
        if let Some(base) = base {
            writeln!(text, "- {}", quoted(&format!("base_model:adapter:{base}")))?;
        }
    }
    let examples: u64 = summary.manifests.iter().map(|manifest| manifest.rows()).sum();
    writeln!(text, "- coderag\n- \"dataset_size:{examples}\"")?;
    let mut losses: Vec<&str> = summary.config.stages.iter().flat_map(losses).collect();
    losses.sort_unstable();
    losses.dedup();
    for loss in losses {
        writeln!(text, "- \"loss:{loss}\"")?;
    }
    if let (Some(best), Some(settings)) = (&summary.best, &summary.config.evaluation) {
        let name = quoted(&settings.source.name);
        writeln!(
            text,
            "model-index:\n- name: {}\n  results:\n  - task:\n      type: information-retrieval\n      name: \
             Information Retrieval\n    dataset:\n      name: {name}\n      type: {name}\n    metrics:",
            quoted(&format!("trained from {}", summary.base_model))
        )?;
        for (metric, value) in METRICS {
            let (name, value) = (metric.to_lowercase(), value(&best.scores));
            writeln!(
                text,
                "    - type: \"cosine_{name}\"\n      value: {value:.6}\n      name: \"Cosine {metric}\""
            )?;
        }
    }
    writeln!(text, "---")
}

/// A score and its name on hubs.
type Metric = (&'static str, fn(&Scores) -> f64);

const METRICS: [Metric; 5] = [
    ("Recall@1", |scores| scores.recall_at_1),
    ("Recall@5", |scores| scores.recall_at_5),
    ("Recall@10", |scores| scores.recall_at_10),
    ("MRR@10", |scores| scores.mrr_at_10),
    ("NDCG@10", |scores| scores.ndcg_at_10),
];

/// Whether a model's name is one that a hub could have, and not a path.
fn is_hub_name(name: &str) -> bool {
    let is_part = |part: &str| {
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        part.bytes().all(is_known)
            && part.bytes().next().is_some_and(|it| it.is_ascii_alphanumeric())
    };
    name.split('/').count() <= 2 && name.split('/').all(is_part)
}

/// sentence-transformers' names for a stage's losses.
fn losses(stage: &StageConfig) -> Vec<&'static str> {
    fn names(loss: &Loss, cached: bool) -> Vec<&'static str> {
        match loss {
            Loss::MultipleNegativesRanking(_) if cached => {
                vec!["CachedMultipleNegativesRankingLoss"]
            }
            Loss::MultipleNegativesRanking(_) => vec!["MultipleNegativesRankingLoss"],
            Loss::MarginMse(_) => vec!["MarginMSELoss"],
            Loss::KlDivergence(_) => vec!["DistillKLDivLoss"],
            Loss::Matryoshka(matryoshka) => {
                let mut all = vec!["MatryoshkaLoss"];
                all.extend(names(&matryoshka.loss, cached));
                all
            }
        }
    }
    names(&stage.loss, stage.texts_at_once.is_some())
}

fn write_usage(text: &mut String, summary: &RunSummary, kind: Kind) -> fmt::Result {
    let config = &summary.config;
    let prompts = &config.prompts;
    let in_python = |name: &Option<String>| match name {
        Some(name) => format!(", prompt_name={}", quoted(name)),
        None => String::new(),
    };
    let (load, install) = match kind {
        Kind::Model => ("model = SentenceTransformer(\".\")\n".to_owned(), "sentence-transformers"),
        Kind::Adapter => (
            format!(
                "model = SentenceTransformer({})\nmodel.load_adapter(\".\")\n",
                quoted(&summary.base_model)
            ),
            "sentence-transformers peft",
        ),
    };
    let length = match config.max_tokens {
        Some(tokens) => format!("model.max_seq_length = {tokens}  # as in training\n"),
        None => String::new(),
    };
    let python = format!(
        "from sentence_transformers import SentenceTransformer\n\n{load}{length}\
         queries = model.encode([\"read a CSV file line by line\"]{})\n\
         documents = model.encode([\"def read_rows(path): ...\", \"def add(a, b): return a + b\"]{})\n\
         print(model.similarity(queries, documents))\n",
        in_python(&prompts.anchor),
        in_python(&prompts.document)
    );
    let model = match kind {
        Kind::Model => "--model .".to_owned(),
        Kind::Adapter => format!("--model {} --adapter .", shell_word(&config.model)),
    };
    let prompt = match &prompts.document {
        Some(name) => format!(" --prompt-name {}", shell_word(name)),
        None => String::new(),
    };
    writeln!(
        text,
        "\n## Usage\n\nIn this folder, with [sentence-transformers](https://www.sbert.net) (`pip install \
         {install}`):\n\n{}\nWith CodeRAG, vectors of a file of texts:\n\n{}",
        code_block("python", &python),
        code_block(
            "sh",
            &format!(
                "coderag embed {model}{prompt} --input texts.jsonl --normalize --output vectors.npy"
            )
        )
    )?;
    if kind == Kind::Model {
        let prompt = match &prompts.anchor {
            Some(name) => format!(", \"prompt_name\": {}", quoted(name)),
            None => String::new(),
        };
        let request = format!("{{\"inputs\": \"read a CSV file line by line\"{prompt}}}");
        let serve = format!(
            "text-embeddings-router --model-id . --port 8080 &\n\
             curl http://127.0.0.1:8080/embed -H 'Content-Type: application/json' -d {}",
            shell_word(&request)
        );
        let intro = "As a service, with \
                     [text-embeddings-inference](https://github.com/huggingface/text-embeddings-inference):";
        writeln!(text, "{intro}\n\n{}", code_block("sh", &serve))?;
    }
    Ok(())
}

fn write_scores(text: &mut String, summary: &RunSummary) -> fmt::Result {
    let measurements = summary.measurements();
    let (Some((_, first)), Some(settings)) = (measurements.first(), &summary.config.evaluation)
    else {
        return Ok(());
    };
    let Scores { queries, documents, .. } = first.scores;
    writeln!(
        text,
        "## Scores\n\nOn {}: {} queries over {} documents, exact search by cosine.\n",
        code_span(&settings.source.name),
        Count(queries),
        Count(documents)
    )?;
    write!(text, "| |")?;
    for (name, record) in &measurements {
        write!(text, " {name} (step {}) |", Count(record.step as usize))?;
    }
    writeln!(text, "\n| --- |{}", " ---: |".repeat(measurements.len()))?;
    for (metric, value) in METRICS {
        write!(text, "| {metric} |")?;
        for (place, (_, record)) in measurements.iter().enumerate() {
            let value_here = value(&record.scores);
            write!(text, " {value_here:.4}")?;
            if place > 0 {
                write!(text, " ({:+.4})", value_here - value(&first.scores))?;
            }
            write!(text, " |")?;
        }
        writeln!(text)?;
    }
    writeln!(text)
}

fn write_data(text: &mut String, summary: &RunSummary) -> fmt::Result {
    writeln!(
        text,
        "## Training data\n\n| stage | source | file | examples | SHA-256 |\n| --- | --- | --- | ---: | --- |"
    )?;
    let mut row = |stage: &str, source: &str, file: &crate::data::InputFile| {
        let name = file.path.file_name().unwrap_or(file.path.as_os_str());
        writeln!(
            text,
            "| {stage} | {} | {} | {} | `{}` |",
            code_cell(source),
            code_cell(&name.to_string_lossy()),
            Count(file.rows as usize),
            file.sha256
        )
    };
    for (stage, manifest) in summary.config.stages.iter().zip(&summary.manifests) {
        for source in &manifest.sources {
            for file in &source.files {
                row(&code_cell(&stage.name), &source.name, file)?;
            }
        }
    }
    if let Some(settings) = &summary.config.evaluation {
        for file in &summary.development_files {
            row("development set", &settings.source.name, file)?;
        }
    }
    writeln!(text)
}

fn write_training(text: &mut String, summary: &RunSummary) -> fmt::Result {
    let count = |number: u64| Count(number as usize);
    writeln!(
        text,
        "## Training\n\n- Begun {}, {} in all: {} of {} steps, {} pairs, {} tokens.\n\
         - Trained parameters: {} of {}.\n- Fingerprint of the model that training began with: `{}`.\n\n\
         {}\n\n{}\n{}",
        summary.started,
        Duration(summary.seconds),
        count(summary.steps),
        count(summary.planned_steps),
        count(summary.pairs),
        count(summary.tokens),
        count(summary.trained_parameters),
        count(summary.total_parameters),
        summary.model_fingerprint,
        if summary.changed_on_the_way {
            "The last settings of a run whose settings were changed on the way:"
        } else {
            "With these settings in `train.toml` and the files above, this gives the same model:"
        },
        code_block("sh", "coderag train --config train.toml --output run"),
        code_block("toml", &summary.config_toml())
    )
}
