//! Runs that stop and go on.

use std::fs;

use coderag_train::run::Outcome;
use proptest::prelude::*;

use crate::folder::Folder;

const TOP: &str =
    "dropout = { hidden = 0.1, attention = 0.05 }\ncheckpoints = { every = 3, keep = 2 }";
const STAGE: &str = "schedule = { decay = 'cosine', warm_up_steps = 2 }\nmax_gradient_norm = 1.0\n\
                     batches = { batch_size = 7, length_window = 2 }\naccumulate = 2\ntexts_at_once = 9\nsteps = 11";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    #[test]
    fn a_run_that_stops_anywhere_ends_as_if_it_had_not(
        stops in prop::collection::vec(1u64..6, 0..4), lora in any::<bool>(),
    ) {
        let folder = Folder::new();
        let top = format!("{TOP}\n{}", if lora { "lora = { r = 4, lora_alpha = 8, lora_dropout = 0.1 }" } else { "" });
        let config = folder.config(&format!("{top}\n{}", folder.evaluation("every = 4")), STAGE);
        folder.train_well("whole", &config);
        for stop in stops {
            let outcome = folder.train("parts", &config, Some(stop)).unwrap();
            if let Outcome::Interrupted { checkpoint, .. } = outcome {
                prop_assert!(checkpoint.is_dir());
            }
        }
        folder.train_well("parts", &config);
        prop_assert_eq!(folder.losses("whole"), folder.losses("parts"));
        prop_assert_eq!(folder.weights("whole"), folder.weights("parts"));
        let scores = |name| -> Vec<_> {
            folder.evaluations(name).into_iter().map(|record| (record.step, record.scores)).collect()
        };
        prop_assert_eq!(scores("whole"), scores("parts"));
        prop_assert_eq!(folder.names("parts/checkpoints"), folder.names("whole/checkpoints"));
    }
}

#[test]
fn the_checkpoint_of_a_stop_makes_room_for_the_next() {
    let folder = Folder::new();
    let config = folder.config(TOP, STAGE);
    for expected in [["step-00000003", "step-00000005"], ["step-00000009", "step-00000010"]] {
        folder.train("run", &config, Some(5)).unwrap();
        assert_eq!(folder.names("run/checkpoints"), expected);
    }
    folder.train_well("run", &config);
    assert_eq!(folder.names("run/checkpoints"), ["step-00000009", "step-00000011"]);
}

#[test]
fn what_was_done_after_the_last_checkpoint_is_done_again() {
    let folder = Folder::new();
    let config = folder.config(&format!("{TOP}\n{}", folder.evaluation("every = 4")), STAGE);
    folder.train_well("whole", &config);
    folder.train("killed", &config, Some(8)).unwrap();
    // As a kill after the eighth step would have left it: the last checkpoint is that of step 6.
    fs::remove_dir_all(folder.path("killed/checkpoints/step-00000008")).unwrap();
    let metrics = folder.path("killed/metrics.jsonl");
    let mut torn = fs::read(&metrics).unwrap();
    torn.extend(b"{\"kind\":\"step\",\"st");
    fs::write(&metrics, torn).unwrap();
    assert_eq!(folder.names("killed/checkpoints"), ["step-00000006"]);
    folder.train_well("killed", &config);
    assert_eq!(folder.losses("killed"), folder.losses("whole"));
    assert_eq!(folder.weights("killed"), folder.weights("whole"));
    assert_eq!(folder.evaluations("killed").len(), folder.evaluations("whole").len());
}

#[test]
fn a_finished_run_is_not_run_again() {
    let folder = Folder::new();
    let config = folder.config("", "");
    folder.train_well("run", &config);
    let (weights, steps) = (folder.weights("run"), folder.steps("run"));
    folder.train_well("run", &config);
    assert_eq!(folder.steps("run"), steps);
    assert_eq!(folder.weights("run"), weights);
}

