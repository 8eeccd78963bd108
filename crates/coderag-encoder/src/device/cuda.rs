#![allow(unsafe_code)]

use std::ffi::c_int;
use std::fmt;
use std::path::{Path, PathBuf};

use cudarc::driver::{result, sys};
use cudarc::nvrtc;

use crate::{Error, Result};

/// The oldest CUDA whose compiler knows the architectures that kernels are compiled for.
const OLDEST: Version = Version(12, 0);

/// A card that can be computed on: the driver and the compiler of kernels are there and fit together. What is missing
/// would otherwise be a panic.
#[derive(Clone, Debug)]
pub struct CudaCard {
    index: usize,
    name: String,
    /// In bytes.
    memory: usize,
    driver: Version,
    /// Where its kernels' machine code is kept, if anywhere.
    kernels: Option<PathBuf>,
}

impl CudaCard {
    /// Looks for the card of this number, counted from 0 as `CUDA_VISIBLE_DEVICES` leaves them.
    ///
    /// # Errors
    /// [`Error::Cuda`] says what is missing or too old, and what to install.
    pub fn open(index: usize) -> Result<Self> {
        let refuse = |problem: String| Error::Cuda { index, problem };
        let driver = driver().map_err(refuse)?;
        check_compiler(driver).map_err(refuse)?;
        let failed = |error: cudarc::driver::DriverError| refuse(error.to_string());
        let count = result::device::get_count().map_err(failed)?;
        let number = c_int::try_from(index).ok().filter(|number| *number < count);
        let number = number.ok_or_else(|| refuse(format!("there are {count}, counted from 0")))?;
        let device = result::device::get(number).map_err(failed)?;
        let name = result::device::get_name(device).map_err(failed)?;
        // SAFETY: the driver has just given this device.
        let memory = unsafe { result::device::total_mem(device) }.map_err(failed)?;
        Ok(Self { index, name, memory, driver, kernels: None })
    }

    /// Keeps the machine code of kernels in a folder, so that each is compiled once.
    #[must_use]
    pub fn with_kernels_in(mut self, folder: &Path) -> Self {
        self.kernels = Some(folder.to_owned());
        self
    }

    /// Where machine code is kept, if anywhere.
    pub(crate) fn kernels(&self) -> Option<&Path> {
        self.kernels.as_deref()
    }

    /// Whether NVIDIA's driver is there at all.
    pub fn has_driver() -> bool {
        // SAFETY: a library of NVIDIA's, which does nothing that could harm when it is loaded.
        unsafe { sys::is_culib_present() }
    }

    /// Its number.
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// The card for burn, whose kernels include CUDA's headers.
    ///
    /// # Errors
    /// [`Error::Cuda`] where the headers are missing.
    #[cfg(feature = "cuda")]
    pub fn burn_device(&self) -> Result<burn::backend::cuda::CudaDevice> {
        // Where burn looks for them.
        let headers = cubecl_cuda::install::cuda_path().map(|toolkit| toolkit.join("include"));
        if !headers.as_ref().is_some_and(|folder| folder.join("cuda_runtime.h").is_file()) {
            let usual = || PathBuf::from("/usr/local/cuda/include");
            let problem = format!(
                "the headers of CUDA are not in {}; install cuda-cudart-dev of NVIDIA's toolkit, or set \
                 CUDA_PATH to the folder that has them in `include`",
                headers.unwrap_or_else(usual).display()
            );
            return Err(Error::Cuda { index: self.index, problem });
        }
        if let Some(folder) = &self.kernels {
            keep_burns_kernels(folder);
        }
        Ok(burn::backend::cuda::CudaDevice::new(self.index))
    }
}

impl fmt::Display for CudaCard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, name, memory, driver, .. } = self;
        let gibibytes = *memory as f64 / f64::from(1 << 30);
        write!(formatter, "cuda:{index} ({name}, {gibibytes:.1} GiB, CUDA {driver})")
    }
}

