//! The engine's backward pass against burn's automatic differentiation, on models of odd sizes with random
//! weights, with every set of instructions of the machine.
#![allow(clippy::unwrap_used)]

mod fixtures;

use std::collections::BTreeMap;

use burn::module::{Module as _, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Tensor, TensorData};
use burn_autodiff::Autodiff;
use coderag_encoder::engine::{
    AdapterLayer, Cpu, Dropout, Engine, EngineOptions, Trainable, TrainingEngine, TrainingOptions,
    TrainingPrecision,
};
use coderag_encoder::lora::{Adapter, AdapterConfig, LoraModel as _, ModuleSelection};
use coderag_encoder::{Architecture, Bert, BertConfig, CpuBackend, Error, Pooling, TokenBatch};
use fixtures::{largest_difference, randomised};
use safetensors::tensor::TensorView;
use serde_json::json;
use tempfile::TempDir;

type Training = Autodiff<CpuBackend>;

const VOCABULARY: usize = 50;
const POSITIONS: usize = 52;

/// Hidden size, heads, size inside the feed-forward network, layers.
type Sizes = (usize, usize, usize, usize);
const SIZES: [Sizes; 5] =
    [(64, 2, 128, 2), (20, 5, 33, 3), (99, 3, 50, 1), (21, 7, 33, 2), (72, 1, 40, 1)];

const POOLINGS: [Pooling; 4] = [Pooling::Mean, Pooling::Cls, Pooling::Max, Pooling::LastToken];

fn config((hidden, heads, inner, layers): Sizes) -> BertConfig {
    serde_json::from_value(json!({
        "vocab_size": VOCABULARY, "hidden_size": hidden, "num_hidden_layers": layers,
        "num_attention_heads": heads, "intermediate_size": inner,
        "max_position_embeddings": POSITIONS,
    }))
    .unwrap()
}

/// Numbers from -1 to 1 (Numerical Recipes' generator).
struct Random(u32);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as f32 / (1 << 23) as f32 - 1.0
    }

    fn values(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|_| scale * self.next()).collect()
    }
}

/// Draws every parameter.
struct Draw(Random, String);

impl ModuleMapper<Training> for Draw {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.1 = name.to_owned();
    }

    fn map_float<const D: usize>(
        &mut self,
        param: Param<Tensor<Training, D>>,
    ) -> Param<Tensor<Training, D>> {
        let offset = if self.1 == "gamma" { 1.0 } else { 0.0 };
        param.map(|tensor| {
            let values = self.0.values(tensor.shape().num_elements(), 0.3);
            let values: Vec<f32> = values.into_iter().map(|value| value + offset).collect();
            let data = TensorData::new(values, tensor.dims());
            Tensor::from_data(data, &tensor.device()).require_grad()
        })
    }
}

/// Shape and values in the order of checkpoints.
type Stored = (Vec<usize>, Vec<f32>);

/// The parameters of a model, or their gradients, by their names in checkpoints.
struct Parameters<'a> {
    /// Each field with the kind of module that holds it.
    path: Vec<(String, String)>,
    gradients: Option<&'a <Training as AutodiffBackend>::Gradients>,
    found: BTreeMap<String, Stored>,
}

impl Parameters<'_> {
    fn name(&self) -> String {
        let rename = |(field, holder): &(String, String)| {
            Some(
                match (field.as_str(), holder.as_str()) {
                    ("base" | "lora", "Struct:LoraLinear" | "Struct:LoraEmbedding") => return None,
                    ("a", "Struct:Lora") => "lora_A.weight",
                    ("b", "Struct:Lora") => "lora_B.weight",
                    ("gamma", _) => "weight",
                    ("beta", _) => "bias",
                    ("word_embeddings", _) => "embeddings.word_embeddings",
                    ("position_embeddings", _) => "embeddings.position_embeddings",
                    ("token_type_embeddings", _) => "embeddings.token_type_embeddings",
                    ("embedding_norm", _) => "embeddings.LayerNorm",
                    ("layers", _) => "encoder.layer",
                    ("query", _) => "attention.self.query",
                    ("key", _) => "attention.self.key",
                    ("value", _) => "attention.self.value",
                    ("attention_output", _) => "attention.output.dense",
                    ("attention_norm", _) => "attention.output.LayerNorm",
                    ("intermediate", _) => "intermediate.dense",
                    ("output", _) => "output.dense",
                    ("output_norm", _) => "output.LayerNorm",
                    (other, _) => other,
                }
                .to_owned(),
            )
        };
        self.path.iter().filter_map(rename).collect::<Vec<_>>().join(".")
    }
}

