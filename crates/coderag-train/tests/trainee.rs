//! Models in training: burn's and a card's against the engine on the processor, against torch
//! (`scripts/reference_training_qwen2.py`), and against themselves.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use burn::backend::Flex;
use burn::tensor::Tensor;
use burn_autodiff::Autodiff;
use coderag_encoder::card::CardOptions;
use coderag_encoder::device::CudaCard;
use coderag_encoder::engine::{Trainable, TrainingOptions, TrainingPrecision};
use coderag_encoder::lora::{Adapter, AdapterConfig, ModuleSelection};
use coderag_encoder::{Architecture, MatrixPrecision, ModelDirectory};
use coderag_train::config::DropoutSettings;
use coderag_train::loss::{Loss, LossBatch, MultipleNegativesRanking};
use coderag_train::optimizer::{AdamW, decays};
use coderag_train::trainee::{BurnTrainee, CardTrainee, CpuTrainee, Trainee, TraineeState, Update};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use tempfile::TempDir;

type Training = Autodiff<Flex>;

const NO_DROPOUT: DropoutSettings = DropoutSettings { hidden: 0.0, attention: 0.0 };

/// The random numbers of a process are one sequence, which only one test may draw from at a time.
static RANDOM: Mutex<()> = Mutex::new(());

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../coderag-encoder/tests/fixtures").join(name)
}

fn directory(name: &str) -> ModelDirectory {
    ModelDirectory::open(&fixture(name), None).unwrap()
}

fn burn(
    model: &ModelDirectory,
    adapter: Option<&Adapter>,
    dropout: DropoutSettings,
    gradient_checkpointing: bool,
) -> BurnTrainee<Training> {
    let device = Default::default();
    BurnTrainee::load(model, adapter, dropout, gradient_checkpointing, &device).unwrap()
}

fn trainable(model: &ModelDirectory, adapter: Option<&Adapter>) -> Trainable {
    match adapter {
        None => Trainable::Everything,
        Some(adapter) => {
            Trainable::Adapters(adapter.training_layers(&model.lora_places()).unwrap())
        }
    }
}

fn cpu(model: &ModelDirectory, adapter: Option<&Adapter>) -> CpuTrainee {
    CpuTrainee::load(model, trainable(model, adapter), &TrainingOptions::default()).unwrap()
}

/// On the software card.
fn card(model: &ModelDirectory, adapter: Option<&Adapter>, options: CardOptions) -> CardTrainee {
    coderag_software_card::install().unwrap();
    let card = CudaCard::open(0).unwrap();
    CardTrainee::load(model, trainable(model, adapter), &card, options).unwrap()
}

/// A new adapter with some dropout.
fn adapter(model: &ModelDirectory, modules: &[&str], dropout: f64) -> Adapter {
    let modules = ModuleSelection::names(modules.iter().copied());
    let config = AdapterConfig { dropout, ..AdapterConfig::new(3, 6.0, modules) };
    Adapter::initial(config, &model.lora_places(), 9).unwrap()
}

/// Sequences of different lengths with tokens that follow from `seed`, in even numbers.
fn sequences(model: &ModelDirectory, seed: u64, count: usize) -> Vec<Vec<u32>> {
    let vocabulary = model.architecture().vocab_size() as u64;
    let longest = model.max_tokens().min(20) as u64;
    let mut state = seed;
    let mut draw = |below: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut sequence = |_| (0..=draw(longest)).map(|_| draw(vocabulary) as u32).collect();
    (0..count).map(&mut sequence).collect()
}

fn slices(sequences: &[Vec<u32>]) -> Vec<&[u32]> {
    sequences.iter().map(Vec::as_slice).collect()
}

fn values(vectors: Tensor<Flex, 2>) -> Vec<f32> {
    vectors.into_data().into_vec().unwrap()
}

/// A loss of the vectors, half of which are anchors, and its gradient.
fn loss(vectors: Tensor<Flex, 2>) -> (f64, Tensor<Flex, 2>) {
    let loss = Loss::MultipleNegativesRanking(MultipleNegativesRanking::default());
    let batch = LossBatch::new(vectors.dims()[0] / 2, Vec::new()).unwrap();
    let result = loss.value_and_gradient::<Training>(vectors, &batch, 64).unwrap();
    (result.value, result.gradient)
}

