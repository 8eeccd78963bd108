#![allow(unsafe_code)]

use std::cell::Cell;
use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use super::batch::{Batch, Group};
use super::embedding::Embedding;
use super::gradients::{GradientRows, Gradients};
use super::kernels::TrainingKernels;
use super::layer::{Layer, LayerParts, LayerTask, Pass, Sequences, add_vectors};
use super::linear::Linear;
use super::options::{AdapterLayer, Dropout, Trainable, TrainingOptions};
use super::parameter::{Parameter, ParameterMut};
use super::profile::{Profile, TrainingStage};
use super::rows::Rows;
use super::tape::{LayerRows, NormRows, Tape, TapeMemory, Widths};
use super::work::{Scratch, Work};
use crate::checkpoint::Checkpoint;
use crate::engine::Cpu;
use crate::engine::team::{Member, Team};
use crate::{Architecture, BertConfig, Error, Pooling, Result};

/// A BERT or RoBERTa that is trained on the processor: the vectors of sequences, the gradients of its
/// parameters from those of the vectors, and the parameters for an optimizer.
///
/// The same calls give the same bits: what a gradient is the sum of is added in an order that depends on
/// the call and the number of threads, not on their timing.
///
/// ```
/// use std::path::Path;
///
/// use coderag_encoder::engine::{Trainable, TrainingEngine};
/// use coderag_encoder::{Architecture, Pooling};
///
/// # fn main() -> coderag_encoder::Result<()> {
/// # let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/small-bert");
/// # let directory = Path::new(directory);
/// let architecture = Architecture::read(&directory.join("config.json"))?;
/// let weights = directory.join("model.safetensors");
/// let mut engine = TrainingEngine::load(
///     &weights,
///     &architecture,
///     Pooling::Mean,
///     Trainable::Everything,
///     &Default::default(),
/// )?;
/// // One step of gradient descent on half the squared length of a vector.
/// let (vectors, tape) = engine.forward(&[&[2, 9, 7, 3]], 0)?;
/// engine.backward(tape, &vectors)?;
/// for parameter in engine.parameters() {
///     for (value, gradient) in parameter.value.iter_mut().zip(parameter.gradient) {
///         *value -= 1e-3 * *gradient;
///     }
/// }
/// engine.parameters_changed();
/// engine.set_gradients_to_zero();
/// let length = |vectors: &[f32]| vectors.iter().map(|value| value * value).sum::<f32>();
/// assert!(length(&engine.encode(&[&[2, 9, 7, 3]], None)?) < length(&vectors));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TrainingEngine {
    /// Tells tapes of one engine from those of another.
    id: u64,
    config: BertConfig,
    pooling: Pooling,
    options: TrainingOptions,
    kernels: TrainingKernels,
    team: Team,
    embedding: Embedding,
    layers: Vec<Layer>,
    everything: bool,
    /// The first layer that is trained; as many as there are when none is.
    lowest: usize,
    widths: Widths,
    /// Memory that no call uses at the moment.
    scratch: Mutex<Vec<Scratch>>,
    tapes: Mutex<Vec<TapeMemory>>,
    gradients: Option<Gradients>,
    profile: Profile,
}

/// Some groups of sequences whose gradients are in memory together.
struct Chunk<'a> {
    groups: &'a [Group],
    tokens: Range<usize>,
    pairs: Range<usize>,
}

