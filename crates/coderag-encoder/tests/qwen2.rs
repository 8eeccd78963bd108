//! Qwen2, Qwen3, RoBERTa and dense layers against transformers and sentence-transformers; see
//! `scripts/reference_qwen2.py`.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod fixtures;

use std::fs;
use std::path::Path;

use coderag_core::{Embedder as _, Silent, TextRole};
use coderag_encoder::{CpuBackend, EncodeOptions, Error, Prompt, TextEncoder, TokenBatch};
use fixtures::{TemporaryModel, architecture, borrowed, largest_difference};
use fixtures::{architecture_texts, architecture_vectors};
use proptest::prelude::*;
use safetensors::SafeTensors;
use serde_json::{Value, json};

/// How far a component may be from the reference.
const TOLERANCE: f32 = 2e-5;

const MODELS: [&str; 7] = [
    "qwen2-last-token",
    "qwen2-bidirectional",
    "qwen2-dense",
    "qwen3-last-token",
    "qwen3-bias",
    "roberta",
    "bert-dense",
];

fn load(directory: &Path) -> Result<TextEncoder<CpuBackend>, Error> {
    TextEncoder::load(directory, &Default::default())
}

fn encode(
    encoder: &TextEncoder<CpuBackend>,
    texts: &[String],
    options: &EncodeOptions,
) -> Vec<f32> {
    encoder.encode(&borrowed(texts), options, &Silent).unwrap().as_slice().to_vec()
}

#[track_caller]
fn assert_close(name: &str, ours: &[f32], theirs: &[f32]) {
    let difference = largest_difference(ours, theirs);
    println!("{name}: largest absolute difference {difference:e}");
    assert!(difference <= TOLERANCE, "{name}: {difference:e}");
}

#[test]
fn every_architecture_gives_the_vectors_of_sentence_transformers() {
    let texts = architecture_texts();
    for name in MODELS {
        let encoder = load(&architecture(name)).unwrap();
        let theirs = architecture_vectors(name);
        let lengths = [1, 300, EncodeOptions::default().max_batch_tokens];
        let [alone, few, many] = lengths.map(|max_batch_tokens| {
            let options = EncodeOptions { max_batch_tokens, ..Default::default() };
            encode(&encoder, &texts, &options)
        });
        assert_close(name, &alone, &theirs);
        for together in [few, many] {
            let difference = largest_difference(&alone, &together);
            println!("{name} alone and together: {difference:e}");
            assert!(difference <= 1e-5, "{name}: {difference:e}");
        }
    }
}

#[test]
fn prompts_of_decoder_models_are_put_before_texts() {
    let texts = architecture_texts();
    for (name, prompt) in [("qwen2-last-token", "document"), ("qwen3-last-token", "query")] {
        let encoder = load(&architecture(name)).unwrap();
        let theirs = architecture_vectors(&format!("{name} {prompt}"));
        assert!(largest_difference(&theirs, &architecture_vectors(name)) > 0.1, "prompts matter");
        let options = EncodeOptions { prompt: Prompt::Named(prompt.into()), ..Default::default() };
        assert_close(name, &encode(&encoder, &texts, &options), &theirs);
    }
    // The default of the first is its query prompt, of the second nothing; roles ask by name.
    for (name, prompt) in [("qwen2-last-token", ""), ("qwen3-last-token", " query")] {
        let encoder = load(&architecture(name)).unwrap();
        let ours = encoder.embed(&borrowed(&texts), TextRole::Query).unwrap();
        assert_close(name, ours.as_slice(), &architecture_vectors(&format!("{name}{prompt}")));
    }
}

#[test]
fn a_bare_directory_of_a_decoder_model_gets_the_pooling_of_sentence_transformers() {
    let texts = architecture_texts();
    for (causal, suffix) in [(true, "causal"), (false, "bidirectional")] {
        let model = TemporaryModel::copy_of(&architecture("qwen2-bidirectional"));
        for file in ["modules.json", "sentence_bert_config.json"] {
            model.remove(file);
        }
        model.edit("config.json", |config| config["is_causal"] = causal.into());
        let theirs = architecture_vectors(&format!("qwen2-bidirectional bare {suffix}"));
        let encoder = load(model.path()).unwrap();
        assert_close(suffix, &encode(&encoder, &texts, &EncodeOptions::default()), &theirs);
    }
}

