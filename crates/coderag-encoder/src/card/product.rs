#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::c_void;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use cudarc::cublaslt::result::{self, CublasError};
use cudarc::cublaslt::sys;
use cudarc::driver::sys::CUdeviceptr;

use super::memory::Memory;
use super::open::Card;
use crate::engine::TrainingPrecision;
use crate::{Error, Result};

/// What cuBLASLt may use beside the matrices, in bytes: what NVIDIA recommends for Hopper, and enough for others.
const WORKSPACE: usize = 32 << 20;
/// How many kinds of product are remembered. Where sequences are packed, each batch has kinds of its own.
const MOST_PLANS: usize = 2048;

/// Matrix products by cuBLASLt, with the algorithm that it thinks best for each kind.
pub(super) struct Products {
    card: Card,
    handle: sys::cublasLtHandle_t,
    workspace: Memory,
    plans: Mutex<HashMap<Kind, Plan>>,
}

// SAFETY: cuBLASLt's handle may be used by several threads
// (https://docs.nvidia.com/cuda/cublas/#thread-safety); plans are behind a lock.
unsafe impl Send for Products {}
// SAFETY: as above.
unsafe impl Sync for Products {}

/// `output = alpha * left * right + beta * output + bias`, all row by row: `[rows, inner]` by `[inner, columns]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Product {
    pub(super) rows: usize,
    pub(super) inner: usize,
    pub(super) columns: usize,
    pub(super) left: Factor,
    pub(super) right: Factor,
    pub(super) output: Output,
    pub(super) alpha: f32,
    /// 0 where what was in the output does not count.
    pub(super) beta: f32,
    /// A number of the output's format for each column.
    pub(super) bias: Option<CUdeviceptr>,
}

/// A factor of a product, in the format of states.
#[derive(Clone, Copy, Debug)]
pub(super) struct Factor {
    pub(super) at: CUdeviceptr,
    /// From one row in memory to the next, in numbers.
    pub(super) stride: usize,
    /// Whether columns of the factor are rows in memory.
    pub(super) transposed: bool,
}

impl Factor {
    pub(super) fn new(at: CUdeviceptr, stride: usize) -> Self {
        Self { at, stride, transposed: false }
    }

    pub(super) fn transposed(at: CUdeviceptr, stride: usize) -> Self {
        Self { at, stride, transposed: true }
    }
}

/// The result of a product.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    pub(super) at: CUdeviceptr,
    /// From one row to the next, in numbers.
    pub(super) stride: usize,
    pub(super) format: TrainingPrecision,
}

/// What decides which algorithm is best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Kind {
    sizes: [usize; 3],
    strides: [usize; 3],
    transposed: [bool; 2],
    formats: [TrainingPrecision; 2],
    alignments: [u32; 3],
    accumulates: bool,
    biased: bool,
}

/// A product as cuBLASLt wants it described. It counts columns first, so the right factor is its left one.
struct Plan {
    operation: sys::cublasLtMatmulDesc_t,
    layouts: [sys::cublasLtMatrixLayout_t; 3],
    algorithm: sys::cublasLtMatmulAlgo_t,
}

impl Products {
    /// # Errors
    /// [`Error::Cuda`], also where libcublasLt is not there.
    pub(super) fn new(card: &Card) -> Result<Self> {
        // SAFETY: what is loaded is NVIDIA's library by its name, which runs nothing dangerous when it is.
        if !unsafe { sys::is_culib_present() } {
            let problem = "libcublasLt is not there; install NVIDIA's CUDA toolkit, or its package libcublas, and \
                           name its folder in LD_LIBRARY_PATH";
            return Err(Error::Cuda { index: card.index(), problem: problem.to_owned() });
        }
        let workspace = card.allocate(WORKSPACE)?;
        let handle = result::create_handle().map_err(failed(card))?;
        Ok(Self { card: card.clone(), handle, workspace, plans: Mutex::default() })
    }

