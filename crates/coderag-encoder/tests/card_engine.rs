//! BERT on a card against the engine on the processor, whose gradients are those of burn's automatic differentiation.
//! The card is the software one: the kernels are the same.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use coderag_encoder::card::{CardEngine, CardOptions, CardStep};
use coderag_encoder::device::CudaCard;
use coderag_encoder::engine::{
    AdapterLayer, Trainable, TrainingEngine, TrainingOptions, TrainingPrecision,
};
use coderag_encoder::{Architecture, BertConfig, Error, Pooling};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::json;
use tempfile::TempDir;

/// Hidden size, heads, size inside the feed-forward network, layers.
type Sizes = (usize, usize, usize, usize);
/// Heads of 16, 32 and 64 go through tensor cores; those of 24 do not.
const SIZES: [Sizes; 4] = [(64, 4, 136, 3), (64, 2, 128, 2), (128, 2, 256, 2), (48, 2, 96, 2)];
const LENGTHS: [usize; 9] = [3, 1, 64, 17, 33, 70, 2, 130, 5];

/// Numbers from -1 to 1 (Numerical Recipes' generator).
struct Random(u32);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as f32 / (1 << 23) as f32 - 1.0
    }

    fn values(&mut self, count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|_| scale * self.next()).collect()
    }

    fn below(&mut self, bound: u32) -> u32 {
        ((self.next() + 1.0) / 2.0 * bound as f32) as u32 % bound
    }
}

/// A model with random weights in a file.
struct Model {
    _folder: TempDir,
    weights: PathBuf,
    architecture: Architecture,
    config: BertConfig,
}

impl Model {
    fn new((hidden, heads, inner, layers): Sizes) -> Self {
        let config: BertConfig = serde_json::from_value(json!({
            "vocab_size": 60, "hidden_size": hidden, "num_hidden_layers": layers,
            "num_attention_heads": heads, "intermediate_size": inner,
            "max_position_embeddings": 140,
        }))
        .unwrap();
        let mut random = Random(11);
        let mut tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)> = BTreeMap::new();
        let mut add = |name: String, shape: Vec<usize>| {
            let offset = if name.ends_with("LayerNorm.weight") { 1.0 } else { 0.0 };
            let scale = if shape.len() == 2 { 0.25 } else { 0.1 };
            let values = random.values(shape.iter().product(), scale);
            tensors.insert(name, (shape, values.iter().map(|it| it + offset).collect()));
        };
        for (table, rows) in
            [("word_embeddings", 60), ("position_embeddings", 140), ("token_type_embeddings", 2)]
        {
            add(format!("embeddings.{table}.weight"), vec![rows, hidden]);
        }
        let mut norms = vec!["embeddings.LayerNorm".to_owned()];
        for layer in 0..layers {
            for (name, sizes) in [
                ("attention.self.query", [hidden, hidden]),
                ("attention.self.key", [hidden, hidden]),
                ("attention.self.value", [hidden, hidden]),
                ("attention.output.dense", [hidden, hidden]),
                ("intermediate.dense", [inner, hidden]),
                ("output.dense", [hidden, inner]),
            ] {
                add(format!("encoder.layer.{layer}.{name}.weight"), sizes.to_vec());
                add(format!("encoder.layer.{layer}.{name}.bias"), vec![sizes[0]]);
            }
            norms.push(format!("encoder.layer.{layer}.attention.output.LayerNorm"));
            norms.push(format!("encoder.layer.{layer}.output.LayerNorm"));
        }
        for norm in norms {
            add(format!("{norm}.weight"), vec![hidden]);
            add(format!("{norm}.bias"), vec![hidden]);
        }
        let folder = TempDir::new().unwrap();
        let weights = folder.path().join("model.safetensors");
        let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
            .into_iter()
            .map(|(name, (shape, values))| {
                (name, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
            })
            .collect();
        let views = bytes.iter().map(|(name, shape, bytes)| {
            (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap())
        });
        safetensors::serialize_to_file(views, None, &weights).unwrap();
        let architecture = Architecture::Bert(config.clone());
        Self { _folder: folder, weights, architecture, config }
    }

