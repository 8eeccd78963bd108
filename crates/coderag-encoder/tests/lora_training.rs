//! LoRA layers as training sees them, on a backend that differentiates.

#![allow(clippy::unwrap_used)]

mod fixtures;

use std::collections::BTreeMap;

use burn::module::{AutodiffModule as _, Module as _, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Int, Tensor};
use burn_autodiff::Autodiff;
use coderag_core::Silent;
use coderag_encoder::engine::{Trainable, TrainingEngine};
use coderag_encoder::lora::{
    Adapter, AdapterConfig, BlockSelection, LayerKind, LoraModel as _, LoraPlace, ModulePattern,
    ModuleSelection,
};
use coderag_encoder::{
    Bert, BertConfig, CpuBackend, CpuEncoder, EncodeOptions, ModelDirectory, Prompt, TokenBatch,
};
use fixtures::{
    adapter, architecture, architecture_texts, borrowed, largest_difference, randomised, reference,
    small_bert, texts,
};
use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;

type Training = Autodiff<CpuBackend>;

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

/// PEFT finds what a selection chooses in its own BERT, which has a pooler.
#[test]
fn a_new_adapter_names_the_layers_that_it_has_and_not_the_pooler() {
    let places = BertConfig { num_hidden_layers: 2, ..tiny_config() }
        .init::<CpuBackend>(&Default::default())
        .lora_places();
    let names = |config: AdapterConfig| {
        let adapter = Adapter::initial(config, &places, 1).unwrap();
        for LoraPlace { module, kind, .. } in &places {
            let has = adapter.layers().contains_key(module);
            assert_eq!(adapter.config().targets(module, *kind), has, "{module}");
        }
        assert!(!adapter.config().targets("pooler.dense", LayerKind::Linear));
        match &adapter.config().target_modules {
            ModuleSelection::Names(names) => names.clone(),
            other => vec![format!("{other:?}")],
        }
    };
    let all = AdapterConfig::new(2, 4.0, ModuleSelection::AllLinear);
    assert_eq!(names(all), ["intermediate.dense", "key", "output.dense", "query", "value"]);
    let dense = AdapterConfig::new(2, 4.0, ModuleSelection::names(["dense"]));
    assert_eq!(names(dense.clone()), ["intermediate.dense", "output.dense"]);
    // These do not choose it.
    let query = AdapterConfig::new(2, 4.0, ModuleSelection::names(["query", "output.dense"]));
    assert_eq!(names(query), ["query", "output.dense"]);
    let blocks = BlockSelection::new(vec![1], vec!["layer".to_owned()]).unwrap();
    assert_eq!(names(AdapterConfig { blocks: Some(blocks), ..dense }), ["dense"]);
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
    let weights = Tensor::<Training, 1, Int>::arange(0..56, &device).float().sin();
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
    impl ModuleMapper<Training> for Nudge {
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
    impl ModuleMapper<Training> for Step {
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

/// A model with its texts for an adapter of `scripts/reference_lora.py`.
fn base_of(name: &str) -> (ModelDirectory, Vec<String>) {
    let (path, texts) = match name {
        "roberta" => (architecture("roberta"), architecture_texts()),
        _ => (small_bert(), texts().into_iter().step_by(4).collect()),
    };
    (ModelDirectory::open(&path, None).unwrap(), texts)
}

fn engine(model: &ModelDirectory, adapter: &Adapter) -> TrainingEngine {
    let layers = adapter.training_layers(&model.lora_places()).unwrap();
    let (architecture, pooling) = (model.architecture(), model.pooling());
    let trainable = Trainable::Adapters(layers);
    let options = Default::default();
    TrainingEngine::load(model.weights(), architecture, pooling, trainable, &options).unwrap()
}

fn vectors(engine: &TrainingEngine, model: &ModelDirectory, texts: &[String]) -> Vec<f32> {
    let sequences = model.tokenize(&borrowed(texts), &Prompt::None).unwrap();
    let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
    engine.encode(&sequences, None).unwrap()
}

/// With nothing before the modules' paths and with other models' paths, and with a layer of the pooler.
const TRAINABLE: [&str; 7] = [
    "names",
    "all-linear-rank-stabilized",
    "blocks",
    "language-model",
    "sentence-transformers",
    "wrapped-pipeline",
    "pattern",
];

#[test]
fn the_training_engine_has_the_vectors_of_peft_with_its_adapters() {
    for name in TRAINABLE {
        let (model, texts) = base_of(name);
        let engine = engine(&model, &Adapter::read(&adapter(name)).unwrap());
        let theirs = reference("lora-vectors.safetensors", &format!("{name} live"));
        let difference = largest_difference(&vectors(&engine, &model, &texts), &theirs);
        assert!(difference <= 2e-5, "{name}: {difference:e}");
    }
}

#[test]
fn what_the_training_engine_made_of_an_adapter_is_an_adapter_again() {
    for name in TRAINABLE {
        let (model, texts) = base_of(name);
        let read = Adapter::read(&adapter(name)).unwrap();
        let mut engine = engine(&model, &read);
        let before = vectors(&engine, &model, &texts);
        for parameter in engine.parameters() {
            let values = parameter.value.iter_mut().enumerate();
            values.for_each(|(index, value)| *value += 0.1 * (index as f32).sin());
        }
        engine.parameters_changed();
        let expected = vectors(&engine, &model, &texts);
        assert!(largest_difference(&expected, &before) > 0.01, "{name} must matter");

        let parameters = engine.parameters();
        let named = parameters.iter().map(|parameter| (parameter.name, &*parameter.value));
        let trained = read.with_trained(named).unwrap();
        let modules = |adapter: &Adapter| Vec::from_iter(adapter.layers().keys().cloned());
        assert_eq!(modules(&trained), modules(&read));
        if name == "all-linear-rank-stabilized" {
            assert_eq!(trained.layers()["pooler.dense"], read.layers()["pooler.dense"]);
        }
        let folder = TempDir::new().unwrap();
        trained.write(folder.path()).unwrap();
        let options = Default::default();
        let encoder = CpuEncoder::load_with_adapter(model.path(), folder.path(), &options).unwrap();
        let raw = EncodeOptions {
            prompt: Prompt::None,
            normalize: Some(false),
            ..EncodeOptions::default()
        };
        let found = encoder.encode(&borrowed(&texts), &raw, &Silent).unwrap();
        let difference = largest_difference(found.as_slice(), &expected);
        assert!(difference <= 5e-5, "{name}: {difference:e}");
    }
}

#[test]
fn trained_embeddings_have_the_names_of_peft() {
    let read = Adapter::read(&adapter("embeddings")).unwrap();
    let doubled = |values: &[f32]| values.iter().map(|value| 2.0 * value).collect::<Vec<f32>>();
    let mut parameters = Vec::new();
    for (module, weights) in read.layers() {
        let suffixes = match weights.kind() {
            LayerKind::Linear => [".lora_A.weight", ".lora_B.weight"],
            LayerKind::Embedding => [".lora_embedding_A", ".lora_embedding_B"],
        };
        for (suffix, values) in suffixes.into_iter().zip([weights.a(), weights.b()]) {
            parameters.push((format!("{module}{suffix}"), doubled(values)));
        }
    }
    let named = parameters.iter().map(|(name, values)| (name.as_str(), values.as_slice()));
    let trained = read.with_trained(named).unwrap();
    for (module, weights) in read.layers() {
        let now = &trained.layers()[module];
        assert_eq!((now.a(), now.b()), (&*doubled(weights.a()), &*doubled(weights.b())));
    }
}

#[test]
fn an_adapter_that_the_training_engine_cannot_have_or_did_not_make_is_refused() {
    let (model, _) = base_of("embeddings");
    let embeddings = Adapter::read(&adapter("embeddings")).unwrap();
    let error = embeddings.training_layers(&model.lora_places()).unwrap_err().to_string();
    assert!(error.contains("`embeddings.word_embeddings`"), "{error}");
    let (other, _) = base_of("roberta");
    let names = Adapter::read(&adapter("names")).unwrap();
    assert!(names.training_layers(&other.lora_places()).is_err());

    let mut engine = engine(&model, &names);
    let parameters = engine.parameters();
    let named: Vec<(&str, &[f32])> =
        parameters.iter().map(|parameter| (parameter.name, &*parameter.value)).collect();
    let refusal = |named: &[(&str, &[f32])]| {
        names.with_trained(named.iter().copied()).unwrap_err().to_string()
    };
    let (last, rest) = named.split_last().unwrap();
    let error = refusal(rest);
    assert!(error.contains(&format!("missing parameter `{}`", last.0)), "{error}");
    let error = refusal(&[rest, &[(last.0, &last.1[1..])]].concat());
    assert!(error.contains(last.0) && error.contains("values instead of"), "{error}");
    let unknown = "encoder.layer.0.attention.self.key.lora_A.weight";
    let error = refusal(&[&named[..], &[(unknown, last.1)]].concat());
    assert!(error.contains(&format!("unexpected parameter `{unknown}`")), "{error}");
    let error = refusal(&[("head.lora_A.weight", last.1)]);
    assert!(error.contains("it is for none of the model's layers"), "{error}");
}

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
        let places: Vec<_> = tiny_config().init::<CpuBackend>(&Default::default()).lora_places();
        let adapter = Adapter::initial(config, &places, seed).unwrap();
        let adapter = randomised(&adapter, seed);
        let folder = TempDir::new().unwrap();
        adapter.write(folder.path()).unwrap();
        let read = Adapter::read(folder.path()).unwrap();
        prop_assert_eq!(read.config(), adapter.config());
        prop_assert_eq!(read.layers(), adapter.layers());
    }
}