/// sentence-transformers fails on an empty text alone where the tokenizer adds nothing, and gives zeros for
/// it among others; here its vector is that of the padding token.
#[test]
fn an_empty_text_without_special_tokens_is_one_padding_token() {
    let encoder = load(&architecture("qwen2-dense")).unwrap();
    let vector = |text: &str| encoder.embed(&[text], TextRole::Document).unwrap();
    assert_eq!(vector("").as_slice(), vector("<|endoftext|>").as_slice());
    assert_ne!(vector("").as_slice(), vector(" ").as_slice());
    let texts = ["", "SELECT name FROM customer", ""].map(String::from);
    let together = encode(&encoder, &texts, &EncodeOptions::default());
    assert!(largest_difference(&together[..7], vector("").as_slice()) <= 1e-6);
}

#[test]
fn only_the_direction_says_whether_later_tokens_change_earlier_ones() {
    let first_state = |model: &TemporaryModel, ids: [u32; 4]| -> Vec<f32> {
        let encoder = load(model.path()).unwrap();
        let batch = TokenBatch::new(&[ids], &Default::default());
        let states = encoder.body().forward(&batch);
        states.narrow(1, 0, 1).into_data().to_vec().unwrap()
    };
    for name in ["qwen2-last-token", "qwen2-bidirectional", "qwen3-bias"] {
        for (key, causal) in [(json!(true), true), (json!(false), false), (Value::Null, true)] {
            let model = TemporaryModel::copy_of(&architecture(name));
            model.edit("config.json", |config| config["is_causal"] = key);
            let same = first_state(&model, [1, 2, 3, 4]) == first_state(&model, [1, 2, 3, 5]);
            assert_eq!(same, causal, "{name}");
        }
    }
}

/// transformers 4 and 5 spell the base of the wavelengths differently.
#[test]
fn every_spelling_of_rope_theta_is_read() {
    let texts = architecture_texts();
    let vectors = |change: &dyn Fn(&mut Value)| {
        let model = TemporaryModel::copy_of(&architecture("qwen3-last-token"));
        model.edit("config.json", change);
        encode(&load(model.path()).unwrap(), &texts, &EncodeOptions::default())
    };
    let theirs = architecture_vectors("qwen3-last-token");
    assert_close("version 5", &vectors(&|_| ()), &theirs);
    let older = vectors(&|config| {
        config.as_object_mut().unwrap().remove("rope_parameters");
        config["rope_theta"] = json!(1e6);
        config["rope_scaling"] = Value::Null;
    });
    assert_close("version 4", &older, &theirs);
    let scaling = vectors(&|config| {
        config.as_object_mut().unwrap().remove("rope_parameters");
        config["rope_scaling"] = json!({"rope_theta": 1e6, "type": "default"});
    });
    assert_close("in rope_scaling", &scaling, &theirs);
    let absent = vectors(&|config| {
        config.as_object_mut().unwrap().remove("rope_parameters");
    });
    assert!(largest_difference(&absent, &theirs) > 1e-2, "10,000 is not 1,000,000");
}

