//! LoRA adapters against PEFT; see `scripts/reference_lora.py`.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::panic)]

mod fixtures;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::module::{AutodiffModule, Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn_autodiff::Autodiff;
use coderag_core::{Digest, Embedder as _, Silent};
use coderag_encoder::engine::{EngineOptions, Precision};
use coderag_encoder::lora::{
    Adapter, AdapterConfig, LayerKind, LoraModel as _, LoraPlace, ModulePattern, ModuleSelection,
};
use coderag_encoder::{
    Bert, BertConfig, CpuBackend, CpuEncoder, EncodeOptions, Error, TextEncoder, TokenBatch,
};
use fixtures::{
    Encoders, StoredTensor, borrowed, fixture, largest_difference, load, reference, small_bert,
    texts,
};
use proptest::prelude::*;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How far a vector's components may be from PEFT's; the vectors are some units long.
const TOLERANCE: f32 = 2e-5;

const ADAPTERS: [&str; 8] = [
    "names",
    "all-linear-rank-stabilized",
    "pattern",
    "embeddings",
    "blocks",
    "language-model",
    "sentence-transformers",
    "wrapped-pipeline",
];

fn adapter(name: &str) -> PathBuf {
    fixture("lora").join(name)
}

fn peft_vectors(name: &str) -> Vec<f32> {
    reference("lora-vectors.safetensors", name)
}

fn some_texts() -> Vec<String> {
    texts().into_iter().step_by(4).collect()
}

const RAW: EncodeOptions = EncodeOptions {
    prompt: coderag_encoder::Prompt::None,
    normalize: Some(false),
    max_batch_tokens: 200,
};

fn encode(encoder: &TextEncoder<CpuBackend>) -> Vec<f32> {
    let texts = some_texts();
    encoder.encode(&borrowed(&texts), &RAW, &Silent).unwrap().as_slice().to_vec()
}

#[test]
fn a_merged_adapter_gives_the_vectors_of_peft_in_burn_and_in_every_engine() {
    let without = peft_vectors("without");
    for name in ADAPTERS {
        let encoders = Encoders::load_with_adapter(&small_bert(), &adapter(name));
        let theirs = peft_vectors(&format!("{name} merged"));
        assert!(largest_difference(&without, &theirs) > 0.1, "{name} must matter");
        let texts = some_texts();
        let burn = largest_difference(&encode(&encoders.burn), &theirs);
        println!("{name}: largest absolute difference {burn:e} in burn");
        assert!(burn <= TOLERANCE, "{name}: {burn:e}");
        for engine in &encoders.engines {
            let ours = engine.encode(&borrowed(&texts), &RAW, &Silent).unwrap();
            let difference = largest_difference(ours.as_slice(), &theirs);
            println!("{name}: largest absolute difference {difference:e} in an engine");
            assert!(difference <= TOLERANCE, "{name}: {difference:e}");
        }
    }
}

#[test]
fn a_live_adapter_gives_the_vectors_of_peft() {
    for name in ADAPTERS {
        let adapter = Adapter::read(&adapter(name)).unwrap();
        let encoder = load(&small_bert()).unwrap().with_adapter(&adapter).unwrap();
        let theirs = peft_vectors(&format!("{name} live"));
        let difference = largest_difference(&encode(&encoder), &theirs);
        println!("{name}: largest absolute difference {difference:e} live");
        assert!(difference <= TOLERANCE, "{name}: {difference:e}");
    }
}

/// In other precisions the merged weights are what is rounded, so vectors stay near those in f32.
#[test]
fn every_precision_takes_adapters() {
    let texts = some_texts();
    for (precision, least) in [(Precision::Bf16, 0.999), (Precision::Int8, 0.98)] {
        let options = EngineOptions { precision, ..Default::default() };
        let path = adapter("all-linear-rank-stabilized");
        let encoder = CpuEncoder::load_with_adapter(&small_bert(), &path, &options).unwrap();
        let vectors = encoder.encode(&borrowed(&texts), &RAW, &Silent).unwrap();
        let theirs = peft_vectors("all-linear-rank-stabilized merged");
        for (ours, theirs) in vectors.rows().zip(theirs.chunks_exact(32)) {
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            let cosine = dot(ours, theirs) / (dot(ours, ours) * dot(theirs, theirs)).sqrt();
            assert!(cosine >= least, "{precision}: {cosine}");
        }
    }
}

#[test]
fn settings_choose_the_modules_that_peft_chooses_with_its_ranks_and_scales() {
    let file: Value =
        serde_json::from_slice(&fs::read(fixture("lora/selection.json")).unwrap()).unwrap();
    let cases = file["cases"].as_array().unwrap();
    let (mut chosen, folder) = (0, TempDir::new().unwrap());
    for case in cases {
        fs::write(folder.path().join("adapter_config.json"), case["config"].to_string()).unwrap();
        let config = AdapterConfig::read(folder.path()).unwrap();
        for (module, kind) in file["modules"][case["model"].as_str().unwrap()].as_object().unwrap()
        {
            // PEFT knows that this is the head of a language model, which no encoder has.
            if config.target_modules == ModuleSelection::AllLinear && module == "lm_head" {
                continue;
            }
            let kind = match kind.as_str().unwrap() {
                "linear" => LayerKind::Linear,
                _ => LayerKind::Embedding,
            };
            let ours = config.targets(module, kind);
            let theirs = case["chosen"].get(module);
            assert_eq!(ours, theirs.is_some(), "{module} of {case}");
            if let Some(theirs) = theirs {
                assert_eq!(json!(config.rank_of(module)), theirs[0], "{module} of {case}");
                let scale = theirs[1].as_f64().unwrap();
                assert!((config.scale_of(module) - scale).abs() < 1e-12, "{module} of {case}");
                chosen += 1;
            }
        }
    }
    assert!(cases.len() >= 50 && chosen >= 150, "{} cases, {chosen} modules", cases.len());
}

#[test]
fn a_written_adapter_reads_back_equal_and_gives_the_same_vectors() {
    for name in ADAPTERS {
        let folder = TempDir::new().unwrap();
        let copy = folder.path().join("copy");
        let original = Adapter::read(&adapter(name)).unwrap();
        original.write(&copy).unwrap();
        let written = Adapter::read(&copy).unwrap();
        assert_eq!(written.config(), original.config(), "{name}");
        assert_eq!(written.layers(), original.layers(), "{name}");
        let vectors = |path: &Path| {
            let device = Default::default();
            let encoder =
                TextEncoder::<CpuBackend>::load_with_adapter(&small_bert(), path, &device).unwrap();
            (encode(&encoder), encoder.fingerprint())
        };
        assert_eq!(vectors(&copy), vectors(&adapter(name)), "{name}");
        // In place of the first.
        written.write(&copy).unwrap();
        assert_eq!(Adapter::read(&copy).unwrap().layers(), original.layers(), "{name}");
    }
}

#[test]
fn an_adapter_can_be_put_into_a_model_and_taken_out_again() {
    for name in ADAPTERS {
        let adapter = Adapter::read(&adapter(name)).unwrap();
        let model = small_config().init::<CpuBackend>(&Default::default());
        let model = model.with_adapter(&adapter).unwrap();
        let taken = adapter.with_weights_of(&model).unwrap();
        assert_eq!(taken.layers(), adapter.layers(), "{name}");
    }
    let one = Adapter::read(&adapter("names")).unwrap();
    let other = Adapter::read(&adapter("blocks")).unwrap();
    let model = small_config().init::<CpuBackend>(&Default::default());
    let model = model.with_adapter(&one).unwrap();
    let error = other.with_weights_of(&model).unwrap_err().to_string();
    assert!(error.contains("the model's adapter differs at `encoder.layer.0"), "{error}");
    // A second adapter takes the place of the first.
    let model = model.with_adapter(&other).unwrap();
    assert_eq!(other.with_weights_of(&model).unwrap().layers(), other.layers());
}

/// PEFT saves the whole embedding of a language model when it has LoRA, maybe changed.
#[test]
fn an_embedding_in_the_adapter_stands_in_place_of_the_base() {
    let folder = Copy::of("embeddings");
    let base = fs::read(small_bert().join("model.safetensors")).unwrap();
    let base = SafeTensors::deserialize(&base).unwrap();
    let words = base.tensor("embeddings.word_embeddings.weight").unwrap();
    let mut values: Vec<u8> = words.data().to_vec();
    let name = "base_model.model.embeddings.word_embeddings.base_layer.weight";
    let (shape, dtype) = (words.shape().to_vec(), Dtype::F32);
    let vectors = |values: &[u8], shape: &[usize]| {
        folder.edit(|tensors| {
            tensors.retain(|tensor| tensor.name != name);
            let (shape, data) = (shape.to_vec(), values.to_vec());
            tensors.push(StoredTensor { name: name.into(), dtype, shape, data });
        });
        let adapter = Adapter::read(folder.path())?;
        let merged = Encoders::load_with_adapter(&small_bert(), folder.path());
        let options = EncodeOptions { normalize: Some(false), ..Default::default() };
        let merged = merged.encode(&some_texts(), &options);
        let live = encode(&load(&small_bert())?.with_adapter(&adapter)?);
        assert!(largest_difference(&live, &merged) <= TOLERANCE);
        let copy = folder.path().join("copy");
        adapter.write(&copy)?;
        let copy = Encoders::load_with_adapter(&small_bert(), &copy);
        assert_eq!(copy.encode(&some_texts(), &options), merged);
        Ok::<_, Error>(live)
    };
    let same = vectors(&values, &shape).unwrap();
    assert!(largest_difference(&same, &peft_vectors("embeddings live")) <= TOLERANCE);
    for value in values.as_chunks_mut().0 {
        *value = (f32::from_le_bytes(*value) * 1.5).to_le_bytes();
    }
    let changed = vectors(&values, &shape).unwrap();
    assert!(largest_difference(&same, &changed) > 0.1);

    folder.edit(|tensors| {
        let stored = tensors.iter_mut().find(|tensor| tensor.name == name).unwrap();
        stored.shape[0] -= 1;
        stored.data.truncate(stored.shape[0] * stored.shape[1] * 4);
    });
    let message = refusal(folder.path());
    assert!(message.contains("an adapter with another vocabulary is not supported"), "{message}");
}

#[test]
fn the_fingerprint_changes_with_all_of_the_adapter_that_decides_the_vectors() {
    let fingerprint = |change: &dyn Fn(&Copy)| -> Digest {
        let copy = Copy::of("names");
        change(&copy);
        let encoder =
            CpuEncoder::load_with_adapter(&small_bert(), copy.path(), &EngineOptions::default());
        encoder.unwrap().fingerprint()
    };
    let original = fingerprint(&|_| {});
    let changes: [&dyn Fn(&Copy); 4] = [
        &|copy| copy.edit(|tensors| tensors[0].data[0] ^= 1),
        &|copy| copy.edit_config(|config| config["lora_alpha"] = 9.into()),
        &|copy| copy.edit_config(|config| config["use_rslora"] = true.into()),
        &|copy| copy.edit_config(|config| config["alpha_pattern"] = json!({"1.*query": 3})),
    ];
    let mut seen = vec![original, load(&small_bert()).unwrap().fingerprint()];
    assert_ne!(seen[0], seen[1]);
    for (index, change) in changes.iter().enumerate() {
        let changed = fingerprint(change);
        assert!(!seen.contains(&changed), "change {index}");
        seen.push(changed);
    }
    let unrelated = fingerprint(&|copy| {
        copy.edit_config(|config| config["base_model_name_or_path"] = "elsewhere".into());
        copy.edit_config(|config| config["lora_dropout"] = 0.5.into());
        fs::write(copy.path().join("README.md"), "read me").unwrap();
    });
    assert_eq!(unrelated, original);
    let live = Adapter::read(&adapter("names")).unwrap();
    let live = load(&small_bert()).unwrap().with_adapter(&live).unwrap();
    assert_eq!(live.fingerprint(), original);
}

// Folders that cannot be loaded.

/// A copy of an adapter that a test may change.
struct Copy(TempDir);

impl Copy {
    fn of(name: &str) -> Self {
        let folder = TempDir::new().unwrap();
        for file in ["adapter_config.json", "adapter_model.safetensors"] {
            fs::copy(adapter(name).join(file), folder.path().join(file)).unwrap();
        }
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn edit_config(&self, change: impl FnOnce(&mut Value)) {
        let path = self.path().join("adapter_config.json");
        let mut config = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut config);
        fs::write(path, config.to_string()).unwrap();
    }

