//! Pulling models: from a mock hub, from wheels through the real pip, from folders; interrupted,
//! contended and damaged.

#![allow(clippy::unwrap_used, clippy::panic)]

mod child;
mod hub;
mod mock_hub;
mod packages;
mod store;

use std::fs;
use std::path::{Path, PathBuf};

use coderag_core::Digest;
use coderag_models::{Model, ModelFile, ModelKind, Settings, Source, Store};
use tempfile::TempDir;

/// A store and a hub cache of a test's own.
struct Workplace {
    folder: TempDir,
    settings: Settings,
}

impl Workplace {
    fn new(endpoint: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            store: folder.path().join("cache/models"),
            kernels: PathBuf::new(),
            hub_cache: folder.path().join("huggingface/hub"),
            endpoint: endpoint.to_owned(),
            token: None,
            offline: false,
        };
        Self { folder, settings }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn store(&self) -> Store {
        Store::new(self.settings.clone())
    }

    /// A local source with these files.
    fn local(&self, name: &str, files: &[(&str, &[u8])]) -> Source {
        let path = self.path().join(name);
        for (file, content) in files {
            let file = path.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, content).unwrap();
        }
        Source::Local { path }
    }
}

/// A model with these files, each pinned by hash and size.
fn model(files: &[(&str, &[u8])], sources: Vec<Source>) -> Model {
    let files = files
        .iter()
        .map(|(path, content)| ModelFile {
            path: (*path).to_owned(),
            sha256: Some(Digest::of(content)),
            size: Some(content.len() as u64),
        })
        .collect();
    Model {
        name: "tiny".into(),
        kind: ModelKind::Encoder,
        architecture: "bert".into(),
        licence: "MIT".into(),
        files,
        sources,
    }
}

/// The same model without pinned hashes and sizes.
fn unpinned(mut model: Model) -> Model {
    for file in &mut model.files {
        (file.sha256, file.size) = (None, None);
    }
    model
}

/// Bytes that look like weights: no two places are alike.
fn weights(length: usize, seed: u32) -> Vec<u8> {
    let mut state = u64::from(seed) + 1;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// Every file below a folder, relative to it, sorted.
fn tree(folder: &Path) -> Vec<String> {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, found);
            } else {
                found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, folder, &mut found);
    found.sort();
    found
}
