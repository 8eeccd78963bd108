/// The burn backend for CPUs: f32, pure Rust, on rayon's global thread pool.
pub type CpuBackend = burn::backend::Flex;
