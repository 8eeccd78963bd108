mod state;

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use coderag_core::{Embeddings, Error as CoreError, atomic};
use serde_json::{Map, Value};

use self::state::{ChunkRecord, State, TextsHasher};
use crate::quantization::{Quantization, Quantizer};
use crate::vector_file::{ParquetVectors, ParquetWriter, TextVectors};
use crate::{Error, Result};

/// Vectors on their way to a file, kept in chunks so that an interrupted run can go on. While this lives, no
/// other run can open them.
///
/// `OUTPUT.partial/` beside the file that is to be holds numbered Parquet files with the columns `text`
/// and `embedding`, each written whole or not at all, and `state.json`: what decides the vectors, and of
/// each chunk its rows and the digest of its texts. While the final file is written the vectors are on
/// disk twice.
///
/// ```no_run
/// use coderag_core::{Embedder, TextRole};
/// use coderag_corpus::TextSource;
/// use coderag_index::ChunkFolder;
/// use coderag_index::quantization::{Quantization, Quantizer};
/// use coderag_index::vector_file::{self, VectorFormat};
///
/// # fn embed(embedder: &dyn Embedder) -> Result<(), Box<dyn std::error::Error>> {
/// let output = "texts.npy".as_ref();
/// let settings = [("model".to_owned(), embedder.fingerprint().to_string().into())];
/// let mut chunks = ChunkFolder::open(output, settings.into_iter().collect())?;
/// let mut texts = TextSource::new("texts.csv".as_ref(), "text", None)?.open()?;
/// chunks.skip_embedded(&mut texts, |_| {})?;
/// loop {
///     let batch = texts.next_batch(8192)?;
///     if batch.is_empty() {
///         break;
///     }
///     let borrowed: Vec<&str> = batch.iter().map(String::as_str).collect();
///     chunks.append(&batch, &embedder.embed(&borrowed, TextRole::Document)?)?;
/// }
/// let binary = Quantizer::new(Quantization::Ubinary, embedder.dimensions(), None)?;
/// vector_file::write(output, VectorFormat::Npy, &binary, chunks.rows(), chunks.text_vectors())?;
/// chunks.remove()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ChunkFolder {
    path: PathBuf,
    state: State,
    _lock: File,
}

impl ChunkFolder {
    /// The folder of chunks for an output: `OUTPUT.partial` beside it.
    pub fn path_for(output: &Path) -> PathBuf {
        let mut path = output.as_os_str().to_owned();
        path.push(".partial");
        path.into()
    }

    /// Opens the chunks that an interrupted run left for this output, or begins with none. `settings` is
    /// all that decides the vectors of a text, such as the model's fingerprint.
    ///
    /// # Errors
    /// [`Error::Locked`] while another run has them open, [`Error::OtherSettings`] where they were made
    /// otherwise, [`Error::NotChunks`] for a folder of other files, [`Error::State`] and
    /// [`Error::Vectors`] where they are damaged, [`Error::Core`].
    pub fn open(output: &Path, settings: Map<String, Value>) -> Result<Self> {
        let (path, lock) = lock(Self::path_for(output))?;
        let state = match State::read(&path)? {
            Some(state) => {
                state.check(&path, &settings)?;
                state
            }
            None => State::begin(&path, settings)?,
        };
        let folder = Self { path, state, _lock: lock };
        for (index, chunk) in folder.state.chunks.iter().enumerate() {
            let path = folder.chunk_path(index);
            let found = ParquetVectors::open(&path)?.rows();
            if found != chunk.rows {
                let problem = format!("{found} rows where state.json says {}", chunk.rows);
                return Err(Error::Vectors { path, problem });
            }
        }
        Ok(folder)
    }

    /// Begins with no chunks; those that an interrupted run left are removed.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::NotChunks`], [`Error::Core`].
    pub fn restart(output: &Path, settings: Map<String, Value>) -> Result<Self> {
        let (path, lock) = lock(Self::path_for(output))?;
        state::check_is_ours(&path)?;
        // The new state knows of no chunks, so a kill from here on leaves a folder that can be opened.
        let state = State::begin(&path, settings)?;
        remove_chunks(&path)?;
        Ok(Self { path, state, _lock: lock })
    }

    /// Where the chunks are.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many texts are embedded.
    pub fn rows(&self) -> u64 {
        self.state.chunks.iter().map(|chunk| chunk.rows).sum()
    }

    /// Takes from `texts` those that are embedded already, and checks that they are the same; `passed` is
    /// told how many after each chunk.
    ///
    /// # Errors
    /// [`Error::OtherTexts`], and what `texts` returns.
    pub fn skip_embedded<E>(
        &self,
        texts: &mut impl Iterator<Item = Result<String, E>>,
        mut passed: impl FnMut(u64),
    ) -> Result<()>
    where
        Error: From<E>,
    {
        let mut first = 1;
        for chunk in &self.state.chunks {
            let mut hasher = TextsHasher::default();
            for _ in 0..chunk.rows {
                let Some(text) = texts.next().transpose()? else { break };
                hasher.add(&text);
            }
            // The length is part of the digest, so an input that ends early has another.
            if hasher.finish() != chunk.texts_sha256 {
                let (path, last) = (self.path.clone(), first + chunk.rows - 1);
                return Err(Error::OtherTexts { path, first, last });
            }
            first += chunk.rows;
            passed(chunk.rows);
        }
        Ok(())
    }

