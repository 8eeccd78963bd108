use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// A set of instructions that the kernels are written for.
///
/// All give the same int8 sums; floating-point results differ by rounding only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cpu {
    /// What every CPU of the architecture has.
    Portable,
    /// x86-64 with AVX2 and FMA (x86-64-v3).
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ and VL (x86-64-v4). The VNNI and BF16 extensions are used where the
    /// CPU has them.
    Avx512,
}

/// The variable that overrides what [`Cpu::detect`] finds.
const VARIABLE: &str = "CODERAG_CPU";

impl Cpu {
    /// All of them, the simplest first.
    pub const ALL: [Self; 3] = [Self::Portable, Self::Avx2, Self::Avx512];

    /// The best that this machine has, or what the environment variable `CODERAG_CPU` names: `avx512`,
    /// `avx2` or `portable`.
    ///
    /// # Errors
    /// [`Error::Cpu`] when the variable is none of these, or names what the machine lacks.
    pub fn detect() -> Result<Self> {
        let Some(value) = std::env::var_os(VARIABLE) else {
            return Ok(Self::best());
        };
        let value = value.to_string_lossy().into_owned();
        let problem = match value.parse::<Self>() {
            Ok(cpu) if cpu.is_available() => return Ok(cpu),
            Ok(_) => "this machine does not have it".to_owned(),
            Err(problem) => problem,
        };
        Err(Error::Cpu { value, problem })
    }

    /// The best that this machine has.
    pub fn best() -> Self {
        Self::ALL.into_iter().rfind(|cpu| cpu.is_available()).unwrap_or(Self::Portable)
    }

    /// Whether this machine has it.
    pub fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                Self::Avx2.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Avx512 => false,
        }
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        })
    }
}

impl FromStr for Cpu {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|cpu| cpu.to_string() == name)
            .ok_or_else(|| "it can be avx512, avx2 or portable".to_owned())
    }
}
