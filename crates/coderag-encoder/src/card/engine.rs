#![allow(unsafe_code)]

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use cudarc::driver::sys::CUdeviceptr;

use super::arena::Named;
use super::batch::Batch;
use super::bert::Bert;
use super::body::{CardBody, Keeping};
use super::launch::{Argument, Kernels, Sizes};
use super::memory::{Memory, Reserve};
use super::open::Card;
use super::operations::Run;
use super::parameters::{NORM_BLOCKS, Parameters};
use super::product::Products;
use super::qwen2::Qwen2;
use crate::checkpoint::Checkpoint;
use crate::device::CudaCard;
use crate::engine::{Trainable, TrainingPrecision};
use crate::{Architecture, Error, Pooling, Result};

/// How a [`CardEngine`] computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CardOptions {
    /// The number format of states and of the factors of matrix products.
    pub precision: TrainingPrecision,
    /// Remember of a forward pass only what leaves each layer, and compute the rest again in the backward pass
    /// (gradient checkpointing: Chen et al., 2016).
    pub recompute: bool,
}

/// A BERT, RoBERTa or Qwen2 on a card: the vectors of sequences, the gradients of its parameters from those of the vectors,
/// and AdamW.
#[derive(Debug)]
pub struct CardEngine {
    architecture: Architecture,
    pooling: Pooling,
    /// What forward passes keep for backward passes.
    keeping: Keeping,
    body: Box<dyn CardBody>,
    parameters: Parameters,
    /// Memory of forward and backward passes, and of calls that only want vectors.
    work: Mutex<Work>,
    /// That of the latter while a forward pass is remembered.
    aside: Mutex<Work>,
    /// The last forward pass, unless a backward pass has used it up.
    remembered: Option<Batch>,
    kernels: Kernels,
    products: Products,
    sizes: Sizes,
    card: Card,
}

/// A step of AdamW (Loshchilov and Hutter, 2019).
#[derive(Clone, Copy, Debug)]
pub struct CardStep {
    /// The step's number, counted from 0.
    pub step: u64,
    /// How far parameters go.
    pub learning_rate: f64,
    /// How slowly the means of the gradients and of their squares follow them.
    pub betas: [f64; 2],
    /// What keeps the division from 0.
    pub epsilon: f64,
    /// How fast parameters shrink, but for biases and those of normalisations.
    pub weight_decay: f64,
    /// The longest that all gradients together may be.
    pub max_gradient_norm: f64,
}

/// A trained parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct CardParameter {
    /// As [`ParameterMut::name`](crate::engine::ParameterMut::name).
    pub name: String,
    /// The sizes of the tensor, the slowest first.
    pub shape: Vec<usize>,
    /// The values, row by row.
    pub value: Vec<f32>,
    /// What AdamW remembers: the running means of the gradients and of their squares; nothing before the first
    /// step.
    pub moments: Option<[Vec<f32>; 2]>,
}

/// Memory of calls of one kind.
#[derive(Debug, Default)]
struct Work {
    batch: Reserve,
    states: Reserve,
    vectors: Reserve,
}

impl CardEngine {
    /// Reads a checkpoint as transformers writes it, with or without a task head, in f32, f16 or bf16: a safetensors
    /// file, or the index of several (`model.safetensors.index.json`). With nothing to train it has no backward pass.
    ///
    /// # Errors
    /// [`Error::Core`] and [`Error::Damaged`] about the file, [`Error::Weights`] when its tensors are not the
    /// configuration's, [`Error::Training`] when the engine does not take the architecture or its sizes
    /// ([`unsuitable`](Self::unsuitable)), or an adapter does not fit, [`Error::Invalid`] and [`Error::Cuda`].
    pub fn load(
        card: &CudaCard,
        weights: &Path,
        architecture: &Architecture,
        pooling: Pooling,
        trainable: Option<Trainable>,
        options: CardOptions,
    ) -> Result<Self> {
        if let Some(problem) = architecture.problem() {
            return Err(Error::Invalid { path: weights.to_owned(), problem });
        }
        let checkpoint = Checkpoint::open(weights, architecture.checkpoint_names())?;
        Self::new(card, checkpoint, architecture, pooling, trainable, options)
    }

