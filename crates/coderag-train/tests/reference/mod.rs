//! Reads the fixtures that `scripts/reference_evaluation.py`, `scripts/reference_losses.py` and
//! `scripts/reference_optimizer.py` make.
#![allow(clippy::unwrap_used)]
#![allow(dead_code, reason = "each test binary uses a part")]

use std::collections::HashMap;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use serde::de::DeserializeOwned;

/// A fixture's tensors by name, as f64, and its metadata.
pub(crate) struct Reference {
    tensors: HashMap<String, (Vec<usize>, Vec<f64>)>,
    metadata: serde_json::Value,
}

impl Reference {
    pub(crate) fn load(file: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(file);
        let bytes = std::fs::read(path).unwrap();
        let metadata = SafeTensors::read_metadata(&bytes).unwrap().1.metadata().clone().unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensors = file.tensors().into_iter().map(|(name, view)| {
            let values: Vec<f64> = match view.dtype() {
                Dtype::F64 => {
                    view.data().as_chunks().0.iter().copied().map(f64::from_le_bytes).collect()
                }
                Dtype::F32 => {
                    let values = view.data().as_chunks().0.iter().copied();
                    values.map(|bytes| f64::from(f32::from_le_bytes(bytes))).collect()
                }
                other => unreachable!("the fixtures have no {other:?}"),
            };
            (name, (view.shape().to_vec(), values))
        });
        let metadata = serde_json::from_str(&metadata["reference"]).unwrap();
        Self { tensors: tensors.collect(), metadata }
    }

    /// A tensor's numbers, row by row.
    pub(crate) fn tensor(&self, name: &str) -> &[f64] {
        &self.tensors[name].1
    }

    /// A tensor's numbers, row by row, as f32.
    pub(crate) fn tensor_f32(&self, name: &str) -> Vec<f32> {
        self.tensor(name).iter().map(|value| *value as f32).collect()
    }

    /// A tensor's shape.
    pub(crate) fn shape(&self, name: &str) -> &[usize] {
        &self.tensors[name].0
    }

    /// An entry of the metadata.
    pub(crate) fn metadata<T: DeserializeOwned>(&self, key: &str) -> T {
        serde_json::from_value(self.metadata[key].clone()).unwrap()
    }
}
