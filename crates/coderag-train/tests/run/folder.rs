//! Runs on a small model with texts of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use coderag_core::Silent;
use coderag_encoder::device::Device;
use coderag_train::config::TrainConfig;
use coderag_train::record::{EvaluationRecord, MetricsLog, Record, StepRecord};
use coderag_train::run::{Outcome, RunContext, train};
use safetensors::SafeTensors;

/// A temporary folder with pairs to train on, `pairs.jsonl` and `other.jsonl`, and runs.
pub(crate) struct Folder(tempfile::TempDir);

const VERBS: [&str; 6] = ["find", "select", "count", "sort", "join", "list"];
const NOUNS: [&str; 8] =
    ["table", "order", "customer", "index", "column", "query", "value", "function"];

/// Pairs that have a rule to be learnt: the positive has the anchor's words in another order and more.
fn pairs(count: usize, shift: usize) -> String {
    let pair = |index: usize| {
        let (verb, noun) = (VERBS[(index + shift) % 6], NOUNS[(index * 5 + shift) % 8]);
        let other = NOUNS[(index * 3 + index / 8 + shift) % 8];
        format!(
            "{{\"anchor\": \"{verb} the {noun} of {other} {index}\", \"positive\": \"{other} {noun} \
             {verb} {index} x\"}}\n"
        )
    };
    (0..count).map(pair).collect()
}

impl Folder {
    pub(crate) fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        fs::write(folder.path("pairs.jsonl"), pairs(60, 0)).unwrap();
        fs::write(folder.path("other.jsonl"), pairs(40, 1)).unwrap();
        folder
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Settings with one stage on `pairs.jsonl`, to which lines are added at the top and in the stage.
    pub(crate) fn config(&self, top: &str, stage: &str) -> TrainConfig {
        let steps =
            if stage.contains("steps =") || stage.contains("epochs =") { "" } else { "steps = 10" };
        self.parse(&format!(
            "model = 'small-bert'\n{top}\n[[stage]]\nname = 'only'\n{steps}\nlearning_rate = 1e-2\n\
             loss = {{ name = 'multiple_negatives_ranking' }}\n{stage}\n{}",
            self.source("pairs")
        ))
    }

    /// Lines for a stage's source.
    pub(crate) fn source(&self, name: &str) -> String {
        let path = self.path(&format!("{name}.jsonl"));
        format!("[[stage.source]]\nname = '{name}'\nfiles = ['{}']\n", path.display())
    }

    /// Lines for an evaluation on `other.jsonl`.
    pub(crate) fn evaluation(&self, more: &str) -> String {
        let path = self.path("other.jsonl");
        format!(
            "[evaluation]\n{more}\nsource = {{ name = 'development', files = ['{}'] }}\n",
            path.display()
        )
    }

    pub(crate) fn parse(&self, text: &str) -> TrainConfig {
        coderag_core::config::parse(text, "train.toml").unwrap()
    }

    /// Trains in the folder `name`.
    pub(crate) fn train(
        &self,
        name: &str,
        config: &TrainConfig,
        stop_after: Option<u64>,
    ) -> coderag_train::Result<Outcome> {
        train(
            config,
            &RunContext {
                model: &model(),
                base_model: "small-bert",
                output: &self.path(name),
                device: &Device::Cpu,
                threads: Some(2),
                restart: false,
                stop_after,
                interrupt: &AtomicBool::new(false),
                progress: &Silent,
            },
        )
    }

    pub(crate) fn train_well(&self, name: &str, config: &TrainConfig) {
        let outcome = self.train(name, config, None).unwrap();
        assert!(matches!(outcome, Outcome::Finished { .. }), "{outcome:?}");
    }

    pub(crate) fn records(&self, name: &str) -> Vec<Record> {
        MetricsLog::read(&self.path(name).join("metrics.jsonl")).unwrap()
    }

    pub(crate) fn steps(&self, name: &str) -> Vec<StepRecord> {
        let records = self.records(name).into_iter();
        let steps = records.filter_map(|record| match record {
            Record::Step(step) => Some(step),
            Record::Evaluation(_) => None,
        });
        steps.collect()
    }

    pub(crate) fn evaluations(&self, name: &str) -> Vec<EvaluationRecord> {
        let records = self.records(name).into_iter();
        let evaluations = records.filter_map(|record| match record {
            Record::Step(_) => None,
            Record::Evaluation(evaluation) => Some(evaluation),
        });
        evaluations.collect()
    }

    pub(crate) fn losses(&self, name: &str) -> Vec<f64> {
        self.steps(name).iter().map(|step| step.loss).collect()
    }

    /// The trained model's tensors.
    pub(crate) fn weights(&self, name: &str) -> BTreeMap<String, Vec<f32>> {
        tensors(&self.path(name).join("model/model.safetensors"))
    }

    /// The names in a folder, in order.
    pub(crate) fn names(&self, name: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(name)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

pub(crate) fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../coderag-encoder/tests/fixtures/small-bert")
}

pub(crate) fn tensors(path: &Path) -> BTreeMap<String, Vec<f32>> {
    let bytes = fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let values =
        |data: &[u8]| data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    tensors.iter().map(|(name, tensor)| (name.to_owned(), values(tensor.data()))).collect()
}

/// The largest difference between tensors of the same names and sizes.
pub(crate) fn difference(
    left: &BTreeMap<String, Vec<f32>>,
    right: &BTreeMap<String, Vec<f32>>,
) -> f32 {
    assert!(left.keys().eq(right.keys()));
    let pairs = left.values().zip(right.values());
    pairs
        .flat_map(|(left, right)| {
            assert_eq!(left.len(), right.len());
            left.iter().zip(right).map(|(left, right)| (left - right).abs())
        })
        .fold(0.0, f32::max)
}
