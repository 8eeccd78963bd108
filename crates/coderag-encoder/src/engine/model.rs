use std::cmp::Reverse;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::available_parallelism;
use std::time::Duration;

use super::batch::Batch;
use super::body::Body;
use super::kernels::Kernels;
use super::profile::{Profile, Stage};
use super::team::{Member, Team};
use super::worker::Worker;
use super::workspace::Workspace;
use super::{Cpu, Precision};
use crate::checkpoint::Checkpoint;
use crate::{Architecture, Error, Pooling, Result};

/// How an [`Engine`] computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineOptions {
    /// The number format of the linear layers.
    pub precision: Precision,
    /// How many threads work on a call, the caller's included; the number of cores by default.
    pub threads: Option<usize>,
    /// The instruction set of the kernels, or the portable ones on a machine that lacks it;
    /// [`Cpu::detect`] by default.
    pub cpu: Option<Cpu>,
    /// About how many tokens a thread takes through the model together. It bounds the memory, and does
    /// not change the vectors.
    pub tokens_at_once: usize,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self { precision: Precision::default(), threads: None, cpu: None, tokens_at_once: 256 }
    }
}

/// A model with its weights laid out for one instruction set and precision, and threads to run it.
#[derive(Debug)]
pub struct Engine {
    architecture: Architecture,
    pooling: Pooling,
    options: EngineOptions,
    kernels: &'static Kernels,
    team: Team,
    body: Body,
    /// Memory that no call uses at the moment.
    workspaces: Mutex<Vec<Workspace>>,
    profile: Profile,
}

impl Engine {
    /// Reads a checkpoint as transformers writes it, with or without a task head, in f32, f16 or bf16: a
    /// safetensors file, or the index of several (`model.safetensors.index.json`).
    ///
    /// # Errors
    /// [`Error::Core`] and [`Error::Damaged`] about the file, [`Error::Weights`] when its tensors are not
    /// the configuration's, [`Error::Invalid`], [`Error::Cpu`] and [`Error::Threads`].
    pub fn load(
        weights: &Path,
        architecture: &Architecture,
        pooling: Pooling,
        options: &EngineOptions,
    ) -> Result<Self> {
        if let Some(problem) = architecture.problem() {
            return Err(Error::Invalid { path: weights.to_owned(), problem });
        }
        let checkpoint = Checkpoint::open(weights, architecture.checkpoint_names())?;
        Self::new(checkpoint, architecture, pooling, options)
    }

    /// Lays out the weights of a checkpoint.
    pub(crate) fn new(
        checkpoint: Checkpoint,
        architecture: &Architecture,
        pooling: Pooling,
        options: &EngineOptions,
    ) -> Result<Self> {
        let kernels = Kernels::for_cpu(match options.cpu {
            Some(cpu) => cpu,
            None => Cpu::detect()?,
        });
        let threads = options
            .threads
            .unwrap_or_else(|| available_parallelism().map_or(1, usize::from))
            .max(1);
        let team = Team::start(threads).map_err(|source| Error::Threads { threads, source })?;
        let body = Body::load(checkpoint, architecture, options.precision, kernels, &team)?;
        Ok(Self {
            architecture: architecture.clone(),
            pooling,
            options: options.clone(),
            kernels,
            team,
            body,
            workspaces: Mutex::default(),
            profile: Profile::default(),
        })
    }

    /// The width of a vector.
    pub fn dimensions(&self) -> usize {
        self.architecture.hidden_size()
    }

    /// The instruction set in use.
    pub fn cpu(&self) -> Cpu {
        self.kernels.cpu()
    }

    /// The number format of the linear layers.
    pub fn precision(&self) -> Precision {
        self.options.precision
    }

    /// How many threads work on a call.
    pub fn threads(&self) -> usize {
        self.team.threads()
    }

    /// How long all calls so far took in each stage, summed over threads that worked apart. A thread that
    /// waits for its core counts as working.
    pub fn profile(&self) -> [(Stage, Duration); Stage::ALL.len()] {
        self.profile.read()
    }

