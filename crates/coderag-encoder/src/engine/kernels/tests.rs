use proptest::prelude::*;

use super::*;

/// The kernels of this machine besides the portable ones.
fn others() -> impl Iterator<Item = &'static Kernels> {
    Cpu::ALL.into_iter().filter(|&cpu| cpu != Cpu::Portable && cpu.is_available()).map(|cpu| {
        let kernels = Kernels::for_cpu(cpu);
        assert_eq!(kernels.cpu(), cpu);
        kernels
    })
}

/// Operands of a product with strides of their own, from a seed.
#[derive(Debug)]
struct Operands {
    rows: usize,
    units: usize,
    input: Vec<u32>,
    input_stride: usize,
    panel: Vec<u32>,
    panel_stride: usize,
    bias: Vec<f32>,
    quantized: Vec<Quantized>,
    scales: Vec<f32>,
    sums: Vec<i32>,
}

/// What stands where a product may not write.
const UNTOUCHED: f32 = 12345.0;
const OUTPUT_STRIDE: usize = PANEL + 3;

impl Operands {
    fn new(
        [rows, units]: [usize; 2],
        [input_gap, panel_gap]: [usize; 2],
        mut value: impl FnMut() -> u32,
        mut number: impl FnMut() -> f32,
    ) -> Self {
        let (input_stride, panel_stride) = (units + input_gap, PANEL + panel_gap);
        let mut numbers = |count| (0..count).map(|_| number()).collect::<Vec<f32>>();
        Self {
            rows,
            units,
            bias: numbers(PANEL),
            scales: numbers(PANEL),
            quantized: numbers(rows)
                .into_iter()
                .map(|scale| Quantized { scale, zero: 128 + (scale * 100.0) as i32 })
                .collect(),
            sums: numbers(PANEL).into_iter().map(|sum| (sum * 1e4) as i32).collect(),
            input: (0..rows * input_stride).map(|_| value()).collect(),
            panel: (0..units * panel_stride).map(|_| value()).collect(),
            input_stride,
            panel_stride,
        }
    }

    #[allow(unsafe_code)]
    fn product(&self, kernels: &Kernels, precision: char) -> Vec<f32> {
        let mut output = vec![UNTOUCHED; self.rows * OUTPUT_STRIDE];
        let product = Product {
            rows: self.rows,
            units: self.units,
            input: self.input.as_ptr(),
            input_stride: self.input_stride,
            panel: self.panel.as_ptr(),
            panel_stride: self.panel_stride,
            bias: self.bias.as_ptr(),
            output: output.as_mut_ptr(),
            output_stride: OUTPUT_STRIDE,
        };
        let dequantization = Dequantization {
            inputs: self.quantized.as_ptr(),
            scales: self.scales.as_ptr(),
            sums: self.sums.as_ptr(),
        };
        // SAFETY: all vectors have the sizes that the strides say.
        unsafe {
            match precision {
                'f' => kernels.product_f32(product),
                'b' => kernels.product_bf16(product),
                _ => kernels.product_int8(product, dequantization),
            }
        }
        output
    }
}