    /// Computes a product whose factors have this format.
    ///
    /// # Safety
    /// The factors and the output are there, and the output is neither factor.
    pub(super) unsafe fn compute(
        &self,
        format: TrainingPrecision,
        product: &Product,
    ) -> Result<()> {
        if product.rows == 0 || product.columns == 0 || product.inner == 0 {
            return Ok(());
        }
        let kind = Kind::of(format, product);
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if !plans.contains_key(&kind) {
            if plans.len() >= MOST_PLANS {
                plans.clear();
            }
            plans.insert(kind, self.plan(&kind)?);
        }
        let Some(plan) = plans.get(&kind) else { return Ok(()) };
        if let Some(bias) = product.bias {
            // SAFETY: the operation is this plan's.
            unsafe { set(plan.operation, attribute::BIAS_POINTER, &bias) }
                .map_err(failed(&self.card))?;
        }
        let Product { left, right, output, alpha, beta, .. } = *product;
        let [first, second, third] = plan.layouts;
        // SAFETY: the caller vouches for the matrices, and the plan is for matrices like them.
        let computed = unsafe {
            result::matmul(
                self.handle,
                plan.operation,
                (&raw const alpha).cast(),
                (&raw const beta).cast(),
                right.at as *const c_void,
                first,
                left.at as *const c_void,
                second,
                output.at as *const c_void,
                third,
                output.at as *mut c_void,
                third,
                &raw const plan.algorithm,
                self.workspace.address() as *mut c_void,
                WORKSPACE,
                self.card.stream().cast(),
            )
        };
        computed.map_err(failed(&self.card))
    }

    fn plan(&self, kind: &Kind) -> Result<Plan> {
        self.try_to_plan(kind).map_err(|error| {
            let problem = format!("cuBLASLt has no product of {:?}: {error:?}", kind.sizes);
            Error::Cuda { index: self.card.index(), problem }
        })
    }

    fn try_to_plan(&self, kind: &Kind) -> std::result::Result<Plan, CublasError> {
        let [rows, inner, columns] = kind.sizes;
        let [left_stride, right_stride, output_stride] = kind.strides;
        let [left_transposed, right_transposed] = kind.transposed;
        let [format, output_format] = kind.formats.map(data_type);
        let layout = |format, [rows, columns]: [usize; 2], stride: usize| {
            result::create_matrix_layout(format, columns as u64, rows as u64, stride as i64)
        };
        let turned = |transposed, [rows, columns]: [usize; 2]| {
            if transposed { [columns, rows] } else { [rows, columns] }
        };
        let operation = result::create_matmul_desc(
            sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
            sys::cudaDataType_t::CUDA_R_32F,
        )?;
        let layouts = [
            layout(format, turned(right_transposed, [inner, columns]), right_stride)?,
            layout(format, turned(left_transposed, [rows, inner]), left_stride)?,
            layout(output_format, [rows, columns], output_stride)?,
        ];
        let preference = result::create_matmul_pref()?;
        let epilogue = if kind.biased {
            sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_BIAS
        } else {
            sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_DEFAULT
        };
        // SAFETY: all are of this function, and the values of the types that the attributes have.
        let found = unsafe {
            set(operation, attribute::TRANSPOSED_LEFT, &i32::from(right_transposed))?;
            set(operation, attribute::TRANSPOSED_RIGHT, &i32::from(left_transposed))?;
            set(operation, attribute::EPILOGUE, &(epilogue as u32))?;
            if kind.biased {
                // The heuristics want some address of a bias.
                set(operation, attribute::BIAS_POINTER, &self.workspace.address())?;
            }
            prefer(preference, preferred::WORKSPACE, &WORKSPACE)?;
            let [left, right, output] = kind.alignments;
            prefer(preference, preferred::ALIGNMENT_OF_LEFT, &right)?;
            prefer(preference, preferred::ALIGNMENT_OF_RIGHT, &left)?;
            prefer(preference, preferred::ALIGNMENT_OF_ADDED, &output)?;
            prefer(preference, preferred::ALIGNMENT_OF_OUTPUT, &output)?;
            let [first, second, third] = layouts;
            result::get_matmul_algo_heuristic(
                self.handle,
                operation,
                first,
                second,
                third,
                third,
                preference,
            )
        };
        // SAFETY: nobody uses it any more.
        unsafe { result::destroy_matmul_pref(preference) }?;
        Ok(Plan { operation, layouts, algorithm: found?.algo })
    }
}