impl TrainingEngine {
    /// Reads a checkpoint as transformers writes it, with or without a task head, in f32, f16 or bf16: a
    /// safetensors file, or the index of several (`model.safetensors.index.json`).
    ///
    /// # Errors
    /// [`Error::Core`] and [`Error::Damaged`] about the file, [`Error::Weights`] when its tensors are not
    /// the configuration's, [`Error::Training`] when the architecture is neither BERT nor RoBERTa, an
    /// adapter does not fit or a dropout is no probability, [`Error::Invalid`], [`Error::Cpu`] and
    /// [`Error::Threads`].
    pub fn load(
        weights: &Path,
        architecture: &Architecture,
        pooling: Pooling,
        trainable: Trainable,
        options: &TrainingOptions,
    ) -> Result<Self> {
        if let Some(problem) = architecture.problem() {
            return Err(Error::Invalid { path: weights.to_owned(), problem });
        }
        let Architecture::Bert(config) = architecture else {
            let problem = "its engine on the processor trains BERT and RoBERTa only";
            return Err(Error::Training(problem.into()));
        };
        check(options.dropout)?;
        let kernels = TrainingKernels::for_cpu(match options.cpu {
            Some(cpu) => cpu,
            None => Cpu::detect()?,
        });
        let threads = options
            .threads
            .unwrap_or_else(|| available_parallelism().map_or(1, usize::from))
            .max(1);
        let team = Team::start(threads).map_err(|source| Error::Threads { threads, source })?;
        let (everything, mut adapters) = match trainable {
            Trainable::Everything => (true, HashMap::new()),
            Trainable::Adapters(adapters) => (false, by_layer(adapters)?),
        };
        let rank = adapters.values().map(|adapter| adapter.rank).max().unwrap_or(0);

        let mut checkpoint = Checkpoint::open(weights, architecture.checkpoint_names())?;
        let embedding = Embedding::take(&mut checkpoint, config, everything);
        let parts: Vec<LayerParts> = (0..config.num_hidden_layers)
            .map(|index| LayerParts::take(&mut checkpoint, config, index))
            .collect();
        checkpoint.finish()?;
        let layer = |parts| {
            let adapter = |name: &str| adapters.remove(name);
            Layer::new(parts, config, options.precision, &kernels, everything, adapter)
        };
        let layers = parts.into_iter().map(layer).collect::<Result<Vec<Layer>>>()?;
        if let Some(name) = adapters.keys().min() {
            return Err(Error::Training(format!(
                "the model has no linear layer `{name}` for an adapter; they are named as {}",
                "`encoder.layer.0.attention.self.query`"
            )));
        }

        static ENGINES: AtomicU64 = AtomicU64::new(0);
        let sizes = [config.hidden_size, config.intermediate_size, config.num_attention_heads];
        let mut adapted = [0; 4];
        for layer in &layers {
            for (width, linear) in adapted.iter_mut().zip(layer.linear()) {
                *width = linear.adapter_width().max(*width);
            }
        }
        let lowest = layers.iter().position(Layer::has_gradients).unwrap_or(layers.len());
        Ok(Self {
            id: ENGINES.fetch_add(1, Ordering::Relaxed),
            config: config.clone(),
            pooling,
            options: options.clone(),
            kernels,
            team,
            embedding,
            layers,
            everything,
            lowest,
            widths: Widths::new(sizes, adapted, rank),
            scratch: Mutex::default(),
            tapes: Mutex::default(),
            gradients: None,
            profile: Profile::default(),
        })
    }

    /// The width of a vector.
    pub fn dimensions(&self) -> usize {
        self.config.hidden_size
    }

    /// The instruction set in use.
    pub fn cpu(&self) -> Cpu {
        self.kernels.forward.cpu()
    }

    /// How many threads work on a call.
    pub fn threads(&self) -> usize {
        self.team.threads()
    }

    /// How long all threads together spent in each stage of all calls so far. A thread that waits for its
    /// core counts as working.
    pub fn profile(&self) -> [(TrainingStage, Duration); TrainingStage::ALL.len()] {
        self.profile.read()
    }

    /// The pooled vector of each sequence of token ids, in order, `[sequences, dimensions]`, not
    /// normalised, with the dropouts of a seed, or without any.
    ///
    /// # Errors
    /// [`Error::Sequence`] when a sequence is empty, is longer than the model's positions, or has a token
    /// beyond the vocabulary.
    pub fn encode(&self, sequences: &[&[u32]], seed: Option<u64>) -> Result<Vec<f32>> {
        let batch = Batch::new(sequences, &self.config)?;
        let layers = [0, 0];
        let memory = TapeMemory::new(&self.widths, layers, 0, batch.sequences().len());
        let dropout = seed.map_or(Dropout::default(), |_| self.options.dropout);
        let pass = Pass { dropout, seed: seed.unwrap_or(0), layer: 0 };
        self.run_forward(&batch, &memory, pass);
        Ok(self.vectors(&batch, &memory))
    }

    /// Lets the system have back the memory that passes work in, most of what the engine holds; the next pass
    /// takes it anew.
    pub fn release_memory(&mut self) {
        self.tapes.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        self.scratch.get_mut().unwrap_or_else(PoisonError::into_inner).clear();
        self.gradients = None;
    }