    /// Writes texts and their vectors as the next chunk. Once this returns, they survive a kill.
    ///
    /// # Errors
    /// [`Error::VectorCount`], and [`Error::Core`] when the chunk cannot be written; those before it stay.
    pub fn append(&mut self, texts: &[String], embeddings: &Embeddings) -> Result<()> {
        let (found, expected) = (embeddings.len(), texts.len());
        if found != expected {
            return Err(Error::VectorCount { found, expected });
        }
        let path = self.chunk_path(self.state.chunks.len());
        let quantizer = Quantizer::new(Quantization::Float32, embeddings.dimensions(), None)?;
        let vectors = quantizer.quantize(embeddings)?;
        atomic::write_file(&path, |file| {
            let writer = ParquetWriter::new(file, quantizer.width(), quantizer.number_type());
            writer
                .and_then(|mut writer| {
                    writer.write(texts, &vectors)?;
                    writer.finish()
                })
                .map_err(CoreError::io("write", &path))
        })?;
        let mut hasher = TextsHasher::default();
        texts.iter().for_each(|text| hasher.add(text));
        let record = ChunkRecord { rows: texts.len() as u64, texts_sha256: hasher.finish() };
        self.state.append(&self.path, record)
    }

    /// The texts and vectors of all chunks in order, some at a time.
    pub fn text_vectors(&self) -> impl Iterator<Item = Result<TextVectors>> {
        self.read(ParquetVectors::text_vectors)
    }

    /// The vectors of all chunks in order, some at a time.
    pub fn embeddings(&self) -> impl Iterator<Item = Result<Embeddings>> {
        self.read(ParquetVectors::embeddings)
    }

    /// Removes the chunks.
    ///
    /// # Errors
    /// [`Error::Core`].
    pub fn remove(mut self) -> Result<()> {
        self.state.forget(&self.path)?;
        remove_chunks(&self.path)?;
        fs::remove_dir_all(&self.path).map_err(CoreError::io("remove", &self.path))?;
        Ok(())
    }

    fn read<T, I: Iterator<Item = Result<T>>>(
        &self,
        rows: impl Fn(ParquetVectors) -> Result<I>,
    ) -> impl Iterator<Item = Result<T>> {
        (0..self.state.chunks.len()).flat_map(move |index| {
            let batches = ParquetVectors::open(&self.chunk_path(index)).and_then(&rows);
            let (batches, error) = match batches {
                Ok(batches) => (Some(batches), None),
                Err(error) => (None, Some(Err(error))),
            };
            batches.into_iter().flatten().chain(error)
        })
    }

    fn chunk_path(&self, index: usize) -> PathBuf {
        self.path.join(format!("{index:08}.parquet"))
    }
}

/// Removes the chunks of a folder whose state has forgotten them; the state stays.
fn remove_chunks(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(CoreError::io("list", folder))? {
        let path = entry.map_err(CoreError::io("list", folder))?.path();
        if path.extension().is_some_and(|extension| extension == "parquet") {
            fs::remove_file(&path).map_err(CoreError::io("remove", &path))?;
        }
    }
    Ok(())
}

