//! `coderag train` on the encoder's small models.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::{command, project, run, run_well};

fn fixture(name: &str) -> PathBuf {
    project().join("crates/coderag-encoder/tests/fixtures").join(name)
}

/// A folder with pairs and the settings of a run.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(model: &str, settings: &str, stage: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let words = ["select", "order", "table", "create", "find", "from", "finding", "the"];
        let word = |index: usize| words[index % words.len()];
        let pair = |index: usize| {
            let (first, second) = (word(index), word(index / 8 + 3));
            format!(
                "{{\"query\": \"{first} the {second} {index}\", \"doc\": \"{second} {first} {index} x\"}}\n"
            )
        };
        let pairs: String = (0..64).map(pair).collect();
        fs::write(folder.path("pairs.jsonl"), pairs).unwrap();
        let columns = "columns = { anchor = 'query', positive = 'doc' }";
        let files = format!("files = ['{}']", folder.path("pairs.jsonl").display());
        let text = format!(
            "model = '{}'\n{settings}\n[[stage]]\nname = 'pairs'\nlearning_rate = 1e-3\n{stage}\n\
             loss = {{ name = 'multiple_negatives_ranking' }}\n\
             [[stage.source]]\nname = 'pairs'\n{files}\n{columns}\n",
            fixture(model).display()
        );
        let text =
            text.replace("DEVELOPMENT", &format!("{{ name = 'pairs', {files}, {columns} }}"));
        fs::write(folder.path("train.toml"), text).unwrap();
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn arguments(&self, output: &str, more: &[&str]) -> Vec<String> {
        let (config, output) = (self.path("train.toml"), self.path(output));
        let fixed =
            ["train", "--config", config.to_str().unwrap(), "--output", output.to_str().unwrap()];
        fixed.iter().chain(more).map(|&argument| argument.to_owned()).collect()
    }

    fn start(&self, output: &str) -> Child {
        let arguments = self.arguments(output, &[]);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn train(&self, output: &str, more: &[&str]) -> crate::program::Run {
        let arguments = self.arguments(output, more);
        run_well(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Waits until a run has done so many steps.
    fn wait(&self, output: &str, steps: usize) {
        let path = self.path(output).join("metrics.jsonl");
        let started = Instant::now();
        while fs::read_to_string(&path).map_or(0, |text| text.lines().count()) < steps {
            assert!(started.elapsed() < Duration::from_secs(120), "no {steps} steps");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn losses(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    records.filter(|record| record["kind"] == "step").map(|mut step| step["loss"].take()).collect()
}

/// Settings with much that a resumed run must not lose.
const SETTINGS: &str = "dropout = { hidden = 0.1 }\ncheckpoints = { every = 7, keep = 2 }";
const STAGE: &str = "steps = 300\nmax_gradient_norm = 1.0\nbatches = { batch_size = 24 }\n\
                     schedule = { decay = 'cosine', warm_up_steps = 20 }";

#[test]
fn a_killed_run_goes_on_as_if_nothing_had_happened() {
    for lora in ["", "lora = { r = 4, lora_alpha = 8, lora_dropout = 0.1 }"] {
        let folder = Folder::new("small-bert", &format!("{SETTINGS}\n{lora}"), STAGE);
        folder.train("whole", &[]);
        for steps in [1, 60, 155] {
            let mut killed = folder.start("killed");
            folder.wait("killed", steps);
            killed.kill().unwrap();
            killed.wait().unwrap();
            assert!(!folder.path("killed/model").exists(), "it was over before it was killed");
        }
        folder.train("killed", &[]);
        assert_eq!(losses(&folder.path("killed")), losses(&folder.path("whole")));
        let weights =
            |run: &str| fs::read(folder.path(run).join("model/model.safetensors")).unwrap();
        assert_eq!(weights("killed"), weights("whole"));
    }
}

#[test]
fn an_interrupted_run_says_where_it_stands_and_goes_on() {
    let folder = Folder::new("small-bert", SETTINGS, STAGE);
    let mut running = folder.start("run");
    folder.wait("run", 30);
    let second = folder.arguments("run", &[]);
    let second = run(&second.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(second.code == 1 && second.stderr.contains("another process works on"), "{second}");
    let id = running.id().to_string();
    let sent = std::process::Command::new("kill").args(["-INT", &id]).status().unwrap();
    assert!(sent.success());
    assert!(running.wait().unwrap().success());
    let mut told = String::new();
    std::io::Read::read_to_string(&mut running.stderr.take().unwrap(), &mut told).unwrap();
    assert!(told.contains("stopped after step") && told.contains("goes on from"), "{told}");
    let stopped = losses(&folder.path("run")).len();
    assert!(folder.path(&format!("run/checkpoints/step-{stopped:08}")).is_dir(), "{stopped}");
    folder.train("run", &[]);
    assert_eq!(losses(&folder.path("run")).len(), 300);
    let restarted = folder.train("run", &["--restart", "--stop-after", "3"]);
    assert!(restarted.stderr.contains("stopped after step 3"), "{restarted}");
    assert_eq!(losses(&folder.path("run")).len(), 3);
}

#[test]
fn scores_are_printed_and_the_model_embeds() {
    let evaluation = "[evaluation]\nevery = 20\nsource = DEVELOPMENT";
    let settings = format!("lora = {{ r = 4, lora_alpha = 8 }}\n{evaluation}");
    let stage = "steps = 40\nbatches = { batch_size = 16 }";
    // Qwen3's weights are of bf16, to which merged ones are rounded.
    for (model, rounding) in [("small-bert", 1e-5), ("architectures/qwen3-last-token", 2e-2)] {
        let folder = Folder::new(model, &settings, stage);
        let run = folder.train("run", &[]);
        let lines: Vec<&str> = run.stdout.lines().collect();
        assert!(lines[0].contains("recall@1") && lines[0].contains("nDCG@10"), "{run}");
        assert!(lines[1].starts_with("before") && lines[2].starts_with("after"), "{run}");
        let json = folder.train("run", &["--json"]).stdout;
        let summary: Value = serde_json::from_str(&json).unwrap();
        let score = |when: &str| summary[when]["scores"]["ndcg_at_10"].as_f64().unwrap();
        assert!(score("best") > score("before"), "{json}");
        assert_eq!(summary["steps"], 40);

        let embed = |arguments: &[&str]| -> Vec<f64> {
            let texts = folder.path("texts.txt");
            fs::write(&texts, "find the table\nselect from the order\n").unwrap();
            let input = ["embed", "--input", texts.to_str().unwrap(), "--output", "-"];
            let lines = run_well(&[&input, arguments].concat()).stdout;
            let rows = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            rows.flat_map(|row| row["embedding"].as_array().unwrap().clone())
                .map(|value| value.as_f64().unwrap())
                .collect()
        };
        let (merged, adapter) = (folder.path("run/model"), folder.path("run/adapter"));
        let base = fixture(model);
        let merged = embed(&["--model", merged.to_str().unwrap()]);
        let base = base.to_str().unwrap();
        let adapted = embed(&["--model", base, "--adapter", adapter.to_str().unwrap()]);
        let plain = embed(&["--model", base]);
        let difference = |left: &[f64], right: &[f64]| {
            let pairs = left.iter().zip(right);
            pairs.map(|(left, right)| (left - right).abs()).fold(0.0, f64::max)
        };
        let (same, other) = (difference(&merged, &adapted), difference(&merged, &plain));
        assert!(same < rounding && other > 2.0 * same, "{model}: {same} {other}");
    }
}

#[test]
fn settings_that_are_wrong_are_named() {
    let folder = Folder::new("small-bert", "", "steps = 3\nlearning_rat = 1.0");
    let arguments = folder.arguments("run", &[]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let refused = run(&arguments);
    assert_eq!(refused.code, 1);
    for part in ["train.toml: line ", "`learning_rat`", "did you mean `learning_rate`"] {
        assert!(refused.stderr.contains(part), "{refused}");
    }
    assert!(!folder.path("run").exists());
}

/// Every key of the file that explains the settings is one, and what it says of defaults is true.
#[test]
fn the_explained_settings_are_the_defaults() {
    let text = fs::read_to_string(project().join("configs/train.toml")).unwrap();
    let explained: coderag_train::config::TrainConfig =
        coderag_core::config::parse(&text, "configs/train.toml").unwrap();
    explained.check().unwrap();
    let least = "model = 'm'\n[[stage]]\nname = 'pairs'\nepochs = 1\nlearning_rate = 2e-4\n\
                 loss = { name = 'multiple_negatives_ranking' }\n\
                 [[stage.source]]\nname = 'pairs'\nfiles = ['pairs.jsonl']\n";
    let least: coderag_train::config::TrainConfig =
        coderag_core::config::parse(least, "least.toml").unwrap();
    assert_eq!(explained.seed, least.seed);
    assert_eq!(explained.max_tokens, least.max_tokens);
    assert_eq!(explained.precision, least.precision);
    assert_eq!(explained.gradient_checkpointing, least.gradient_checkpointing);
    assert_eq!(explained.on_bad_row, least.on_bad_row);
    assert_eq!(explained.prompts, least.prompts);
    assert_eq!(explained.dropout, least.dropout);
    assert_eq!(explained.checkpoints, least.checkpoints);
    let (explained, least) = (&explained.stages[0], &least.stages[0]);
    assert_eq!(explained.batches, least.batches);
    assert_eq!(explained.accumulate, least.accumulate);
    assert_eq!(explained.texts_at_once, least.texts_at_once);
    assert_eq!(explained.loss, least.loss);
    assert_eq!(explained.adamw, least.adamw);
    assert_eq!(explained.sources, least.sources);
}

#[test]
fn a_card_takes_the_steps_of_the_processor() {
    let libraries = coderag_software_card::libraries().unwrap();
    let folder = Folder::new("small-bert", "", "steps = 20\nbatches = { batch_size = 24 }");
    folder.train("processor", &["--device", "cpu"]);
    let arguments = folder.arguments("card", &["--device", "cuda"]);
    let mut command = command(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    command.env("LD_LIBRARY_PATH", &libraries).env("CODERAG_CACHE", folder.path("cache"));
    let done = crate::program::finish(command);
    assert_eq!(done.code, 0, "{done}");
    let [card, processor] = ["card", "processor"].map(|run| losses(&folder.path(run)));
    assert!(!card.is_empty());
    assert_eq!(card.len(), processor.len());
    for (card, processor) in card.iter().zip(&processor) {
        let [card, processor] = [card, processor].map(|it| it.as_f64().unwrap());
        assert!((card - processor).abs() <= 1e-4 * processor, "{card} {processor}");
    }
    let record = fs::read_to_string(folder.path("card").join("run.json")).unwrap();
    assert!(record.contains("cuda:0 (the processor"), "{record}");
}

#[cfg(not(feature = "cuda"))]
#[test]
fn what_a_card_does_not_take_is_refused_or_left_to_the_processor() {
    let libraries = coderag_software_card::libraries().unwrap();
    let stage = "steps = 3\nbatches = { batch_size = 24 }";
    let folder = Folder::new("small-bert", "dropout = { hidden = 0.1 }", stage);
    let on = |device: &str| {
        let arguments = folder.arguments(device, &["--device", device]);
        let mut command = command(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        command.env("LD_LIBRARY_PATH", &libraries).env("CODERAG_CACHE", folder.path("cache"));
        crate::program::finish(command)
    };
    let refused = on("cuda");
    assert_eq!(refused.code, 1, "{refused}");
    assert!(refused.stderr.contains("the engine on cards does not take dropout"), "{refused}");
    let done = on("auto");
    assert_eq!(done.code, 0, "{done}");
    assert!(done.stderr.contains("training on the processor: "), "{done}");
    let record = fs::read_to_string(folder.path("auto/run.json")).unwrap();
    assert!(record.contains("\"cpu\""), "{record}");
}
