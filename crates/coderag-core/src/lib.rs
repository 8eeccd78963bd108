//! The contract every CodeRAG crate shares.
//!
//! Data ([`Document`], [`Hit`], [`Embeddings`], [`Message`]) and the three traits between the stages
//! ([`Embedder`], [`Retriever`], [`ChatModel`]), plus what every stage needs to behave well on one
//! machine: atomic writes ([`atomic`]), strict configuration files ([`config`]), content hashes
//! ([`Digest`]) and progress reporting ([`Progress`]). Nothing here knows a backend.

pub mod atomic;
mod chat;
pub mod config;
mod digest;
mod document;
mod embedding;
mod error;
mod progress;
mod random;
mod retrieval;
mod run_folder;

pub use chat::{
    ChatModel, ChatRequest, ChatResponse, FinishReason, Message, Role, Sampling, Usage,
};
pub use digest::{Digest, Hasher};
pub use document::Document;
pub use embedding::{Embedder, Embeddings, TextRole, dot};
pub use error::{BoxError, Error, Result};
pub use progress::{Progress, ProgressTask, Silent, Unit};
pub use random::Random;
pub use retrieval::{Hit, Retriever};
pub use run_folder::{Claim, RunFolder};
