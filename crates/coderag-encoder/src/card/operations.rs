#![allow(unsafe_code)]

use std::ffi::CStr;

use cudarc::driver::sys::CUdeviceptr;

use super::launch::{Argument, Kernels, Sizes};
use super::open::Card;
use super::product::{Output, Product, Products};
use crate::engine::TrainingPrecision;
use crate::{Pooling, Result};

/// Threads of a block where a kernel does not say.
const THREADS: u32 = 256;
/// Warps of a block, and rows that it works on at a time, in kernels that have a warp for a row.
const WARPS: usize = 4;
/// Queries or keys of a block of attention with tensor cores.
const TILE: usize = 64;
/// Into how many parts sums over all tokens are divided at the most.
pub(super) const MOST_PARTS: usize = 512;
/// Rows from which it pays to have another part.
const ROWS_OF_A_PART: usize = 32;

/// The card, and the sequences of one call: what every operation needs.
///
/// Addresses name memory on the card. Whoever calls an operation vouches that there is as much of it as the
/// operation's shapes say, in the format of states where they do not say f32, and that results overlap nothing else
/// but where it says so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run<'a> {
    pub(super) card: &'a Card,
    pub(super) kernels: &'a Kernels,
    pub(super) products: &'a Products,
    pub(super) sizes: Sizes,
    pub(super) tokens: usize,
    pub(super) sequences: usize,
    /// The tokens of the longest sequence.
    pub(super) longest: usize,
    /// The first token of each sequence and the number of all, `[sequences + 1]` in i32.
    pub(super) starts: CUdeviceptr,
}

/// A layer normalisation's weight and bias, `[hidden]` in f32.
#[derive(Clone, Copy, Debug)]
pub(super) struct Norm {
    pub(super) weight: CUdeviceptr,
    pub(super) bias: CUdeviceptr,
    pub(super) epsilon: f32,
    /// Their gradients, where they are trained.
    pub(super) gradients: Option<[CUdeviceptr; 2]>,
}

/// A root-mean-square normalisation's weight, `[hidden]` in f32.
#[derive(Clone, Copy, Debug)]
pub(super) struct RmsNorm {
    pub(super) weight: CUdeviceptr,
    pub(super) epsilon: f32,
    /// Its gradient, where it is trained.
    pub(super) gradient: Option<CUdeviceptr>,
}

/// What a normalisation leaves behind: the sums that entered it, `[tokens, hidden]`, their means and what their
/// distances were multiplied by, `[tokens, 2]` in f32; of a root-mean-square one, what they were multiplied by,
/// `[tokens]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Normalized {
    pub(super) sums: CUdeviceptr,
    pub(super) statistics: CUdeviceptr,
}

/// The embeddings' tables, `[rows, hidden]`, and a batch's rows of them, `[tokens]` in i32.
#[derive(Clone, Copy, Debug)]
pub(super) struct Embedded {
    pub(super) words: CUdeviceptr,
    pub(super) positions: CUdeviceptr,
    pub(super) word_table: CUdeviceptr,
    pub(super) position_table: CUdeviceptr,
    /// The row of the one segment that there is.
    pub(super) segment: CUdeviceptr,
}

/// What attention leaves behind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attended {
    /// Queries, keys and values, `[tokens, sizes.projected()]`.
    pub(super) projected: CUdeviceptr,
    /// What was gathered, `[tokens, sizes.context()]`.
    pub(super) context: CUdeviceptr,
    /// The logarithms of the sums of exponentials, `[tokens, heads]` in f32.
    pub(super) log_sums: CUdeviceptr,
}

