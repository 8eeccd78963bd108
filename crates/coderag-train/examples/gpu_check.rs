//! Compares a card with the processor, and times it. `scripts/gpu_check.sh` calls it.
//!
//! ```text
//! gpu_check compare MODEL lora|full
//! gpu_check train MODEL lora|full f32|bf16 SEQUENCES STEPS [recomputed]
//! gpu_check embed MODEL f32|bf16 TEXTS
//! gpu_check curve MODEL CONFIG STEPS FOLDER
//! ```
//!
//! `MODEL` is a sentence-transformers directory. Sequences are of 128 tokens; a step is half as many pairs with
//! the multiple-negatives ranking loss, forward, backward and AdamW. Adapters are of rank 16 on every linear
//! layer. `curve` takes the steps of a run (`CONFIG` as for `coderag train`) on the processor and on the card.
//! Prints one line of JSON.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use burn::backend::Flex;
use burn::tensor::Tensor;
use burn_autodiff::Autodiff;
use coderag_core::{Random, Silent};
use coderag_encoder::card::CardOptions;
use coderag_encoder::device::{CudaCard, Device, DeviceEncoder};
use coderag_encoder::engine::{EngineOptions, Trainable, TrainingPrecision};
use coderag_encoder::lora::{Adapter, AdapterConfig, ModuleSelection};
use coderag_encoder::{EncodeOptions, ModelDirectory, Prompt};
use coderag_train::config::{DropoutSettings, TrainConfig};
use coderag_train::loss::{Loss, LossBatch, MultipleNegativesRanking, ValueAndGradient};
use coderag_train::optimizer::AdamW;
use coderag_train::run::RunContext;
use coderag_train::trainee::{BurnTrainee, CardTrainee, Trainee, TraineeState, Update};
use serde_json::json;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The tokens of each sequence, special tokens included.
const TOKENS: usize = 128;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let card = CudaCard::open(0)?;
    let result = match *arguments {
        ["compare", model, trained] => compare(&card, model.as_ref(), trained)?,
        ["train", model, trained, precision, sequences, steps, ref rest @ ..] => {
            let recomputed = rest.contains(&"recomputed");
            let setup = Setup { model: model.as_ref(), trained, precision, recomputed };
            time_training(&card, &setup, sequences.parse()?, steps.parse()?)?
        }
        ["embed", model, precision, texts] => {
            time_embedding(&card, model.as_ref(), precision, texts.parse()?)?
        }
        ["curve", model, config, steps, folder] => {
            curves(&card, model.as_ref(), config.as_ref(), steps.parse()?, folder.as_ref())?
        }
        _ => return Err("which of compare, train, embed and curve?".into()),
    };
    println!("{result}");
    Ok(())
}

/// A model in training.
struct Setup<'a> {
    model: &'a Path,
    trained: &'a str,
    precision: &'a str,
    recomputed: bool,
}

impl Setup<'_> {
    fn model(&self) -> Result<ModelDirectory> {
        Ok(ModelDirectory::open(self.model, Some(TOKENS))?)
    }

    fn adapter(&self, model: &ModelDirectory) -> Result<Option<Adapter>> {
        match self.trained {
            "lora" => {
                let config = AdapterConfig::new(16, 32.0, ModuleSelection::AllLinear);
                Ok(Some(Adapter::initial(config, &model.lora_places(), 7)?))
            }
            "full" => Ok(None),
            other => Err(format!("`{other}` is neither lora nor full").into()),
        }
    }

    /// On the card.
    fn on_card(&self, model: &ModelDirectory, card: &CudaCard) -> Result<CardTrainee> {
        let trainable = match self.adapter(model)? {
            None => Trainable::Everything,
            Some(adapter) => Trainable::Adapters(adapter.training_layers(&model.lora_places())?),
        };
        let precision = self.precision.parse::<TrainingPrecision>()?;
        let options = CardOptions { precision, recompute: self.recomputed };
        Ok(CardTrainee::load(model, trainable, card, options)?)
    }

    /// On the processor, by burn's automatic differentiation.
    fn on_processor(&self, model: &ModelDirectory) -> Result<BurnTrainee<Autodiff<Flex>>> {
        let adapter = self.adapter(model)?;
        let dropout = DropoutSettings::default();
        let device = Default::default();
        Ok(BurnTrainee::load(model, adapter.as_ref(), dropout, self.recomputed, &device)?)
    }
}

/// Sequences of random tokens that are no special ones.
fn sequences(
    model: &ModelDirectory,
    count: usize,
    lengths: impl Fn(usize) -> usize,
) -> Vec<Vec<u32>> {
    let vocabulary = model.architecture().vocab_size() as u64;
    let first = 1_000.min(vocabulary / 2);
    let mut random = Random::new(17);
    let mut draw = |_| (first + random.below(vocabulary - first)) as u32;
    (0..count).map(|index| (0..lengths(index)).map(&mut draw).collect()).collect()
}