impl ModuleVisitor<Training> for Parameters<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.push((name.to_owned(), container.to_owned()));
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Training, D>>) {
        let holder = self.path.last().unwrap().1.as_str();
        let transposed = D == 2 && matches!(holder, "Struct:Linear" | "Struct:Lora");
        let tensor = match self.gradients {
            None => Some(param.val().inner()),
            Some(gradients) => param.val().grad(gradients),
        };
        if let Some(tensor) = tensor {
            let tensor = if transposed { tensor.swap_dims(0, 1) } else { tensor };
            let values = tensor.to_data().to_vec().unwrap();
            self.found.insert(self.name(), (tensor.dims().to_vec(), values));
        }
    }
}

fn parameters(
    model: &Bert<Training>,
    gradients: Option<&<Training as AutodiffBackend>::Gradients>,
) -> BTreeMap<String, Stored> {
    let mut visitor = Parameters { path: Vec::new(), gradients, found: BTreeMap::new() };
    model.visit(&mut visitor);
    visitor.found
}

/// A model in burn and in a file.
struct Model {
    burn: Bert<Training>,
    architecture: Architecture,
    folder: TempDir,
}

impl Model {
    fn new(config: BertConfig) -> Self {
        let burn = config.init(&Default::default()).map(&mut Draw(Random(1), String::new()));
        let stored = parameters(&burn, None);
        let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = stored
            .into_iter()
            .map(|(name, (shape, values))| {
                (name, shape, values.into_iter().flat_map(f32::to_le_bytes).collect())
            })
            .collect();
        let views = bytes.iter().map(|(name, shape, bytes)| {
            let view = TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).unwrap();
            (name.as_str(), view)
        });
        let folder = TempDir::new().unwrap();
        let file = safetensors::serialize(views, None).unwrap();
        std::fs::write(folder.path().join("model.safetensors"), file).unwrap();
        Self { burn, architecture: Architecture::Bert(config), folder }
    }

    fn engine(
        &self,
        pooling: Pooling,
        trainable: Trainable,
        options: &TrainingOptions,
    ) -> Result<TrainingEngine, Error> {
        let weights = self.folder.path().join("model.safetensors");
        TrainingEngine::load(&weights, &self.architecture, pooling, trainable, options)
    }

    /// The gradients that burn computes, and its vectors.
    fn expected(
        &self,
        model: &Bert<Training>,
        pooling: Pooling,
        gradients: &[f32],
    ) -> (Vec<f32>, BTreeMap<String, Stored>) {
        let batch = TokenBatch::new(&sequences(), &Default::default());
        let vectors = pooling.pool(model.forward(&batch), &batch);
        let weights = TensorData::new(gradients.to_vec(), vectors.dims());
        let loss = (vectors.clone() * Tensor::from_data(weights, &Default::default())).sum();
        let found = parameters(model, Some(&loss.backward()));
        (vectors.into_data().to_vec().unwrap(), found)
    }

    /// The gradients of vectors that the tests begin with.
    fn vector_gradients(&self) -> Vec<f32> {
        Random(7).values(sequences().len() * self.architecture.hidden_size(), 1.0)
    }
}

/// Sequences of every length up to 48.
fn sequences() -> Vec<Vec<u32>> {
    let token = |at: usize, length: usize| ((at * 7 + length * at * at) % VOCABULARY) as u32;
    (1..=48).map(|length| (0..length).map(|at| token(at, length)).collect()).collect()
}

/// The vectors and the gradients of one forward and backward pass.
fn run(
    engine: &mut TrainingEngine,
    gradients: &[f32],
    seed: u64,
) -> (Vec<f32>, BTreeMap<String, Stored>) {
    let sequences = sequences();
    let slices: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
    let (vectors, tape) = engine.forward(&slices, seed).unwrap();
    assert_eq!(tape.sequences(), slices.len());
    assert_eq!(engine.encode(&slices, Some(seed)).unwrap(), vectors);
    engine.backward(tape, gradients).unwrap();
    (vectors, found(engine))
}

