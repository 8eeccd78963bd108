//! Directories that cannot be loaded: each gives an error that names the file, and none a panic.

#![allow(clippy::unwrap_used)]

mod fixtures;

use coderag_core::{Embedder, TextRole};
use coderag_encoder::Error;
use fixtures::{StoredTensor, TemporaryModel, load};
use proptest::prelude::*;
use safetensors::Dtype;

/// The error of a changed model, its causes included.
fn refusal(change: impl FnOnce(&TemporaryModel)) -> String {
    let model = TemporaryModel::small_bert();
    change(&model);
    let error = load(model.path()).unwrap_err();
    chain(&error).replace(model.path().to_str().unwrap(), "MODEL")
}

fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

#[track_caller]
fn assert_refused(change: impl FnOnce(&TemporaryModel), message: &str) {
    assert_eq!(refusal(change), message);
}

#[test]
fn a_missing_file_is_named() {
    assert_refused(
        |model| model.remove("model.safetensors"),
        "`MODEL/model.safetensors` is missing: weights are read from this file only; other formats \
         must be converted",
    );
    assert_refused(
        |model| model.remove("tokenizer.json"),
        "`MODEL/tokenizer.json` is missing: save the tokenizer with a current transformers to get it",
    );
    assert_refused(
        |model| model.remove("config.json"),
        "`MODEL/config.json` is missing: it tells the model's architecture",
    );
    assert_refused(
        |model| model.remove("1_Pooling/config.json"),
        "`MODEL/1_Pooling/config.json` is missing: it tells how token states become one vector",
    );
    let empty = tempfile::TempDir::new().unwrap();
    for path in [empty.path(), &empty.path().join("absent")] {
        let error = load(path).unwrap_err();
        assert!(matches!(&error, Error::Missing { hint, .. } if hint.contains("model directory")));
    }
}

#[test]
fn settings_that_are_not_json_or_of_the_wrong_type_name_file_and_line() {
    for file in [
        "modules.json",
        "config.json",
        "sentence_bert_config.json",
        "config_sentence_transformers.json",
        "1_Pooling/config.json",
    ] {
        let message = refusal(|model| model.write(file, "{\n\"a\": oops}"));
        let expected = format!("cannot read the settings in `MODEL/{file}`: ");
        assert!(message.starts_with(&expected) && message.contains("line "), "{message}");
        let message = refusal(|model| model.write(file, "12"));
        assert!(message.starts_with(&expected), "{message}");
        let message = refusal(|model| model.write(file, ""));
        assert!(message.starts_with(&expected), "{message}");
    }
    let message = refusal(|model| {
        model.edit("config.json", |file| file["hidden_size"] = "wide".into());
    });
    assert!(message.contains("config.json") && message.contains("usize"), "{message}");
    let message = refusal(|model| {
        model.edit("config.json", |file| {
            file.as_object_mut().unwrap().remove("vocab_size");
        });
    });
    assert!(message.ends_with("missing field `vocab_size`"), "{message}");
}

