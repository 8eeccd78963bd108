use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use coderag_core::Error as CoreError;
use coderag_core::atomic::AtomicFolder;
use safetensors::tensor::{Dtype, SafeTensors, View};
use serde::{Deserialize, Serialize};

use crate::data::SamplerState;
use crate::trainee::{ParameterState, TraineeState};
use crate::{Error, Result};

/// Where a run stands after a step; by default before the first one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Position {
    /// The steps done, of all stages.
    pub(super) step: u64,
    /// The stage of the next step, counted from 0.
    pub(super) stage: usize,
    /// The steps done of that stage.
    pub(super) stage_step: u64,
    /// Where its batches stand; nothing before its first step.
    pub(super) sampler: Option<SamplerState>,
    /// The best measurement so far.
    pub(super) best: Option<Best>,
    /// How many measurements in a row were no better than the best.
    pub(super) without_better: u64,
    /// Whether the run ended before its last step, because measurements got no better.
    pub(super) stopped_early: bool,
    /// The pairs that were trained on.
    pub(super) pairs: u64,
    /// The tokens of their texts.
    pub(super) tokens: u64,
    /// How long training and measuring took.
    pub(super) seconds: f64,
    /// The most memory that a process of the run has had, in bytes, where the system tells.
    pub(super) peak_memory: Option<u64>,
    /// Whether the checkpoint was written only because the run was stopped there: the next one replaces it.
    #[serde(default)]
    pub(super) interrupted: bool,
}

/// A measurement, and after which step it was made.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Best {
    pub(super) step: u64,
    /// nDCG@10, which sentence-transformers compares by too; rounded, so that JSON gives it back as it was.
    pub(super) ndcg_at_10: f64,
}

const POSITION: &str = "position.json";
const PARAMETERS: &str = "parameters.safetensors";
const FIRST_MOMENT: &str = ".first_moment";
const SECOND_MOMENT: &str = ".second_moment";

/// The folders of a run's steps under one parent, each named by its step.
#[derive(Debug)]
pub(super) struct StepFolders(pub(super) PathBuf);

impl StepFolders {
    pub(super) fn of(&self, step: u64) -> PathBuf {
        self.0.join(format!("step-{step:08}"))
    }

    /// The steps that there are, in order.
    pub(super) fn steps(&self) -> Result<Vec<u64>> {
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(CoreError::io("list", &self.0))?,
        };
        let mut steps = Vec::new();
        for entry in entries {
            let name = entry.map_err(CoreError::io("list", &self.0))?.file_name();
            let step = name.to_str().and_then(|name| name.strip_prefix("step-"));
            steps.extend(step.and_then(|step| step.parse::<u64>().ok()));
        }
        steps.sort_unstable();
        Ok(steps)
    }

    /// Removes what a killed run left of folders that it had not finished.
    pub(super) fn remove_unfinished(&self) -> Result<()> {
        let Ok(entries) = fs::read_dir(&self.0) else { return Ok(()) };
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(".step-") {
                let path = entry.path();
                fs::remove_dir_all(&path).map_err(CoreError::io("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Removes all but these.
    pub(super) fn keep(&self, kept: &[u64]) -> Result<()> {
        for step in self.steps()?.into_iter().filter(|step| !kept.contains(step)) {
            let path = self.of(step);
            fs::remove_dir_all(&path).map_err(CoreError::io("remove", &path))?;
        }
        Ok(())
    }
}

/// Writes a checkpoint; it is there as a whole or not at all.
pub(super) fn write(folder: &Path, position: &Position, state: &TraineeState) -> Result<()> {
    let target = AtomicFolder::begin(folder)?;
    let path = target.path().join(POSITION);
    let text = serde_json::to_string_pretty(position)
        .map_err(|error| CoreError::io("write", &path)(error.into()))?;
    fs::write(&path, text + "\n").map_err(CoreError::io("write", &path))?;
    write_parameters(&target.path().join(PARAMETERS), state)?;
    Ok(target.commit()?)
}

/// Reads what [`write`] wrote.
pub(super) fn read(folder: &Path) -> Result<(Position, TraineeState)> {
    let position = read_position(folder)?;
    let path = folder.join(PARAMETERS);
    let damaged = |problem: String| damaged(folder, PARAMETERS, problem);
    let bytes = fs::read(&path).map_err(CoreError::io("read", &path))?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| damaged(error.to_string()))?;
    let values = |name: &str| -> Result<Option<Vec<f32>>> {
        let Ok(tensor) = tensors.tensor(name) else { return Ok(None) };
        if tensor.dtype() != Dtype::F32 {
            return Err(damaged(format!("`{name}` is not of f32")));
        }
        let values = tensor.data().as_chunks().0;
        Ok(Some(values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()))
    };
    let mut state = TraineeState::new();
    for name in tensors.names() {
        if name.ends_with(FIRST_MOMENT) || name.ends_with(SECOND_MOMENT) {
            continue;
        }
        let shape = tensors.tensor(name).map(|tensor| tensor.shape().to_vec()).unwrap_or_default();
        let moment =
            |suffix| Ok::<_, Error>(values(&format!("{name}{suffix}"))?.unwrap_or_default());
        let parameter = ParameterState {
            shape,
            value: values(name)?.unwrap_or_default(),
            first_moment: moment(FIRST_MOMENT)?,
            second_moment: moment(SECOND_MOMENT)?,
        };
        let lengths = [parameter.first_moment.len(), parameter.second_moment.len()];
        if lengths != [0, 0] && lengths != [parameter.value.len(); 2] {
            return Err(damaged(format!("the moments of `{name}` have other sizes than it")));
        }
        state.insert(name.to_owned(), parameter);
    }
    Ok((position, state))
}

pub(super) fn read_position(folder: &Path) -> Result<Position> {
    let path = folder.join(POSITION);
    let bytes = fs::read(&path).map_err(CoreError::io("read", &path))?;
    serde_json::from_slice(&bytes).map_err(|error| damaged(folder, POSITION, error.to_string()))
}

fn damaged(folder: &Path, file: &str, problem: String) -> Error {
    Error::DamagedCheckpoint { path: folder.to_owned(), problem: format!("`{file}`: {problem}") }
}

fn write_parameters(path: &Path, state: &TraineeState) -> Result<()> {
    let mut tensors: BTreeMap<String, Values<'_>> = BTreeMap::new();
    for (name, parameter) in state {
        let shape = &parameter.shape;
        let mut add = |suffix, values| {
            tensors.insert(format!("{name}{suffix}"), Values { shape, values });
        };
        add("", &parameter.value);
        if !parameter.first_moment.is_empty() {
            add(FIRST_MOMENT, &parameter.first_moment);
            add(SECOND_MOMENT, &parameter.second_moment);
        }
    }
    safetensors::serialize_to_file(tensors, None, path).map_err(|error| match error {
        safetensors::SafeTensorError::IoError(source) => {
            CoreError::io("write", path)(source).into()
        }
        other => Error::DamagedRun { path: path.to_owned(), problem: other.to_string() },
    })
}

/// A tensor of f32 on its way into a file.
struct Values<'a> {
    shape: &'a [usize],
    values: &'a [f32],
}

impl View for Values<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        self.shape
    }

    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        self.values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    fn data_len(&self) -> usize {
        size_of_val(self.values)
    }
}