fn found(engine: &mut TrainingEngine) -> BTreeMap<String, Stored> {
    let parameters = engine.parameters();
    let stored = parameters.into_iter().map(|parameter| {
        assert_eq!(parameter.value.len(), parameter.gradient.len());
        (parameter.name.to_owned(), (parameter.shape.to_vec(), parameter.gradient.to_vec()))
    });
    stored.collect()
}

fn norm(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}

fn greatest_norm(gradients: &BTreeMap<String, Stored>) -> f64 {
    gradients.values().map(|(_, values)| norm(values)).fold(0.0, f64::max)
}

/// All gradients have the shapes of the expected ones and are within a ten thousandth of them.
fn assert_close(found: &BTreeMap<String, Stored>, expected: &BTreeMap<String, Stored>, what: &str) {
    let names = |gradients: &BTreeMap<String, Stored>| {
        gradients.iter().map(|(name, (shape, _))| (name.clone(), shape.clone())).collect::<Vec<_>>()
    };
    assert_eq!(names(found), names(expected), "{what}");
    // A key's bias has no influence: its gradient is nothing but rounding.
    let noise = 1e-6 * greatest_norm(expected);
    for (name, (_, expected)) in expected {
        let difference: Vec<f32> =
            found[name].1.iter().zip(expected).map(|(found, expected)| found - expected).collect();
        let (error, size) = (norm(&difference), norm(expected));
        assert!(error <= 1e-4 * size + noise, "{what} {name}: {error:e} of {size:e}");
    }
}

fn cpus() -> impl Iterator<Item = Cpu> {
    Cpu::ALL.into_iter().filter(|cpu| cpu.is_available())
}

fn options(cpu: Cpu, threads: usize) -> TrainingOptions {
    TrainingOptions { cpu: Some(cpu), threads: Some(threads), ..Default::default() }
}

#[test]
fn gradients_of_every_parameter_are_those_of_burn() {
    for sizes in SIZES {
        let model = Model::new(config(sizes));
        let gradients = model.vector_gradients();
        for pooling in POOLINGS {
            let (vectors, expected) = model.expected(&model.burn, pooling, &gradients);
            for cpu in cpus() {
                let what = format!("{sizes:?} {pooling:?} {cpu}");
                let options = options(cpu, 1 + sizes.3);
                let mut engine = model.engine(pooling, Trainable::Everything, &options).unwrap();
                assert_eq!((engine.cpu(), engine.threads()), (cpu, 1 + sizes.3));
                let (found_vectors, found) = run(&mut engine, &gradients, 0);
                assert!(largest_difference(&found_vectors, &vectors) <= 2e-5, "{what}");
                assert_close(&found, &expected, &what);
            }
        }
    }
}

#[test]
fn gradients_in_bf16_point_where_those_of_burn_do() {
    for sizes in SIZES {
        let model = Model::new(config(sizes));
        let gradients = model.vector_gradients();
        let (_, expected) = model.expected(&model.burn, Pooling::Mean, &gradients);
        let greatest = greatest_norm(&expected);
        for cpu in cpus() {
            let options = TrainingOptions { precision: TrainingPrecision::Bf16, ..options(cpu, 2) };
            let mut engine = model.engine(Pooling::Mean, Trainable::Everything, &options).unwrap();
            let (_, found) = run(&mut engine, &gradients, 0);
            let mut compared = 0;
            for (name, (_, expected)) in &expected {
                if norm(expected) > 1e-4 * greatest {
                    let cosine = cosine(&found[name].1, expected);
                    assert!(cosine >= 0.999, "{sizes:?} {cpu} {name}: {cosine}");
                    compared += 1;
                } else {
                    assert!(name.ends_with("key.bias"), "{name}");
                }
            }
            assert!(compared >= 5 + 15 * sizes.3);
        }
    }
}

fn cosine(left: &[f32], right: &[f32]) -> f64 {
    let dot: f64 = left.iter().zip(right).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
    dot / (norm(left) * norm(right))
}

