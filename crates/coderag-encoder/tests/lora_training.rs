//! LoRA layers as training sees them, on a backend that differentiates.

#![allow(clippy::unwrap_used)]

mod fixtures;

use std::collections::BTreeMap;

use burn::module::{AutodiffModule as _, Module as _, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Int, Tensor};
use burn_autodiff::Autodiff;
use coderag_encoder::lora::{
    Adapter, AdapterConfig, LayerKind, LoraModel as _, ModulePattern, ModuleSelection,
};
use coderag_encoder::{Bert, BertConfig, CpuBackend, TokenBatch};
use fixtures::{largest_difference, randomised};
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
