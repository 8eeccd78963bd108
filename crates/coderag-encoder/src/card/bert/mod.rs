//! BERT and RoBERTa.

mod layer;

use cudarc::driver::sys::CUdeviceptr;

use super::batch::Batch;
use super::body::{CardBody, Keeping};
use super::launch::Sizes;
use super::linear::adapted_widths;
use super::memory::Places;
use super::operations::{Embedded, Norm, Normalized, Run, bytes};
use super::parameters::{Described, Parameters, Part};
use crate::engine::TrainingPrecision;
use crate::{BertConfig, Result};
use layer::{Layer, LayerScratch, LayerTape};

/// A BERT or RoBERTa, without its pooler.
#[derive(Debug)]
pub(super) struct Bert {
    /// The tables of words, positions and segments.
    tables: [CUdeviceptr; 3],
    /// Their gradients, where they are trained.
    table_gradients: Option<[CUdeviceptr; 3]>,
    norm: Norm,
    layers: Vec<Layer>,
    /// The first layer that is trained; as many as there are when none is.
    lowest: usize,
    intermediate: usize,
    /// The widths of what enters the B of the adapters of each linear layer, in the layer where it is widest.
    adapted: [usize; 4],
}

/// Where everything of a call stands in memory.
#[derive(Debug)]
struct Layout {
    embedded: Normalized,
    /// What enters each layer, and what leaves the last.
    states: Vec<CUdeviceptr>,
    /// One for each layer, or the same for all.
    tapes: Vec<LayerTape>,
    scratch: LayerScratch,
    bytes: usize,
}

const TABLES: [&str; 3] = [
    "embeddings.word_embeddings.weight",
    "embeddings.position_embeddings.weight",
    "embeddings.token_type_embeddings.weight",
];

/// The linear layers of a layer that are computed together, and their inputs.
fn linear_layers(config: &BertConfig, layer: usize) -> [(Vec<Part>, usize); 4] {
    let BertConfig { hidden_size, intermediate_size, .. } = *config;
    let parts = |names: &[&str], outputs: usize| {
        let name = |name: &&str| format!("encoder.layer.{layer}.{name}");
        names.iter().map(|it| Part { name: name(it), outputs }).collect::<Vec<Part>>()
    };
    let projection = ["attention.self.query", "attention.self.key", "attention.self.value"];
    [
        (parts(&projection, hidden_size), hidden_size),
        (parts(&["attention.output.dense"], hidden_size), hidden_size),
        (parts(&["intermediate.dense"], intermediate_size), hidden_size),
        (parts(&["output.dense"], hidden_size), intermediate_size),
    ]
}

/// The normalisations of a layer.
fn norms(layer: usize) -> [String; 2] {
    ["attention.output.LayerNorm", "output.LayerNorm"]
        .map(|name| format!("encoder.layer.{layer}.{name}"))
}

impl Bert {
    /// What the kernels are compiled for.
    pub(super) fn sizes(config: &BertConfig, format: TrainingPrecision) -> Sizes {
        let heads = config.num_attention_heads;
        Sizes {
            format,
            hidden: config.hidden_size,
            heads,
            key_heads: heads,
            head: config.hidden_size / heads,
            causal: false,
        }
    }

    pub(super) fn describe(config: &BertConfig) -> Described {
        let hidden = config.hidden_size;
        let rows = [config.vocab_size, config.max_position_embeddings, config.type_vocab_size];
        let mut described = Described::default();
        for (name, rows) in TABLES.iter().zip(rows) {
            described.matrices.push(((*name).to_owned(), vec![rows, hidden]));
        }
        let mut names = vec!["embeddings.LayerNorm".to_owned()];
        for layer in 0..config.num_hidden_layers {
            for (parts, inputs) in linear_layers(config, layer) {
                described.linear(&parts, inputs, true);
            }
            names.extend(norms(layer));
        }
        for name in names {
            let norm = ["weight", "bias"].map(|part| (format!("{name}.{part}"), vec![hidden]));
            described.norms.extend(norm);
        }
        described
    }