    /// The same vectors, and what the backward pass needs of their computation. The seed is that of the
    /// dropouts.
    ///
    /// # Errors
    /// As [`TrainingEngine::encode`].
    pub fn forward(&self, sequences: &[&[u32]], seed: u64) -> Result<(Vec<f32>, Tape)> {
        let batch = Batch::new(sequences, &self.config)?;
        let memory = self.tape_memory(&batch);
        let pass = Pass { dropout: self.options.dropout, seed, layer: 0 };
        self.run_forward(&batch, &memory, pass);
        let vectors = self.vectors(&batch, &memory);
        Ok((vectors, Tape { engine: self.id, batch, seed, memory }))
    }

    fn tape_memory(&self, batch: &Batch) -> TapeMemory {
        let (tokens, sequences) = (batch.tokens().len(), batch.sequences().len());
        let mut spare = self.tapes.lock().unwrap_or_else(PoisonError::into_inner);
        match spare.iter().position(|memory| memory.holds(tokens, sequences)) {
            Some(index) => spare.swap_remove(index),
            None => {
                drop(spare.pop());
                let trained = self.layers.len() - self.lowest;
                let layers = if self.options.recompute { 0 } else { trained };
                // With some room to spare, calls of about the same size have memory for the next. What is
                // never written takes none.
                let sizes = [tokens + tokens / 8, sequences + sequences / 8];
                TapeMemory::new(&self.widths, [trained + 1, layers], sizes[0], sizes[1])
            }
        }
    }

    fn vectors(&self, batch: &Batch, memory: &TapeMemory) -> Vec<f32> {
        let rows = Rows::new(&memory.pooled, 0..batch.sequences().len());
        // SAFETY: the pass is over, and nobody else has the memory.
        let vector = |row| unsafe { rows.row(row, self.dimensions()) };
        (0..rows.count()).flat_map(vector).copied().collect()
    }

    /// Has the team do something, each thread with memory for any group of the batch.
    fn run(&self, batch: &Batch, task: impl Fn(&Work<'_>) + Sync) {
        self.team.run(&|member: Member<'_>| {
            let scratch = self.scratch(batch);
            let work = Work {
                kernels: &self.kernels,
                member,
                scratch: &scratch,
                profile: &self.profile,
                start: &Cell::new(Instant::now()),
            };
            task(&work);
            self.scratch.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
        });
    }

    fn scratch(&self, batch: &Batch) -> Scratch {
        let tokens = batch.largest_group();
        let mut spare = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        match spare.iter().position(|scratch| scratch.holds(tokens)) {
            Some(index) => spare.swap_remove(index),
            None => {
                drop(spare.pop());
                Scratch::new(&self.widths, tokens)
            }
        }
    }

    fn run_forward(&self, batch: &Batch, memory: &TapeMemory, pass: Pass) {
        self.run(batch, |work| {
            work.for_each(batch.groups().len(), |index| {
                // SAFETY: each group has its own rows of the memory.
                unsafe { self.forward_group(work, batch, &batch.groups()[index], memory, pass) }
            });
        });
    }

    /// Takes a group of sequences through the model.
    ///
    /// # Safety
    /// Nobody else uses the group's rows of the memory.
    unsafe fn forward_group(
        &self,
        work: &Work<'_>,
        batch: &Batch,
        group: &Group,
        memory: &TapeMemory,
        pass: Pass,
    ) {
        let scratch = work.scratch;
        let here = 0..group.tokens.len();
        let states = Rows::new(&scratch.states, here.clone());
        let first_token = group.tokens.start;
        let norm = |index: usize| {
            let norm = index.checked_sub(self.lowest).and_then(|index| memory.norms.get(index));
            match norm {
                Some(norm) => norm.rows(group.tokens.clone()),
                None => scratch.norm.rows(here.clone()),
            }
        };
        let ranges: Vec<Range<usize>> = batch.sequences_of(group).collect();
        // SAFETY: the caller vouches for the memory, and the scratch memory is this thread's.
        unsafe {
            let tokens = &batch.tokens()[group.tokens.clone()];
            let site = pass.embeddings();
            self.embedding.forward(work, tokens, states, norm(0), site, first_token);
            work.lap(TrainingStage::Ends);
            for (index, layer) in self.layers.iter().enumerate() {
                let tape = index.checked_sub(self.lowest).and_then(|at| memory.layers.get(at));
                let tape = match tape {
                    Some(tape) => tape.rows(group.tokens.clone()),
                    None => scratch.layer.rows(here.clone()),
                };
                let sequences =
                    Sequences { pass: Pass { layer: index, ..pass }, ranges: &ranges, first_token };
                layer.forward(work, sequences, states, tape, norm(index + 1));
            }
            for (range, sequence) in ranges.into_iter().zip(group.sequences.clone()) {
                let pooled = Rows::new(&memory.pooled, sequence..sequence + 1);
                let pooled = pooled.row_mut(0, self.dimensions());
                for (position, row) in range.clone().enumerate() {
                    let state = states.row(row, self.dimensions());
                    self.pooling.add(self.kernels.forward, pooled, state, position, range.len());
                }
            }
        }
        work.lap(TrainingStage::Ends);
    }

