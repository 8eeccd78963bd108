#![allow(unsafe_code)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::Precision;
use super::batch::Batch;
use super::bert::Bert;
use super::kernels::Kernels;
use super::matrix::Matrix;
use super::qwen2::Qwen2;
use super::team::Team;
use super::worker::Worker;
use super::workspace::{Widths, Workspace};
use crate::checkpoint::Checkpoint;
use crate::{Architecture, Result};

/// The weights of a model of some architecture.
#[derive(Debug)]
pub(super) enum Body {
    Bert(Bert),
    Qwen2(Qwen2),
}

impl Body {
    /// Takes the weights from a checkpoint and lays them out.
    ///
    /// # Errors
    /// [`Error::Weights`](crate::Error::Weights) when the tensors are not the architecture's.
    pub(super) fn load(
        checkpoint: Checkpoint,
        architecture: &Architecture,
        precision: Precision,
        kernels: &Kernels,
        team: &Team,
    ) -> Result<Self> {
        Ok(match architecture {
            Architecture::Bert(config) => {
                Self::Bert(Bert::load(checkpoint, config, precision, kernels, team)?)
            }
            Architecture::Qwen2(config) => {
                Self::Qwen2(Qwen2::load(checkpoint, config, precision, kernels, team)?)
            }
        })
    }

    /// How wide the memory of a forward pass is.
    pub(super) fn widths(&self) -> Widths {
        match self {
            Self::Bert(bert) => bert.widths(),
            Self::Qwen2(qwen2) => qwen2.widths(),
        }
    }

    /// How many weights the linear layers have.
    pub(super) fn weights(&self) -> usize {
        match self {
            Self::Bert(bert) => bert.weights(),
            Self::Qwen2(qwen2) => qwen2.weights(),
        }
    }

    /// Computes the state of each token after the last block; they stand in the matrix that it returns.
    ///
    /// # Safety
    /// All members of the team call it alike with the same workspace, which holds the batch and which
    /// nobody else uses. Every token id and position is one of the model's.
    pub(super) unsafe fn forward<'a>(
        &self,
        worker: &Worker<'_>,
        batch: &Batch,
        workspace: &'a Workspace,
    ) -> &'a Matrix {
        // SAFETY: the caller vouches for both.
        unsafe {
            match self {
                Self::Bert(bert) => bert.forward(worker, batch, workspace),
                Self::Qwen2(qwen2) => qwen2.forward(worker, batch, workspace),
            }
        }
    }
}

/// Lays out layers, divided among the threads.
pub(super) fn pack_layers<Parts: Send, Layer: Send + Sync>(
    team: &Team,
    parts: Vec<Parts>,
    pack: impl Fn(Parts) -> Layer + Sync,
) -> Vec<Layer> {
    let next = AtomicUsize::new(0);
    let parts: Vec<Mutex<Option<Parts>>> =
        parts.into_iter().map(|parts| Mutex::new(Some(parts))).collect();
    let packed: Vec<OnceLock<Layer>> = parts.iter().map(|_| OnceLock::new()).collect();
    team.run(&|_| {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(slot) = parts.get(index) else { break };
            let parts = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(parts) = parts {
                let layer = pack(parts);
                packed[index].get_or_init(|| layer);
            }
        }
    });
    packed.into_iter().filter_map(OnceLock::into_inner).collect()
}