    /// Adapters of different ranks for most layers.
    fn adapters(&self) -> Vec<AdapterLayer> {
        let mut random = Random(5);
        let (hidden, inner) = (self.config.hidden_size, self.config.intermediate_size);
        let mut adapters = Vec::new();
        // The first layer stays as it is.
        for layer in 1..self.config.num_hidden_layers {
            for (name, [outputs, inputs], rank) in [
                ("attention.self.query", [hidden, hidden], 4),
                ("attention.self.value", [hidden, hidden], 8),
                ("attention.output.dense", [hidden, hidden], 3),
                ("intermediate.dense", [inner, hidden], 8),
                ("output.dense", [hidden, inner], 5),
            ] {
                adapters.push(AdapterLayer {
                    layer: format!("encoder.layer.{layer}.{name}"),
                    rank,
                    scale: 1.5,
                    a: random.values(rank * inputs, 0.2),
                    b: random.values(rank * outputs, 0.2),
                });
            }
        }
        adapters
    }

    fn on_card(&self, trainable: Option<Trainable>, options: CardOptions) -> CardEngine {
        self.try_on_card(Pooling::Mean, trainable, options).unwrap()
    }

    fn try_on_card(
        &self,
        pooling: Pooling,
        trainable: Option<Trainable>,
        options: CardOptions,
    ) -> Result<CardEngine, Error> {
        coderag_software_card::install().unwrap();
        let card = CudaCard::open(0).unwrap();
        CardEngine::load(&card, &self.weights, &self.architecture, pooling, trainable, options)
    }

    fn on_processor(&self, pooling: Pooling, trainable: Trainable) -> TrainingEngine {
        let (weights, architecture) = (&self.weights, &self.architecture);
        let options = TrainingOptions::default();
        TrainingEngine::load(weights, architecture, pooling, trainable, &options).unwrap()
    }

    fn sequences(&self) -> Vec<Vec<u32>> {
        let mut random = Random(23);
        let sequence = |length: &usize| (0..*length).map(|_| random.below(60)).collect();
        LENGTHS.iter().map(sequence).collect()
    }
}

fn borrowed(sequences: &[Vec<u32>]) -> Vec<&[u32]> {
    sequences.iter().map(Vec::as_slice).collect()
}

/// A gradient of vectors that says nothing in particular.
fn gradient_of(count: usize) -> Vec<f32> {
    Random(77).values(count, 1.0)
}

fn length(values: &[f32]) -> f64 {
    values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt()
}

/// How far values are from others, as a part of their length.
fn distance(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let differences: Vec<f32> =
        found.iter().zip(expected).map(|(one, other)| one - other).collect();
    length(&differences) / length(expected).max(1e-6)
}

fn largest_difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max)
}

/// The gradients of the engine's parameters. AdamW's first moment is the gradient where nothing of it is remembered;
/// the step is so small that the parameters stay.
fn gradients(engine: &mut CardEngine) -> BTreeMap<String, Vec<f32>> {
    engine.step(&STEP_THAT_KEEPS_GRADIENTS).unwrap();
    let parameters = engine.parameters().unwrap();
    parameters.into_iter().map(|it| (it.name, it.moments.unwrap()[0].clone())).collect()
}

const STEP_THAT_KEEPS_GRADIENTS: CardStep = CardStep {
    step: 0,
    learning_rate: 0.0,
    betas: [0.0, 0.999],
    epsilon: 1e-8,
    weight_decay: 0.0,
    max_gradient_norm: f64::INFINITY,
};

/// The processor's gradients by name.
fn expected_gradients(engine: &mut TrainingEngine) -> BTreeMap<String, Vec<f32>> {
    let parameters = engine.parameters();
    parameters.iter().map(|it| (it.name.to_owned(), it.gradient.to_vec())).collect()
}

fn trainables(model: &Model) -> [Trainable; 2] {
    [Trainable::Everything, Trainable::Adapters(model.adapters())]
}

