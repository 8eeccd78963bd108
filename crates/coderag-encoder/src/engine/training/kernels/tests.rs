use proptest::prelude::*;

use super::*;
use crate::engine::elementwise::LayerNorm;

fn all() -> impl Iterator<Item = TrainingKernels> {
    Cpu::ALL.into_iter().filter(|cpu| cpu.is_available()).map(|cpu| {
        let kernels = TrainingKernels::for_cpu(cpu);
        assert_eq!(kernels.forward.cpu(), cpu);
        kernels
    })
}

/// Numbers from -1 to 1 from a seed (SplitMix64).
fn random(mut state: u64) -> impl FnMut() -> f32 {
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// The value in the lower or upper half of a unit.
fn half(unit: u32, upper: bool) -> f64 {
    f64::from(f32::from_bits(if upper { unit & 0xffff_0000 } else { unit << 16 }))
}

fn pair(first: f32, second: f32) -> u32 {
    first.to_bits() >> 16 | second.to_bits() & 0xffff_0000
}

/// Phi, the normal distribution's function.
fn phi(x: f64) -> f64 {
    0.5 * (1.0 + libm::erf(x / std::f64::consts::SQRT_2))
}

proptest! {
    #[test]
    fn accumulations_agree_with_a_sum_in_f64(
        rows in 0usize..40, units in 0usize..50, gaps in [0usize..5, 0usize..5], by_unit: bool,
        bf16: bool, narrow: bool, seed: u64,
    ) {
        let mut next = random(seed);
        let mut unit = || if bf16 { pair(next(), next()) } else { next().to_bits() };
        let order = if by_unit { InputOrder::Units } else { InputOrder::Rows };
        let input_stride = gaps[0] + if by_unit { rows } else { units };
        let lines = if by_unit { units } else { rows };
        let panel_stride = PANEL + gaps[1];
        let input: Vec<u32> = (0..lines * input_stride).map(|_| unit()).collect();
        let panel: Vec<u32> = (0..units * panel_stride).map(|_| unit()).collect();
        let output_stride = PANEL + 3;
        let mut next = random(!seed);
        let start: Vec<f32> = (0..rows * output_stride).map(|_| next()).collect();
        for kernels in all() {
            let mut output = start.clone();
            let accumulation = Accumulation {
                rows,
                units,
                input: input.as_ptr(),
                input_stride,
                order,
                panel: panel.as_ptr(),
                panel_stride,
                output: output.as_mut_ptr(),
                output_stride,
                narrow,
            };
            // SAFETY: all vectors have the sizes that the strides say.
            #[allow(unsafe_code)]
            unsafe {
                if bf16 {
                    kernels.accumulate_bf16(accumulation);
                } else {
                    kernels.accumulate_f32(accumulation);
                }
            }
            for (index, (&found, &start)) in output.iter().zip(&start).enumerate() {
                let (row, column) = (index / output_stride, index % output_stride);
                if column >= if narrow { HALF_PANEL } else { PANEL } {
                    prop_assert_eq!(found, start);
                    continue;
                }
                let mut sum = f64::from(start);
                for unit in 0..units {
                    let at = if by_unit { unit * input_stride + row } else { row * input_stride + unit };
                    let (left, right) = (input[at], panel[unit * panel_stride + column]);
                    sum += if bf16 {
                        half(left, false) * half(right, false) + half(left, true) * half(right, true)
                    } else {
                        f64::from(f32::from_bits(left)) * f64::from(f32::from_bits(right))
                    };
                }
                prop_assert!((f64::from(found) - sum).abs() < 1e-4, "{} {}", found, sum);
            }
        }
    }

    #[test]
    fn gelus_derivative_and_value_are_those_of_its_definition(
        inputs in prop::collection::vec(-12.0f32..12.0, 0..70),
    ) {
        for kernels in all() {
            let mut gradient = vec![2.0; inputs.len()];
            let mut activated = vec![0.0; inputs.len()];
            kernels.gelu_backward(&inputs, &mut gradient, &mut activated);
            for ((&x, &gradient), &activated) in inputs.iter().zip(&gradient).zip(&activated) {
                let x = f64::from(x);
                let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
                let derivative = 2.0 * (phi(x) + x * density);
                prop_assert!((f64::from(gradient) - derivative).abs() < 4e-6, "{} {}", x, gradient);
                let error = (f64::from(activated) - x * phi(x)).abs();
                prop_assert!(error < 1e-6 * x.abs().max(1.0), "{} {}", x, activated);
            }
        }
    }

    #[test]
    fn a_normalisation_and_its_derivative_are_those_of_the_definition(
        size in 1usize..130, seed: u64,
    ) {
        let mut next = random(seed);
        let mut vector = || (0..size).map(|_| next()).collect::<Vec<f32>>();
        let (row, residual, weight, bias, gradient) =
            (vector(), vector(), vector(), vector(), vector());
        let sums: Vec<f64> =
            row.iter().zip(&residual).map(|(&a, &b)| f64::from(a) + f64::from(b)).collect();
        let count = size as f64;
        let mean = sums.iter().sum::<f64>() / count;
        let variance = sums.iter().map(|sum| (sum - mean).powi(2)).sum::<f64>() / count;
        let scale = 1.0 / (variance + 1e-3).sqrt();
        let normalized: Vec<f64> = sums.iter().map(|sum| (sum - mean) * scale).collect();
        let weighted: Vec<f64> =
            gradient.iter().zip(&weight).map(|(&g, &w)| f64::from(g) * f64::from(w)).collect();
        let mean_gradient = weighted.iter().sum::<f64>() / count;
        let slope = weighted.iter().zip(&normalized).map(|(g, n)| g * n).sum::<f64>() / count;
        for kernels in all() {
            let norm = LayerNorm { weight: &weight, bias: &bias, epsilon: 1e-3 };
            let (mut found, mut found_normalized) = (row.clone(), vec![0.0; size]);
            let found_scale = kernels.normalize(&mut found, &residual, norm, &mut found_normalized);
            prop_assert!((f64::from(found_scale) / scale - 1.0).abs() < 1e-4);
            let mut again = vec![0.0; size];
            kernels.scale_and_shift(&found_normalized, norm, &mut again);
            prop_assert_eq!(&again, &found);
            let mut backward = gradient.clone();
            kernels.normalize_backward(&mut backward, &found_normalized, &weight, found_scale);
            for index in 0..size {
                let expected = normalized[index] * f64::from(weight[index]) + f64::from(bias[index]);
                prop_assert!((f64::from(found[index]) - expected).abs() < 1e-4);
                let expected = scale * (weighted[index] - mean_gradient - normalized[index] * slope);
                prop_assert!((f64::from(backward[index]) - expected).abs() < 5e-4);
            }
        }
    }

    #[test]
    fn a_softmax_is_computed_again_from_its_logarithm_and_differentiated(
        scores in prop::collection::vec(-20.0f32..20.0, 1..70), seed: u64,
    ) {
        let scale = 0.3;
        let greatest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let powers: Vec<f64> =
            scores.iter().map(|&score| (0.3 * f64::from(score - greatest)).exp()).collect();
        let total: f64 = powers.iter().sum();
        let mut next = random(seed);
        let gradient: Vec<f32> = scores.iter().map(|_| next()).collect();
        let mean: f64 =
            powers.iter().zip(&gradient).map(|(p, &g)| p / total * f64::from(g)).sum();
        for kernels in all() {
            let mut found = scores.clone();
            let log_sum = kernels.softmax(&mut found, scale);
            let mut again = scores.clone();
            kernels.probabilities(&mut again, scale, log_sum);
            let dot = kernels.dot(&found, &gradient);
            prop_assert!((f64::from(dot) - mean).abs() < 1e-5);
            let mut backward = gradient.clone();
            kernels.softmax_backward(&again, &mut backward, dot, scale);
            for index in 0..scores.len() {
                let expected = powers[index] / total;
                prop_assert!((f64::from(found[index]) - expected).abs() < 2e-6);
                prop_assert!((f64::from(again[index]) - expected).abs() < 2e-6);
                let expected = 0.3 * expected * (f64::from(gradient[index]) - mean);
                prop_assert!((f64::from(backward[index]) - expected).abs() < 2e-6);
            }
        }
    }

    #[test]
    fn pairs_are_rounded_as_single_values_are(values in prop::collection::vec(-9e9f32..9e9, 0..70)) {
        for kernels in all() {
            let reversed: Vec<f32> = values.iter().rev().copied().collect();
            let mut pairs = vec![0; values.len()];
            kernels.pair_bf16(&values, &reversed, &mut pairs);
            let round = |value| u32::from(burn::tensor::bf16::from_f32(value).to_bits());
            for ((&first, &second), &found) in values.iter().zip(&reversed).zip(&pairs) {
                prop_assert_eq!(found, round(first) | round(second) << 16);
            }
        }
    }

    #[test]
    fn products_are_added(size in 0usize..70, seed: u64) {
        let mut next = random(seed);
        let mut vector = || (0..size).map(|_| next()).collect::<Vec<f32>>();
        let (sums, left, right) = (vector(), vector(), vector());
        for kernels in all() {
            let mut found = sums.clone();
            kernels.add_product(&mut found, &left, &right);
            for index in 0..size {
                let expected = sums[index] + left[index] * right[index];
                prop_assert!((found[index] - expected).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn a_mask_drops_its_part_and_is_the_same_everywhere(key: u32, rate in 0.05f64..0.95) {
        const COUNT: usize = 4000;
        let threshold = (rate * 4_294_967_296.0) as u32;
        let mask = Mask { key, threshold, factor: 3.0 };
        let mut first = None;
        for kernels in all() {
            let mut values = vec![1.0; COUNT];
            kernels.mask(&mut values, mask);
            prop_assert!(values.iter().all(|&value| value == 0.0 || value == 3.0));
            let dropped = values.iter().filter(|&&value| value == 0.0).count();
            // Six standard deviations.
            let spread = 6.0 * (rate * (1.0 - rate) * COUNT as f64).sqrt();
            prop_assert!((dropped as f64 - rate * COUNT as f64).abs() < spread, "{}", dropped);
            prop_assert_eq!(first.get_or_insert_with(|| values.clone()), &values);
        }
    }
}
