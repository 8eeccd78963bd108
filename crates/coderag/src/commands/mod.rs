//! One file a command.

pub(crate) mod embed;
pub(crate) mod eval;
pub(crate) mod index;
pub(crate) mod interrupt;
pub(crate) mod language_model;
pub(crate) mod mine;
pub(crate) mod models;
pub(crate) mod sql;
pub(crate) mod synth;
pub(crate) mod train;

use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use anyhow::{Context as _, Result};
use coderag_encoder::device::{Device, DeviceEncoder};
use coderag_encoder::engine::{EngineOptions, Precision};
use coderag_models::{Registry, Settings, Store};

use crate::arguments::Arguments;
use crate::device::DeviceChoice;
use crate::progress::ProgressBars;

/// What every command needs: the global flags, put to work.
pub(crate) struct Session {
    pub(crate) registry: Registry,
    pub(crate) store: Store,
    pub(crate) progress: ProgressBars,
    pub(crate) threads: usize,
    device: DeviceChoice,
    /// Where the machine code of kernels for cards is kept.
    kernels: PathBuf,
}

impl Session {
    pub(crate) fn new(arguments: &Arguments) -> Result<Self> {
        let threads = match arguments.threads {
            Some(threads) => threads.into(),
            None => available_parallelism().context("cannot count the processor's cores")?.get(),
        };
        // The pool that burn and the index share.
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global()
            .with_context(|| format!("cannot start {threads} threads"))?;
        let registry = match &arguments.registry {
            Some(path) => Registry::load(path)?,
            None => Registry::builtin()?,
        };
        let settings = Settings::from_env()?;
        let kernels = settings.kernels.clone();
        let store = Store::new(settings);
        let progress = ProgressBars::new(arguments.quiet);
        Ok(Self { registry, store, progress, threads, device: arguments.device, kernels })
    }

    /// Where encoders compute.
    pub(crate) fn device(&self) -> Result<Device> {
        self.device.open(&self.kernels)
    }

    /// Where the model is that a user named, by registry name or by path.
    pub(crate) fn locate(&self, name_or_path: &str) -> Result<PathBuf> {
        Ok(coderag_models::resolve(&self.registry, &self.store, name_or_path)?)
    }

    /// Loads an encoder by registry name or path, with the LoRA adapter of a folder.
    pub(crate) fn encoder(
        &self,
        name_or_path: &str,
        adapter: Option<&Path>,
    ) -> Result<DeviceEncoder> {
        self.encoder_of(name_or_path, adapter, Precision::default())
    }

    /// Loads an encoder, with the LoRA adapter of a folder, that computes in this number format.
    pub(crate) fn encoder_of(
        &self,
        name_or_path: &str,
        adapter: Option<&Path>,
        precision: Precision,
    ) -> Result<DeviceEncoder> {
        let threads = Some(self.threads);
        let options = EngineOptions { precision, threads, ..EngineOptions::default() };
        let model = self.locate(name_or_path)?;
        Ok(DeviceEncoder::load(&model, adapter, &self.device()?, &options)?)
    }
}