/// Steps of two batches each; returns the losses and norms.
fn train<T: Trainee<Backend = Training>>(
    trainee: &mut T,
    model: &ModelDirectory,
    steps: std::ops::Range<u64>,
) -> Vec<[f64; 2]> {
    let mut found = Vec::new();
    for step in steps {
        let mut sum = 0.0;
        for batch in 0..2 {
            let sequences = sequences(model, 10 * step + batch, 8);
            let vectors = trainee.forward(&slices(&sequences), 10 * step + batch).unwrap();
            let (value, gradient) = loss(vectors);
            trainee.backward(gradient * 0.5).unwrap();
            sum += value;
        }
        let adamw = AdamW { epsilon: 1e-5, weight_decay: 0.1, ..AdamW::default() };
        let learning_rate = 1e-3 / (step + 1) as f64;
        let update = Update { step, learning_rate, adamw, max_gradient_norm: 0.2 };
        found.push([sum, trainee.step(&update).unwrap()]);
    }
    found
}

/// How far two states are from each other; the names and shapes must be the same.
fn difference(left: &TraineeState, right: &TraineeState) -> f32 {
    assert!(left.keys().eq(right.keys()));
    let mut largest = 0.0f32;
    for (name, left) in left {
        let right = &right[name];
        assert_eq!(left.shape, right.shape, "{name}");
        for (left, right) in [
            (&left.value, &right.value),
            (&left.first_moment, &right.first_moment),
            (&left.second_moment, &right.second_moment),
        ] {
            assert_eq!(left.len(), right.len(), "{name}");
            for (left, right) in left.iter().zip(right) {
                // A NaN is far from everything.
                let difference = (left - right).abs();
                largest = if difference <= largest { largest } else { difference };
            }
        }
    }
    largest
}

#[test]
fn burn_trains_a_bert_as_the_engine_on_the_processor_does() {
    for name in ["small-bert", "architectures/roberta"] {
        let model = directory(name);
        let lora = adapter(&model, &["query", "value", "dense"], 0.0);
        for adapter in [None, Some(&lora)] {
            let mut expected = cpu(&model, adapter);
            let mut found = burn(&model, adapter, NO_DROPOUT, false);
            let before = found.state().unwrap();
            assert_eq!(difference(&before, &expected.state().unwrap()), 0.0);
            let [ours, theirs] =
                [train(&mut found, &model, 0..5), train(&mut expected, &model, 0..5)];
            for (ours, theirs) in ours.iter().flatten().zip(theirs.iter().flatten()) {
                assert!((ours - theirs).abs() <= 2e-5 * theirs, "{ours} {theirs}");
            }
            let clipped = theirs.iter().filter(|[_, norm]| *norm > 0.2).count();
            let [state, expected_state] = [found.state().unwrap(), expected.state().unwrap()];
            let sequences = sequences(&model, 99, 30);
            let [ours, theirs] = [
                values(found.embed(&slices(&sequences), None).unwrap()),
                values(expected.embed(&slices(&sequences), None).unwrap()),
            ];
            let vectors = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            let parameters = difference(&state, &expected_state);
            println!(
                "{name}: parameters {parameters:.1e}, vectors {vectors:.1e}, {clipped} clipped"
            );
            assert!(parameters <= 1e-5 && vectors <= 1e-5);
            assert!(clipped > 0);
            assert_eq!(state.len(), before.len());
            assert!(state.iter().all(|(name, now)| now.value != before[name].value));
        }
    }
}

#[test]
fn a_card_trains_a_bert_as_the_processor_does() {
    let model = directory("small-bert");
    let lora = adapter(&model, &["query", "value", "dense"], 0.0);
    for adapter in [None, Some(&lora)] {
        let mut expected = cpu(&model, adapter);
        let mut found = card(&model, adapter, CardOptions::default());
        assert_eq!(difference(&found.state().unwrap(), &expected.state().unwrap()), 0.0);
        let [ours, theirs] = [train(&mut found, &model, 0..5), train(&mut expected, &model, 0..5)];
        for (ours, theirs) in ours.iter().flatten().zip(theirs.iter().flatten()) {
            assert!((ours - theirs).abs() <= 2e-5 * theirs, "{ours} {theirs}");
        }
        let state = found.state().unwrap();
        let parameters = difference(&state, &expected.state().unwrap());
        println!("parameters {parameters:.1e}");
        assert!(parameters <= 1e-5);
        assert!(state.keys().all(|name| known_to_decay(&found, name) == decays(name)));

        // A run that was stopped goes on as it would have.
        let options = CardOptions { recompute: true, ..CardOptions::default() };
        let mut resumed = card(&model, adapter, options);
        resumed.restore(state).unwrap();
        let [one, other] = [&mut found, &mut resumed].map(|it| train(it, &model, 5..7));
        assert_eq!(one, other);
        assert_eq!(difference(&found.state().unwrap(), &resumed.state().unwrap()), 0.0);
        let mut other = found.state().unwrap();
        other.pop_first();
        assert!(resumed.restore(other).is_err());
    }
}

