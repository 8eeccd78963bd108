use burn::backend::Flex;
use burn::tensor::backend::AutodiffBackend;
use burn_autodiff::Autodiff;
use coderag_encoder::card::{CardEngine, CardOptions};
use coderag_encoder::device::{CudaCard, Device};
use coderag_encoder::engine::{Dropout, Trainable, TrainingOptions, TrainingPrecision};
use coderag_encoder::lora::{Adapter, AdapterConfig, LayerKind, ModuleSelection};
use coderag_encoder::{Architecture, ModelDirectory};

use super::training::Training;
use super::{Outcome, RunContext};
use crate::config::{LoraSettings, TrainConfig};
#[cfg(feature = "cuda")]
use crate::trainee::TOKENS_AT_ONCE_ON_CARD;
use crate::trainee::{BurnTrainee, CardTrainee, CpuTrainee};
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
    let adapter = adapter.as_ref();
    let Device::Cuda { card, required } = context.device else {
        return on_processor(config, context, &model, adapter);
    };
    match unsuitable_for_card(config, &model, adapter) {
        None => {
            let trainee = card_trainee(config, &model, adapter, card)?;
            Training::open(config, context, &model, trainee)?.run(adapter)
        }
        Some(problem) => {
            tracing::info!("the engine on cards does not take {problem}");
            without_engine(config, context, &model, adapter, (card, *required, &problem))
        }
    }
}

fn on_processor(
    config: &TrainConfig,
    context: &RunContext<'_>,
    model: &ModelDirectory,
    adapter: Option<&Adapter>,
) -> Result<Outcome> {
    match model.architecture() {
        Architecture::Bert(_) if !adapter.is_some_and(has_embeddings) => {
            let trainee = cpu_trainee(config, context, model, adapter)?;
            Training::open(config, context, model, trainee)?.run(adapter)
        }
        _ => {
            if config.precision != TrainingPrecision::F32 {
                let problem =
                    "on the processor Qwen2, Qwen3 and adapters of embeddings are trained in `f32`";
                return Err(Error::Setting { setting: "precision", problem: problem.to_owned() });
            }
            let trainee: BurnTrainee<Autodiff<Flex>> =
                burn_trainee(config, model, adapter, &Default::default())?;
            Training::open(config, context, model, trainee)?.run(adapter)
        }
    }
}

/// What the engine does not take trains on the card in burn.
#[cfg(feature = "cuda")]
fn without_engine(
    config: &TrainConfig,
    context: &RunContext<'_>,
    model: &ModelDirectory,
    adapter: Option<&Adapter>,
    (card, _, _): (&CudaCard, bool, &str),
) -> Result<Outcome> {
    let device = card.burn_device()?;
    let trainee: BurnTrainee<Autodiff<burn::backend::Cuda>> =
        burn_trainee(config, model, adapter, &device)?;
    let trainee =
        trainee.with_precision(config.precision.into()).with_tokens_at_once(TOKENS_AT_ONCE_ON_CARD);
    Training::open(config, context, model, trainee)?.run(adapter)
}

/// What the engine does not take trains on the processor, unless the card was asked for.
#[cfg(not(feature = "cuda"))]
fn without_engine(
    config: &TrainConfig,
    context: &RunContext<'_>,
    model: &ModelDirectory,
    adapter: Option<&Adapter>,
    (_, required, problem): (&CudaCard, bool, &str),
) -> Result<Outcome> {
    if required {
        let problem = format!(
            "the engine on cards does not take {problem}; train with `--device cpu`, or with a coderag that was \
             built with `--features cuda`"
        );
        return Err(Error::Setting { setting: "device", problem });
    }
    tracing::warn!("training on the processor: the engine on cards does not take {problem}");
    on_processor(config, &RunContext { device: &Device::Cpu, ..*context }, model, adapter)
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

/// What of a run the engine on cards does not take, if anything.
fn unsuitable_for_card(
    config: &TrainConfig,
    model: &ModelDirectory,
    adapter: Option<&Adapter>,
) -> Option<String> {
    let dropout = [config.dropout.hidden, config.dropout.attention];
    let adapter_dropout = adapter.map_or(0.0, |adapter| adapter.config().dropout);
    if dropout.into_iter().any(|rate| rate > 0.0) || adapter_dropout > 0.0 {
        return Some("dropout".to_owned());
    }
    if adapter.is_some_and(has_embeddings) {
        return Some("adapters of embeddings".to_owned());
    }
    CardEngine::unsuitable(model.architecture(), model.pooling())
}

fn card_trainee(
    config: &TrainConfig,
    model: &ModelDirectory,
    adapter: Option<&Adapter>,
    card: &CudaCard,
) -> Result<CardTrainee> {
    let (precision, recompute) = (config.precision, config.gradient_checkpointing);
    CardTrainee::load(model, trainable(model, adapter)?, card, CardOptions { precision, recompute })
}

/// What is trained.
fn trainable(model: &ModelDirectory, adapter: Option<&Adapter>) -> Result<Trainable> {
    Ok(match adapter {
        Some(adapter) => Trainable::Adapters(adapter.training_layers(&model.lora_places())?),
        None => Trainable::Everything,
    })
}

fn cpu_trainee(
    config: &TrainConfig,
    context: &RunContext<'_>,
    model: &ModelDirectory,
    adapter: Option<&Adapter>,
) -> Result<CpuTrainee> {
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
    CpuTrainee::load(model, trainable(model, adapter)?, &options)
}
