//! Stages, schedules and measurements.

use coderag_train::run::Outcome;

use crate::folder::{Folder, difference};

#[test]
fn training_makes_the_right_document_nearer() {
    let folder = Folder::new();
    for (name, lora) in [("full", ""), ("lora", "lora = { r = 8, lora_alpha = 16 }")] {
        let top = format!("{lora}\n{}", folder.evaluation("every = 20"));
        let stage = "batches = { batch_size = 20 }\nsteps = 40";
        let config = folder.config(&top, stage);
        let Outcome::Finished { summary, adapter, .. } = folder.train(name, &config, None).unwrap()
        else {
            panic!("not finished");
        };
        let (before, best) = (summary.before.unwrap().scores, summary.best.unwrap().scores);
        assert!(best.mrr_at_10 > before.mrr_at_10 + 0.1, "{name}: {before:?}\n{best:?}");
        assert_eq!(adapter.is_some(), name == "lora");
        assert!(folder.path(name).join("report.html").is_file());
        assert!(folder.path(name).join("model/README.md").is_file());
    }
}

#[test]
fn each_stage_has_its_data_and_rates_and_goes_on_with_the_parameters() {
    let folder = Folder::new();
    let stage = |name: &str, source: &str, rate: f64, steps: u64| {
        format!(
            "[[stage]]\nname = '{name}'\nsteps = {steps}\nlearning_rate = {rate}\n\
             schedule = {{ decay = 'linear' }}\nbatches = {{ batch_size = 10 }}\n\
             loss = {{ name = 'multiple_negatives_ranking' }}\n{}",
            folder.source(source)
        )
    };
    let both = format!(
        "model = 'small-bert'\nlora = {{ r = 4, lora_alpha = 8 }}\n{}{}",
        stage("first", "pairs", 1e-2, 4),
        stage("second", "other", 1e-3, 3)
    );
    folder.train_well("both", &folder.parse(&both));
    let steps = folder.steps("both");
    let rates: Vec<(usize, f64)> =
        steps.iter().map(|step| (step.stage, (step.learning_rate * 1e6).round())).collect();
    let expected =
        [(0, 1e4), (0, 7500.0), (0, 5e3), (0, 2500.0), (1, 1000.0), (1, 667.0), (1, 333.0)];
    assert_eq!(rates, expected);
    // The first stage alone, merged, is where the second begins: its first loss is that of the merged model.
    let first = format!(
        "model = 'small-bert'\nlora = {{ r = 4, lora_alpha = 8 }}\n{}",
        stage("first", "pairs", 1e-2, 4)
    );
    folder.train_well("first", &folder.parse(&first));
    assert_eq!(folder.losses("first"), folder.losses("both")[..4]);
    let more = first + &stage("second", "other", 1e-3, 3);
    folder.train_well("first", &folder.parse(&more));
    assert_eq!(folder.losses("first"), folder.losses("both"));
    assert_eq!(difference(&folder.weights("first"), &folder.weights("both")), 0.0);
}

#[test]
fn epochs_are_as_many_steps_as_they_have_batches() {
    let folder = Folder::new();
    let batches = "batches = { batch_size = 16, last_batch = 'keep' }";
    folder.train_well("run", &folder.config("", &format!("epochs = 2\n{batches}")));
    let steps = folder.steps("run");
    assert_eq!(steps.iter().map(|step| step.pairs).sum::<u64>(), 120);
    assert_eq!((steps[0].epoch, steps[steps.len() - 1].epoch), (0, 1));
}

#[test]
fn a_run_without_progress_stops_early_and_keeps_the_best() {
    let folder = Folder::new();
    let top = folder.evaluation("every = 1\npatience = 3");
    // A learning rate that destroys the model.
    let stage = "steps = 50\nbatches = { batch_size = 20 }\nschedule = { decay = 'constant' }";
    let mut config = folder.config(&top, stage);
    config.stages[0].learning_rate = 10.0;
    let Outcome::Finished { summary, .. } = folder.train("run", &config, None).unwrap() else {
        panic!("not finished");
    };
    assert!(summary.steps < 50, "{}", summary.steps);
    let (best, after) = (summary.best.unwrap(), summary.after.unwrap());
    assert_eq!(summary.steps, after.step);
    assert!(best.step < after.step && best.scores.ndcg_at_10 >= after.scores.ndcg_at_10);
    // It does not go on either.
    folder.train_well("run", &config);
    assert_eq!(folder.steps("run").len() as u64, after.step);
}