/// What a step of training found, and the seconds that its loss took on the processor.
struct Stepped {
    vectors: Tensor<Flex, 2>,
    loss: f64,
    loss_seconds: f64,
}

/// Forward pass, loss, backward pass and a step of the optimizer.
fn step<T: Trainee<Backend = Autodiff<Flex>>>(
    trainee: &mut T,
    sequences: &[&[u32]],
    number: u64,
    adamw: AdamW,
) -> Result<Stepped> {
    let vectors = trainee.forward(sequences, 0)?;
    let start = Instant::now();
    let batch = LossBatch::new(sequences.len() / 2, Vec::new())?;
    let loss = Loss::MultipleNegativesRanking(MultipleNegativesRanking::default());
    let ValueAndGradient { value, gradient } =
        loss.value_and_gradient::<Autodiff<Flex>>(vectors.clone(), &batch, 256)?;
    let loss_seconds = start.elapsed().as_secs_f64();
    trainee.backward(gradient)?;
    let max_gradient_norm = f64::INFINITY;
    trainee.step(&Update { step: number, learning_rate: 1e-5, adamw, max_gradient_norm })?;
    Ok(Stepped { vectors, loss: value, loss_seconds })
}

/// Vectors, the loss and the gradients of a first step.
struct FirstStep {
    vectors: Vec<f32>,
    loss: f64,
    gradients: TraineeState,
}

fn first_step<T: Trainee<Backend = Autodiff<Flex>>>(
    model: &ModelDirectory,
    mut trainee: T,
) -> Result<FirstStep> {
    let sequences = sequences(model, 16, |index| TOKENS - 7 * index);
    let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
    // The first moment is then the gradient itself.
    let adamw = AdamW { beta1: 0.0, ..AdamW::default() };
    let Stepped { vectors, loss, .. } = step(&mut trainee, &sequences, 0, adamw)?;
    let vectors =
        vectors.into_data().convert::<f32>().into_vec().map_err(|error| format!("{error:?}"))?;
    Ok(FirstStep { vectors, loss, gradients: trainee.state()? })
}

/// The card in f32 and in bf16 beside the processor in f32.
fn compare(card: &CudaCard, model: &Path, trained: &str) -> Result<serde_json::Value> {
    let setup = |precision| Setup { model, trained, precision, recomputed: false };
    let model = setup("f32").model()?;
    let expected = first_step(&model, setup("f32").on_processor(&model)?)?;
    let [found, rounded] = ["f32", "bf16"]
        .map(|precision| first_step(&model, setup(precision).on_card(&model, card)?));
    let (found, rounded) = (found?, rounded?);
    let dimensions = expected.vectors.len() / 16;
    let length =
        |vector: &[f32]| vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    let vectors = expected.vectors.chunks(dimensions).zip(found.vectors.chunks(dimensions));
    let largest = |differences: &mut dyn Iterator<Item = f64>| differences.fold(0.0, f64::max);
    let vector_difference = largest(&mut vectors.flat_map(|(expected, found)| {
        let (one, other) = (length(expected), length(found));
        expected.iter().zip(found).map(move |(expected, found)| {
            (f64::from(*expected) / one - f64::from(*found) / other).abs()
        })
    }));
    // The gradient of some parameters, such as the bias of keys, is nothing but rounding.
    let squares = expected.gradients.values().map(|it| length(&it.first_moment).powi(2));
    let least = 1e-4 * squares.sum::<f64>().sqrt();
    let gradient_difference = largest(&mut expected.gradients.iter().map(|(name, expected)| {
        let found = found.gradients.get(name).map_or(&[][..], |found| &found.first_moment);
        let pairs = expected.first_moment.iter().zip(found);
        let difference: Vec<f32> = pairs.map(|(expected, found)| expected - found).collect();
        if found.len() == expected.first_moment.len() {
            length(&difference) / length(&expected.first_moment).max(least)
        } else {
            f64::INFINITY
        }
    }));
    let pairs = expected.vectors.chunks(dimensions).zip(rounded.vectors.chunks(dimensions));
    let least_cosine = pairs
        .map(|(left, right)| {
            let product: f64 = left
                .iter()
                .zip(right)
                .map(|(left, right)| f64::from(*left) * f64::from(*right))
                .sum();
            product / (length(left) * length(right))
        })
        .fold(f64::INFINITY, f64::min);
    Ok(json!({
        "trained": trained,
        "vector_difference": vector_difference,
        "loss_difference": (expected.loss - found.loss).abs(),
        "gradient_difference": gradient_difference,
        "bf16_cosine": least_cosine,
        "bf16_loss_difference": (expected.loss - rounded.loss).abs(),
    }))
}