#[test]
fn what_a_decoder_model_must_not_ask_for_is_named() {
    let refused = |name: &str, change: &dyn Fn(&mut Value)| {
        let model = TemporaryModel::copy_of(&architecture(name));
        model.edit("config.json", change);
        let error = load(model.path()).unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. } | Error::Invalid { .. }), "{error}");
        error.to_string()
    };
    let cases: [(&str, Value, &str); 12] = [
        ("hidden_act", json!("gelu"), "hidden_act"),
        ("rope_scaling", json!({"rope_type": "yarn", "factor": 4.0}), "yarn"),
        ("rope_scaling", json!({"type": "linear", "factor": 2.0}), "linear"),
        ("rope_parameters", json!({"rope_type": "dynamic", "factor": 2.0}), "dynamic"),
        ("use_bidirectional_attention", json!(true), "use_bidirectional_attention"),
        ("auto_map", json!({"AutoModel": "modeling_qwen.Qwen2Model"}), "auto_map"),
        ("quantization_config", json!({"quant_method": "gptq"}), "quantization_config"),
        ("num_key_value_heads", json!(5), "num_key_value_heads 5"),
        ("num_key_value_heads", json!(0), "num_key_value_heads"),
        ("head_dim", json!(5), "head_dim 5"),
        ("rms_norm_eps", json!(0.0), "rms_norm_eps"),
        ("rope_theta", json!(-1.0), "rope_theta"),
    ];
    for (key, value, expected) in cases {
        let message = refused("qwen2-last-token", &|config| config[key] = value.clone());
        assert!(message.contains(expected) && message.contains("config.json"), "{message}");
    }
    let message = refused("qwen2-last-token", &|config| {
        config["use_sliding_window"] = true.into();
        config["max_window_layers"] = 1.into();
    });
    assert!(message.contains("sliding_window 64"), "{message}");
}

#[test]
fn missing_and_surplus_tensors_of_a_decoder_model_are_named() {
    let model = TemporaryModel::copy_of(&architecture("qwen2-last-token"));
    model.edit("config.json", |config| config["num_hidden_layers"] = 3.into());
    let message = load(model.path()).unwrap_err().to_string();
    assert!(message.contains("missing tensor `layers.2.self_attn.q_proj.weight`"), "{message}");
    let model = TemporaryModel::copy_of(&architecture("qwen3-bias"));
    model.edit("config.json", |config| config["attention_bias"] = false.into());
    let message = load(model.path()).unwrap_err().to_string();
    assert!(message.contains("unexpected tensor `layers.0.self_attn.o_proj.bias`"), "{message}");
    let model = TemporaryModel::copy_of(&architecture("qwen2-bidirectional"));
    model.remove("model-00002-of-00003.safetensors");
    let message = load(model.path()).unwrap_err().to_string();
    assert!(message.contains("model-00002-of-00003.safetensors"), "{message}");
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "([a-zA-Z]{1,9}[ ,.(]){0,60}", Just(String::new())]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn padding_does_not_matter(
        texts in prop::collection::vec(any_text(), 1..12),
        model in prop::sample::select(&MODELS[..]),
        max_batch_tokens in 1usize..2000,
    ) {
        let encoder = load(&architecture(model)).unwrap();
        let options = EncodeOptions { max_batch_tokens, ..Default::default() };
        let together = encode(&encoder, &texts, &options);
        let alone = encode(&encoder, &texts, &EncodeOptions { max_batch_tokens: 1, ..options });
        prop_assert!(largest_difference(&together, &alone) <= TOLERANCE);
    }
}

#[test]
fn a_real_causal_model_gives_the_states_and_vectors_of_transformers() {
    compare_real_model("causal", true);
}

#[test]
fn a_real_bidirectional_model_gives_the_states_and_vectors_of_transformers() {
    compare_real_model("bidirectional", false);
}

