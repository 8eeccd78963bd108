//! Qwen2.

mod layer;

use cudarc::driver::sys::CUdeviceptr;

use super::batch::Batch;
use super::body::{CardBody, Keeping};
use super::launch::Sizes;
use super::linear::adapted_widths;
use super::memory::{Memory, Places};
use super::open::Card;
use super::operations::{Normalized, RmsNorm, Run, bytes};
use super::parameters::{Described, Parameters, Part};
use crate::engine::TrainingPrecision;
use crate::rotary_embedding::frequencies;
use crate::{Qwen2Config, Result};
use layer::{Layer, LayerScratch, LayerTape};

/// A Qwen2 without its language-model head.
#[derive(Debug)]
pub(super) struct Qwen2 {
    /// The table of words.
    table: CUdeviceptr,
    /// Its gradient, where it is trained.
    table_gradient: Option<CUdeviceptr>,
    layers: Vec<Layer>,
    /// The first layer that is trained; as many as there are when none is.
    lowest: usize,
    norm: RmsNorm,
    /// How many radians a position further is, `[head / 2]` in f32.
    frequencies: Memory,
    intermediate: usize,
    /// The widths of what enters the B of the adapters of each linear layer, in the layer where it is widest.
    adapted: [usize; 4],
}

/// Where everything of a call stands in memory.
#[derive(Debug)]
struct Layout {
    /// What enters each layer, and what leaves the last.
    states: Vec<CUdeviceptr>,
    /// One for each layer, or the same for all.
    tapes: Vec<LayerTape>,
    scratch: LayerScratch,
    /// What the last normalisation multiplied by, `[tokens]` in f32.
    scales: CUdeviceptr,
    /// The normalised states.
    output: CUdeviceptr,
    bytes: usize,
}

const TABLE: &str = "embed_tokens.weight";
const NORM: &str = "norm.weight";

/// The linear layers of a layer that are computed together, their inputs, and whether they have biases.
fn linear_layers(config: &Qwen2Config, layer: usize) -> [(Vec<Part>, usize, bool); 4] {
    let Qwen2Config { hidden_size, intermediate_size, head_dim, .. } = *config;
    let queries = config.num_attention_heads * head_dim;
    let keys = config.num_key_value_heads * head_dim;
    let parts = |parts: &[(&str, usize)]| {
        let name = |name: &str| format!("layers.{layer}.{name}");
        let part = |(it, outputs): &(&str, usize)| Part { name: name(it), outputs: *outputs };
        parts.iter().map(part).collect::<Vec<Part>>()
    };
    let projection =
        [("self_attn.q_proj", queries), ("self_attn.k_proj", keys), ("self_attn.v_proj", keys)];
    let gated = [("mlp.gate_proj", intermediate_size), ("mlp.up_proj", intermediate_size)];
    [
        (parts(&projection), hidden_size, config.attention_bias),
        (parts(&[("self_attn.o_proj", hidden_size)]), queries, config.attention_output_bias),
        (parts(&gated), hidden_size, false),
        (parts(&[("mlp.down_proj", hidden_size)]), intermediate_size, false),
    ]
}

/// The normalisations of a layer.
fn norms(layer: usize) -> [String; 2] {
    ["input_layernorm", "post_attention_layernorm"]
        .map(|name| format!("layers.{layer}.{name}.weight"))
}

impl Qwen2 {
    /// What the kernels are compiled for.
    pub(super) fn sizes(config: &Qwen2Config, format: TrainingPrecision) -> Sizes {
        Sizes {
            format,
            hidden: config.hidden_size,
            heads: config.num_attention_heads,
            key_heads: config.num_key_value_heads,
            head: config.head_dim,
            causal: config.causal,
        }
    }

    pub(super) fn describe(config: &Qwen2Config) -> Described {
        let hidden = config.hidden_size;
        let mut described = Described::default();
        described.matrices.push((TABLE.to_owned(), vec![config.vocab_size, hidden]));
        for layer in 0..config.num_hidden_layers {
            for (parts, inputs, biased) in linear_layers(config, layer) {
                described.linear(&parts, inputs, biased);
            }
            described.norms.extend(norms(layer).map(|name| (name, vec![hidden])));
        }
        described.norms.push((NORM.to_owned(), vec![hidden]));
        described
    }