impl Run<'_> {
    pub(super) fn hidden(&self) -> usize {
        self.sizes.hidden
    }

    fn launch(
        &self,
        name: &'static CStr,
        blocks: [usize; 3],
        threads: u32,
        arguments: &[Argument],
    ) -> Result<()> {
        // SAFETY: each operation has its kernel's arguments; callers vouch for the memory.
        unsafe { self.kernels.launch(name, blocks, threads, arguments) }
    }

    /// A kernel with a warp for each token.
    fn launch_rows(&self, name: &'static CStr, arguments: &[Argument]) -> Result<()> {
        self.launch(name, [self.tokens.div_ceil(WARPS), 1, 1], ROW_THREADS, arguments)
    }

    /// A kernel that goes through a long row of work with strides.
    fn launch_strided(
        &self,
        name: &'static CStr,
        pieces: usize,
        arguments: &[Argument],
    ) -> Result<()> {
        let most = 16 * self.card.multiprocessors() as usize;
        let blocks = pieces.div_ceil(THREADS as usize).min(most);
        self.launch(name, [blocks, 1, 1], THREADS, arguments)
    }

    fn rows(&self) -> Argument {
        count(self.tokens)
    }

    /// As [`Products::compute`] with the states' format.
    pub(super) fn product(&self, product: &Product) -> Result<()> {
        // SAFETY: callers vouch for the memory.
        unsafe { self.products.compute(self.sizes.format, product) }
    }

    /// Numbers in the states' format as a product's result.
    pub(super) fn states(&self, at: CUdeviceptr, stride: usize) -> Output {
        Output { at, stride, format: self.sizes.format }
    }

    /// Where numbers in the states' format stand behind so many others.
    pub(super) fn after(&self, at: CUdeviceptr, numbers: usize) -> CUdeviceptr {
        at + (numbers * bytes(self.sizes.format)) as CUdeviceptr
    }

    /// The normalised sum of the embeddings, `[tokens, hidden]`.
    pub(super) fn embed(
        &self,
        from: &Embedded,
        norm: &Norm,
        normalized: Normalized,
        output: CUdeviceptr,
    ) -> Result<()> {
        let arguments = [
            from.words.into(),
            from.positions.into(),
            from.word_table.into(),
            from.position_table.into(),
            from.segment.into(),
            norm.weight.into(),
            norm.bias.into(),
            norm.epsilon.into(),
            self.rows(),
            normalized.sums.into(),
            output.into(),
            normalized.statistics.into(),
        ];
        self.launch_rows(c"embed", &arguments)
    }

    /// The normalised sum of what a sublayer adds, `[tokens, hidden]`, and its inputs. `normalized.sums` may be
    /// where `added` is.
    pub(super) fn add_and_normalize(
        &self,
        added: CUdeviceptr,
        residual: CUdeviceptr,
        norm: &Norm,
        normalized: Normalized,
        output: CUdeviceptr,
    ) -> Result<()> {
        let arguments = [
            added.into(),
            residual.into(),
            norm.weight.into(),
            norm.bias.into(),
            norm.epsilon.into(),
            self.rows(),
            normalized.sums.into(),
            output.into(),
            normalized.statistics.into(),
        ];
        self.launch_rows(c"add_and_normalize", &arguments)
    }

    /// The gradient of the sums that entered a normalisation, `[tokens, hidden]`, given one or two of its outputs
    /// that belong together. Where parameters are trained, adds to the gradients of the norm's, and to that of the
    /// bias of what was added, if it has one. `partials` has room for
    /// [`MOST_PARTS`] of `3 * hidden` columns.
    pub(super) fn normalize_backward(
        &self,
        gradient: [Option<CUdeviceptr>; 2],
        norm: &Norm,
        normalized: Normalized,
        result: CUdeviceptr,
        bias_gradient: Option<CUdeviceptr>,
        partials: CUdeviceptr,
    ) -> Result<()> {
        let parts = self.parts();
        let [first, second] = gradient.map(|gradient| gradient.unwrap_or(0));
        let summed = norm.gradients.is_some() || bias_gradient.is_some();
        let arguments = [
            first.into(),
            second.into(),
            normalized.sums.into(),
            normalized.statistics.into(),
            norm.weight.into(),
            self.rows(),
            result.into(),
            if summed { partials } else { 0 }.into(),
        ];
        self.launch(c"normalize_backward", [parts, 1, 1], ROW_THREADS, &arguments)?;
        if !summed {
            return Ok(());
        }
        let [weight, bias] = norm.gradients.unwrap_or([0; 2]);
        self.add_partials(partials, self.hidden(), [weight, bias, bias_gradient.unwrap_or(0)])
    }

    /// Into how many parts sums over the tokens are divided.
    fn parts(&self) -> usize {
        self.tokens.div_ceil(ROWS_OF_A_PART).min(MOST_PARTS)
    }

    fn add_partials(
        &self,
        partials: CUdeviceptr,
        width: usize,
        gradients: [CUdeviceptr; 3],
    ) -> Result<()> {
        let named = if gradients[1] == 0 && gradients[2] == 0 { 1 } else { 3 };
        let [first, second, third] = gradients.map(Argument::from);
        let sizes = [self.parts(), width, named].map(count);
        let arguments = [partials.into(), sizes[0], sizes[1], sizes[2], first, second, third];
        let blocks = (named * width).div_ceil(THREADS as usize);
        self.launch(c"add_partials", [blocks, 1, 1], THREADS, &arguments)
    }

    /// Adds the sums over the tokens of `[tokens, columns]` to a gradient in f32. `partials` has room for
    /// [`MOST_PARTS`] times as many in f32.
    pub(super) fn add_column_sums(
        &self,
        matrix: CUdeviceptr,
        columns: usize,
        gradient: CUdeviceptr,
        partials: CUdeviceptr,
    ) -> Result<()> {
        let blocks = columns.div_ceil(32 * self.vector());
        let arguments = [matrix.into(), self.rows(), count(columns), partials.into()];
        self.launch(c"column_sums", [blocks, self.parts(), 1], ROW_THREADS, &arguments)?;
        self.add_partials(partials, columns, [gradient, 0, 0])
    }

    /// Numbers in 16 bytes.
    fn vector(&self) -> usize {
        16 / bytes(self.sizes.format)
    }

    /// The activation of `[tokens, width]`.
    pub(super) fn gelu(&self, width: usize, input: CUdeviceptr, output: CUdeviceptr) -> Result<()> {
        let vectors = self.tokens * width / self.vector();
        let arguments = [input.into(), output.into(), Argument::Long(vectors as i64)];
        self.launch_strided(c"gelu", vectors, &arguments)
    }

    /// Turns the gradient of the activation's outputs into that of its inputs, in place, and computes the outputs
    /// again.
    pub(super) fn gelu_backward(
        &self,
        width: usize,
        input: CUdeviceptr,
        gradient: CUdeviceptr,
        output: CUdeviceptr,
    ) -> Result<()> {
        let vectors = self.tokens * width / self.vector();
        let arguments =
            [input.into(), gradient.into(), output.into(), Argument::Long(vectors as i64)];
        self.launch_strided(c"gelu_backward", vectors, &arguments)
    }

    /// What the scores of attention are multiplied by.
    fn scale(&self) -> Argument {
        Argument::Float(1.0 / (self.sizes.head as f32).sqrt())
    }

    /// Blocks for the queries or keys of so many heads.
    fn attention_grid(&self, heads: usize) -> [usize; 3] {
        let rows = if self.sizes.has_tensor_attention() { TILE } else { WARPS };
        [self.longest.div_ceil(rows), heads, self.sequences]
    }

    /// Multi-head self-attention, of each sequence by itself.
    pub(super) fn attention(&self, attended: Attended) -> Result<()> {
        let tensor = self.sizes.has_tensor_attention();
        let name = if tensor { c"attention_tensor" } else { c"attention" };
        let arguments = [
            attended.projected.into(),
            self.starts.into(),
            self.scale(),
            attended.context.into(),
            attended.log_sums.into(),
        ];
        self.launch(name, self.attention_grid(self.sizes.heads), ROW_THREADS, &arguments)
    }

    /// The gradient of the projections, from that of what was gathered. `products` has
    /// room for `[tokens, heads]` in f32.
    pub(super) fn attention_backward(
        &self,
        attended: Attended,
        gradient: CUdeviceptr,
        products: CUdeviceptr,
        result: CUdeviceptr,
    ) -> Result<()> {
        let pieces = self.tokens * self.sizes.heads;
        let arguments = [attended.context.into(), gradient.into(), self.rows(), products.into()];
        let blocks = [pieces.div_ceil(THREADS as usize), 1, 1];
        self.launch(c"attention_products", blocks, THREADS, &arguments)?;
        let names = if self.sizes.has_tensor_attention() {
            [c"attention_tensor_queries_backward", c"attention_tensor_keys_backward"]
        } else {
            [c"attention_queries_backward", c"attention_keys_backward"]
        };
        for (name, heads) in names.into_iter().zip([self.sizes.heads, self.sizes.key_heads]) {
            let arguments = [
                attended.projected.into(),
                gradient.into(),
                attended.log_sums.into(),
                products.into(),
                self.starts.into(),
                self.scale(),
                result.into(),
            ];
            self.launch(name, self.attention_grid(heads), ROW_THREADS, &arguments)?;
        }
        Ok(())
    }

    /// The rows of a table, `[rows, hidden]`, that a batch's words have, `[tokens]` in i32.
    pub(super) fn take_rows(
        &self,
        table: CUdeviceptr,
        words: CUdeviceptr,
        output: CUdeviceptr,
    ) -> Result<()> {
        let vectors = self.tokens * self.hidden() / self.vector();
        let arguments = [table.into(), words.into(), self.rows(), output.into()];
        self.launch_strided(c"take_rows", vectors, &arguments)
    }

    /// The root-mean-square normalised sum of what a sublayer adds, if anything, and its inputs, `[tokens, hidden]`.
    /// `normalized.sums` takes the sum and may be where `residual` is; without anything added it is `residual`.
    pub(super) fn add_and_rms_normalize(
        &self,
        added: Option<CUdeviceptr>,
        residual: CUdeviceptr,
        norm: &RmsNorm,
        normalized: Normalized,
        output: CUdeviceptr,
    ) -> Result<()> {
        let arguments = [
            added.unwrap_or(0).into(),
            residual.into(),
            norm.weight.into(),
            norm.epsilon.into(),
            self.rows(),
            normalized.sums.into(),
            output.into(),
            normalized.statistics.into(),
        ];
        self.launch_rows(c"add_and_rms_normalize", &arguments)
    }

    /// The sum of two `[tokens, hidden]`, which may be where one of them is.
    pub(super) fn add(
        &self,
        one: CUdeviceptr,
        other: CUdeviceptr,
        output: CUdeviceptr,
    ) -> Result<()> {
        let vectors = self.tokens * self.hidden() / self.vector();
        let arguments = [one.into(), other.into(), output.into(), Argument::Long(vectors as i64)];
        self.launch_strided(c"add", vectors, &arguments)
    }

    /// What came out of a normalisation, once more.
    pub(super) fn rms_normalize_again(
        &self,
        norm: &RmsNorm,
        normalized: Normalized,
        output: CUdeviceptr,
    ) -> Result<()> {
        let arguments = [
            normalized.sums.into(),
            normalized.statistics.into(),
            norm.weight.into(),
            self.rows(),
            output.into(),
        ];
        self.launch_rows(c"rms_normalize_again", &arguments)
    }

    /// The gradient of the sums that entered a normalisation, from that of its outputs and what reached the sums past
    /// it, which may be where the result is. Adds to the gradient of the weight where it is trained; `partials` has
    /// room for [`MOST_PARTS`] of `hidden` columns.
    pub(super) fn rms_normalize_backward(
        &self,
        gradient: CUdeviceptr,
        residual: Option<CUdeviceptr>,
        norm: &RmsNorm,
        normalized: Normalized,
        result: CUdeviceptr,
        partials: CUdeviceptr,
    ) -> Result<()> {
        let arguments = [
            gradient.into(),
            residual.unwrap_or(0).into(),
            normalized.sums.into(),
            normalized.statistics.into(),
            norm.weight.into(),
            self.rows(),
            result.into(),
            norm.gradient.map_or(0, |_| partials).into(),
        ];
        let blocks = [self.parts(), 1, 1];
        self.launch(c"rms_normalize_backward", blocks, ROW_THREADS, &arguments)?;
        match norm.gradient {
            Some(weight) => self.add_partials(partials, self.hidden(), [weight, 0, 0]),
            None => Ok(()),
        }
    }

    /// Turns queries and keys by their positions, in place, or back.
    pub(super) fn rotate(
        &self,
        projected: CUdeviceptr,
        positions: CUdeviceptr,
        frequencies: CUdeviceptr,
        direction: f32,
    ) -> Result<()> {
        let heads = self.sizes.heads + self.sizes.key_heads;
        let pairs = self.tokens * heads * self.sizes.head / 2;
        let arguments =
            [projected.into(), positions.into(), frequencies.into(), direction.into(), self.rows()];
        self.launch_strided(c"rotate", pairs, &arguments)
    }

    /// The gated activation, `[tokens, 2 * width]` to `[tokens, width]`.
    pub(super) fn gate(&self, width: usize, input: CUdeviceptr, output: CUdeviceptr) -> Result<()> {
        let vectors = self.tokens * width / self.vector();
        let arguments = [input.into(), output.into(), self.rows(), count(width)];
        self.launch_strided(c"gate", vectors, &arguments)
    }

    /// The gradient of the gated activation's inputs, `[tokens, 2 * width]`, from that of its outputs, in whose place
    /// the outputs are then.
    pub(super) fn gate_backward(
        &self,
        width: usize,
        input: CUdeviceptr,
        gradient: CUdeviceptr,
        result: CUdeviceptr,
    ) -> Result<()> {
        let vectors = self.tokens * width / self.vector();
        let arguments = [
            input.into(),
            gradient.into(),
            result.into(),
            gradient.into(),
            self.rows(),
            count(width),
        ];
        self.launch_strided(c"gate_backward", vectors, &arguments)
    }

    /// A vector for each sequence, `[sequences, hidden]` in f32.
    pub(super) fn pool(
        &self,
        pooling: Pooling,
        states: CUdeviceptr,
        vectors: CUdeviceptr,
    ) -> Result<()> {
        let arguments = [states.into(), self.starts.into(), kind(pooling), vectors.into()];
        self.launch(c"pool", [self.sequences, 1, 1], THREADS, &arguments)
    }

    /// The gradient of the states from that of the vectors, which is in f32.
    pub(super) fn pool_backward(
        &self,
        pooling: Pooling,
        vectors: CUdeviceptr,
        states: CUdeviceptr,
    ) -> Result<()> {
        let arguments = [vectors.into(), self.starts.into(), kind(pooling), states.into()];
        self.launch(c"pool_backward", [self.sequences, 1, 1], THREADS, &arguments)
    }

    /// Adds rows of a gradient, `[tokens, hidden]`, to those of a table in f32: `order[starts[s]..starts[s + 1]]`
    /// to the row `targets[s]`, all in i32.
    pub(super) fn add_rows(
        &self,
        gradient: CUdeviceptr,
        [order, starts, targets]: [CUdeviceptr; 3],
        segments: usize,
        table: CUdeviceptr,
    ) -> Result<()> {
        let arguments =
            [gradient.into(), order.into(), starts.into(), targets.into(), table.into()];
        self.launch(c"add_rows", [segments, 1, 1], THREADS, &arguments)
    }
}

/// Threads of a block with a warp for a row.
const ROW_THREADS: u32 = 32 * WARPS as u32;

/// A number as kernels count.
pub(super) fn count(number: usize) -> Argument {
    Argument::Int(i32::try_from(number).unwrap_or(i32::MAX))
}

/// The bytes of a number.
pub(super) fn bytes(format: TrainingPrecision) -> usize {
    match format {
        TrainingPrecision::F32 => 4,
        TrainingPrecision::Bf16 => 2,
    }
}

/// The number of a kind of pooling in `pooling.cu`.
fn kind(pooling: Pooling) -> Argument {
    Argument::Int(match pooling {
        Pooling::Cls => 0,
        Pooling::LastToken => 1,
        Pooling::Mean | Pooling::Max => 2,
    })
}
