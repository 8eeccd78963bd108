//! The engine against burn on models of odd sizes with random weights, in every precision and with every
//! set of instructions of the machine.
#![allow(clippy::print_stderr, clippy::unwrap_used)]

mod fixtures;

use std::path::Path;
use std::process::Command;

use coderag_core::Silent;
use coderag_encoder::engine::{Cpu, Engine, EngineOptions, Precision};
use coderag_encoder::{Architecture, CpuEncoder, EncodeOptions, Error, Pooling, TokenBatch};
use fixtures::{Encoders, StoredTensor, TemporaryModel, borrowed, largest_difference, texts};
use safetensors::SafeTensors;

/// Hidden size, heads, size inside the feed-forward network, layers.
const SIZES: [(usize, usize, usize, usize); 5] =
    [(64, 4, 128, 2), (100, 5, 99, 3), (312, 12, 600, 2), (99, 3, 50, 1), (21, 7, 33, 2)];

/// A BERT with the small one's tokenizer and random weights of these sizes.
fn model((hidden, heads, inner, layers): (usize, usize, usize, usize)) -> TemporaryModel {
    let model = TemporaryModel::small_bert();
    model.edit("config.json", |config| {
        config["hidden_size"] = hidden.into();
        config["num_attention_heads"] = heads.into();
        config["intermediate_size"] = inner.into();
        config["num_hidden_layers"] = layers.into();
    });
    let mut shapes: Vec<(String, Vec<usize>)> = Vec::new();
    let mut add = |name: String, shape: &[usize]| shapes.push((name, shape.to_vec()));
    for (name, rows) in
        [("word_embeddings", 108), ("position_embeddings", 48), ("token_type_embeddings", 2)]
    {
        add(format!("embeddings.{name}.weight"), &[rows, hidden]);
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
            add(format!("{layer}.{name}.weight"), &[output, input]);
            add(format!("{layer}.{name}.bias"), &[output]);
        }
        norms.push(format!("{layer}.attention.output"));
        norms.push(format!("{layer}.output"));
    }
    for norm in norms {
        add(format!("{norm}.LayerNorm.weight"), &[hidden]);
        add(format!("{norm}.LayerNorm.bias"), &[hidden]);
    }
    fill(&model, hidden, shapes);
    model
}