    fn edit(&self, change: impl FnOnce(&mut Vec<StoredTensor>)) {
        fixtures::edit_weights(&self.path().join("adapter_model.safetensors"), change);
    }
}

/// Why an adapter's folder is refused, with the errors' causes.
fn refusal(folder: &Path) -> String {
    let device = Default::default();
    let burn = TextEncoder::<CpuBackend>::load_with_adapter(&small_bert(), folder, &device);
    let error = burn.unwrap_err();
    let engine = CpuEncoder::load_with_adapter(&small_bert(), folder, &EngineOptions::default());
    assert_eq!(engine.unwrap_err().to_string(), error.to_string());
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text.replace(folder.to_str().unwrap(), "ADAPTER")
}

#[track_caller]
fn assert_refused(name: &str, change: impl FnOnce(&Copy), message: &str) {
    let copy = Copy::of(name);
    change(&copy);
    let found = refusal(copy.path());
    assert!(found.contains(message), "{found}\nshould contain\n{message}");
}

#[test]
fn a_missing_file_is_named() {
    let remove =
        |file: &'static str| move |copy: &Copy| fs::remove_file(copy.path().join(file)).unwrap();
    assert_refused(
        "names",
        remove("adapter_config.json"),
        "`ADAPTER/adapter_config.json` is missing: is this the folder of a PEFT adapter?",
    );
    assert_refused(
        "names",
        remove("adapter_model.safetensors"),
        "`ADAPTER/adapter_model.safetensors` is missing: adapters are read from this file only",
    );
}

#[test]
fn settings_beyond_plain_lora_are_refused_with_their_key() {
    let cases = [
        ("peft_type", json!("LOHA"), "peft_type LOHA is not supported, only LORA"),
        ("peft_type", Value::Null, "peft_type is missing; only LORA is supported"),
        ("use_dora", json!(true), "use_dora true is not supported; merge the adapter in PEFT"),
        ("bias", json!("lora_only"), "bias \"lora_only\" is not supported, only \"none\""),
        ("lora_bias", json!(true), "lora_bias true is not supported"),
        ("modules_to_save", json!(["pooler"]), "modules_to_save [\"pooler\"] is not supported"),
        ("target_parameters", json!(["w"]), "target_parameters [\"w\"] is not supported"),
        ("alora_invocation_tokens", json!([1]), "alora_invocation_tokens [1] is not supported"),
        ("trainable_token_indices", json!([1]), "trainable_token_indices [1] is not supported"),
        ("layer_replication", json!([[0, 1]]), "layer_replication [[0,1]] is not supported"),
        ("something_new", json!({"a": 1}), "something_new {\"a\":1} is not supported"),
        ("init_lora_weights", json!("pissa"), "init_lora_weights \"pissa\" is not supported"),
        ("target_modules", Value::Null, "target_modules is null"),
        ("r", json!(0), "the rank 0 is not between 1 and 65536"),
        ("rank_pattern", json!({"query": 0}), "the rank 0 is not between 1 and 65536"),
        ("rank_pattern", json!({"query": -1}), "rank_pattern: `query` has the value -1"),
        ("alpha_pattern", json!({"query": "x"}), "alpha_pattern: `query` has the value \"x\""),
        ("alpha_pattern", json!({"(": 1}), "`(` cannot be used as a regular expression"),
        ("target_modules", json!(".*(?=query).*"), "look-around"),
        ("lora_dropout", json!(1.0), "lora_dropout 1 is not between 0 and 1"),
        ("layers_pattern", json!("layer"), "layers_pattern needs layers_to_transform"),
        ("r", json!("four"), "cannot read the settings in `ADAPTER/adapter_config.json`"),
    ];
    for (key, value, message) in cases {
        assert_refused("names", |copy| copy.edit_config(|config| config[key] = value), message);
    }
    let blocks = |config: &mut Value| config["target_modules"] = ".*dense".into();
    let message = "layers_to_transform needs target_modules to be a list of names";
    assert_refused("blocks", |copy| copy.edit_config(blocks), message);
}

#[test]
fn settings_that_change_nothing_are_taken() {
    let copy = Copy::of("names");
    copy.edit_config(|config| {
        for key in ["use_dora", "lora_bias", "rank_pattern", "megatron_core", "bias"] {
            config.as_object_mut().unwrap().remove(key);
        }
        config["added_by_the_next_version"] = json!({});
        config["another"] = json!([]);
        config["auto_mapping"] = json!({"base_model_class": "BertModel"});
        config["init_lora_weights"] = "orthogonal".into();
        config["fan_in_fan_out"] = true.into();
    });
    let expected = Adapter::read(&adapter("names")).unwrap();
    assert_eq!(Adapter::read(copy.path()).unwrap().config(), expected.config());
}

#[test]
fn every_tensor_is_accounted_for() {
    let query = "base_model.model.encoder.layer.0.attention.self.query";
    let names = |tensors: &[StoredTensor], name: &str| {
        tensors.iter().position(|tensor| tensor.name == name).unwrap()
    };
    let renamed = |from: String, to: String| {
        move |copy: &Copy| {
            copy.edit(|tensors| {
                let index = names(tensors, &from);
                tensors[index].name = to;
            });
        }
    };
    let removed = |suffixes: &'static [&'static str]| {
        move |copy: &Copy| {
            copy.edit(|tensors| {
                tensors.retain(|tensor| {
                    !suffixes.iter().any(|suffix| tensor.name == format!("{query}{suffix}"))
                });
            });
        }
    };
    let (a, b) = (format!("{query}.lora_A.weight"), format!("{query}.lora_B.weight"));
    assert_refused("names", removed(&[".lora_A.weight"]), &format!("tensor `{b}` stands alone"));
    assert_refused("names", removed(&[".lora_B.weight"]), &format!("missing tensor `{b}`"));
    let both = removed(&[".lora_A.weight", ".lora_B.weight"]);
    assert_refused("names", both, &format!("missing tensor `{a}`"));
    let stray = "base_model.model.encoder.layer.0.lora_magnitude_vector.weight".to_owned();
    assert_refused("names", renamed(a.clone(), stray.clone()), &format!("`{stray}`"));
    assert_refused(
        "names",
        |copy| copy.edit_config(|config| config["r"] = 5.into()),
        "have the shapes [4, 32] and [32, 4] instead of [5, 32] and [32, 5]",
    );
    assert_refused(
        "names",
        |copy| {
            copy.edit(|tensors| {
                let index = names(tensors, &b);
                tensors[index].shape = vec![16, 8];
            });
        },
        "are not two matrices of one rank",
    );
    assert_refused(
        "names",
        |copy| {
            copy.edit(|tensors| {
                let index = names(tensors, &a);
                tensors[index].dtype = Dtype::I32;
            });
        },
        "is of type I32 instead of F32, F16 or BF16",
    );
    assert_refused(
        "names",
        |copy| copy.edit_config(|config| config["target_modules"] = json!(["value"])),
        &format!("unexpected tensor `{a}`: the settings do not choose this module"),
    );
    assert_refused(
        "names",
        |copy| {
            copy.edit_config(|config| config["target_modules"] = json!(["value", "query", "key"]))
        },
        "missing tensor `base_model.model.encoder.layer.0.attention.self.key.lora_A.weight`",
    );
    assert_refused(
        "names",
        |copy| {
            copy.edit(|tensors| {
                for tensor in tensors {
                    tensor.name = tensor.name.replace("layer.1", "layer.7");
                }
            });
        },
        "encoder.layer.7.attention.self.query.lora_A.weight`: the model has no such module",
    );
    assert_refused(
        "names",
        |copy| {
            copy.edit(|tensors| {
                for tensor in tensors {
                    tensor.name = tensor.name.replace("encoder.layer", "decoder.block");
                }
            });
        },
        "it is for none of the model's layers, such as `embeddings.word_embeddings`",
    );
    assert_refused(
        "names",
        |copy| {
            copy.edit(|tensors| {
                for tensor in tensors {
                    tensor.name = tensor.name.replace("encoder.layer.1", "two.encoder.layer.1");
                }
            });
        },
        "it is for several models, as with `` and `two.` before a module's path",
    );
}