#[test]
fn a_roberta_has_the_gradients_of_burn() {
    let model = Model::new(BertConfig { padding_token: Some(1), ..config(SIZES[0]) });
    let gradients = model.vector_gradients();
    let (_, expected) = model.expected(&model.burn, Pooling::Mean, &gradients);
    let options = options(Cpu::best(), 2);
    let mut engine = model.engine(Pooling::Mean, Trainable::Everything, &options).unwrap();
    let (_, found) = run(&mut engine, &gradients, 0);
    assert_close(&found, &expected, "RoBERTa");
}

/// Adapters of the layers whose names have one of these endings: burn's model with them, and the same for
/// the engine.
fn adapted(model: &Model, rank: usize, endings: &[&str]) -> (Bert<Training>, Vec<AdapterLayer>) {
    let selection = ModuleSelection::names(endings.iter().copied());
    let config = AdapterConfig::new(rank, 0.5 * rank as f64, selection);
    let adapter = Adapter::initial(config, &model.burn.lora_places(), 5).unwrap();
    let adapter = randomised(&adapter, 11);
    let layers = adapter.layers().iter().map(|(layer, weights)| AdapterLayer {
        layer: layer.clone(),
        rank: weights.rank(),
        scale: adapter.config().scale_of(layer) as f32,
        a: weights.a().to_vec(),
        b: weights.b().to_vec(),
    });
    let layers = layers.collect();
    (model.burn.clone().with_adapter(&adapter).unwrap(), layers)
}

const LINEAR: [&str; 4] = ["query", "key", "value", "dense"];

#[test]
fn gradients_of_adapters_are_those_of_burn_and_nothing_else_has_any() {
    for sizes in SIZES {
        let model = Model::new(config(sizes));
        let gradients = model.vector_gradients();
        for (rank, endings) in [
            (3, &LINEAR[..]),
            (16, &LINEAR[..]),
            (33, &["value", "output.dense"]),
            (4, &["intermediate.dense"]),
            (5, &["layer.0.output.dense"]),
            (5, &["attention.output.dense"]),
        ] {
            let (burn, adapters) = adapted(&model, rank, endings);
            let (vectors, expected) = model.expected(&burn, Pooling::Mean, &gradients);
            assert_eq!(expected.len(), 2 * adapters.len());
            for cpu in cpus() {
                let what = format!("{sizes:?} {rank} {endings:?} {cpu}");
                let trainable = Trainable::Adapters(adapters.clone());
                let mut engine = model.engine(Pooling::Mean, trainable, &options(cpu, 2)).unwrap();
                let (found_vectors, found) = run(&mut engine, &gradients, 0);
                assert!(largest_difference(&found_vectors, &vectors) <= 5e-5, "{what}");
                assert_close(&found, &expected, &what);
            }
        }
    }
}

#[test]
fn adapters_in_bf16_have_gradients_that_point_where_those_of_burn_do() {
    let model = Model::new(config(SIZES[0]));
    let gradients = model.vector_gradients();
    // Of small influence: large random adapters make attention pick single tokens, which rounding changes.
    let (_, mut adapters) = adapted(&model, 8, &LINEAR);
    adapters.iter_mut().for_each(|adapter| adapter.scale = 0.05);
    let engine = |precision, cpu| {
        let options = TrainingOptions { precision, ..options(cpu, 2) };
        model.engine(Pooling::Mean, Trainable::Adapters(adapters.clone()), &options).unwrap()
    };
    let (_, expected) = run(&mut engine(TrainingPrecision::F32, Cpu::best()), &gradients, 0);
    for cpu in cpus() {
        let (_, found) = run(&mut engine(TrainingPrecision::Bf16, cpu), &gradients, 0);
        for (name, (_, expected)) in &expected {
            let cosine = cosine(&found[name].1, expected);
            assert!(cosine >= 0.998, "{cpu} {name}: {cosine}");
        }
    }
}

#[test]
fn vectors_are_those_of_the_engine_for_embedding() {
    for sizes in SIZES {
        let model = Model::new(config(sizes));
        let sequences = sequences();
        let slices: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
        let weights = model.folder.path().join("model.safetensors");
        for pooling in POOLINGS {
            for cpu in cpus() {
                let plain = EngineOptions { cpu: Some(cpu), ..Default::default() };
                let plain = Engine::load(&weights, &model.architecture, pooling, &plain).unwrap();
                let engine = model.engine(pooling, Trainable::Everything, &options(cpu, 2));
                let found = engine.unwrap().encode(&slices, None).unwrap();
                let expected = plain.encode(&slices).unwrap();
                assert!(largest_difference(&found, &expected) <= 1e-5, "{sizes:?} {pooling:?}");
            }
        }
    }
}

