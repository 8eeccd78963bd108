//! The engine against burn on models of odd sizes with random weights, in every precision and with every
//! set of instructions of the machine.
#![allow(clippy::print_stderr, clippy::unwrap_used)]

mod fixtures;

use std::process::Command;

use coderag_core::Silent;
use coderag_encoder::engine::{Cpu, Engine, EngineOptions, Precision};
use coderag_encoder::{Architecture, CpuEncoder, EncodeOptions, Error, Pooling};
use fixtures::{Encoders, StoredTensor, TemporaryModel, borrowed, texts};

/// Hidden size, heads, size inside the feed-forward network, layers.
const SIZES: [(usize, usize, usize, usize); 5] =
    [(64, 4, 128, 2), (100, 5, 99, 3), (312, 12, 600, 2), (99, 3, 50, 1), (21, 7, 33, 2)];

/// A model with the small one's tokenizer and random weights of these sizes.
fn model((hidden, heads, inner, layers): (usize, usize, usize, usize)) -> TemporaryModel {
    let model = TemporaryModel::small_bert();
    model.edit("config.json", |config| {
        config["hidden_size"] = hidden.into();
        config["num_attention_heads"] = heads.into();
        config["intermediate_size"] = inner.into();
        config["num_hidden_layers"] = layers.into();
    });
    model.write(
        "1_Pooling/config.json",
        format!(r#"{{"embedding_dimension": {hidden}, "pooling_mode": "mean"}}"#),
    );
    let mut state = 1_u32;
    let mut random = |scale: f32, offset: f32, count: usize| -> Vec<u8> {
        let mut values = Vec::with_capacity(4 * count);
        for _ in 0..count {
            // Numerical Recipes' generator.
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let unit = (state >> 8) as f32 / (1 << 23) as f32 - 1.0;
            values.extend((offset + scale * unit).to_le_bytes());
        }
        values
    };
    model.edit_weights(|tensors| {
        tensors.clear();
        let mut add = |name: String, shape: Vec<usize>| {
            let (scale, offset) =
                if name.ends_with("LayerNorm.weight") { (0.2, 1.0) } else { (0.2, 0.0) };
            let data = random(scale, offset, shape.iter().product());
            tensors.push(StoredTensor { name, dtype: safetensors::Dtype::F32, shape, data });
        };
        for (name, rows) in
            [("word_embeddings", 108), ("position_embeddings", 48), ("token_type_embeddings", 2)]
        {
            add(format!("embeddings.{name}.weight"), vec![rows, hidden]);
        }
        let mut norms = vec!["embeddings".to_owned()];
        for layer in 0..layers {
            let layer = format!("encoder.layer.{layer}");
            for (name, output, input) in [
                ("attention.self.query", hidden, hidden),
                ("attention.self.key", hidden, hidden),
                ("attention.self.value", hidden, hidden),
                ("attention.output.dense", hidden, hidden),
                ("intermediate.dense", inner, hidden),
                ("output.dense", hidden, inner),
            ] {
                add(format!("{layer}.{name}.weight"), vec![output, input]);
                add(format!("{layer}.{name}.bias"), vec![output]);
            }
            norms.push(format!("{layer}.attention.output"));
            norms.push(format!("{layer}.output"));
        }
        for norm in norms {
            add(format!("{norm}.LayerNorm.weight"), vec![hidden]);
            add(format!("{norm}.LayerNorm.bias"), vec![hidden]);
        }
    });
    model
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn cpus() -> impl Iterator<Item = Cpu> {
    Cpu::ALL.into_iter().filter(|cpu| cpu.is_available())
}

#[test]
fn vectors_of_any_size_of_model_are_those_of_burn() {
    let texts = texts();
    for sizes in SIZES {
        let model = model(sizes);
        let encoders = Encoders::load(model.path());
        let expected = encoders.encode(&texts, &EncodeOptions::default());
        for (precision, least) in [(Precision::Bf16, 0.999), (Precision::Int8, 0.98)] {
            for cpu in cpus() {
                let options = EngineOptions { precision, cpu: Some(cpu), ..Default::default() };
                let engine = CpuEncoder::load(model.path(), &options).unwrap();
                let vectors =
                    engine.encode(&borrowed(&texts), &Default::default(), &Silent).unwrap();
                for (ours, theirs) in vectors.rows().zip(expected.chunks_exact(sizes.0)) {
                    let cosine = cosine(ours, theirs);
                    assert!(cosine > least, "{precision} {sizes:?} {cpu}: {cosine}");
                }
            }
        }
    }
}

/// The engine alone, on sequences of token ids.
fn engine(model: &TemporaryModel, options: &EngineOptions) -> Engine {
    let architecture = Architecture::read(&model.path().join("config.json")).unwrap();
    let weights = model.path().join("model.safetensors");
    Engine::load(&weights, &architecture, Pooling::Mean, options).unwrap()
}

/// Sequences of every length that the model takes.
fn sequences() -> Vec<Vec<u32>> {
    (1..=48).map(|length| (0..length).map(|token| (token * 7 + length) % 108).collect()).collect()
}

#[test]
fn a_sequence_has_the_same_vector_alone_and_among_others() {
    let sequences = sequences();
    let slices: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
    for sizes in [SIZES[0], SIZES[1], SIZES[4]] {
        let model = model(sizes);
        for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
            for cpu in cpus() {
                let (cpu, threads) = (Some(cpu), Some(2));
                let options = EngineOptions { precision, cpu, threads, tokens_at_once: 64 };
                let engine = engine(&model, &options);
                let together = engine.encode(&slices).unwrap();
                for (ids, vector) in slices.iter().zip(together.chunks_exact(sizes.0)) {
                    assert_eq!(engine.encode(&[ids]).unwrap(), vector, "{options:?}");
                }
            }
        }
    }
}

#[test]
fn callers_at_the_same_time_get_their_own_vectors() {
    let model = model(SIZES[1]);
    let options = EngineOptions { threads: Some(2), tokens_at_once: 100, ..Default::default() };
    let engine = engine(&model, &options);
    let sequences = sequences();
    let slices: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
    let alone = engine.encode(&slices).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5 {
                    assert_eq!(engine.encode(&slices).unwrap(), alone);
                }
            });
        }
    });
}

