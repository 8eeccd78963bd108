//! What training leaves behind: the model and the adapter that are written have the vectors that the model had in
//! training.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::backend::Flex;
use burn::tensor::{Distribution, Tensor, bf16};
use burn_autodiff::Autodiff;
use coderag_core::Silent;
use coderag_encoder::engine::{Trainable, TrainingOptions};
use coderag_encoder::lora::{Adapter, AdapterConfig, ModuleSelection};
use coderag_encoder::{CpuEncoder, EncodeOptions, Error, ModelDirectory, ModelExport, Prompt};
use coderag_train::config::DropoutSettings;
use coderag_train::optimizer::AdamW;
use coderag_train::trainee::{BurnTrainee, CpuTrainee, Trainee, Update};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use tempfile::TempDir;

type Training = Autodiff<Flex>;

const TEXTS: [&str; 5] =
    ["How many singers do we have?", "SELECT name FROM singer", "x", "a table of songs", "17"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../coderag-encoder/tests/fixtures").join(name)
}

/// A copy of a model whose weights are in bf16, with weights in f32.
fn in_f32(model: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    copy_files(model, copy.path());
    let path = copy.path().join("model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let widened: Vec<(&str, Vec<usize>, Vec<u8>)> = file
        .iter()
        .map(|(name, view)| {
            assert_eq!(view.dtype(), Dtype::BF16);
            let values = view.data().as_chunks().0.iter();
            let wide = values.flat_map(|bytes| bf16::from_le_bytes(*bytes).to_f32().to_le_bytes());
            (name, view.shape().to_vec(), wide.collect())
        })
        .collect();
    let views = widened.iter().map(|(name, shape, bytes)| {
        (*name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    copy
}

fn copy_files(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let (path, target) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        if path.is_dir() {
            fs::create_dir(&target).unwrap();
            copy_files(&path, &target);
        } else {
            fs::copy(path, target).unwrap();
        }
    }
}

fn new_adapter(model: &ModelDirectory, modules: &[&str]) -> Adapter {
    let modules = ModuleSelection::names(modules.iter().copied());
    let config = AdapterConfig::new(3, 6.0, modules);
    Adapter::initial(config, &model.lora_places(), 9).unwrap()
}

fn burn(model: &ModelDirectory, adapter: Option<&Adapter>) -> BurnTrainee<Training> {
    let dropout = DropoutSettings { hidden: 0.0, attention: 0.0 };
    BurnTrainee::load(model, adapter, dropout, false, &Default::default()).unwrap()
}

fn cpu(model: &ModelDirectory, adapter: Option<&Adapter>) -> CpuTrainee {
    let trainable = match adapter {
        None => Trainable::Everything,
        Some(adapter) => {
            Trainable::Adapters(adapter.training_layers(&model.lora_places()).unwrap())
        }
    };
    CpuTrainee::load(model, trainable, &TrainingOptions::default()).unwrap()
}

fn vectors(encoder: CpuEncoder) -> Vec<f32> {
    let raw =
        EncodeOptions { prompt: Prompt::None, normalize: Some(false), ..EncodeOptions::default() };
    encoder.encode(&TEXTS, &raw, &Silent).unwrap().as_slice().to_vec()
}

fn largest_difference(left: &[f32], right: &[f32]) -> f32 {
    assert_eq!(left.len(), right.len());
    assert!(left.iter().chain(right).all(|value| value.is_finite()));
    left.iter().zip(right).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Trains a little, writes what there is to write, and reads it with the encoder.
#[track_caller]
fn check<T: Trainee<Backend = Training>>(
    mut trainee: T,
    model: &ModelDirectory,
    adapter: Option<&Adapter>,
) {
    let sequences = model.tokenize(&TEXTS, &Prompt::None).unwrap();
    let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
    for step in 0..3 {
        let vectors = trainee.forward(&sequences, step).unwrap();
        let noise = Distribution::Uniform(-1.0, 1.0);
        trainee.backward(Tensor::random(vectors.dims(), noise, &vectors.device())).unwrap();
        let adamw = AdamW::default();
        let update = Update { step, learning_rate: 0.02, adamw, max_gradient_norm: 1.0 };
        trainee.step(&update).unwrap();
    }
    let expected: Vec<f32> =
        trainee.embed(&sequences, None).unwrap().into_data().into_vec().unwrap();

    let state = trainee.state().unwrap();
    let parameters = state.iter().map(|(name, state)| (name.as_str(), state.value.as_slice()));
    let trained = adapter.map(|adapter| adapter.with_trained(parameters.clone()).unwrap());
    let changed = if adapter.is_some() { BTreeMap::new() } else { parameters.collect() };
    let export = ModelExport {
        base: model.path(),
        changed,
        adapter: trained.as_ref(),
        max_tokens: model.max_tokens(),
    };
    let output = TempDir::new().unwrap();
    let [merged, apart] = ["model", "adapter"].map(|folder| output.path().join(folder));
    export.write(&merged, |_| Ok::<_, Error>(())).unwrap();
    let options = Default::default();
    let written = vectors(CpuEncoder::load(&merged, &options).unwrap());
    assert!(largest_difference(&written, &expected) <= 5e-5);
    let before = vectors(CpuEncoder::load(model.path(), &options).unwrap());
    assert!(largest_difference(&written, &before) > 0.05, "training must matter");
    if let Some(trained) = trained {
        trained.write(&apart).unwrap();
        let encoder = CpuEncoder::load_with_adapter(model.path(), &apart, &options).unwrap();
        assert!(largest_difference(&vectors(encoder), &expected) <= 5e-5);
    }
}

#[test]
fn a_bert_trained_by_the_engine_is_what_is_written() {
    let model = ModelDirectory::open(&fixture("small-bert"), None).unwrap();
    check(cpu(&model, None), &model, None);
    let adapter = new_adapter(&model, &["query", "dense"]);
    check(cpu(&model, Some(&adapter)), &model, Some(&adapter));
}

#[test]
fn a_bert_trained_by_burn_is_what_is_written() {
    let model = ModelDirectory::open(&fixture("small-bert"), None).unwrap();
    check(burn(&model, None), &model, None);
    let adapter = new_adapter(&model, &["value", "output.dense", "word_embeddings"]);
    check(burn(&model, Some(&adapter)), &model, Some(&adapter));
}

#[test]
fn a_qwen2_and_a_qwen3_trained_by_burn_are_what_is_written() {
    for name in ["architectures/qwen2-last-token", "architectures/qwen3-last-token"] {
        let base = in_f32(&fixture(name));
        let model = ModelDirectory::open(base.path(), None).unwrap();
        check(burn(&model, None), &model, None);
        let adapter = new_adapter(&model, &["q_proj", "down_proj", "embed_tokens"]);
        check(burn(&model, Some(&adapter)), &model, Some(&adapter));
    }
}