/// A Qwen2 with the tokenizer of a tiny one, of sizes that a card takes, with random weights.
fn qwen2_for_cards(causal: bool) -> TempDir {
    let folder = TempDir::new().unwrap();
    let source = fixture("architectures/qwen2-last-token");
    let read = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(source.join(name)).unwrap()).unwrap()
    };
    for entry in std::fs::read_dir(&source).unwrap().map(Result::unwrap) {
        if entry.path().is_file() {
            std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        } else {
            let inner = folder.path().join(entry.file_name());
            std::fs::create_dir(&inner).unwrap();
            for file in std::fs::read_dir(entry.path()).unwrap().map(Result::unwrap) {
                std::fs::copy(file.path(), inner.join(file.file_name())).unwrap();
            }
        }
    }
    let mut config = read("config.json");
    let (hidden, heads, key_heads, inner, layers) = (64, 4, 2, 40, 3);
    let sizes = [
        ("hidden_size", hidden),
        ("num_attention_heads", heads),
        ("num_key_value_heads", key_heads),
        ("intermediate_size", inner),
        ("num_hidden_layers", layers),
    ];
    for (name, size) in sizes {
        config[name] = size.into();
    }
    config["is_causal"] = causal.into();
    let settings = config.as_object_mut().unwrap();
    settings.remove("head_dim");
    settings.remove("layer_types");
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let mut pooling = read("1_Pooling/config.json");
    pooling["word_embedding_dimension"] = hidden.into();
    std::fs::write(folder.path().join("1_Pooling/config.json"), pooling.to_string()).unwrap();
    let vocabulary = config["vocab_size"].as_u64().unwrap() as usize;
    let mut shapes = vec![
        ("embed_tokens.weight".to_owned(), vec![vocabulary, hidden]),
        ("norm.weight".to_owned(), vec![hidden]),
    ];
    let keys = key_heads * hidden / heads;
    for layer in 0..layers {
        for (name, sizes, biased) in [
            ("self_attn.q_proj", [hidden, hidden], true),
            ("self_attn.k_proj", [keys, hidden], true),
            ("self_attn.v_proj", [keys, hidden], true),
            ("self_attn.o_proj", [hidden, hidden], false),
            ("mlp.gate_proj", [inner, hidden], false),
            ("mlp.up_proj", [inner, hidden], false),
            ("mlp.down_proj", [hidden, inner], false),
        ] {
            shapes.push((format!("layers.{layer}.{name}.weight"), sizes.to_vec()));
            if biased {
                shapes.push((format!("layers.{layer}.{name}.bias"), vec![sizes[0]]));
            }
        }
        for name in ["input_layernorm", "post_attention_layernorm"] {
            shapes.push((format!("layers.{layer}.{name}.weight"), vec![hidden]));
        }
    }
    let mut random = coderag_core::Random::new(3);
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = shapes
        .into_iter()
        .map(|(name, shape)| {
            let offset = if name.ends_with("norm.weight") { 1.0 } else { 0.0 };
            let mut draw = || offset + (random.below(2001) as f32 / 1000.0 - 1.0) * 0.2;
            let count: usize = shape.iter().product();
            (name, shape, (0..count).flat_map(|_| draw().to_le_bytes()).collect())
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize_to_file(views, None, &folder.path().join("model.safetensors")).unwrap();
    folder
}

#[test]
fn a_card_trains_a_qwen2_as_burn_does() {
    for causal in [true, false] {
        let folder = qwen2_for_cards(causal);
        let model = ModelDirectory::open(folder.path(), None).unwrap();
        let lora = adapter(&model, &["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"], 0.0);
        for adapter in [None, Some(&lora)] {
            let mut expected = burn(&model, adapter, NO_DROPOUT, false);
            let theirs = train(&mut expected, &model, 0..4);
            let expected_state = expected.state().unwrap();
            for recompute in [false, true] {
                let options = CardOptions { recompute, ..CardOptions::default() };
                let mut found = card(&model, adapter, options);
                for (ours, theirs) in
                    train(&mut found, &model, 0..4).iter().flatten().zip(theirs.iter().flatten())
                {
                    assert!((ours - theirs).abs() <= 5e-5 * theirs, "{ours} {theirs}");
                }
                let parameters = difference(&found.state().unwrap(), &expected_state);
                println!("causal {causal}: parameters {parameters:.1e}");
                assert!(parameters <= 1e-5);
            }
            let precision = TrainingPrecision::Bf16;
            let mut rounded = card(&model, adapter, CardOptions { precision, recompute: false });
            let ours = train(&mut rounded, &model, 0..4);
            for ([ours, our_norm], [theirs, their_norm]) in ours.iter().zip(&theirs) {
                println!("bf16: {ours:.4} {theirs:.4}, {our_norm:.4} {their_norm:.4}");
                assert!((ours - theirs).abs() <= 0.05 * theirs);
                assert!((our_norm - their_norm).abs() <= 0.1 * their_norm);
            }
        }
    }
}

fn known_to_decay(trainee: &CardTrainee, parameter: &str) -> bool {
    trainee.engine().trained().any(|(name, _, decays)| name == parameter && decays)
}

#[test]
fn products_in_bf16_train_nearly_as_those_in_f32_do() {
    for (name, modules) in [
        ("small-bert", ["query", "value", "dense"]),
        ("architectures/qwen2-last-token", ["q_proj", "v_proj", "up_proj"]),
    ] {
        let model = directory(name);
        let lora = adapter(&model, &modules, 0.0);
        for adapter in [None, Some(&lora)] {
            let [mut exact, mut rounded] =
                [MatrixPrecision::F32, MatrixPrecision::Bf16].map(|precision| {
                    burn(&model, adapter, NO_DROPOUT, false).with_precision(precision)
                });
            // What is trained is not rounded.
            assert_eq!(difference(&exact.state().unwrap(), &rounded.state().unwrap()), 0.0);
            let sequences = sequences(&model, 99, 30);
            let mut vectors = [&exact, &rounded]
                .map(|trainee| values(trainee.embed(&slices(&sequences), None).unwrap()));
            let dimensions = vectors[0].len() / sequences.len();
            let [left, right] = vectors.each_mut().map(|values| values.chunks(dimensions));
            let product = |left: &[f32], right: &[f32]| -> f32 {
                left.iter().zip(right).map(|(left, right)| left * right).sum()
            };
            let cosines = left.zip(right).map(|(left, right)| {
                product(left, right) / (product(left, left) * product(right, right)).sqrt()
            });
            let cosine = cosines.fold(1.0, f32::min);
            let [losses, rounded_losses] =
                [train(&mut exact, &model, 0..5), train(&mut rounded, &model, 0..5)];
            let apart =
                losses.iter().zip(&rounded_losses).map(|([loss, norm], [other, other_norm])| {
                    ((loss - other).abs() / loss, (norm - other_norm).abs() / norm)
                });
            let (loss, norm) = apart.fold((0.0f64, 0.0f64), |(loss, norm), (other, other_norm)| {
                (loss.max(other), norm.max(other_norm))
            });
            println!("{name}: cosine {cosine:.6}, losses {loss:.1e}, norms {norm:.1e} apart");
            // Vectors of so small a model are much alike, so that roundings weigh in what tells them apart.
            assert!(cosine >= 0.999 && loss <= 0.05 && norm <= 0.3);
            // And it is not simply f32.
            assert!(difference(&exact.state().unwrap(), &rounded.state().unwrap()) > 0.0);
        }
    }
}

#[derive(Deserialize)]
struct Reference {
    pairs: usize,
    learning_rates: Vec<f64>,
    adamw: TorchAdamW,
    runs: Vec<Run>,
}

#[derive(Deserialize)]
struct TorchAdamW {
    betas: [f64; 2],
    eps: f64,
    weight_decay: f64,
}

#[derive(Deserialize)]
struct Run {
    name: String,
    model: String,
    adapter: Option<String>,
    max_norm: f64,
    batches: Vec<Vec<Vec<u32>>>,
    steps: Vec<TorchStep>,
    parameters: BTreeMap<String, Summary>,
}

#[derive(Deserialize)]
struct TorchStep {
    loss: f64,
    norm: f64,
}

#[derive(Deserialize)]
struct Summary {
    shape: Vec<usize>,
    norm: f64,
    product: f64,
}

#[test]
fn qwen2_and_qwen3_train_as_in_torch() {
    let reference =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/training-qwen2.json");
    let reference: Reference = serde_json::from_slice(&std::fs::read(reference).unwrap()).unwrap();
    assert_eq!(reference.runs.len(), 3);
    let TorchAdamW { betas: [beta1, beta2], eps, weight_decay } = reference.adamw;
    let adamw = AdamW { beta1, beta2, epsilon: eps, weight_decay };
    for run in &reference.runs {
        let model = directory(&format!("architectures/{}", run.model));
        let adapter = run.adapter.as_ref();
        let adapter = adapter.map(|name| Adapter::read(&fixture(&format!("lora/{name}"))).unwrap());
        for gradient_checkpointing in [false, true] {
            // Parts of one sequence or several.
            let mut trainee = burn(&model, adapter.as_ref(), NO_DROPOUT, gradient_checkpointing)
                .with_tokens_at_once(30);
            let (mut losses, mut norms) = (0.0f64, 0.0f64);
            for (number, expected) in run.steps.iter().enumerate() {
                let batch = &run.batches[number];
                assert_eq!(batch.len(), 2 * reference.pairs);
                let vectors = trainee.forward(&slices(batch), 0).unwrap();
                let (value, gradient) = loss(vectors);
                trainee.backward(gradient).unwrap();
                let update = Update {
                    step: number as u64,
                    learning_rate: reference.learning_rates[number],
                    adamw,
                    max_gradient_norm: run.max_norm,
                };
                let norm = trainee.step(&update).unwrap();
                losses = losses.max((value - expected.loss).abs() / expected.loss);
                norms = norms.max((norm - expected.norm).abs() / expected.norm);
            }
            let state = trainee.state().unwrap();
            assert!(state.keys().eq(run.parameters.keys()), "{}", run.name);
            let mut parameters = 0.0f64;
            for (name, expected) in &run.parameters {
                assert_eq!(state[name].shape, expected.shape, "{name}");
                let values = state[name].value.iter().map(|value| f64::from(*value));
                let norm = values.clone().map(|value| value * value).sum::<f64>().sqrt();
                let product = values.enumerate().map(|(at, value)| value * (at as f64).sin());
                let product = product.sum::<f64>();
                parameters = parameters.max((norm - expected.norm).abs() / expected.norm);
                parameters = parameters.max((product - expected.product).abs() / expected.norm);
            }
            println!(
                "{}: losses {losses:.1e}, norms {norms:.1e}, parameters {parameters:.1e}",
                run.name
            );
            // In f32, torch is as far from this as we are.
            assert!(losses <= 2e-5 && norms <= 5e-5 && parameters <= 1e-5);
        }
    }
}

#[test]
fn gradient_checkpointing_changes_nothing_with_dropout_or_without() {
    let _random = RANDOM.lock().unwrap();
    let attention = DropoutSettings { hidden: 0.0, attention: 0.2 };
    let both = DropoutSettings { hidden: 0.1, attention: 0.2 };
    let bert = ["word_embeddings", "query", "output.dense"];
    let qwen2 = ["embed_tokens", "q_proj", "down_proj"];
    for (name, dropouts, modules) in [
        ("small-bert", [NO_DROPOUT, both], bert),
        ("architectures/roberta", [NO_DROPOUT, both], bert),
        ("architectures/qwen2-last-token", [NO_DROPOUT, attention], qwen2),
        ("architectures/qwen3-last-token", [NO_DROPOUT, attention], qwen2),
        ("architectures/qwen2-bidirectional", [NO_DROPOUT, attention], qwen2),
    ] {
        let model = directory(name);
        let everywhere = adapter(&model, &modules, 0.3);
        // Without embeddings nothing before the first block is trained.
        let in_blocks = adapter(&model, &modules[1..], 0.0);
        // Nor is the first block here.
        let last = model.lora_places().pop().unwrap().module;
        let in_last_block = adapter(&model, &[&last], 0.0);
        let at_both_ends = adapter(&model, &[modules[0], &last], 0.0);
        for adapter in
            [None, Some(&everywhere), Some(&in_blocks), Some(&in_last_block), Some(&at_both_ends)]
        {
            for dropout in dropouts {
                let [mut plain, mut checkpointing] = [false, true]
                    .map(|on| burn(&model, adapter, dropout, on).with_tokens_at_once(64));
                let expected = train(&mut plain, &model, 0..2);
                let found = train(&mut checkpointing, &model, 0..2);
                let norms = expected.iter().zip(&found);
                for ([loss, norm], [their_loss, their_norm]) in norms {
                    assert!((loss - their_loss).abs() <= 1e-6 * loss, "{name}");
                    assert!((norm - their_norm).abs() <= 1e-6 * norm, "{name}");
                }
                let [plain, found] = [plain.state().unwrap(), checkpointing.state().unwrap()];
                let difference = difference(&plain, &found);
                assert!(difference <= 1e-6, "{name}: {difference:e}");
            }
        }
    }
}

#[test]
fn embedding_with_a_seed_is_the_forward_pass_with_its_dropout() {
    let _random = RANDOM.lock().unwrap();
    for (name, hidden, module) in
        [("small-bert", 0.1, "value"), ("architectures/qwen2-last-token", 0.0, "v_proj")]
    {
        let model = directory(name);
        let adapter = adapter(&model, &[module], 0.3);
        let dropout = DropoutSettings { hidden, attention: 0.1 };
        let only_hidden = DropoutSettings { attention: 0.0, ..dropout };
        let only_attention = DropoutSettings { hidden: 0.0, ..dropout };
        let sequences = sequences(&model, 3, 9);
        let sequences = slices(&sequences);
        let exact = values(burn(&model, None, NO_DROPOUT, false).embed(&sequences, None).unwrap());
        for (adapter, dropout) in [
            (None, dropout),
            (None, only_hidden),
            (None, only_attention),
            (Some(&adapter), NO_DROPOUT),
        ] {
            for gradient_checkpointing in [false, true] {
                let mut trainee = burn(&model, adapter, dropout, gradient_checkpointing);
                trainee = trainee.with_tokens_at_once(60);
                if adapter.is_some() {
                    // B is zero at first.
                    train(&mut trainee, &model, 0..1);
                }
                let without = values(trainee.embed(&sequences, None).unwrap());
                let [first, again, other] =
                    [5, 5, 6].map(|seed| values(trainee.embed(&sequences, Some(seed)).unwrap()));
                assert_eq!(first, again);
                assert_eq!(values(trainee.forward(&sequences, 5).unwrap()), first);
                assert_eq!(values(trainee.forward(&sequences, 6).unwrap()), other);
                if adapter.is_none() {
                    let pairs = without.iter().zip(&exact);
                    let difference = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                    assert!(difference <= 1e-5, "{difference:e}");
                }
                if adapter.is_some() || dropout != NO_DROPOUT {
                    assert_ne!(first, other, "{name} {dropout:?}");
                    assert_ne!(first, without, "{name} {dropout:?}");
                }
            }
        }
    }
}

#[test]
fn vectors_are_in_the_order_of_the_sequences_however_many_there_are() {
    let model = directory("small-bert");
    let mut trainee = burn(&model, None, NO_DROPOUT, false);
    // More tokens than are embedded at once.
    let sequences = sequences(&model, 1, 1500);
    let sequences = slices(&sequences);
    let together = values(trainee.embed(&sequences, None).unwrap());
    let width = model.architecture().hidden_size();
    assert_eq!(together.len(), sequences.len() * width);
    for (sequence, expected) in sequences.iter().zip(together.chunks_exact(width)).step_by(50) {
        let alone = values(trainee.embed(&[sequence], None).unwrap());
        let difference = alone.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(difference <= 1e-5, "{difference:e}");
    }
    assert_eq!(trainee.embed(&[], None).unwrap().dims(), [0, width]);
    assert_eq!(trainee.embed(&[], Some(1)).unwrap().dims(), [0, width]);
    let nothing = trainee.forward(&[], 1).unwrap();
    assert_eq!(nothing.dims(), [0, width]);
    trainee.backward(nothing).unwrap();
}

/// The shapes of a file's tensors, by what `keep` calls them.
fn stored(file: &Path, keep: impl Fn(&str) -> Option<String>) -> BTreeMap<String, Vec<usize>> {
    let bytes = std::fs::read(file).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = tensors.tensors().into_iter();
    tensors.filter_map(|(name, view)| Some((keep(&name)?, view.shape().to_vec()))).collect()
}

#[test]
fn parameters_have_the_names_and_shapes_of_checkpoints() {
    let shapes = |state: TraineeState| -> BTreeMap<String, Vec<usize>> {
        state.into_iter().map(|(name, parameter)| (name, parameter.shape)).collect()
    };
    for name in [
        "small-bert",
        "architectures/roberta",
        "architectures/qwen2-last-token",
        "architectures/qwen3-last-token",
    ] {
        let model = directory(name);
        let mut trainee = burn(&model, None, NO_DROPOUT, false);
        let expected = stored(model.weights(), |name| {
            let name = name.strip_prefix("roberta.").unwrap_or(name);
            let other = ["pooler.", "lm_head.", "embeddings.position_ids"];
            (!other.iter().any(|start| name.starts_with(start))).then(|| name.to_owned())
        });
        assert_eq!(shapes(trainee.state().unwrap()), expected, "{name}");
    }
    for (name, base) in [
        ("embeddings", "small-bert"),
        ("roberta", "architectures/roberta"),
        ("qwen2-embeddings", "architectures/qwen2-last-token"),
    ] {
        let folder = fixture("lora").join(name);
        let adapter = Adapter::read(&folder).unwrap();
        let mut trainee = burn(&directory(base), Some(&adapter), NO_DROPOUT, false);
        let state = trainee.state().unwrap();
        let expected = stored(&folder.join("adapter_model.safetensors"), |name| {
            let name = name.strip_prefix("base_model.model.").unwrap();
            name.contains(".lora_").then(|| name.to_owned())
        });
        // And the numbers are PEFT's, row by row.
        let with_trained = |state: &TraineeState| {
            let parameters = state.iter();
            let parameters = parameters.map(|(name, now)| (name.as_str(), now.value.as_slice()));
            adapter.with_trained(parameters).unwrap()
        };
        assert_eq!(with_trained(&state).layers(), adapter.layers());
        assert_eq!(shapes(state), expected, "{name}");
        // What is exported is what was trained.
        train(&mut trainee, &directory(base), 0..1);
        let trained = with_trained(&trainee.state().unwrap());
        assert_eq!(
            trained.layers(),
            adapter.with_weights_of(trainee.body()).unwrap().layers(),
            "{name}"
        );
        for (module, weights) in trained.layers() {
            assert_ne!(weights, &adapter.layers()[module], "{module}");
        }
    }
}

/// Trains, restores what was halfway into another trainee, and trains that to the end.
fn resumes<T: Trainee<Backend = Training>>(model: &ModelDirectory, load: impl Fn() -> T) {
    let mut trainee = load();
    let beginning = trainee.state().unwrap();
    assert!(beginning.values().all(|parameter| parameter.first_moment.is_empty()));
    train(&mut trainee, model, 0..2);
    let halfway = trainee.state().unwrap();
    let expected = train(&mut trainee, model, 2..5);
    let end = trainee.state().unwrap();

    let mut resumed = load();
    // What it did before is forgotten.
    train(&mut resumed, model, 7..8);
    let sequences = sequences(model, 5, 4);
    let vectors = resumed.forward(&slices(&sequences), 0).unwrap();
    resumed.backward(vectors).unwrap();
    resumed.restore(halfway.clone()).unwrap();
    assert_eq!(resumed.state().unwrap(), halfway);
    assert_eq!(train(&mut resumed, model, 2..5), expected);
    assert_eq!(resumed.state().unwrap(), end);
    resumed.restore(beginning.clone()).unwrap();
    assert_eq!(resumed.state().unwrap(), beginning);
    train(&mut resumed, model, 0..2);
    assert_eq!(resumed.state().unwrap(), halfway);
}

#[test]
fn a_restored_trainee_goes_on_bit_by_bit_as_the_other_would_have() {
    let _random = RANDOM.lock().unwrap();
    let bert = directory("small-bert");
    let lora = adapter(&bert, &["query", "dense"], 0.2);
    let dropout = DropoutSettings { hidden: 0.1, attention: 0.1 };
    for adapter in [None, Some(&lora)] {
        resumes(&bert, || cpu(&bert, adapter));
        resumes(&bert, || burn(&bert, adapter, NO_DROPOUT, false));
        resumes(&bert, || burn(&bert, adapter, dropout, true));
    }
    let qwen3 = directory("architectures/qwen3-last-token");
    let lora = adapter(&qwen3, &["embed_tokens", "q_proj"], 0.0);
    for adapter in [None, Some(&lora)] {
        resumes(&qwen3, || burn(&qwen3, adapter, NO_DROPOUT, false));
    }
}

#[test]
fn the_state_of_one_trainee_is_the_other_ones() {
    let model = directory("small-bert");
    let lora = adapter(&model, &["query", "dense"], 0.0);
    for adapter in [None, Some(&lora)] {
        let [mut ours, mut theirs] =
            [burn(&model, adapter, NO_DROPOUT, false), burn(&model, adapter, NO_DROPOUT, true)];
        let mut engine = cpu(&model, adapter);
        train(&mut ours, &model, 0..2);
        let state = ours.state().unwrap();
        engine.restore(state.clone()).unwrap();
        assert_eq!(engine.state().unwrap(), state);
        train(&mut engine, &model, 2..3);
        train(&mut ours, &model, 2..3);
        let state = engine.state().unwrap();
        assert!(difference(&ours.state().unwrap(), &state) <= 1e-5);
        theirs.restore(state.clone()).unwrap();
        assert_eq!(theirs.state().unwrap(), state);
    }
}

/// States that are refused, and what is said of them; nothing is changed.
fn refuses_other_states<T: Trainee<Backend = Training>>(mut trainee: T, model: &ModelDirectory) {
    train(&mut trainee, model, 0..1);
    let state = trainee.state().unwrap();
    let name = "encoder.layer.1.output.dense.weight";
    type Change = fn(&mut TraineeState, &str);
    let changes: [(Change, &str); 6] = [
        (
            |state, name| drop(state.remove(name)),
            "no parameter `encoder.layer.1.output.dense.weight`",
        ),
        (|state, name| state.get_mut(name).unwrap().shape.reverse(), "of the shape [32, 64]"),
        (|state, name| state.get_mut(name).unwrap().value.truncate(7), "has 7 numbers"),
        (|state, name| state.get_mut(name).unwrap().first_moment.clear(), "moments of 0 and 2048"),
        (|state, name| state.get_mut(name).unwrap().second_moment.truncate(9), "of 2048 and 9"),
        (
            |state, name| {
                let parameter = state[name].clone();
                state.insert("pooler.dense.weight".to_owned(), parameter);
            },
            "the model has no parameter `pooler.dense.weight`",
        ),
    ];
    for (change, problem) in changes {
        let mut other = state.clone();
        other.values_mut().for_each(|parameter| parameter.value.fill(0.5));
        change(&mut other, name);
        let error = trainee.restore(other).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
        assert_eq!(trainee.state().unwrap(), state);
    }
}

#[test]
fn the_state_of_another_model_is_refused_and_nothing_is_changed() {
    let model = directory("small-bert");
    refuses_other_states(cpu(&model, None), &model);
    refuses_other_states(burn(&model, None, NO_DROPOUT, false), &model);
}

/// Gradients that are not finite, and calls that make no sense.
fn survives<T: Trainee<Backend = Training>>(mut trainee: T, model: &ModelDirectory) {
    let update = Update {
        step: 0,
        learning_rate: 1e-3,
        adamw: AdamW::default(),
        max_gradient_norm: f64::INFINITY,
    };
    let before = trainee.state().unwrap();
    let batch = sequences(model, 1, 4);
    let batch = slices(&batch);
    let vectors = trainee.forward(&batch, 0).unwrap();
    trainee.backward(vectors.clone() * f32::NAN).unwrap();
    assert!(!trainee.step(&update).unwrap().is_finite());
    assert_eq!(trainee.state().unwrap(), before);
    // Nothing of it is left.
    trainee.forward(&batch, 0).unwrap();
    trainee.backward(vectors.clone()).unwrap();
    let norm = trainee.step(&update).unwrap();
    assert!(norm.is_finite() && norm > 0.0);
    assert!(trainee.state().unwrap().values().all(|parameter| {
        parameter.value.iter().chain(&parameter.second_moment).all(|value| value.is_finite())
    }));
    let error = trainee.backward(vectors.clone()).unwrap_err().to_string();
    assert!(error.contains("needs a forward pass"), "{error}");
    trainee.forward(&batch, 0).unwrap();
    let error = trainee.backward(vectors.narrow(0, 0, 3)).unwrap_err().to_string();
    assert!(error.contains("gradients"), "{error}");
    let beyond = model.architecture().vocab_size() as u32;
    for bad in [vec![], vec![beyond], vec![1; model.architecture().max_tokens() + 1]] {
        for error in [
            trainee.forward(&[&[1, 2], &bad], 0).unwrap_err(),
            trainee.embed(&[&[1, 2], &bad], None).unwrap_err(),
            trainee.embed(&[&[1, 2], &bad], Some(0)).unwrap_err(),
        ] {
            assert!(error.to_string().starts_with("sequence 1: "), "{error}");
        }
    }
}

#[test]
fn gradients_that_are_not_finite_change_nothing_and_bad_calls_are_errors() {
    let model = directory("small-bert");
    survives(cpu(&model, None), &model);
    survives(burn(&model, None, NO_DROPOUT, false), &model);
    survives(burn(&model, None, NO_DROPOUT, true), &model);
    let qwen3 = directory("architectures/qwen3-last-token");
    assert!(matches!(qwen3.architecture(), Architecture::Qwen2(_)));
    survives(burn(&qwen3, None, NO_DROPOUT, true), &qwen3);
    let hidden = DropoutSettings { hidden: 0.1, attention: 0.0 };
    let refused = BurnTrainee::<Training>::load(&qwen3, None, hidden, false, &Default::default());
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("`dropout.hidden`: Qwen2 and Qwen3 have none"), "{error}");
}
