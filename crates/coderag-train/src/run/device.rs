use burn::backend::Flex;
use burn::tensor::backend::AutodiffBackend;
use burn_autodiff::Autodiff;
#[cfg(feature = "cuda")]
use coderag_encoder::device::Device;
use coderag_encoder::engine::{Dropout, Trainable, TrainingOptions, TrainingPrecision};
use coderag_encoder::lora::{Adapter, AdapterConfig, LayerKind, ModuleSelection};
use coderag_encoder::{Architecture, ModelDirectory};

use super::training::Training;
use super::{Outcome, RunContext};
use crate::config::{LoraSettings, TrainConfig};
#[cfg(feature = "cuda")]
use crate::trainee::TOKENS_AT_ONCE_ON_CARD;
use crate::trainee::{BurnTrainee, CpuTrainee};
use crate::{Error, Result};

/// Runs with the trainee that fits the model and the device.
pub(super) fn train(config: &TrainConfig, context: &RunContext<'_>) -> Result<Outcome> {
    config.check()?;
    let model = ModelDirectory::open(context.model, config.max_tokens)?;
    let adapter = match &config.lora {
        Some(lora) => {
            let settings = adapter_config(lora, context.base_model);
            Some(Adapter::initial(settings, &model.lora_places(), config.seed)?)
        }
        None => None,
    };
    #[cfg(feature = "cuda")]
    if let Device::Cuda(card) = context.device {
        let device = card.device();
        let trainee: BurnTrainee<Autodiff<burn::backend::Cuda>> =
            burn_trainee(config, &model, adapter.as_ref(), &device)?;
        let trainee = trainee
            .with_precision(config.precision.into())
            .with_tokens_at_once(TOKENS_AT_ONCE_ON_CARD);
        return Training::open(config, context, &model, trainee)?.run(adapter.as_ref());
    }
    match model.architecture() {
        Architecture::Bert(_) if !adapter.as_ref().is_some_and(has_embeddings) => {
            let trainee = cpu_trainee(config, context, &model, adapter.as_ref())?;
            Training::open(config, context, &model, trainee)?.run(adapter.as_ref())
        }
        _ => {
            if config.precision != TrainingPrecision::F32 {
                let problem =
                    "on the processor Qwen2, Qwen3 and adapters of embeddings are trained in `f32`";
                return Err(Error::Setting { setting: "precision", problem: problem.to_owned() });
            }
            let trainee: BurnTrainee<Autodiff<Flex>> =
                burn_trainee(config, &model, adapter.as_ref(), &Default::default())?;
            Training::open(config, context, &model, trainee)?.run(adapter.as_ref())
        }
    }
}

fn adapter_config(lora: &LoraSettings, base_model: &str) -> AdapterConfig {
    let modules = match &*lora.target_modules {
        [all] if all == "all-linear" => ModuleSelection::AllLinear,
        names => ModuleSelection::names(names.iter().cloned()),
    };
    AdapterConfig {
        rank_stabilized: lora.use_rslora,
        dropout: lora.lora_dropout,
        base_model: Some(base_model.to_owned()),
        ..AdapterConfig::new(lora.r, lora.lora_alpha, modules)
    }
}

/// Whether an adapter is also of embeddings, for which the engine on the processor has no backward pass.
fn has_embeddings(adapter: &Adapter) -> bool {
    adapter.layers().values().any(|layer| layer.kind() == LayerKind::Embedding)
}

/// A trainee on a card, or on the processor of what its engine has no backward pass for.
fn burn_trainee<B: AutodiffBackend>(
    config: &TrainConfig,
    model: &ModelDirectory,
    adapter: Option<&Adapter>,
    device: &B::Device,
) -> Result<BurnTrainee<B>> {
    let (dropout, checkpointing) = (config.dropout, config.gradient_checkpointing);
    BurnTrainee::load(model, adapter, dropout, checkpointing, device)
}

fn cpu_trainee(
    config: &TrainConfig,
    context: &RunContext<'_>,
    model: &ModelDirectory,
    adapter: Option<&Adapter>,
) -> Result<CpuTrainee> {
    let trainable = match adapter {
        Some(adapter) => Trainable::Adapters(adapter.training_layers(&model.lora_places())?),
        None => Trainable::Everything,
    };
    let options = TrainingOptions {
        precision: config.precision,
        threads: context.threads,
        recompute: config.gradient_checkpointing,
        dropout: Dropout {
            hidden: config.dropout.hidden,
            attention: config.dropout.attention,
            adapter: adapter.map_or(0.0, |adapter| adapter.config().dropout as f32),
        },
        ..TrainingOptions::default()
    };
    CpuTrainee::load(model, trainable, &options)
}
