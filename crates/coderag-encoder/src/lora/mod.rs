//! Low-rank adaptation (LoRA) as in PEFT: adapters in PEFT's files, live in burn for training, or merged
//! into the weights that an encoder reads.
//!
//! [`Adapter`] reads and writes a PEFT adapter's folder, [`AdapterConfig`] its settings. [`LoraModel`] puts
//! an adapter into a burn model, whose layers are [`LoraLinear`] and [`LoraEmbedding`].
//! [`CpuEncoder::load_with_adapter`](crate::CpuEncoder::load_with_adapter) merges one on loading.

mod adapter;
mod config;
mod layer;
mod low_rank;
mod model;
mod pattern;
mod selection;
mod training;
mod weights;

pub use adapter::Adapter;
pub(crate) use adapter::Placement;
pub use config::AdapterConfig;
pub use layer::{Lora, LoraEmbedding, LoraLinear, LoraSlot};
pub(crate) use low_rank::LowRank;
pub use model::{LoraModel, LoraPlace};
pub use pattern::ModulePattern;
pub use selection::{BlockSelection, LayerKind, ModuleSelection};
pub use weights::LoraWeights;