    /// # Errors
    /// [`Error::Training`](crate::Error::Training) for an adapter of other sizes, and
    /// [`Error::Cuda`](crate::Error::Cuda).
    pub(super) fn new(
        card: &Card,
        config: &Qwen2Config,
        parameters: &mut Parameters,
    ) -> Result<Self> {
        let epsilon = config.rms_norm_eps as f32;
        let norm = |parameters: &Parameters, name: &str| {
            let (weight, gradient) = parameters.number(name);
            RmsNorm { weight, epsilon, gradient }
        };
        let mut layers = Vec::new();
        for index in 0..config.num_hidden_layers {
            let mut linear = |(parts, inputs, biased): (Vec<Part>, usize, bool)| {
                parameters.linear(&parts, inputs, biased)
            };
            let [projection, attention_output, gated, down] = linear_layers(config, index);
            let [projection, attention_output] = [linear(projection)?, linear(attention_output)?];
            let [gated, down] = [linear(gated)?, linear(down)?];
            let [attention_norm, network_norm] = norms(index).map(|name| norm(parameters, &name));
            layers.push(Layer {
                attention_norm,
                projection,
                attention_output,
                network_norm,
                gated,
                down,
            });
        }
        let adapted = adapted_widths(layers.iter().map(Layer::linear));
        let radians = frequencies(config.head_dim, config.rope_theta);
        let frequencies = card.allocate(4 * radians.len())?;
        // SAFETY: the memory has room for them.
        #[allow(unsafe_code)]
        unsafe { card.write(frequencies.address(), &radians) }?;
        let (table, table_gradient) = parameters.value(TABLE);
        Ok(Self {
            table,
            table_gradient,
            lowest: layers.iter().position(Layer::is_trained).unwrap_or(layers.len()),
            layers,
            norm: norm(parameters, NORM),
            frequencies,
            intermediate: config.intermediate_size,
            adapted,
        })
    }

    /// Divides the memory of a call.
    fn lay_out(&self, run: &Run<'_>, address: CUdeviceptr, keeping: Keeping) -> Layout {
        let mut places = Places::from(address);
        let size = run.tokens * run.hidden() * bytes(run.sizes.format);
        let count = self.layers.len();
        let states = keeping.states(&mut places, count, size);
        let (intermediate, adapted) = (self.intermediate, self.adapted);
        let tape = || LayerTape::new(run, &mut places, intermediate, adapted);
        let tapes = keeping.tapes(count, tape);
        let training = keeping.is_training();
        let scratch = LayerScratch::new(run, &mut places, intermediate, adapted, training);
        let (scales, output) = (places.take(run.tokens * 4), places.take(size));
        Layout { states, tapes, scratch, scales, output, bytes: places.end() }
    }
}

impl Layout {
    /// The last normalisation.
    fn normalized(&self) -> Normalized {
        let sums = self.states.last().copied().unwrap_or(0);
        Normalized { sums, statistics: self.scales }
    }
}

impl CardBody for Qwen2 {
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
        let layout = self.lay_out(run, address, keeping);
        let Layout { states, tapes, scratch, output, .. } = &layout;
        run.take_rows(self.table, batch.words, states[0])?;
        let rotation = [batch.positions, self.frequencies.address()];
        for (index, layer) in self.layers.iter().enumerate() {
            let [input, output] = [states[index], states[index + 1]];
            layer.forward(run, rotation, input, &tapes[index], scratch, output)?;
        }
        let normalized = layout.normalized();
        run.add_and_rms_normalize(None, normalized.sums, &self.norm, normalized, *output)?;
        Ok(*output)
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
        let layout = self.lay_out(run, address, keeping);
        let Layout { states, tapes, scratch, .. } = &layout;
        let LayerScratch { passing, gradient, partials, .. } = *scratch;
        let normalized = layout.normalized();
        run.rms_normalize_backward(passing, None, &self.norm, normalized, gradient, partials)?;
        let rotation = [batch.positions, self.frequencies.address()];
        let count = self.layers.len();
        for index in (self.lowest..count).rev() {
            let (layer, tape, input) = (&self.layers[index], &tapes[index], states[index]);
            // The last is as the forward pass has left it.
            if keeping == Keeping::Inputs && index + 1 < count {
                layer.forward(run, rotation, input, tape, scratch, states[index + 1])?;
            }
            let wanted = index > self.lowest || self.trains_embeddings();
            layer.backward(run, rotation, input, tape, scratch, wanted)?;
        }
        match (self.table_gradient, batch.rows) {
            (Some(table), Some([words, _])) => {
                run.add_rows(gradient, words.places, words.count, table)
            }
            _ => Ok(()),
        }
    }

    fn trains_embeddings(&self) -> bool {
        self.table_gradient.is_some()
    }
}