    /// As [`load`](Self::load), from an open checkpoint.
    pub(crate) fn new(
        card: &CudaCard,
        checkpoint: Checkpoint,
        architecture: &Architecture,
        pooling: Pooling,
        trainable: Option<Trainable>,
        options: CardOptions,
    ) -> Result<Self> {
        if let Some(problem) = Self::unsuitable(architecture, pooling) {
            return Err(Error::Training(format!("the engine on cards does not take {problem}")));
        }
        let format = options.precision;
        let (sizes, described) = match architecture {
            Architecture::Bert(config) => (Bert::sizes(config, format), Bert::describe(config)),
            Architecture::Qwen2(config) => (Qwen2::sizes(config, format), Qwen2::describe(config)),
        };
        let kept = card.kernels();
        let card = Card::open(card.index())?;
        let kernels = Kernels::load(&card, sizes, kept)?;
        let products = Products::new(&card)?;
        let mut parameters =
            Parameters::load(&card, &kernels, format, described, checkpoint, trainable)?;
        let body: Box<dyn CardBody> = match architecture {
            Architecture::Bert(config) => Box::new(Bert::new(config, &mut parameters)?),
            Architecture::Qwen2(config) => Box::new(Qwen2::new(&card, config, &mut parameters)?),
        };
        parameters.finish()?;
        let recompute = options.recompute;
        Ok(Self {
            architecture: architecture.clone(),
            pooling,
            keeping: if recompute { Keeping::Inputs } else { Keeping::Everything },
            body,
            parameters,
            work: Mutex::default(),
            aside: Mutex::default(),
            remembered: None,
            kernels,
            products,
            sizes,
            card,
        })
    }

    /// What of a model the engine does not take, if anything.
    pub fn unsuitable(architecture: &Architecture, pooling: Pooling) -> Option<String> {
        let (head, hidden, inner) = match architecture {
            Architecture::Bert(config) => {
                let head = config.hidden_size / config.num_attention_heads.max(1);
                (head, config.hidden_size, config.intermediate_size)
            }
            Architecture::Qwen2(config) if config.query_key_norm => {
                return Some("Qwen3".to_owned());
            }
            Architecture::Qwen2(config) => {
                (config.head_dim, config.hidden_size, config.intermediate_size)
            }
        };
        // Kernels move 16 bytes at a time, and keep a row in registers.
        if !head.is_multiple_of(8) || head > 128 {
            return Some(format!("heads {head} wide: up to 128, in steps of 8"));
        }
        if hidden > 2048 || !hidden.is_multiple_of(8) || !inner.is_multiple_of(8) {
            return Some(format!("states {hidden} and networks {inner} wide"));
        }
        (pooling == Pooling::Max).then(|| "the pooling `max`".to_owned())
    }

    /// The width of a vector.
    pub fn dimensions(&self) -> usize {
        self.sizes.hidden
    }

    /// The vectors of sequences, pooled and not normalised, `[sequences, dimensions]`. At most 65,536 tokens go
    /// through the model together, or a single sequence.
    ///
    /// # Errors
    /// [`Error::Sequence`] when the model cannot take a sequence, [`Error::Cuda`].
    pub fn encode(&self, sequences: &[&[u32]]) -> Result<Vec<f32>> {
        self.card.enter()?;
        self.architecture.check_sequences(sequences)?;
        let work = if self.remembered.is_some() { &self.aside } else { &self.work };
        let mut work = work.lock().unwrap_or_else(PoisonError::into_inner);
        let Work { batch, states, vectors } = &mut *work;
        let mut found = Vec::with_capacity(sequences.len() * self.dimensions());
        for part in parts(sequences) {
            let batch = Batch::new(&self.card, batch, part, &self.architecture, false)?;
            found.extend(self.pass(&batch, states, vectors, Keeping::Nothing)?);
        }
        Ok(found)
    }