    /// The pooled vector of each sequence of token ids, in order, `[sequences, dimensions]`, not
    /// normalised.
    ///
    /// # Errors
    /// [`Error::Sequence`] when a sequence is empty, is longer than the model's positions, or has a token
    /// beyond the vocabulary.
    pub fn encode(&self, sequences: &[&[u32]]) -> Result<Vec<f32>> {
        self.architecture.check_sequences(sequences)?;
        let dimensions = self.dimensions();
        let mut vectors = vec![0.0; sequences.len() * dimensions];
        // The longest first: what is left at the end, when threads run out of work, is small.
        let mut order: Vec<usize> = (0..sequences.len()).collect();
        order.sort_by_key(|&index| Reverse(sequences[index].len()));
        let batches = self.batches(sequences, &order);
        if batches.len() < 2 * self.threads() {
            let rows = Mutex::new(&mut *vectors);
            for indices in batches {
                self.encode_together(sequences, indices, &rows);
            }
        } else {
            let next = AtomicUsize::new(0);
            let rows = Mutex::new(&mut *vectors);
            self.team.run(&|_| {
                while let Some(indices) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let batch = self.batch(sequences, indices);
                    let workspace = self.workspace(1, &batch);
                    self.forward(Member::alone(), &batch, &workspace);
                    self.collect(workspace, indices, &rows);
                }
            });
        }
        Ok(vectors)
    }

    /// Encodes a batch with each step divided among the threads.
    fn encode_together(&self, sequences: &[&[u32]], indices: &[usize], rows: &Mutex<&mut [f32]>) {
        /// Below so many multiplications waking a thread takes longer than it helps.
        const WORTH_A_THREAD: usize = 4_000_000;
        let batch = self.batch(sequences, indices);
        let workspace;
        if batch.tokens().len() * self.body.weights() < WORTH_A_THREAD {
            workspace = self.workspace(1, &batch);
            self.forward(Member::alone(), &batch, &workspace);
        } else {
            workspace = self.workspace(self.threads(), &batch);
            self.team.run(&|member| self.forward(member, &batch, &workspace));
        }
        self.collect(workspace, indices, rows);
    }

    fn forward(&self, member: Member<'_>, batch: &Batch, workspace: &Workspace) {
        let Self { pooling, kernels, body, .. } = self;
        let worker = Worker::new(kernels, member, &self.profile);
        let (tokens, sequences) = (batch.tokens().len(), batch.sequences());
        assert!(workspace.holds(member.count, tokens, sequences.len()));
        let columns = 0..self.dimensions();
        // SAFETY: the workspace was taken for this batch, and all members of the team run this; `encode`
        // has checked the tokens. Each task pools into a row of its own.
        #[allow(unsafe_code)]
        unsafe {
            let states = body.forward(&worker, batch, workspace);
            worker.for_each(Stage::Pooling, sequences.len(), |sequence| {
                let tokens = sequences[sequence].clone();
                let pooled = workspace.pooled.row_mut(sequence, columns.clone());
                for (position, row) in tokens.clone().enumerate() {
                    let state = states.row(row, columns.clone());
                    pooling.add(kernels, pooled, state, position, tokens.len());
                }
            });
        }
    }

    fn batch(&self, sequences: &[&[u32]], indices: &[usize]) -> Batch {
        Batch::new(indices.iter().map(|&index| sequences[index]), &self.architecture)
    }

    /// Memory for a batch.
    fn workspace(&self, threads: usize, batch: &Batch) -> Workspace {
        let mut spare = self.workspaces.lock().unwrap_or_else(PoisonError::into_inner);
        let (tokens, count) = (batch.tokens().len(), batch.sequences().len());
        match spare.iter().position(|workspace| workspace.holds(threads, tokens, count)) {
            Some(index) => spare.swap_remove(index),
            None => {
                drop(spare.pop());
                let tokens = tokens.next_multiple_of(64);
                let count = count.next_multiple_of(16);
                Workspace::new(self.body.widths(), self.threads(), tokens, count)
            }
        }
    }

    /// Copies a batch's vectors to their places and keeps the workspace for the next.
    fn collect(&self, workspace: Workspace, indices: &[usize], rows: &Mutex<&mut [f32]>) {
        let dimensions = self.dimensions();
        {
            let mut rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
            for (row, &index) in indices.iter().enumerate() {
                // SAFETY: the pass is over, and the workspace is this function's.
                #[allow(unsafe_code)]
                let vector = unsafe { workspace.pooled.row(row, 0..dimensions) };
                rows[index * dimensions..][..dimensions].copy_from_slice(vector);
            }
        }
        self.workspaces.lock().unwrap_or_else(PoisonError::into_inner).push(workspace);
    }

    /// Divides sequences, in this order, into batches of about `tokens_at_once`.
    fn batches<'a>(&self, sequences: &[&[u32]], order: &'a [usize]) -> Vec<&'a [usize]> {
        let mut batches = Vec::new();
        let (mut start, mut tokens) = (0, 0);
        for (at, &index) in order.iter().enumerate() {
            let length = sequences[index].len();
            if at > start && tokens + length > self.options.tokens_at_once {
                batches.push(&order[start..at]);
                (start, tokens) = (at, 0);
            }
            tokens += length;
        }
        if start < order.len() {
            batches.push(&order[start..]);
        }
        batches
    }
}
