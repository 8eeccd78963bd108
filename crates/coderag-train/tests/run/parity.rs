//! The losses of sentence-transformers, step by step (`scripts/reference_training.py`).

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use coderag_core::Silent;
use coderag_encoder::device::Device;
use coderag_train::config::TrainConfig;
use coderag_train::record::{MetricsLog, Record, StepRecord};
use coderag_train::run::{RunContext, train};
use serde::Deserialize;

/// What the script wrote down.
#[derive(Deserialize)]
struct Reference {
    losses: Vec<f64>,
    gradient_norms: Vec<f64>,
}

fn reference(name: &str) -> Reference {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The model and the pairs, where they are at hand.
fn inputs() -> Option<(PathBuf, PathBuf)> {
    let data = std::env::var_os("CODERAG_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")),
        PathBuf::from,
    );
    let cache = std::env::var_os("CODERAG_CACHE").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/coderag"),
        PathBuf::from,
    );
    let model = cache.join("models/all-MiniLM-L6-v2");
    let pairs = data.join("pydoc/train.jsonl.gz");
    let required = std::env::var_os("CODERAG_REQUIRE_MODELS").is_some_and(|value| value == "1");
    for path in [&model, &pairs] {
        if !path.exists() {
            assert!(!required || path == &pairs, "{} is not there", path.display());
            println!("skipped: {} is not there", path.display());
            return None;
        }
    }
    Some((model, pairs))
}

/// The steps of the script's recipe.
fn steps(model: &Path, pairs: &Path, top: &str, learning_rate: f64) -> Vec<StepRecord> {
    let text = format!(
        "model = 'all-MiniLM-L6-v2'\nmax_tokens = 48\n{top}\n[[stage]]\nname = 'parity'\nsteps = 50\n\
         learning_rate = {learning_rate}\nmax_gradient_norm = 1.0\n\
         schedule = {{ decay = 'linear', warm_up_steps = 10 }}\n\
         adamw = {{ weight_decay = 0.01, epsilon = 1e-8 }}\n\
         loss = {{ name = 'multiple_negatives_ranking', scale = 20.0 }}\n\
         batches = {{ batch_size = 32, order = 'file', no_duplicates = false }}\n\
         [[stage.source]]\nname = 'pydoc'\nfiles = ['{}']\n\
         columns = {{ anchor = 'query', positive = 'doc' }}\n",
        pairs.display()
    );
    let config: TrainConfig = coderag_core::config::parse(&text, "train.toml").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("run");
    let context = RunContext {
        model,
        base_model: "sentence-transformers/all-MiniLM-L6-v2",
        output: &output,
        device: &Device::Cpu,
        threads: None,
        restart: false,
        stop_after: None,
        interrupt: &AtomicBool::new(false),
        progress: &Silent,
    };
    train(&config, &context).unwrap();
    let records = MetricsLog::read(&output.join("metrics.jsonl")).unwrap().into_iter();
    let steps = records.filter_map(|record| match record {
        Record::Step(step) => Some(step),
        Record::Evaluation(_) => None,
    });
    steps.collect()
}

fn assert_equal(steps: &[StepRecord], reference: &Reference) {
    assert_eq!((steps.len(), reference.losses.len()), (50, 50));
    let mut largest = (0.0f64, 0.0f64);
    for (step, (loss, norm)) in
        steps.iter().zip(reference.losses.iter().zip(&reference.gradient_norms))
    {
        largest.0 = largest.0.max((step.loss - loss).abs());
        largest.1 = largest.1.max((step.gradient_norm - norm).abs() / norm);
    }
    println!("largest difference of a loss {:.2e}, of a norm {:.2e} of it", largest.0, largest.1);
    assert!(largest.0 <= 1e-3 && largest.1 <= 1e-2, "{largest:?}");
    // They do go down, so that equal losses are not those of a model that stays as it is.
    let mean = |steps: &[StepRecord]| steps.iter().map(|step| step.loss).sum::<f64>() / 10.0;
    assert!(mean(&steps[40..]) < mean(&steps[..10]));
}

#[test]
fn fifty_steps_of_full_fine_tuning_have_the_losses_of_sentence_transformers() {
    let Some((model, pairs)) = inputs() else { return };
    assert_equal(&steps(&model, &pairs, "", 2e-5), &reference("training_full.json"));
}

#[test]
fn fifty_steps_with_an_adapter_have_the_losses_of_peft_and_sentence_transformers() {
    let Some((model, pairs)) = inputs() else { return };
    let lora =
        "lora = { r = 16, lora_alpha = 32, target_modules = ['query', 'key', 'value', 'dense'] }";
    assert_equal(&steps(&model, &pairs, lora, 2e-4), &reference("training_lora.json"));
}