#[test]
fn a_cut_or_damaged_file_is_an_error_and_never_a_panic() {
    let copy = Copy::of("pattern");
    for file in ["adapter_config.json", "adapter_model.safetensors"] {
        let path = copy.path().join(file);
        let whole = fs::read(&path).unwrap();
        for length in [0, 1, 7, 8, 40, whole.len() / 2, whole.len() - 2] {
            fs::write(&path, &whole[..length]).unwrap();
            let message = refusal(copy.path());
            assert!(message.contains(file), "{message}");
        }
        fs::write(&path, &whole).unwrap();
    }
}

// Training.

type Training = Autodiff<CpuBackend>;

fn small_config() -> BertConfig {
    let path = small_bert().join("config.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn tiny_config() -> BertConfig {
    serde_json::from_value(json!({
        "vocab_size": 13, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 12, "max_position_embeddings": 9,
    }))
    .unwrap()
}

fn states<B: Backend>(model: &Bert<B>) -> Vec<f32> {
    let batch = TokenBatch::new(&[[1u32, 5, 12, 3, 7]], &Default::default());
    model.forward(&batch).into_data().to_vec().unwrap()
}

/// A Bert with every weight drawn and fixed.
fn drawn<B: Backend>(config: &BertConfig) -> Bert<B> {
    let model = config.init::<B>(&Default::default());
    states(&model);
    model
}

/// Gives A and B values other than zero.
fn randomised(adapter: &Adapter, seed: u64) -> Adapter {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("adapter");
    adapter.write(&path).unwrap();
    let mut state = seed;
    fixtures::edit_weights(&path.join("adapter_model.safetensors"), |tensors| {
        for tensor in tensors {
            for value in tensor.data.as_chunks_mut().0 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let uniform = (state >> 40) as f32 / (1 << 24) as f32 - 0.5;
                *value = uniform.to_le_bytes();
            }
        }
    });
    Adapter::read(&path).unwrap()
}

