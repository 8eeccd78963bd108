#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_void};
use std::fs;
use std::path::Path;

use coderag_core::{Digest, Hasher};
use cudarc::driver::sys::{CUdeviceptr, CUfunction, CUmodule};
use cudarc::driver::{DriverError, result};
use cudarc::nvrtc;

use super::open::Card;
use crate::engine::TrainingPrecision;
use crate::{Error, Result};

/// The kernels' source, in the order that they need each other.
const SOURCES: [&str; 10] = [
    include_str!("kernels/values.cu"),
    include_str!("kernels/normalization.cu"),
    include_str!("kernels/rms_normalization.cu"),
    include_str!("kernels/elementwise.cu"),
    include_str!("kernels/embedding.cu"),
    include_str!("kernels/pooling.cu"),
    include_str!("kernels/optimizer.cu"),
    include_str!("kernels/attention.cu"),
    include_str!("kernels/attention_tensor.cu"),
    include_str!("kernels/rotation.cu"),
];

/// The kernels whatever the number format.
const NAMES: [&CStr; 26] = [
    c"to_values",
    c"embed",
    c"take_rows",
    c"add_and_rms_normalize",
    c"rms_normalize_again",
    c"rms_normalize_backward",
    c"rotate",
    c"add",
    c"gate",
    c"gate_backward",
    c"add_and_normalize",
    c"normalize_backward",
    c"column_sums",
    c"add_partials",
    c"gelu",
    c"gelu_backward",
    c"add_rows",
    c"pool",
    c"pool_backward",
    c"square_sums",
    c"gradient_norm",
    c"adamw",
    c"attention_products",
    c"attention",
    c"attention_queries_backward",
    c"attention_keys_backward",
];
/// Those that use tensor cores.
const TENSOR_ATTENTION: [&CStr; 3] =
    [c"attention_tensor", c"attention_tensor_queries_backward", c"attention_tensor_keys_backward"];

/// What the kernels are compiled for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) format: TrainingPrecision,
    /// The width of a state.
    pub(super) hidden: usize,
    /// The heads of queries, and of keys and values.
    pub(super) heads: usize,
    pub(super) key_heads: usize,
    /// The width of a head.
    pub(super) head: usize,
    /// Whether a token sees only itself and those before it.
    pub(super) causal: bool,
}

impl Sizes {
    /// What attention gathers for a token.
    pub(super) fn context(&self) -> usize {
        self.heads * self.head
    }

    /// A token's queries, keys and values.
    pub(super) fn projected(&self) -> usize {
        (self.heads + 2 * self.key_heads) * self.head
    }

    /// Whether attention goes through tensor cores.
    pub(super) fn has_tensor_attention(&self) -> bool {
        self.format == TrainingPrecision::Bf16 && self.head.is_multiple_of(16)
    }
}

/// The kernels, compiled for a model and loaded.
#[derive(Debug)]
pub(super) struct Kernels {
    card: Card,
    module: CUmodule,
    functions: HashMap<&'static CStr, CUfunction>,
}

// SAFETY: modules and functions belong to the card's context, which any thread may use.
unsafe impl Send for Kernels {}
// SAFETY: as above.
unsafe impl Sync for Kernels {}

/// An argument of a kernel.
#[derive(Clone, Copy, Debug)]
pub(super) enum Argument {
    Address(CUdeviceptr),
    Int(i32),
    Long(i64),
    Float(f32),
    Floats([f32; 10]),
}

impl Argument {
    fn pointer(&self) -> *mut c_void {
        let pointer: *const c_void = match self {
            Self::Address(value) => std::ptr::from_ref(value).cast(),
            Self::Int(value) => std::ptr::from_ref(value).cast(),
            Self::Long(value) => std::ptr::from_ref(value).cast(),
            Self::Float(value) => std::ptr::from_ref(value).cast(),
            Self::Floats(values) => values.as_ptr().cast(),
        };
        pointer.cast_mut()
    }
}

impl From<CUdeviceptr> for Argument {
    fn from(value: CUdeviceptr) -> Self {
        Self::Address(value)
    }
}

impl From<f32> for Argument {
    fn from(value: f32) -> Self {
        Self::Float(value)
    }
}

impl From<i32> for Argument {
    fn from(value: i32) -> Self {
        Self::Int(value)
    }
}

impl Kernels {
    /// Compiles the kernels, which takes some seconds, unless their machine code is in the folder `kept`; then it is
    /// there.
    ///
    /// # Errors
    /// [`Error::Cuda`].
    pub(super) fn load(card: &Card, sizes: Sizes, kept: Option<&Path>) -> Result<Self> {
        card.enter()?;
        let program = Program::new(card, sizes)?;
        let file = kept.map(|folder| folder.join(format!("{}.cubin", program.digest())));
        let known = file.as_deref().and_then(|file| load_module(&kept_code(file)?).ok());
        let module = match known {
            Some(module) => module,
            None => {
                let code = program.compile(card)?;
                if let Some(file) = &file {
                    keep(file, &code);
                }
                load_module(&code).map_err(card.failed("its kernels do not load"))?
            }
        };
        let mut kernels = Self { card: card.clone(), module, functions: HashMap::new() };
        let tensor = sizes.has_tensor_attention().then_some(TENSOR_ATTENTION);
        for name in NAMES.into_iter().chain(tensor.into_iter().flatten()) {
            // SAFETY: the module is loaded.
            let function = unsafe { result::module::get_function(module, name.to_owned()) };
            let function = function.map_err(card.failed("a kernel is missing"))?;
            kernels.functions.insert(name, function);
        }
        Ok(kernels)
    }

