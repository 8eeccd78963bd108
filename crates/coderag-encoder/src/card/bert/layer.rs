use cudarc::driver::sys::CUdeviceptr;

use super::super::linear::Linear;
use super::super::memory::Places;
use super::super::operations::{Attended, MOST_PARTS, Norm, Normalized, Run, bytes};
use crate::Result;

/// One transformer block with normalisation after each residual sum.
#[derive(Debug)]
pub(super) struct Layer {
    /// Queries, keys and values of attention.
    pub(super) projection: Linear,
    /// What follows attention.
    pub(super) attention_output: Linear,
    pub(super) attention_norm: Norm,
    pub(super) intermediate: Linear,
    pub(super) output: Linear,
    pub(super) output_norm: Norm,
}

/// What a forward pass leaves behind of a layer, but for what entered it and left it.
#[derive(Clone, Copy, Debug)]
pub(super) struct LayerTape {
    attended: Attended,
    attention: Normalized,
    /// What left the first normalisation, `[tokens, hidden]`.
    states: CUdeviceptr,
    /// The feed-forward network before its activation, `[tokens, intermediate]`.
    inner: CUdeviceptr,
    network: Normalized,
    /// What enters the B of the adapters of the four linear layers, in their order.
    adapted: [CUdeviceptr; 4],
}

/// Memory that a layer works in and leaves to the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct LayerScratch {
    /// The feed-forward network behind its activation, `[tokens, intermediate]`.
    activated: CUdeviceptr,
    /// Its gradient.
    inner_gradient: CUdeviceptr,
    /// The gradient of the projections, `[tokens, 3 * hidden]`.
    projected_gradient: CUdeviceptr,
    /// Gradients that the next operation reads, `[tokens, hidden]`.
    pub(super) passing: CUdeviceptr,
    /// Those of the sums that entered the two normalisations, `[tokens, hidden]`. What is in the second a layer no
    /// longer reads when it is through.
    attention_sums: CUdeviceptr,
    pub(super) network_sums: CUdeviceptr,
    /// `[tokens, heads]` in f32.
    products: CUdeviceptr,
    /// Parts of sums over the tokens.
    pub(super) partials: CUdeviceptr,
    /// The gradient of what enters an adapter's B.
    adapter_gradient: CUdeviceptr,
}

impl LayerTape {
    /// Places for what a forward pass leaves behind; `adapted` has the widths of what enters the adapters' B.
    pub(super) fn new(
        run: &Run<'_>,
        places: &mut Places,
        intermediate: usize,
        adapted: [usize; 4],
    ) -> Self {
        let hidden = run.hidden();
        let size = bytes(run.sizes.format);
        let mut states = |width: usize| places.take(run.tokens * width * size);
        let [projected, context] = [states(3 * hidden), states(hidden)];
        let [attention_sums, after, inner, network_sums] =
            [hidden, hidden, intermediate, hidden].map(&mut states);
        let adapted = adapted.map(&mut states);
        let mut numbers = |width: usize| places.take(run.tokens * width * 4);
        Self {
            attended: Attended { projected, context, log_sums: numbers(run.sizes.heads) },
            attention: Normalized { sums: attention_sums, statistics: numbers(2) },
            states: after,
            inner,
            network: Normalized { sums: network_sums, statistics: numbers(2) },
            adapted,
        }
    }
}

impl LayerScratch {
    /// Places for what a layer works in; `training` where there will be a backward pass.
    pub(super) fn new(
        run: &Run<'_>,
        places: &mut Places,
        intermediate: usize,
        adapted: [usize; 4],
        training: bool,
    ) -> Self {
        let (hidden, size) = (run.hidden(), bytes(run.sizes.format));
        let activated = places.take(run.tokens * intermediate * size);
        let mut backward = |bytes: usize| places.take(if training { bytes } else { 0 });
        let mut states = |width: usize| backward(run.tokens * width * size);
        let [inner_gradient, projected_gradient] = [intermediate, 3 * hidden].map(&mut states);
        let [passing, attention_sums, network_sums] = [hidden; 3].map(&mut states);
        let adapter_gradient = states(adapted.into_iter().max().unwrap_or(0));
        let columns = (3 * hidden).max(intermediate);
        Self {
            activated,
            inner_gradient,
            projected_gradient,
            passing,
            attention_sums,
            network_sums,
            adapter_gradient,
            products: backward(run.tokens * run.sizes.heads * 4),
            partials: backward(MOST_PARTS * columns * 4),
        }
    }
}

