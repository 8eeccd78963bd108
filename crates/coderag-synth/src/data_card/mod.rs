//! What a run's rows are, for those who find them: `README.md` in its folder, a data set card with metadata in YAML
//! before the text, as on the Hugging Face hub, by which `datasets.load_dataset` finds the files.

mod columns;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::Path;

use coderag_core::{Error as CoreError, atomic};
use coderag_eval::report::markup::Count;
use coderag_eval::report::quoting::{code_block, code_cell, code_span, quoted};
use serde_json::Value;

use self::columns::{CONFIGS, Config};
use crate::Result;
use crate::config::{Category, PartKind, SeedKind};
use crate::output::{GRETEL, Manifest, PAIRS};
use crate::report::Survey;
use crate::row::Gate;

/// Writes the card of a run.
///
/// # Errors
/// [`Error::Core`](crate::Error::Core) when the file cannot be written.
pub(crate) fn write(path: &Path, manifest: &Manifest, survey: &Survey) -> Result<()> {
    let card = card(manifest, survey);
    Ok(atomic::write_file(path, |file| {
        file.write_all(card.as_bytes()).map_err(CoreError::io("write", path))
    })?)
}

fn card(manifest: &Manifest, survey: &Survey) -> String {
    let mut text = String::new();
    // Writing to a text cannot fail.
    let _ = write_card(&mut text, manifest, survey);
    text
}

fn write_card(text: &mut String, manifest: &Manifest, survey: &Survey) -> fmt::Result {
    let configs: Vec<&Config> =
        CONFIGS.iter().filter(|config| manifest.files_in(config.name).next().is_some()).collect();
    write_metadata(text, manifest, &configs)?;
    write_beginning(text, manifest)?;
    write_loading(text, &configs)?;
    write_making(text, manifest)?;
    write_counts(text, manifest)?;
    write_columns(text, &configs)?;
    write_licence(text, manifest, survey)?;
    write_limits(text, manifest)
}

fn count(number: u64) -> Count {
    Count(number as usize)
}

/// The metadata that the hub and `datasets` read. There is no licence in it, because nobody can tell it from here.
fn write_metadata(text: &mut String, manifest: &Manifest, configs: &[&Config]) -> fmt::Result {
    let natural_language = &manifest.run.config.gates.natural_language;
    let has = |name: &str| configs.iter().any(|config| config.name == name);
    writeln!(text, "---\nlanguage:\n- {}\n- code", quoted(natural_language))?;
    writeln!(text, "task_categories:\n- sentence-similarity\n- text-retrieval")?;
    if has(GRETEL) {
        writeln!(text, "- text-generation")?;
    }
    writeln!(text, "size_categories:\n- {}", size_category(manifest.accepted()))?;
    writeln!(text, "tags:\n- synthetic\n- code\n- sentence-transformers")?;
    if has(GRETEL) {
        writeln!(text, "- text-to-sql")?;
    }
    writeln!(text, "- coderag")?;
    if !configs.is_empty() {
        writeln!(text, "configs:")?;
    }
    for config in configs {
        writeln!(text, "- config_name: {}", config.name)?;
        if config.name == PAIRS {
            writeln!(text, "  default: true")?;
        }
        writeln!(text, "  data_files:\n  - split: train\n    path: \"{}/*.parquet\"", config.name)?;
    }
    writeln!(text, "---")
}

/// The hub's name for so many rows.
fn size_category(rows: u64) -> &'static str {
    match rows {
        0..1_000 => "n<1K",
        1_000..10_000 => "1K<n<10K",
        10_000..100_000 => "10K<n<100K",
        100_000..1_000_000 => "100K<n<1M",
        1_000_000..10_000_000 => "1M<n<10M",
        _ => "10M<n<100M",
    }
}

fn write_beginning(text: &mut String, manifest: &Manifest) -> fmt::Result {
    let run = &manifest.run;
    writeln!(
        text,
        "\n# Pairs for training code and SQL embeddings, written by {}\n\n{} pairs of something that is searched \
         with and what is to be found, written by a language model from seeds and led through gates with CodeRAG \
         {}. {} further candidates were turned away; they are here, too, with the reasons. `report.html` shows \
         what the run made, `manifest.json` holds its settings and counts.",
        code_span(&model_name(manifest)),
        count(manifest.accepted()),
        run.coderag_version,
        count(manifest.rejected().values().sum())
    )?;
    if !manifest.finished {
        writeln!(
            text,
            "\n> **Warning:** the run had not ended when this was written; it can go on."
        )?;
    }
    Ok(())
}

