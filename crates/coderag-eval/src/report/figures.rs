//! Numbers as people read them.

use std::fmt::{self, Display};

/// A number with four significant digits: `0.0123`, `2e-4`.
#[derive(Clone, Copy, Debug)]
pub struct Number(pub f64);

impl Display for Number {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.0;
        let magnitude = value.abs();
        if value == 0.0 {
            return formatter.write_str("0");
        }
        if !(1e-3..1e6).contains(&magnitude) {
            let text = format!("{value:.3e}");
            let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
            return write!(formatter, "{}e{exponent}", without_zeros(digits));
        }
        let before_point = magnitude.log10().floor() as i32 + 1;
        let decimals = usize::try_from(4 - before_point).unwrap_or(0);
        formatter.write_str(without_zeros(&format!("{value:.decimals$}")))
    }
}

fn without_zeros(digits: &str) -> &str {
    match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.'),
        false => digits,
    }
}

/// `1 h 02 min`, `3 min 20 s`, `4.5 s`.
#[derive(Clone, Copy, Debug)]
pub struct Duration(pub f64);

impl Display for Duration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.max(0.0);
        let whole = seconds.round() as u64;
        match whole {
            3600.. => write!(formatter, "{} h {:02} min", whole / 3600, whole % 3600 / 60),
            60.. => write!(formatter, "{} min {:02} s", whole / 60, whole % 60),
            _ => write!(formatter, "{seconds:.1} s"),
        }
    }
}

/// `1.5 GiB`.
#[derive(Clone, Copy, Debug)]
pub struct Bytes(pub u64);

impl Display for Bytes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut value = self.0 as f64;
        let mut units = ["bytes", "KiB", "MiB", "GiB", "TiB"].into_iter();
        let mut unit = units.next().unwrap_or_default();
        for larger in units {
            if value < 1024.0 {
                break;
            }
            (value, unit) = (value / 1024.0, larger);
        }
        match unit {
            "bytes" => write!(formatter, "{value:.0} {unit}"),
            _ => write!(formatter, "{value:.1} {unit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_digits_and_no_idle_zeros() {
        let texts = [0.0, 0.5, 2e-4, 1.5e-4, 0.4171, 12.0, 1234.5, 7e6, -0.25, 0.012_345_6, 100.0];
        let texts = texts.map(|value| Number(value).to_string());
        let expected = [
            "0", "0.5", "2e-4", "1.5e-4", "0.4171", "12", "1234", "7e6", "-0.25", "0.01235", "100",
        ];
        assert_eq!(texts, expected);
    }

    #[test]
    fn durations_and_sizes_are_rounded() {
        let durations = [0.04, 59.96, 200.4, 3725.0].map(|seconds| Duration(seconds).to_string());
        assert_eq!(durations, ["0.0 s", "1 min 00 s", "3 min 20 s", "1 h 02 min"]);
        let sizes = [0, 1023, 1536, 3 << 30].map(|bytes| Bytes(bytes).to_string());
        assert_eq!(sizes, ["0 bytes", "1023 bytes", "1.5 KiB", "3.0 GiB"]);
    }
}
