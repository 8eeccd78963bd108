//! Models written again after training: what is read back is what was written, whatever the base.

#![allow(clippy::unwrap_used)]

mod fixtures;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{bf16, f16};
use coderag_core::{Embedder as _, Silent, TextRole};
use coderag_encoder::engine::{Trainable, TrainingEngine};
use coderag_encoder::lora::Adapter;
use coderag_encoder::{CpuEncoder, EncodeOptions, Error, ModelDirectory, ModelExport, Prompt};
use fixtures::{
    StoredTensor, TemporaryModel, adapter, architecture, architecture_texts, borrowed,
    edit_weights, largest_difference, reference, small_bert, texts,
};
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use tempfile::TempDir;

/// f32, f16 and bf16; one file and three; without and with what a task head puts before names.
const MODELS: [&str; 8] = [
    "small-bert",
    "roberta",
    "bert-dense",
    "qwen2-last-token",
    "qwen2-dense",
    "qwen2-bidirectional",
    "qwen3-last-token",
    "qwen3-bias",
];

fn model(name: &str) -> PathBuf {
    if name == "small-bert" { small_bert() } else { architecture(name) }
}

fn some_texts(base: &Path) -> Vec<String> {
    let vocabulary = |model: &Path| fs::read(model.join("tokenizer.json")).unwrap();
    let is_small_bert = vocabulary(base) == vocabulary(&small_bert());
    if is_small_bert { texts() } else { architecture_texts() }
}

/// An export that changes nothing.
fn export(base: &Path) -> ModelExport<'_> {
    let max_tokens = ModelDirectory::open(base, None).map(|model| model.max_tokens());
    // What has dense layers cannot be trained, but written.
    let max_tokens = max_tokens.unwrap_or_else(|_| load(base).max_tokens());
    ModelExport { base, changed: BTreeMap::new(), adapter: None, max_tokens }
}

/// A folder of a test with what was exported in it.
struct Exported(TempDir);

impl Exported {
    fn from(export: &ModelExport<'_>) -> Self {
        let folder = TempDir::new().unwrap();
        export.write(&folder.path().join("model"), |_| Ok::<_, Error>(())).unwrap();
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("model")
    }

    fn json(&self, file: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path().join(file)).unwrap()).unwrap()
    }
}

fn refusal(export: &ModelExport<'_>) -> String {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model");
    let error = export.write(&path, |_| Ok::<_, Error>(())).unwrap_err();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "something is left behind");
    error.to_string()
}

fn load(model: &Path) -> CpuEncoder {
    CpuEncoder::load(model, &Default::default()).unwrap()
}

const RAW: EncodeOptions =
    EncodeOptions { prompt: Prompt::None, normalize: Some(false), max_batch_tokens: 200 };

fn raw(encoder: &CpuEncoder, texts: &[String]) -> Vec<f32> {
    encoder.encode(&borrowed(texts), &RAW, &Silent).unwrap().as_slice().to_vec()
}

/// Vectors with the model's own prompts and normalisation.
fn embeddings(model: &Path, texts: &[String]) -> Vec<f32> {
    let encoder = load(model);
    let texts = borrowed(texts);
    let default = encoder.encode(&texts, &EncodeOptions::default(), &Silent).unwrap();
    let query = encoder.embed(&texts, TextRole::Query).unwrap();
    let document = encoder.embed(&texts, TextRole::Document).unwrap();
    [default, query, document].iter().flat_map(|part| part.as_slice().to_vec()).collect()
}

/// The tensors of a file by name: type, shape, bytes.
fn tensors(path: &Path) -> BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)> {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let part = |(name, view): (&str, safetensors::tensor::TensorView<'_>)| {
        (name.to_owned(), (view.dtype(), view.shape().to_vec(), view.data().to_vec()))
    };
    file.iter().map(part).collect()
}

fn values(dtype: Dtype, bytes: &[u8]) -> Vec<f32> {
    let half = |read: fn([u8; 2]) -> f32| bytes.as_chunks().0.iter().copied().map(read).collect();
    match dtype {
        Dtype::F16 => half(|bytes| f16::from_le_bytes(bytes).to_f32()),
        Dtype::BF16 => half(|bytes| bf16::from_le_bytes(bytes).to_f32()),
        _ => bytes.as_chunks().0.iter().copied().map(f32::from_le_bytes).collect(),
    }
}

