#![allow(unsafe_code)]

use super::batch::Token;
use super::dropout::Site;
use super::norm::Norm;
use super::parameter::{Parameter, ParameterMut};
use super::rows::Rows;
use super::tape::NormRows;
use super::work::Work;
use crate::BertConfig;
use crate::checkpoint::{Checkpoint, Tensor};
use crate::engine::kernels::PANEL;

/// The sum of the word, position and segment embeddings, normalised.
#[derive(Debug)]
pub(super) struct Embedding {
    words: Words,
    /// `[max_position_embeddings, hidden_size]`
    positions: Parameter,
    /// `[type_vocab_size, hidden_size]`
    segments: Parameter,
    /// The positions with the embedding of segment 0 added.
    offsets: Vec<f32>,
    norm: Norm,
    hidden_size: usize,
}

/// `[vocab_size, hidden_size]`
#[derive(Debug)]
enum Words {
    /// Left in the file: a call reads few of its rows.
    Frozen(Option<Tensor>),
    Trained {
        table: Parameter,
        /// The rows whose gradient may be other than zero, in order.
        touched: Vec<u32>,
    },
}

impl Embedding {
    pub(super) fn take(checkpoint: &mut Checkpoint, config: &BertConfig, trained: bool) -> Self {
        let BertConfig { vocab_size, hidden_size, .. } = *config;
        let mut table = |name: &str, rows: usize| {
            let name = format!("embeddings.{name}.weight");
            let shape = vec![rows, hidden_size];
            let tensor = checkpoint.take(&name, &shape);
            (name, shape, tensor)
        };
        let parameter = |(name, shape, tensor): (String, Vec<usize>, Option<Tensor>)| {
            let value = tensor.map(|tensor| tensor.values()).unwrap_or_default();
            Parameter::new(name, shape, value)
        };
        let words = table("word_embeddings", vocab_size);
        let positions = parameter(table("position_embeddings", config.max_position_embeddings));
        let segments = parameter(table("token_type_embeddings", config.type_vocab_size));
        let words = match trained {
            false => Words::Frozen(words.2),
            true => Words::Trained { table: parameter(words), touched: Vec::new() },
        };
        let norm = Norm::take(checkpoint, "embeddings.LayerNorm", config);
        let mut embedding =
            Self { words, positions, segments, offsets: Vec::new(), norm, hidden_size };
        embedding.refresh();
        embedding
    }

    /// Takes over changed parameters.
    pub(super) fn refresh(&mut self) {
        let Some(segment) = self.segments.value().get(..self.hidden_size) else { return };
        let positions = self.positions.value().chunks_exact(self.hidden_size);
        self.offsets.clear();
        for position in positions {
            self.offsets.extend(position.iter().zip(segment).map(|(a, b)| a + b));
        }
    }

    pub(super) fn norm(&self) -> &Norm {
        &self.norm
    }

    fn is_trained(&self) -> bool {
        matches!(self.words, Words::Trained { .. })
    }

