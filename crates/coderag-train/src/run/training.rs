use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Instant;

use burn::tensor::Tensor;
use coderag_core::{ProgressTask, Random, Unit};
use coderag_encoder::ModelDirectory;

use super::artifacts;
use super::batch::{TokenizedBatch, Tokenizer};
use super::batches::Batches;
use super::begin;
use super::checkpoint::{self, Best, Position, StepFolders};
use super::evaluation::measure;
use super::folder::{RunFolder, RunRecord};
use super::memory::peak_memory;
use super::objective::Objective;
use super::stage::Stage;
use super::throughput::Throughput;
use super::{Outcome, RunContext};
use crate::config::TrainConfig;
use crate::evaluation::DevelopmentSet;
use crate::record::{self, EvaluationRecord, MetricsLog, Record, StepRecord};
use crate::trainee::{Trainee, TraineeState, Update};
use crate::{Error, Result};

/// All that a run's steps share.
pub(super) struct Training<'a, T> {
    pub(super) config: &'a TrainConfig,
    pub(super) context: &'a RunContext<'a>,
    pub(super) model: &'a ModelDirectory,
    pub(super) folder: RunFolder,
    pub(super) record: RunRecord,
    pub(super) stages: Vec<Stage<'a>>,
    pub(super) development: Option<DevelopmentSet>,
    pub(super) trainee: T,
    pub(super) position: Position,
    tokenizer: Tokenizer<'a>,
    checkpoints: StepFolders,
    best: StepFolders,
    log: MetricsLog,
    throughput: Throughput,
    /// The last steps, for the warning about a loss that has nothing left to teach.
    recent: Vec<StepRecord>,
    warned: bool,
}

/// Why the steps of a call came to an end.
enum End {
    Over,
    Interrupted,
}

impl<'a, T: Trainee> Training<'a, T> {
    /// Prepares a run, or goes on with the one in the folder.
    pub(super) fn open(
        config: &'a TrainConfig,
        context: &'a RunContext<'a>,
        model: &'a ModelDirectory,
        mut trainee: T,
    ) -> Result<Self> {
        let folder = RunFolder::open(context.output, context.restart)?;
        let development = config.evaluation.as_ref();
        let development = development
            .map(|settings| DevelopmentSet::read(settings, config.on_bad_row))
            .transpose()?;
        let (checkpoints, best) = (StepFolders(folder.checkpoints()), StepFolders(folder.best()));
        checkpoints.remove_unfinished()?;
        best.remove_unfinished()?;
        let begun = checkpoints.steps()?.last().is_some_and(|step| *step > 0);
        let record = begin::record(&folder, begun, config, context, model, development.as_ref())?;
        let stages = config.stages.iter().enumerate().map(|(number, stage)| {
            let examples = folder.examples(number);
            let on_bad_row = config.on_bad_row;
            Stage::open(number, stage, config.seed, on_bad_row, &examples, context.progress)
        });
        let stages: Vec<Stage<'a>> = stages.collect::<Result<_>>()?;
        let (mut position, log) = match checkpoints.steps()?.last() {
            Some(step) => {
                let (position, state) = checkpoint::read(&checkpoints.of(*step))?;
                trainee.restore(state)?;
                tracing::info!("going on after step {step}");
                (position, MetricsLog::resume(&folder.metrics(), *step)?)
            }
            None => (Position::default(), MetricsLog::create(&folder.metrics())?),
        };
        let patience = config.evaluation.as_ref().and_then(|evaluation| evaluation.patience);
        position.interrupted = false;
        position.stopped_early &= patience.is_some_and(|it| position.without_better >= it);
        let planned: u64 = stages.iter().take(position.stage).map(|stage| stage.steps).sum();
        if position.step - position.stage_step < planned {
            let problem = "a stage that is over cannot get more steps; add a [[stage]], or begin anew with \
                           `--restart`";
            return Err(Error::Setting { setting: "steps", problem: problem.to_owned() });
        }
        let tokenizer = Tokenizer::new(model, &config.prompts);
        let (throughput, recent) = (Throughput::default(), Vec::new());
        let warned = false;
        Ok(Self {
            config,
            context,
            model,
            folder,
            record,
            stages,
            development,
            trainee,
            position,
            tokenizer,
            checkpoints,
            best,
            log,
            throughput,
            recent,
            warned,
        })
    }

