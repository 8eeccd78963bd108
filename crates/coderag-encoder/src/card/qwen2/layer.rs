use cudarc::driver::sys::CUdeviceptr;

use super::super::linear::Linear;
use super::super::memory::Places;
use super::super::operations::{Attended, MOST_PARTS, Normalized, RmsNorm, Run, bytes};
use crate::Result;

/// One transformer block with normalisation before each of its two parts.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) attention_norm: RmsNorm,
    /// Queries, keys and values of attention.
    pub(super) projection: Linear,
    /// What follows attention.
    pub(super) attention_output: Linear,
    pub(super) network_norm: RmsNorm,
    /// The gate and what goes through it.
    pub(super) gated: Linear,
    pub(super) down: Linear,
}

/// What a forward pass leaves behind of a layer, but for what entered it and left it.
#[derive(Clone, Copy, Debug)]
pub(super) struct LayerTape {
    /// What the two normalisations multiplied by, `[tokens]` in f32.
    attention_scales: CUdeviceptr,
    network_scales: CUdeviceptr,
    /// Queries and keys are turned.
    attended: Attended,
    /// What is between attention and the feed-forward network, `[tokens, hidden]`.
    states: CUdeviceptr,
    /// The feed-forward network before its activation, `[tokens, 2 * intermediate]`.
    gated: CUdeviceptr,
    /// What enters the B of the adapters of the four linear layers, in their order.
    adapted: [CUdeviceptr; 4],
}

/// Memory that a layer works in and leaves to the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct LayerScratch {
    /// What a normalisation puts out, or a sublayer adds, `[tokens, hidden]`.
    normalized: CUdeviceptr,
    /// The feed-forward network behind its activation, or its gradient, `[tokens, intermediate]`.
    activated: CUdeviceptr,
    /// The gradient before the activation, `[tokens, 2 * intermediate]`.
    gated_gradient: CUdeviceptr,
    /// That of the projections, `[tokens, sizes.projected()]`.
    projected_gradient: CUdeviceptr,
    /// Gradients that the next operation reads, `[tokens, hidden]`.
    pub(super) passing: CUdeviceptr,
    /// That of what attention gathered, `[tokens, sizes.context()]`.
    context_gradient: CUdeviceptr,
    /// That of the states between layers, `[tokens, hidden]`.
    pub(super) gradient: CUdeviceptr,
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
        let size = bytes(run.sizes.format);
        let mut values = |width: usize| places.take(run.tokens * width * size);
        let [projected, context] = [run.sizes.projected(), run.sizes.context()].map(&mut values);
        let [states, gated] = [run.hidden(), 2 * intermediate].map(&mut values);
        let adapted = adapted.map(&mut values);
        let mut numbers = |width: usize| places.take(run.tokens * width * 4);
        Self {
            attention_scales: numbers(1),
            network_scales: numbers(1),
            attended: Attended { projected, context, log_sums: numbers(run.sizes.heads) },
            states,
            gated,
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
        let mut values = |width: usize| places.take(run.tokens * width * size);
        let [normalized, activated] = [hidden, intermediate].map(&mut values);
        let mut backward = |bytes: usize| places.take(if training { bytes } else { 0 });
        let mut values = |width: usize| backward(run.tokens * width * size);
        let [gated_gradient, projected_gradient] =
            [2 * intermediate, run.sizes.projected()].map(&mut values);
        let [passing, context_gradient, gradient] =
            [hidden, run.sizes.context(), hidden].map(&mut values);
        let adapter_gradient = values(adapted.into_iter().max().unwrap_or(0));
        let columns = run.sizes.projected().max(hidden);
        Self {
            normalized,
            activated,
            gated_gradient,
            projected_gradient,
            passing,
            context_gradient,
            gradient,
            adapter_gradient,
            products: backward(run.tokens * run.sizes.heads * 4),
            partials: backward(MOST_PARTS * columns * 4),
        }
    }
}

impl Layer {
    pub(super) fn linear(&self) -> [&Linear; 4] {
        [&self.projection, &self.attention_output, &self.gated, &self.down]
    }

    /// Whether anything of it is trained.
    pub(super) fn is_trained(&self) -> bool {
        self.network_norm.gradient.is_some() || self.linear().into_iter().any(Linear::is_trained)
    }