/// Compares with the reference of a real model that `CODERAG_QWEN2_REFERENCE` names, where it does.
fn compare_real_model(direction: &str, causal: bool) {
    let Some(path) = std::env::var_os("CODERAG_QWEN2_REFERENCE") else {
        println!("skipped: CODERAG_QWEN2_REFERENCE is not set, see scripts/reference_qwen2.py");
        return;
    };
    let bytes = fs::read(path).unwrap();
    let reference = SafeTensors::deserialize(&bytes).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = header.metadata().clone().unwrap();
    let texts: Vec<String> = serde_json::from_str(&metadata["texts"]).unwrap();
    assert!(texts.len() >= 32);
    let floats = |name: String| -> Vec<f32> {
        let data = reference.tensor(&name).unwrap().data().as_chunks().0;
        data.iter().copied().map(f32::from_le_bytes).collect()
    };
    let model = TemporaryModel::linked_to(Path::new(&metadata["model"]));
    model.edit("config.json", |config| config["is_causal"] = causal.into());
    let encoder = load(model.path()).unwrap();
    let dimensions = encoder.dimensions();
    let mut states = Agreement::default();
    for number in 0..texts.len() {
        let ids = reference.tensor(&format!("ids.{number}")).unwrap().data().as_chunks().0;
        let ids: Vec<u32> = ids.iter().map(|&id| i64::from_le_bytes(id) as u32).collect();
        let batch = TokenBatch::new(&[ids], &Default::default());
        let ours: Vec<f32> = encoder.body().forward(&batch).into_data().to_vec().unwrap();
        states.add(dimensions, &ours, &floats(format!("{direction}.states.{number}")));
    }
    println!("{direction}, token states: {states:?}");
    assert!(states.smallest_cosine >= 0.9999, "{states:?}");
    let theirs = floats(format!("{direction}.vectors"));
    for max_batch_tokens in [1, 2048] {
        let options = EncodeOptions { max_batch_tokens, ..Default::default() };
        let mut vectors = Agreement::default();
        vectors.add(dimensions, &encode(&encoder, &texts, &options), &theirs);
        println!("{direction}, vectors, batches of {max_batch_tokens} tokens: {vectors:?}");
        assert!(vectors.smallest_cosine >= 0.9999, "{vectors:?}");
    }
}

/// How near rows are to their reference.
#[derive(Debug)]
#[allow(dead_code, reason = "all fields are printed")]
struct Agreement {
    rows: usize,
    smallest_cosine: f64,
    largest_difference: f32,
    largest_value: f32,
}

impl Default for Agreement {
    fn default() -> Self {
        Self { rows: 0, smallest_cosine: 1.0, largest_difference: 0.0, largest_value: 0.0 }
    }
}

impl Agreement {
    fn add(&mut self, dimensions: usize, ours: &[f32], theirs: &[f32]) {
        self.largest_difference = self.largest_difference.max(largest_difference(ours, theirs));
        for (left, right) in ours.chunks_exact(dimensions).zip(theirs.chunks_exact(dimensions)) {
            let product = |a: &[f32], b: &[f32]| -> f64 {
                a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
            };
            let cosine =
                product(left, right) / (product(left, left) * product(right, right)).sqrt();
            self.smallest_cosine = self.smallest_cosine.min(cosine);
            self.largest_value = right.iter().fold(self.largest_value, |most, v| most.max(v.abs()));
            self.rows += 1;
        }
    }
}

#[test]
fn settings_that_would_change_the_vectors_are_refused() {
    type Change = fn(&mut serde_json::Value);
    let cases: [(Change, &str); 6] = [
        (
            |config| {
                config["num_attention_heads"] = (1_u64 << 40).into();
                config["num_key_value_heads"] = (1_u64 << 40).into();
                config["head_dim"] = (1_u64 << 24).into();
            },
            "times head_dim 16777216 is too large",
        ),
        (
            |config| config["intermediate_size"] = (1_u64 << 62).into(),
            "mlp.gate_proj.weight` has the shape",
        ),
        (
            |config| {
                config["use_sliding_window"] = true.into();
                config["sliding_window"] = 4.into();
                config["layer_types"] = serde_json::json!(["sliding_attention"]);
            },
            "sliding_window 4 is not supported",
        ),
        (
            |config| config["rope_scaling"] = serde_json::json!({ "rope_type": "yarn" }),
            "rope_scaling.rope_type \"yarn\" is not supported",
        ),
        (
            |config| {
                config["auto_map"] = serde_json::json!({ "AutoModel": "modeling.Model" });
                config.as_object_mut().unwrap().remove("is_causal");
            },
            "add \"is_causal\": false, else",
        ),
        (
            |config| config["use_bidirectional_attention"] = true.into(),
            "use_bidirectional_attention true is not supported",
        ),
    ];
    for (change, expected) in cases {
        let model = TemporaryModel::linked_to(&architecture("qwen2-last-token"));
        model.edit("config.json", change);
        let error = load(model.path()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