    /// # Errors
    /// [`Error::Training`](crate::Error::Training) for an adapter of other sizes.
    pub(super) fn new(config: &BertConfig, parameters: &mut Parameters) -> Result<Self> {
        let epsilon = config.layer_norm_eps as f32;
        let norm = |parameters: &Parameters, name: &str| {
            let [weight, bias] =
                ["weight", "bias"].map(|part| parameters.number(&format!("{name}.{part}")));
            let gradients = weight.1.zip(bias.1).map(|(weight, bias)| [weight, bias]);
            Norm { weight: weight.0, bias: bias.0, epsilon, gradients }
        };
        let mut layers = Vec::new();
        for index in 0..config.num_hidden_layers {
            let [projection, attention_output, intermediate, output] = linear_layers(config, index);
            let mut linear =
                |(parts, inputs): (Vec<Part>, usize)| parameters.linear(&parts, inputs, true);
            let [projection, attention_output] = [linear(projection)?, linear(attention_output)?];
            let [intermediate, output] = [linear(intermediate)?, linear(output)?];
            let [attention_norm, output_norm] = norms(index).map(|name| norm(parameters, &name));
            layers.push(Layer {
                projection,
                attention_output,
                attention_norm,
                intermediate,
                output,
                output_norm,
            });
        }
        let [words, positions, segments] = TABLES.map(|name| parameters.value(name));
        let table_gradients = match [words.1, positions.1, segments.1] {
            [Some(words), Some(positions), Some(segments)] => Some([words, positions, segments]),
            _ => None,
        };
        let adapted = adapted_widths(layers.iter().map(Layer::linear));
        Ok(Self {
            tables: [words.0, positions.0, segments.0],
            table_gradients,
            norm: norm(parameters, "embeddings.LayerNorm"),
            lowest: layers.iter().position(Layer::is_trained).unwrap_or(layers.len()),
            layers,
            intermediate: config.intermediate_size,
            adapted,
        })
    }

    /// Divides the memory of a call.
    fn lay_out(&self, run: &Run<'_>, address: CUdeviceptr, keeping: Keeping) -> Layout {
        let mut places = Places::from(address);
        let size = run.tokens * run.hidden() * bytes(run.sizes.format);
        let embedded =
            Normalized { sums: places.take(size), statistics: places.take(run.tokens * 8) };
        let count = self.layers.len();
        let states = keeping.states(&mut places, count, size);
        let (intermediate, adapted) = (self.intermediate, self.adapted);
        let tape = || LayerTape::new(run, &mut places, intermediate, adapted);
        let tapes = keeping.tapes(count, tape);
        let training = keeping.is_training();
        let scratch = LayerScratch::new(run, &mut places, intermediate, adapted, training);
        Layout { embedded, states, tapes, scratch, bytes: places.end() }
    }
}

impl CardBody for Bert {
    fn bytes(&self, run: &Run<'_>, keeping: Keeping) -> usize {
        self.lay_out(run, 0, keeping).bytes
    }

    fn forward(
        &self,
        run: &Run<'_>,
        batch: &Batch,
        address: CUdeviceptr,
        keeping: Keeping,
    ) -> Result<CUdeviceptr> {
        let Layout { embedded, states, tapes, scratch, .. } = self.lay_out(run, address, keeping);
        let [word_table, position_table, segment] = self.tables;
        let (words, positions) = (batch.words, batch.positions);
        let from = Embedded { words, positions, word_table, position_table, segment };
        run.embed(&from, &self.norm, embedded, states[0])?;
        for (index, layer) in self.layers.iter().enumerate() {
            layer.forward(run, states[index], &tapes[index], &scratch, states[index + 1])?;
        }
        Ok(states[self.layers.len()])
    }

    fn state_gradient(&self, run: &Run<'_>, address: CUdeviceptr, keeping: Keeping) -> CUdeviceptr {
        self.lay_out(run, address, keeping).scratch.passing
    }

    fn backward(
        &self,
        run: &Run<'_>,
        batch: &Batch,
        address: CUdeviceptr,
        keeping: Keeping,
    ) -> Result<()> {
        let Layout { embedded, states, tapes, scratch, .. } = self.lay_out(run, address, keeping);
        let count = self.layers.len();
        let mut gradient = [Some(scratch.passing), None];
        for index in (self.lowest..count).rev() {
            let (layer, tape, input) = (&self.layers[index], &tapes[index], states[index]);
            // The last is as the forward pass has left it.
            if keeping == Keeping::Inputs && index + 1 < count {
                layer.forward(run, input, tape, &scratch, states[index + 1])?;
            }
            let wanted = index > self.lowest || self.trains_embeddings();
            gradient = layer.backward(run, gradient, input, tape, &scratch, wanted)?;
        }
        let Some([words, positions, segments]) = self.table_gradients else { return Ok(()) };
        let (result, partials) = (scratch.network_sums, scratch.partials);
        let segments = Some(segments);
        run.normalize_backward(gradient, &self.norm, embedded, result, segments, partials)?;
        for (rows, table) in batch.rows.into_iter().flatten().zip([words, positions]) {
            run.add_rows(result, rows.places, rows.count, table)?;
        }
        Ok(())
    }

    fn trains_embeddings(&self) -> bool {
        self.table_gradients.is_some()
    }
}
