//! Times the forward and backward pass of a BERT on the processor.
//!
//! ```text
//! cargo run --release -p coderag-encoder --example training_speed -- \
//!     MODEL [adapters|everything] [f32|bf16] [SECONDS] [TOKENS] [SEQUENCES] [stored|recomputed]
//! ```
//!
//! `MODEL` is a directory with `config.json` and `model.safetensors`. A step is 64 sequences of 128 tokens
//! unless told otherwise, 32 pairs of texts: forward pass, backward pass, and new parameters laid out. The
//! adapters are of rank 16, on all linear layers. Prints pairs a second of the best step, the part of the
//! time in each stage and the most memory that the process had.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use coderag_encoder::engine::{AdapterLayer, Trainable, TrainingEngine, TrainingOptions};
use coderag_encoder::{Architecture, Pooling};

const RANK: usize = 16;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |index: usize, default: &str| {
        arguments.get(index).cloned().unwrap_or_else(|| default.to_owned())
    };
    let Some(model) = arguments.first() else {
        return Err("which model directory?".into());
    };
    let model = Path::new(model);
    let architecture = Architecture::read(&model.join("config.json"))?;
    let Architecture::Bert(config) = &architecture else {
        return Err("the model is not a BERT".into());
    };
    let trainable = match argument(1, "adapters").as_str() {
        "everything" => Trainable::Everything,
        _ => Trainable::Adapters(adapters(
            config.num_hidden_layers,
            config.hidden_size,
            config.intermediate_size,
        )),
    };
    let options = TrainingOptions {
        precision: argument(2, "f32").parse()?,
        recompute: argument(6, "stored") == "recomputed",
        ..Default::default()
    };
    let limit = Duration::from_secs_f64(argument(3, "20").parse()?);
    let (tokens, count): (u32, u32) = (argument(4, "128").parse()?, argument(5, "64").parse()?);
    let sequences: Vec<Vec<u32>> = (0..count)
        .map(|sequence| {
            (0..tokens).map(|token| 1000 + (sequence * 131 + token * 17) % 20000).collect()
        })
        .collect();
    let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();

    let weights = model.join("model.safetensors");
    let mut engine =
        TrainingEngine::load(&weights, &architecture, Pooling::Mean, trainable, &options)?;
    let (begin, mut best) = (Instant::now(), Duration::MAX);
    let mut parts = [Duration::ZERO; 3];
    let mut processor_time = f64::INFINITY;
    let mut steps = 0;
    while steps < 2 || begin.elapsed() < limit {
        let (start, processor_start) = (Instant::now(), processor_seconds());
        let (vectors, tape) = engine.forward(&sequences, 0)?;
        let forward = start.elapsed();
        let gradients: Vec<f32> = vectors.iter().map(|value| value * 1e-3).collect();
        engine.backward(tape, &gradients)?;
        let backward = start.elapsed();
        engine.parameters_changed();
        engine.set_gradients_to_zero();
        let all = start.elapsed();
        // The first takes memory from the system.
        if steps > 0 && all < best {
            best = all;
            parts = [forward, backward - forward, all - backward];
        }
        if steps > 0 {
            processor_time = processor_time.min(processor_seconds() - processor_start);
        }
        steps += 1;
    }
    let pairs = f64::from(count) / 2.0 / best.as_secs_f64();
    println!("{:.2} pairs/s, {steps} steps, {} threads, {}", pairs, engine.threads(), engine.cpu());
    let [forward, backward, rest] = parts.map(|part| part.as_secs_f64() * 1e3);
    println!("forward {forward:.0} ms, backward {backward:.0} ms, parameters {rest:.0} ms");
    println!("least processor time of a step: {processor_time:.2} s");
    let profile = engine.profile();
    let total: Duration = profile.iter().map(|(_, time)| *time).sum();
    for (stage, time) in profile {
        println!("  {stage:?}: {:.1} %", 100.0 * time.as_secs_f64() / total.as_secs_f64());
    }
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        status.lines().filter(|line| line.starts_with("VmHWM")).for_each(|line| println!("{line}"));
    }
    Ok(())
}

/// How long the process has run on all cores together, as Linux counts it in hundredths of a second.
fn processor_seconds() -> f64 {
    let status = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = status.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Adapters of all linear layers, with small numbers in both matrices.
fn adapters(layers: usize, hidden: usize, intermediate: usize) -> Vec<AdapterLayer> {
    let mut adapters = Vec::new();
    for layer in 0..layers {
        for (name, outputs, inputs) in [
            ("attention.self.query", hidden, hidden),
            ("attention.self.key", hidden, hidden),
            ("attention.self.value", hidden, hidden),
            ("attention.output.dense", hidden, hidden),
            ("intermediate.dense", intermediate, hidden),
            ("output.dense", hidden, intermediate),
        ] {
            let values =
                |count: usize| (0..count).map(|at| (at % 7) as f32 * 1e-3 - 3e-3).collect();
            adapters.push(AdapterLayer {
                layer: format!("encoder.layer.{layer}.{name}"),
                rank: RANK,
                scale: 2.0,
                a: values(RANK * inputs),
                b: values(outputs * RANK),
            });
        }
    }
    adapters
}
