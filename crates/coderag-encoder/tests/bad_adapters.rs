//! Adapters that cannot be loaded: each gives an error that names the file and what is wrong in it.

#![allow(clippy::unwrap_used)]

mod fixtures;

use std::fs;
use std::path::Path;

use coderag_encoder::engine::EngineOptions;
use coderag_encoder::lora::Adapter;
use coderag_encoder::{CpuBackend, CpuEncoder, TextEncoder};
use fixtures::{AdapterCopy, StoredTensor, adapter, small_bert};
use proptest::prelude::*;
use safetensors::Dtype;
use serde_json::{Value, json};

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
fn assert_refused(name: &str, change: impl FnOnce(&AdapterCopy), message: &str) {
    let copy = AdapterCopy::of(name);
    change(&copy);
    let found = refusal(copy.path());
    assert!(found.contains(message), "{found}\nshould contain\n{message}");
}

#[test]
fn a_missing_file_is_named() {
    let remove = |file: &'static str| {
        move |copy: &AdapterCopy| fs::remove_file(copy.path().join(file)).unwrap()
    };
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
    let copy = AdapterCopy::of("names");
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
        move |copy: &AdapterCopy| {
            copy.edit(|tensors| {
                let index = names(tensors, &from);
                tensors[index].name = to;
            });
        }
    };
    let removed = |suffixes: &'static [&'static str]| {
        move |copy: &AdapterCopy| {
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
    let copy = AdapterCopy::of("pattern");
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_damaged_adapter_is_refused_or_loaded_but_never_a_panic(
        position in any::<prop::sample::Index>(), byte in any::<u8>(), weights in any::<bool>(),
    ) {
        let copy = AdapterCopy::of("pattern");
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
