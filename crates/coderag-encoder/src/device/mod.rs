//! Where models compute.

mod cuda;
mod encoder;

pub use cuda::CudaCard;
pub use encoder::DeviceEncoder;

use std::fmt;

/// Where a model computes.
#[derive(Clone, Debug, Default)]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// A card of NVIDIA's.
    Cuda {
        /// Which it is.
        card: CudaCard,
        /// Whether it is an error when a model cannot be computed there; otherwise the processor takes over.
        required: bool,
    },
}

impl fmt::Display for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => formatter.write_str("cpu"),
            Self::Cuda { card, .. } => card.fmt(formatter),
        }
    }
}
