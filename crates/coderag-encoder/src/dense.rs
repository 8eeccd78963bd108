use std::path::Path;

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::Tensor;
use burn::tensor::activation::{gelu, relu};
use burn::tensor::backend::Backend;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::checkpoint::{Checkpoint, CheckpointNames};
use crate::weights::load_into;
use crate::{Error, Result};

/// A layer after pooling, as sentence-transformers' `Dense` module.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct DenseConfig {
    in_features: usize,
    pub(crate) out_features: usize,
    bias: bool,
    activation: DenseActivation,
}

/// What follows the product of a [`DenseConfig`].
#[derive(Clone, Copy, Debug, Serialize)]
enum DenseActivation {
    Identity,
    Tanh,
    Relu,
    Gelu,
}

/// Its `config.json`.
#[derive(Deserialize)]
struct Settings {
    in_features: usize,
    out_features: usize,
    #[serde(default = "yes")]
    bias: bool,
    /// Python's path to the class.
    #[serde(default = "tanh")]
    activation_function: String,
    #[serde(default)]
    use_residual: bool,
    module_input_name: Option<String>,
    module_output_name: Option<String>,
}

// What sentence-transformers assumes.
fn yes() -> bool {
    true
}

fn tanh() -> String {
    "torch.nn.modules.activation.Tanh".into()
}

impl DenseConfig {
    /// Reads the settings of a layer for vectors of `in_features`.
    pub(crate) fn read(path: &Path, in_features: usize) -> Result<Self> {
        let settings: Settings = crate::sentence_transformers::read_required(
            path,
            "it tells the sizes of the Dense module",
        )?;
        if settings.in_features != in_features {
            return Err(Error::Invalid {
                path: path.into(),
                problem: format!(
                    "in_features {} is not the width {in_features} of the vectors before it",
                    settings.in_features
                ),
            });
        }
        if settings.out_features == 0 {
            return Err(Error::Invalid { path: path.into(), problem: "out_features is 0".into() });
        }
        let unsupported = |what| Err(Error::Unsupported { path: path.into(), what });
        for (key, value) in [
            ("module_input_name", &settings.module_input_name),
            ("module_output_name", &settings.module_output_name),
        ] {
            if let Some(value) = value.as_ref().filter(|value| *value != "sentence_embedding") {
                return unsupported(format!(
                    "{key} `{value}` is not supported, only sentence_embedding"
                ));
            }
        }
        if settings.use_residual {
            return unsupported("use_residual true is not supported".into());
        }
        let class = settings.activation_function.rsplit('.').next().unwrap_or_default();
        let activation = match class {
            "Identity" => DenseActivation::Identity,
            "Tanh" => DenseActivation::Tanh,
            "ReLU" => DenseActivation::Relu,
            "GELU" => DenseActivation::Gelu,
            _ => {
                return unsupported(format!(
                    "activation_function `{}` is not supported, only Identity, Tanh, ReLU and GELU",
                    settings.activation_function
                ));
            }
        };
        let Settings { in_features, out_features, bias, .. } = settings;
        Ok(Self { in_features, out_features, bias, activation })
    }

    /// What sentence-transformers and text-embeddings-inference read in `config.json`.
    pub(crate) fn to_json(&self) -> Value {
        let activation_function = match self.activation {
            DenseActivation::Identity => "torch.nn.modules.linear.Identity",
            DenseActivation::Tanh => "torch.nn.modules.activation.Tanh",
            DenseActivation::Relu => "torch.nn.modules.activation.ReLU",
            DenseActivation::Gelu => "torch.nn.modules.activation.GELU",
        };
        json!({
            "in_features": self.in_features,
            "out_features": self.out_features,
            "bias": self.bias,
            "activation_function": activation_function,
        })
    }

    /// Opens the weights of the layer.
    pub(crate) fn open(&self, path: &Path) -> Result<Checkpoint> {
        Checkpoint::open(path, CheckpointNames::default())
    }
}

/// A [`DenseConfig`] in burn.
#[derive(Module, Debug)]
pub(crate) struct Dense<B: Backend> {
    linear: Linear<B>,
    #[module(skip)]
    activation: DenseActivation,
}

impl<B: Backend> Dense<B> {
    pub(crate) fn load(
        config: &DenseConfig,
        mut checkpoint: Checkpoint,
        device: &B::Device,
    ) -> Result<Self> {
        let linear = LinearConfig::new(config.in_features, config.out_features)
            .with_bias(config.bias)
            .init(device);
        let dense = Self { linear, activation: config.activation };
        let dense = load_into(dense, &mut checkpoint, &[], device);
        checkpoint.finish()?;
        Ok(dense)
    }

    /// `[batch, in_features]` to `[batch, out_features]`.
    pub(crate) fn forward(&self, vectors: Tensor<B, 2>) -> Tensor<B, 2> {
        let vectors = self.linear.forward(vectors);
        match self.activation {
            DenseActivation::Identity => vectors,
            DenseActivation::Tanh => vectors.tanh(),
            DenseActivation::Relu => relu(vectors),
            DenseActivation::Gelu => gelu(vectors),
        }
    }
}

/// A [`DenseConfig`] on the processor.
#[derive(Debug)]
pub(crate) struct CpuDense {
    /// `[out_features, in_features]`
    weight: Vec<f32>,
    /// `[out_features]`
    bias: Vec<f32>,
    activation: DenseActivation,
}

impl CpuDense {
    pub(crate) fn load(config: &DenseConfig, mut checkpoint: Checkpoint) -> Result<Self> {
        let DenseConfig { in_features, out_features, bias, activation } = *config;
        let weight = checkpoint.take("linear.weight", &[out_features, in_features]);
        let bias = match bias {
            true => checkpoint.take_vector("linear.bias", out_features),
            false => vec![0.0; out_features],
        };
        checkpoint.finish()?;
        let weight = weight.map(|weight| weight.values()).unwrap_or_default();
        Ok(Self { weight, bias, activation })
    }

    /// `[in_features]` to `[out_features]`.
    pub(crate) fn forward(&self, vector: &[f32]) -> Vec<f32> {
        let rows = self.weight.chunks_exact(vector.len()).zip(&self.bias);
        rows.map(|(row, bias)| {
            let value = dot(row, vector) + bias;
            match self.activation {
                DenseActivation::Identity => value,
                DenseActivation::Tanh => value.tanh(),
                DenseActivation::Relu => value.max(0.0),
                DenseActivation::Gelu => {
                    let half = 0.5 * value;
                    half + half * libm::erff(value * std::f32::consts::FRAC_1_SQRT_2)
                }
            }
        })
        .collect()
    }
}

/// With several sums, which the compiler turns into vector instructions.
fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut sums = [0.0; 16];
    let (left_chunks, left_rest) = left.as_chunks::<16>();
    let (right_chunks, right_rest) = right.as_chunks::<16>();
    for (left, right) in left_chunks.iter().zip(right_chunks) {
        for ((sum, left), right) in sums.iter_mut().zip(left).zip(right) {
            *sum += left * right;
        }
    }
    let rest: f32 = left_rest.iter().zip(right_rest).map(|(left, right)| left * right).sum();
    sums.iter().sum::<f32>() + rest
}