#[test]
fn vectors_and_gradients_are_the_processors() {
    for sizes in SIZES {
        let model = Model::new(sizes);
        let sequences = model.sequences();
        let sequences = borrowed(&sequences);
        for trainable in trainables(&model) {
            let mut reference = model.on_processor(Pooling::Mean, trainable.clone());
            let (expected, tape) = reference.forward(&sequences, 0).unwrap();
            let gradient = gradient_of(expected.len());
            reference.backward(tape, &gradient).unwrap();
            let expected_gradients = expected_gradients(&mut reference);
            for (precision, of_vectors, of_gradients) in
                [(TrainingPrecision::F32, 1e-5, 1e-4), (TrainingPrecision::Bf16, 0.02, 0.06)]
            {
                for recompute in [false, true] {
                    if recompute && sizes != SIZES[0] {
                        continue;
                    }
                    let options = CardOptions { precision, recompute };
                    let mut engine = model.on_card(Some(trainable.clone()), options);
                    let found = engine.forward(&sequences).unwrap();
                    assert!(distance(&found, &expected) < of_vectors, "{sizes:?} {options:?}");
                    engine.backward(&gradient).unwrap();
                    let found = gradients(&mut engine);
                    assert!(found.keys().eq(expected_gradients.keys()));
                    for (name, expected) in &expected_gradients {
                        let distance = distance(&found[name], expected);
                        // A key's bias adds the same to all scores of a query.
                        let nothing = name.ends_with("key.bias") && length(expected) < 1e-3;
                        assert!(
                            distance < of_gradients || nothing,
                            "{sizes:?} {options:?} {name}: {distance}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn poolings_are_the_processors() {
    let model = Model::new(SIZES[1]);
    let sequences = model.sequences();
    let sequences = borrowed(&sequences);
    for pooling in [Pooling::Mean, Pooling::Cls, Pooling::LastToken] {
        let mut reference = model.on_processor(pooling, Trainable::Everything);
        let (expected, tape) = reference.forward(&sequences, 0).unwrap();
        let gradient = gradient_of(expected.len());
        reference.backward(tape, &gradient).unwrap();
        let trainable = Some(Trainable::Everything);
        let mut engine = model.try_on_card(pooling, trainable, CardOptions::default()).unwrap();
        let found = engine.forward(&sequences).unwrap();
        assert!(largest_difference(&found, &expected) < 1e-4, "{pooling:?}");
        engine.backward(&gradient).unwrap();
        let found = gradients(&mut engine);
        let name = "embeddings.word_embeddings.weight";
        let distance = distance(&found[name], &expected_gradients(&mut reference)[name]);
        assert!(distance < 1e-4, "{pooling:?} {distance}");
    }
    let refused = model.try_on_card(Pooling::Max, None, CardOptions::default()).unwrap_err();
    assert!(refused.to_string().contains("`max`"), "{refused}");
}

/// `torch.optim.AdamW` with `clip_grad_norm_`, in f64.
struct AdamW {
    value: Vec<f64>,
    moments: [Vec<f64>; 2],
}

impl AdamW {
    fn step(&mut self, gradient: &[f32], factor: f64, decay: f64, step: &CardStep) {
        let [beta1, beta2] = step.betas;
        let correction = |beta: f64| 1.0 - beta.powi(step.step as i32 + 1);
        for (index, gradient) in gradient.iter().enumerate() {
            let gradient = factor * f64::from(*gradient);
            let [first, second] = self.moments.each_mut().map(|moments| &mut moments[index]);
            *first = beta1 * *first + (1.0 - beta1) * gradient;
            *second = beta2 * *second + (1.0 - beta2) * gradient * gradient;
            let deviation = (*second / correction(beta2)).sqrt() + step.epsilon;
            let value = &mut self.value[index];
            *value -= step.learning_rate * decay * *value;
            *value -= step.learning_rate * *first / correction(beta1) / deviation;
        }
    }
}

#[test]
fn the_optimizer_is_adamw() {
    let model = Model::new(SIZES[1]);
    let sequences = model.sequences();
    let sequences = borrowed(&sequences);
    let mut engine = model.on_card(Some(Trainable::Everything), CardOptions::default());
    let mut reference = model.on_processor(Pooling::Mean, Trainable::Everything);
    let decays: BTreeMap<String, bool> =
        engine.trained().map(|(name, _, decays)| (name.to_owned(), decays)).collect();
    let mut expected: BTreeMap<String, AdamW> = BTreeMap::new();
    for number in 0..3 {
        let vectors = engine.forward(&sequences).unwrap();
        let gradient = gradient_of(vectors.len());
        engine.backward(&gradient).unwrap();
        // The processor's gradients at the same parameters.
        let values: BTreeMap<String, Vec<f32>> =
            engine.parameters().unwrap().into_iter().map(|it| (it.name, it.value)).collect();
        for parameter in &mut reference.parameters() {
            parameter.value.copy_from_slice(&values[parameter.name]);
        }
        reference.parameters_changed();
        let (_, tape) = reference.forward(&sequences, 0).unwrap();
        reference.backward(tape, &gradient).unwrap();
        let step = CardStep {
            step: number,
            learning_rate: 0.01,
            betas: [0.9, 0.99],
            epsilon: 1e-6,
            weight_decay: 0.1,
            max_gradient_norm: 0.5,
        };
        let squares =
            reference.parameters().iter().map(|it| length(it.gradient).powi(2)).sum::<f64>();
        let norm = squares.sqrt();
        for parameter in reference.parameters() {
            let known = expected.entry(parameter.name.to_owned()).or_insert_with(|| AdamW {
                value: parameter.value.iter().map(|value| f64::from(*value)).collect(),
                moments: [vec![0.0; parameter.value.len()], vec![0.0; parameter.value.len()]],
            });
            let decay = if decays[parameter.name] { step.weight_decay } else { 0.0 };
            known.step(parameter.gradient, 0.5 / (norm + 1e-6), decay, &step);
        }
        reference.set_gradients_to_zero();
        let found = engine.step(&step).unwrap();
        assert!((found - norm).abs() < 1e-4 * norm, "{found} {norm}");
        for parameter in engine.parameters().unwrap() {
            let known = &expected[&parameter.name];
            let value: Vec<f32> = known.value.iter().map(|value| *value as f32).collect();
            let change = distance(&parameter.value, &value);
            assert!(change < 1e-3, "step {number}, {}: {change}", parameter.name);
        }
    }
    assert!(decays["embeddings.word_embeddings.weight"]);
    assert!(!decays["encoder.layer.0.output.dense.bias"]);
    assert!(!decays["encoder.layer.1.output.LayerNorm.weight"]);
}

#[test]
fn the_same_calls_give_the_same_bits_and_a_state_is_taken_over() {
    let model = Model::new(SIZES[0]);
    let sequences = model.sequences();
    let sequences = borrowed(&sequences);
    let options = CardOptions { precision: TrainingPrecision::Bf16, recompute: true };
    let step = |number| CardStep {
        step: number,
        learning_rate: 0.01,
        betas: [0.9, 0.999],
        epsilon: 1e-8,
        weight_decay: 0.01,
        max_gradient_norm: 1.0,
    };
    let run = |engine: &mut CardEngine, number| {
        let vectors = engine.forward(&sequences).unwrap();
        engine.backward(&gradient_of(vectors.len())).unwrap();
        engine.step(&step(number)).unwrap();
        engine.parameters().unwrap()
    };
    let mut one = model.on_card(Some(Trainable::Everything), options);
    let mut other = model.on_card(Some(Trainable::Everything), options);
    let state = run(&mut one, 0);
    assert_eq!(state, run(&mut other, 0));
    let expected = run(&mut one, 1);

    let mut resumed = model.on_card(Some(Trainable::Everything), options);
    // What stood in the gradients is forgotten.
    let vectors = resumed.forward(&sequences).unwrap();
    resumed.backward(&vectors).unwrap();
    resumed.set_parameters(&state).unwrap();
    assert_eq!(run(&mut resumed, 1), expected);

    // A call for vectors in between changes nothing.
    resumed.set_parameters(&state).unwrap();
    let vectors = resumed.forward(&sequences).unwrap();
    resumed.encode(&sequences[..3]).unwrap();
    resumed.backward(&gradient_of(vectors.len())).unwrap();
    resumed.step(&step(1)).unwrap();
    assert_eq!(resumed.parameters().unwrap(), expected);

    let mut wrong = state[0].clone();
    wrong.shape = vec![1];
    let refused = resumed.set_parameters(&[wrong]).unwrap_err().to_string();
    assert!(refused.contains("of the shape [1]"), "{refused}");
}

#[test]
fn gradients_add_up_and_those_that_are_not_finite_change_nothing() {
    let model = Model::new(SIZES[1]);
    let sequences = model.sequences();
    let sequences = borrowed(&sequences);
    let mut engine = model.on_card(Some(Trainable::Everything), CardOptions::default());
    let (few, many) = sequences.split_at(4);
    for part in [few, many] {
        let vectors = engine.forward(part).unwrap();
        let all = gradient_of(sequences.len() * engine.dimensions());
        let start = if part.len() == few.len() { 0 } else { few.len() * engine.dimensions() };
        engine.backward(&all[start..][..vectors.len()]).unwrap();
    }
    let parts = gradients(&mut engine);
    let vectors = engine.forward(&sequences).unwrap();
    engine.backward(&gradient_of(vectors.len())).unwrap();
    let whole = gradients(&mut engine);
    for (name, expected) in &whole {
        let nothing = name.ends_with("key.bias");
        assert!(nothing || distance(&parts[name], expected) < 1e-4, "{name}");
    }

    let before = engine.parameters().unwrap();
    let vectors = engine.forward(&sequences).unwrap();
    engine.backward(&vec![f32::NAN; vectors.len()]).unwrap();
    let norm = engine.step(&CardStep { learning_rate: 0.1, ..STEP_THAT_KEEPS_GRADIENTS }).unwrap();
    assert!(norm.is_nan());
    assert_eq!(engine.parameters().unwrap(), before);
}

#[test]
fn a_roberta_counts_positions_past_its_padding() {
    let mut model = Model::new(SIZES[1]);
    model.config.padding_token = Some(1);
    model.architecture = Architecture::Bert(model.config.clone());
    // With padding tokens in the texts.
    let sequences: [&[u32]; 3] = [&[5, 1, 7, 9], &[1, 1], &[2, 3, 4]];
    let reference = model.on_processor(Pooling::Mean, Trainable::Everything);
    let expected = reference.encode(&sequences, None).unwrap();
    let found = model.on_card(None, CardOptions::default()).encode(&sequences).unwrap();
    assert!(largest_difference(&found, &expected) < 1e-5);
}

#[test]
fn kernels_are_compiled_once() {
    coderag_software_card::install().unwrap();
    let folder = TempDir::new().unwrap();
    let model = Model::new(SIZES[1]);
    let card = CudaCard::open(0).unwrap().with_kernels_in(folder.path());
    let load = || {
        let (weights, architecture) = (&model.weights, &model.architecture);
        let options = CardOptions::default();
        CardEngine::load(&card, weights, architecture, Pooling::Mean, None, options).unwrap()
    };
    let expected = load().encode(&[&[1, 2, 3]]).unwrap();
    let files: Vec<PathBuf> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [file] = &*files else { unreachable!("{files:?}") };
    let written = std::fs::metadata(file).unwrap().modified().unwrap();
    assert_eq!(load().encode(&[&[1, 2, 3]]).unwrap(), expected);
    assert_eq!(std::fs::metadata(file).unwrap().modified().unwrap(), written);
    // What is no machine code is replaced.
    std::fs::write(file, [0; 64]).unwrap();
    assert_eq!(load().encode(&[&[1, 2, 3]]).unwrap(), expected);
    assert!(std::fs::metadata(file).unwrap().len() > 64);
}

#[test]
fn what_cannot_be_is_refused() {
    let model = Model::new(SIZES[1]);
    let mut engine = model.on_card(Some(Trainable::Everything), CardOptions::default());
    let refused = engine.backward(&[0.0]).unwrap_err().to_string();
    assert!(refused.contains("forward pass before it"), "{refused}");
    engine.forward(&[&[1, 2]]).unwrap();
    let refused = engine.backward(&[0.0]).unwrap_err().to_string();
    assert!(refused.contains("1 numbers for vectors of 64"), "{refused}");
    for (sequence, reason) in
        [(vec![], "no tokens"), (vec![60], "vocabulary"), (vec![1; 141], "141")]
    {
        let refused = engine.encode(&[&[1], &sequence]).unwrap_err();
        assert!(matches!(refused, Error::Sequence { index: 1, .. }), "{refused}");
        assert!(refused.to_string().contains(reason), "{refused}");
    }
    assert_eq!(engine.encode(&[]).unwrap(), Vec::<f32>::new());

    for length in [0, 255, 300, 5000] {
        let mut adapters = model.adapters();
        adapters[0].a.resize(length, 0.5);
        let trainable = Some(Trainable::Adapters(adapters));
        let refused = model.try_on_card(Pooling::Mean, trainable, CardOptions::default());
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("A of the adapter of"), "{refused}");
    }
    let mut adapters = model.adapters();
    adapters[0].layer = "encoder.layer.9.output.dense".to_owned();
    let trainable = Some(Trainable::Adapters(adapters));
    let refused = model.try_on_card(Pooling::Mean, trainable, CardOptions::default()).unwrap_err();
    assert!(refused.to_string().contains("layer.9"), "{refused}");
}
