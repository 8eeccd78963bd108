use std::collections::BTreeMap;

use coderag_core::{ProgressTask, Unit};
use coderag_llm::Traffic;
use serde_json::{Value, json};

use super::RunContext;
use super::folder::{RunFolder, now};
use super::schedule::Wanted;
use crate::Result;
use crate::asking::Asker;
use crate::config::{Category, SynthConfig};
use crate::gate::contamination::Contamination;
use crate::gate::duplicates::{Content, Duplicate, Duplicates};
use crate::making::Made;
use crate::output::{Call, GRETEL, Manifest, PAIRS, REJECTED, Shards, TaskCounts, pairs, rejected};
use crate::row::{Gate, RejectedRow, Row};
use crate::sql::gretel::{GretelRow, record_batch};
use crate::task::Seeds;

/// What counting a candidate came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settled {
    /// Whether it became a row.
    pub(super) is_row: bool,
    /// Whether its task makes no more.
    pub(super) is_last: bool,
}

/// Counts candidates in their order, and writes what they became.
pub(super) struct Settlement<'a> {
    config: &'a SynthConfig,
    folder: &'a RunFolder,
    limit: Option<u64>,
    tasks: Vec<TaskCounts>,
    /// By task.
    duplicates: Vec<Duplicates>,
    pairs: Shards<Row>,
    gretel: Shards<GretelRow>,
    rejected: Shards<RejectedRow>,
    progress: Box<dyn ProgressTask>,
    /// Of the call before this one.
    earlier: Option<Manifest>,
}

impl<'a> Settlement<'a> {
    pub(super) fn new(
        config: &'a SynthConfig,
        context: &RunContext<'_>,
        folder: &'a RunFolder,
        earlier: Option<Manifest>,
    ) -> Self {
        let tasks: Vec<TaskCounts> = config
            .tasks
            .iter()
            .map(|task| TaskCounts {
                name: task.name.clone(),
                category: task.category,
                wanted: task.rows as u64,
                candidates: 0,
                failed: 0,
                accepted: 0,
                rejected: BTreeMap::new(),
                notes: BTreeMap::new(),
            })
            .collect();
        let limit = context.limit.map(|limit| limit as u64);
        let wanted: u64 = tasks.iter().map(|task| task.wanted).sum();
        let total = limit.map_or(wanted, |limit| limit.min(wanted));
        let (run, rows) = (folder.path(), config.rows_per_file);
        Self {
            config,
            folder,
            limit,
            duplicates: tasks.iter().map(|_| Duplicates::new(config.gates.duplicates)).collect(),
            tasks,
            pairs: Shards::new(run, PAIRS, rows, pairs),
            gretel: Shards::new(run, GRETEL, rows, record_batch),
            rejected: Shards::new(run, REJECTED, rows, rejected),
            progress: context.progress.task("rows", Some(total), Unit::Items),
            earlier,
        }
    }