/// Rounded to a type and back.
fn rounded(dtype: Dtype, values: &[f32]) -> Vec<f32> {
    let round = |value: f32| match dtype {
        Dtype::F16 => f16::from_f32(value).to_f32(),
        Dtype::BF16 => bf16::from_f32(value).to_f32(),
        _ => value,
    };
    values.iter().copied().map(round).collect()
}

/// A copy of a model with all weights in f32.
fn in_f32(base: &Path) -> TemporaryModel {
    let copy = TemporaryModel::copy_of(base);
    for entry in fs::read_dir(copy.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            edit_weights(&path, |tensors| {
                for StoredTensor { dtype, data, .. } in tensors {
                    let wide = values(*dtype, data);
                    *data = wide.iter().flat_map(|value| value.to_le_bytes()).collect();
                    *dtype = Dtype::F32;
                }
            });
        }
    }
    copy
}

#[test]
fn a_model_exported_unchanged_has_the_vectors_prompts_and_weights_of_its_base() {
    for name in MODELS {
        let base = model(name);
        let exported = Exported::from(&export(&base));
        let texts = some_texts(&base);
        assert_eq!(embeddings(&exported.path(), &texts), embeddings(&base, &texts), "{name}");
        assert_eq!(load(&exported.path()).max_tokens(), load(&base).max_tokens(), "{name}");

        let written = tensors(&exported.path().join("model.safetensors"));
        let mut files =
            Vec::from_iter(fs::read_dir(&base).unwrap().map(|file| file.unwrap().path()));
        files.retain(|file| file.extension().is_some_and(|extension| extension == "safetensors"));
        let mut count = 0;
        for (name, tensor) in files.iter().flat_map(|file| tensors(file)) {
            if name != "lm_head.weight" {
                let name = name.strip_prefix("model.").unwrap_or(&name);
                assert_eq!(written.get(name), Some(&tensor), "{name}");
                count += 1;
            }
        }
        assert_eq!(written.len(), count, "{name}");
        // Whoever may read one file may read all.
        let mode = |file: &str| exported.path().join(file).metadata().unwrap().permissions();
        assert_eq!(mode("model.safetensors"), mode("modules.json"));
        let bytes = fs::read(exported.path().join("model.safetensors")).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(header.metadata().as_ref().unwrap()["format"], "pt");
    }
}

/// What text-embeddings-inference 1.9 and sentence-transformers before 6 need to find.
#[test]
fn the_layout_is_the_one_that_every_version_reads() {
    let exported = Exported::from(&export(&model("qwen2-dense")));
    let module = |idx: usize, path: &str, class: &str| {
        let class = format!("sentence_transformers.models.{class}");
        json!({ "idx": idx, "name": idx.to_string(), "path": path, "type": class })
    };
    let modules = [
        module(0, "", "Transformer"),
        module(1, "1_Pooling", "Pooling"),
        module(2, "2_Dense", "Dense"),
        module(3, "3_Normalize", "Normalize"),
    ];
    assert_eq!(exported.json("modules.json"), json!(modules));
    assert_eq!(
        exported.json("1_Pooling/config.json"),
        json!({
            "word_embedding_dimension": 20,
            "pooling_mode_cls_token": false,
            "pooling_mode_mean_tokens": false,
            "pooling_mode_max_tokens": false,
            "pooling_mode_mean_sqrt_len_tokens": false,
            "pooling_mode_weightedmean_tokens": false,
            "pooling_mode_lasttoken": true,
            "include_prompt": true,
        })
    );
    let dense = exported.json("2_Dense/config.json");
    let mut keys = Vec::from_iter(dense.as_object().unwrap().keys());
    keys.sort_unstable();
    assert_eq!(keys, ["activation_function", "bias", "in_features", "out_features"]);
    assert!(exported.path().join("3_Normalize").is_dir());
    for (name, class) in [
        ("small-bert", "BertModel"),
        ("roberta", "RobertaModel"),
        ("qwen2-bidirectional", "Qwen2Model"),
        ("qwen3-bias", "Qwen3Model"),
    ] {
        let exported = Exported::from(&export(&model(name)));
        let config = exported.json("config.json");
        assert_eq!(config["architectures"], json!([class]), "{name}");
        let mut base: Value =
            serde_json::from_slice(&fs::read(model(name).join("config.json")).unwrap()).unwrap();
        base["architectures"] = config["architectures"].clone();
        assert_eq!(config, base, "{name}");
    }
}