    /// Adds the gradients of the trained parameters to those that are there, from the gradients of the
    /// vectors of a forward pass, `[sequences, dimensions]`. Parameters must not have changed since.
    ///
    /// # Errors
    /// [`Error::Training`] when there are more or fewer gradients than values in the vectors, or the tape is
    /// another engine's.
    pub fn backward(&mut self, tape: Tape, gradients: &[f32]) -> Result<()> {
        let expected = tape.sequences() * self.dimensions();
        if gradients.len() != expected {
            let found = gradients.len();
            return Err(Error::Training(format!(
                "there are {found} gradients for {expected} values of vectors"
            )));
        }
        if tape.engine != self.id {
            return Err(Error::Training("the tape is of another engine".into()));
        }
        if self.lowest < self.layers.len() {
            let chunks = self.chunks(&tape.batch);
            let memory = self.gradient_memory(&chunks);
            let tasks: Vec<Vec<LayerTask>> = (0..self.layers.len())
                .map(|index| self.layers[index].tasks(self.goes_below(index)))
                .collect();
            for chunk in chunks {
                self.embedding.touch(&tape.batch.tokens()[chunk.tokens.clone()]);
                let backward =
                    Backward { tape: &tape, chunk, memory: &memory, gradients, tasks: &tasks };
                // SAFETY: the memory and the parameters' gradients are this call's alone.
                self.run(&tape.batch, |work| unsafe { self.run_backward(work, &backward) });
            }
            self.gradients = Some(memory);
        }
        self.tapes.get_mut().unwrap_or_else(PoisonError::into_inner).push(tape.memory);
        Ok(())
    }

    /// Whether something below a layer is trained.
    fn goes_below(&self, layer: usize) -> bool {
        self.everything || layer > self.lowest
    }

