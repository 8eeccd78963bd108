//! Alone in its process, because it counts what the process allocates.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod allocations;

use std::fs;
use std::path::Path;

use allocations::peak_of;
use burn::backend::Flex;
use burn_autodiff::Autodiff;
use coderag_encoder::ModelDirectory;
use coderag_train::trainee::{BurnTrainee, Trainee as _};
use safetensors::SafeTensors;
use tempfile::TempDir;

/// A copy of `small-bert` with its second block many times.
fn deep_bert(blocks: usize) -> TempDir {
    let source =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../coderag-encoder/tests/fixtures/small-bert");
    let copy = TempDir::new().unwrap();
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json"] {
        fs::copy(source.join(file), copy.path().join(file)).unwrap();
    }
    let config = fs::read(source.join("config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    config["num_hidden_layers"] = blocks.into();
    fs::write(copy.path().join("config.json"), config.to_string()).unwrap();
    let bytes = fs::read(source.join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors = file.tensors();
    for (name, view) in file.tensors() {
        if let Some(rest) = name.strip_prefix("encoder.layer.1.") {
            let block = |index| (format!("encoder.layer.{index}.{rest}"), view.clone());
            tensors.extend((2..blocks).map(block));
        }
    }
    fs::write(
        copy.path().join("model.safetensors"),
        safetensors::serialize(tensors, None).unwrap(),
    )
    .unwrap();
    copy
}

#[test]
fn with_gradient_checkpointing_a_deep_model_needs_a_fraction_of_the_memory() {
    let folder = deep_bert(24);
    let model = ModelDirectory::open(folder.path(), None).unwrap();
    let sequences: Vec<Vec<u32>> =
        (0..32).map(|row| (0..48).map(|at| (7 * at + row) % 100).collect()).collect();
    let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
    let peak = |gradient_checkpointing| {
        let dropout = Default::default();
        let device = Default::default();
        let mut trainee = BurnTrainee::<Autodiff<Flex>>::load(
            &model,
            None,
            dropout,
            gradient_checkpointing,
            &device,
        )
        .unwrap();
        let pass = || {
            let vectors = trainee.forward(&sequences, 0).unwrap();
            trainee.backward(vectors).unwrap();
        };
        peak_of(pass).0
    };
    let [without, with] = [peak(false), peak(true)];
    println!("{} MB with, {} MB without", with / 1_000_000, without / 1_000_000);
    assert!(with < without / 5, "{with} of {without}");
}
