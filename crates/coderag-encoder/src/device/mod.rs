//! Where models compute.

#[cfg(feature = "cuda")]
mod cuda;
mod encoder;

#[cfg(feature = "cuda")]
pub use cuda::CudaCard;
pub use encoder::DeviceEncoder;

use std::fmt;

/// Where a model computes.
#[derive(Clone, Debug, Default)]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// A card of NVIDIA's, in builds with the feature `cuda`.
    #[cfg(feature = "cuda")]
    Cuda(CudaCard),
}

impl fmt::Display for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => formatter.write_str("cpu"),
            #[cfg(feature = "cuda")]
            Self::Cuda(card) => card.fmt(formatter),
        }
    }
}
