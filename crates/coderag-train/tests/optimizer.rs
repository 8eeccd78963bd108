//! Schedules, AdamW and clipping against transformers and torch; see `scripts/reference_optimizer.py`.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod reference;

use std::collections::HashMap;

use coderag_train::optimizer::{
    AdamW, Decay, Moments, Schedule, WarmUp, clip_gradient_norm, decays,
};
use reference::Reference;
use serde::Deserialize;

#[derive(Deserialize)]
struct ScheduleCase {
    decay: Decay,
    warm_up: u64,
    total: u64,
}

#[derive(Deserialize)]
struct Run {
    learning_rate: f64,
    weight_decay: f64,
    betas: [f64; 2],
    epsilon: f64,
    max_norm: Option<f64>,
    decay: Option<Decay>,
    warm_up: Option<u64>,
}

#[test]
fn learning_rates_are_those_of_transformers_at_every_step() {
    let reference = Reference::load("optimizer.safetensors");
    let cases: Vec<ScheduleCase> = reference.metadata("schedules");
    assert_eq!(cases.len(), 15);
    for (number, case) in cases.iter().enumerate() {
        let schedule = Schedule { decay: case.decay, warm_up: WarmUp::Steps(case.warm_up) };
        let expected = reference.tensor(&format!("schedule.{number}"));
        assert!(expected.len() as u64 > case.total);
        for (step, expected) in (0..).zip(expected) {
            let ours = 2e-5 * schedule.factor(step, case.total);
            assert!((ours - expected).abs() <= 1e-15 * 2e-5, "{number}, {step}: {ours} {expected}");
        }
    }
}

#[test]
fn a_ratio_becomes_as_many_steps_as_in_transformers() {
    let reference = Reference::load("optimizer.safetensors");
    let cases: Vec<(f64, u64, u64)> = reference.metadata("warm_up_steps");
    assert!(cases.len() >= 64);
    for (ratio, total, expected) in cases {
        assert_eq!(WarmUp::Ratio(ratio).steps(total), expected, "{ratio} of {total}");
    }
}

#[test]
fn the_parameters_that_decay_are_those_of_transformers() {
    let reference = Reference::load("optimizer.safetensors");
    let architectures: HashMap<String, HashMap<String, bool>> =
        reference.metadata("decayed_parameters");
    assert!(architectures.len() >= 5);
    for (architecture, parameters) in architectures {
        assert!(parameters.values().any(|decayed| *decayed), "{architecture}");
        for (name, decayed) in parameters {
            assert_eq!(decays(&name), decayed, "{architecture}: {name}");
        }
    }
    assert!(decays("base_model.model.encoder.layer.0.attention.self.query.lora_A.weight"));
    assert!(!decays("transformer.h.0.ln_1.weight"));
}

/// Sixty steps with gradients of many magnitudes: every tenth step's parameters, and every norm.
#[test]
fn parameters_and_norms_are_those_of_torch() {
    const TOLERANCE: f64 = 2e-6;
    let reference = Reference::load("optimizer.safetensors");
    let runs: HashMap<String, Run> = reference.metadata("runs");
    assert_eq!(runs.len(), 3);
    for (name, run) in runs {
        let [beta1, beta2] = run.betas;
        let optimizer =
            AdamW { beta1, beta2, epsilon: run.epsilon, weight_decay: run.weight_decay };
        let schedule = Schedule {
            decay: run.decay.unwrap_or(Decay::Constant),
            warm_up: WarmUp::Steps(run.warm_up.unwrap_or(0)),
        };
        let norms = reference.tensor(&format!("{name}.norms"));
        let total = norms.len() as u64;
        let mut tensors = ["weights", "bias"].map(|tensor| {
            let start = reference.tensor_f32(tensor);
            let moments = Moments::new(start.len());
            (tensor, start, moments)
        });
        let (mut norm_difference, mut difference, mut clipped) = (0.0f64, 0.0f64, 0);
        for (step, expected_norm) in (0..total).zip(norms) {
            let mut gradients = ["weights", "bias"].map(|tensor| {
                let all = reference.tensor_f32(&format!("gradients.{tensor}"));
                let length = reference.shape(tensor)[0];
                all[step as usize * length..][..length].to_vec()
            });
            let max_norm = run.max_norm.unwrap_or(f64::INFINITY);
            let [weights, bias] = &mut gradients;
            let norm = clip_gradient_norm(&mut [weights, bias], max_norm);
            clipped += usize::from(norm > max_norm);
            norm_difference = norm_difference.max((norm - expected_norm).abs() / expected_norm);
            let learning_rate = run.learning_rate * schedule.factor(step, total);
            for ((tensor, parameters, moments), gradient) in tensors.iter_mut().zip(&gradients) {
                let decays = decays(&format!("layer.{tensor}"));
                optimizer.step(step, learning_rate, decays, parameters, gradient, moments).unwrap();
                if (step + 1) % 10 == 0 {
                    let kept = reference.tensor(&format!("{name}.{tensor}"));
                    let expected = &kept[(step as usize / 10) * parameters.len()..];
                    for (ours, theirs) in parameters.iter().zip(expected) {
                        difference = difference.max((f64::from(*ours) - theirs).abs());
                    }
                }
            }
        }
        println!(
            "{name}: parameters {difference:.1e}, norms {norm_difference:.1e}, {clipped} clipped"
        );
        assert!(difference <= TOLERANCE, "{name}: {difference:e}");
        assert!(norm_difference <= 1e-6, "{name}: {norm_difference:e}");
        assert_eq!(run.max_norm.is_some(), clipped > 0);
    }
}