#[test]
fn prompts_similarity_lower_case_and_the_length_limit_are_kept() {
    let base = TemporaryModel::small_bert();
    base.edit("config_sentence_transformers.json", |settings| {
        settings["prompts"] = json!({ "query": "ask: ", "passage": "told: ", "other": null });
        settings["default_prompt_name"] = "other".into();
        settings["similarity_fn_name"] = "dot".into();
    });
    base.edit("sentence_bert_config.json", |settings| settings["do_lower_case"] = true.into());
    let exported = Exported::from(&ModelExport { max_tokens: 9, ..export(base.path()) });
    let settings = exported.json("config_sentence_transformers.json");
    assert_eq!(
        settings["prompts"],
        json!({ "query": "ask: ", "passage": "told: ", "document": "told: ", "other": "" })
    );
    assert_eq!(settings["default_prompt_name"], "other");
    assert_eq!(settings["similarity_fn_name"], "dot");
    let limits = json!({ "max_seq_length": 9, "do_lower_case": true });
    assert_eq!(exported.json("sentence_bert_config.json"), limits);
    let (cut, written) = (
        ModelDirectory::open(base.path(), Some(9)).unwrap(),
        ModelDirectory::open(&exported.path(), None).unwrap(),
    );
    for prompt in ["query", "document", "other"] {
        let prompt = Prompt::Named(prompt.to_owned());
        let sequences = written.tokenize(&borrowed(&texts()), &prompt).unwrap();
        assert_eq!(sequences, cut.tokenize(&borrowed(&texts()), &prompt).unwrap());
        assert_eq!(sequences.iter().map(Vec::len).max(), Some(9));
    }
}

#[test]
fn a_bare_transformers_directory_gets_the_modules_that_it_is_loaded_with() {
    for (name, class, mode) in [
        ("small-bert", "BertForMaskedLM", "pooling_mode_mean_tokens"),
        ("qwen2-last-token", "Qwen2ForCausalLM", "pooling_mode_lasttoken"),
        ("qwen2-last-token", "Qwen2Model", "pooling_mode_mean_tokens"),
    ] {
        let base = TemporaryModel::copy_of(&model(name));
        for file in
            ["modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"]
        {
            base.remove(file);
        }
        base.edit("config.json", |config| config["architectures"] = json!([class]));
        let exported = Exported::from(&export(base.path()));
        assert_eq!(exported.json("1_Pooling/config.json")[mode], true, "{name} {class}");
        assert_eq!(exported.json("modules.json").as_array().unwrap().len(), 2);
        let texts = some_texts(base.path());
        assert_eq!(embeddings(&exported.path(), &texts), embeddings(base.path(), &texts));
    }
}

#[test]
fn a_task_head_is_left_out() {
    let base = TemporaryModel::small_bert();
    base.edit_weights(|tensors| {
        tensors.iter_mut().for_each(|tensor| tensor.name.insert_str(0, "bert."));
        tensors.push(StoredTensor {
            name: "cls.predictions.bias".to_owned(),
            dtype: Dtype::F32,
            shape: vec![1],
            data: vec![0; 4],
        });
    });
    let exported = Exported::from(&export(base.path()));
    assert_eq!(
        tensors(&exported.path().join("model.safetensors")),
        tensors(&small_bert().join("model.safetensors"))
    );
}

const ADAPTERS: [(&str, &str); 9] = [
    ("names", "small-bert"),
    ("all-linear-rank-stabilized", "small-bert"),
    ("embeddings", "small-bert"),
    ("language-model", "small-bert"),
    ("wrapped-pipeline", "small-bert"),
    ("roberta", "roberta"),
    // It brings the base's embeddings along, in f32.
    ("qwen2-embeddings", "qwen2-last-token"),
    ("qwen2-language-model", "qwen2-last-token"),
    ("qwen2-shards", "qwen2-bidirectional"),
];