fn write_loading(text: &mut String, configs: &[&Config]) -> fmt::Result {
    if configs.is_empty() {
        return Ok(());
    }
    let mut python = String::from("from datasets import load_dataset\n\n");
    for config in configs {
        let variable = config.name;
        writeln!(python, "{variable} = load_dataset(\".\", \"{variable}\", split=\"train\")")?;
    }
    writeln!(
        text,
        "\n## Usage\n\nIn this folder, with [datasets](https://huggingface.co/docs/datasets):\n\n{}",
        code_block("python", &python)
    )?;
    if !configs.iter().any(|config| config.name == PAIRS) {
        return Ok(());
    }
    let train = "from datasets import load_dataset\n\
         from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer\n\
         from sentence_transformers.losses import MultipleNegativesRankingLoss\n\n\
         model = SentenceTransformer(\"sentence-transformers/all-MiniLM-L6-v2\")\n\
         pairs = load_dataset(\".\", \"pairs\", split=\"train\").select_columns([\"anchor\", \"positive\"])\n\
         loss = MultipleNegativesRankingLoss(model)\n\
         SentenceTransformerTrainer(model=model, train_dataset=pairs, loss=loss).train()\n";
    writeln!(
        text,
        "Training with [sentence-transformers](https://www.sbert.net), which takes all columns for texts, so that \
         two must be selected:\n\n{}\nWith CodeRAG, the files in `pairs` are a source of `coderag train` as they \
         are, or get hard negatives first:\n\n{}",
        code_block("python", train),
        code_block(
            "sh",
            "coderag mine --model all-MiniLM-L6-v2 --input pairs/part-00000.parquet --output mined.jsonl"
        )
    )
}

fn write_making(text: &mut String, manifest: &Manifest) -> fmt::Result {
    let run = &manifest.run;
    let asked = &manifest.requests;
    writeln!(
        text,
        "## How it was made\n\nModel: {}. Seed of all choices: {}. Begun {}. {} requests with {} tokens of \
         prompts and {} tokens of answers.\n",
        code_span(&model_name(manifest)),
        run.config.seed,
        run.started,
        count(asked.requests),
        count(asked.prompt_tokens),
        count(asked.completion_tokens)
    )?;
    writeln!(
        text,
        "| task | category | starts from | prompt | temperature | top p | most tokens |\n\
         | --- | --- | --- | --- | ---: | ---: | ---: |"
    )?;
    for task in &run.config.tasks {
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} |",
            code_cell(&task.name),
            task.category,
            match task.seed {
                SeedKind::Topic => "topics that the model named",
                SeedKind::Code => "functions of repositories",
                SeedKind::Schema => "schemas of databases",
            },
            code_cell(&file_name(&task.prompt.to_string_lossy())),
            task.sampling.temperature,
            task.sampling.top_p,
            task.max_tokens
        )?;
    }
    writeln!(text, "\nThe prompts:\n\n| file | SHA-256 |\n| --- | --- |")?;
    for (path, digest) in &run.prompts {
        writeln!(text, "| {} | `{digest}` |", code_cell(&file_name(path)))?;
    }
    let used = |place: &str| manifest.seeds.pointer(place).and_then(Value::as_u64).unwrap_or(0);
    writeln!(
        text,
        "\nSeeds: {} topics, {} functions, {} schemas.",
        count(used("/topics")),
        count(used("/code/used")),
        count(used("/schemas/used"))
    )
}

/// The last part of a path: where files were is nobody's business.
fn file_name(path: &str) -> String {
    let name = Path::new(path).file_name();
    name.map_or_else(|| path.to_owned(), |name| name.to_string_lossy().into_owned())
}

/// The model's name, of a path the last part; a name on the hub such as `Qwen/Qwen2.5-Coder-7B-Instruct` is none.
fn model_name(manifest: &Manifest) -> String {
    let name = manifest.run.model.as_str();
    if name.starts_with(['/', '.', '~']) { file_name(name) } else { name.to_owned() }
}

