use std::collections::BTreeMap;

use coderag_core::Digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::asking::Totals;
use crate::config::Category;
use crate::row::Gate;
use crate::run::RunRecord;

/// What a run made, by what and of what: the content of `manifest.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// What the run was made from: settings, seed, prompts, versions.
    pub run: RunRecord,
    /// Whether every task has its rows or can make no more.
    pub finished: bool,
    /// What the tasks started from: how many topics, functions and schemas, and what was skipped for what reason.
    pub seeds: Value,
    /// The evaluation sets that rows were compared with, by name.
    pub evaluation_sets: Value,
    /// What became of the candidates, by task.
    pub tasks: Vec<TaskCounts>,
    /// What was asked of the model, all calls together.
    pub requests: Totals,
    /// What that cost, in the currency of the settings' prices.
    pub money: f64,
    /// The calls that made it.
    pub calls: Vec<Call>,
    /// What happened to requests on the way to an endpoint and back, in the last call; null for a model in this
    /// process.
    pub traffic: Value,
    /// The files of rows.
    pub files: Vec<OutputFile>,
}

/// What became of the candidates of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskCounts {
    /// The task.
    pub name: String,
    /// What its pairs join.
    pub category: Category,
    /// How many rows are wanted.
    pub wanted: u64,
    /// How many candidates were counted.
    pub candidates: u64,
    /// Those that the model did not answer; the next call asks again.
    pub failed: u64,
    /// Those that became rows.
    pub accepted: u64,
    /// Those that were turned away, by gate.
    pub rejected: BTreeMap<Gate, u64>,
    /// What gates noticed about accepted rows: `empty_result`, `scrubbed`, `second_opinion`.
    pub notes: BTreeMap<String, u64>,
}

/// A call that worked on a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// When it ended, by RFC 3339.
    pub ended: String,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// What it asked.
    pub requests: Totals,
    /// How many requests earlier answers served.
    pub served_from_cache: u64,
    /// How many rows there were at its end.
    pub accepted: u64,
}

/// A file of rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputFile {
    /// Where it is in the run's folder.
    pub path: String,
    /// How many rows it has.
    pub rows: u64,
    /// How long it is.
    pub bytes: u64,
    /// The digest of its content.
    pub sha256: Digest,
}

impl Manifest {
    /// Of a run that has no rows yet.
    pub(crate) fn empty(run: RunRecord) -> Self {
        Self {
            run,
            finished: false,
            seeds: Value::Null,
            evaluation_sets: Value::Null,
            tasks: Vec::new(),
            requests: Totals::default(),
            money: 0.0,
            calls: Vec::new(),
            traffic: Value::Null,
            files: Vec::new(),
        }
    }

    /// How many rows there are.
    pub fn accepted(&self) -> u64 {
        self.tasks.iter().map(|task| task.accepted).sum()
    }

    /// How many candidates were turned away, by gate.
    pub fn rejected(&self) -> BTreeMap<Gate, u64> {
        let mut rejected = BTreeMap::new();
        for (gate, count) in self.tasks.iter().flat_map(|task| &task.rejected) {
            *rejected.entry(*gate).or_default() += count;
        }
        rejected
    }

    /// Accepted rows in an hour of the calls that asked the model something.
    pub fn rows_per_hour(&self) -> Option<f64> {
        let asking = self.calls.iter().filter(|call| call.requests.requests > 0);
        let seconds: f64 = asking.map(|call| call.seconds).sum();
        (seconds > 0.0).then(|| self.accepted() as f64 / seconds * 3600.0)
    }
}