#[test]
fn an_exported_adapter_has_the_vectors_of_the_adapter_and_of_peft() {
    for (name, base) in ADAPTERS {
        let base = in_f32(&model(base));
        let read = Adapter::read(&adapter(name)).unwrap();
        let exported = Exported::from(&ModelExport { adapter: Some(&read), ..export(base.path()) });
        let mut texts = some_texts(base.path());
        if texts == fixtures::texts() {
            texts = texts.into_iter().step_by(4).collect();
        }
        let merged = raw(&load(&exported.path()), &texts);
        let path = adapter(name);
        let loaded = CpuEncoder::load_with_adapter(base.path(), &path, &Default::default());
        assert_eq!(merged, raw(&loaded.unwrap(), &texts), "{name}");
        let theirs = reference("lora-vectors.safetensors", &format!("{name} merged"));
        let difference = largest_difference(&merged, &theirs);
        assert!(difference <= 2e-5, "{name}: {difference:e}");
    }
}

#[test]
fn merged_weights_are_computed_in_f32_and_stored_in_the_type_of_the_base() {
    let mut narrow = 0;
    for (name, base) in ADAPTERS {
        let read = Adapter::read(&adapter(name)).unwrap();
        let weights = |base: &Path| {
            let export = ModelExport { adapter: Some(&read), ..export(base) };
            tensors(&Exported::from(&export).path().join("model.safetensors"))
        };
        let wide = weights(in_f32(&model(base)).path());
        for (tensor, (dtype, shape, bytes)) in weights(&model(base)) {
            let (_, wide_shape, exact) = &wide[&tensor];
            assert_eq!(&shape, wide_shape);
            let expected = rounded(dtype, &values(Dtype::F32, exact));
            assert_eq!(values(dtype, &bytes), expected, "{name}: {tensor}");
            assert_eq!(dtype == Dtype::F32, base == "small-bert", "{name}: {tensor}");
            narrow += usize::from(dtype != Dtype::F32);
        }
    }
    assert!(narrow > 50, "{narrow}");
}

#[test]
fn changed_weights_are_read_back_and_no_others_change() {
    for (name, dtype) in
        [("small-bert", Dtype::F32), ("roberta", Dtype::F16), ("qwen2-bidirectional", Dtype::BF16)]
    {
        let base = model(name);
        let unchanged = tensors(&Exported::from(&export(&base)).path().join("model.safetensors"));
        let chosen: Vec<_> = unchanged.iter().step_by(3).collect();
        let new: Vec<(&str, Vec<f32>)> = chosen
            .iter()
            .map(|(name, (_, shape, _))| {
                let count = shape.iter().product::<usize>();
                (name.as_str(), (0..count).map(|index| (index as f32).sin()).collect())
            })
            .collect();
        let changed = new.iter().map(|(name, values)| (*name, values.as_slice())).collect();
        let exported = Exported::from(&ModelExport { changed, ..export(&base) });
        let written = tensors(&exported.path().join("model.safetensors"));
        assert_eq!(written.len(), unchanged.len());
        let new: BTreeMap<&str, Vec<f32>> = new.into_iter().collect();
        for (tensor, before) in &unchanged {
            let now = &written[tensor];
            match new.get(tensor.as_str()) {
                Some(new) => {
                    assert_eq!((now.0, &now.1), (dtype, &before.1), "{name}: {tensor}");
                    assert_eq!(values(dtype, &now.2), rounded(dtype, new), "{name}: {tensor}");
                }
                None => assert_eq!(now, before, "{name}: {tensor}"),
            }
        }
        load(&exported.path());
    }
}