fn write_counts(text: &mut String, manifest: &Manifest) -> fmt::Result {
    let gates: Vec<Gate> = manifest.rejected().into_keys().collect();
    write!(
        text,
        "\n## Rows\n\nWhat became of the candidates, and at which gate they were turned away:\n\n| task | candidates | rows |"
    )?;
    gates.iter().try_for_each(|gate| write!(text, " {} |", gate.id().replace('_', " ")))?;
    writeln!(
        text,
        " not answered |\n| --- | ---: | ---: |{} ---: |",
        " ---: |".repeat(gates.len())
    )?;
    for task in &manifest.tasks {
        let rejected =
            gates.iter().map(|gate| task.rejected.get(gate).copied().unwrap_or_default());
        let counts = [task.candidates, task.accepted].into_iter().chain(rejected);
        let cells: String =
            counts.chain([task.failed]).map(|number| format!(" {} |", count(number))).collect();
        writeln!(text, "| {} |{cells}", code_cell(&task.name))?;
    }
    let sets: BTreeMap<&String, &Value> =
        manifest.evaluation_sets.as_object().into_iter().flatten().collect();
    if sets.is_empty() {
        return writeln!(
            text,
            "\n> **Warning:** the rows were compared with no evaluation set; they may hold texts of one."
        );
    }
    writeln!(text, "\nThe rows were compared with these evaluation sets:\n")?;
    for (name, texts) in sets {
        writeln!(
            text,
            "- {}: {} texts",
            code_span(name),
            count(texts.as_u64().unwrap_or_default())
        )?;
    }
    Ok(())
}

fn write_columns(text: &mut String, configs: &[&Config]) -> fmt::Result {
    for config in configs {
        writeln!(
            text,
            "\n## Columns of `{}`\n\n{}\n\n| column | type | what |\n| --- | --- | --- |",
            config.name, config.about
        )?;
        for (name, kind, meaning) in config.columns {
            writeln!(text, "| `{name}` | {kind} | {meaning} |")?;
        }
    }
    Ok(())
}

fn write_licence(text: &mut String, manifest: &Manifest, survey: &Survey) -> fmt::Result {
    writeln!(
        text,
        "\n## Licence\n\nNo licence is given here. The terms of {} apply to what it wrote.",
        code_span(&model_name(manifest))
    )?;
    if !survey.licences.is_empty() {
        writeln!(
            text,
            "{} rows hold or are about functions of repositories, each under the licence that `meta` names \
             beside the repository; those that demand a notice demand it of copies of these rows, too:\n\n\
             | licence | rows |\n| --- | ---: |",
            count(survey.licences.values().sum())
        )?;
        for (licence, rows) in &survey.licences {
            writeln!(text, "| {} | {} |", code_cell(licence), count(*rows))?;
        }
    }
    let schemas = manifest.run.config.tasks.iter().any(|task| task.seed == SeedKind::Schema);
    if schemas {
        writeln!(
            text,
            "\nThe schemas have the terms of where they came from, which the column `source` names."
        )?;
    }
    Ok(())
}

fn write_limits(text: &mut String, manifest: &Manifest) -> fmt::Result {
    let config = &manifest.run.config;
    let gates = &config.gates;
    writeln!(
        text,
        "\n## Limits\n\n- A language model wrote the rows. The gates find what does not parse, run or agree with \
         itself; they cannot tell whether a text is true of its code."
    )?;
    let kinds = || config.tasks.iter().flat_map(|task| task.answer.values());
    if kinds().any(|kind| *kind == PartKind::Code) {
        let parsed = if gates.syntax { "Code was parsed" } else { "Code was not parsed" };
        writeln!(text, "- {parsed}; it was never run.")?;
    }
    if kinds().any(|kind| *kind == PartKind::Sql) {
        writeln!(
            text,
            "- {}",
            if gates.execution.enabled {
                "SQL ran on SQLite, for schemas without data on databases of generated rows. Statements that mean \
                 different things can return the same there."
            } else {
                "SQL was not run."
            }
        )?;
    }
    let empty: u64 = manifest.tasks.iter().filter_map(|task| task.notes.get("empty_result")).sum();
    if empty > 0 {
        writeln!(
            text,
            "- Rows whose SQL returned nothing: {}; their `meta` says so.",
            count(empty)
        )?;
    }
    if gates.label.enabled {
        writeln!(
            text,
            "- The model that wrote the rows judged them, too, and finds its own work better than it is."
        )?;
    }
    if !gates.contamination.sets.is_empty() {
        writeln!(
            text,
            "- Texts of evaluation sets were found by {} words in a row, or by embeddings where the run had an \
             encoder; paraphrases can remain.",
            gates.contamination.ngram_words
        )?;
    }
    if gates.secrets {
        writeln!(
            text,
            "- Secrets and personal data were replaced where patterns know them; others can remain."
        )?;
    }
    let has_sql = config.tasks.iter().any(|task| task.category == Category::TextToSql);
    if has_sql {
        writeln!(
            text,
            "- `domain` and `domain_description` of `gretel` are the model's words where the schema's source has none."
        )?;
    }
    writeln!(
        text,
        "\nVersion: CodeRAG {}, format {} of the folder.",
        manifest.run.coderag_version, manifest.run.format_version
    )
}

#[cfg(test)]
mod tests;
