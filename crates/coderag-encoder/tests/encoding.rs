//! What holds for every model, shown on a small one.

#![allow(clippy::unwrap_used)]

mod fixtures;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use coderag_core::{Embedder, Progress, ProgressTask, Silent, TextRole, Unit};
use coderag_encoder::{CpuBackend, EncodeOptions, Error, Prompt, TextEncoder};
use fixtures::{StoredTensor, TemporaryModel, borrowed, largest_difference, load, small_bert};
use proptest::prelude::*;

static ENCODER: LazyLock<TextEncoder<CpuBackend>> = LazyLock::new(|| load(&small_bert()).unwrap());

fn alone(text: &str) -> Vec<f32> {
    ENCODER.embed(&[text], TextRole::Document).unwrap().as_slice().to_vec()
}

/// Texts the vocabulary knows, and any others.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z ]{0,80}",
        "(select |from |table |order |the |[a-z]{1,12} ){0,40}",
        any::<String>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_text_gives_the_same_vector_alone_and_in_any_batch(
        texts in prop::collection::vec(any_text(), 1..24),
        max_batch_tokens in 1usize..800,
    ) {
        let options = EncodeOptions { max_batch_tokens, ..Default::default() };
        let together = ENCODER.encode(&borrowed(&texts), &options, &Silent).unwrap();
        prop_assert_eq!(together.len(), texts.len());
        for (text, row) in texts.iter().zip(together.rows()) {
            prop_assert!(largest_difference(row, &alone(text)) <= 1e-5, "{:?}", text);
            let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
            prop_assert!((length - 1.0).abs() <= 1e-5, "{}", length);
        }
    }

    #[test]
    fn no_text_is_refused(text in any::<String>()) {
        prop_assert!(alone(&text).iter().all(|value| value.is_finite()));
    }
}

#[test]
fn no_texts_give_no_vectors() {
    let vectors = ENCODER.embed(&[], TextRole::Document).unwrap();
    assert_eq!((vectors.len(), vectors.dimensions()), (0, 32));
}

#[test]
fn text_beyond_the_length_limit_has_no_influence() {
    assert_eq!(ENCODER.max_tokens(), 40);
    let words = |count: usize| vec!["table"; count].join(" ");
    let (fits, over) = (words(38), format!("{} order", words(38)));
    assert_eq!(alone(&fits), alone(&over));
    assert_ne!(alone(&words(37)), alone(&fits));
    assert_ne!(alone(&words(37)), alone(&format!("{} order", words(37))));
}