    /// The trained parameters.
    pub(super) fn parameters(&mut self) -> Vec<ParameterMut<'_>> {
        let Words::Trained { table, touched } = &mut self.words else { return Vec::new() };
        let mut parameters =
            vec![table.view(Some(touched)), self.positions.view(None), self.segments.view(None)];
        parameters.extend(self.norm.parameters().map(|parameter| parameter.view(None)));
        parameters
    }

    /// How many values weight and bias of the normalisation have, where they are trained.
    pub(super) fn vectors_width(&self) -> usize {
        if self.is_trained() { 2 * self.hidden_size } else { 0 }
    }

    pub(super) fn set_gradients_to_zero(&mut self) {
        let Words::Trained { table, touched } = &mut self.words else { return };
        let gradient = table.view(None).gradient;
        for row in touched.drain(..) {
            gradient[row as usize * self.hidden_size..][..self.hidden_size].fill(0.0);
        }
        self.positions.set_gradients_to_zero();
        self.segments.set_gradients_to_zero();
        self.norm.parameters().into_iter().for_each(Parameter::set_gradients_to_zero);
    }

    /// Fills the states of some tokens.
    ///
    /// # Safety
    /// Nobody else uses the states or the tape.
    pub(super) unsafe fn forward(
        &self,
        work: &Work<'_>,
        tokens: &[Token],
        states: Rows<'_>,
        tape: NormRows<'_>,
        site: Site,
        first_token: usize,
    ) {
        for (row, token) in tokens.iter().enumerate() {
            // SAFETY: the caller vouches for the memory.
            unsafe {
                let state = states.row_mut(row, self.hidden_size);
                let start = token.id as usize * self.hidden_size;
                match &self.words {
                    Words::Frozen(Some(words)) => words.read_row(token.id as usize, state),
                    Words::Frozen(None) => {}
                    Words::Trained { table, .. } => {
                        state.copy_from_slice(&table.value()[start..][..self.hidden_size]);
                    }
                }
                let offset = token.position as usize * self.hidden_size;
                let offset = &self.offsets[offset..][..self.hidden_size];
                self.norm.forward(work, state, offset, tape, row);
                site.mask(work.kernels, state, first_token + row);
            }
        }
    }

    /// Writes the states again.
    ///
    /// # Safety
    /// Nobody else uses the states, or writes to the tape.
    pub(super) unsafe fn repeat(
        &self,
        work: &Work<'_>,
        tape: NormRows<'_>,
        states: Rows<'_>,
        site: Site,
        first_token: usize,
    ) {
        // SAFETY: the caller vouches for the memory.
        unsafe {
            self.norm.repeat(work, tape, states);
            self.mask(work, states, site, first_token);
        }
    }

    /// # Safety
    /// Nobody else uses the rows.
    unsafe fn mask(&self, work: &Work<'_>, rows: Rows<'_>, site: Site, first_token: usize) {
        for row in 0..rows.count() {
            // SAFETY: the caller vouches for the memory.
            let values = unsafe { rows.row_mut(row, self.hidden_size) };
            site.mask(work.kernels, values, first_token + row);
        }
    }

    /// Turns the gradient of the states of a group into that of the sums of embeddings, in place.
    ///
    /// # Safety
    /// Nobody else uses the gradient or the group's row of sums, or writes to the tape.
    pub(super) unsafe fn backward(
        &self,
        work: &Work<'_>,
        tape: NormRows<'_>,
        gradient: Rows<'_>,
        vectors: Rows<'_>,
        site: Site,
        first_token: usize,
    ) {
        // SAFETY: the caller vouches for the memory.
        unsafe {
            self.mask(work, gradient, site, first_token);
            let sums = vectors.row_mut(0, 2 * self.hidden_size);
            sums.fill(0.0);
            let sums = <[&mut [f32]; 2]>::from(sums.split_at_mut(self.hidden_size));
            self.norm.backward(work, tape, gradient, Some(sums));
        }
    }

    /// Remembers the rows whose gradient becomes other than zero.
    pub(super) fn touch(&mut self, tokens: &[Token]) {
        if let Words::Trained { touched, .. } = &mut self.words {
            touched.extend(tokens.iter().map(|token| token.id));
            touched.sort_unstable();
            touched.dedup();
        }
    }

    /// How many parts the work on the tables' gradients has.
    pub(super) fn tasks(&self) -> usize {
        self.hidden_size.div_ceil(PANEL)
    }

    /// Adds to the gradients of some columns of the tables, token by token in order.
    ///
    /// # Safety
    /// Nobody else does the same task, or writes to the gradient.
    pub(super) unsafe fn add_gradients(&self, tokens: &[Token], gradient: Rows<'_>, task: usize) {
        let Words::Trained { table, .. } = &self.words else { return };
        let start = task * PANEL;
        let width = PANEL.min(self.hidden_size - start);
        for (row, token) in tokens.iter().enumerate() {
            let words = (table, token.id as usize);
            let position = (&self.positions, token.position as usize);
            for (table, index) in [words, position, (&self.segments, 0)] {
                // SAFETY: these columns are this task's.
                unsafe {
                    let sums = table.gradients(index * self.hidden_size + start, width);
                    let gradient = gradient.row(row, start + width);
                    for (sum, value) in sums.iter_mut().zip(&gradient[start..]) {
                        *sum += value;
                    }
                }
            }
        }
    }
}
