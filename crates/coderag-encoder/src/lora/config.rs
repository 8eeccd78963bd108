use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::pattern::ModulePattern;
use super::selection::{BlockSelection, LayerKind, ModuleSelection};
use crate::{Error, Result};

/// The file's name in an adapter's folder.
pub(super) const CONFIG_FILE: &str = "adapter_config.json";

/// Beyond any use, and small enough that a damaged file cannot exhaust the memory.
const GREATEST_RANK: usize = 65_536;

/// The settings of a LoRA adapter ("LoRA: Low-Rank Adaptation of Large Language Models", Hu et al., 2021),
/// as PEFT's `adapter_config.json` has them.
///
/// Where a setting depends on a module's name, it is the module's dotted path in the model that the adapter
/// was trained on.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterConfig {
    /// `r`: how many columns A and rows B have between them, at least 1.
    pub rank: usize,
    /// `lora_alpha`: the product of A and B is scaled by this over the rank.
    pub alpha: f64,
    /// `use_rslora`: scale by alpha over the root of the rank instead ("A Rank Stabilization Scaling Factor
    /// for Fine-Tuning with LoRA", Kalajdzievski, 2023).
    pub rank_stabilized: bool,
    /// `lora_dropout`: how likely an input of A is set to 0 in training, below 1.
    pub dropout: f64,
    /// `target_modules`: the layers that get A and B.
    pub target_modules: ModuleSelection,
    /// `exclude_modules`: layers that get none although they are targets.
    pub exclude_modules: Option<ModuleSelection>,
    /// `layers_to_transform`: only these blocks get any; all when nothing.
    pub blocks: Option<BlockSelection>,
    /// `rank_pattern`: other ranks for some modules; the first pattern that matches counts.
    pub rank_pattern: Vec<(ModulePattern, usize)>,
    /// `alpha_pattern`: other alphas for some modules; the first pattern that matches counts.
    pub alpha_pattern: Vec<(ModulePattern, f64)>,
    /// `task_type`, such as `FEATURE_EXTRACTION`; it has no influence here.
    pub task_type: Option<String>,
    /// `base_model_name_or_path`: where the trainer found the base; it is never looked up.
    pub base_model: Option<String>,
}

impl AdapterConfig {
    /// Settings with PEFT's defaults for the rest: plain scaling, no dropout.
    pub fn new(rank: usize, alpha: f64, target_modules: ModuleSelection) -> Self {
        Self {
            rank,
            alpha,
            rank_stabilized: false,
            dropout: 0.0,
            target_modules,
            exclude_modules: None,
            blocks: None,
            rank_pattern: Vec::new(),
            alpha_pattern: Vec::new(),
            task_type: Some("FEATURE_EXTRACTION".to_owned()),
            base_model: None,
        }
    }

    /// Reads `adapter_config.json` from an adapter's folder.
    ///
    /// # Errors
    /// [`Error::Missing`] and [`Error::Settings`] about the file, [`Error::Unsupported`] for what is not
    /// plain LoRA on linear layers and embeddings, [`Error::Invalid`] for values that make no sense.
    pub fn read(directory: &Path) -> Result<Self> {
        let path = directory.join(CONFIG_FILE);
        if !path.is_file() {
            let hint = "is this the folder of a PEFT adapter?";
            return Err(Error::Missing { path, hint });
        }
        let bytes = fs::read(&path).map_err(coderag_core::Error::io("read", &path))?;
        let stored: Stored = serde_json::from_slice(&bytes)
            .map_err(|source| Error::Settings { path: path.clone(), source })?;
        if let Some(what) = stored.unsupported() {
            return Err(Error::Unsupported { path, what });
        }
        let config = stored.config().and_then(|config| config.problem().map_or(Ok(config), Err));
        config.map_err(|problem| Error::Invalid { path, problem })
    }

    /// Says what is wrong with the values, if anything is.
    pub(crate) fn problem(&self) -> Option<String> {
        let Self { rank, alpha, dropout, .. } = self;
        let ranks = self.rank_pattern.iter().map(|(_, rank)| rank).chain([rank]);
        let alphas = self.alpha_pattern.iter().map(|(_, alpha)| alpha).chain([alpha]);
        if let Some(rank) = { ranks }.find(|rank| !(1..=GREATEST_RANK).contains(*rank)) {
            Some(format!("the rank {rank} is not between 1 and {GREATEST_RANK}"))
        } else if let Some(alpha) = { alphas }.find(|alpha| !alpha.is_finite()) {
            Some(format!("lora_alpha is {alpha}"))
        } else if !(0.0..1.0).contains(dropout) {
            Some(format!("lora_dropout {dropout} is not between 0 and 1"))
        } else if self.blocks.is_some() && !matches!(self.target_modules, ModuleSelection::Names(_))
        {
            Some("layers_to_transform needs target_modules to be a list of names".to_owned())
        } else {
            None
        }
    }