#[test]
fn the_length_limit_is_the_smallest_of_those_set() {
    let model = TemporaryModel::small_bert();
    model.edit("sentence_bert_config.json", |settings| settings["max_seq_length"] = 10.into());
    assert_eq!(load(model.path()).unwrap().max_tokens(), 10);
    // There are only 48 position embeddings.
    model.edit("sentence_bert_config.json", |settings| settings["max_seq_length"] = 500.into());
    let encoder = load(model.path()).unwrap();
    assert_eq!(encoder.max_tokens(), 48);
    encoder.embed(&[&"table ".repeat(500)], TextRole::Document).unwrap();
    model.remove("sentence_bert_config.json");
    model.write("tokenizer_config.json", r#"{"model_max_length": 1e30}"#);
    assert_eq!(load(model.path()).unwrap().max_tokens(), 48);
}

#[test]
fn vectors_keep_their_length_where_asked() {
    let raw = EncodeOptions { normalize: Some(false), ..Default::default() };
    let vectors = ENCODER.encode(&["select"], &raw, &Silent).unwrap();
    let length = vectors.as_slice().iter().map(|value| value * value).sum::<f32>().sqrt();
    assert!((length - 1.0).abs() > 0.1, "{length}");
    let scaled: Vec<f32> = vectors.as_slice().iter().map(|value| value / length).collect();
    assert!(largest_difference(&scaled, &alone("select")) <= 1e-6);
}

#[test]
fn an_unknown_prompt_is_named_with_the_known_ones() {
    let options = EncodeOptions { prompt: Prompt::Named("code".into()), ..Default::default() };
    let error = ENCODER.encode(&["x"], &options, &Silent).unwrap_err();
    assert_eq!(error.to_string(), "the model has no prompt `code`; it has document, query");
}

#[test]
fn texts_are_lowered_where_the_model_asks_for_it() {
    let model = TemporaryModel::small_bert();
    model.edit("tokenizer.json", |settings| settings["normalizer"]["lowercase"] = false.into());
    let vector = |text| {
        let encoder = load(model.path()).unwrap();
        encoder.embed(&[text], TextRole::Document).unwrap().as_slice().to_vec()
    };
    assert_ne!(vector("SELECT"), vector("select"));
    model.write("sentence_bert_config.json", r#"{"max_seq_length": 40, "do_lower_case": true}"#);
    assert_eq!(vector("SELECT"), vector("select"));
}

#[test]
fn progress_counts_every_text() {
    #[derive(Clone, Default)]
    struct Counter(Arc<AtomicU64>);
    impl Progress for Counter {
        fn task(&self, _: &str, total: Option<u64>, unit: Unit) -> Box<dyn ProgressTask> {
            assert_eq!((total, unit), (Some(7), Unit::Items));
            Box::new(self.clone())
        }
    }
    impl ProgressTask for Counter {
        fn advance(&self, amount: u64) {
            self.0.fetch_add(amount, Ordering::Relaxed);
        }
    }
    let counter = Counter::default();
    let options = EncodeOptions { max_batch_tokens: 12, ..Default::default() };
    let texts = ["a", "b c", "d e f", "", "the", "select from", "order table find"];
    ENCODER.encode(&texts, &options, &counter).unwrap();
    assert_eq!(counter.0.load(Ordering::Relaxed), 7);
}

#[test]
fn the_fingerprint_changes_with_all_that_decides_the_vectors_and_with_nothing_else() {
    let original = ENCODER.fingerprint();
    let fingerprint = |change: &dyn Fn(&TemporaryModel)| {
        let model = TemporaryModel::small_bert();
        change(&model);
        load(model.path()).unwrap().fingerprint()
    };
    type Change = (&'static str, fn(&TemporaryModel));
    let changes: [Change; 7] = [
        ("weights", |model| {
            model.edit_weights(|tensors| tensors[3].data[0] ^= 1);
        }),
        ("tokenizer", |model| {
            model.edit("tokenizer.json", |file| file["normalizer"]["lowercase"] = false.into());
        }),
        ("config", |model| {
            model.edit("config.json", |file| file["layer_norm_eps"] = 1e-5.into());
        }),
        ("heads", |model| {
            model.edit("config.json", |file| file["num_attention_heads"] = 2.into());
        }),
        ("pooling", |model| {
            model.edit("1_Pooling/config.json", |file| file["pooling_mode"] = "cls".into());
        }),
        ("prompts", |model| {
            model.edit("config_sentence_transformers.json", |file| {
                file["prompts"]["query"] = "seek: ".into();
            });
        }),
        ("length", |model| {
            model.edit("tokenizer_config.json", |file| file["model_max_length"] = 39.into());
        }),
    ];
    let mut seen = vec![original];
    for (name, change) in changes {
        let changed = fingerprint(&change);
        assert!(!seen.contains(&changed), "{name}");
        seen.push(changed);
    }
    let unrelated = fingerprint(&|model| {
        model.edit("config.json", |file| file["transformers_version"] = "4.0".into());
        model.write("README.md", "read me");
    });
    assert_eq!(unrelated, original);
}

#[test]
fn weights_of_a_checkpoint_with_a_task_head_are_found_behind_their_prefix() {
    let model = TemporaryModel::small_bert();
    model.edit_weights(|tensors| {
        for tensor in tensors.iter_mut() {
            tensor.name.insert_str(0, "bert.");
        }
        tensors.push(StoredTensor {
            name: "cls.predictions.bias".into(),
            dtype: safetensors::Dtype::F32,
            shape: vec![1],
            data: vec![0; 4],
        });
    });
    let vector = load(model.path()).unwrap().embed(&["order"], TextRole::Document).unwrap();
    assert_eq!(vector.as_slice(), alone("order"));
}

/// The same values stored in half and in full precision give the same vectors.
#[test]
fn weights_in_half_precision_are_widened_exactly() {
    use burn::tensor::{bf16, f16};
    use safetensors::Dtype;
    type Narrow = fn(f32) -> ([u8; 2], f32);
    let kinds: [(Dtype, Narrow); 2] = [
        (Dtype::F16, |value| (f16::from_f32(value).to_le_bytes(), f16::from_f32(value).to_f32())),
        (Dtype::BF16, |value| {
            (bf16::from_f32(value).to_le_bytes(), bf16::from_f32(value).to_f32())
        }),
    ];
    for (dtype, narrow) in kinds {
        let (half, full) = (TemporaryModel::small_bert(), TemporaryModel::small_bert());
        let values = |tensor: &StoredTensor| {
            let floats = tensor.data.as_chunks().0.iter().copied().map(f32::from_le_bytes);
            floats.map(narrow).collect::<Vec<_>>()
        };
        half.edit_weights(|tensors| {
            for tensor in tensors {
                tensor.data = values(tensor).into_iter().flat_map(|(bytes, _)| bytes).collect();
                tensor.dtype = dtype;
            }
        });
        full.edit_weights(|tensors| {
            for tensor in tensors {
                let wide = values(tensor).into_iter().flat_map(|(_, value)| value.to_le_bytes());
                tensor.data = wide.collect();
            }
        });
        let vector = |model: &TemporaryModel| {
            let encoder = load(model.path()).unwrap();
            encoder.embed(&["order table"], TextRole::Document).unwrap().as_slice().to_vec()
        };
        assert_eq!(vector(&half), vector(&full), "{dtype:?}");
        assert_ne!(vector(&half), alone("order table"), "{dtype:?} must lose precision");
    }
}

#[test]
fn errors_reach_the_contract_with_their_causes() {
    let model = TemporaryModel::small_bert();
    model.remove("model.safetensors");
    let error: Error = load(model.path()).unwrap_err();
    let error = coderag_core::Error::component("the text encoder")(error);
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("model.safetensors` is missing"), "{cause}");
}