    /// Divides groups into chunks.
    fn chunks<'a>(&self, batch: &'a Batch) -> Vec<Chunk<'a>> {
        /// For each thread: enough that waiting for the others between two steps is short beside the
        /// steps, few enough that much of what one step leaves is still in the cache in the next.
        const TOKENS_AT_ONCE: usize = 1024;
        let most = TOKENS_AT_ONCE * self.threads();
        let groups = batch.groups();
        let mut chunks = Vec::new();
        let mut start = 0;
        for end in 1..=groups.len() {
            let tokens = groups[start].tokens.start..groups[end - 1].tokens.end;
            let next = groups.get(end).map_or(usize::MAX, |group| group.tokens.len());
            if tokens.len().saturating_add(next) > most {
                let pairs = groups[start].pairs.start..groups[end - 1].pairs.end;
                chunks.push(Chunk { groups: &groups[start..end], tokens, pairs });
                start = end;
            }
        }
        chunks
    }

    fn gradient_memory(&mut self, chunks: &[Chunk<'_>]) -> Gradients {
        let tokens = chunks.iter().map(|chunk| chunk.tokens.len()).max().unwrap_or(0);
        let groups = chunks.iter().map(|chunk| chunk.groups.len()).max().unwrap_or(0);
        match self.gradients.take() {
            Some(memory) if memory.holds(tokens, groups) => memory,
            _ => {
                let layers = self.layers.iter().map(Layer::vectors_width);
                let vectors = layers.max().unwrap_or(0).max(self.embedding.vectors_width());
                let pairs = self.everything && self.options.precision.values_per_unit() == 2;
                let recompute = self.options.recompute;
                Gradients::new(&self.widths, tokens, groups, vectors, pairs, recompute)
            }
        }
    }

    /// The backward pass of a chunk, layer by layer.
    ///
    /// # Safety
    /// All members of the team call it alike, and nobody else uses the memory or the parameters' gradients.
    unsafe fn run_backward(&self, work: &Work<'_>, backward: &Backward<'_>) {
        let Backward { tape, chunk, tasks, .. } = backward;
        let count = chunk.groups.len();
        let all = backward.all();
        // SAFETY: the team goes through these steps together, and each step's tasks write to rows or
        // parameters of their own.
        unsafe {
            work.for_each(count, |group| self.pooling_backward(work, backward, group));
            for index in (self.lowest..self.layers.len()).rev() {
                work.for_each(count, |group| self.layer_backward(work, backward, index, group));
                let tasks = &tasks[index];
                work.for_each(tasks.len(), |task| {
                    let sequences = Sequences {
                        pass: self.pass(tape, index),
                        ranges: &[],
                        first_token: chunk.tokens.start,
                    };
                    let rows = self.layer_rows(backward, index, &chunk.tokens);
                    self.layers[index].add_gradients(work, tasks[task], sequences, rows, all);
                });
            }
            if self.everything {
                work.for_each(count, |group| {
                    let tokens = &chunk.groups[group].tokens;
                    let rows = backward.group(group);
                    let norm = tape.memory.norms[0].rows(tokens.clone());
                    let site = self.pass(tape, 0).embeddings();
                    let (gradient, sums) = (rows.states_gradient, rows.vectors);
                    self.embedding.backward(work, norm, gradient, sums, site, tokens.start);
                    work.lap(TrainingStage::Ends);
                });
                let tables = self.embedding.tasks();
                work.for_each(tables + 1, |task| {
                    if task < tables {
                        let tokens = &tape.batch.tokens()[chunk.tokens.clone()];
                        self.embedding.add_gradients(tokens, all.states_gradient, task);
                    } else {
                        let [weight, bias] = self.embedding.norm().vectors();
                        add_vectors(work, weight, all.vectors, 0);
                        add_vectors(work, bias, all.vectors, self.dimensions());
                    }
                    work.lap(TrainingStage::Ends);
                });
            }
        }
    }

    fn pass(&self, tape: &Tape, layer: usize) -> Pass {
        Pass { dropout: self.options.dropout, seed: tape.seed, layer }
    }

    /// What the forward pass of a layer left for some tokens.
    fn layer_rows<'a>(
        &self,
        backward: &'a Backward<'_>,
        index: usize,
        tokens: &Range<usize>,
    ) -> LayerRows<'a> {
        match backward.memory.recomputed() {
            Some((layer, _)) => layer.rows(backward.local(tokens)),
            None => backward.tape.memory.layers[index - self.lowest].rows(tokens.clone()),
        }
    }

    /// What the normalisation before a layer left for some tokens.
    fn norm_rows<'a>(
        &self,
        backward: &'a Backward<'_>,
        index: usize,
        tokens: &Range<usize>,
    ) -> NormRows<'a> {
        backward.tape.memory.norms[index - self.lowest].rows(tokens.clone())
    }

    /// Computes the gradient of a group's last states.
    ///
    /// # Safety
    /// Nobody else uses the group's gradients.
    unsafe fn pooling_backward(&self, work: &Work<'_>, backward: &Backward<'_>, group: usize) {
        let group_rows = backward.group(group).states_gradient;
        let group = &backward.chunk.groups[group];
        let states = Rows::new(&work.scratch.states, 0..group.tokens.len());
        // SAFETY: the caller vouches for the memory; the scratch memory is this thread's.
        unsafe {
            if self.pooling == Pooling::Max {
                let norm = self.norm_rows(backward, self.layers.len(), &group.tokens);
                if let Some(last) = self.layers.last() {
                    last.output_norm().repeat(work, norm, states);
                }
            }
            let ranges = backward.tape.batch.sequences_of(group);
            for (sequence, tokens) in group.sequences.clone().zip(ranges) {
                let size = self.dimensions();
                let vector = &backward.gradients[sequence * size..][..size];
                let gradient = group_rows.part(tokens.clone());
                self.pooling.backward(vector, states.part(tokens), gradient);
            }
        }
        work.lap(TrainingStage::Ends);
    }

    /// The backward pass of a group through a layer.
    ///
    /// # Safety
    /// Nobody else uses the group's gradients.
    unsafe fn layer_backward(
        &self,
        work: &Work<'_>,
        backward: &Backward<'_>,
        index: usize,
        group: usize,
    ) {
        let rows = backward.group(group);
        let group = &backward.chunk.groups[group];
        let first_token = group.tokens.start;
        let ranges: Vec<Range<usize>> = backward.tape.batch.sequences_of(group).collect();
        let pass = self.pass(backward.tape, index);
        let sequences = Sequences { pass, ranges: &ranges, first_token };
        let input = self.norm_rows(backward, index, &group.tokens);
        let tape = self.layer_rows(backward, index, &group.tokens);
        let norm = self.norm_rows(backward, index + 1, &group.tokens);
        let layer = &self.layers[index];
        // SAFETY: the caller vouches for the memory; the scratch memory is this thread's.
        unsafe {
            let repeat = |states: Rows<'_>| match index.checked_sub(1) {
                None => {
                    let site = pass.embeddings();
                    self.embedding.repeat(work, input, states, site, first_token);
                }
                Some(before) => self.layers[before].output_norm().repeat(work, input, states),
            };
            if let Some(states) = rows.linear[0].input {
                repeat(states);
            }
            if let Some((_, spare)) = backward.memory.recomputed() {
                let states = Rows::new(&work.scratch.states, 0..group.tokens.len());
                repeat(states);
                let spare = spare.rows(backward.local(&group.tokens));
                layer.forward(work, sequences, states, tape, spare);
            }
            work.lap(TrainingStage::Elementwise);
            layer.backward(work, sequences, tape, norm, rows, self.goes_below(index));
        }
    }

    /// The trained parameters: those of the embeddings, then each layer's. Call
    /// [`TrainingEngine::parameters_changed`] after changing values.
    pub fn parameters(&mut self) -> Vec<ParameterMut<'_>> {
        let mut parameters = self.embedding.parameters();
        let layers = self.layers.iter_mut().flat_map(Layer::parameters);
        parameters.extend(layers.map(|parameter| parameter.view(None)));
        parameters
    }

    /// Lays out changed parameters for the next forward pass.
    pub fn parameters_changed(&mut self) {
        if self.everything {
            self.embedding.refresh();
        }
        let this = &*self;
        let linear: Vec<&Linear> = this.layers.iter().flat_map(Layer::linear).collect();
        this.team.run(&|member| {
            member.for_each(linear.len(), |index| {
                // SAFETY: each task has its own layer, and this call has the engine.
                unsafe { linear[index].refresh(&this.kernels) }
            });
        });
    }

    /// Forgets the gradients so far.
    pub fn set_gradients_to_zero(&mut self) {
        self.embedding.set_gradients_to_zero();
        let layers = self.layers.iter_mut().flat_map(Layer::parameters);
        layers.for_each(Parameter::set_gradients_to_zero);
    }
}

