//! llama.cpp's log: to `tracing`, and its reasons into our errors.

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_void};

use llama_cpp_sys_2::{GGML_LOG_LEVEL_ERROR, ggml_log_level, llama_log_set};

thread_local! {
    /// What llama.cpp first called an error on this thread since the last [`take_error`]. Its
    /// functions return only that they failed; the reason goes to the log.
    static ERROR: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Sends the log to `tracing` at debug level, instead of to stderr.
#[allow(unsafe_code)]
pub(super) fn redirect() {
    // SAFETY: the callback has the declared signature, lives as long as the process and takes no
    // data.
    unsafe { llama_log_set(Some(log), std::ptr::null_mut()) }
}

/// The reason that llama.cpp has given on this thread since the last call.
pub(super) fn take_error() -> String {
    ERROR.take().unwrap_or_else(|| "it gave no reason".to_owned())
}

#[allow(unsafe_code)]
unsafe extern "C" fn log(level: ggml_log_level, text: *const c_char, _data: *mut c_void) {
    if text.is_null() {
        return;
    }
    // SAFETY: llama.cpp passes a terminated string that lives until this function returns.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    let line = text.trim();
    // A row of dots shows how far loading is.
    if line.trim_matches('.').is_empty() {
        return;
    }
    tracing::debug!(target: "llama.cpp", "{line}");
    if level == GGML_LOG_LEVEL_ERROR {
        // Lines begin with the name of a C++ function.
        let reason = line.split_once(": ").map_or(line, |(_, reason)| reason);
        ERROR.with_borrow_mut(|error| {
            error.get_or_insert_with(|| reason.to_owned());
        });
    }
}