    /// The vectors of sequences, all at once, and remembers what the backward pass needs.
    ///
    /// # Errors
    /// Those of [`encode`](Self::encode), and [`Error::Training`] for more than 65,535 sequences.
    pub fn forward(&mut self, sequences: &[&[u32]]) -> Result<Vec<f32>> {
        self.card.enter()?;
        self.remembered = None;
        let aside = self.aside.get_mut().unwrap_or_else(PoisonError::into_inner);
        aside.states.release();
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        let (batch, vectors) = self.remember(&mut work, sequences)?;
        drop(work);
        self.remembered = Some(batch);
        Ok(vectors)
    }

    fn remember(&self, work: &mut Work, sequences: &[&[u32]]) -> Result<(Batch, Vec<f32>)> {
        let Work { batch, states, vectors } = work;
        let trained = self.body.trains_embeddings();
        let batch = Batch::new(&self.card, batch, sequences, &self.architecture, trained)?;
        let vectors = self.pass(&batch, states, vectors, self.keeping)?;
        Ok((batch, vectors))
    }

    fn run(&self, batch: &Batch) -> Run<'_> {
        Run {
            card: &self.card,
            kernels: &self.kernels,
            products: &self.products,
            sizes: self.sizes,
            tokens: batch.tokens,
            sequences: batch.sequences,
            longest: batch.longest,
            starts: batch.starts,
        }
    }

    /// The vectors of a batch.
    fn pass(
        &self,
        batch: &Batch,
        memory: &mut Reserve,
        vectors: &mut Reserve,
        keeping: Keeping,
    ) -> Result<Vec<f32>> {
        if batch.sequences == 0 {
            return Ok(Vec::new());
        }
        let run = self.run(batch);
        let address = memory.of(&self.card, self.body.bytes(&run, keeping))?;
        let vectors = vectors.of(&self.card, batch.sequences * run.hidden() * 4)?;
        let states = self.body.forward(&run, batch, address, keeping)?;
        run.pool(self.pooling, states, vectors)?;
        // SAFETY: the vectors have just been computed.
        unsafe { self.card.read(vectors, batch.sequences * run.hidden()) }
    }

    /// Adds to the gradients of the parameters, given those of the vectors of the last forward pass.
    ///
    /// # Errors
    /// [`Error::Training`] when there was none, or the gradients are not as many as the vectors; [`Error::Cuda`].
    pub fn backward(&mut self, gradient: &[f32]) -> Result<()> {
        self.card.enter()?;
        let Some(batch) = self.remembered.take() else {
            let problem = "a backward pass needs a forward pass before it";
            return Err(Error::Training(problem.to_owned()));
        };
        let expected = batch.sequences * self.dimensions();
        if gradient.len() != expected {
            let found = gradient.len();
            let problem =
                format!("there are gradients of {found} numbers for vectors of {expected}");
            return Err(Error::Training(problem));
        }
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        self.go_back(&batch, &mut work, gradient)
    }

    fn go_back(&self, batch: &Batch, work: &mut Work, gradient: &[f32]) -> Result<()> {
        if batch.sequences == 0 || self.parameters.trained.is_none() {
            return Ok(());
        }
        let (run, keeping) = (self.run(batch), self.keeping);
        // The memory is large enough, so it is the same and has what the forward pass left.
        let address = work.states.of(&self.card, self.body.bytes(&run, keeping))?;
        let vectors = work.vectors.of(&self.card, gradient.len() * 4)?;
        // SAFETY: there is memory for them.
        unsafe { self.card.write(vectors, gradient) }?;
        let states = self.body.state_gradient(&run, address, keeping);
        run.pool_backward(self.pooling, vectors, states)?;
        self.body.backward(&run, batch, address, keeping)
    }

    /// Clips the gradients, changes the parameters and forgets the gradients. Returns the gradients' norm before
    /// clipping; where it is not finite, nothing is changed.
    ///
    /// # Errors
    /// [`Error::Cuda`].
    pub fn step(&mut self, step: &CardStep) -> Result<f64> {
        self.card.enter()?;
        let Some(trained) = &mut self.parameters.trained else { return Ok(0.0) };
        let count = trained.arena.length();
        let numbers = Argument::Long(count as i64);
        let blocks = count.div_ceil(256).min(NORM_BLOCKS);
        let (gradients, parts) = (trained.gradients.address(), trained.norm.address());
        let norm = parts + (8 * NORM_BLOCKS) as CUdeviceptr;
        let correction = |beta: f64| 1.0 - beta.powf((step.step + 1) as f64);
        let settings = [
            step.learning_rate,
            step.epsilon,
            step.weight_decay,
            step.betas[0],
            1.0 - step.betas[0],
            step.betas[1],
            1.0 - step.betas[1],
            correction(step.betas[0]),
            correction(step.betas[1]),
            step.max_gradient_norm,
        ];
        let [first, second] = trained.moments.each_ref().map(Memory::address);
        let moved = [
            trained.arena.all_numbers().into(),
            gradients.into(),
            first.into(),
            second.into(),
            trained.arena.all_values().into(),
            numbers,
            Argument::Long(trained.undecayed as i64),
            norm.into(),
            Argument::Floats(settings.map(|number| number as f32)),
        ];
        let kernels = &self.kernels;
        // SAFETY: the arguments are the kernels', and all memory is of the arena's length.
        let norm: Vec<f64> = unsafe {
            let summed = [gradients.into(), numbers, parts.into()];
            kernels.launch(c"square_sums", [blocks, 1, 1], 256, &summed)?;
            let joined = [parts.into(), Argument::Int(blocks as i32), norm.into()];
            kernels.launch(c"gradient_norm", [1, 1, 1], 1, &joined)?;
            let wide = count.div_ceil(256).min(64 * self.card.multiprocessors() as usize);
            kernels.launch(c"adamw", [wide, 1, 1], 256, &moved)?;
            self.card.clear(gradients, 4 * count)?;
            self.card.read(norm, 1)?
        };
        let norm = norm[0];
        trained.stepped |= norm.is_finite();
        Ok(norm)
    }

    /// Has AdamW begin anew, with the parameters as they are.
    ///
    /// # Errors
    /// [`Error::Cuda`].
    pub fn forget_moments(&mut self) -> Result<()> {
        self.card.enter()?;
        let Some(trained) = &mut self.parameters.trained else { return Ok(()) };
        for moments in &trained.moments {
            // SAFETY: the memory is of the arena's length.
            unsafe { self.card.clear(moments.address(), 4 * trained.arena.length()) }?;
        }
        trained.stepped = false;
        Ok(())
    }

    /// The names and shapes of the trained parameters, and whether AdamW lets each decay.
    pub fn trained(&self) -> impl Iterator<Item = (&str, &[usize], bool)> {
        self.parameters.trained.iter().flat_map(|trained| {
            trained.arena.names().iter().map(|(name, shape)| {
                (&**name, &**shape, trained.arena.offset(name) < trained.undecayed)
            })
        })
    }

    /// The trained parameters.
    ///
    /// # Errors
    /// [`Error::Cuda`].
    pub fn parameters(&self) -> Result<Vec<CardParameter>> {
        self.card.enter()?;
        let Some(trained) = &self.parameters.trained else { return Ok(Vec::new()) };
        let read = |(name, shape): &Named| {
            let count = shape.iter().product();
            let offset = (4 * trained.arena.offset(name)) as CUdeviceptr;
            // SAFETY: the parameter has as many numbers, and so has what belongs to it.
            let read = |from: CUdeviceptr| unsafe { self.card.read::<f32>(from + offset, count) };
            let [first, second] = trained.moments.each_ref().map(Memory::address);
            let moments = trained.stepped.then(|| Ok::<_, Error>([read(first)?, read(second)?]));
            Ok(CardParameter {
                name: name.clone(),
                shape: shape.clone(),
                value: read(trained.arena.all_numbers())?,
                moments: moments.transpose()?,
            })
        };
        trained.arena.names().iter().map(read).collect()
    }

    /// Sets trained parameters and what AdamW remembers of them, and forgets the gradients. Those that are not
    /// named stay as they are; so do all where one has other sizes than the engine's.
    ///
    /// # Errors
    /// [`Error::Training`] for a parameter that the engine does not have, [`Error::Cuda`].
    pub fn set_parameters(&mut self, parameters: &[CardParameter]) -> Result<()> {
        self.card.enter()?;
        self.forget_moments()?;
        let Some(trained) = &mut self.parameters.trained else { return Ok(()) };
        let shapes: HashMap<&str, &Vec<usize>> =
            trained.arena.names().iter().map(|(name, shape)| (&**name, shape)).collect();
        for CardParameter { name, shape, value, moments } in parameters {
            let count = shape.iter().product::<usize>();
            let lengths =
                [Some(value), moments.as_ref().map(|it| &it[0]), moments.as_ref().map(|it| &it[1])];
            let fits = lengths.into_iter().flatten().all(|numbers| numbers.len() == count);
            if shapes.get(&**name).is_none_or(|known| *known != shape) || !fits {
                let problem = format!("there is no parameter `{name}` of the shape {shape:?}");
                return Err(Error::Training(problem));
            }
        }
        for CardParameter { name, value, moments, .. } in parameters {
            trained.arena.write(&self.kernels, name, value)?;
            let offset = (4 * trained.arena.offset(name)) as CUdeviceptr;
            for (numbers, memory) in moments.iter().flatten().zip(&trained.moments) {
                // SAFETY: the memory has as many numbers for the parameter.
                unsafe { self.card.write(memory.address() + offset, numbers) }?;
            }
            trained.stepped |= moments.is_some();
        }
        self.forget_gradients()?;
        self.remembered = None;
        Ok(())
    }

    fn forget_gradients(&self) -> Result<()> {
        let Some(trained) = &self.parameters.trained else { return Ok(()) };
        // SAFETY: the memory is of the arena's length.
        unsafe { self.card.clear(trained.gradients.address(), 4 * trained.arena.length()) }
    }
}