/// The gradient of some states: the sum of one or two, `[tokens, hidden]`.
pub(super) type StateGradient = [Option<CUdeviceptr>; 2];

impl Layer {
    pub(super) fn linear(&self) -> [&Linear; 4] {
        [&self.projection, &self.attention_output, &self.intermediate, &self.output]
    }

    /// Whether anything of it is trained.
    pub(super) fn is_trained(&self) -> bool {
        self.attention_norm.gradients.is_some() || self.linear().into_iter().any(Linear::is_trained)
    }

    /// `[tokens, hidden]` to the same, which may be where `input` is.
    pub(super) fn forward(
        &self,
        run: &Run<'_>,
        input: CUdeviceptr,
        tape: &LayerTape,
        scratch: &LayerScratch,
        output: CUdeviceptr,
    ) -> Result<()> {
        let LayerTape { attended, attention, states, inner, network, adapted } = *tape;
        self.projection.forward(run, input, attended.projected, adapted[0])?;
        run.attention(attended)?;
        self.attention_output.forward(run, attended.context, attention.sums, adapted[1])?;
        run.add_and_normalize(attention.sums, input, &self.attention_norm, attention, states)?;
        self.intermediate.forward(run, states, inner, adapted[2])?;
        run.gelu(self.intermediate.outputs, inner, scratch.activated)?;
        self.output.forward(run, scratch.activated, network.sums, adapted[3])?;
        run.add_and_normalize(network.sums, states, &self.output_norm, network, output)
    }

    /// The gradient of what entered the layer, given that of what left it, and those of its parameters. Where the
    /// former is not wanted, nothing of it is computed.
    pub(super) fn backward(
        &self,
        run: &Run<'_>,
        gradient: StateGradient,
        input: CUdeviceptr,
        tape: &LayerTape,
        scratch: &LayerScratch,
        wanted: bool,
    ) -> Result<StateGradient> {
        let LayerTape { attended, attention, states, inner, network, adapted } = *tape;
        let LayerScratch {
            activated,
            inner_gradient,
            projected_gradient,
            passing,
            attention_sums,
            network_sums,
            products,
            partials,
            adapter_gradient,
        } = *scratch;
        let adapted = adapted.map(|adapted| [adapted, adapter_gradient]);

        let (norm, output_bias) = (&self.output_norm, self.output.bias_gradient);
        run.normalize_backward(gradient, norm, network, network_sums, output_bias, partials)?;
        let width = self.intermediate.outputs;
        self.output.backward_inputs(run, network_sums, adapter_gradient, Some(inner_gradient))?;
        // Computes the activation's outputs again, which the next products read.
        run.gelu_backward(width, inner, inner_gradient, activated)?;
        self.output.backward_parameters(run, network_sums, activated, adapted[3])?;

        self.intermediate.backward_bias(run, inner_gradient, partials)?;
        self.intermediate.backward_inputs(run, inner_gradient, adapter_gradient, Some(passing))?;
        self.intermediate.backward_parameters(run, inner_gradient, states, adapted[2])?;

        let gradient = [Some(passing), Some(network_sums)];
        let (norm, output_bias) = (&self.attention_norm, self.attention_output.bias_gradient);
        run.normalize_backward(gradient, norm, attention, attention_sums, output_bias, partials)?;
        let context = attended.context;
        let output = &self.attention_output;
        output.backward_inputs(run, attention_sums, adapter_gradient, Some(passing))?;
        output.backward_parameters(run, attention_sums, context, adapted[1])?;

        run.attention_backward(attended, passing, products, projected_gradient)?;
        let projection = &self.projection;
        projection.backward_bias(run, projected_gradient, partials)?;
        let input_gradient = wanted.then_some(passing);
        projection.backward_inputs(run, projected_gradient, adapter_gradient, input_gradient)?;
        projection.backward_parameters(run, projected_gradient, input, adapted[0])?;
        Ok([Some(passing), Some(attention_sums)])
    }
}
