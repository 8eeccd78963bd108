use std::fmt;
use std::str::FromStr;

/// The number format of the linear layers. Everything else, attention included, is in f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// 32-bit floating point, as the reference implementations compute.
    #[default]
    F32,
    /// Inputs and weights rounded to bfloat16, sums in f32.
    Bf16,
    /// Inputs quantised to 8 bits for each token as it comes (254 steps between its least and greatest
    /// value), weights to 8 bits for each output, sums in 32-bit integers. In Qwen2 and Qwen3 the last
    /// layer of each block is in [`Precision::Bf16`].
    Int8,
}

impl Precision {
    /// How many values stand in one 32-bit unit of a packed operand.
    pub(crate) fn values_per_unit(self) -> usize {
        match self {
            Self::F32 => 1,
            Self::Bf16 => 2,
            Self::Int8 => 4,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        })
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            "int8" => Ok(Self::Int8),
            _ => Err(format!("`{name}` is not a precision; they are f32, bf16 and int8")),
        }
    }
}
