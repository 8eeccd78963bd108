use anyhow::{Context as _, Result, ensure};
use coderag_synth::{GateCounts, Manifest, Pair, RejectedRow, Sample, read_manifest};
use serde_json::{Map, Value, json};

use super::print_counts;
use crate::arguments::SynthInspectArguments;
use crate::output::{json, line, printable, table};

/// Shows what a run made.
pub(super) fn inspect(arguments: &SynthInspectArguments) -> Result<()> {
    let run = &arguments.run;
    let manifest = read_manifest(run)
        .with_context(|| format!("{} is no run that wrote rows", run.display()))?;
    let task = arguments.task.as_deref();
    if let Some(task) = task {
        let names: Vec<&str> = manifest.tasks.iter().map(|task| task.name.as_str()).collect();
        ensure!(
            names.contains(&task),
            "the run has no task `{task}`; its tasks are: {}",
            names.join(", ")
        );
    }
    let counts = (arguments.accepted, arguments.rejected);
    let sample = Sample::draw(run, &manifest, task, arguments.seed, counts)?;
    if arguments.json {
        return print_json(&manifest, &sample);
    }
    print_counts(&manifest)?;
    line("")?;
    print_gates(&manifest)?;
    line("")?;
    print_requests(&manifest)?;
    sample.accepted.iter().try_for_each(print_pair)?;
    sample.rejected.iter().try_for_each(print_rejected)
}

fn print_json(manifest: &Manifest, sample: &Sample) -> Result<()> {
    json(&json!({
        "model": manifest.run.model,
        "finished": manifest.finished,
        "rows": manifest.accepted(),
        "rows_per_hour": manifest.rows_per_hour(),
        "tasks": manifest.tasks,
        "gates": manifest.funnel(),
        "requests": manifest.requests,
        "money": manifest.money,
        "accepted": sample.accepted,
        "rejected": sample.rejected,
    }))
}

fn print_gates(manifest: &Manifest) -> Result<()> {
    let row = |counts: &GateCounts| {
        let GateCounts { gate, is_met, reached, rejected } = *counts;
        let mut row = vec![gate.id().to_owned()];
        row.extend(match (is_met, reached) {
            (false, _) => ["not met".to_owned(), String::new(), String::new()],
            (true, 0) => [reached.to_string(), rejected.to_string(), String::new()],
            (true, _) => {
                let share = 100.0 * rejected as f64 / reached as f64;
                [reached.to_string(), rejected.to_string(), format!("{share:.1}%")]
            }
        });
        row
    };
    let rows: Vec<Vec<String>> = manifest.funnel().iter().map(row).collect();
    let header = ["gate", "reached", "turned away", "share"].map(str::to_owned);
    table(&header, &rows, &[1, 2, 3])
}

fn print_requests(manifest: &Manifest) -> Result<()> {
    let asked = &manifest.requests;
    let mut facts = vec![
        ("model", manifest.run.model.clone()),
        ("state", if manifest.finished { "ended" } else { "can go on" }.to_owned()),
        ("requests", format!("{} answered, {} failed", asked.requests, asked.failed)),
        (
            "tokens",
            format!(
                "{} of prompts, of which {} were not evaluated again, and {} of answers",
                asked.prompt_tokens, asked.cached_tokens, asked.completion_tokens
            ),
        ),
        ("money", format!("{:.4}", manifest.money)),
    ];
    if let Some(rate) = manifest.rows_per_hour() {
        facts.push(("rows an hour", format!("{rate:.0}")));
    }
    facts.iter().try_for_each(|(name, value)| line(format_args!("{name:<14}{}", printable(value))))
}

fn print_pair(pair: &Pair) -> Result<()> {
    let Pair { id, anchor, positive, source, meta, .. } = pair;
    line(format_args!("\n==== {} ====", printable(id)))?;
    print_facts(pair.language.id(), source, meta)?;
    print_text("anchor", anchor)?;
    print_text("positive", positive)
}

fn print_rejected(row: &RejectedRow) -> Result<()> {
    let RejectedRow { id, gate, reason, anchor, positive, answer, source, meta, .. } = row;
    line(format_args!("\n==== {}, rejected by {} ====", printable(id), gate.id()))?;
    print_text("reason", reason)?;
    print_facts(row.language.id(), source, meta)?;
    if anchor.is_empty() && positive.is_empty() {
        return print_text("answer", answer);
    }
    print_text("anchor", anchor)?;
    print_text("positive", positive)
}

fn print_facts(language: &str, source: &str, meta: &Map<String, Value>) -> Result<()> {
    line(format_args!("{language} from {}", printable(source)))?;
    let meta: Vec<String> = meta
        .iter()
        .map(|(name, value)| match value {
            Value::String(text) => format!("{name}: {text}"),
            value => format!("{name}: {value}"),
        })
        .collect();
    if meta.is_empty() { Ok(()) } else { line(printable(&meta.join("; "))) }
}

fn print_text(name: &str, text: &str) -> Result<()> {
    line(format_args!("---- {name} ----\n{}", printable(text)))
}