#[test]
fn what_is_not_supported_is_named() {
    assert_refused(
        |model| {
            model.edit("modules.json", |file| {
                file[2]["type"] = "sentence_transformers.models.LSTM".into();
            });
        },
        "`MODEL/modules.json`: the module type `sentence_transformers.models.LSTM` is not supported; \
         a model is Transformer, Pooling and maybe Dense and Normalize",
    );
    assert_refused(
        |model| model.edit("modules.json", |file| file.as_array_mut().unwrap().swap(1, 2)),
        "`MODEL/modules.json`: the module order Transformer, Normalize, Pooling is not supported; \
         a model is Transformer, Pooling and maybe Dense and Normalize",
    );
    for (key, value, only) in [
        ("model_type", "deberta-v2", "bert, roberta, xlm-roberta, qwen2 and qwen3"),
        ("hidden_act", "relu", "\"gelu\""),
        ("position_embedding_type", "relative_key", "\"absolute\""),
    ] {
        assert_refused(
            |model| model.edit("config.json", |file| file[key] = value.into()),
            &format!("`MODEL/config.json`: {key} \"{value}\" is not supported, only {only}"),
        );
    }
    let pooling = |settings: &'static str| {
        move |model: &TemporaryModel| {
            model.write("1_Pooling/config.json", settings);
        }
    };
    assert_refused(
        pooling(r#"{"embedding_dimension": 32, "pooling_mode": "weightedmean"}"#),
        "`MODEL/1_Pooling/config.json`: the pooling mode `weightedmean` is not supported, only \
         cls, mean, max and lasttoken",
    );
    assert_refused(
        pooling(r#"{"pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": true}"#),
        "`MODEL/1_Pooling/config.json`: pooling by mean_tokens, max_tokens together is not supported",
    );
    assert_refused(
        pooling(r#"{"pooling_mode": "mean", "include_prompt": false}"#),
        "`MODEL/1_Pooling/config.json`: include_prompt false is not supported",
    );
    assert_refused(
        |model| model.edit("config.json", |file| file["quantization_config"] = "int4".into()),
        "`MODEL/config.json`: quantization_config \"int4\" is not supported, only null",
    );
    assert_refused(
        |model| {
            model.write("sentence_bert_config.json", r#"{"transformer_task": "fill-mask"}"#);
        },
        "`MODEL/sentence_bert_config.json`: transformer_task `fill-mask` is not supported, only \
         feature-extraction",
    );
    assert_refused(
        |model| {
            let settings = r#"{"config_args": {"hidden_act": "relu"}}"#;
            model.write("sentence_bert_config.json", settings);
        },
        "`MODEL/sentence_bert_config.json`: config_args overrides hidden_act of config.json; set it \
         there",
    );
    assert_refused(
        |model| {
            let settings = r#"{"processor_kwargs": {"model_max_length": 7}}"#;
            model.write("sentence_bert_config.json", settings);
        },
        "`MODEL/sentence_bert_config.json`: tokenizer_args overrides model_max_length of \
         tokenizer_config.json; set it there",
    );
    assert_refused(
        |model| {
            model.edit("tokenizer_config.json", |file| file["truncation_side"] = "left".into());
        },
        "`MODEL/tokenizer_config.json`: truncation_side `left` is not supported, only right",
    );
    assert_refused(
        |model| model.edit("modules.json", |file| file[1]["path"] = "../1_Pooling".into()),
        "`MODEL/modules.json`: the module path `../1_Pooling` leads out of the folder",
    );
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    assert_refused(
        |model| model.write("1_Pooling/config.json", r#"{"pooling_mode_mean_tokens": false}"#),
        "`MODEL/1_Pooling/config.json`: no pooling mode is switched on",
    );
    assert_refused(
        |model| model.write("1_Pooling/config.json", r#"{"word_embedding_dimension": 64}"#),
        "`MODEL/1_Pooling/config.json`: the embedding dimension 64 is not the hidden_size 32 of \
         config.json",
    );
    assert_refused(
        |model| model.edit("config.json", |file| file["num_attention_heads"] = 5.into()),
        "`MODEL/config.json`: hidden_size 32 is not a multiple of num_attention_heads 5",
    );
    assert_refused(
        |model| model.edit("config.json", |file| file["num_attention_heads"] = 0.into()),
        "`MODEL/config.json`: num_attention_heads is 0",
    );
    assert_refused(
        |model| {
            model.edit("config.json", |file| file["num_hidden_layers"] = 4_000_000_000u64.into())
        },
        "`MODEL/config.json`: num_hidden_layers is 4000000000",
    );
    assert_refused(
        |model| model.write("sentence_bert_config.json", r#"{"max_seq_length": 2}"#),
        "`MODEL/tokenizer.json`: it adds 2 special tokens, which leaves no room within max_seq_length 2",
    );
    assert_refused(
        |model| model.write("sentence_bert_config.json", r#"{"max_seq_length": 0}"#),
        "`MODEL/tokenizer.json`: it adds 2 special tokens, which leaves no room within max_seq_length 0",
    );
    assert_refused(
        |model| {
            let settings = r#"{"prompts": {"a": "b"}, "default_prompt_name": "c"}"#;
            model.write("config_sentence_transformers.json", settings);
        },
        "`MODEL/config_sentence_transformers.json`: default_prompt_name is `c`, which is not among \
         the prompts",
    );
}

#[test]
fn a_tokenizer_that_does_not_fit_is_refused() {
    let message = refusal(|model| model.write("tokenizer.json", "{}"));
    assert!(
        message.starts_with("cannot read the tokenizer in `MODEL/tokenizer.json`: "),
        "{message}"
    );
    assert_refused(
        |model| model.edit("tokenizer.json", |file| file["model"]["vocab"]["zebra"] = 500.into()),
        "`MODEL/tokenizer.json`: token 500 is outside the vocab_size 108 of config.json",
    );
    assert_refused(
        |model| {
            model.edit("tokenizer.json", |file| {
                file["post_processor"]["special_tokens"]["[CLS]"]["ids"][0] = 108.into();
            });
        },
        "`MODEL/tokenizer.json`: token 108 is outside the vocab_size 108 of config.json",
    );
    assert_refused(
        |model| {
            model.edit("tokenizer.json", |file| file["post_processor"] = serde_json::Value::Null);
            model.remove("tokenizer_config.json");
        },
        "`MODEL/tokenizer.json`: it adds no special tokens and has no padding token, so an empty text \
         is nothing",
    );
}

#[test]
fn tensors_that_do_not_fit_are_named() {
    assert_refused(
        |model| {
            model.edit_weights(|tensors| {
                tensors.retain(|tensor| !tensor.name.contains("1.output.d"))
            })
        },
        "`MODEL/model.safetensors` does not fit its config.json: missing tensor \
         `encoder.layer.1.output.dense.weight`; missing tensor `encoder.layer.1.output.dense.bias`",
    );
    assert_refused(
        |model| {
            model.edit_weights(|tensors| {
                tensors.push(StoredTensor {
                    name: "extra".into(),
                    dtype: Dtype::F32,
                    shape: vec![2],
                    data: vec![0; 8],
                });
            });
        },
        "`MODEL/model.safetensors` does not fit its config.json: unexpected tensor `extra`",
    );
    assert_refused(
        |model| {
            model.edit_weights(|tensors| {
                let name = "encoder.layer.0.intermediate.dense.weight";
                let tensor = tensors.iter_mut().find(|tensor| tensor.name == name).unwrap();
                tensor.shape.reverse();
            });
        },
        "`MODEL/model.safetensors` does not fit its config.json: tensor \
         `encoder.layer.0.intermediate.dense.weight` has the shape [32, 64] instead of [64, 32]",
    );
    assert_refused(
        |model| {
            model.edit_weights(|tensors| {
                let name = "embeddings.LayerNorm.bias";
                let tensor = tensors.iter_mut().find(|tensor| tensor.name == name).unwrap();
                tensor.dtype = Dtype::I32;
            });
        },
        "`MODEL/model.safetensors` does not fit its config.json: tensor `embeddings.LayerNorm.bias` \
         is of type I32 instead of F32, F16 or BF16",
    );
    // Fewer layers than the file has, and far more than can be listed.
    let message = refusal(|model| {
        model.edit("config.json", |file| file["num_hidden_layers"] = 1.into());
    });
    assert!(message.contains("unexpected tensor `encoder.layer.1."), "{message}");
    let message = refusal(|model| {
        model.edit("config.json", |file| file["num_hidden_layers"] = 9.into());
    });
    assert!(message.ends_with("; and 107 more"), "{message}");
    // No size in config.json is believed before the file agrees.
    let message = refusal(|model| {
        model.edit("config.json", |file| file["vocab_size"] = 1_000_000_000_000u64.into());
    });
    assert!(message.contains("embeddings.word_embeddings.weight` has the shape"), "{message}");
    for size in [1_u64 << 40, 1 << 62] {
        let message = refusal(|model| {
            model.edit("config.json", |file| file["intermediate_size"] = size.into());
        });
        assert!(message.contains("intermediate.dense.weight` has the shape"), "{message}");
    }
}

#[test]
fn truncated_weights_are_named_at_every_cut() {
    let whole = TemporaryModel::small_bert().read("model.safetensors");
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let end = whole.len();
    for cut in [0, 1, 7, 8, 9, header / 2, header - 1, header, header + 1, end / 2, end - 1] {
        let message = refusal(|model| model.write("model.safetensors", &whole[..cut]));
        let expected = "`MODEL/model.safetensors` is truncated or damaged; `coderag models verify` \
                        checks a pulled model against its hash: ";
        assert!(message.starts_with(expected), "cut at {cut}: {message}");
    }
}

fn use_if_loaded(model: &TemporaryModel) {
    if let Ok(encoder) = load(model.path()) {
        let _ = encoder.embed(&["", "order the table"], TextRole::Query);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The header decides what is read from where, so it is what must not be trusted.
    #[test]
    fn damaged_headers_never_panic(position in 0usize..4000, byte in any::<u8>()) {
        let model = TemporaryModel::small_bert();
        let mut bytes = model.read("model.safetensors");
        bytes[position] = byte;
        model.write("model.safetensors", bytes);
        use_if_loaded(&model);
    }

    #[test]
    fn damaged_settings_never_panic(
        file in prop::sample::select(vec![
            "modules.json", "config.json", "sentence_bert_config.json", "1_Pooling/config.json",
            "config_sentence_transformers.json", "tokenizer_config.json", "tokenizer.json",
        ]),
        position in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let model = TemporaryModel::small_bert();
        let mut bytes = model.read(file);
        let position = position.index(bytes.len());
        bytes[position] = byte;
        model.write(file, bytes);
        use_if_loaded(&model);
    }
}