    /// Takes the steps that are left, and makes the artifacts.
    pub(super) fn run(
        mut self,
        adapter: Option<&coderag_encoder::lora::Adapter>,
    ) -> Result<Outcome> {
        if self.checkpoints.steps()?.is_empty() {
            self.evaluate()?;
            self.write_checkpoint()?;
        }
        if let End::Interrupted = self.take_steps()? {
            let step = self.position.step;
            return Ok(Outcome::Interrupted { step, checkpoint: self.checkpoints.of(step) });
        }
        if let Some(best) = self.position.best {
            let (_, state) = checkpoint::read(&self.best.of(best.step))?;
            self.trainee.restore(state)?;
        }
        artifacts::write(self, adapter)
    }

    /// How many steps the run has.
    pub(super) fn planned_steps(&self) -> u64 {
        self.stages.iter().map(|stage| stage.steps).sum()
    }

    fn take_steps(&mut self) -> Result<End> {
        let planned = self.planned_steps();
        let progress = self.context.progress;
        let task = progress.task("training", Some(planned), Unit::Items);
        task.advance(self.position.step);
        // Out of `self`, so that a sampler can borrow from it while steps change the rest.
        let stages = std::mem::take(&mut self.stages);
        let end = self.take_steps_of(&stages, planned, &*task);
        self.stages = stages;
        end
    }