#[test]
fn sequences_that_the_model_cannot_take_are_errors() {
    let engine = engine(&model(SIZES[0]), &EngineOptions::default());
    for bad in [vec![], vec![108], vec![1; 49]] {
        let error = engine.encode(&[&[1, 2], &bad]).unwrap_err();
        assert!(matches!(error, Error::Sequence { index: 1, .. }), "{error}");
    }
    assert!(engine.encode(&[]).unwrap().is_empty());
}

/// Not a test of its own: prints what the variable of the process makes of the CPU.
#[test]
fn detected_cpu() {
    match Cpu::detect() {
        Ok(cpu) => eprintln!("detected {cpu}"),
        Err(error) => eprintln!("{error}"),
    }
}

#[test]
fn the_environment_variable_chooses_the_cpu_or_says_why_not() {
    let detected = |value: Option<&str>| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "detected_cpu", "--nocapture"]).env_remove("CODERAG_CPU");
        command.envs(value.map(|value| ("CODERAG_CPU", value)));
        String::from_utf8(command.output().unwrap().stderr).unwrap()
    };
    assert!(detected(None).contains(&format!("detected {}", Cpu::best())));
    for cpu in Cpu::ALL {
        let found = detected(Some(&cpu.to_string()));
        if cpu.is_available() {
            assert!(found.contains(&format!("detected {cpu}")), "{found}");
        } else {
            assert!(found.contains("this machine does not have it"), "{found}");
        }
    }
    assert!(detected(Some("abacus")).contains("CODERAG_CPU is `abacus`"));
}