/// How many tokens go through the model together where nothing has to be remembered: enough for a card to be busy.
const TOKENS_AT_ONCE: usize = 65_536;

/// Sequences in order, in parts of at most [`TOKENS_AT_ONCE`] tokens, or a single sequence.
fn parts<'a, 'b>(sequences: &'a [&'b [u32]]) -> Vec<&'a [&'b [u32]]> {
    let (mut parts, mut start, mut tokens) = (Vec::new(), 0, 0);
    for (index, ids) in sequences.iter().enumerate() {
        if index > start && tokens + ids.len() > TOKENS_AT_ONCE {
            parts.push(&sequences[start..index]);
            (start, tokens) = (index, 0);
        }
        tokens += ids.len();
    }
    if start < sequences.len() {
        parts.push(&sequences[start..]);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_hold_so_many_tokens_and_every_sequence_in_order() {
        let sequences = [40_000, 20_000, 6_000, 70_000, 3].map(|length| vec![7; length]);
        let sequences: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
        let lengths: Vec<Vec<usize>> = parts(&sequences)
            .iter()
            .map(|part| part.iter().map(|ids| ids.len()).collect())
            .collect();
        assert_eq!(lengths, [vec![40_000, 20_000], vec![6_000], vec![70_000], vec![3]]);
        assert!(parts(&[]).is_empty());
    }
}
