//! LoRA adapters against PEFT; see `scripts/reference_lora.py`.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod fixtures;

use std::fs;
use std::path::{Path, PathBuf};

use coderag_core::{Digest, Embedder as _, Silent};
use coderag_encoder::engine::{EngineOptions, Precision};
use coderag_encoder::lora::{Adapter, AdapterConfig, LayerKind, LoraModel as _, ModuleSelection};
use coderag_encoder::{CpuBackend, CpuEncoder, EncodeOptions, Error, Prompt, TextEncoder};
use fixtures::{
    AdapterCopy, Encoders, StoredTensor, adapter, architecture, architecture_texts, borrowed,
    fixture, largest_difference, load, reference, small_bert, texts,
};
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How far a vector's components may be from PEFT's; the vectors are some units long.
const TOLERANCE: f32 = 2e-5;

const ADAPTERS: [&str; 12] = [
    "names",
    "all-linear-rank-stabilized",
    "pattern",
    "embeddings",
    "blocks",
    "language-model",
    "sentence-transformers",
    "wrapped-pipeline",
    "roberta",
    "qwen2-embeddings",
    "qwen2-language-model",
    "qwen2-shards",
];

/// The model that an adapter is for.
fn base(name: &str) -> PathBuf {
    match name {
        "roberta" => architecture("roberta"),
        "qwen2-embeddings" | "qwen2-language-model" => architecture("qwen2-last-token"),
        "qwen2-shards" => architecture("qwen2-bidirectional"),
        _ => small_bert(),
    }
}

/// The texts that its vectors are of.
fn some_texts(name: &str) -> Vec<String> {
    if base(name) == small_bert() {
        texts().into_iter().step_by(4).collect()
    } else {
        architecture_texts()
    }
}

fn peft_vectors(name: &str) -> Vec<f32> {
    reference("lora-vectors.safetensors", name)
}

const RAW: EncodeOptions =
    EncodeOptions { prompt: Prompt::None, normalize: Some(false), max_batch_tokens: 200 };

fn encode(encoder: &TextEncoder<CpuBackend>, name: &str) -> Vec<f32> {
    let texts = some_texts(name);
    encoder.encode(&borrowed(&texts), &RAW, &Silent).unwrap().as_slice().to_vec()
}

fn merged(name: &str, adapter: &Path) -> TextEncoder<CpuBackend> {
    TextEncoder::load_with_adapter(&base(name), adapter, &Default::default()).unwrap()
}

fn live(name: &str, adapter: &Adapter) -> Result<TextEncoder<CpuBackend>, Error> {
    TextEncoder::load(&base(name), &Default::default())?.with_adapter(adapter)
}

#[track_caller]
fn assert_close(name: &str, ours: &[f32], theirs: &[f32]) {
    let difference = largest_difference(ours, theirs);
    println!("{name}: largest absolute difference {difference:e}");
    assert!(difference <= TOLERANCE, "{name}: {difference:e}");
}

#[test]
fn a_merged_adapter_gives_the_vectors_of_peft_in_burn() {
    for name in ADAPTERS {
        let without = base(name).file_name().unwrap().to_str().unwrap().to_owned() + " without";
        let theirs = peft_vectors(&format!("{name} merged"));
        assert!(largest_difference(&peft_vectors(&without), &theirs) > 0.1, "{name} must matter");
        assert_close(name, &encode(&merged(name, &adapter(name)), name), &theirs);
    }
}

#[test]
fn a_merged_adapter_gives_the_vectors_of_peft_in_every_engine() {
    for name in ADAPTERS {
        let theirs = peft_vectors(&format!("{name} merged"));
        for engine in Encoders::load_with_adapter(&base(name), &adapter(name)).engines {
            let ours = engine.encode(&borrowed(&some_texts(name)), &RAW, &Silent).unwrap();
            assert_close(name, ours.as_slice(), &theirs);
        }
    }
}

#[test]
fn a_live_adapter_gives_the_vectors_of_peft() {
    for name in ADAPTERS {
        let encoder = live(name, &Adapter::read(&adapter(name)).unwrap()).unwrap();
        assert_close(name, &encode(&encoder, name), &peft_vectors(&format!("{name} live")));
    }
}

/// In other precisions the merged weights are what is rounded, so vectors stay near those in f32.
#[test]
fn every_precision_takes_adapters() {
    let name = "all-linear-rank-stabilized";
    let texts = some_texts(name);
    for (precision, least) in [(Precision::Bf16, 0.999), (Precision::Int8, 0.98)] {
        let options = EngineOptions { precision, ..Default::default() };
        let path = adapter(name);
        let encoder = CpuEncoder::load_with_adapter(&small_bert(), &path, &options).unwrap();
        let vectors = encoder.encode(&borrowed(&texts), &RAW, &Silent).unwrap();
        let theirs = peft_vectors(&format!("{name} merged"));
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
            let encoder = merged(name, path);
            (encode(&encoder, name), encoder.fingerprint())
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
        let encoder = live(name, &adapter).unwrap();
        let taken = adapter.with_weights_of(encoder.body()).unwrap();
        assert_eq!(taken.layers(), adapter.layers(), "{name}");
    }
    let one = Adapter::read(&adapter("names")).unwrap();
    let other = Adapter::read(&adapter("blocks")).unwrap();
    let encoder = live("names", &one).unwrap();
    let error = other.with_weights_of(encoder.body()).unwrap_err().to_string();
    assert!(error.contains("the model's adapter differs at `encoder.layer.0"), "{error}");
    // A second adapter takes the place of the first.
    let body = encoder.body().clone().with_adapter(&other).unwrap();
    assert_eq!(other.with_weights_of(&body).unwrap().layers(), other.layers());
}

/// PEFT saves the whole embedding of a language model when it has LoRA, maybe changed.
#[test]
fn an_embedding_in_the_adapter_stands_in_place_of_the_base() {
    let folder = AdapterCopy::of("embeddings");
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
        let texts = some_texts("embeddings");
        let merged = Encoders::load_with_adapter(&small_bert(), folder.path()).encode(&texts, &RAW);
        let live = encode(&live("embeddings", &adapter)?, "embeddings");
        assert!(largest_difference(&live, &merged) <= TOLERANCE);
        let copy = folder.path().join("copy");
        adapter.write(&copy)?;
        let copy = Encoders::load_with_adapter(&small_bert(), &copy);
        assert_eq!(copy.encode(&texts, &RAW), merged);
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
    let adapter = Adapter::read(folder.path()).unwrap();
    let message = live("embeddings", &adapter).unwrap_err().to_string();
    assert!(message.contains("an adapter with another vocabulary is not supported"), "{message}");
}

#[test]
fn the_fingerprint_changes_with_all_of_the_adapter_that_decides_the_vectors() {
    let fingerprint = |change: &dyn Fn(&AdapterCopy)| -> Digest {
        let copy = AdapterCopy::of("names");
        change(&copy);
        let encoder =
            CpuEncoder::load_with_adapter(&small_bert(), copy.path(), &EngineOptions::default());
        encoder.unwrap().fingerprint()
    };
    let original = fingerprint(&|_| {});
    let changes: [&dyn Fn(&AdapterCopy); 4] = [
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
    let live = live("names", &Adapter::read(&adapter("names")).unwrap()).unwrap();
    assert_eq!(live.fingerprint(), original);
}