impl Kind {
    fn of(format: TrainingPrecision, product: &Product) -> Self {
        let Product { rows, inner, columns, left, right, output, beta, bias, .. } = *product;
        Self {
            sizes: [rows, inner, columns],
            strides: [left.stride, right.stride, output.stride],
            transposed: [left.transposed, right.transposed],
            formats: [format, output.format],
            alignments: [left.at, right.at, output.at].map(alignment),
            accumulates: beta != 0.0,
            biased: bias.is_some(),
        }
    }
}

/// The largest power of 2 up to 256 that divides an address.
fn alignment(address: CUdeviceptr) -> u32 {
    1 << address.trailing_zeros().min(8)
}

fn data_type(format: TrainingPrecision) -> sys::cudaDataType_t {
    match format {
        TrainingPrecision::F32 => sys::cudaDataType_t::CUDA_R_32F,
        TrainingPrecision::Bf16 => sys::cudaDataType_t::CUDA_R_16BF,
    }
}

fn failed(card: &Card) -> impl Fn(CublasError) -> Error + use<> {
    let index = card.index();
    move |error| Error::Cuda { index, problem: format!("cuBLASLt failed: {error:?}") }
}

/// Attributes of an operation.
mod attribute {
    use cudarc::cublaslt::sys::cublasLtMatmulDescAttributes_t as Attribute;

    pub(super) const TRANSPOSED_LEFT: Attribute = Attribute::CUBLASLT_MATMUL_DESC_TRANSA;
    pub(super) const TRANSPOSED_RIGHT: Attribute = Attribute::CUBLASLT_MATMUL_DESC_TRANSB;
    pub(super) const EPILOGUE: Attribute = Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE;
    pub(super) const BIAS_POINTER: Attribute = Attribute::CUBLASLT_MATMUL_DESC_BIAS_POINTER;
}

/// What the choice of an algorithm has to keep to.
mod preferred {
    use cudarc::cublaslt::sys::cublasLtMatmulPreferenceAttributes_t as Preference;

    pub(super) const WORKSPACE: Preference = Preference::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
    pub(super) const ALIGNMENT_OF_LEFT: Preference =
        Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES;
    pub(super) const ALIGNMENT_OF_RIGHT: Preference =
        Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES;
    pub(super) const ALIGNMENT_OF_ADDED: Preference =
        Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES;
    pub(super) const ALIGNMENT_OF_OUTPUT: Preference =
        Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES;
}

/// # Safety
/// The operation is alive, and the value of the attribute's type.
unsafe fn set<T>(
    operation: sys::cublasLtMatmulDesc_t,
    attribute: sys::cublasLtMatmulDescAttributes_t,
    value: &T,
) -> std::result::Result<(), CublasError> {
    let value = std::ptr::from_ref(value);
    // SAFETY: the caller vouches for both.
    unsafe { result::set_matmul_desc_attribute(operation, attribute, value.cast(), size_of::<T>()) }
}

/// # Safety
/// The preference is alive, and the value of the attribute's type.
unsafe fn prefer<T>(
    preference: sys::cublasLtMatmulPreference_t,
    attribute: sys::cublasLtMatmulPreferenceAttributes_t,
    value: &T,
) -> std::result::Result<(), CublasError> {
    let value = std::ptr::from_ref(value);
    // SAFETY: the caller vouches for both.
    unsafe {
        result::set_matmul_pref_attribute(preference, attribute, value.cast(), size_of::<T>())
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        // SAFETY: the plan's own, which nobody uses any more; cuBLASLt has read them when a product was enqueued.
        unsafe {
            for layout in self.layouts {
                let _ = result::destroy_matrix_layout(layout);
            }
            let _ = result::destroy_matmul_desc(self.operation);
        }
    }
}

impl Drop for Products {
    fn drop(&mut self) {
        // On whatever thread this is.
        let _ = self.card.enter();
        let _ = self.card.wait();
        self.plans.lock().unwrap_or_else(PoisonError::into_inner).clear();
        // SAFETY: nobody uses the handle any more.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

impl fmt::Debug for Products {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Products").finish_non_exhaustive()
    }
}
