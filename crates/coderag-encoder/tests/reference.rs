//! Vectors against those that sentence-transformers computed; see `scripts/reference_vectors.py`.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod fixtures;

use coderag_core::{Digest, Embedder as _, TextRole};
use coderag_encoder::{EncodeOptions, Prompt};
use fixtures::{
    Encoders, TemporaryModel, largest_difference, reference, reference_metadata, small_bert, texts,
};

/// How far a vector's components may be from the reference.
const TOLERANCE: f32 = 1e-4;

fn assert_close(name: &str, ours: &[f32], theirs: &[f32]) {
    let difference = largest_difference(ours, theirs);
    println!("{name}: largest absolute difference {difference:e}");
    assert!(difference <= TOLERANCE, "{name}: {difference:e}");
}

#[test]
fn minilm_gives_the_vectors_of_sentence_transformers() {
    let cache = std::env::var("CODERAG_CACHE").unwrap_or_else(|_| {
        format!("{}/.cache/coderag", std::env::var("HOME").unwrap_or_default())
    });
    let directory = std::path::Path::new(&cache).join("models/all-MiniLM-L6-v2");
    if !directory.is_dir() {
        let required = std::env::var("CODERAG_REQUIRE_MODELS").is_ok_and(|value| value == "1");
        assert!(!required, "{} is missing", directory.display());
        println!("skipped: {} is missing", directory.display());
        return;
    }
    let weights = Digest::of_file(&directory.join("model.safetensors")).unwrap();
    let expected = &reference_metadata("all-MiniLM-L6-v2.safetensors")["weights_sha256"];
    assert_eq!(&weights.to_string(), expected, "not the weights of the reference");

    let encoder = Encoders::load(&directory);
    assert_eq!((encoder.burn.dimensions(), encoder.burn.max_tokens()), (384, 256));
    let texts = texts();
    assert!(texts.len() >= 64);
    let theirs = reference("all-MiniLM-L6-v2.safetensors", "vectors");
    let [alone, small, usual] = [1, 700, EncodeOptions::default().max_batch_tokens].map(|tokens| {
        let options = EncodeOptions { max_batch_tokens: tokens, ..Default::default() };
        let ours = encoder.encode(&texts, &options);
        assert_close(&format!("all-MiniLM-L6-v2 in batches of {tokens} tokens"), &ours, &theirs);
        ours
    });
    for together in [small, usual] {
        let difference = largest_difference(&alone, &together);
        println!("all-MiniLM-L6-v2 alone and together: largest absolute difference {difference:e}");
        assert!(difference <= 1e-5, "{difference:e}");
    }
}

/// The directory is as sentence-transformers 6 saves it, with the new class paths and pooling keys.
#[test]
fn a_model_of_a_current_sentence_transformers_gives_its_vectors() {
    let encoder = Encoders::load(&small_bert());
    let ours = encoder.encode(&texts(), &EncodeOptions::default());
    assert_close("mean", &ours, &reference("small-bert-vectors.safetensors", "mean normalised"));
}

#[test]
fn every_pooling_gives_the_vectors_of_sentence_transformers() {
    for (mode, older) in [("mean", "mean_tokens"), ("cls", "cls_token"), ("max", "max_tokens")] {
        let theirs = reference("small-bert-vectors.safetensors", mode);
        let new = format!(r#"{{"embedding_dimension": 32, "pooling_mode": "{mode}"}}"#);
        let old = format!(
            r#"{{"word_embedding_dimension": 32, "pooling_mode_{older}": true,
                 "pooling_mode_lasttoken": false}}"#
        );
        for settings in [new, old] {
            let model = TemporaryModel::small_bert();
            model.write("1_Pooling/config.json", settings);
            let encoder = Encoders::load(model.path());
            let options = EncodeOptions { normalize: Some(false), ..Default::default() };
            assert_close(mode, &encoder.encode(&texts(), &options), &theirs);
        }
    }
}

#[test]
fn a_bare_transformers_directory_gets_mean_pooling_without_normalisation() {
    let model = TemporaryModel::small_bert();
    for file in ["modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"] {
        model.remove(file);
    }
    let encoder = Encoders::load(model.path());
    let ours = encoder.encode(&texts(), &EncodeOptions::default());
    assert_close("bare", &ours, &reference("small-bert-vectors.safetensors", "mean"));
}

#[test]
fn prompts_are_put_before_texts_as_sentence_transformers_does() {
    let plain = reference("small-bert-vectors.safetensors", "mean normalised");
    let query = reference("small-bert-vectors.safetensors", "query");
    assert!(largest_difference(&plain, &query) > 0.1, "the prompt must matter");

    let texts = texts();
    let encoder = Encoders::load(&small_bert());
    let named = EncodeOptions { prompt: Prompt::Named("query".into()), ..Default::default() };
    assert_close("by name", &encoder.encode(&texts, &named), &query);
    let embedded = |encoder: &Encoders, role| encoder.embed(&texts, role);
    assert_close("as a query", &embedded(&encoder, TextRole::Query), &query);
    assert_close("as a document", &embedded(&encoder, TextRole::Document), &plain);

    let model = TemporaryModel::small_bert();
    model.write(
        "config_sentence_transformers.json",
        r#"{"prompts": {"passage": "find: ", "x": null}, "default_prompt_name": "passage"}"#,
    );
    let encoder = Encoders::load(model.path());
    assert_close("by default", &encoder.encode(&texts, &EncodeOptions::default()), &query);
    let none = EncodeOptions { prompt: Prompt::None, ..Default::default() };
    assert_close("without", &encoder.encode(&texts, &none), &plain);
    assert_close("as a passage", &embedded(&encoder, TextRole::Document), &query);
    assert_close("no query prompt", &embedded(&encoder, TextRole::Query), &plain);
}
