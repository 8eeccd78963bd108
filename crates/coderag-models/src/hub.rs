use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use coderag_core::{Digest, Error as CoreError, Progress, Silent};
use hf_hub::{Cache, Repo, RepoType};
use reqwest::header::{CONTENT_LENGTH, ETAG};
use reqwest::{Method, Url};
use tracing::warn;

use crate::checksum::{Checksum, Expected};
use crate::download::{Download, wait_or_give_up};
use crate::http::{Follow, HubClient, shown, unexpected};
use crate::registry::is_plain;
use crate::{Error, ModelFile, Result, Settings};

/// One repository of the model hub at one revision.
///
/// Files go through the hub's own cache, in the layout that hf-hub and huggingface_hub share
/// (`blobs`, `snapshots`, `refs`), so what another program downloaded is not downloaded again. Only
/// the layout is hf-hub's: its downloader (0.5) sends the token to the address that the hub
/// redirects to, has no timeout, appends to a partial file even when the server starts over, and
/// cannot go on after a kill between the last byte and the renaming.
pub(crate) struct Hub<'a> {
    repository: &'a str,
    revision: &'a str,
    cache: Cache,
    settings: &'a Settings,
    client: HubClient,
}

/// What the hub says of a file before sending it.
#[derive(Debug)]
struct RemoteFile {
    url: Url,
    /// The full commit that the revision stands for.
    commit: String,
    /// The SHA-256 of a large file, else the identifier git gives the content.
    etag: String,
    /// In bytes.
    size: Option<u64>,
}

impl<'a> Hub<'a> {
    pub(crate) fn new(
        repository: &'a str,
        revision: &'a str,
        settings: &'a Settings,
    ) -> Result<Self> {
        let cache = Cache::new(settings.hub_cache.clone());
        let client = HubClient::new(settings)?;
        Ok(Self { repository, revision, cache, settings, client })
    }

    /// The file's place in the cache, after a download where it is not there yet.
    pub(crate) fn fetch(
        &self,
        file: &ModelFile,
        progress: &dyn Progress,
    ) -> Result<(PathBuf, Checksum)> {
        if let Some(cached) = self.cached(file)? {
            return Ok(cached);
        }
        if self.settings.offline {
            return Err(Error::Offline {
                file: file.path.clone(),
                cache: self.settings.hub_cache.clone(),
            });
        }
        let remote = self.look_up(file)?;
        let origin = shown(&remote.url);
        let expected = Expected {
            sha256: file.sha256.or_else(|| remote.etag.parse().ok()),
            size: file.size.or(remote.size),
        };
        // What the hub announces is compared before anything is downloaded.
        if let (Some(pinned), Ok(announced)) = (file.sha256, remote.etag.parse::<Digest>())
            && pinned != announced
        {
            return Err(Error::WrongHash { file: origin, expected: pinned, found: announced });
        }
        if let (Some(pinned), Some(announced)) = (file.size, remote.size)
            && pinned != announced
        {
            return Err(Error::WrongSize { file: origin, expected: pinned, found: announced });
        }
        let blobs = self.cache.path().join(self.repo().folder_name()).join("blobs");
        fs::create_dir_all(&blobs).map_err(CoreError::io("create the folder", &blobs))?;
        let lock_path = blobs.join(format!("{}.lock", remote.etag));
        let lock = File::create(&lock_path).map_err(CoreError::io("create", &lock_path))?;
        lock.lock().map_err(CoreError::io("lock", &lock_path))?;

        let blob = blobs.join(&remote.etag);
        let checksum = match self.check_blob(&blob, &expected)? {
            Some(checksum) => checksum,
            None => {
                // The names hf-hub uses, so that it and this program continue each other's files.
                let part = blob.with_extension("part");
                let download = Download {
                    client: &self.client,
                    url: &remote.url,
                    part: &part,
                    expected,
                    label: &file.path,
                    progress,
                };
                let checksum = download.run()?;
                fs::rename(&part, &blob).map_err(CoreError::io("create", &blob))?;
                checksum
            }
        };
        self.link_snapshot(&remote, &file.path)?;
        Ok((blob, checksum))
    }