/// Creates the folder where it is absent, and takes the lock on it.
fn lock(path: PathBuf) -> Result<(PathBuf, File)> {
    loop {
        fs::create_dir_all(&path).map_err(CoreError::io("create the folder", &path))?;
        let folder = File::open(&path).map_err(CoreError::io("open", &path))?;
        match folder.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Locked { path }),
            Err(TryLockError::Error(error)) => {
                return Err(CoreError::io("lock", &path)(error).into());
            }
        }
        // A run that ended meanwhile may have removed the folder, and another may have made a new one.
        let locked = folder.metadata().map_err(CoreError::io("read", &path))?;
        if fs::metadata(&path).is_ok_and(|found| found.ino() == locked.ino()) {
            return Ok((path, folder));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(model: &str) -> Map<String, Value> {
        let settings = json!({ "model": model, "normalize": null });
        settings.as_object().unwrap().clone()
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    fn skip(folder: &ChunkFolder, input: &[&str]) -> Result<Vec<String>> {
        let mut input = texts(input).into_iter().map(Ok::<_, CoreError>);
        folder.skip_embedded(&mut input, |_| {})?;
        Ok(input.map(|text| text.unwrap()).collect())
    }

    /// Two chunks of `["a", "b"]` and `["c"]`.
    fn two_chunks(output: &Path) -> ChunkFolder {
        let mut folder = ChunkFolder::open(output, settings("m")).unwrap();
        let embeddings = Embeddings::new(2, vec![1.0, 2.0, 3.0, 4.0]).unwrap();
        folder.append(&texts(&["a", "b"]), &embeddings).unwrap();
        folder.append(&texts(&["c"]), &Embeddings::new(2, vec![5.0, 6.0]).unwrap()).unwrap();
        folder
    }

    #[test]
    fn chunks_survive_their_writer_and_give_their_rows_in_order() {
        let temporary = tempfile::tempdir().unwrap();
        let output = temporary.path().join("v.npy");
        drop(two_chunks(&output));
        let folder = ChunkFolder::open(&output, settings("m")).unwrap();
        assert_eq!(folder.path(), temporary.path().join("v.npy.partial"));
        assert_eq!(folder.rows(), 3);
        let rows: Vec<TextVectors> = folder.text_vectors().collect::<Result<_>>().unwrap();
        let found: Vec<String> = rows.iter().flat_map(|rows| rows.texts.clone()).collect();
        assert_eq!(found, ["a", "b", "c"]);
        let values: Vec<f32> =
            folder.embeddings().flat_map(|rows| rows.unwrap().as_slice().to_vec()).collect();
        assert_eq!(values, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        folder.remove().unwrap();
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
    }

    #[test]
    fn only_the_same_texts_are_passed_over() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = two_chunks(&temporary.path().join("v.npy"));
        assert_eq!(skip(&folder, &["a", "b", "c", "d"]).unwrap(), ["d"]);
        assert_eq!(skip(&folder, &["a", "b", "c"]).unwrap(), Vec::<String>::new());
        for (input, first, last) in [
            (&["a", "x", "c"][..], 1, 2),
            (&["ab", "", "c"], 1, 2),
            (&["a", "b", "x"], 3, 3),
            (&["a", "b"], 3, 3),
            (&["a"], 1, 2),
        ] {
            match skip(&folder, input) {
                Err(Error::OtherTexts { first: from, last: to, .. }) => {
                    assert_eq!((from, to), (first, last), "{input:?}");
                }
                other => panic!("{input:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn one_run_at_a_time_and_only_with_the_same_settings() {
        let temporary = tempfile::tempdir().unwrap();
        let output = temporary.path().join("v.npy");
        let folder = two_chunks(&output);
        let refused = ChunkFolder::open(&output, settings("m"));
        assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
        let refused = ChunkFolder::restart(&output, settings("m"));
        assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
        drop(folder);
        let refused = ChunkFolder::open(&output, settings("other")).unwrap_err().to_string();
        assert!(refused.contains("`model` was \"m\" and is \"other\""), "{refused}");
        assert!(!refused.contains("normalize"), "{refused}");
        let folder = ChunkFolder::restart(&output, settings("other")).unwrap();
        assert_eq!(folder.rows(), 0);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_of_other_files_is_left_alone() {
        let temporary = tempfile::tempdir().unwrap();
        let output = temporary.path().join("v.npy");
        let path = ChunkFolder::path_for(&output);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("notes.txt"), "mine").unwrap();
        for begin in [ChunkFolder::open, ChunkFolder::restart] {
            let refused = begin(&output, settings("m"));
            assert!(matches!(refused, Err(Error::NotChunks { .. })), "{refused:?}");
        }
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
    }

    #[test]
    fn damage_is_found_before_anything_is_embedded() {
        let temporary = tempfile::tempdir().unwrap();
        let output = temporary.path().join("v.npy");
        let path = two_chunks(&output).path().to_owned();
        let chunk = fs::read(path.join("00000001.parquet")).unwrap();
        let open = || ChunkFolder::open(&output, settings("m")).unwrap_err().to_string();
        fs::write(path.join("00000001.parquet"), &chunk[..chunk.len() / 2]).unwrap();
        assert!(open().contains("00000001.parquet"), "{}", open());
        fs::copy(path.join("00000000.parquet"), path.join("00000001.parquet")).unwrap();
        assert!(open().contains("2 rows where state.json says 1"), "{}", open());
        fs::remove_file(path.join("00000001.parquet")).unwrap();
        assert!(open().contains("00000001.parquet"), "{}", open());
        fs::write(path.join("state.json"), "{").unwrap();
        assert!(open().contains("state.json"), "{}", open());
    }

    #[test]
    fn a_chunk_that_the_state_does_not_list_is_written_anew() {
        let temporary = tempfile::tempdir().unwrap();
        let output = temporary.path().join("v.npy");
        let path = two_chunks(&output).path().to_owned();
        // As after a kill between the chunk and the state.
        fs::write(path.join("00000002.parquet"), "half").unwrap();
        let mut folder = ChunkFolder::open(&output, settings("m")).unwrap();
        folder.append(&texts(&["d"]), &Embeddings::new(2, vec![7.0, 8.0]).unwrap()).unwrap();
        let values: Vec<f32> =
            folder.embeddings().flat_map(|rows| rows.unwrap().as_slice().to_vec()).collect();
        assert_eq!(values, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    }
}