#[test]
fn the_same_call_gives_the_same_bits_and_layers_computed_again_too() {
    let model = Model::new(config(SIZES[1]));
    let gradients = model.vector_gradients();
    let dropout = Dropout { hidden: 0.2, attention: 0.1, adapter: 0.3 };
    let (_, adapters) = adapted(&model, 4, &LINEAR);
    for trainable in [Trainable::Everything, Trainable::Adapters(adapters)] {
        for precision in [TrainingPrecision::F32, TrainingPrecision::Bf16] {
            for threads in [1, 3] {
                let options =
                    TrainingOptions { precision, dropout, ..options(Cpu::best(), threads) };
                let results = [false, false, true].map(|recompute| {
                    let options = TrainingOptions { recompute, ..options.clone() };
                    let engine = model.engine(Pooling::Mean, trainable.clone(), &options);
                    let mut engine = engine.unwrap();
                    let (vectors, first) = run(&mut engine, &gradients, 3);
                    engine.set_gradients_to_zero();
                    let (again, second) = run(&mut engine, &gradients, 3);
                    assert!(vectors == again && first == second, "{options:?}");
                    (vectors, first)
                });
                assert!(results[0] == results[1], "{options:?}");
                assert!(results[0] == results[2], "recomputed: {options:?}");
            }
        }
    }
}

#[test]
fn a_step_along_the_gradient_changes_the_sum_by_its_square_with_and_without_dropout() {
    let model = Model::new(config(SIZES[0]));
    let gradients = model.vector_gradients();
    let sequences = sequences();
    let slices: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
    let (_, adapters) = adapted(&model, 4, &LINEAR);
    let nothing = Dropout::default();
    for dropout in [
        nothing,
        Dropout { hidden: 0.3, ..nothing },
        Dropout { attention: 0.3, ..nothing },
        Dropout { adapter: 0.3, ..nothing },
        Dropout { hidden: 0.1, attention: 0.2, adapter: 0.3 },
    ] {
        for trainable in [Trainable::Everything, Trainable::Adapters(adapters.clone())] {
            let options = TrainingOptions { dropout, ..options(Cpu::best(), 2) };
            let mut engine = model.engine(Pooling::Mean, trainable, &options).unwrap();
            let (_, found) = run(&mut engine, &gradients, 5);
            let square: f64 = found.values().map(|(_, values)| norm(values).powi(2)).sum();
            let mut sum_after = |step: f64| -> f64 {
                for parameter in engine.parameters() {
                    for (value, gradient) in parameter.value.iter_mut().zip(parameter.gradient) {
                        *value += (step / square) as f32 * *gradient;
                    }
                }
                engine.parameters_changed();
                let vectors = engine.encode(&slices, Some(5)).unwrap();
                vectors.iter().zip(&gradients).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
            };
            // From 0 to one side, and twice as far to the other.
            let step = 0.5;
            let (after, before) = (sum_after(step), sum_after(-2.0 * step));
            let slope = (after - before) / (2.0 * step);
            assert!((slope - 1.0).abs() < 0.01, "{dropout:?}: {slope}");
        }
    }
}

#[test]
fn another_seed_drops_other_values_and_none_drops_nothing() {
    let model = Model::new(config(SIZES[0]));
    let sequences = sequences();
    let slices: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
    let (_, adapters) = adapted(&model, 4, &LINEAR);
    let nothing = Dropout::default();
    let encode = |dropout: Dropout, seed: Option<u64>| {
        let options = TrainingOptions { dropout, ..options(Cpu::best(), 2) };
        let trainable = Trainable::Adapters(adapters.clone());
        let engine = model.engine(Pooling::Mean, trainable, &options).unwrap();
        engine.encode(&slices, seed).unwrap()
    };
    let plain = encode(nothing, Some(1));
    for dropout in [
        Dropout { hidden: 0.1, ..nothing },
        Dropout { attention: 0.1, ..nothing },
        Dropout { adapter: 0.1, ..nothing },
    ] {
        assert_eq!(encode(dropout, None), plain);
        let [first, second] = [1, 2].map(|seed| encode(dropout, Some(seed)));
        assert_ne!(first, plain, "{dropout:?}");
        assert_ne!(first, second, "{dropout:?}");
    }
}

