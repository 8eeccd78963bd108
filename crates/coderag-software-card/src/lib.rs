//! A card made of the processor: stand-ins for libcuda, libnvrtc and libcublasLt, so that tests run the same kernels and
//! the same calls as on one of NVIDIA's, without any.
//!
//! The kernels' source is compiled by the machine's C++ compiler; threads of a block are fibers, tensor cores a loop.
//! What it shows is that they compute what they should; what it cannot show is how fast, nor what only happens where
//! threads run at the same time. Memory that nobody has written is NaN.
//!
//! ```
//! coderag_software_card::install().unwrap();
//! // From here on `libcuda.so` is the software card.
//! ```

#![allow(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs, io};

use libloading::{Library, Symbol};
use sha2::{Digest as _, Sha256};

/// What a kernel's source is compiled with.
const HEADER: &str = include_str!("../card/kernel.h");

/// NVIDIA's libraries and their sources.
const LIBRARIES: [(&str, &str); 3] = [
    ("libcuda.so", include_str!("../card/driver.cpp")),
    ("libnvrtc.so", include_str!("../card/compiler.cpp")),
    ("libcublasLt.so", include_str!("../card/products.cpp")),
];

/// The card of this process.
#[derive(Debug)]
pub struct SoftwareCard {
    driver: Library,
    /// Loaded for as long as the process lives.
    _others: Vec<Library>,
}

/// Puts the card where NVIDIA's libraries would be found, for the whole process. Call it before anything asks for a
/// card. The libraries are compiled where no process before has done so.
///
/// # Errors
/// What went wrong, in words.
pub fn install() -> Result<&'static SoftwareCard, String> {
    static CARD: OnceLock<Result<SoftwareCard, String>> = OnceLock::new();
    CARD.get_or_init(load).as_ref().map_err(Clone::clone)
}

impl SoftwareCard {
    /// How much memory is given out at the moment, in bytes.
    pub fn memory_in_use(&self) -> usize {
        self.ask(b"software_card_memory_in_use")
    }

    /// The most memory that was given out at a time, in bytes.
    pub fn most_memory_in_use(&self) -> usize {
        self.ask(b"software_card_most_memory_in_use")
    }

    /// How many kernels were started.
    pub fn launches(&self) -> usize {
        self.ask(b"software_card_launches")
    }

    /// Gives the card other than 8 GiB of memory.
    pub fn set_memory(&self, bytes: usize) {
        // SAFETY: the function has this type.
        let set: Result<Symbol<'_, unsafe extern "C" fn(usize)>, _> =
            unsafe { self.driver.get(b"software_card_set_memory") };
        if let Ok(set) = set {
            // SAFETY: it takes any number.
            unsafe { set(bytes) };
        }
    }

    fn ask(&self, name: &[u8]) -> usize {
        // SAFETY: the functions have this type.
        let function: Result<Symbol<'_, unsafe extern "C" fn() -> usize>, _> =
            unsafe { self.driver.get(name) };
        // SAFETY: they may be called at any time.
        function.map_or(0, |function| unsafe { function() })
    }
}

fn load() -> Result<SoftwareCard, String> {
    let folder = libraries()?;
    let mut libraries = Vec::new();
    for (name, _) in LIBRARIES {
        // SAFETY: the libraries do nothing when they are loaded. What loads NVIDIA's by this name afterwards gets
        // them, because the linker knows them by it.
        let library = unsafe { Library::new(folder.join(name)) };
        libraries.push(library.map_err(|error| error.to_string())?);
    }
    Ok(SoftwareCard { driver: libraries.remove(0), _others: libraries })
}

/// The folder of the libraries, for the `LD_LIBRARY_PATH` of another process.
///
/// # Errors
/// What went wrong, in words.
pub fn libraries() -> Result<PathBuf, String> {
    folder().map_err(|error| format!("the software card has no folder: {error}"))
}

/// Where the libraries are, compiled from these sources.
fn folder() -> io::Result<PathBuf> {
    let mut hasher = Sha256::new();
    hasher.update(HEADER);
    for (name, source) in LIBRARIES {
        hasher.update(name);
        hasher.update(source);
    }
    let digest: String = hasher.finalize().iter().take(8).map(|it| format!("{it:02x}")).collect();
    let folder = env::temp_dir().join(format!("coderag-software-card-{digest}"));
    if folder.is_dir() {
        return Ok(folder);
    }
    let unfinished = tempfile::tempdir()?;
    fs::write(unfinished.path().join("kernel.h"), HEADER)?;
    for (name, source) in LIBRARIES {
        compile(unfinished.path(), name, source)?;
    }
    let unfinished = unfinished.keep();
    match fs::rename(&unfinished, &folder) {
        // Another process was faster.
        Err(_) if folder.is_dir() => fs::remove_dir_all(unfinished)?,
        renamed => renamed?,
    }
    Ok(folder)
}

fn compile(folder: &Path, name: &str, source: &str) -> io::Result<()> {
    let file = folder.join(name).with_extension("cpp");
    fs::write(&file, source)?;
    let output = Command::new("c++")
        .args(["-std=c++17", "-O3", "-march=native", "-shared", "-fPIC"])
        .arg(format!("-Wl,-soname,{name}"))
        .arg("-o")
        .arg(folder.join(name))
        .arg(&file)
        .arg("-ldl")
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("c++ does not compile {}: {said}", file.display())))
}