    /// Whether as many rows were accepted as there may be.
    pub(super) fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.pairs.len() >= limit)
    }

    /// What each task has to do.
    pub(super) fn wanted(&self) -> Vec<Wanted> {
        let wanted =
            |task: &TaskCounts| Wanted::new(task.wanted, most_candidates(self.config, task));
        self.tasks.iter().map(wanted).collect()
    }

    /// Whether a task has its rows, or can make no more.
    fn is_over(&self, task: &TaskCounts) -> bool {
        let is_exhausted = task.candidates >= most_candidates(self.config, task);
        task.accepted >= task.wanted || (is_exhausted && task.failed == 0)
    }

    /// Counts a candidate.
    pub(super) fn settle(&mut self, task: usize, number: u64, made: Made) -> Result<Settled> {
        let (Some(duplicates), Some(counts)) =
            (self.duplicates.get_mut(task), self.tasks.get_mut(task))
        else {
            return Ok(Settled { is_row: false, is_last: true });
        };
        counts.candidates += 1;
        let before = counts.accepted;
        match made {
            Made::Row(row) => match duplicates.find(anchor(&row), positive(&row)) {
                Some(duplicate) => {
                    let row = turned_away(*row, duplicate);
                    *counts.rejected.entry(row.gate).or_default() += 1;
                    self.rejected.push(row)?;
                }
                None => {
                    duplicates.insert(number, anchor(&row), positive(&row));
                    counts.accepted += 1;
                    note(&mut counts.notes, &row);
                    if let Some(mut gretel) = row.gretel.clone() {
                        gretel.id = i32::try_from(self.gretel.len()).unwrap_or(i32::MAX);
                        self.gretel.push(gretel)?;
                    }
                    self.pairs.push(*row)?;
                    self.progress.advance(1);
                }
            },
            Made::Rejected(row) => {
                *counts.rejected.entry(row.gate).or_default() += 1;
                self.rejected.push(*row)?;
            }
            Made::Failed(reason) => {
                tracing::info!("{}-{number:06} is not made: {reason}", counts.name);
                counts.failed += 1;
            }
            Made::Stopped => counts.failed += 1,
        }
        let is_row = counts.accepted > before;
        let is_last =
            counts.accepted >= counts.wanted || number + 1 >= most_candidates(self.config, counts);
        if is_last && counts.accepted < counts.wanted {
            tracing::warn!(
                "the task `{}` ends with {} of {} rows after {} candidates",
                counts.name,
                counts.accepted,
                counts.wanted,
                counts.candidates
            );
        }
        let rejected: u64 = self.tasks.iter().flat_map(|task| task.rejected.values()).sum();
        let failed: u64 = self.tasks.iter().map(|task| task.failed).sum();
        let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
        self.progress.describe(&format!("{rejected} rejected{failed}"));
        Ok(Settled { is_row, is_last })
    }

    /// Writes what is left, and what was made by what.
    pub(super) fn finish(
        mut self,
        seeds: &Seeds,
        contamination: &Contamination<'_>,
        asker: &Asker<'_>,
        traffic: Option<&dyn Fn() -> Traffic>,
        finished: bool,
    ) -> Result<Manifest> {
        let accepted = self.pairs.len();
        let finished = finished && self.tasks.iter().all(|task| self.is_over(task));
        // A call that stopped before it had counted again what an earlier one had made leaves that as it is.
        if !finished && let Some(mut earlier) = self.earlier.take_if(|it| it.accepted() > accepted)
        {
            earlier.calls.push(call(asker, earlier.accepted()));
            self.folder.write_manifest(&earlier)?;
            return Ok(earlier);
        }
        let mut files = self.pairs.finish()?;
        files.extend(self.gretel.finish()?);
        files.extend(self.rejected.finish()?);
        let accounts = asker.accounts();
        let mut calls = self.earlier.map(|earlier| earlier.calls).unwrap_or_default();
        calls.push(call(asker, accepted));
        let manifest = Manifest {
            run: self.folder.record()?,
            finished,
            seeds: json!({
                "topics": seeds.topics.len(),
                "code": seeds.code_summary,
                "schemas": seeds.schemas.summary(),
            }),
            evaluation_sets: contamination.summary(),
            tasks: self.tasks,
            requests: accounts.of_run(),
            money: accounts.money(),
            calls,
            traffic: traffic.map_or(Value::Null, |traffic| json!(traffic())),
            files,
        };
        self.folder.write_manifest(&manifest)?;
        self.folder.write_for_people(&manifest)?;
        Ok(manifest)
    }
}

/// After how many candidates a task ends short of its rows.
fn most_candidates(config: &SynthConfig, task: &TaskCounts) -> u64 {
    task.wanted.saturating_mul(config.candidates_per_row.into())
}

/// What this call did.
fn call(asker: &Asker<'_>, accepted: u64) -> Call {
    let accounts = asker.accounts();
    Call {
        ended: now(),
        seconds: accounts.elapsed().as_secs_f64(),
        requests: accounts.of_call(),
        served_from_cache: accounts.served_from_cache(),
        accepted,
    }
}

/// What an anchor is compared as.
fn anchor(row: &Row) -> Content<'_> {
    match row.category {
        Category::CodeToText => Content::Code(row.language, &row.anchor),
        // Code that was translated is in another language than the row's.
        Category::TextToCode | Category::CodeToCode | Category::Hybrid | Category::TextToSql => {
            Content::Text(&row.anchor)
        }
    }
}

/// What a positive is compared as.
fn positive(row: &Row) -> Content<'_> {
    match row.category {
        Category::CodeToText => Content::Text(&row.positive),
        Category::TextToCode | Category::CodeToCode | Category::Hybrid | Category::TextToSql => {
            Content::Code(row.language, &row.positive)
        }
    }
}

/// A row that is there already.
fn turned_away(row: Row, duplicate: Duplicate) -> RejectedRow {
    let Duplicate { of, similarity, exact } = duplicate;
    let gate = if exact { Gate::ExactDuplicate } else { Gate::NearDuplicate };
    let reason = format!("{}-{of:06} is the same to {:.0} %", row.task, 100.0 * similarity);
    row.turned_away(gate, reason)
}

/// Counts what gates noticed about a row.
fn note(notes: &mut BTreeMap<String, u64>, row: &Row) {
    let labelled_twice =
        row.meta.get("labels").and_then(Value::as_array).is_some_and(|labels| labels.len() > 1);
    let noticed = [
        ("empty_result", row.meta.contains_key("empty_result")),
        ("scrubbed", row.meta.contains_key("scrubbed")),
        ("sql_flaws", row.meta.contains_key("sql_flaws")),
        ("second_opinion", labelled_twice),
    ];
    for (name, _) in noticed.into_iter().filter(|(_, is)| *is) {
        *notes.entry(name.to_owned()).or_default() += 1;
    }
}
