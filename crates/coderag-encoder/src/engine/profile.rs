use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A part of the forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Token embeddings and their normalisation.
    Embedding,
    /// Rounding or quantising the inputs of linear layers, in precisions other than f32.
    Preparation,
    /// The matrix products of linear layers.
    Linear,
    /// GELU or SiLU.
    Activation,
    /// Rotary position embedding, and the normalisation of queries and keys before it.
    Rotation,
    /// Attention between its projections.
    Attention,
    /// Residual sums and normalisation.
    Normalization,
    /// Pooling.
    Pooling,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Embedding,
        Self::Preparation,
        Self::Linear,
        Self::Activation,
        Self::Rotation,
        Self::Attention,
        Self::Normalization,
        Self::Pooling,
    ];
}

/// How long the first thread of each call or batch spent in each stage, waiting for others included.
#[derive(Debug, Default)]
pub(super) struct Profile([AtomicU64; Stage::ALL.len()]);

impl Profile {
    /// Adds the time since `start` to a stage and starts the next one.
    pub(super) fn lap(&self, stage: Stage, start: &mut Instant) {
        let now = Instant::now();
        let nanoseconds = now.duration_since(*start).as_nanos() as u64;
        self.0[stage as usize].fetch_add(nanoseconds, Ordering::Relaxed);
        *start = now;
    }

    pub(super) fn read(&self) -> [(Stage, Duration); Stage::ALL.len()] {
        Stage::ALL.map(|stage| {
            (stage, Duration::from_nanos(self.0[stage as usize].load(Ordering::Relaxed)))
        })
    }
}