/// Gives a model random weights of these names and shapes, and mean pooling.
fn fill(model: &TemporaryModel, hidden: usize, shapes: Vec<(String, Vec<usize>)>) {
    model.write(
        "1_Pooling/config.json",
        format!(r#"{{"embedding_dimension": {hidden}, "pooling_mode": "mean"}}"#),
    );
    let mut state = 1_u32;
    let mut random = |offset: f32| {
        // Numerical Recipes' generator.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let unit = (state >> 8) as f32 / (1 << 23) as f32 - 1.0;
        (offset + 0.2 * unit).to_le_bytes()
    };
    model.edit_weights(|tensors| {
        tensors.clear();
        tensors.extend(shapes.into_iter().map(|(name, shape)| {
            let lower = name.to_lowercase();
            let offset = if lower.ends_with("norm.weight") { 1.0 } else { 0.0 };
            let count: usize = shape.iter().product();
            let data = (0..count).flat_map(|_| random(offset)).collect();
            StoredTensor { name, dtype: safetensors::Dtype::F32, shape, data }
        }));
    });
}

/// The sizes of a random Qwen2, or Qwen3.
#[derive(Clone, Copy, Debug)]
struct Qwen {
    hidden: usize,
    heads: usize,
    key_value_heads: usize,
    head: usize,
    inner: usize,
    family: &'static str,
    causal: bool,
}

/// Heads that share keys and values alone, in twos, fours and sevens; heads wider and narrower than their
/// share of the hidden size; panels that are not full.
const QWENS: [Qwen; 6] = [
    Qwen { hidden: 64, heads: 4, key_value_heads: 4, head: 16, inner: 128, ..QWEN },
    Qwen { hidden: 56, heads: 14, key_value_heads: 2, head: 4, inner: 99, ..QWEN },
    Qwen { hidden: 100, heads: 4, key_value_heads: 1, head: 34, inner: 50, causal: false, ..QWEN },
    Qwen { hidden: 42, heads: 7, key_value_heads: 1, head: 6, inner: 130, causal: false, ..QWEN },
    Qwen { hidden: 48, heads: 4, key_value_heads: 2, head: 64, inner: 33, family: "qwen3", ..QWEN },
    Qwen { hidden: 33, family: "qwen3", causal: false, ..QWEN },
];

const QWEN: Qwen = Qwen {
    hidden: 64,
    heads: 6,
    key_value_heads: 3,
    head: 10,
    inner: 70,
    family: "qwen2",
    causal: true,
};

/// The longest sequence of the random models.
const LONGEST: u32 = 700;

impl Qwen {
    /// A model with the small BERT's tokenizer and random weights of these sizes.
    fn model(self) -> TemporaryModel {
        const LAYERS: usize = 2;
        let Self { hidden, heads, key_value_heads, head, inner, family, causal } = self;
        let model = TemporaryModel::small_bert();
        let config = serde_json::json!({
            "model_type": family,
            "vocab_size": 108,
            "hidden_size": hidden,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": heads,
            "num_key_value_heads": key_value_heads,
            "head_dim": head,
            "intermediate_size": inner,
            "rms_norm_eps": 1e-6,
            "rope_theta": 10_000.0,
            "max_position_embeddings": LONGEST,
            "is_causal": causal,
        });
        model.write("config.json", config.to_string());
        let mut shapes: Vec<(String, Vec<usize>)> = Vec::new();
        let mut add = |name: String, shape: &[usize]| shapes.push((name, shape.to_vec()));
        add("embed_tokens.weight".into(), &[108, hidden]);
        add("norm.weight".into(), &[hidden]);
        let (queries, keys) = (heads * head, key_value_heads * head);
        for layer in 0..LAYERS {
            let layer = format!("layers.{layer}");
            for (name, output) in [("q", queries), ("k", keys), ("v", keys)] {
                let name = format!("{layer}.self_attn.{name}_proj");
                add(format!("{name}.weight"), &[output, hidden]);
                if family == "qwen2" {
                    add(format!("{name}.bias"), &[output]);
                }
            }
            if family == "qwen3" {
                add(format!("{layer}.self_attn.q_norm.weight"), &[head]);
                add(format!("{layer}.self_attn.k_norm.weight"), &[head]);
            }
            add(format!("{layer}.self_attn.o_proj.weight"), &[hidden, queries]);
            add(format!("{layer}.mlp.gate_proj.weight"), &[inner, hidden]);
            add(format!("{layer}.mlp.up_proj.weight"), &[inner, hidden]);
            add(format!("{layer}.mlp.down_proj.weight"), &[hidden, inner]);
            add(format!("{layer}.input_layernorm.weight"), &[hidden]);
            add(format!("{layer}.post_attention_layernorm.weight"), &[hidden]);
        }
        fill(&model, hidden, shapes);
        model
    }
}

/// Sequences of every length up to 48, and some longer ones.
fn long_sequences() -> Vec<Vec<u32>> {
    let lengths = (1..=48).chain([127, 300, 601, LONGEST]);
    lengths.map(|length| (0..length).map(|token| (token * 7 + length) % 108).collect()).collect()
}

#[test]
fn states_of_any_size_of_qwen_are_those_of_burn() {
    let sequences = long_sequences();
    let slices: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
    for qwen in QWENS {
        let model = qwen.model();
        let burn = fixtures::load(model.path()).unwrap();
        let mean = |ids: &Vec<u32>| -> Vec<f32> {
            let batch = TokenBatch::new(&[ids.as_slice()], &Default::default());
            burn.body().forward(&batch).mean_dim(1).into_data().to_vec().unwrap()
        };
        let expected: Vec<Vec<f32>> = sequences.iter().map(mean).collect();
        for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
            for cpu in cpus() {
                let options = EngineOptions { precision, cpu: Some(cpu), ..Default::default() };
                let vectors = engine(&model, &options).encode(&slices).unwrap();
                for (ours, theirs) in vectors.chunks_exact(qwen.hidden).zip(&expected) {
                    let cosine = cosine(ours, theirs);
                    match precision {
                        Precision::F32 => {
                            let difference = largest_difference(ours, theirs);
                            assert!(difference <= 2e-5, "{qwen:?} {cpu}: {difference:e}");
                        }
                        Precision::Bf16 => assert!(cosine > 0.999, "{qwen:?} {cpu}: {cosine}"),
                        Precision::Int8 => assert!(cosine > 0.97, "{qwen:?} {cpu}: {cosine}"),
                    }
                }
            }
        }
    }
}