    /// Has blocks of threads run a kernel.
    ///
    /// # Safety
    /// The arguments are the kernel's, and the memory they name is there.
    pub(super) unsafe fn launch(
        &self,
        name: &'static CStr,
        blocks: [usize; 3],
        threads: u32,
        arguments: &[Argument],
    ) -> Result<()> {
        if blocks.contains(&0) {
            return Ok(());
        }
        let Some(function) = self.functions.get(name) else {
            let problem = format!("there is no kernel {name:?}");
            return Err(Error::Cuda { index: self.card.index(), problem });
        };
        let [x, y, z] = blocks.map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        let mut pointers: Vec<*mut c_void> = arguments.iter().map(Argument::pointer).collect();
        // SAFETY: the caller vouches for the arguments; the driver copies them before it returns.
        let launched = unsafe {
            result::launch_kernel(
                *function,
                (x, y, z),
                (threads, 1, 1),
                0,
                self.card.stream(),
                &mut pointers,
            )
        };
        launched.map_err(self.card.failed("a kernel was not started"))
    }
}

impl Drop for Kernels {
    fn drop(&mut self) {
        // On whatever thread this is.
        let _ = self.card.enter();
        let _ = self.card.wait();
        // SAFETY: nobody uses the functions any more, and none runs.
        let _ = unsafe { result::module::unload(self.module) };
    }
}

fn load_module(code: &[u8]) -> std::result::Result<CUmodule, DriverError> {
    // SAFETY: the code is the compiler's.
    unsafe { result::module::load_data(code.as_ptr().cast()) }
}

/// Machine code that [`keep`] has written, with its digest before it: the driver trusts what it loads.
fn kept_code(file: &Path) -> Option<Vec<u8>> {
    let mut content = fs::read(file).ok()?;
    let code = content.split_off(content.len().min(Digest::of([]).to_string().len()));
    (content == Digest::of(&code).to_string().into_bytes()).then_some(code)
}

/// Keeps machine code for other processes; without it they only take longer.
fn keep(file: &Path, code: &[u8]) {
    let kept = coderag_core::atomic::write_file::<_, coderag_core::Error>(file, |writer| {
        let digest = Digest::of(code).to_string();
        let written = writer.write_all(digest.as_bytes()).and_then(|()| writer.write_all(code));
        written.map_err(coderag_core::Error::io("write", file))
    });
    if let Err(error) = kept {
        tracing::warn!("the kernels are compiled again next time: {error}");
    }
}

/// The kernels' source with what it is compiled for.
struct Program {
    source: CString,
    options: [String; 7],
}

impl Program {
    fn new(card: &Card, sizes: Sizes) -> Result<Self> {
        let failed = |problem: String| Error::Cuda { index: card.index(), problem };
        let source = CString::new(SOURCES.concat()).map_err(|error| failed(error.to_string()))?;
        let options = [
            format!("--gpu-architecture={}", card.architecture()?),
            format!("-DBFLOAT16={}", u8::from(sizes.format == TrainingPrecision::Bf16)),
            format!("-DHIDDEN={}", sizes.hidden),
            format!("-DHEADS={}", sizes.heads),
            format!("-DKEY_HEADS={}", sizes.key_heads),
            format!("-DHEAD={}", sizes.head),
            format!("-DCAUSAL={}", u8::from(sizes.causal)),
        ];
        Ok(Self { source, options })
    }

    /// Tells machine code of this source and compiler from all other.
    fn digest(&self) -> Digest {
        let (mut major, mut minor) = (0, 0);
        // SAFETY: the pointers are to numbers that live on.
        let _ = unsafe { nvrtc::sys::nvrtcVersion(&raw mut major, &raw mut minor) };
        let mut hasher = Hasher::new();
        hasher.update(self.source.as_bytes());
        hasher.update(self.options.join(" "));
        hasher.update(format!("{major}.{minor}"));
        hasher.finish()
    }

    /// The kernels for the card, as its driver loads them.
    fn compile(&self, card: &Card) -> Result<Vec<u8>> {
        let failed = |problem: String| Error::Cuda { index: card.index(), problem };
        let refused =
            |error: nvrtc::result::NvrtcError| failed(format!("libnvrtc failed: {error:?}"));
        let program = nvrtc::result::create_program(&self.source, Some(c"coderag.cu"));
        let program = program.map_err(refused)?;
        // SAFETY: the program lives until it is destroyed below, and the code has room for what is written.
        unsafe {
            let compiled = nvrtc::result::compile_program(program, &self.options).and_then(|()| {
                let mut size = 0;
                nvrtc::sys::nvrtcGetCUBINSize(program, &raw mut size).result()?;
                let mut code = vec![0u8; size];
                nvrtc::sys::nvrtcGetCUBIN(program, code.as_mut_ptr().cast()).result()?;
                Ok(code)
            });
            let code = compiled.map_err(|error| {
                let log = nvrtc::result::get_program_log(program).unwrap_or_default();
                let log: Vec<u8> = log.iter().map(|byte| byte.cast_unsigned()).collect();
                let log = String::from_utf8_lossy(&log);
                let log = log.trim_end_matches('\0');
                failed(format!("libnvrtc does not compile the kernels: {error:?}\n{log}"))
            });
            let destroyed = nvrtc::result::destroy_program(program).map_err(refused);
            let code = code?;
            destroyed?;
            Ok(code)
        }
    }
}