    /// Whether a layer gets A and B.
    pub fn targets(&self, module: &str, kind: LayerKind) -> bool {
        let excluded = self.exclude_modules.as_ref();
        self.target_modules.contains(module, kind)
            && !excluded.is_some_and(|excluded| excluded.contains(module, kind))
            // PEFT does not ask for the block of a module that is named with its whole path.
            && (self.target_modules.names_whole(module)
                || self.blocks.as_ref().is_none_or(|blocks| blocks.contains(module)))
    }

    /// The rank at a module.
    pub fn rank_of(&self, module: &str) -> usize {
        first_match(&self.rank_pattern, module).unwrap_or(self.rank)
    }

    /// What the product of A and B is multiplied with at a module.
    pub fn scale_of(&self, module: &str) -> f64 {
        let alpha = first_match(&self.alpha_pattern, module).unwrap_or(self.alpha);
        let rank = self.rank_of(module) as f64;
        alpha / if self.rank_stabilized { rank.sqrt() } else { rank }
    }

    /// The content of `adapter_config.json`, with the keys in PEFT's order.
    pub(super) fn to_json(&self) -> Value {
        let alpha = |alpha: f64| match alpha {
            // PEFT's own files have whole numbers.
            whole if whole.fract() == 0.0 && whole.abs() < 1e15 => json!(whole as i64),
            other => json!(other),
        };
        let modules = |selection: &ModuleSelection| match selection {
            ModuleSelection::AllLinear => json!(ALL_LINEAR),
            ModuleSelection::Names(names) => json!(names),
            ModuleSelection::Pattern(pattern) => json!(pattern.source()),
        };
        let lists = self.blocks.as_ref().map(BlockSelection::lists);
        let ranks = self.rank_pattern.iter();
        let alphas = self.alpha_pattern.iter();
        json!({
            "alpha_pattern": alphas
                .map(|(pattern, value)| (pattern.source().to_owned(), alpha(*value)))
                .collect::<Map<_, _>>(),
            "base_model_name_or_path": self.base_model,
            "bias": "none",
            "exclude_modules": self.exclude_modules.as_ref().map(modules),
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "layers_pattern": lists.filter(|lists| !lists.is_empty()),
            "layers_to_transform": self.blocks.as_ref().map(BlockSelection::indices),
            "lora_alpha": alpha(self.alpha),
            "lora_dropout": self.dropout,
            "modules_to_save": null,
            "peft_type": LORA,
            "r": self.rank,
            "rank_pattern": ranks
                .map(|(pattern, rank)| (pattern.source().to_owned(), json!(rank)))
                .collect::<Map<_, _>>(),
            "revision": null,
            "target_modules": modules(&self.target_modules),
            "task_type": self.task_type,
            "use_dora": false,
            "use_rslora": self.rank_stabilized,
        })
    }
}

fn first_match<T: Copy>(patterns: &[(ModulePattern, T)], module: &str) -> Option<T> {
    patterns.iter().find(|(pattern, _)| pattern.matches(module)).map(|(_, value)| *value)
}

const LORA: &str = "LORA";
const ALL_LINEAR: &str = "all-linear";

/// Keys that have no influence on what a trained adapter computes.
const WITHOUT_INFLUENCE: &[&str] = &[
    // About the file and its making.
    "auto_mapping",
    "inference_mode",
    "peft_version",
    "revision",
    "runtime_config",
    // PEFT ignores it on the layers that are supported here.
    "fan_in_fan_out",
    // Settings of what another key, which is refused, switches on.
    "eva_config",
    "megatron_core",
    "qalora_group_size",
];

/// Ways of drawing the first A and B that leave the base as it is.
const INITIALIZATIONS: &[&str] = &["gaussian", "eva", "orthogonal"];

/// The file as it is stored.
#[derive(Deserialize)]
struct Stored {
    peft_type: Option<String>,
    r: usize,
    lora_alpha: f64,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    lora_dropout: f64,
    target_modules: Option<OneOrMore<String>>,
    exclude_modules: Option<OneOrMore<String>>,
    layers_to_transform: Option<OneOrMore<usize>>,
    layers_pattern: Option<OneOrMore<String>>,
    rank_pattern: Option<Map<String, Value>>,
    alpha_pattern: Option<Map<String, Value>>,
    bias: Option<String>,
    init_lora_weights: Option<Value>,
    task_type: Option<String>,
    base_model_name_or_path: Option<String>,
    /// Those of other methods and of other versions of PEFT.
    #[serde(flatten)]
    others: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore<T> {
    One(T),
    More(Vec<T>),
}

impl<T> OneOrMore<T> {
    fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(one) => vec![one],
            Self::More(more) => more,
        }
    }
}