#[test]
fn what_the_training_engine_has_after_full_fine_tuning_is_what_the_export_computes() {
    let base = small_bert();
    let directory = ModelDirectory::open(&base, None).unwrap();
    let options = Default::default();
    let (architecture, pooling) = (directory.architecture(), directory.pooling());
    let weights = directory.weights();
    let mut engine =
        TrainingEngine::load(weights, architecture, pooling, Trainable::Everything, &options)
            .unwrap();
    for parameter in engine.parameters() {
        let values = parameter.value.iter_mut().enumerate();
        values.for_each(|(index, value)| *value += 0.02 * (index as f32).sin());
    }
    engine.parameters_changed();
    let texts = texts();
    let sequences = directory.tokenize(&borrowed(&texts), &Prompt::None).unwrap();
    let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
    let expected = engine.encode(&sequences, None).unwrap();
    let parameters = engine.parameters();
    let changed = parameters.iter().map(|parameter| (parameter.name, &*parameter.value)).collect();
    let exported = Exported::from(&ModelExport { changed, ..export(&base) });
    let found = raw(&load(&exported.path()), &texts);
    assert!(largest_difference(&found, &expected) <= 2e-5);
    assert!(largest_difference(&found, &raw(&load(&base), &texts)) > 0.1, "it must matter");
}

#[test]
fn what_does_not_fit_the_base_is_refused_and_leaves_nothing_behind() {
    let base = small_bert();
    let values = [0.5; 32];
    let changed = |name: &'static str, count: usize| ModelExport {
        changed: BTreeMap::from([(name, &values[..count])]),
        ..export(&base)
    };
    let error = refusal(&changed("encoder.layer.2.output.dense.bias", 32));
    assert!(error.contains("no weight `encoder.layer.2.output.dense.bias`"), "{error}");
    let error = refusal(&changed("encoder.layer.1.output.dense.bias", 31));
    assert!(error.contains("of the shape [32] cannot take 31 values"), "{error}");

    let names = Adapter::read(&adapter("names")).unwrap();
    let weight = "encoder.layer.0.attention.self.query.weight";
    let whole = vec![0.5; 32 * 32];
    let both = ModelExport {
        changed: BTreeMap::from([(weight, whole.as_slice())]),
        adapter: Some(&names),
        ..export(&base)
    };
    let error = refusal(&both);
    assert!(error.contains("cannot be changed and take an adapter"), "{error}");
    let other = architecture("qwen2-last-token");
    let error = refusal(&ModelExport { adapter: Some(&names), ..export(&other) });
    assert!(error.contains("it is for none of the model's layers"), "{error}");

    for max_tokens in [0, 100_000] {
        let error = refusal(&ModelExport { max_tokens, ..export(&base) });
        assert!(error.contains(&format!("tokens, not {max_tokens}")), "{error}");
    }

    let damaged = TemporaryModel::small_bert();
    damaged.edit_weights(|tensors| {
        tensors.retain(|tensor| tensor.name != "encoder.layer.1.output.dense.bias");
        tensors[0].shape.push(1);
    });
    let error = refusal(&ModelExport { base: damaged.path(), ..export(&base) });
    assert!(error.contains("missing tensor `encoder.layer.1.output.dense.bias`"), "{error}");
    assert!(error.contains("has the shape [32, 1] instead of [32]"), "{error}");
}

#[test]
fn a_model_is_replaced_whole_or_stays() {
    let base = small_bert();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model");
    let export = export(&base);
    type Anything = Box<dyn std::error::Error>;
    let write = |text: &'static str, then: Result<(), &'static str>| {
        export.write(&path, |folder| -> Result<(), Anything> {
            fs::write(folder.join("README.md"), text)?;
            Ok(then?)
        })
    };
    write("first", Ok(())).unwrap();
    let error = write("second", Err("no space left")).unwrap_err();
    assert_eq!(error.to_string(), "no space left");
    let readme = || fs::read_to_string(path.join("README.md")).unwrap();
    assert_eq!(readme(), "first");
    load(&path);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

    write("third", Ok(())).unwrap();
    assert_eq!(readme(), "third");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

    // Somebody's other files are not a model.
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("thesis.tex"), "").unwrap();
    let error = export.write(&other, |_| Ok::<_, Error>(())).unwrap_err();
    assert!(error.to_string().contains("is not replaced"), "{error}");
    assert!(other.join("thesis.tex").is_file());
}