    fn take_steps_of(
        &mut self,
        stages: &[Stage<'a>],
        planned: u64,
        task: &dyn ProgressTask,
    ) -> Result<End> {
        let mut of_this_call = 0;
        while let Some(stage) = stages.get(self.position.stage) {
            if self.position.stopped_early {
                break;
            }
            let mut batches = Batches::of(stage, self.position.sampler.as_ref())?;
            while self.position.stage_step < stage.steps && !self.position.stopped_early {
                let stop = self.context.stop_after.is_some_and(|limit| of_this_call >= limit);
                if stop || self.context.interrupt.load(Ordering::Relaxed) {
                    self.write_checkpoint_of_stop()?;
                    return Ok(End::Interrupted);
                }
                let loss = self.take_step(stage, &mut batches)?;
                of_this_call += 1;
                task.advance(1);
                task.describe(&self.throughput.describe(loss));
                let (step, every) = (self.position.step, self.config.checkpoints.every);
                let evaluation = self.config.evaluation.as_ref();
                if evaluation.is_some_and(|it| step.is_multiple_of(it.every)) || step == planned {
                    self.evaluate()?;
                }
                if step.is_multiple_of(every) && self.position.stage_step < stage.steps {
                    self.write_checkpoint()?;
                }
            }
            if !self.position.stopped_early {
                self.position.stage += 1;
                self.position.stage_step = 0;
                self.position.sampler = None;
                self.trainee.forget_moments()?;
            }
            self.write_checkpoint()?;
        }
        Ok(End::Over)
    }

    /// A step of the optimizer: batches, their losses and gradients, new parameters. Returns the loss.
    fn take_step(&mut self, stage: &Stage<'_>, batches: &mut Batches<'_, '_>) -> Result<f64> {
        let start = Instant::now();
        let Position { step, stage_step, .. } = self.position;
        let accumulate = stage.config.accumulate;
        let (mut loss, mut pairs, mut tokens, mut epoch) = (0.0, 0, 0, 0);
        let (mut statistics, mut drawn_until) = (None, None);
        for part in 0..accumulate {
            let batch = batches.next(&self.tokenizer)?;
            if part == 0 {
                epoch = batch.epoch;
            }
            pairs += batch.pairs;
            tokens += batch.texts.tokens();
            let objective = self.add_gradients(stage, &batch.texts, part as u64)?;
            if part + 1 < accumulate || stage_step + 1 < stage.steps {
                batches.draw_ahead(&self.tokenizer);
            }
            let (value, of_batch) = objective.read()?;
            if !value.is_finite() {
                return Err(self.diverged(step + 1, format!("the loss is {value}")));
            }
            loss += value / accumulate as f64;
            statistics = of_batch;
            drawn_until = Some(batch.sampler);
        }
        let learning_rate = stage.learning_rate(stage_step);
        let update = Update {
            step: stage_step,
            learning_rate,
            adamw: stage.config.adamw,
            max_gradient_norm: stage.config.max_gradient_norm.unwrap_or(f64::INFINITY),
        };
        let gradient_norm = self.trainee.step(&update)?;
        if !gradient_norm.is_finite() {
            return Err(self.diverged(step + 1, format!("the gradients' norm is {gradient_norm}")));
        }
        let seconds = start.elapsed().as_secs_f64();
        let position = &mut self.position;
        position.step += 1;
        position.stage_step += 1;
        position.sampler = drawn_until;
        position.pairs += pairs;
        position.tokens += tokens;
        position.seconds += seconds;
        let record = StepRecord {
            step: position.step,
            stage: position.stage,
            epoch,
            loss,
            learning_rate,
            gradient_norm,
            pairs,
            tokens,
            seconds,
            statistics,
        };
        self.throughput.add(&record);
        tracing::debug!(step = record.step, "{}", self.throughput.describe(loss));
        self.log_record(Record::Step(record.clone()))?;
        self.watch(stage, record);
        Ok(loss)
    }

    /// Has the gradients of a batch's loss added to those of the parameters; returns the loss.
    fn add_gradients<'b>(
        &mut self,
        stage: &Stage<'_>,
        texts: &'b TokenizedBatch,
        part: u64,
    ) -> Result<Objective<'b, T::Backend>> {
        let Position { step, stage_step, .. } = self.position;
        let seed = |chunk: u64| Random::derived(self.config.seed, &[step, part, chunk]).next_u64();
        let sequences = texts.sequences();
        let at_once = stage.config.texts_at_once.unwrap_or(sequences.len()).max(1);
        let chunks: Vec<&[&[u32]]> = sequences.chunks(at_once).collect();
        let pooled = match &*chunks {
            [all] => self.trainee.forward(all, seed(0))?,
            chunks => {
                let embedded = chunks
                    .iter()
                    .zip(0..)
                    .map(|(chunk, number)| self.trainee.embed(chunk, Some(seed(number))));
                Tensor::cat(embedded.collect::<Result<Vec<_>>>()?, 0)
            }
        };
        let loss = stage.config.loss.at_step(self.config.seed, stage_step);
        let objective =
            Objective::<T::Backend>::of(pooled, self.model.normalizes(), &loss, &texts.loss_batch)?;
        let gradient = objective.gradient() / stage.config.accumulate as f64;
        if chunks.len() == 1 {
            self.trainee.backward(gradient)?;
        } else {
            for (number, chunk) in chunks.iter().enumerate() {
                self.trainee.forward(chunk, seed(number as u64))?;
                self.trainee.backward(gradient.clone().narrow(0, number * at_once, chunk.len()))?;
            }
        }
        Ok(objective)
    }

    fn diverged(&self, step: u64, problem: String) -> Error {
        Error::Diverged { step, problem, checkpoint: self.last_checkpoint() }
    }

    fn last_checkpoint(&self) -> Option<PathBuf> {
        let steps = self.checkpoints.steps().ok()?;
        steps.last().map(|step| self.checkpoints.of(*step))
    }

    /// Warns, once a call, when the batches have become too easy.
    fn watch(&mut self, stage: &Stage<'_>, step: StepRecord) {
        if self.recent.len() == record::TOO_EASY_STEPS {
            self.recent.remove(0);
        }
        self.recent.push(step);
        if self.warned || !stage.config.loss.ranks() {
            return;
        }
        if let Some(warning) = record::too_easy(&self.recent) {
            tracing::warn!("{warning}");
            self.warned = true;
        }
    }

    /// Measures the model, and keeps its parameters if it is the best so far.
    fn evaluate(&mut self) -> Result<()> {
        let Some(set) = &self.development else { return Ok(()) };
        let start = Instant::now();
        let scores = measure(&self.trainee, &self.tokenizer, set, self.context.progress)?;
        let seconds = start.elapsed().as_secs_f64();
        self.position.seconds += seconds;
        let (step, ndcg_at_10) = (self.position.step, (scores.ndcg_at_10 * 1e9).round() / 1e9);
        self.log_record(Record::Evaluation(EvaluationRecord { step, scores, seconds }))?;
        tracing::info!(step, ndcg_at_10, "evaluated");
        if self.position.best.is_none_or(|best| ndcg_at_10 > best.ndcg_at_10) {
            let mut state = self.trainee.state()?;
            forget(&mut state);
            self.position.best = Some(Best { step, ndcg_at_10 });
            self.position.without_better = 0;
            checkpoint::write(&self.best.of(step), &self.position, &state)
                .map_err(|source| self.not_written(source))?;
        } else {
            self.position.without_better += 1;
            let patience = self.config.evaluation.as_ref().and_then(|it| it.patience);
            if patience.is_some_and(|patience| self.position.without_better >= patience) {
                tracing::info!(step, "stopping: no measurement was better of late");
                self.position.stopped_early = true;
            }
        }
        Ok(())
    }

    fn log_record(&mut self, record: Record) -> Result<()> {
        let appended = self.log.append(&record);
        appended.map_err(|source| self.not_written(source))
    }

    /// Writes a checkpoint where the run is stopped, unless it has just written one.
    fn write_checkpoint_of_stop(&mut self) -> Result<()> {
        if self.checkpoints.of(self.position.step).exists() {
            return Ok(());
        }
        self.position.interrupted = true;
        self.write_checkpoint()
    }

    fn write_checkpoint(&mut self) -> Result<()> {
        let written = self.try_to_write_checkpoint();
        written.map_err(|source| self.not_written(source))
    }

    fn try_to_write_checkpoint(&mut self) -> Result<()> {
        self.log.flush()?;
        self.position.peak_memory = self.position.peak_memory.max(peak_memory());
        let state = self.trainee.state()?;
        checkpoint::write(&self.checkpoints.of(self.position.step), &self.position, &state)?;
        // A stop's checkpoint counts until the next one, so that a stopped run ends with those of any other.
        let mut kept = Vec::new();
        for step in self.checkpoints.steps()? {
            let position = checkpoint::read_position(&self.checkpoints.of(step))?;
            if !position.interrupted || step == self.position.step {
                kept.push(position);
            }
        }
        kept.drain(..kept.len().saturating_sub(self.config.checkpoints.keep));
        let steps: Vec<u64> = kept.iter().map(|position| position.step).collect();
        self.checkpoints.keep(&steps)?;
        // A checkpoint that the run goes on from must find the parameters that were best then.
        let best: Vec<u64> = kept.iter().filter_map(|position| Some(position.best?.step)).collect();
        self.best.keep(&best)
    }

    fn not_written(&self, source: Error) -> Error {
        let step = self.position.step;
        Error::NotWritten { step, last: self.last_checkpoint(), source: Box::new(source) }
    }
}

/// Leaves the parameters without what the optimizer remembers of them.
fn forget(state: &mut TraineeState) {
    for parameter in state.values_mut() {
        parameter.first_moment = Vec::new();
        parameter.second_moment = Vec::new();
    }
}