#[test]
fn the_models_of_transformers_have_their_vectors_in_every_precision() {
    let texts = fixtures::architecture_texts();
    for name in ["qwen2-last-token", "qwen2-bidirectional", "qwen3-last-token", "qwen3-bias"] {
        let directory = fixtures::architecture(name);
        let theirs = fixtures::architecture_vectors(name);
        for (precision, least) in
            [(Precision::F32, 0.999_999), (Precision::Bf16, 0.999), (Precision::Int8, 0.99)]
        {
            for cpu in cpus() {
                let options = EngineOptions { precision, cpu: Some(cpu), ..Default::default() };
                let encoder = CpuEncoder::load(&directory, &options).unwrap();
                let ours = encoder.encode(&borrowed(&texts), &Default::default(), &Silent).unwrap();
                let dimensions = ours.as_slice().len() / texts.len();
                if precision == Precision::F32 {
                    let difference = largest_difference(ours.as_slice(), &theirs);
                    assert!(difference <= 2e-5, "{name} {cpu}: {difference:e}");
                }
                for (ours, theirs) in ours.rows().zip(theirs.chunks_exact(dimensions)) {
                    let cosine = cosine(ours, theirs);
                    assert!(cosine > least, "{name} {precision} {cpu}: {cosine}");
                }
            }
        }
    }
}

/// The reference of a real model, where `CODERAG_QWEN2_REFERENCE` names one; see
/// `scripts/reference_qwen2.py`.
#[test]
fn a_real_model_has_the_vectors_of_transformers_in_every_precision() {
    let Some(path) = std::env::var_os("CODERAG_QWEN2_REFERENCE") else {
        eprintln!("skipped: CODERAG_QWEN2_REFERENCE is not set, see scripts/reference_qwen2.py");
        return;
    };
    let bytes = std::fs::read(path).unwrap();
    let reference = SafeTensors::deserialize(&bytes).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().clone().unwrap();
    let texts: Vec<String> = serde_json::from_str(&metadata["texts"]).unwrap();
    // The model was trained to be causal; used otherwise, its states differ more from token to token.
    for (direction, causal, int8) in [("causal", true, 0.985), ("bidirectional", false, 0.95)] {
        let model = TemporaryModel::linked_to(Path::new(&metadata["model"]));
        model.edit("config.json", |config| config["is_causal"] = causal.into());
        let theirs = reference.tensor(&format!("{direction}.vectors")).unwrap();
        let theirs = theirs.data().as_chunks().0.iter().copied().map(f32::from_le_bytes);
        let theirs: Vec<f32> = theirs.collect();
        let dimensions = theirs.len() / texts.len();
        for (precision, least) in
            [(Precision::F32, 0.999_999), (Precision::Bf16, 0.999), (Precision::Int8, int8)]
        {
            let options = EngineOptions { precision, ..Default::default() };
            let encoder = CpuEncoder::load(model.path(), &options).unwrap();
            let ours = encoder.encode(&borrowed(&texts), &Default::default(), &Silent).unwrap();
            let pairs = ours.rows().zip(theirs.chunks_exact(dimensions));
            let cosines: Vec<f32> = pairs.map(|(ours, theirs)| cosine(ours, theirs)).collect();
            let smallest = cosines.iter().copied().fold(1.0, f32::min);
            let mean = cosines.iter().sum::<f32>() / cosines.len() as f32;
            eprintln!("{direction} {precision}: cosine at least {smallest}, {mean} on average");
            assert!(smallest > least, "{direction} {precision}: {cosines:?}");
        }
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    (dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()) as f32
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
fn a_sequence_has_the_same_vector_alone_and_among_others_in_a_qwen() {
    let sequences = long_sequences();
    let slices: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
    for qwen in [QWENS[1], QWENS[3], QWENS[4]] {
        let model = qwen.model();
        for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
            for cpu in cpus() {
                let (cpu, threads) = (Some(cpu), Some(2));
                let options = EngineOptions { precision, cpu, threads, tokens_at_once: 64 };
                let engine = engine(&model, &options);
                let together = engine.encode(&slices).unwrap();
                for (ids, vector) in slices.iter().zip(together.chunks_exact(qwen.hidden)) {
                    assert_eq!(engine.encode(&[ids]).unwrap(), vector, "{qwen:?} {options:?}");
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