    fn repo(&self) -> Repo {
        Repo::with_revision(self.repository.to_owned(), RepoType::Model, self.revision.to_owned())
    }

    /// The file where another program or an earlier pull left it.
    fn cached(&self, file: &ModelFile) -> Result<Option<(PathBuf, Checksum)>> {
        let cache = self.cache.repo(self.repo());
        // huggingface_hub writes no reference for a full commit.
        let by_commit = Some(cache.pointer_path(self.revision).join(&file.path));
        let pointer = by_commit.filter(|path| path.exists()).or_else(|| cache.get(&file.path));
        let Some(blob) = pointer.and_then(|pointer| fs::canonicalize(pointer).ok()) else {
            return Ok(None);
        };
        let named = blob.file_name().and_then(|name| name.to_str()?.parse().ok());
        let expected = Expected { sha256: file.sha256.or(named), size: file.size };
        let checksum = self.check_blob(&blob, &expected)?;
        Ok(checksum.map(|checksum| (blob, checksum)))
    }

    fn check_blob(&self, blob: &Path, expected: &Expected) -> Result<Option<Checksum>> {
        if !blob.is_file() {
            return Ok(None);
        }
        let checksum = Checksum::of_file(blob, &Silent)?;
        match expected.check(blob.display().to_string(), checksum) {
            Ok(()) => Ok(Some(checksum)),
            Err(error) => {
                warn!("the hub's cache is damaged, downloading again: {error}");
                Ok(None)
            }
        }
    }

    /// Asks for a file's description, as huggingface_hub does: a HEAD request whose redirects are
    /// followed only within the endpoint.
    fn look_up(&self, file: &ModelFile) -> Result<RemoteFile> {
        let url = self.client.file_url(self.repository, self.revision, &file.path)?;
        let mut failures = 0;
        let response = loop {
            match self.client.send(Method::HEAD, url.clone(), 0, Follow::WithinEndpoint) {
                Ok(response) => break response,
                Err(error) => wait_or_give_up(error, &mut failures)?,
            }
        };
        let headers = response.headers();
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let quoted = text("x-linked-etag").or_else(|| text(ETAG.as_str()));
        let etag = quoted.unwrap_or_default().trim_start_matches("W/").trim_matches('"');
        // Both become names of files.
        if !is_plain(etag) {
            return Err(unexpected(&url, "there is no usable ETag"));
        }
        let commit = text("x-repo-commit").unwrap_or(self.revision);
        if commit.len() != 40 || !commit.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(unexpected(&url, "there is no X-Repo-Commit"));
        }
        let length =
            if response.status().is_redirection() { None } else { text(CONTENT_LENGTH.as_str()) };
        let size = text("x-linked-size").or(length).and_then(|size| size.parse().ok());
        Ok(RemoteFile { commit: commit.to_owned(), etag: etag.to_owned(), size, url })
    }

    /// Makes the blob visible to other programs as a file of the commit and of the revision.
    fn link_snapshot(&self, remote: &RemoteFile, path: &str) -> Result<()> {
        let cache = self.cache.repo(self.repo());
        let pointer = cache.pointer_path(&remote.commit).join(path);
        let folder = pointer.parent().unwrap_or(&pointer);
        fs::create_dir_all(folder).map_err(CoreError::io("create the folder", folder))?;
        let mut target = PathBuf::from("../../blobs");
        for _ in Path::new(path).components().skip(1) {
            target = Path::new("..").join(target);
        }
        match symlink(target.join(&remote.etag), &pointer) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(CoreError::io("create", &pointer)(error).into());
            }
            _ => {}
        }
        let references = self.cache.path().join(self.repo().folder_name()).join("refs");
        cache.create_ref(&remote.commit).map_err(CoreError::io("write in", &references))?;
        Ok(())
    }
}