#[test]
fn a_new_adapter_changes_nothing_and_depends_on_its_seed_alone() {
    let model = drawn::<CpuBackend>(&tiny_config());
    let config = AdapterConfig::new(
        3,
        6.0,
        ModuleSelection::names(["word_embeddings", "query", "output.dense"]),
    );
    let new = |seed| Adapter::initial(config.clone(), &model.lora_places(), seed).unwrap();
    let [first, again, other] = [new(1), new(1), new(2)];
    assert_eq!(first.layers(), again.layers());
    assert_ne!(first.layers(), other.layers());
    assert_eq!(first.layers().len(), 4);
    let adapted = model.clone().with_adapter(&first).unwrap();
    assert!(largest_difference(&states(&adapted), &states(&model)) <= 1e-6);
    for (module, weights) in first.layers() {
        let of = |values: &[f32]| values.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        let (a, b) = (of(weights.a()), of(weights.b()));
        if weights.kind() == LayerKind::Linear {
            // kaiming_uniform_ with a = sqrt(5).
            let bound = 1.0 / (weights.inputs() as f32).sqrt();
            assert!(a <= bound && a > 0.8 * bound && b == 0.0, "{module}: {a} {b}");
        } else {
            assert!(a == 0.0 && b > 0.5, "{module}: {a} {b}");
        }
    }
    let nothing = AdapterConfig::new(3, 6.0, ModuleSelection::names(["q_proj"]));
    let error = Adapter::initial(nothing, &model.lora_places(), 1).unwrap_err().to_string();
    assert!(error.contains("it is for none of the model's layers"), "{error}");
    let rank = AdapterConfig::new(0, 6.0, ModuleSelection::AllLinear);
    let error = Adapter::initial(rank, &model.lora_places(), 1).unwrap_err().to_string();
    assert!(error.contains("the rank 0 is not between"), "{error}");
}