/// Pairs a second, the median of the steps behind a warm-up.
fn time_training(
    card: &CudaCard,
    setup: &Setup<'_>,
    count: usize,
    steps: u64,
) -> Result<serde_json::Value> {
    const WARM_UP: u64 = 5;
    let model = setup.model()?;
    let mut trainee = setup.on_card(&model, card)?;
    let sequences = sequences(&model, count, |_| TOKENS);
    let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
    let (mut seconds, mut loss_seconds) = (Vec::new(), Vec::new());
    for number in 0..WARM_UP + steps {
        let start = Instant::now();
        // Reading the norm of the gradients waits for the card.
        let stepped = step(&mut trainee, &sequences, number, AdamW::default())?;
        if number >= WARM_UP {
            seconds.push(start.elapsed().as_secs_f64());
            loss_seconds.push(stepped.loss_seconds);
        }
    }
    let median = |mut seconds: Vec<f64>| {
        seconds.sort_by(f64::total_cmp);
        seconds.get(seconds.len() / 2).copied().ok_or("no steps")
    };
    let (median, loss) = (median(seconds)?, median(loss_seconds)?);
    Ok(json!({
        "model": setup.model,
        "trained": setup.trained,
        "precision": setup.precision,
        "sequences": count,
        "recomputed": setup.recomputed,
        "pairs_per_second": count as f64 / 2.0 / median,
        "milliseconds": 1e3 * median,
        "milliseconds_of_loss": 1e3 * loss,
    }))
}

/// Tokens a second of texts in, vectors out, with the tokenizer; the best of three rounds behind a warm-up.
fn time_embedding(
    card: &CudaCard,
    model: &Path,
    precision: &str,
    count: usize,
) -> Result<serde_json::Value> {
    let options = EngineOptions { precision: precision.parse()?, ..EngineOptions::default() };
    let device = Device::Cuda { card: card.clone(), required: true };
    let encoder = DeviceEncoder::load(model, None, &device, &options)?;
    let texts: Vec<String> = (0..count)
        .map(|text| {
            let words =
                (0..TOKENS - 2).map(|word| format!("w{}", (text * 131 + word * 17) % 20_000));
            words.collect::<Vec<_>>().join(" ")
        })
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let options = EncodeOptions { prompt: Prompt::None, ..EncodeOptions::default() };
    let mut best = f64::INFINITY;
    for round in 0..4 {
        let start = Instant::now();
        encoder.encode(&texts, &options, &Silent)?;
        if round > 0 {
            best = best.min(start.elapsed().as_secs_f64());
        }
    }
    Ok(json!({
        "model": model,
        "precision": precision,
        "texts": count,
        "tokens_per_second": (count * TOKENS) as f64 / best,
    }))
}

/// The losses of a run's first steps on the processor and on the card.
fn curves(
    card: &CudaCard,
    model: &Path,
    config: &Path,
    steps: u64,
    folder: &Path,
) -> Result<serde_json::Value> {
    let config = TrainConfig::load(config)?;
    let losses = |name: &str, device: &Device| -> Result<Vec<f64>> {
        let output = folder.join(name);
        let context = RunContext {
            model,
            base_model: "",
            output: &output,
            device,
            threads: None,
            restart: true,
            stop_after: Some(steps),
            interrupt: &AtomicBool::new(false),
            progress: &Silent,
        };
        coderag_train::run::train(&config, &context)?;
        let records = std::fs::read_to_string(output.join("metrics.jsonl"))?;
        let records = records.lines().map(serde_json::from_str::<serde_json::Value>);
        let steps = records.filter_map(|record| record.ok()?["loss"].as_f64());
        Ok(steps.collect())
    };
    let processor = losses("processor", &Device::Cpu)?;
    let device = Device::Cuda { card: card.clone(), required: true };
    let found = losses("card", &device)?;
    if processor.is_empty() || found.len() != processor.len() {
        return Err(format!("{} steps and {}", processor.len(), found.len()).into());
    }
    let apart = processor.iter().zip(&found).map(|(one, other)| (one - other).abs() / one);
    let apart: Vec<f64> = apart.collect();
    let last = processor.len().min(20);
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let [of_processor, of_card] =
        [&processor, &found].map(|losses| mean(&losses[losses.len() - last..]));
    Ok(json!({
        "steps": processor.len(),
        "loss_of_first_step": [processor[0], found[0]],
        "mean_loss_of_last_steps": [of_processor, of_card],
        "mean_relative_difference": mean(&apart),
        "largest_relative_difference": apart.iter().copied().fold(0.0, f64::max),
    }))
}