/// The backward pass of a chunk.
struct Backward<'a> {
    tape: &'a Tape,
    chunk: Chunk<'a>,
    memory: &'a Gradients,
    /// Of the vectors, `[sequences, dimensions]`.
    gradients: &'a [f32],
    tasks: &'a [Vec<LayerTask>],
}

impl Backward<'_> {
    /// Tokens counted from the chunk's first.
    fn local(&self, tokens: &Range<usize>) -> Range<usize> {
        let first = self.chunk.tokens.start;
        tokens.start - first..tokens.end - first
    }

    /// A group's rows of the memory.
    fn group(&self, index: usize) -> GradientRows<'_> {
        let group = &self.chunk.groups[index];
        let first = self.chunk.pairs.start;
        let pairs = group.pairs.start - first..group.pairs.end - first;
        self.memory.rows(self.local(&group.tokens), pairs, index..index + 1)
    }

    /// All groups' rows.
    fn all(&self) -> GradientRows<'_> {
        let tokens = 0..self.chunk.tokens.len();
        self.memory.rows(tokens, 0..self.chunk.pairs.len(), 0..self.chunk.groups.len())
    }
}

fn check(dropout: Dropout) -> Result<()> {
    let Dropout { hidden, attention, adapter } = dropout;
    match [hidden, attention, adapter].into_iter().find(|rate| !(0.0..1.0).contains(rate)) {
        None => Ok(()),
        Some(rate) => {
            Err(Error::Training(format!("a dropout of {rate} is not a probability below 1")))
        }
    }
}

fn by_layer(adapters: Vec<AdapterLayer>) -> Result<HashMap<String, AdapterLayer>> {
    let mut by_layer = HashMap::new();
    for adapter in adapters {
        let name = adapter.layer.clone();
        if by_layer.insert(name.clone(), adapter).is_some() {
            return Err(Error::Training(format!("`{name}` has two adapters")));
        }
    }
    Ok(by_layer)
}