#[test]
fn gradients_add_up_until_they_are_set_to_zero_and_words_know_their_rows() {
    let model = Model::new(config(SIZES[0]));
    let gradients = model.vector_gradients();
    let options = options(Cpu::best(), 2);
    let mut engine = model.engine(Pooling::Mean, Trainable::Everything, &options).unwrap();
    let (_, once) = run(&mut engine, &gradients, 0);
    let (_, twice) = run(&mut engine, &gradients, 0);
    let doubled = once.iter().map(|(name, (shape, values))| {
        (name.clone(), (shape.clone(), values.iter().map(|value| 2.0 * value).collect()))
    });
    assert_close(&twice, &doubled.collect(), "twice");
    engine.set_gradients_to_zero();
    for parameter in engine.parameters() {
        assert!(parameter.gradient.iter().all(|&value| value == 0.0), "{}", parameter.name);
        assert!(parameter.rows.is_none_or(<[u32]>::is_empty));
    }
    let (_, tape) = engine.forward(&[&[7, 3], &[3, 9, 7]], 0).unwrap();
    let gradients = vec![1.0; 2 * engine.dimensions()];
    let gradients: Vec<f32> =
        gradients.iter().enumerate().map(|(at, value)| value * (at % 5) as f32).collect();
    engine.backward(tape, &gradients).unwrap();
    let width = engine.dimensions();
    let words = engine.parameters().swap_remove(0);
    assert_eq!(words.rows, Some(&[3, 7, 9][..]));
    for (row, values) in words.gradient.chunks_exact(width).enumerate() {
        assert_eq!(values.iter().any(|&value| value != 0.0), [3, 7, 9].contains(&row), "{row}");
    }
}

#[test]
fn what_cannot_be_trained_is_an_error_that_says_why() {
    let model = Model::new(config(SIZES[0]));
    let adapter = |layer: &str, rank: usize, a: usize, b: usize| AdapterLayer {
        layer: layer.to_owned(),
        rank,
        scale: 1.0,
        a: vec![0.0; a],
        b: vec![0.0; b],
    };
    let query = "encoder.layer.0.attention.self.query";
    let default = TrainingOptions::default();
    let rate = |hidden| TrainingOptions {
        dropout: Dropout { hidden, ..Default::default() },
        ..default.clone()
    };
    let good = adapter(query, 2, 128, 128);
    for (adapters, options, problem) in [
        (vec![adapter("pooler", 2, 128, 128)], &default, "no linear layer `pooler`"),
        (vec![adapter(query, 2, 127, 128)], &default, "A of the adapter"),
        (vec![adapter(query, 2, 128, 64)], &default, "64 values instead of 64 by 2"),
        (vec![adapter(query, 0, 0, 0)], &default, "A of the adapter"),
        (vec![good.clone(), good.clone()], &default, "two adapters"),
        (vec![good.clone()], &rate(1.0), "a dropout of 1"),
        (vec![good.clone()], &rate(f32::NAN), "a dropout of NaN"),
    ] {
        let error = model.engine(Pooling::Mean, Trainable::Adapters(adapters), options);
        let error = error.unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
    let trainable = || Trainable::Adapters(vec![good.clone()]);
    let [mut engine, other] =
        [0; 2].map(|_| model.engine(Pooling::Mean, trainable(), &default).unwrap());
    for bad in [vec![], vec![VOCABULARY as u32], vec![1; POSITIONS + 1]] {
        let error = engine.forward(&[&[1, 2], &bad], 0).unwrap_err();
        assert!(matches!(error, Error::Sequence { index: 1, .. }), "{error}");
    }
    let (_, tape) = engine.forward(&[&[1, 2]], 0).unwrap();
    assert!(engine.backward(tape, &[0.0; 63]).is_err());
    let (_, tape) = other.forward(&[&[1, 2]], 0).unwrap();
    assert!(engine.backward(tape, &[0.0; 64]).is_err());
    let (vectors, tape) = engine.forward(&[], 0).unwrap();
    assert!(vectors.is_empty());
    engine.backward(tape, &[]).unwrap();
}
