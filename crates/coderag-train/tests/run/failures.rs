//! What can go wrong, and what is left then.

use std::fs;

use crate::folder::Folder;

#[test]
fn a_loss_that_is_no_number_stops_the_run_at_the_last_good_checkpoint() {
    let folder = Folder::new();
    let top = "checkpoints = { every = 2, keep = 2 }";
    let mut config = folder.config(top, "");
    folder.train("run", &config, Some(4)).unwrap();
    config.stages[0].learning_rate = 1e38;
    let message = folder.train("run", &config, None).unwrap_err().to_string();
    for part in ["step ", "checkpoints/step-0000000", "lower `learning_rate`", "max_gradient_norm"]
    {
        assert!(message.contains(part), "{message}");
    }
    // Nothing that is no number was kept.
    for name in folder.names("run/checkpoints") {
        let path = folder.path("run/checkpoints").join(name).join("parameters.safetensors");
        let tensors = crate::folder::tensors(&path);
        assert!(tensors.values().flatten().all(|value| value.is_finite()));
    }
}

#[test]
fn what_cannot_be_written_is_reported_with_the_last_checkpoint() {
    let folder = Folder::new();
    let top =
        format!("checkpoints = {{ every = 2, keep = 2 }}\n{}", folder.evaluation("every = 50"));
    let config = folder.config(&top, "");
    folder.train("run", &config, Some(3)).unwrap();
    let (best, aside) = (folder.path("run/best"), folder.path("run/aside"));
    fs::rename(&best, &aside).unwrap();
    fs::write(&best, "in the way").unwrap();
    let message = folder.train("run", &config, None).unwrap_err().to_string();
    for part in
        ["what step 4 gave could not be written", "the last good checkpoint is", "step-00000004"]
    {
        assert!(message.contains(part), "{message}");
    }
    fs::remove_file(&best).unwrap();
    fs::rename(&aside, &best).unwrap();
    folder.train_well("run", &config);
    assert_eq!(folder.steps("run").len(), 10);
}

#[test]
fn settings_that_allow_no_step_can_be_corrected() {
    let folder = Folder::new();
    let large = folder.config("", "batches = { batch_size = 1000 }");
    let message = folder.train("run", &large, None).unwrap_err().to_string();
    assert!(message.contains("lower `batch_size`"), "{message}");
    let epochs = folder.config("", "epochs = 1\nbatches = { batch_size = 1000 }");
    let message = folder.train("run", &epochs, None).unwrap_err().to_string();
    assert!(message.contains("lower `batch_size`"), "{message}");
    folder.train_well("run", &folder.config("", "batches = { batch_size = 10 }"));
}

#[test]
fn distillation_without_a_teacher_is_refused_by_the_source() {
    let folder = Folder::new();
    let mut config = folder.config("", "");
    config.stages[0].loss = coderag_core::config::parse("name = 'margin_mse'", "loss").unwrap();
    let message = folder.train("run", &config, None).unwrap_err().to_string();
    assert!(message.contains("60 of the 60 examples of `pairs`"), "{message}");
}

#[test]
fn folders_that_hold_something_else_are_left_alone() {
    let folder = Folder::new();
    fs::create_dir(folder.path("mine")).unwrap();
    fs::write(folder.path("mine/thesis.txt"), "work of years").unwrap();
    let config = folder.config("", "");
    let message = folder.train("mine", &config, None).unwrap_err().to_string();
    assert!(message.contains("no run's folder"), "{message}");
    assert_eq!(folder.names("mine"), ["thesis.txt"]);
}

#[test]
fn damaged_checkpoints_are_reported_by_name() {
    let folder = Folder::new();
    let config = folder.config("", "");
    folder.train("run", &config, Some(3)).unwrap();
    let checkpoint = folder.path("run/checkpoints/step-00000003");
    let parameters = checkpoint.join("parameters.safetensors");
    let bytes = fs::read(&parameters).unwrap();
    fs::write(&parameters, &bytes[..bytes.len() / 2]).unwrap();
    let message = folder.train("run", &config, None).unwrap_err().to_string();
    for part in ["parameters.safetensors", "remove this folder", "--restart"] {
        assert!(message.contains(part), "{message}");
    }
    fs::write(&parameters, bytes).unwrap();
    fs::write(checkpoint.join("position.json"), "{}").unwrap();
    let message = folder.train("run", &config, None).unwrap_err().to_string();
    assert!(message.contains("position.json") && message.contains("missing field"), "{message}");
}

#[test]
fn settings_that_make_no_sense_are_refused_by_name() {
    let folder = Folder::new();
    let config = folder.config("", "");
    let refusal = |change: &dyn Fn(&mut coderag_train::config::TrainConfig)| {
        let mut config = config.clone();
        change(&mut config);
        folder.train("run", &config, None).unwrap_err().to_string()
    };
    let of_stage = |change: fn(&mut coderag_train::config::StageConfig)| {
        refusal(&|config| change(&mut config.stages[0]))
    };
    for (message, expected) in [
        (refusal(&|config| config.stages.clear()), "`stage`"),
        (of_stage(|stage| stage.learning_rate = f64::NAN), "`learning_rate`"),
        (of_stage(|stage| stage.epochs = Some(1)), "`steps`"),
        (of_stage(|stage| stage.accumulate = 0), "`accumulate`"),
        (of_stage(|stage| stage.batches.seed = 3), "`batches.seed`"),
        (of_stage(|stage| stage.sources.clear()), "`source`"),
        (refusal(&|config| config.dropout.hidden = 1.0), "`dropout.hidden`"),
        (refusal(&|config| config.checkpoints.keep = 0), "`checkpoints.keep`"),
    ] {
        assert!(message.contains(expected), "{message}");
    }
    assert!(!folder.path("run").exists());
}
