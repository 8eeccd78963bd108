use std::num::NonZero;
use std::thread::available_parallelism;
use std::time::SystemTime;

use coderag_core::Digest;
use coderag_encoder::ModelDirectory;

use super::RunContext;
use super::folder::{RunFolder, RunRecord};
use super::settings;
use crate::config::TrainConfig;
use crate::evaluation::DevelopmentSet;
use crate::{Error, Result};

/// The record of the run in the folder, brought up to date, or a new one.
///
/// A run that has not begun, with no step done, is made anew where its settings have changed: there is nothing
/// to lose, and a setting that allows no step can be corrected.
pub(super) fn record(
    folder: &RunFolder,
    begun: bool,
    config: &TrainConfig,
    context: &RunContext<'_>,
    model: &ModelDirectory,
    development: Option<&DevelopmentSet>,
) -> Result<RunRecord> {
    let threads =
        context.threads.unwrap_or_else(|| available_parallelism().map_or(1, NonZero::get));
    let files = development.map_or(&[][..], DevelopmentSet::files);
    let digests: Vec<Digest> = files.iter().map(|file| file.sha256).collect();
    let mut found = folder.record()?;
    if !begun && found.as_ref().is_some_and(|record| record.config != *config) {
        folder.clear()?;
        found = None;
    }
    let record = match found {
        None => RunRecord {
            format_version: RunRecord::FORMAT_VERSION,
            coderag_version: env!("CARGO_PKG_VERSION").to_owned(),
            started: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            model_fingerprint: model.fingerprint(),
            development: digests,
            device: context.device.to_string(),
            threads,
            config: config.clone(),
            changes: Vec::new(),
        },
        Some(record) => {
            let mut changes = settings::changes(&record.config, config)?;
            if record.model_fingerprint != model.fingerprint() {
                return Err(Error::ModelChanged { path: model.path().to_owned() });
            }
            for (was, file) in record.development.iter().zip(files) {
                if *was != file.sha256 {
                    let (path, was, is) = (file.path.clone(), *was, file.sha256);
                    return Err(Error::InputChanged { path, was, is });
                }
            }
            if record.threads != threads {
                changes.push(format!("`--threads` was {} and is {threads}", record.threads));
            }
            let device = context.device.to_string();
            if record.device != device {
                changes.push(format!("`--device` was {} and is {device}", record.device));
            }
            for change in &changes {
                tracing::warn!("{change}: the run differs from one without the interruption");
            }
            let changes = [record.changes, changes].concat();
            RunRecord { config: config.clone(), changes, device, threads, ..record }
        }
    };
    folder.write_record(&record)?;
    Ok(record)
}