/// Numbers from a seed (SplitMix64).
fn random(mut state: u64) -> impl FnMut() -> u64 {
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// From -1 to 1.
fn unit(bits: u64) -> f32 {
    (bits >> 40) as f32 / (1 << 23) as f32 - 1.0
}

fn close(ours: &[f32], theirs: &[f32], tolerance: f32) -> Result<(), TestCaseError> {
    prop_assert_eq!(ours.len(), theirs.len());
    for (index, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        prop_assert!(
            (ours - theirs).abs() <= tolerance,
            "at {}: {} instead of {}",
            index,
            ours,
            theirs
        );
    }
    Ok(())
}

proptest! {
    #[test]
    fn f32_and_bf16_products_agree_with_a_sum_in_f64(
        rows in 0usize..40, units in 0usize..70, gaps in [0usize..5, 0usize..5], seed: u64,
    ) {
        let mut bits = random(seed);
        let mut numbers = random(!seed);
        let number = || unit(numbers());
        let operands =
            Operands::new([rows, units], gaps, || unit(bits()).to_bits(), number);
        // As bf16, the upper half of such a number is one of its kind and the lower half anything: keep
        // it small by clearing its exponent's upper bits.
        let small = |bits: &u32| bits & 0xffff_bfff;
        for kernels in others().chain([Kernels::for_cpu(Cpu::Portable)]) {
            let output = operands.product(kernels, 'f');
            for row in 0..rows {
                for column in 0..OUTPUT_STRIDE {
                    let found = output[row * OUTPUT_STRIDE + column];
                    if column >= PANEL {
                        prop_assert_eq!(found, UNTOUCHED);
                        continue;
                    }
                    let mut sum = f64::from(operands.bias[column]);
                    for unit in 0..units {
                        let input = operands.input[row * operands.input_stride + unit];
                        let weight = operands.panel[unit * operands.panel_stride + column];
                        sum += f64::from(f32::from_bits(input)) * f64::from(f32::from_bits(weight));
                    }
                    prop_assert!((f64::from(found) - sum).abs() < 1e-5, "{} {}", found, sum);
                }
            }
        }
        let mut halves = operands;
        halves.input = halves.input.iter().map(small).collect();
        halves.panel = halves.panel.iter().map(small).collect();
        for kernels in others().chain([Kernels::for_cpu(Cpu::Portable)]) {
            let output = halves.product(kernels, 'b');
            for row in 0..rows {
                for column in 0..OUTPUT_STRIDE {
                    let found = output[row * OUTPUT_STRIDE + column];
                    if column >= PANEL {
                        prop_assert_eq!(found, UNTOUCHED);
                        continue;
                    }
                    let mut sum = f64::from(halves.bias[column]);
                    for unit in 0..units {
                        let input = halves.input[row * halves.input_stride + unit];
                        let weight = halves.panel[unit * halves.panel_stride + column];
                        for shift in [0, 16] {
                            let value = |bits: u32| f64::from(f32::from_bits(bits >> shift << 16));
                            sum += value(input) * value(weight);
                        }
                    }
                    prop_assert!((f64::from(found) - sum).abs() < 1e-3, "{} {}", found, sum);
                }
            }
        }
    }

    #[test]
    fn int8_products_are_the_same_integers_everywhere(
        rows in 0usize..40, units in 0usize..200, gaps in [0usize..5, 0usize..5], extreme: bool, seed: u64,
    ) {
        let mut bits = random(seed);
        let mut numbers = random(!seed);
        // Inputs are from 1 to 255 and weights from -127 to 127; at the ends AVX2's 16-bit sums are closest
        // to overflowing.
        let byte = |bits: u64| match extreme {
            true => [1, 255][(bits & 1) as usize],
            false => (bits % 255) as u8 + 1,
        };
        let mut operands = Operands::new(
            [rows, units],
            gaps,
            || {
                let bits = bits();
                u32::from_le_bytes([0, 16, 32, 48].map(|shift| byte(bits >> shift & 0xffff)))
            },
            || unit(numbers()),
        );
        for weights in &mut operands.panel {
            *weights ^= 0x8080_8080;
        }
        // With these the values are the integers themselves.
        operands.bias.fill(0.0);
        operands.scales.fill(1.0);
        operands.quantized.iter_mut().for_each(|quantized| quantized.scale = 1.0);
        for column in 0..PANEL {
            operands.sums[column] = (0..units)
                .flat_map(|unit| operands.panel[unit * operands.panel_stride + column].to_le_bytes())
                .map(|weight| i32::from(weight as i8))
                .sum();
        }
        for kernels in others().chain([Kernels::for_cpu(Cpu::Portable)]) {
            let output = operands.product(kernels, 'i');
            for row in 0..rows {
                for column in 0..OUTPUT_STRIDE {
                    let found = output[row * OUTPUT_STRIDE + column];
                    if column >= PANEL {
                        prop_assert_eq!(found, UNTOUCHED);
                        continue;
                    }
                    let zero = operands.quantized[row].zero;
                    let mut sum = 0;
                    for unit in 0..units {
                        let input = operands.input[row * operands.input_stride + unit].to_le_bytes();
                        let weight =
                            operands.panel[unit * operands.panel_stride + column].to_le_bytes();
                        for (input, weight) in input.into_iter().zip(weight) {
                            sum += (i32::from(input) - zero) * i32::from(weight as i8);
                        }
                    }
                    prop_assert_eq!(found, sum as f32);
                }
            }
        }
    }

    #[test]
    fn gelu_is_within_a_millionth_of_its_definition(
        values in prop::collection::vec(-12.0f32..12.0, 0..70),
    ) {
        for kernels in others().chain([Kernels::for_cpu(Cpu::Portable)]) {
            let mut found = values.clone();
            kernels.gelu(&mut found);
            for (&value, &found) in values.iter().zip(&found) {
                let value = f64::from(value);
                let expected = 0.5 * value * (1.0 + libm::erf(value / std::f64::consts::SQRT_2));
                // Above 1 an f32 has no digits for a millionth.
                let error = (f64::from(found) - expected).abs() / expected.abs().max(1.0);
                prop_assert!(error < 1e-6, "{} {}", found, expected);
            }
        }
    }

    #[test]
    fn silu_times_up_is_within_a_millionth_of_its_definition(
        gate in prop::collection::vec(-120.0f32..120.0, 0..70), seed: u64,
    ) {
        let mut numbers = random(seed);
        let up: Vec<f32> = gate.iter().map(|_| 9.0 * unit(numbers())).collect();
        for kernels in others().chain([Kernels::for_cpu(Cpu::Portable)]) {
            let mut found = gate.clone();
            kernels.silu_and_multiply(&mut found, &up);
            for ((&gate, &up), &found) in gate.iter().zip(&up).zip(&found) {
                let (gate, up) = (f64::from(gate), f64::from(up));
                let expected = gate / (1.0 + (-gate).exp()) * up;
                let error = (f64::from(found) - expected).abs();
                prop_assert!(error <= 1e-6 * expected.abs() + 1e-30, "{} {}", found, expected);
            }
        }
    }

    #[test]
    fn exponentials_over_their_sum_are_the_softmax(
        scores in prop::collection::vec(-60.0f32..60.0, 1..70),
    ) {
        let greatest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        // The difference is taken in f32, as any softmax in f32 does.
        let expected: Vec<f64> = scores.iter().map(|&s| f64::from(s - greatest).exp()).collect();
        let expected_sum: f64 = expected.iter().sum();
        for kernels in others().chain([Kernels::for_cpu(Cpu::Portable)]) {
            let mut found = scores.clone();
            let sum = kernels.exponentials(&mut found);
            prop_assert!((f64::from(sum) / expected_sum - 1.0).abs() < 1e-6);
            for (&found, &expected) in found.iter().zip(&expected) {
                let error = (f64::from(found) - expected).abs();
                prop_assert!(error <= 4e-7 * expected + 1e-37, "{} {}", found, expected);
            }
        }
    }

    #[test]
    fn normalised_rows_have_their_weights_and_biases(
        row in prop::collection::vec(-9.0f32..9.0, 1..130), seed: u64,
    ) {
        let mut numbers = random(seed);
        let mut vector = || row.iter().map(|_| unit(numbers())).collect::<Vec<f32>>();
        let (residual, weight, bias) = (vector(), vector(), vector());
        let epsilon = 1e-3;
        let sums: Vec<f64> =
            row.iter().zip(&residual).map(|(&a, &b)| f64::from(a) + f64::from(b)).collect();
        let mean = sums.iter().sum::<f64>() / sums.len() as f64;
        let variance = sums.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / sums.len() as f64;
        let expected: Vec<f32> = sums
            .iter()
            .zip(weight.iter().zip(&bias))
            .map(|(sum, (&weight, &bias))| {
                ((sum - mean) / (variance + 1e-3).sqrt() * f64::from(weight) + f64::from(bias)) as f32
            })
            .collect();
        for kernels in others().chain([Kernels::for_cpu(Cpu::Portable)]) {
            let mut found = row.clone();
            let norm = LayerNorm { weight: &weight, bias: &bias, epsilon };
            kernels.add_and_normalize(&mut found, &residual, norm);
            close(&found, &expected, 2e-5)?;
        }
    }

    #[test]
    fn rows_over_their_root_mean_square_have_their_weights(
        row in prop::collection::vec(-9.0f32..9.0, 1..130), epsilon in 1e-6f32..1.0, seed: u64,
    ) {
        let mut numbers = random(seed);
        let weight: Vec<f32> = row.iter().map(|_| 3.0 * unit(numbers())).collect();
        let square = |&value: &f32| f64::from(value).powi(2);
        let mean = row.iter().map(square).sum::<f64>() / row.len() as f64;
        let scale = 1.0 / (mean + f64::from(epsilon)).sqrt();
        let expected: Vec<f32> = row
            .iter()
            .zip(&weight)
            .map(|(&value, &weight)| (f64::from(value) * scale * f64::from(weight)) as f32)
            .collect();
        for kernels in others().chain([Kernels::for_cpu(Cpu::Portable)]) {
            let mut found = row.clone();
            kernels.normalize_rms(&mut found, RmsNorm { weight: &weight, epsilon });
            // No value is greater than the root of the row's size times its weight.
            close(&found, &expected, 2e-5)?;
        }
    }

    #[test]
    fn heads_are_rotated_as_complex_numbers(
        half in 1usize..70, heads in 0usize..5, seed: u64,
    ) {
        let mut numbers = random(seed);
        let row: Vec<f32> = (0..2 * half * heads).map(|_| unit(numbers())).collect();
        let angles: Vec<f32> = (0..half).map(|_| 4.0 * unit(numbers())).collect();
        let cosines: Vec<f32> = angles.iter().map(|angle| angle.cos()).collect();
        let sines: Vec<f32> = angles.iter().map(|angle| angle.sin()).collect();
        let mut expected = Vec::new();
        for head in row.chunks_exact(2 * half) {
            let part = |index: usize, other: usize, sign: f64| {
                let angle = f64::from(angles[index % half]);
                let (value, other) = (f64::from(head[index]), f64::from(head[other]));
                (value * angle.cos() + sign * other * angle.sin()) as f32
            };
            expected.extend((0..half).map(|index| part(index, index + half, -1.0)));
            expected.extend((half..2 * half).map(|index| part(index, index - half, 1.0)));
        }
        for kernels in others().chain([Kernels::for_cpu(Cpu::Portable)]) {
            let mut found = row.clone();
            kernels.rotate(&mut found, &cosines, &sines);
            close(&found, &expected, 1e-6)?;
        }
    }

    #[test]
    fn quantised_rows_are_read_back_within_half_a_step(
        values in prop::collection::vec(-9.0f32..9.0, 0..130),
    ) {
        for kernels in others().chain([Kernels::for_cpu(Cpu::Portable)]) {
            let mut bytes = vec![0; values.len()];
            let quantized = kernels.quantize(&values, &mut bytes);
            for (&value, &byte) in values.iter().zip(&bytes) {
                prop_assert!(byte >= 1);
                let read = quantized.scale * (i32::from(byte) - quantized.zero) as f32;
                // The zero is rounded too.
                prop_assert!((value - read).abs() <= 1.001 * quantized.scale, "{} {}", value, read);
            }
        }
    }

    #[test]
    fn bf16_is_rounded_to_nearest_even(values in prop::collection::vec(-9e9f32..9e9, 0..70)) {
        for kernels in others().chain([Kernels::for_cpu(Cpu::Portable)]) {
            let mut found = vec![0; values.len()];
            kernels.to_bf16(&values, &mut found);
            for (&value, &found) in values.iter().zip(&found) {
                prop_assert_eq!(found, burn::tensor::bf16::from_f32(value).to_bits());
            }
        }
    }

    #[test]
    fn transposed_panels_hold_the_rows(rows in 1usize..80, columns in 1usize..80) {
        let stride = columns + 5;
        let input: Vec<f32> = (0..rows * stride).map(|index| index as f32).collect();
        for kernels in others().chain([Kernels::for_cpu(Cpu::Portable)]) {
            let mut panels = vec![UNTOUCHED; rows.next_multiple_of(PANEL) * columns];
            // SAFETY: both have the sizes that the transposition says.
            #[allow(unsafe_code)]
            unsafe {
                kernels.transpose(Transposition {
                    rows,
                    columns,
                    input: input.as_ptr(),
                    input_stride: stride,
                    panels: panels.as_mut_ptr(),
                });
            }
            for (index, &found) in panels.iter().enumerate() {
                let (panel, rest) = (index / (columns * PANEL), index % (columns * PANEL));
                let (column, row) = (rest / PANEL, panel * PANEL + rest % PANEL);
                if row < rows {
                    prop_assert_eq!(found, input[row * stride + column]);
                } else {
                    prop_assert_eq!(found, UNTOUCHED);
                }
            }
        }
    }
}

#[test]
fn rows_of_zeros_and_infinities_quantise_without_harm() {
    for kernels in others().chain([Kernels::for_cpu(Cpu::Portable)]) {
        let mut bytes = [0; 20];
        let quantized = kernels.quantize(&[0.0; 20], &mut bytes);
        assert!(bytes.iter().all(|&byte| i32::from(byte) == quantized.zero));
        for value in [f32::INFINITY, f32::NEG_INFINITY, f32::NAN] {
            let quantized = kernels.quantize(&[value; 20], &mut bytes);
            assert!(quantized.scale.is_finite());
            assert!(bytes.iter().all(|&byte| byte >= 1));
        }
    }
}
