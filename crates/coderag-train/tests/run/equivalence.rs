//! Ways of computing the same.

use crate::folder::{Folder, difference};

/// With dropout parts differ from the whole, whose texts have other places in the call; that both passes of a part
/// agree is a test of the trainees.
#[test]
fn a_batch_in_parts_trains_as_the_whole_batch_does() {
    let folder = Folder::new();
    // Where gradients are next to nothing, plain AdamW makes whole steps of their rounding errors.
    let batch = "batches = { batch_size = 24 }\nadamw = { epsilon = 1e-3 }";
    folder.train_well("whole", &folder.config("", batch));
    folder.train_well("parts", &folder.config("", &format!("{batch}\ntexts_at_once = 7")));
    for (whole, parts) in folder.steps("whole").iter().zip(&folder.steps("parts")) {
        assert!((whole.loss - parts.loss).abs() < 1e-5, "{whole:?}\n{parts:?}");
        let norms = whole.gradient_norm - parts.gradient_norm;
        assert!(norms.abs() < 1e-5 * whole.gradient_norm.max(1.0), "{whole:?}\n{parts:?}");
    }
    let difference = difference(&folder.weights("whole"), &folder.weights("parts"));
    assert!(difference < 1e-4, "{difference}");
}

#[test]
fn accumulated_batches_have_the_mean_of_their_losses() {
    let folder = Folder::new();
    // The first step of a warm-up changes nothing, so both batches meet the same parameters.
    let stage = "schedule = { warm_up_steps = 1 }\nbatches = { batch_size = 8, order = 'file' }";
    folder.train_well("single", &folder.config("", &format!("steps = 2\n{stage}")));
    folder.train_well("double", &folder.config("", &format!("steps = 1\naccumulate = 2\n{stage}")));
    let (single, double) = (folder.steps("single"), folder.steps("double"));
    assert_eq!((double.len(), double[0].pairs), (1, 16));
    assert_eq!(double[0].tokens, single[0].tokens + single[1].tokens);
    assert!((double[0].loss - (single[0].loss + single[1].loss) / 2.0).abs() < 1e-6);
    assert_eq!((single[0].learning_rate, single[1].learning_rate), (0.0, 1e-2));
}

#[test]
fn gradient_checkpointing_changes_nothing() {
    let folder = Folder::new();
    let top = "dropout = { hidden = 0.1, attention = 0.1 }";
    folder.train_well("plain", &folder.config(top, ""));
    folder.train_well(
        "checkpointing",
        &folder.config(&format!("gradient_checkpointing = true\n{top}"), ""),
    );
    assert_eq!(folder.losses("plain"), folder.losses("checkpointing"));
    assert_eq!(folder.weights("plain"), folder.weights("checkpointing"));
}