#[test]
fn the_last_checkpoints_are_kept_and_the_best_parameters() {
    let folder = Folder::new();
    let top =
        format!("checkpoints = {{ every = 2, keep = 3 }}\n{}", folder.evaluation("every = 3"));
    folder.train_well("run", &folder.config(&top, ""));
    let expected = ["step-00000006", "step-00000008", "step-00000010"];
    assert_eq!(folder.names("run/checkpoints"), expected);
    let evaluations = folder.evaluations("run");
    let steps: Vec<u64> = evaluations.iter().map(|evaluation| evaluation.step).collect();
    assert_eq!(steps, [0, 3, 6, 9, 10]);
    let best = evaluations
        .iter()
        .rev()
        .max_by(|left, right| left.scores.ndcg_at_10.total_cmp(&right.scores.ndcg_at_10));
    let best = format!("step-{:08}", best.unwrap().step);
    assert!(folder.names("run/best").contains(&best), "{best} {:?}", folder.names("run/best"));
}

#[test]
fn a_run_goes_on_only_as_the_run_it_is() {
    let folder = Folder::new();
    let config = folder.config("", "");
    folder.train("run", &config, Some(4)).unwrap();
    let refusal = |config| folder.train("run", config, None).unwrap_err().to_string();
    let other = folder.config("seed = 7", "batches = { batch_size = 5 }");
    let message = refusal(&other);
    for part in ["`seed` was 42 and is 7", "`stage.batches`", "--restart"] {
        assert!(message.contains(part), "{message}");
    }
    let lora = folder.config("lora = { r = 4, lora_alpha = 8 }", "");
    assert!(refusal(&lora).contains("`lora` was null"), "{}", refusal(&lora));
    let mut longer = config.clone();
    longer.stages[0].steps = Some(14);
    longer.stages[0].learning_rate = 1e-3;
    folder.train_well("run", &longer);
    assert_eq!(folder.steps("run").len(), 14);
    let record = fs::read_to_string(folder.path("run/run.json")).unwrap();
    assert!(record.contains("`stage.learning_rate` was 0.01 and is 0.001"), "{record}");

    let source = folder.path("pairs.jsonl");
    let text = fs::read_to_string(&source).unwrap();
    fs::write(&source, text.replacen("find", "sort", 1)).unwrap();
    assert!(refusal(&longer).contains("has changed since the run began"));
}

#[test]
fn what_is_over_stays_and_what_is_measured_stays() {
    let folder = Folder::new();
    let config = folder.config(&folder.evaluation("every = 4"), "");
    folder.train_well("run", &config);
    let mut longer = config.clone();
    longer.stages[0].steps = Some(20);
    let message = folder.train("run", &longer, None).unwrap_err().to_string();
    assert!(message.contains("a stage that is over"), "{message}");
    let mut other = config.clone();
    other.evaluation = None;
    let message = folder.train("run", &other, None).unwrap_err().to_string();
    assert!(message.contains("`evaluation`: it is gone"), "{message}");
    let development = folder.path("other.jsonl");
    let text = fs::read_to_string(&development).unwrap();
    fs::write(&development, text.replacen("of", "in", 1)).unwrap();
    let message = folder.train("run", &config, None).unwrap_err().to_string();
    assert!(message.contains("other.jsonl has changed since the run began"), "{message}");
}

#[test]
fn a_run_goes_on_from_the_checkpoint_before_a_damaged_one() {
    let folder = Folder::new();
    let config = folder.config("checkpoints = { every = 3, keep = 2 }", "");
    folder.train_well("whole", &config);
    folder.train("run", &config, Some(8)).unwrap();
    assert_eq!(folder.names("run/checkpoints"), ["step-00000006", "step-00000008"]);
    let damaged = folder.path("run/checkpoints/step-00000008");
    fs::write(damaged.join("parameters.safetensors"), "no tensors").unwrap();
    assert!(folder.train("run", &config, None).is_err());
    // As the message says.
    fs::remove_dir_all(damaged).unwrap();
    folder.train_well("run", &config);
    assert_eq!(folder.weights("run"), folder.weights("whole"));
}