/// The parameters of a model by their paths, and their gradients.
struct Gradients<'a> {
    path: Vec<String>,
    gradients: &'a <Training as AutodiffBackend>::Gradients,
    found: BTreeMap<String, Option<Vec<f32>>>,
}

impl ModuleVisitor<Training> for Gradients<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Training, D>>) {
        let gradient = param.val().grad(self.gradients);
        let values = gradient.map(|gradient| gradient.into_data().to_vec().unwrap());
        self.found.insert(self.path.join("."), values);
    }
}

/// Some scalar that depends on every number of the states.
fn loss(model: &Bert<Training>) -> Tensor<Training, 1> {
    let device = Default::default();
    let batch = TokenBatch::new(&[vec![1u32, 5, 12, 3, 7], vec![2, 5]], &device);
    let states = model.forward(&batch);
    // The second sequence has two tokens, and what stands after them means nothing.
    let states =
        Tensor::cat(vec![states.clone().slice([0..1, 0..5]), states.slice([1..2, 0..2])], 1);
    let weights = Tensor::<Training, 1, burn::tensor::Int>::arange(0..56, &device).float().sin();
    (states.reshape([56]) * weights).sum()
}

#[test]
fn only_a_and_b_have_gradients_and_they_are_those_of_finite_differences() {
    let config = AdapterConfig {
        rank_stabilized: true,
        ..AdapterConfig::new(
            2,
            3.0,
            ModuleSelection::names([
                "dense",
                "query",
                "value",
                "word_embeddings",
                "position_embeddings",
            ]),
        )
    };
    let model = drawn::<Training>(&tiny_config());
    let adapter = Adapter::initial(config, &model.lora_places(), 5).unwrap();
    let adapter = randomised(&adapter, 11);
    let model = model.with_adapter(&adapter).unwrap();
    let gradients = loss(&model).backward();
    let mut visitor = Gradients { path: Vec::new(), gradients: &gradients, found: BTreeMap::new() };
    model.visit(&mut visitor);
    let mut trained = 0;
    for (path, gradient) in &visitor.found {
        assert_eq!(gradient.is_some(), path.contains(".lora."), "{path}");
        trained += usize::from(gradient.is_some());
    }
    assert_eq!(trained, 2 * adapter.layers().len());

    // By the paths of burn's module tree, which the adapter's names do not show.
    struct Nudge {
        path: Vec<String>,
        target: String,
        index: usize,
        by: f32,
    }
    impl burn::module::ModuleMapper<Training> for Nudge {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }
        fn map_float<const D: usize>(
            &mut self,
            param: Param<Tensor<Training, D>>,
        ) -> Param<Tensor<Training, D>> {
            if self.path.join(".") != self.target {
                return param;
            }
            param.map(|tensor| {
                let (mut data, device) = (tensor.to_data(), tensor.device());
                data.as_mut_slice::<f32>().unwrap()[self.index] += self.by;
                Tensor::from_data(data, &device).require_grad()
            })
        }
    }
    let mut checked = 0;
    for (path, gradient) in &visitor.found {
        let Some(gradient) = gradient else { continue };
        for index in (0..gradient.len()).step_by(gradient.len().div_ceil(4)) {
            let at = |by: f32| {
                let mut nudge = Nudge { path: Vec::new(), target: path.clone(), index, by };
                loss(&model.clone().map(&mut nudge)).into_scalar()
            };
            let step = 1e-2;
            let numerical = (at(step) - at(-step)) / (2.0 * step);
            let difference = (gradient[index] - numerical).abs();
            assert!(
                difference <= 2e-3 + 0.01 * numerical.abs(),
                "{path}[{index}]: {} and {numerical}",
                gradient[index]
            );
            checked += 1;
        }
    }
    assert!(checked >= 40, "{checked}");
}