/// Has burn keep its compiled kernels and what it found to be fastest: a model needs hundreds of them, and each takes
/// about half a second. The first call decides.
#[cfg(feature = "cuda")]
fn keep_burns_kernels(folder: &Path) {
    use cubecl_runtime::config::cache::CacheConfig;
    use cubecl_runtime::config::{CubeClRuntimeConfig, RuntimeConfig as _};

    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        // burn tells kernels apart by their names and settings, not by their code, which may be another in every build.
        let build =
            std::env::current_exe().ok().and_then(|it| coderag_core::Digest::of_file(&it).ok());
        let Some(build) = build else { return };
        let folder = folder.join(format!("burn-{build}"));
        // burn panics where it cannot write.
        let writable = std::fs::create_dir_all(&folder).is_ok();
        if writable && CubeClRuntimeConfig::storage().lock().is_none() {
            let mut config = CubeClRuntimeConfig::default().override_from_env();
            config.compilation.cache = Some(CacheConfig::File(folder.clone()));
            config.autotune.cache = CacheConfig::File(folder);
            CubeClRuntimeConfig::set(config);
        }
    });
}

/// A version of CUDA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version(i32, i32);

impl Version {
    /// From a number such as 12040.
    fn of(number: c_int) -> Self {
        Self(number / 1000, number % 1000 / 10)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.0, self.1)
    }
}

/// Starts the driver, and returns the newest CUDA that it serves.
fn driver() -> Result<Version, String> {
    if !CudaCard::has_driver() {
        return Err("libcuda is not there; install NVIDIA's driver".to_owned());
    }
    result::init().map_err(|error| format!("the driver does not start: {error}"))?;
    let mut number = 0;
    // SAFETY: the pointer is to a number that lives on.
    let asked = unsafe { sys::cuDriverGetVersion(&mut number) };
    asked.result().map_err(|error| format!("the driver does not answer: {error}"))?;
    let version = Version::of(number);
    if version < OLDEST {
        return Err(format!(
            "the driver serves CUDA up to {version}, and {OLDEST} is needed; install a newer driver"
        ));
    }
    Ok(version)
}

/// Checks the compiler of the kernels.
fn check_compiler(driver: Version) -> Result<(), String> {
    // SAFETY: as for the driver.
    if !unsafe { nvrtc::sys::is_culib_present() } {
        return Err(
            "libnvrtc is not there; install NVIDIA's CUDA toolkit, or its packages cuda-nvrtc and \
             libcublas, and name their folder in LD_LIBRARY_PATH"
                .to_owned(),
        );
    }
    let (mut major, mut minor) = (0, 0);
    // SAFETY: the pointers are to numbers that live on.
    let asked = unsafe { nvrtc::sys::nvrtcVersion(&mut major, &mut minor) };
    asked.result().map_err(|error| format!("libnvrtc does not answer: {error}"))?;
    let compiler = Version(major, minor);
    if compiler < OLDEST {
        return Err(format!("libnvrtc is of CUDA {compiler}, and {OLDEST} is needed"));
    }
    // Within a major version a driver runs what newer compilers made
    // (https://docs.nvidia.com/deploy/cuda-compatibility/).
    if compiler.0 > driver.0 {
        return Err(format!(
            "libnvrtc is of CUDA {compiler}, and the driver serves CUDA up to {driver}; install a newer driver \
             or an older toolkit"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_the_driver_writes_them() {
        assert_eq!(Version::of(12_040), Version(12, 4));
        assert_eq!(Version::of(13_000).to_string(), "13.0");
        assert!(Version::of(11_080) < OLDEST);
    }

    #[test]
    fn a_card_that_is_not_there_is_refused_with_what_to_do() {
        let message = CudaCard::open(4096).unwrap_err().to_string();
        assert!(message.contains("cuda:4096"), "{message}");
        let reasons = ["libcuda is not there", "the driver", "libnvrtc", "there are"];
        assert!(reasons.iter().any(|reason| message.contains(reason)), "{message}");
    }
}
