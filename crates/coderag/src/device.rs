use std::path::Path;
use std::str::FromStr;

use anyhow::Result;
use coderag_encoder::device::{CudaCard, Device};

/// Where encoders are to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeviceChoice {
    /// On the first card, or on the processor where there is none.
    Auto,
    /// On the processor.
    Cpu,
    /// On the card of this number.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let card = |number: &str| number.parse().ok().map(Self::Cuda);
        let choice = match name {
            "auto" => Some(Self::Auto),
            "cpu" => Some(Self::Cpu),
            "cuda" => Some(Self::Cuda(0)),
            _ => name.strip_prefix("cuda:").and_then(card),
        };
        choice.ok_or_else(|| "the devices are auto, cpu, cuda and cuda:N".to_owned())
    }
}

impl DeviceChoice {
    /// Makes sure of the device; without a card that can be used `auto` is the processor. A card's kernels are
    /// compiled once and kept in the folder `kernels`.
    pub(crate) fn open(self, kernels: &Path) -> Result<Device> {
        let open = |index| CudaCard::open(index).map(|card| card.with_kernels_in(kernels));
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(index) => Ok(Device::Cuda { card: open(index)?, required: true }),
            Self::Auto => Ok(match open(0) {
                Ok(card) => Device::Cuda { card, required: false },
                Err(error) => {
                    if CudaCard::has_driver() {
                        tracing::warn!("computing on the processor: {error}");
                    } else {
                        tracing::info!("computing on the processor: {error}");
                    }
                    Device::Cpu
                }
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_by_name() {
        for (name, choice) in [
            ("auto", DeviceChoice::Auto),
            ("cpu", DeviceChoice::Cpu),
            ("cuda", DeviceChoice::Cuda(0)),
            ("cuda:3", DeviceChoice::Cuda(3)),
        ] {
            assert_eq!(name.parse(), Ok(choice));
        }
        for name in ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "CPU"] {
            assert!(name.parse::<DeviceChoice>().is_err(), "{name}");
        }
    }
}
