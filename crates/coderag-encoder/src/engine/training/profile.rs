use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A part of the forward and backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TrainingStage {
    /// Linear layers, without their adapters.
    Linear,
    /// The gradients of linear layers' inputs.
    InputGradients,
    /// The gradients of linear layers' weights.
    WeightGradients,
    /// Adapters, forward and backward.
    Adapters,
    /// Attention between its projections.
    Attention,
    /// Its backward pass.
    AttentionGradients,
    /// Activation, normalisation, dropout and residual sums, forward and backward.
    Elementwise,
    /// Embeddings and pooling, forward and backward.
    Ends,
    /// Waiting for other threads.
    Waiting,
}

impl TrainingStage {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Linear,
        Self::InputGradients,
        Self::WeightGradients,
        Self::Adapters,
        Self::Attention,
        Self::AttentionGradients,
        Self::Elementwise,
        Self::Ends,
        Self::Waiting,
    ];
}

/// How long all threads together spent in each stage.
#[derive(Debug, Default)]
pub(super) struct Profile([AtomicU64; TrainingStage::ALL.len()]);

impl Profile {
    /// Adds the time since `start` to a stage and starts the next one.
    pub(super) fn lap(&self, stage: TrainingStage, start: &mut Instant) {
        let now = Instant::now();
        let nanoseconds = now.duration_since(*start).as_nanos() as u64;
        self.0[stage as usize].fetch_add(nanoseconds, Ordering::Relaxed);
        *start = now;
    }

    pub(super) fn read(&self) -> [(TrainingStage, Duration); TrainingStage::ALL.len()] {
        TrainingStage::ALL.map(|stage| {
            (stage, Duration::from_nanos(self.0[stage as usize].load(Ordering::Relaxed)))
        })
    }
}
