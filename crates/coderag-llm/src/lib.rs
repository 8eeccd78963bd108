//! Chat models: an OpenAI-compatible client and an embedded GGUF engine.
//!
//! Both implement [`coderag_core::ChatModel`]. [`Endpoint`] asks a server over HTTP; [`GgufModel`]
//! runs a model file in this process with llama.cpp. The crate knows nothing of SQL, of retrieval or
//! of where model files come from.
//!
//! ```no_run
//! use coderag_core::{ChatModel, ChatRequest, Message};
//! use coderag_llm::{GgufModel, GgufOptions};
//!
//! let model = GgufModel::load("model.gguf".as_ref(), GgufOptions::default())?;
//! let answer = model.chat(&ChatRequest::new(vec![Message::user("What is a primary key?")]))?;
//! assert!(!answer.text.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod endpoint;
mod error;
mod gguf;

pub use endpoint::{Endpoint, EndpointConfig, Traffic};
pub use error::{Error, Result};
pub use gguf::{GgufModel, GgufOptions};