#[test]
fn a_step_against_the_gradient_lowers_the_loss_and_leaves_the_base_alone() {
    let config = AdapterConfig::new(2, 4.0, ModuleSelection::AllLinear);
    let model = drawn::<Training>(&tiny_config());
    let adapter = Adapter::initial(config, &model.lora_places(), 5).unwrap();
    let model = model.with_adapter(&adapter).unwrap();
    struct Step(<Training as AutodiffBackend>::Gradients);
    impl burn::module::ModuleMapper<Training> for Step {
        fn map_float<const D: usize>(
            &mut self,
            param: Param<Tensor<Training, D>>,
        ) -> Param<Tensor<Training, D>> {
            let Some(gradient) = param.val().grad(&self.0) else { return param };
            param.map(|tensor| (tensor.inner() - gradient * 0.01).into_ad())
        }
    }
    trait IntoAutodiff<const D: usize> {
        fn into_ad(self) -> Tensor<Training, D>;
    }
    impl<const D: usize> IntoAutodiff<D> for Tensor<CpuBackend, D> {
        fn into_ad(self) -> Tensor<Training, D> {
            Tensor::from_inner(self).require_grad()
        }
    }
    let before = loss(&model);
    let stepped = model.clone().map(&mut Step(before.backward()));
    assert!(loss(&stepped).into_scalar() < before.into_scalar());
    let trained = adapter.with_weights_of(&stepped).unwrap();
    assert_ne!(trained.layers(), adapter.layers());
    // Without what was trained it is the model that it was, also off the training backend.
    let back = stepped.valid().with_adapter(&adapter).unwrap();
    assert_eq!(states(&back), states(&model.valid()));
}