    /// `[tokens, hidden]` to the same, which may be where `input` is; `rotation` has the tokens' positions and the
    /// frequencies.
    pub(super) fn forward(
        &self,
        run: &Run<'_>,
        [positions, frequencies]: [CUdeviceptr; 2],
        input: CUdeviceptr,
        tape: &LayerTape,
        scratch: &LayerScratch,
        output: CUdeviceptr,
    ) -> Result<()> {
        let LayerTape { attended, states, gated, adapted, .. } = *tape;
        let LayerScratch { normalized, activated, .. } = *scratch;
        let before = Normalized { sums: input, statistics: tape.attention_scales };
        run.add_and_rms_normalize(None, input, &self.attention_norm, before, normalized)?;
        self.projection.forward(run, normalized, attended.projected, adapted[0])?;
        run.rotate(attended.projected, positions, frequencies, 1.0)?;
        run.attention(attended)?;
        self.attention_output.forward(run, attended.context, states, adapted[1])?;
        let between = Normalized { sums: states, statistics: tape.network_scales };
        let (norm, added) = (&self.network_norm, Some(states));
        run.add_and_rms_normalize(added, input, norm, between, normalized)?;
        self.gated.forward(run, normalized, gated, adapted[2])?;
        run.gate(self.down.inputs, gated, activated)?;
        self.down.forward(run, activated, normalized, adapted[3])?;
        run.add(normalized, states, output)
    }

    /// Turns the gradient of what left the layer, in `scratch.gradient`, into that of what entered it, in its place,
    /// and adds to those of its parameters. Where the former is not wanted, nothing of it is computed.
    pub(super) fn backward(
        &self,
        run: &Run<'_>,
        [positions, frequencies]: [CUdeviceptr; 2],
        input: CUdeviceptr,
        tape: &LayerTape,
        scratch: &LayerScratch,
        wanted: bool,
    ) -> Result<()> {
        let LayerTape { attended, states, gated, adapted, .. } = *tape;
        let LayerScratch {
            normalized,
            activated,
            gated_gradient,
            projected_gradient,
            passing,
            context_gradient,
            gradient,
            products,
            partials,
            adapter_gradient,
        } = *scratch;
        let adapted = adapted.map(|adapted| [adapted, adapter_gradient]);

        self.down.backward_inputs(run, gradient, adapter_gradient, Some(activated))?;
        run.gate_backward(self.down.inputs, gated, activated, gated_gradient)?;
        self.down.backward_parameters(run, gradient, activated, adapted[3])?;

        let norm = &self.network_norm;
        let between = Normalized { sums: states, statistics: tape.network_scales };
        if self.gated.is_trained() {
            run.rms_normalize_again(norm, between, normalized)?;
        }
        self.gated.backward_inputs(run, gated_gradient, adapter_gradient, Some(passing))?;
        self.gated.backward_parameters(run, gated_gradient, normalized, adapted[2])?;
        run.rms_normalize_backward(passing, Some(gradient), norm, between, gradient, partials)?;

        let output = &self.attention_output;
        output.backward_bias(run, gradient, partials)?;
        output.backward_inputs(run, gradient, adapter_gradient, Some(context_gradient))?;
        output.backward_parameters(run, gradient, attended.context, adapted[1])?;
        run.attention_backward(attended, context_gradient, products, projected_gradient)?;
        run.rotate(projected_gradient, positions, frequencies, -1.0)?;

        let (norm, projection) = (&self.attention_norm, &self.projection);
        let before = Normalized { sums: input, statistics: tape.attention_scales };
        if projection.is_trained() {
            run.rms_normalize_again(norm, before, normalized)?;
        }
        projection.backward_bias(run, projected_gradient, partials)?;
        let input_gradient = wanted.then_some(passing);
        projection.backward_inputs(run, projected_gradient, adapter_gradient, input_gradient)?;
        projection.backward_parameters(run, projected_gradient, normalized, adapted[0])?;
        if !wanted {
            return Ok(());
        }
        run.rms_normalize_backward(passing, Some(gradient), norm, before, gradient, partials)
    }
}