impl Stored {
    /// What is asked for that plain LoRA does not do.
    fn unsupported(&self) -> Option<String> {
        match self.peft_type.as_deref() {
            Some(LORA) => {}
            Some(other) => return Some(format!("peft_type {other} is not supported, only {LORA}")),
            None => return Some(format!("peft_type is missing; only {LORA} is supported")),
        }
        if self.target_modules.is_none() {
            return Some("target_modules is null; name the modules or give a pattern".to_owned());
        }
        let merged = "merge the adapter in PEFT with merge_and_unload and use the merged model";
        if let Some(bias) = self.bias.as_deref().filter(|bias| *bias != "none") {
            return Some(format!("bias \"{bias}\" is not supported, only \"none\"; {merged}"));
        }
        if let Some(Value::String(initial)) = &self.init_lora_weights
            && !INITIALIZATIONS.contains(&initial.as_str())
        {
            return Some(format!(
                "init_lora_weights \"{initial}\" is not supported, since it may change the base's weights; save \
                 the adapter with path_initial_model_for_weight_conversion, or {merged}"
            ));
        }
        let others = self.others.iter();
        let mut others = others.filter(|(key, _)| !WITHOUT_INFLUENCE.contains(&key.as_str()));
        // Every version of PEFT adds keys that switch something on.
        let (key, value) = others.find(|(_, value)| !is_off(value))?;
        Some(format!("{key} {value} is not supported; {merged}"))
    }

    fn config(self) -> std::result::Result<AdapterConfig, String> {
        let selection = |modules| match modules {
            OneOrMore::More(names) => Ok(ModuleSelection::Names(names)),
            OneOrMore::One(source) => ModulePattern::whole(&source).map(ModuleSelection::Pattern),
        };
        let target_modules = match self.target_modules {
            Some(OneOrMore::One(name)) if name.eq_ignore_ascii_case(ALL_LINEAR) => {
                ModuleSelection::AllLinear
            }
            Some(modules) => selection(modules)?,
            None => return Err("target_modules is null".to_owned()),
        };
        let exclude_modules = match self.exclude_modules {
            Some(OneOrMore::One(nothing)) if nothing.is_empty() => None,
            modules => modules.map(selection).transpose()?,
        };
        let indices = self.layers_to_transform.map(OneOrMore::into_vec).unwrap_or_default();
        let mut lists = self.layers_pattern.map(OneOrMore::into_vec).unwrap_or_default();
        lists.retain(|list| !list.is_empty());
        if indices.is_empty() && !lists.is_empty() {
            return Err("layers_pattern needs layers_to_transform".to_owned());
        }
        let some_blocks = !indices.is_empty();
        let blocks = some_blocks.then(|| BlockSelection::new(indices, lists)).transpose()?;
        let rank = |value: &Value| value.as_u64().and_then(|rank| usize::try_from(rank).ok());
        Ok(AdapterConfig {
            rank: self.r,
            alpha: self.lora_alpha,
            rank_stabilized: self.use_rslora,
            dropout: self.lora_dropout,
            target_modules,
            exclude_modules,
            blocks,
            rank_pattern: patterns("rank_pattern", self.rank_pattern, rank)?,
            alpha_pattern: patterns("alpha_pattern", self.alpha_pattern, Value::as_f64)?,
            task_type: self.task_type,
            base_model: self.base_model_name_or_path,
        })
    }
}

fn patterns<T>(
    key: &str,
    stored: Option<Map<String, Value>>,
    read: impl Fn(&Value) -> Option<T>,
) -> std::result::Result<Vec<(ModulePattern, T)>, String> {
    let stored = stored.unwrap_or_default();
    let read = |(source, value): (&String, &Value)| {
        let pattern =
            ModulePattern::ending(source).map_err(|problem| format!("{key}: {problem}"))?;
        let value =
            read(value).ok_or_else(|| format!("{key}: `{source}` has the value {value}"))?;
        Ok((pattern, value))
    };
    stored.iter().map(read).collect()
}

/// Whether a setting is at a value with which nothing happens.
fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(values) => values.is_empty(),
        _ => false,
    }
}