#[test]
fn dropout_is_active_in_training_alone() {
    let config =
        AdapterConfig { dropout: 0.5, ..AdapterConfig::new(2, 4.0, ModuleSelection::AllLinear) };
    let model = drawn::<Training>(&tiny_config());
    let adapter = Adapter::initial(config, &model.lora_places(), 5).unwrap();
    let adapter = randomised(&adapter, 3);
    let model = model.with_adapter(&adapter).unwrap();
    assert_ne!(states(&model), states(&model));
    let model = model.valid();
    assert_eq!(states(&model), states(&model));
}

// Properties.

fn any_config() -> impl Strategy<Value = AdapterConfig> {
    let modules = prop_oneof![
        Just(ModuleSelection::AllLinear),
        prop::sample::subsequence(
            vec!["query", "key", "value", "dense", "word_embeddings", "token_type_embeddings"],
            1..6,
        )
        .prop_map(ModuleSelection::names),
        prop::sample::select(vec![".*(query|output.dense)", r".*\.[kv].*", ".*embeddings|.*value"])
            .prop_map(|source| ModuleSelection::Pattern(ModulePattern::whole(source).unwrap())),
    ];
    let pattern = |source: &str| ModulePattern::ending(source).unwrap();
    (1usize..9, -3.0f64..20.0, any::<bool>(), modules, prop::option::of((1usize..7, 0.5f64..9.0)))
        .prop_map(move |(rank, alpha, rank_stabilized, modules, other)| AdapterConfig {
            rank_stabilized,
            rank_pattern: other.iter().map(|(rank, _)| (pattern("query|.*dense"), *rank)).collect(),
            alpha_pattern: other.iter().map(|(_, alpha)| (pattern("value"), *alpha)).collect(),
            ..AdapterConfig::new(rank, alpha, modules)
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn merging_changes_nothing(config in any_config(), seed in any::<u64>()) {
        let model = drawn::<CpuBackend>(&tiny_config());
        let adapter = Adapter::initial(config, &model.lora_places(), seed).unwrap();
        let adapter = randomised(&adapter, seed);
        let live = model.clone().with_adapter(&adapter).unwrap();
        let expected = states(&live);
        prop_assert!(largest_difference(&expected, &states(&model)) > 1e-4);
        let merged = live.merged();
        prop_assert!(largest_difference(&states(&merged), &expected) <= 1e-4);
        // What is merged has no adapter.
        prop_assert!(adapter.with_weights_of(&merged).is_err());
    }

    #[test]
    fn writing_and_reading_is_the_identity(config in any_config(), seed in any::<u64>()) {
        let places: Vec<LoraPlace> = tiny_config().init::<CpuBackend>(&Default::default()).lora_places();
        let adapter = Adapter::initial(config, &places, seed).unwrap();
        let adapter = randomised(&adapter, seed);
        let folder = TempDir::new().unwrap();
        adapter.write(folder.path()).unwrap();
        let read = Adapter::read(folder.path()).unwrap();
        prop_assert_eq!(read.config(), adapter.config());
        prop_assert_eq!(read.layers(), adapter.layers());
    }

    #[test]
    fn a_damaged_adapter_is_refused_or_loaded_but_never_a_panic(
        position in any::<prop::sample::Index>(), byte in any::<u8>(), weights in any::<bool>(),
    ) {
        let copy = Copy::of("pattern");
        let file = if weights { "adapter_model.safetensors" } else { "adapter_config.json" };
        let path = copy.path().join(file);
        let mut bytes = fs::read(&path).unwrap();
        let index = position.index(bytes.len());
        bytes[index] = byte;
        fs::write(&path, bytes).unwrap();
        let device = Default::default();
        drop(TextEncoder::<CpuBackend>::load_with_adapter(&small_bert(), copy.path(), &device));
    }
}
